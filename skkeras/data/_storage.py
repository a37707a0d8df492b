"""Storage of a lazy array: its parts, and the blocks in which they are read."""

import collections
import threading

import numpy as np

from skkeras._pickling import PickledByName
from skkeras.data._parts import n_bytes


class Storage(PickledByName):
    """Rows of several parts of one row shape and dtype, in blocks that never span two parts.

    All views of an array share it, and its cache of recent blocks.
    """

    def __init__(self, parts, block_bytes, cache_bytes):
        self.parts = tuple(parts)
        self.block_bytes = block_bytes
        self.cache_bytes = cache_bytes
        self._recent = RecentBlocks(cache_bytes)
        sizes = [part.shape[0] for part in self.parts]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        lengths = [part.block_rows(self.block_bytes) for part in self.parts]
        n_blocks = [-(-size // length) for size, length in zip(sizes, lengths, strict=True)]
        self._part_of = np.repeat(np.arange(len(sizes)), n_blocks)
        edges = [
            np.arange(start, start + size, length)
            for start, size, length in zip(self._starts[:-1], sizes, lengths, strict=True)
        ]
        self._all_fit = sum(map(n_bytes, self.parts)) <= self.cache_bytes
        self.edges = np.concatenate([*edges, self._starts[-1:]])  # where blocks begin, and the end

    @property
    def n_rows(self):
        """Number of rows."""
        return int(self._starts[-1])

    def place(self, row):
        """Return the name of a row's part, and its number there."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.parts[number].name, int(row - self._starts[number])

    def blocks(self, rows, latest):
        """Yield ``(where, values)`` of sorted int64 row numbers, block by block, read-only.

        ``where`` slices ``rows``, in which a number may come more than once. ``latest`` holds the
        block that was read last, for other arrays that read the same rows.
        """
        if not len(rows):
            return
        first = int(np.searchsorted(self.edges, rows[0], side="right")) - 1
        last = int(np.searchsorted(self.edges, rows[-1], side="right"))
        cuts = np.searchsorted(rows, self.edges[first : last + 1])
        for i in np.flatnonzero(np.diff(cuts)):
            where = slice(cuts[i], cuts[i + 1])
            yield where, self._read(first + i, rows[where] - self.edges[first + i], latest)

    def _read(self, number, rows, latest):
        """Return rows of one block, given by their numbers within it."""
        n_rows = int(self.edges[number + 1] - self.edges[number])
        part_number = self._part_of[number]
        part, start = self.parts[part_number], int(self.edges[number] - self._starts[part_number])
        if part.in_memory:
            return _picked(part.read(start, start + n_rows), rows)
        block = latest.get((self, number))
        block = self._recent.get(number) if block is None else block
        if block is not None:
            return _picked(block, rows)
        low, high = int(rows[0]), int(rows[-1]) + 1
        if part.reads_any_row and (high - low) * 4 < n_rows:
            return _picked(part.read(start + low, start + high), rows - low)
        block = part.read(start, start + n_rows)
        latest.clear()
        latest[self, number] = block
        if self._all_fit or len(rows) * 2 < n_rows:  # else nothing of it is wanted soon
            self._recent.put(number, block)
        return _picked(block, rows)

    def __getstate__(self):
        """State without the cached blocks."""
        return {name: getattr(self, name) for name in ("parts", "block_bytes", "cache_bytes")}

    def __setstate__(self, state):
        self.__init__(**state)


def _picked(block, rows):
    """Return rows of a block, not to be written to; a view if they are neighbours."""
    n_rows = len(rows)
    if n_rows == rows[-1] - rows[0] + 1 and (n_rows < 3 or (np.diff(rows) == 1).all()):
        picked = block[rows[0] : rows[-1] + 1]
        picked.flags.writeable = False
        return picked
    return block[rows]


class RecentBlocks:
    """Thread-safe least-recently-used cache of blocks, of at most ``max_bytes``.

    >>> import numpy as np
    >>> recent = RecentBlocks(max_bytes=16)
    >>> for number in range(3):
    ...     recent.put(number, np.zeros(1))
    >>> recent.get(0) is None, recent.get(2)
    (True, array([0.]))
    """

    def __init__(self, max_bytes):
        self.max_bytes = max_bytes
        self._blocks = collections.OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, key):
        """Return a block, or None."""
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
            return self._blocks.get(key)

    def put(self, key, block):
        """Keep a block, and drop the oldest ones."""
        if block.nbytes > self.max_bytes:
            return
        with self._lock:
            if key in self._blocks:
                return  # another thread was faster
            self._blocks[key] = block
            self._n_bytes += block.nbytes
            while self._n_bytes > self.max_bytes:
                self._n_bytes -= self._blocks.popitem(last=False)[1].nbytes
