"""What the estimators share: a fit is a short sequence of steps, each with a home elsewhere."""

import contextlib
import copy
import dataclasses
import functools
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, check_scalar

from skkeras import saving
from skkeras._building.model import by_output, check_ending, loss_facts
from skkeras._building.recipe import (
    Recipe,
    builder_facts,
    check_method_names,
    check_not_owned,
    check_source,
)
from skkeras._encoding import WHOLE_BYTES, spans
from skkeras._engine import run
from skkeras._engine.augmentation import check_augment, make_augmentation
from skkeras._engine.blueprints import make_net
from skkeras._engine.compiled_loop import Schedule, check_not_nan
from skkeras._engine.net import Net
from skkeras._engine.rows import Rows
from skkeras._engine.streaming import StreamedRows
from skkeras._hints import check_no_others
from skkeras._holdout import DEFAULT_FRACTION, check_validation_split, split_rows
from skkeras._inputs import (
    by_name,
    check_any_weight,
    check_inputs,
    n_samples,
    training_weights,
)
from skkeras._keras_objects.copying import pack
from skkeras._keras_objects.specs import (
    by_output_name,
    float_dtype,
    input_dtypes,
    input_specs,
    output_shape,
)
from skkeras._params import RoutedParamsMixin, changed_names, split_routed
from skkeras._streaming import StreamsMixin
from skkeras._tree import map_leaves
from skkeras.callbacks import (
    early_stopping_callback,
    make_callbacks,
    needs_batches,
    release,
    task_callback,
)
from skkeras.data._arrays import LazyArray
from skkeras.data._scores import score_blocks
from skkeras.data._streams import (
    as_stream,
    check_inside,
    check_sliceable,
    check_stream,
    joined,
)
from skkeras.models import PRESETS

_MAX_SEED = 2**31 - 1
# What a net is made with; `compile__` parameters and those routed to these belong to it, too.
_NET_PARAMETERS = ("model", "loss", "optimizer", "metrics")
_CHOICES = {
    "early_stopping": (False, True),
    "shuffle": (False, True),
    "warm_start": (False, True),
    "on_divergence": ("raise", "warn"),
    "engine": ("compiled", "keras"),
}
# Arguments of `keras.Model.fit` that the engine knows; for others Keras's own loop runs.
_ENGINE_FIT_ARGUMENTS = {"epochs", "batch_size", "verbose", "shuffle", "initial_epoch"}

# What a fit learns before it trains.
_LEARNT = {
    "_target",
    "_series",
    "_net",
    "_facts",
    "_builder_facts",
    "_generator",
    "_split_seed",
    "_made_with",
    "history_",
    "n_iter_",
    "best_epoch_",
    "n_features_in_",
    "feature_names_in_",
    "_input_columns",
}


@contextlib.contextmanager
def _undone_on_error(estimator, *, go_on=False):
    """Leave an estimator as it was if a fit fails: not fitted, or as it was fitted before.

    A fit that is interrupted (Ctrl-C) keeps what it has trained, as Keras's does.
    """
    before = {name: value for name, value in vars(estimator).items() if name in _LEARNT}
    if go_on:  # the net and the generator are those of the earlier fit
        before["_generator"] = copy.deepcopy(before["_generator"])
        values = before["_net"].values()
    try:
        yield
    except BaseException as error:
        has_trained = go_on or vars(estimator).get("_net") is not before.get("_net")
        if has_trained and not isinstance(error, Exception):
            raise
        for name in _LEARNT & vars(estimator).keys():
            delattr(estimator, name)
        vars(estimator).update(before)
        if go_on:
            before["_net"].restore(values)
        raise


@dataclasses.dataclass(frozen=True)
class NetFacts:
    """What an estimator knows about its net, to feed it and to read it."""

    x_specs: Any
    x_dtypes: Any
    output_shape: Any
    float_dtype: str
    loss: Any


class BaseKerasEstimator(StreamsMixin, RoutedParamsMixin, CallbackSupportMixin, BaseEstimator):
    """Base of the estimators that learn y from X.

    A subclass checks its targets (``_check_data``), says what they are (``_learn_target``) and
    turns the net's outputs into predictions. A subclass with a method ``build_model``, which is a
    builder, uses it for ``model=None``.
    """

    def __init__(
        self,
        model=None,
        *,
        loss=None,
        optimizer=None,
        metrics=None,
        epochs=100,
        batch_size=32,
        validation_split=None,
        early_stopping=False,
        callbacks=None,
        shuffle=True,
        augment=None,
        warm_start=False,
        random_state=None,
        verbose=0,
        on_divergence="raise",
        engine="compiled",
        **routed,
    ):
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = metrics
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.early_stopping = early_stopping
        self.callbacks = callbacks
        self.shuffle = shuffle
        self.augment = augment
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.on_divergence = on_divergence
        self.engine = engine
        self._store_routed(routed)

    @with_callbacks
    def fit(self, X, y=None, sample_weight=None, *, X_val=None, y_val=None, groups=None, **others):
        """Train a net on X and y.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            Training data, samples first: a table of shape (n_samples, n_features), an array of
            any higher rank, one string for each sample, or several inputs by name. Or a stream
            of batches ``(x, y)`` or ``(x, y, sample_weight)``: a `tf.data.Dataset`, a
            `keras.utils.PyDataset` or a function that returns a generator.
        y : array-like, default=None
            Targets, samples first. None with a stream, which has its own.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts, relative to the others.
        X_val, y_val : array-likes, default=None
            Validation data. In a Pipeline, ``transform_input=["X_val"]`` scales it like X. A
            stream, without y_val, will do, too.
        groups : array-like of shape (n_samples,), default=None
            Handed to ``validation_split``, which has to be a splitter.
        **others : dict
            None are taken: what `keras.Model.fit` takes besides goes to the constructor.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the data or a parameter can't be used; nothing is trained then.
        DivergenceError
            If training turns to NaN, and ``on_divergence="raise"``.
        """
        own = ("X", "y", "sample_weight", "X_val", "y_val", "groups")
        check_no_others("fit", others, own, type(self).__signature__.parameters)
        go_on = self.warm_start and hasattr(self, "_net")
        with _undone_on_error(self, go_on=go_on):
            hold_out = functools.partial(self._hold_out, X_val, y_val, groups)
            rows, validation, X, y = self._begin(
                X, y, sample_weight, go_on=go_on, hold_out=hold_out
            )
            if X_val is not None:
                validation = self._validation_rows(X_val, y_val)
            first = split_routed(self._routed)["fit"].get("initial_epoch", 0)
            epochs = range(first, self._fit_argument("epochs"))
            self._train(rows, validation, X, y, epochs, go_on=go_on)
        return self

    @with_callbacks
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one epoch more, from where the weights and the optimizer are.

        Nothing is held out of these rows.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            The next rows, as in `fit`.
        y : array-like, default=None
            Their targets. None with a stream.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts, relative to the others.

        Returns
        -------
        self : object
            The estimator.
        """
        go_on = hasattr(self, "_net")
        with _undone_on_error(self, go_on=go_on):
            rows, _, X, y = self._begin(X, y, sample_weight, go_on=go_on)
            self._train(rows, None, X, y, range(1), go_on=go_on)
        return self

    def initialize(self, X, y=None):
        """Make the net for X and y without training it: to look at it, or to load weights.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            As in `fit`; what it looks like matters.
        y : array-like, default=None
            As in `fit`.

        Returns
        -------
        self : object
            The estimator, ready to predict.
        """
        with _undone_on_error(self):
            self._begin(X, y, None, go_on=False)
        return self

    def evaluate(self, X, y=None, sample_weight=None):
        """Compute the loss and the metrics that the net was compiled with.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            Data, as in `fit`.
        y : array-like, default=None
            True targets. None with a stream.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts, relative to the others.

        Returns
        -------
        results : dict of float
            ``{"loss": ..., ...}``.
        """
        check_is_fitted(self)
        if (stream := as_stream(X)) is not None:
            check_inside(y, sample_weight)
            check_stream(stream, {}, 1)
            rows = self._stream_rows(stream, trains=False)
        else:
            X, y = self._check_data(X, y, reset=False)
            rows = self._rows(X, y, training_weights(sample_weight, X))
        return run.evaluate(self._net, rows, self._fit_argument("batch_size"))

    @property
    def model_(self):
        """The trained `keras.Model`, compiled, with its optimizer's state; nobody else's."""
        if not hasattr(self, "_net"):
            raise AttributeError(
                f"This {type(self).__name__} has no model_ yet; call fit or initialize first."
            )
        return self._net.expose()

    def _begin(self, X, y, sample_weight, *, go_on, hold_out=None):
        """Check everything, make a net unless there is one; return the rows, X and y.

        The rows are those of training and, if ``hold_out`` splits some off, of validation.
        """
        self._check_parameters()
        if (stream := as_stream(X)) is not None:
            check_inside(y, sample_weight)
            return self._begin_stream(stream, go_on=go_on, hold_out=hold_out)
        X, y = self._check_data(X, y, reset=not go_on)
        if go_on:
            self._adopt_learning_rate()
        else:
            build_seed = self._learn(y)
        split = hold_out(X, y) if hold_out is not None else None
        if not go_on:
            self._make_net(X, y, build_seed, seen=None if split is None else split[0])
        rows = self._rows(X, y)
        train, held_out = split if split is not None else (None, None)
        weight = self._training_weights(X, y, sample_weight, train)
        check_any_weight(weight, train, self._weight_names)
        training = dataclasses.replace(rows, weight=weight)
        if split is None:
            return training, None, X, y
        weight = self._validation_weights(X, y, sample_weight, held_out)
        check_any_weight(weight, held_out, "sample_weight", "hold out")
        validation = dataclasses.replace(rows, weight=weight)
        training, validation = training.only(train), validation.only(held_out)
        if self._fit_argument("shuffle"):
            training = training.in_storage_order
        return training, validation.in_storage_order, X, y

    def _learn(self, y):
        """Learn what y is, and draw the seeds; return the one of the net."""
        random_state = check_random_state(self.random_state)
        build_seed, order_seed, split_seed = random_state.randint(_MAX_SEED, size=3).tolist()
        self._target = self._learn_target(y)
        self._generator, self._split_seed = np.random.default_rng(order_seed), split_seed
        self.history_, self.n_iter_ = {}, 0
        return build_seed

    def _adopt_learning_rate(self):
        """Take over a learning rate set since the net was made; raise for any other change."""
        now, rate = self._net_parameters(), "optimizer__learning_rate"
        changed = changed_names(self._made_with, now)
        others = sorted(set(changed) - {rate})
        if others or (changed and not isinstance(now.get(rate), Real)):
            raise ValueError(
                f"{(others or changed)[0]} was changed since the net was made, and this goes on "
                "with that net; expected nothing new but epochs, batch_size, callbacks and an "
                "optimizer__learning_rate that is a number. Set it back, or fit with "
                "warm_start=False, or change the net itself, which is model_."
            )
        if changed:
            self._net.model.optimizer.learning_rate = float(now[rate])
            self._made_with = now

    def _make_net(self, X, y, build_seed, seen):
        """Make a net for X and y; a builder that asks for X gets only the rows that are seen."""
        facts = builder_facts(X, y, self._target, self._source(self.model), seen)
        recipe = self._recipe(self._net_parameters(), self._target, facts, input_specs(X))
        net, self._facts = make_net(recipe, build_seed, lambda model: self._look_at(model, X))
        check_method_names(net, self._routed)
        self._net = net
        self._made_with = self._net_parameters()
        self._builder_facts = recipe.without_data().facts

    def _look_at(self, model, X):
        """Collect the facts of a net, and check that it can learn the target."""
        specs = input_specs(X)
        shape = output_shape(model, specs)
        loss = by_output(loss_facts(model.loss), shape)
        self._target.check_net(shape, loss)
        check_ending(model, loss, shape)
        return NetFacts(specs, input_dtypes(model, X), shape, float_dtype(model), loss)

    def _net_parameters(self):
        """Return the parameters that a net is made with, by name."""
        named = {name: getattr(self, name) for name in _NET_PARAMETERS}
        prefixes = (*_NET_PARAMETERS, "compile")
        return named | {k: v for k, v in self._routed.items() if k.partition("__")[0] in prefixes}

    def _recipe(self, parameters, target, facts, x_specs):
        named = {name: parameters[name] for name in _NET_PARAMETERS}
        routed = {name: value for name, value in parameters.items() if name not in named}
        source = self._source(named.pop("model"))
        return Recipe(source, facts, x_specs, target, routed=routed, **named)

    def _builder(self):
        source = self._source(self.model)
        return PRESETS.get(source) if isinstance(source, str) else source

    def _source(self, model):
        return model if model is not None else getattr(self, "build_model", "mlp")

    def _rows(self, X, y=None, weight=None):
        """Put data into the form the net takes."""
        self._check_rows(X)
        facts = self._facts
        if y is None:
            return Rows(X, x_dtypes=facts.x_dtypes)
        encoded = self._target.encode(y, facts.output_shape, facts.loss)
        y_dtypes = map_leaves(
            lambda leaf: "int32" if leaf.dtype == np.int32 else facts.float_dtype, encoded
        )
        return Rows(
            X,
            encoded,
            weight,
            x_dtypes=facts.x_dtypes,
            y_dtypes=y_dtypes,
            weight_dtype=facts.float_dtype,
        )

    def _check_rows(self, X):
        got, expected = input_specs(X), self._facts.x_specs
        if got != expected:
            raise ValueError(
                f"X has rows of shape and dtype {got}; expected {expected}, as in training."
            )

    _weight_names = "sample_weight"

    def _training_weights(self, X, y, sample_weight, rows=None):
        """Return the weights of all samples, relative to those of ``rows``."""
        return training_weights(sample_weight, X, rows)

    def _validation_weights(self, X, y, sample_weight, rows):
        return self._training_weights(X, y, sample_weight, rows)

    def _hold_out(self, X_val, y_val, groups, X, y):
        """Return the numbers of training and validation rows; None if nothing is held out."""
        if (X_val is None) != (y_val is None) and as_stream(X_val) is None:
            raise ValueError(
                "Got only one of X_val and y_val; expected both, or neither. For a part of the "
                "training data use validation_split=0.1."
            )
        split = self.validation_split
        if X_val is not None:
            if split is not None:
                raise ValueError(
                    f"Got X_val, and validation_split={split!r}; expected one of them. Leave X_val "
                    "out, or set validation_split=None."
                )
            return None
        wanted = f"validation_split={split!r}"
        if split is None and self.early_stopping:
            split, wanted = DEFAULT_FRACTION, "early_stopping=True"
        if groups is not None and not hasattr(split, "split"):
            raise ValueError(
                f"Got groups, and validation_split={split!r} doesn't look at them; expected a "
                "splitter. Set validation_split=GroupShuffleSplit(1, test_size=0.1), or leave "
                "groups out."
            )
        if split is None:
            return None
        check_sliceable(X, wanted)
        labels = self._target.strata(y)
        return split_rows(split, n_samples(X), labels, groups, self._split_seed)

    def _validation_rows(self, X_val, y_val):
        try:
            if (stream := as_stream(X_val)) is not None:
                check_inside(y_val, None, "y_val")
                check_stream(stream, {}, self._fit_argument("epochs"))
                return self._stream_rows(stream, trains=False)
            return self._rows(*self._check_data(X_val, y_val, reset=False))
        except ValueError as error:
            raise ValueError(f"X_val and y_val can't be used: {error}") from error

    def _train(self, rows, validation, X, y, epochs, *, go_on):
        """Train the net, tell callbacks of both kinds about it, and keep the history."""
        callbacks = make_callbacks(self.callbacks, split_routed(self._routed)["callbacks"])
        stopper = (
            early_stopping_callback() if self.early_stopping and validation is not None else None
        )
        context = self._init_callback_context(max_subtasks=len(epochs))
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        tasks = task_callback(self, context, X, y) if hasattr(self, "_skl_callbacks") else None
        helpers = [callback for callback in (stopper, tasks) if callback is not None]
        n_past, past, history = self.n_iter_, self.history_, {}
        vars(self).pop("best_epoch_", None)
        try:
            self._run(rows, validation, [*callbacks, *helpers], epochs, history)
            context.call_on_fit_task_end(estimator=self, X=X, y=y)
            if stopper is not None:
                self.best_epoch_ = n_past + stopper.best_epoch - epochs.start
        finally:  # also if Ctrl-C ends it
            release([*callbacks, *helpers])
            self._net.forget_recipe()
            self.history_ = _joined(past, history, n_past)
            self.n_iter_ = n_past + max(map(len, history.values()), default=0)
            self.callbacks_ = callbacks

    def _run(self, rows, validation, callbacks, epochs, history):
        arguments = split_routed(self._routed)["fit"]
        known = _ENGINE_FIT_ARGUMENTS
        if isinstance(rows, StreamedRows):
            known = known | {"steps_per_epoch"}
        schedule = Schedule(
            epochs=epochs.stop,
            batch_size=self._fit_argument("batch_size"),
            generator=self._generator,
            shuffle=self._fit_argument("shuffle"),
            initial_epoch=epochs.start,
            augment=make_augmentation(self.augment),
        )
        run.train(
            self._net,
            rows,
            schedule,
            history,
            compiled=self.engine == "compiled" and not any(map(needs_batches, callbacks)),
            fit_arguments={k: v for k, v in arguments.items() if k not in known},
            validation=validation,
            callbacks=callbacks,
            verbose=self._fit_argument("verbose"),
            on_divergence=self.on_divergence,
        )

    def _score(self, metric, X, y, sample_weight):
        """Compute a metric of what is predicted for X; for several outputs, the mean of theirs."""
        if isinstance(y, LazyArray):
            y = y.finite("y")
            if isinstance(X, LazyArray) and y.nbytes > WHOLE_BYTES:
                return score_blocks(metric, self._predicted_blocks(X, y, sample_weight))
        predicted, y, sample_weight = self._predicted(X, y, sample_weight)
        if not isinstance(predicted, dict):
            return metric(y, predicted, sample_weight=sample_weight)
        y = by_name(y)
        self._target.check_names(y)
        scores = [
            metric(y[name], part, sample_weight=sample_weight) for name, part in predicted.items()
        ]
        return float(np.mean(scores))

    def _predicted_blocks(self, X, y, sample_weight):
        """Predict lazy rows, some after the others as they are stored, next to what is true."""
        check_is_fitted(self)
        check_consistent_length(X, y)
        weights, order = training_weights(sample_weight, X), X.storage_order()
        row_bytes = 8 * int(np.prod(self._facts.output_shape, dtype=int))
        for rows in spans(len(X), 4 * row_bytes):  # predictions and what is made of them
            rows = rows if order is None else order[rows]
            weight = None if weights is None else np.asarray(weights[rows])
            yield np.asarray(y[rows]), self.predict(X[rows]), weight

    def _outputs(self, X):
        """Check X and return the net's outputs for it."""
        check_is_fitted(self)
        if (stream := as_stream(X)) is not None:
            return joined([(self._outputs(x),) for x, _, _ in stream.blocks()])[0]
        return self._net_outputs(check_inputs(self, X, reset=False))

    def _net_outputs(self, X):
        self._check_predict_batch_size()
        rows = self._rows(X)
        outputs = run.predict(self._net, rows, split_routed(self._routed)["predict"])
        check_not_nan(outputs, self.on_divergence)
        if not isinstance(outputs, list | tuple):
            return outputs
        return by_output_name(self._net.structure, outputs)

    def _fit_argument(self, name):
        return split_routed(self._routed)["fit"].get(name, getattr(self, name))

    def _check_routed_names(self):
        source = self._source(self.model)
        # What is no source at all is for fit to tell, as scikit-learn asks of set_params.
        if split_routed(self._routed)["model"] and (isinstance(source, str) or callable(source)):
            check_source(source, self._routed)

    def _check_parameters(self):
        for name in ("epochs", "batch_size"):
            check_scalar(self._fit_argument(name), name, Integral, min_val=1)
        self._check_predict_batch_size()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}; expected one of {choices}.")
        self._check_no_other_builder()
        check_augment(self.augment)
        check_validation_split(self.validation_split)
        check_source(self._source(self.model), self._routed)
        check_not_owned(self._routed)

    def _check_no_other_builder(self):
        own = self.model is not None or hasattr(self, "build_model")
        if not own and hasattr(self, "_keras_build_fn"):
            raise TypeError(
                f"{type(self).__name__} makes its nets by _keras_build_fn, as with SciKeras; "
                "expected build_model, or model=.... Rename the method."
            )

    def _check_predict_batch_size(self):
        if (size := split_routed(self._routed)["predict"].get("batch_size")) is not None:
            check_scalar(size, "predict__batch_size", Integral, min_val=1)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_net")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.input_tags.dict = True
        return tags

    def __copy__(self):
        """Copy without pickling the net: a shallow copy shares it, as it shares all else."""
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __sklearn_clone__(self):
        twin = copy.copy(self)
        vars(twin).update(self._packed_parameters())
        return super(BaseKerasEstimator, twin).__sklearn_clone__()

    def __getstate__(self):
        state = {**super().__getstate__(), **self._packed_parameters()}
        state.pop("callbacks_", None)
        if "_net" in state:
            state["_net"] = saving.pack(self._net.model, self._learnt_recipe())
            # Of the values only what differs: the parameters are in the state already.
            changed = changed_names(self._made_with, self._net_parameters())
            values = {k: pack(v) for k, v in self._made_with.items() if k in changed}
            state["_made_with"] = [*self._made_with], values
        return state

    def __setstate__(self, state):
        packed = state.get("_net")
        super().__setstate__({k: v for k, v in state.items() if k != "_net"})
        if packed is not None:
            names, values = state["_made_with"]
            values = {**self._net_parameters(), **values}
            self._made_with = {name: values[name] for name in names}
            self._net = Net(saving.unpack(packed, self._learnt_recipe()))

    def _packed_parameters(self):
        """Return the parameters with stand-ins for Keras objects, which don't copy themselves."""
        names = {*self.get_params(deep=False), "_routed"}
        return {name: pack(value) for name, value in vars(self).items() if name in names}

    def _learnt_recipe(self):
        return self._recipe(self._made_with, self._target, self._builder_facts, self._facts.x_specs)


def _joined(past, history, n_past):
    """Append one history to another; NaN stands for epochs in which a log wasn't kept."""
    n_new = max(map(len, history.values()), default=0)
    return {
        name: [
            *past.get(name, [np.nan] * n_past),
            *history.get(name, [np.nan] * n_new),
        ]
        for name in {**past, **history}
    }
