"""LazyArray: rows read on demand, for scikit-learn to split."""

import collections
import copy
import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_scalar

from skkeras._pickling import PickledByName
from skkeras.data._cancellation import check_stopped
from skkeras.data._parts import rows_of
from skkeras.data._selection import all_rows, is_number, row_positions, stored_order
from skkeras.data._storage import Storage

# Bytes read at once: smaller blocks mix better, larger ones are read faster.
BLOCK_BYTES = 2**18
# Bytes of rows that a fit shuffles together.
SHUFFLE_BYTES = 2**25
# Bytes of recent blocks that an array keeps.
CACHE_BYTES = 2**25
# Row numbers are computed for this many rows at a time.
_ROWS_AT_ONCE = 2**18


@dataclasses.dataclass(frozen=True)
class _Step(PickledByName):
    """A function of a block of rows, and the shape and dtype of one row afterwards."""

    function: Callable
    row_shape: tuple
    dtype: np.dtype

    def __call__(self, rows):
        done = np.asarray(self.function(rows))
        expected = (len(rows), *self.row_shape)
        if done.shape != expected or done.dtype != self.dtype:
            raise ValueError(
                f"{self.function!r} returned shape {done.shape} and dtype {done.dtype} for "
                f"{len(rows)} rows; expected shape {expected} and dtype {self.dtype}, what map was "
                "told or what it got. Say map(..., shape=..., dtype=...) of one row."
            )
        return done


@dataclasses.dataclass(frozen=True)
class _Columns(PickledByName):
    """Indexing of columns."""

    index: tuple

    def __call__(self, rows):
        return rows[(slice(None), *self.index)]


class LazyArray:
    """An array whose rows are read when they are needed.

    scikit-learn can split it as an array, and its views are lazy, too.
    `numpy.asarray` reads all of it. A pickle holds paths and row numbers, not data. `open_npy` and
    `lazy` make one.

    Parameters
    ----------
    parts : list
        Holders of the rows, one after the other.

    Attributes
    ----------
    shape : tuple of int
        Samples first.
    dtype : numpy.dtype
        Of the values.

    See Also
    --------
    open_npy : Opens ``.npy`` files.
    lazy : Wraps h5py, zarr, dask and NumPy arrays.

    Notes
    -----
    A fit shuffles blocks of about 256 KB, and then 32 MB of rows at a time; `with_sizes` changes
    both. ``predict`` keeps the order of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras import data
    >>> rows = data.lazy(np.arange(12.0).reshape(4, 3), np.arange(6.0).reshape(2, 3))
    >>> X, y = rows[:, :-1], rows[:, -1]
    >>> X
    LazyArray(shape=(6, 2), dtype=float64, n_parts=2)
    >>> np.asarray(X[[5, 0]])
    array([[3., 4.],
           [0., 1.]])
    >>> np.asarray(y)
    array([ 2.,  5.,  8., 11.,  2.,  5.])
    """

    __module__ = "skkeras.data"  # the path in pickles, and where users import it from

    __array_ufunc__ = None  # X + 1 is a clear error rather than all of it in memory
    __hash__ = object.__hash__

    def __init__(self, parts):
        parts = list(parts)
        first = _check_alike(parts)
        self._storage = Storage(parts, BLOCK_BYTES, CACHE_BYTES)
        self._shuffle_bytes = SHUFFLE_BYTES
        self._rows = all_rows(self._storage.n_rows)
        self._row_shape, self._dtype = tuple(first.shape[1:]), np.dtype(first.dtype)
        self._steps = ()
        self._finite = None, 0  # its name in errors, and the number of steps before the check

    @property
    def shape(self):
        """Shape, samples first."""
        return len(self._rows), *self._row_shape

    @property
    def dtype(self):
        """Dtype of the values."""
        return self._dtype

    @property
    def ndim(self):
        """Number of axes."""
        return 1 + len(self._row_shape)

    @property
    def size(self):
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self):
        """Bytes of the whole array in memory."""
        return self.size * self.dtype.itemsize

    @property
    def shuffle_bytes(self):
        """Bytes of rows that a fit holds and shuffles together."""
        return self._shuffle_bytes

    def __len__(self):
        return len(self._rows)

    def __eq__(self, other):
        """Raise: an ndarray's == compares values, and these aren't read."""
        raise TypeError(
            f"Got == or != of a {self!r}, whose values aren't read before they are needed; "
            "expected an ndarray, or a function of rows. Take numpy.asarray(X) == value, which "
            "reads all of it, or X.map(lambda rows: rows == value, dtype=bool)."
        )

    def __repr__(self):
        n_parts = len(self._storage.parts)
        return f"LazyArray(shape={self.shape}, dtype={self.dtype}, n_parts={n_parts})"

    def __getitem__(self, key):
        """Return a lazy view; for an int, the row itself.

        Parameters
        ----------
        key : int, slice, bool or int array, or tuple
            Rows; in a tuple, rows and then an index into each of them. Not arrays for both.

        Returns
        -------
        view : LazyArray, or ndarray of shape ``shape[1:]`` for an int
        """
        rows, *columns = (key or (...,)) if isinstance(key, tuple) else (key,)
        if rows is Ellipsis:
            rows, columns = slice(None), [Ellipsis, *columns]
        if rows is None:
            raise IndexError("Got None as the index of rows; expected it after them, X[..., None].")
        if is_number(rows):
            row = row_positions([rows], len(self))
            return np.asarray(self._view(row)._picking(columns))[0]
        if np.ndim(rows) and any(map(np.ndim, columns)):
            raise IndexError(
                "Got arrays as the index of rows and of columns, which an ndarray would pair; "
                "expected one of them, X[rows][:, columns], for these columns of these rows."
            )
        return self._view(row_positions(rows, len(self)))._picking(columns)

    def __iter__(self):
        step = rows_of(self._storage.block_bytes, self.shape, self.dtype)
        for start in range(0, len(self), step):
            yield from np.asarray(self[start : start + step])

    def __array__(self, dtype=None, copy=None):
        """Read all of it."""
        if copy is False:
            raise ValueError("A LazyArray is read into memory, which is a copy; got copy=False.")
        if self.nbytes > _memory_bytes():
            raise MemoryError(
                f"Got a {self!r} to load whole: {self.nbytes / 2**30:.1f} GB, and the machine has "
                f"{_memory_bytes() / 2**30:.1f}; expected a part of it, such as X[:1000]. If a "
                "transformer asked for it, use one that works block by block: "
                "ArrayScaler(StandardScaler())."
            )
        loaded = load_together([self])[0]
        return loaded if dtype is None else loaded.astype(dtype, copy=False)

    def map(self, function, shape=None, dtype=None):
        """Apply a function to rows when they are read.

        Parameters
        ----------
        function : callable
            It gets an ndarray of some rows, not to be written to, and returns one of as many rows.
            Each row's result may depend on that row only. Has to be picklable if the array is.
        shape : int, tuple of int or None, default=None
            The shape of one row afterwards; None if it stays.
        dtype : dtype or None, default=None
            The dtype afterwards; None if it stays.

        Returns
        -------
        mapped : LazyArray

        Examples
        --------
        >>> import numpy as np
        >>> from skkeras import data
        >>> X = data.lazy(np.arange(4, dtype="uint8").reshape(2, 2))
        >>> np.asarray(X.map(lambda rows: rows / 255, dtype="float64")[1:])
        array([[0.00784314, 0.01176471]])
        """
        row_shape = self._row_shape if shape is None else shape
        row_shape = (row_shape,) if isinstance(row_shape, Integral) else tuple(row_shape)
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        return self._with(_steps=(*self._steps, _Step(function, row_shape, dtype)))

    def blocks(self, n_bytes=2**22):
        """Yield all rows once, about ``n_bytes`` at a time, in the order in which they are stored.

        Yields
        ------
        rows : ndarray
            Some neighbouring rows.
        """
        order, step = self.storage_order(), rows_of(n_bytes, self.shape, self.dtype)
        for start in range(0, len(self), step):
            where = slice(start, start + step)
            yield np.asarray(self[where if order is None else order[where]])

    def with_sizes(self, *, block_bytes=None, shuffle_bytes=None, cache_bytes=None):
        """Return the same array, to be read in another way.

        Parameters
        ----------
        block_bytes : int, default=2**18
            About how many bytes are read at once.
        shuffle_bytes : int, default=2**25
            How many bytes of rows, inputs and targets together, a fit holds and shuffles. With
            several lazy inputs, that of the largest counts.
        cache_bytes : int, default=2**25
            How many bytes of recent blocks are kept, for all views together.

        Returns
        -------
        array : LazyArray
        """
        for name, value, least in (
            ("block_bytes", block_bytes, 1),
            ("shuffle_bytes", shuffle_bytes, 1),
            ("cache_bytes", cache_bytes, 0),
        ):
            if value is not None:
                check_scalar(value, name, Integral, min_val=least)
        storage = self._storage
        if block_bytes is not None or cache_bytes is not None:
            cache_bytes = storage.cache_bytes if cache_bytes is None else cache_bytes
            storage = Storage(storage.parts, block_bytes or storage.block_bytes, cache_bytes)
        return self._with(_storage=storage, _shuffle_bytes=shuffle_bytes or self._shuffle_bytes)

    def finite(self, name):
        """Return the same array, which raises on reading NaN or infinity, as of input ``name``."""
        return self._with(_finite=(name, len(self._steps)))

    def storage_order(self, positions=None):
        """Return positions (None: all) in the order in which their rows are stored.

        The result is None for all rows, if they are in order already.
        """
        if positions is not None and self._rows.is_sorted:
            is_sorted = (positions[:-1] <= positions[1:]).all()
            return positions if is_sorted else np.sort(positions)
        rows = self._rows if positions is None else self._rows[positions]
        if rows.is_sorted:
            return positions
        order = stored_order(rows.numbers(slice(None)))
        order = order if positions is None else positions[order]
        return order.astype(np.min_scalar_type(len(self)))

    def block_ends(self, positions=None):
        """Return how many rows come before the end of each block that holds some of them.

        ``positions`` is a result of `storage_order`.
        """
        edges = self._storage.edges[1:]
        if positions is None:
            ends = self._rows.positions_before(edges)
        elif self._rows.is_sorted:  # nothing as long as the data is made
            before = self._rows.positions_before(edges)
            is_large = positions.dtype.itemsize >= 4  # NumPy would copy them to compare int64
            ends = np.searchsorted(
                positions, before.astype(positions.dtype) if is_large else before
            )
        else:
            ends = self._rows[positions].positions_before(edges)
        return np.unique(ends[ends > 0])

    def _with(self, **changes):
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), **changes)
        if steps := twin._steps:
            twin._row_shape, twin._dtype = steps[-1].row_shape, steps[-1].dtype
        return twin

    def _view(self, positions):
        whole = isinstance(positions, slice) and positions == slice(None)
        return self if whole else self._with(_rows=self._rows[positions])

    def _picking(self, columns):
        if not columns or (len(columns) == 1 and columns[0] is Ellipsis):
            return self
        picking = _Columns(tuple(map(copy.copy, columns)))  # of lists that may change
        # An array without rows takes no memory, and shows the shape after indexing.
        example = picking(np.empty((0, *self._row_shape), self.dtype))
        if not example.ndim or example.shape[0] != 0:
            raise IndexError(
                f"Got the index {columns} for columns; expected the rows to stay first."
            )
        return self._with(_steps=(*self._steps, _Step(picking, example.shape[1:], self.dtype)))

    def _fill(self, loaded, latest):
        """Read all rows into an array; yield after each block. For ``latest`` see `Storage`."""
        if self._rows.is_sorted:
            for start in range(0, len(self), _ROWS_AT_ONCE):
                positions = slice(start, start + _ROWS_AT_ONCE)
                part = loaded[positions]
                for where, values in self._read(self._rows.numbers(positions), latest):
                    part[where] = values
                    yield
            return
        rows = self._rows.numbers(slice(None))
        order = stored_order(rows)
        for where, values in self._read(rows[order], latest):
            loaded[order[where]] = values
            yield

    def _read(self, rows, latest):
        """Read rows (sorted numbers), check that they are finite, and apply the steps."""
        for where, values in self._storage.blocks(rows, latest):
            check_stopped()
            name, n_before = self._finite
            for step in self._steps[:n_before]:
                values = step(values)
            if name is not None:
                self._check_finite(values, rows[where])
            for step in self._steps[n_before:]:
                values = step(values)
            yield where, values

    def _check_finite(self, values, rows):
        if values.dtype.kind != "f" or _is_finite(values):
            return
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        name, n_before = self._finite
        place, number = self._storage.place(rows[np.flatnonzero(bad)[0]])
        kind = "NaN" if np.isnan(values[bad]).any() else "infinity"
        is_mapped = any(not isinstance(s.function, _Columns) for s in self._steps[:n_before])
        place += " (after map, or a scaler)" if is_mapped else ""
        raise ValueError(
            f"Input {name} contains {kind}: in row {number} (counted from 0) of {place}, and "
            f"in {bad.sum()} of the {len(bad)} rows of that block; expected finite numbers. Leave "
            "these rows out, or fill them by map(numpy.nan_to_num)."
        )


def load_together(arrays):
    """Read lazy arrays of as many rows in the same order, and blocks they share only once."""
    latest = {}
    loaded = [np.empty(array.shape, array.dtype) for array in arrays]
    filling = [array._fill(part, latest) for array, part in zip(arrays, loaded, strict=True)]
    collections.deque(itertools.zip_longest(*filling), maxlen=0)
    return loaded


def _check_alike(parts):
    """Raise unless all parts have rows of one shape and dtype; return the first."""
    first = parts[0]
    for number, part in enumerate(parts[1:], 2):
        (shape, dtype), expected = ((p.shape[1:], p.dtype) for p in (part, first))
        if (shape, dtype) == expected:
            continue
        cure = "Join rows of one shape."
        if shape == expected[0]:
            to = str(expected[1])
            cure = f"Join lazy(...).map(lambda rows: rows.astype({to!r}), dtype={to!r}) instead."
        numbers = (f" (number {number})", " (number 1)") if part.name == first.name else ("", "")
        raise ValueError(
            f"{part.name}{numbers[0]} has rows of shape {shape} and dtype {dtype}; expected shape "
            f"{expected[0]} and dtype {expected[1]}, as in {first.name}{numbers[1]}. {cure}"
        )
    return first


def _is_finite(values):
    """Tell whether all values are finite; mostly their sum shows it, which is faster."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


@functools.cache
def _memory_bytes() -> Any:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return math.inf
