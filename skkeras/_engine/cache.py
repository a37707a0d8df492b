"""Cache of compiled functions: idle programs, predictors and blueprints, by what they depend on."""

import collections
import contextlib
import itertools
import threading
import weakref

# At the most this many idle programs and predictors are kept, and idle programs of so many bytes,
# the least recently used leaving first.
MAX_ENTRIES = 48
MAX_BYTES = 512 * 2**20


class Pool:
    """Idle programs by key; a borrowed one is in nobody else's reach.

    ``max_bytes`` bounds the sum of their ``n_bytes``.
    """

    def __init__(self, max_entries, max_bytes):
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._idle = collections.OrderedDict()  # (key, serial number): program
        self._lock = threading.Lock()
        self._serial = itertools.count()
        self._generation = 0

    def borrow(self, key, make):
        """Borrow, for a block, the program of a key, made by ``make()`` if none is idle.

        It comes back whatever a fit did to it or died of: the next fit loads every variable anew.
        """
        generation, program = self._generation, self._take(key)
        return self._borrowed(key, make() if program is None else program, generation)

    def clear(self):
        """Drop all idle programs now, and those in use as soon as they come back."""
        with self._lock:
            self._idle.clear()
            self._generation += 1

    def __len__(self):
        return len(self._idle)

    @contextlib.contextmanager
    def _borrowed(self, key, program, generation):
        try:
            yield program
        finally:
            if generation == self._generation:
                self._put(key, program)

    def _take(self, key):
        with self._lock:
            for entry in reversed(self._idle):
                if entry[0] == key:
                    return self._idle.pop(entry)
        return None

    def _put(self, key, program):
        with self._lock:
            self._idle[key, next(self._serial)] = program
            while len(self._idle) > self.max_entries or self._n_bytes() > self.max_bytes:
                self._idle.popitem(last=False)

    def _n_bytes(self):
        return sum(program.n_bytes for program in self._idle.values())


class Table:
    """Objects by key for any number of threads at once; the least recently used leave."""

    def __init__(self, max_entries):
        self.max_entries = max_entries
        self._entries = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key):
        """Return the object of a key, or None."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key, value):
        """Keep an object, unless its key has one already; return the one that is kept."""
        with self._lock:
            value = self._entries.setdefault(key, value)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
        return value

    def __len__(self):
        return len(self._entries)

    def clear(self):
        """Drop all."""
        with self._lock:
            self._entries.clear()


programs = Pool(MAX_ENTRIES, MAX_BYTES)
predictors = Table(MAX_ENTRIES)
blueprints = Table(MAX_ENTRIES)
# Models inside of the first two, by fingerprint; when both have dropped one, it goes.
workers: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def clear_cache():
    """Free all compiled training and prediction functions that are kept for later fits.

    Fitted estimators go on working; what they need is compiled again.

    Examples
    --------
    >>> import skkeras
    >>> skkeras.clear_cache()
    """
    programs.clear()
    workers.clear()
    predictors.clear()
    blueprints.clear()
