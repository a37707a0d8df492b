"""Nets: the Keras model of one fit, and how it takes part in shared programs."""

import contextlib
import operator
import threading

import numpy as np

from skkeras._engine.cache import predictors, programs, workers
from skkeras._engine.program import Predictor, Program, batch_specs, tracing
from skkeras._keras_objects.copying import compile_arguments
from skkeras._keras_objects.fingerprint import fingerprint, is_shareable
from skkeras._keras_objects.internals import layer_settings
from skkeras._keras_objects.layers import sublayers
from skkeras._keras_objects.seeding import make_seeded, one_at_a_time
from skkeras._tree import leaves, map_leaves
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


class Net:
    """A compiled Keras model with the recipe it was made by.

    Parameters
    ----------
    model : keras.Model or None
        Built and compiled. Its optimizer gets its variables when somebody looks at the model:
        next to a short fit, making them takes long. None if a blueprint makes it.
    make : callable or None, default=None
        Makes such a model again, for a worker. None: the model has its own programs.
    settings : object, default=None
        What decides the compiled function besides the model and its optimizer: loss and metrics.
    blueprint : skkeras._engine.blueprints.Blueprint or None, default=None
        Makes the model when somebody looks at it, if it isn't there.
    """

    def __init__(self, model, make=None, settings=None, blueprint=None):
        self._made = model
        self._make = make
        self._settings = settings
        self._blueprint = blueprint
        self._pending = None  # values newer than those in the model's variables
        self._own_programs = {}
        self._own_predictors = {}
        self._handed_over = None  # what the model was like when its user was last seen with it
        self._is_new = True  # nobody has looked at the model or trained it
        self._built_optimizer = None
        self._assigning = threading.Lock()
        if blueprint is None:
            self._shares = make is not None and variable_bytes(model) <= MAX_SHARED_BYTES
            self._fingerprint = self._fingerprint_of(model) if self._shares else None
        else:
            self._shares, self._fingerprint = True, blueprint.fingerprint

    @property
    def _model(self):
        if self._made is None:
            with one_at_a_time():
                if self._made is None:
                    self._made = self._blueprint.make()
        return self._made

    @property
    def fingerprint(self):
        """What tells which programs may train it, see `skkeras._keras_objects.fingerprint`."""
        return self._fingerprint

    def forget_recipe(self):
        """Let go of what the recipe holds (training data, perhaps); programs stay shared."""
        self._make = None

    @property
    def model(self):
        """The model, with a built optimizer and the newest values in its variables."""
        self._is_new = False
        model = self._model
        # Keras calls an optimizer built before it has all its variables.
        if model.optimizer is not self._built_optimizer:
            with one_at_a_time():
                _build_optimizer(model)
                self._built_optimizer = model.optimizer
        with self._assigning:
            if self._pending is not None:
                for variable, value in zip(state_variables(model), self._pending, strict=True):
                    variable.value.assign(value, read_value=False)
                self._pending = None  # only now: other threads may predict meanwhile
        return model

    @property
    def structure(self):
        """The model to look at what doesn't change: its values may be old ones."""
        return self._model

    @property
    def wants_keras(self):
        """Whether Keras has to train the model, by its own loop or the class's."""
        own = ("fit", "evaluate", "make_train_function", "make_test_function")
        model = self._made
        return model is not None and (model.run_eagerly or _overrides(model, own))

    @property
    def needs_keras_to_predict(self):
        """Whether its class predicts in its own way, or a batch depends on the one before."""
        own = ("predict", "predict_step", "make_predict_function")
        model = self._made
        return model is not None and (
            _overrides(model, own) or any(getattr(one, "stateful", 0) for one in model.layers)
        )

    def hand_over(self):
        """Return the model to somebody who may keep and change it.

        From now on its values are kept up to date, and what it is like is looked at anew before it
        is trained or predicts.
        """
        model = self.model
        if self._handed_over is None:
            if self._fingerprint is None:
                self._fingerprint = self._fingerprint_of(model)
            self._handed_over = _Snapshot(model)
        return model

    def values(self):
        """Return the values of all variables, as tensors that later training doesn't change."""
        import tensorflow as tf

        return self._pending or [tf.identity(v.value) for v in state_variables(self.model)]

    def restore(self, values):
        """Go back to what `values` returned."""
        self._pending = values
        self.model  # noqa: B018  (the values reach the model's variables)

    def load_into(self, program):
        """Start a program from this net's values."""
        if program.worker is not self._made:
            if not program.state_starts_at_zero:
                _build_optimizer(self._model)
            program.load(self._newest())

    def take_from(self, program):
        """Take over a program's values; they reach the model's variables when it is looked at."""
        self._is_new = False
        if program.worker is not self._made:
            self._pending = program.dump()
            if self._handed_over is not None:
                self.model  # noqa: B018  (the values reach the model's variables)

    def _newest(self):
        """Look up the values of all variables; those of its optimizer may be left out."""
        pending = self._pending  # another thread may just be putting it into the model
        if pending is not None:
            return pending
        if self._made is None:
            return self._blueprint.start
        return [variable.value for variable in state_variables(self._made)]

    @contextlib.contextmanager
    def training_program(self, example):
        """Lend a program that trains nets like this one on batches like ``example``."""
        if self._handed_over is not None:
            self._notice_changes()
        specs = str(batch_specs(example))
        if self._shares:
            lending = programs.lend((self._fingerprint, specs), lambda: self._shared(example))
            with contextlib.ExitStack() as stack:
                try:
                    program = stack.enter_context(lending)
                except _NotRepeatable:
                    self._shares = False
                else:
                    yield program
                    return
        if specs not in self._own_programs:
            self._own_programs[specs] = _traced(Program, self.model, example)
        yield self._own_programs[specs]

    def predict(self, rows, batch_size=None):
        """Return the outputs of the net for all rows, in their order.

        Parameters
        ----------
        rows : Rows
            Only its inputs are read.
        batch_size : int or None, default=None
            Rows that go through the net at once; None chooses.

        Returns
        -------
        outputs : ndarray or structure of ndarrays
        """
        import keras

        if self._handed_over is not None and not self._handed_over.is_current():
            self._notice_changes()
        made = self._made is not None
        n_variables = len(self._made.variables) if made else self._blueprint.n_variables
        values = self._newest()[:n_variables]
        steady = batch_size is None and rows.is_table and rows.n_rows <= MAX_STEADY_ROWS
        large = max(1, min(8192, _PREDICT_BYTES // rows.row_bytes))
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
        specs = str(batch_specs(x))
        worker = workers.get(self._fingerprint) if self._shares else None
        predictor = self._own_predictors.get(specs)
        if predictor is None and worker is not None:
            predictor = predictors.get((self._fingerprint, specs))
        if predictor is None:
            predictor = _traced(Predictor, worker or self._model, x)
            if worker is None:
                self._own_predictors[specs] = predictor
            else:
                predictors.put((self._fingerprint, specs), predictor)
        return predictor

    def _notice_changes(self):
        """See to a model that its user may have changed: then it has programs of its own."""
        before, self._handed_over = self._handed_over, _Snapshot(self._model)
        now = self._fingerprint_of(self._model)
        differs = now != self._fingerprint and is_shareable(now)
        if differs or not self._handed_over.has_parts_of(before):
            self._own_programs, self._own_predictors = {}, {}
        if differs:
            self._shares, self._fingerprint = False, now

    def _shared(self, example):
        worker = self._make_worker()
        if worker is None or self._fingerprint_of(worker) != self._fingerprint:
            raise _NotRepeatable
        starts_at_zero = _build_on_ones(worker)
        program = _traced(Program, worker, example)
        program.state_starts_at_zero = starts_at_zero
        workers.setdefault(self._fingerprint, worker)
        return program

    def _make_worker(self):
        if self._blueprint is not None and self._is_new and self._made is not None:
            worker, self._made = self._made, None
            return worker
        try:
            return self._make and make_seeded(self._make, seed=0)
        except SharedVariablesError:
            raise
        except Exception as error:  # of a builder that can be called once only
            raise _NotRepeatable from error

    def _fingerprint_of(self, model):
        compiled = (model.loss, compile_arguments(model), model.jit_compile)
        return fingerprint(model, model.optimizer, compiled, self._settings)


class _Snapshot:
    """What a model was like when it was looked at last, to see fast whether it has changed."""

    def __init__(self, model):
        self._model = model
        self._parts = self._current_parts()
        self._settings = [(layer, [*layer_settings(layer).values()]) for layer in sublayers(model)]

    def is_current(self):
        """Whether no setting of a layer, and no variable, is another object by now."""
        return _are_same(self._current_parts(), self._parts) and all(
            _are_same(layer_settings(layer).values(), before) for layer, before in self._settings
        )

    def _current_parts(self):
        model = self._model
        return [model.optimizer, *model.variables, *model.trainable_variables]

    def has_parts_of(self, other):
        """Whether the optimizer and the variables, which own programs hold, are the same ones."""
        return _are_same(self._parts, other._parts)


def _are_same(objects, others):
    return len(objects) == len(others) and all(map(operator.is_, objects, others))


class _NotRepeatable(Exception):
    """The recipe made another model the second time, so the two can't share a program."""


def _traced(compiled_class, model, example):
    with tracing():
        return compiled_class(model, example)


def state_variables(model):
    """The variables that training starts from and changes: the net's, then the optimizer's."""
    optimizer = model.optimizer
    return [*model.variables, *(optimizer.variables if optimizer is not None else ())]


def _build_optimizer(model):
    optimizer = model.optimizer
    if optimizer is not None and not optimizer.built:
        # Where no name is used up of those that Keras gives to the user's objects.
        make_seeded(lambda: optimizer.build(model.trainable_variables), seed=0)


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
    return all(map(operator.is_, before, kept)) and not any(map(np.any, map(_value, added)))


def _value(variable):
    return variable.numpy()


def _overrides(model, names):
    """Tell whether a model's class has its own version of any of `keras.Model`'s methods."""
    import keras

    return any(getattr(type(model), name) is not getattr(keras.Model, name) for name in names)


def _padded(array, n_rows):
    if not n_rows:
        return array
    return np.concatenate([array, np.zeros((n_rows, *array.shape[1:]), array.dtype)])


def variable_bytes(model):
    """Return how many bytes a model's weights take."""
    return sum(v.value.dtype.size * int(np.prod(v.shape)) for v in model.variables)
