"""Nets: the model of one fit, the newest values of its variables, and its compiled functions."""

import threading

import numpy as np

from skkeras._engine.compiled_functions import CompiledFunctions
from skkeras._engine.program import state_variables
from skkeras._keras_objects.seeding import build_optimizer, one_at_a_time


class LazyModel:
    """Compiled Keras model that may not be made yet.

    It is there from the start, or a blueprint makes it when it is first needed. A model that its
    blueprint can make again may be released, to become the worker of a program, and is made again
    when needed; from when somebody sees or trains it, it is pinned: the same object for good.
    """

    def __init__(self, model, blueprint=None):
        self.made = model  # None while there is none
        self._blueprint = blueprint
        self._built_optimizer = None
        self._is_pinned = False
        self._lock = threading.Lock()  # so that a model is either pinned or released

    def get(self):
        """Return the model, making it if need be; its variables may hold old values."""
        model = self.made
        if model is None:
            with one_at_a_time():
                model = self.made
                if model is None:
                    model = self.made = self._blueprint.make()
        return model

    def ready(self):
        """Pin the model and return it, with a built optimizer.

        The optimizer is built no earlier: next to a short fit, making its variables takes long.
        """
        self.pin()
        model = self.get()
        # Keras calls an optimizer built before it has all its variables.
        if model.optimizer is not self._built_optimizer:
            with one_at_a_time():
                build_optimizer(model)
                self._built_optimizer = model.optimizer
        return model

    def pin(self):
        """Release the model no more."""
        with self._lock:
            self._is_pinned = True

    def release(self):
        """Give the model up, unless it is pinned or can't be made again; then return None."""
        with self._lock:
            if self._is_pinned or self._blueprint is None:
                return None
            model, self.made = self.made, None
            return model

    def values(self):
        """Return the values of its variables; its optimizer's, unless built, may be missing."""
        # Other threads may release the model, or be making it, while it isn't pinned.
        if self._blueprint is not None and (self.made is None or not self._is_pinned):
            return self._blueprint.start
        return [variable.value for variable in state_variables(self.made)]


class Net:
    """Compiled Keras model with the newest values of its variables.

    Training in a program leaves the values beside the model (`pull`), and they reach its variables
    when somebody asks for the `model`; at once, from `expose` on. Any number of threads may predict
    or inspect the model, also while one trains it.

    ``make`` makes such a model again, for a worker; without it the model has its own programs.
    ``settings`` (loss, metrics) decide the compiled functions besides the model and its optimizer.
    ``blueprint`` makes the model when it is needed, if it isn't there.
    """

    def __init__(self, model, make=None, settings=None, blueprint=None):
        self._lazy = LazyModel(model, blueprint)
        known = blueprint.fingerprint if blueprint is not None else None
        self._functions = CompiledFunctions(self._lazy, make, settings, known)
        self._pulled = None  # values newer than those in the model's variables
        self._trained = None  # what its last training leaves besides; None once the model has it
        self._is_called = False
        self._lock = threading.Lock()  # of setting or clearing them

    @property
    def model(self):
        """The model, with a built optimizer and the newest values in its variables."""
        return self._synchronized()

    @property
    def structure(self):
        """The model, to inspect its structure: its values may be old ones."""
        return self._lazy.get()

    @property
    def fingerprint(self):
        """Key of its shared programs, see `skkeras._keras_objects.fingerprint`; or None."""
        return self._functions.fingerprint

    @property
    def wants_keras(self):
        """Whether Keras has to train the model, by its own loop or the class's."""
        own = ("fit", "evaluate", "make_train_function", "make_test_function")
        model = self._lazy.made
        return model is not None and (model.run_eagerly or _overrides(model, own))

    @property
    def needs_keras_to_predict(self):
        """Whether its class predicts in its own way, or a batch depends on the one before."""
        own = ("predict", "predict_step", "make_predict_function")
        model = self._lazy.made
        return model is not None and (
            _overrides(model, own) or any(getattr(one, "stateful", 0) for one in model.layers)
        )

    def forget_recipe(self):
        """Let go of what ``make`` holds (training data, perhaps); programs stay shared."""
        self._functions.forget_recipe()

    def expose(self):
        """Return the model to somebody who may keep and change it.

        From now on its values are kept up to date, and changes to it are looked for before it is
        trained or predicts.
        """
        model = self._synchronized()
        self._functions.watch()
        return model

    def present(self, x_specs):
        """Return the model to its user as `keras.Model.fit` would leave it.

        Keras has called it then, which exports look for; its metrics have the values of the last
        epoch, and it has a ``history``.
        """
        model = self.expose()
        if not self._is_called or self._trained is not None:
            outputs = _called(model, x_specs)
            self._is_called = True
            trained, self._trained = self._trained, None
            if trained is not None:
                trained.leave_to(model, outputs)
        return model

    def trained(self, program, rows, history, first_epoch):
        """Keep what a training without callbacks leaves, for who looks at the model."""
        values = program.metric_values()
        self._trained = _Trained(rows.example, values, history, first_epoch)

    def show_metrics(self, program):
        """Set the metrics of the model, which Keras has built, to those of a program."""
        if program.worker is not self._lazy.made:
            _set_metrics(self.structure, program.metric_values())

    def values(self):
        """Return the values of all variables, as tensors that later training doesn't change."""
        import tensorflow as tf

        return self._pulled or [tf.identity(v.value) for v in state_variables(self.model)]

    def restore(self, values):
        """Go back to what `values` returned."""
        with self._lock:
            self._pulled = values
        self._synchronized()

    def push(self, program):
        """Set a program's variables to the newest values."""
        if program.worker is self._lazy.made:
            self._synchronized()
            return
        if not program.state_starts_at_zero:
            self._lazy.ready()  # builds the optimizer, for its values
        program.load(self._newest())

    def pull(self, program):
        """Take the values of a program's variables for the newest ones."""
        if program.worker is self._lazy.made:
            return
        self._lazy.pin()
        values = program.dump()
        with self._lock:
            self._pulled = values
        if self._functions.is_watching:
            self._synchronized()

    def training_program(self, example):
        """Borrow, for a block, a program that trains it on batches like ``example``."""
        return self._functions.training_program(example)

    def predict(self, rows, batch_size=None):
        """Return the outputs for all rows, in their order; see `CompiledFunctions.predict`."""
        return self._functions.predict(self._newest(), rows, batch_size)

    def _synchronized(self):
        """Write the newest values into the model's variables, and return the model."""
        model = self._lazy.ready()
        with self._lock:
            if self._pulled is not None:
                for variable, value in zip(state_variables(model), self._pulled, strict=True):
                    variable.value.assign(value, read_value=False)
                self._pulled = None  # only now: other threads may predict meanwhile
        return model

    def _newest(self):
        """Return the values of all variables; those of an optimizer that isn't built may lack."""
        pulled = self._pulled  # another thread may just be writing it into the model
        return self._lazy.values() if pulled is None else pulled


class _Trained:
    """What a training leaves besides the values of the model's variables."""

    def __init__(self, example, metric_values, history, first_epoch):
        self._example = example
        self._metric_values = metric_values
        self._history = history
        self._first_epoch = first_epoch

    def leave_to(self, model, outputs):
        """Give the model metrics and history; ``outputs`` are for one row of any values."""
        import keras

        if outputs is not None:
            model.compute_metrics(*self._example[:2], outputs, None)
            _set_metrics(model, self._metric_values)
        model.history = keras.callbacks.History()
        model.history.history = {name: [*values] for name, values in self._history.items()}
        n_epochs = max(map(len, self._history.values()), default=0)
        model.history.epoch = [*range(self._first_epoch, self._first_epoch + n_epochs)]
        model.history.set_model(model)


def _set_metrics(model, values):
    for variable, value in zip(model.metrics_variables, values, strict=True):
        variable.value.assign(value, read_value=False)


def _called(model, x_specs):
    """Call a model on a row, without any effect on its state; None if it takes no such row."""
    import keras

    def row(spec):
        shape, dtype = spec
        shape = (1, *(size or 1 for size in shape))
        zeros = np.full(shape, "", object) if dtype == "string" else np.zeros(shape, dtype)
        return keras.ops.convert_to_tensor(zeros, dtype)

    several = isinstance(x_specs, dict)
    rows = {name: row(spec) for name, spec in x_specs.items()} if several else row(x_specs)
    try:
        with keras.StatelessScope():
            return model(rows, training=False)
    except Exception:  # of a user's layer; where it matters, Keras itself says so
        return None


def _overrides(model, names):
    """Tell whether a model's class has its own version of any of `keras.Model`'s methods."""
    import keras

    return any(getattr(type(model), name) is not getattr(keras.Model, name) for name in names)
