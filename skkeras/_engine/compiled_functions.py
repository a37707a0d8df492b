"""Compiled functions of one net, and the cache by which nets of one architecture share them.

Programs train a net and predictors run it. Idle ones are cached by what they depend on, blueprints
of presets (see `skkeras._engine.net`) beside them.
"""

import collections
import contextlib
import itertools
import operator
import threading
import time
import weakref
from typing import NamedTuple

import numpy as np

from skkeras._engine.flat_program import FlatProgram, is_flat
from skkeras._engine.program import (
    Predictor,
    Program,
    UntraceableError,
    batch_specs,
    tracing,
    variable_bytes,
)
from skkeras._engine.rows import leaves, map_leaves
from skkeras._keras_objects.fingerprint import fingerprint, is_shareable
from skkeras._keras_objects.internals import (
    compile_arguments,
    layer_settings,
    make_seeded,
    sublayers,
)
from skkeras.exceptions import SharedVariablesError

# A net with larger weights trains in its own variables: a worker would double its memory, and next
# to its training the tracing that sharing saves is little.
MAX_SHARED_BYTES = 20 * 2**20

# Rows of a prediction block for tables. Matrix products round differently for different numbers
# of rows; with one block size a row's prediction doesn't depend on what else is predicted.
BLOCK_ROWS = 64
# Above so many rows of a table, larger blocks are several times faster, and equal to rounding.
MAX_STEADY_ROWS = 64 * BLOCK_ROWS
_PREDICT_BYTES = 32 * 2**20
# Rows of a batch of a net that draws random numbers: as in `keras.Model.predict`, so that the same
# rows get the same numbers.
_KERAS_BATCH_SIZE = 32


class CompiledFunctions:
    """Programs and predictors of one net, shared with all nets of the same fingerprint or its own.

    A small net shares them from the start if a recipe can make its model again, for the worker. It
    has its own, for good, once the recipe has made another model the second time, or once its user
    has changed the model. Changes are looked for from `watch` on. ``known`` is the fingerprint,
    where it is known without the model; ``recipe`` is the ``make`` of `skkeras._engine.net.Net`.
    """

    def __init__(self, lazy, recipe, settings, known=None):
        self._lazy = lazy
        self._recipe = recipe
        self._settings = settings
        self._own = {}  # by what they do and the specs of their inputs
        self._snapshot = None
        self._moved = None  # indices of variables that predicting moves on, once known
        self._drawing = threading.Lock()
        self.fingerprint = known  # the key of shared ones; None if it has its own
        if recipe is not None and known is None and _is_small(lazy.made):
            self.fingerprint = self._fingerprint_of(lazy.made)

    def forget_recipe(self):
        """Let go of what the recipe holds (training data, perhaps); programs stay shared."""
        self._recipe = None

    @property
    def is_watching(self):
        """Whether changes to the model are looked for."""
        return self._snapshot is not None

    def watch(self):
        """Look for changes to the model from now on, whenever it is trained or predicts."""
        if self._snapshot is None:
            self._snapshot = self._take_snapshot(self.fingerprint)

    def training_program(self, example):
        """Return a context manager that lends a program for batches like ``example``."""
        if self._snapshot is not None:
            self._notice_changes()
        key, specs = self.fingerprint, str(batch_specs(example))
        if key is not None:
            try:
                return programs.borrow((key, specs), lambda: self._make_shared(key, example))
            except _NotRepeatable:
                self.fingerprint = None
        if ("train", specs) not in self._own:
            self._own["train", specs] = _traced(Program, self._lazy.ready(), example)
        return contextlib.nullcontext(self._own["train", specs])

    def predict(self, newest, rows, batch_size=None, keep=None):
        """Return the outputs for rows, with the values of the net's variables that ``newest()`` is.

        ``batch_size`` rows go through the net at once; None chooses. A net that draws random
        numbers when it predicts goes on from call to call: ``keep`` gets a dict, by index, of the
        values that it has moved on. Without ``keep`` they are dropped.
        """
        if self._snapshot is not None and not self._snapshot.is_current():
            self._notice_changes()
        if keep is None or not self._moved_by(rows):
            return self._outputs([*newest()], rows, batch_size)
        with self._drawing:  # no two threads draw the same numbers
            values = [*newest()]
            outputs = self._outputs(values, rows, batch_size or _KERAS_BATCH_SIZE)
            keep({i: values[i] for i in self._moved})
        return outputs

    def _moved_by(self, rows):
        """Return the indices of the variables that predicting moves on, of most nets none.

        Raises UntraceableError if it moves variables outside of the net: Keras has to predict.
        """
        if self._moved is None:
            predictor = self._predictor(rows.take(slice(0))[0])  # its shape; nothing is read
            if predictor.moves_others:
                raise UntraceableError
            self._moved = predictor.moved
        return self._moved

    def _outputs(self, values, rows, batch_size):
        import keras

        steady = batch_size is None and rows.is_table and rows.n_rows <= MAX_STEADY_ROWS
        n_bytes = _PREDICT_BYTES // 4 if rows.are_gathered else _PREDICT_BYTES
        large = max(1, min(8192, n_bytes // rows.row_bytes))
        block = BLOCK_ROWS if steady else batch_size or large
        outputs = []
        for start in range(0, rows.n_rows, block):
            x = rows.take(slice(start, start + block))[0]
            n_rows = len(leaves(x)[0])
            if steady:
                x = map_leaves(lambda leaf, n=block - n_rows: _padded(leaf, n), x)
            output = self._predictor(x).predict(values, x)
            outputs.append(keras.tree.map_structure(lambda a, n=n_rows: a[:n], output))
        if len(outputs) == 1:
            return outputs[0]
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)

    def _predictor(self, x):
        key, specs = self.fingerprint, str(batch_specs(x))
        predictor = self._own.get(("predict", specs)) or predictors.get((key, specs))
        if predictor is None:
            worker = workers.get(key)
            predictor = _traced(Predictor, self._lazy.get() if worker is None else worker, x)
            if worker is None:
                self._own["predict", specs] = predictor
            else:
                predictors.put((key, specs), predictor)
        return predictor

    def _make_shared(self, key, example):
        worker = self._make_worker()
        if worker is None or self._fingerprint_of(worker) != key:
            raise _NotRepeatable
        program = _flat_program(worker, example)
        if program is None:
            starts_at_zero = _build_on_ones(worker)
            program = _traced(Program, worker, example)
            program.state_starts_at_zero = starts_at_zero
        workers.setdefault(key, worker)
        return program

    def _make_worker(self):
        worker = self._lazy.release()
        if worker is not None:
            return worker
        try:
            return self._recipe and make_seeded(self._recipe, seed=0)
        except SharedVariablesError:
            raise
        except Exception as error:  # of a builder that can be called once only
            raise _NotRepeatable from error

    def _notice_changes(self):
        """Drop functions that hold what the model has no more; share none if it is another one."""
        before, now = self._snapshot, self._take_snapshot()
        differs = now.differs_from(before)
        if differs:
            self.fingerprint = None
        if differs or not now.has_parts_of(before):
            self._own = {}
        self._moved = None
        self._snapshot = now  # only now: other threads may predict meanwhile

    def _take_snapshot(self, known=None):
        model = self._lazy.get()
        return _Snapshot(model, known or self._fingerprint_of(model))

    def _fingerprint_of(self, model):
        compiled = (model.loss, compile_arguments(model), model.jit_compile)
        return fingerprint(model, model.optimizer, compiled, self._settings)


class _Snapshot:
    """A model's fingerprint, and the objects it consists of: they tell fast that it has changed."""

    def __init__(self, model, digest):
        self._model = model
        self._digest = digest
        self._parts = _parts(model)
        self._settings = [(layer, [*layer_settings(layer).values()]) for layer in sublayers(model)]

    def is_current(self):
        """Whether no setting of a layer, and no variable, is another object by now."""
        return _are_same(_parts(self._model), self._parts) and all(
            _are_same(layer_settings(layer).values(), before) for layer, before in self._settings
        )

    def differs_from(self, before):
        """Whether the model would be compiled into other functions than before."""
        # Digests of what can't be read never agree: the objects have to tell.
        readable = is_shareable(self._digest) or is_shareable(before._digest)
        return self._digest != before._digest and (readable or not before.is_current())

    def has_parts_of(self, other):
        """Whether the optimizer and the variables, which own programs hold, are the same ones."""
        return _are_same(self._parts, other._parts)


class _NotRepeatable(Exception):
    """The recipe made another model the second time, so the two can't share a program."""


def _is_small(model):
    return variable_bytes(model.variables) <= MAX_SHARED_BYTES


def _parts(model):
    return [model.optimizer, *model.variables, *model.trainable_variables]


def _are_same(objects, others):
    return len(objects) == len(others) and all(map(operator.is_, objects, others))


def _traced(compiled_class, model, example):
    with tracing():
        return compiled_class(model, example)


def _flat_program(worker, example):
    """Return a flat program, or None if the net can't have one."""
    with contextlib.suppress(Exception):  # Keras's own step tells what is wrong, if anything
        if is_flat(worker):
            return FlatProgram(worker, example)
    return None


def _build_on_ones(worker):
    """Build a worker's optimizer; tell whether its state starts at zero, whatever the weights."""
    optimizer = worker.optimizer
    if optimizer is None or optimizer.built:
        return False
    before = optimizer.variables
    for variable in worker.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer.build(worker.trainable_variables)
    kept, added = optimizer.variables[: len(before)], optimizer.variables[len(before) :]
    return all(map(operator.is_, before, kept)) and not any(np.any(v.numpy()) for v in added)


def _padded(array, n_rows):
    if not n_rows:
        return array
    return np.concatenate([array, np.zeros((n_rows, *array.shape[1:]), array.dtype)])


# A fit waits for a program that another thread is making, or has, as long as making one takes: so
# it is done within twice the time at worst, whatever the other does. This long where none was made.
_LONGEST_WAIT = 2.0
SECONDS_BETWEEN_LOOKS = 0.2  # Ctrl-C acts when a wait ends
# At the most this many idle programs and predictors are kept, and idle programs of so many bytes,
# the least recently used leaving first.
MAX_ENTRIES = 48
MAX_BYTES = 512 * 2**20


class Pool:
    """Idle programs by key; a borrowed one is in nobody else's reach.

    ``max_bytes`` bounds the sum of their ``n_bytes``. ``n_hits`` and ``n_made`` count loans of idle
    programs and those that were made.
    """

    def __init__(self, max_entries, max_bytes):
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.n_hits = self.n_made = 0
        self._idle = collections.OrderedDict()  # (key, serial number): program
        self._lent = collections.Counter()  # by key; those that are being made, too
        self._seconds_to_make = {}
        self._changed = threading.Condition()
        self._serial = itertools.count()
        self._generation = 0

    def borrow(self, key, make):
        """Borrow, for a block, the program of a key, made by ``make()`` if none is idle.

        It comes back whatever a fit did to it or died of: the next fit loads every variable anew.
        """
        generation, program = self._generation, self._take(key)
        try:
            if program is None:
                program = self._made(key, make)
        except BaseException:
            self._return(key)
            raise
        return self._borrowed(key, program, generation)

    def clear(self):
        """Drop all idle programs now, and those in use as soon as they come back."""
        with self._changed:
            self._idle.clear()
            self._seconds_to_make.clear()
            self._generation += 1

    def idle(self):
        """List the idle programs."""
        with self._changed:
            return [*self._idle.values()]

    def __len__(self):
        return len(self._idle)

    def _made(self, key, make):
        begin = time.perf_counter()
        program = make()
        with self._changed:
            self._seconds_to_make[key] = time.perf_counter() - begin
            self.n_made += 1
        return program

    @contextlib.contextmanager
    def _borrowed(self, key, program, generation):
        try:
            yield program
        finally:
            self._return(key, program if generation == self._generation else None)

    def _take(self, key):
        """Take an idle program, or None; wait for another fit's as long as making one takes."""
        with self._changed:
            begin = time.perf_counter()
            while (program := self._pop(key)) is None and self._lent[key]:
                longest = self._seconds_to_make.get(key, _LONGEST_WAIT)
                if time.perf_counter() - begin > longest:
                    break
                self._changed.wait(SECONDS_BETWEEN_LOOKS)
            self._lent[key] += 1
            self.n_hits += program is not None
            return program

    def _pop(self, key):
        entry = next((entry for entry in reversed(self._idle) if entry[0] == key), None)
        return None if entry is None else self._idle.pop(entry)

    def _return(self, key, program=None):
        with self._changed:
            self._lent[key] -= 1
            if not self._lent[key]:
                del self._lent[key]
            if program is not None:
                self._idle[key, next(self._serial)] = program
                while len(self._idle) > self.max_entries or self._n_bytes() > self.max_bytes:
                    self._idle.popitem(last=False)
            self._changed.notify_all()

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


class CacheInfo(NamedTuple):
    """What `cache_info` returns, and explains."""

    n_programs: int
    n_bytes: int
    n_flat: int
    n_hits: int
    n_made: int


def cache_info():
    """Return facts about the compiled training programs that are kept for later fits.

    Returns
    -------
    info : CacheInfo
        A named tuple of the numbers of idle programs (``n_programs``), of their bytes (``n_bytes``,
        about), of those that train small nets with fewer operations (``n_flat``), of fits that
        found a program in the cache since the process began (``n_hits``), and of programs that
        were made (``n_made``).

    Examples
    --------
    >>> import numpy as np, skkeras
    >>> skkeras.clear_cache()
    >>> before = skkeras.cache_info()
    >>> net = skkeras.KerasRegressor(epochs=1).fit(np.ones((4, 2)), np.ones(4))
    >>> net = net.fit(np.zeros((4, 2)), np.ones(4))
    >>> info = skkeras.cache_info()
    >>> info.n_programs, info.n_made - before.n_made, info.n_hits - before.n_hits
    (1, 1, 1)
    """
    idle = programs.idle()
    n_flat = sum(isinstance(program, FlatProgram) for program in idle)
    n_bytes = sum(program.n_bytes for program in idle)
    return CacheInfo(len(idle), n_bytes, n_flat, programs.n_hits, programs.n_made)
