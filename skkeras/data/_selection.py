"""Compact row selections of views.

Folds are mostly runs of neighbouring rows, and two numbers describe a run. Other selections are
row numbers of the smallest dtype that fits.
"""

import dataclasses

import numpy as np

from skkeras._pickling import PickledByName

# Runs take 16 bytes each, row numbers 4: with fewer rows per run, numbers are smaller.
_ROWS_PER_RUN = 4
# Runs are searched in this many row numbers at a time, to save memory.
_ROWS_AT_ONCE = 2**18


@dataclasses.dataclass(frozen=True, eq=False)
class Runs(PickledByName):
    """Rows in runs of neighbours: int64 first rows, and cumulative lengths."""

    starts: np.ndarray
    ends: np.ndarray

    def __len__(self):
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def is_range(self):
        """Whether the rows are neighbours, in order."""
        return len(self.starts) < 2

    @property
    def is_sorted(self):
        """Whether row numbers never decrease."""
        lasts = self.starts + np.diff(self.ends, prepend=0)
        return bool((lasts[:-1] <= self.starts[1:]).all())

    def numbers(self, positions):
        """Return the row numbers at positions (a slice or an int array), int64."""
        if isinstance(positions, slice):
            positions = np.arange(*positions.indices(len(self)))
        positions = np.asarray(positions, dtype=np.int64)
        if len(self.starts) == 1:
            return positions + self.starts[0] if self.starts[0] else positions
        run = np.searchsorted(self.ends, positions, side="right")
        begins = np.concatenate([[0], self.ends])
        return positions - begins[run] + self.starts[run]

    def positions_before(self, rows):
        """Count rows before each of ``rows``; the selection has to be sorted."""
        if not len(self.starts):
            return np.zeros(len(rows), dtype=np.int64)
        begins = np.concatenate([[0], self.ends[:-1]])
        run = np.maximum(np.searchsorted(self.starts, rows, side="right") - 1, 0)
        return np.clip(begins[run] + rows - self.starts[run], begins[run], self.ends[run])

    def __getitem__(self, positions):
        """Return the selection at positions, a slice or an int array."""
        if isinstance(positions, slice) and positions.indices(len(self))[2] == 1:
            start, stop, _ = positions.indices(len(self))
            return self._between(start, max(start, stop))
        if self.is_range and not isinstance(positions, slice):  # nothing as long as the data
            chosen = selection(positions)
            if isinstance(chosen, Runs):
                return Runs(chosen.starts + self.starts[:1], chosen.ends)
        return selection(self.numbers(positions))

    def _between(self, start, stop):
        begins = np.concatenate([[0], self.ends[:-1]]).astype(np.int64)
        first = np.maximum(begins, start)
        last = np.minimum(self.ends, stop)
        kept = first < last
        starts = (self.starts + first - begins)[kept]
        return Runs(starts, np.cumsum((last - first)[kept], dtype=np.int64))


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """Rows in any order, as unsigned numbers."""

    rows: np.ndarray

    is_range = False

    def __len__(self):
        return len(self.rows)

    @property
    def is_sorted(self):
        """Whether row numbers never decrease."""
        return bool((self.rows[:-1] <= self.rows[1:]).all())

    def numbers(self, positions):
        """Return the row numbers at positions (a slice or an int array), int64."""
        return self.rows[positions].astype(np.int64)

    def positions_before(self, rows):
        """Count rows before each of ``rows``; the selection has to be sorted."""
        return np.searchsorted(self.rows, rows)

    def __getitem__(self, positions):
        """Return the selection at positions, a slice or an int array."""
        return selection(self.rows[positions])


def all_rows(n_rows):
    """Select all of ``n_rows`` rows."""
    n_runs = int(n_rows > 0)
    return Runs(np.zeros(n_runs, np.int64), np.full(n_runs, n_rows, np.int64))


def selection(rows):
    """Select rows by number (at least 0), as runs if that takes fewer bytes.

    >>> import numpy as np
    >>> from skkeras.data._selection import selection
    >>> selection(np.array([0, 1, 2, 3, 4, 10, 11, 12, 13, 14])).starts
    array([ 0, 10])
    >>> selection(np.array([3, 0, 3])).rows
    array([3, 0, 3], dtype=uint8)
    """
    if not len(rows):
        return all_rows(0)
    breaks = _breaks(rows)
    if breaks is not None:
        starts = np.concatenate([rows[:1], rows[breaks]]).astype(np.int64)
        return Runs(starts, np.append(breaks, len(rows)).astype(np.int64))
    return Numbers(rows.astype(np.min_scalar_type(int(rows.max()))))


def _breaks(rows):
    """Find the starts of all runs but the first; None if numbers would take fewer bytes."""
    most = len(rows) // _ROWS_PER_RUN - 1 if len(rows) > 1 else 0
    parts, n_breaks = [np.zeros(0, dtype=np.int64)], 0
    for start in range(0, len(rows) - 1, _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE + 1]
        # Small unsigned numbers wrap: 0 follows none.
        parts.append(np.flatnonzero((part[1:] != part[:-1] + 1) | (part[1:] == 0)) + start + 1)
        n_breaks += len(parts[-1])
        if n_breaks > most:
            return None
    return np.concatenate(parts)


def stored_order(rows):
    """Return a stable argsort of row numbers: int64, at least 0."""
    if not len(rows) or max(len(rows), int(rows.max())) >= 2**31:
        return np.argsort(rows, kind="stable")
    # The same, and six times as fast: NumPy sorts plain numbers by vector instructions.
    keys = rows << 32
    keys |= np.arange(len(rows), dtype=np.int32)
    keys.sort()
    keys &= 2**32 - 1
    return keys


def is_number(index):
    """Tell whether an index is one int, perhaps as an array without axes."""
    if isinstance(index, np.ndarray):
        return not index.ndim and index.dtype.kind in "iu"
    return isinstance(index, int | np.integer) and not isinstance(index, bool)


def row_positions(key, n_rows):
    """Convert an index of rows (slice, mask, ints) into a slice, or positions of at least 0.

    >>> from skkeras.data._selection import row_positions
    >>> row_positions([-1, 0], 5)
    array([4, 0])
    """
    if isinstance(key, slice):
        return key
    key = np.asarray(key)
    if key.dtype == bool:
        if key.shape != (n_rows,):
            raise IndexError(
                f"A bool index has shape {key.shape}; expected {(n_rows,)}, a value for each row."
            )
        return np.flatnonzero(key)
    if key.ndim != 1 or (key.dtype.kind not in "iu" and key.size):
        raise IndexError(
            f"Rows are indexed by an array of shape {key.shape} and dtype {key.dtype}; expected an "
            "int, a slice, or one axis of bools or ints."
        )
    if not key.size:
        return np.zeros(0, dtype=np.int64)
    low, high = int(key.min()), int(key.max())
    if low < -n_rows or high >= n_rows:
        raise IndexError(
            f"Index {high if high >= n_rows else low} is out of bounds for {n_rows} rows."
        )
    if low >= 0:
        return key
    key = key.astype(np.int64, copy=False)
    return np.where(key < 0, key + n_rows, key)
