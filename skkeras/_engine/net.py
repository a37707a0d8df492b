"""Nets: the model of one fit, the newest values of its variables, and its compiled functions.

A net trains, evaluates and predicts in compiled programs where that is possible, by Keras's own
loops where it isn't. *Blueprints* spare presets the making of a model: Keras takes 10 ms to make a
small one, as long as 120 of its training steps. What a preset makes depends on plain values,
Keras's settings and the seed alone. So the next fit with the same ones (the next fold of a search,
the same search again) starts from the weights that were made then, and its model is made when
somebody asks for it. What a user's builder makes isn't known until it is made.
"""

import contextlib
import dataclasses
import functools
import threading
import warnings
from typing import Any

import numpy as np

from skkeras._engine import compiled_loop, keras_loop
from skkeras._engine.after_training import called, leave_training
from skkeras._engine.compiled_functions import CompiledFunctions, blueprints
from skkeras._engine.program import UntraceableError, state_variables, variable_bytes
from skkeras._engine.rows import leaves, map_leaves
from skkeras._keras_objects.copying import compile_anew
from skkeras._keras_objects.fingerprint import is_shareable
from skkeras._keras_objects.internals import (
    build_optimizer,
    is_in_builder,
    make_apart,
    make_seeded,
    one_at_a_time,
    optimizes,
)
from skkeras._keras_objects.references import keeps_parts


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
        self.trained_by_keras = None  # ids of the variables that Keras's own loop trained last
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
            outputs = called(model, x_specs)
            self._is_called = True
            trained, self._trained = self._trained, None
            if trained is not None:
                leave_training(model, outputs, *trained)
        return model

    def trained(self, program, example, history, first_epoch):
        """Keep what a training without callbacks leaves, for who looks at the model."""
        self._trained = example, program.metric_values(), history, first_epoch

    def values(self):
        """Return the values of all variables, as tensors that later training doesn't change."""
        import tensorflow as tf

        return self._pulled or [tf.identity(v.value) for v in state_variables(self.model)]

    def restore(self, values):
        """Go back to what `values` returned."""
        state = state_variables(self.model)
        if len(values) != len(state):  # the optimizer was made anew, and may have diverged
            compile_anew(self.model)
            n_variables = len(self.model.variables)
            state = state_variables(self.model)[n_variables:]
            values = [*values[:n_variables], *(variable.value for variable in state)]
        with self._lock:
            self._pulled = values
        self._synchronized()

    def train_unfrozen(self):
        """Make a new optimizer, with the same settings, if layers were unfrozen since it was built.

        Raises ValueError for a model that has to be compiled by its user.
        """
        model = self._lazy.ready()
        if model.optimizer is None or optimizes(model.optimizer, model.trainable_variables):
            return
        try:
            compile_anew(self.model)
        except ValueError as error:
            raise ValueError(
                "Layers of model_ were unfrozen since its optimizer was built, which knows nothing "
                f"of them, and the model can't be compiled anew: {error}. Call model_.compile with "
                "a new optimizer."
            ) from error

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

    def train(self, rows, schedule, history, *, compiled, fit_arguments=None, **options):
        """Train it, see `skkeras._engine.compiled_loop.train` for ``options``.

        ``compiled`` says whether programs may be used: not if a callback wants every batch. With
        ``fit_arguments``, `keras.Model.fit` runs. What can't be put into a graph (a `train_step`
        with Python in it, a model that runs eagerly) runs as Keras runs it, and is still correct.
        """
        if compiled and not fit_arguments and not self.wants_keras:
            try:
                compiled_loop.train(self, rows, schedule, history, **options)
                return
            except UntraceableError:
                pass
        keras_loop.train(self, rows, schedule, history, **options, **(fit_arguments or {}))

    def evaluate(self, rows, batch_size):
        """Return the loss and the metrics over rows, as a dict of floats."""
        if not self.wants_keras:
            try:
                return compiled_loop.evaluate_net(self, rows, batch_size)
            except UntraceableError:
                pass
        return keras_loop.evaluate(self, rows, batch_size)

    def predict(self, rows, arguments, on_divergence):
        """Return the outputs for rows; ``arguments`` are those of `keras.Model.predict`.

        Raises DivergenceError for NaN, or warns, see ``on_divergence``.
        """
        stored = rows.in_storage_order
        outputs = self._predict(stored, arguments)
        if stored is not rows:
            outputs = map_leaves(lambda part: _put_back(part, stored.subset), outputs)
        _check_not_nan(outputs, on_divergence)
        return outputs

    def outputs(self, rows):
        """Return its outputs for rows; random numbers that it draws for them leave no trace."""
        return self._functions.predict(self._newest, rows)

    @contextlib.contextmanager
    def moved_on(self, program):
        """Take over, after a block that evaluates, the seed states that the program moved on."""
        if program.worker is self._lazy.made:
            yield
            return
        before = program.dump_untrained()
        yield
        after = program.dump_untrained()
        # Not all: another thread may be training the net.
        self._keep({i: v for i, v in after.items() if not np.array_equal(v, before[i])})

    def _predict(self, rows, arguments):
        if arguments.keys() <= {"batch_size", "verbose"} and not self.needs_keras_to_predict:
            try:
                return self._functions.predict(
                    self._newest, rows, arguments.get("batch_size"), self._keep
                )
            except UntraceableError:
                pass
        return keras_loop.predict(self, rows, **arguments)

    def _keep(self, values):
        """Set some variables, by index, to new values."""
        if not values:
            return
        self._lazy.pin()
        model = self._lazy.get()
        with self._lock:
            if self._pulled is not None:
                self._pulled = [values.get(i, value) for i, value in enumerate(self._pulled)]
                return
            for i, value in values.items():
                model.variables[i].value.assign(value, read_value=False)

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


def _overrides(model, names):
    """Tell whether a model's class has its own version of any of `keras.Model`'s methods."""
    import keras

    return any(getattr(type(model), name) is not getattr(keras.Model, name) for name in names)


def _check_not_nan(outputs, on_divergence):
    """Raise or warn if a net's outputs, an array or a structure of arrays, have NaN in them."""
    for part in leaves(outputs):
        rows = np.isnan(part).reshape(len(part), -1).any(axis=1)
        if rows.any():
            message = (
                f"The net's outputs for X have NaN in {rows.sum()} of {len(rows)} rows; expected "
                "numbers. Its weights are NaN, or its layers are not defined for these rows "
                '(logarithms, roots, divisions). on_divergence="warn" returns them nevertheless.'
            )
            if on_divergence == "raise":
                raise ValueError(message)
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def _put_back(part, order):
    """Put outputs for rows in storage order into the order of the rows that were asked for."""
    outputs = np.empty_like(part)
    outputs[order] = part
    return outputs


# Of the weights that are kept; next to the training of a larger net, making it is little.
_MAX_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class _Settings:
    """Keras's settings that decide what a net of Keras's own layers is like."""

    floatx: str
    epsilon: float
    image_data_format: str
    dtype_policy: str

    @classmethod
    def current(cls):
        """Read the settings; None if these values don't tell."""
        import keras

        config, policy = keras.config, keras.config.dtype_policy()
        if type(policy) is not keras.dtype_policies.DTypePolicy:
            return None
        return cls(config.floatx(), config.epsilon(), config.image_data_format(), policy.name)

    def call(self, make):
        """Call ``make()`` with these settings.

        Raises
        ------
        RuntimeError
            If those that all threads share are others by now, which is for the user to change.
        """
        import keras

        for name in ("floatx", "epsilon", "image_data_format"):
            then, now = getattr(self, name), getattr(keras.config, name)()
            if then != now:
                raise RuntimeError(
                    f"Keras's {name} is {now!r}, and was {then!r} when this estimator was fitted; "
                    "expected the same when its model_ is first looked at, or pickled. Call "
                    f"keras.config.set_{name}({then!r}), or look at model_ before changing it."
                )
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)  # of this thread
        try:
            return make()
        finally:
            keras.config.set_dtype_policy(before)


def _key(recipe, seed):
    """Tell what a net depends on, or None where that isn't known before it is made."""
    import keras

    key, settings = recipe.key, _Settings.current()
    # In a builder a net's names go on from those of the builder's own layers.
    if key is None or settings is None or is_in_builder():
        return None
    # A name may stand for a class of the user's; without a package even for Keras's defaults.
    for name in keras.saving.get_custom_objects():
        package, _, bare = name.rpartition(">")
        if not package or bare in key:
            return None
    return key, seed, settings


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """Starting values, fingerprint and facts of a net that was made before.

    ``start`` are the values of its variables, then the optimizer's initial ones; ``places`` tell
    where those are that a recipe of the same key has its own of, see `Recipe.own_values`.
    """

    make: Any
    start: list
    fingerprint: str
    facts: Any
    places: dict

    def adapted(self, recipe, settings, seed):
        """Return the blueprint for another recipe of the same key."""
        import tensorflow as tf

        own = recipe.own_values(self.places)
        if not own:
            return self
        start = list(self.start)
        for i, value in own.items():
            start[i] = tf.constant(value, start[i].dtype)
        return dataclasses.replace(self, make=_made_by(recipe, settings, seed), start=start)


def _made_by(recipe, settings, seed):
    """Return a function that makes a recipe's net once more, under the same settings of Keras."""
    return functools.partial(make_apart, functools.partial(settings.call, recipe.detached()), seed)


def make_net(recipe, seed, copies=None):
    """Return the net and `NetFacts` of a recipe and a seed; ``copies`` are as for the recipe.

    Where the recipe's key is known from an earlier net, the model is made when it is needed.
    """
    import tensorflow as tf

    key = _key(recipe, seed)
    if key is not None and (known := blueprints.get(key)) is not None:
        known = known.adapted(recipe, key[-1], seed)
        return Net(None, recipe, recipe.settings, known), known.facts
    before = recipe.reached_parts()
    model = make_seeded(functools.partial(recipe, copies), seed)
    facts = recipe.facts_of(model)
    # What a builder keeps of its net has to stay that of this net, and follow its training.
    after = recipe.reached_parts()
    keeps = bool(after) and keeps_parts(model, before, after)
    net = Net(model, None if keeps else recipe, recipe.settings)
    if key is None or variable_bytes(model.variables) > _MAX_BYTES or not _is_ordinary(net):
        return net, facts
    start = [tf.identity(variable.value) for variable in state_variables(model)]
    make, places = _made_by(recipe, key[-1], seed), recipe.own_places(model)
    known = Blueprint(make, start, net.fingerprint, facts, places)
    blueprints.put(key, known)
    return Net(model, recipe, recipe.settings, known), facts


def _is_ordinary(net):
    """Tell whether shared programs train a net and predict with it."""
    shares = is_shareable(net.fingerprint)
    return shares and not net.wants_keras and not net.needs_keras_to_predict
