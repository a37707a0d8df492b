"""Recent blocks: what was read lately, as long as it fits into a number of bytes."""

import collections
import threading


class RecentBlocks:
    """A cache of blocks that forgets the least recently used; threads may share it.

    Parameters
    ----------
    max_bytes : int
        How many bytes to keep; 0 keeps nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data.recent import RecentBlocks
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
        """Keep a block, and forget older ones."""
        if block.nbytes > self.max_bytes:
            return
        with self._lock:
            if key in self._blocks:
                return  # another thread was faster
            self._blocks[key] = block
            self._n_bytes += block.nbytes
            while self._n_bytes > self.max_bytes:
                self._n_bytes -= self._blocks.popitem(last=False)[1].nbytes

    def __reduce__(self):
        """Pickle without the blocks: the data stays where it is."""
        return type(self), (self.max_bytes,)
