"""Base class of the estimators: `fit`, `predict`, pickling."""

import contextlib
import copy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, check_scalar

from skkeras import saving
from skkeras._building.recipe import (
    Recipe,
    builder_facts,
    check_asks_for_no_data,
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
from skkeras._examples import StreamExamples, Table
from skkeras._hints import check_no_others
from skkeras._holdout import DEFAULT_FRACTION, check_validation_split
from skkeras._inputs import (
    by_name,
    check_inputs,
    training_weights,
)
from skkeras._keras_objects.copying import pack
from skkeras._keras_objects.specs import (
    by_output_name,
)
from skkeras._params import RoutedParamsMixin, changed_names, split_routed
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
    "_learned",
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


class BaseKerasEstimator(RoutedParamsMixin, CallbackSupportMixin, BaseEstimator):
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
        if others:
            own = ("X", "y", "sample_weight", "X_val", "y_val", "groups")
            check_no_others("fit", others, own, type(self).__signature__.parameters)
        go_on = self.warm_start and hasattr(self, "_net")
        with _undone_on_error(self, go_on=go_on):
            self._check_parameters()
            examples = self._examples(
                X, y, sample_weight, groups=groups, use="fit", go_on=go_on, splits=X_val is None
            )
            seed = self._learn(examples, go_on=go_on)
            parts = self._parts(examples, X_val, y_val, groups)
            self._make_net(examples, parts, seed)
            training, validation = self._sources(examples, parts)
            if X_val is not None:
                validation = self._validation_source(X_val, y_val)
            first = split_routed(self._routed)["fit"].get("initial_epoch", 0)
            epochs = range(first, self._fit_argument("epochs"))
            self._train(training, validation, examples, epochs)
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
        return self._partial_fit(X, y, sample_weight)

    def _partial_fit(self, X, y, sample_weight, *, groups=None, classes=None):
        go_on = hasattr(self, "_net")
        with _undone_on_error(self, go_on=go_on):
            self._check_parameters()
            examples = self._examples(
                X, y, sample_weight, groups=groups, use="partial_fit", go_on=go_on, classes=classes
            )
            seed = self._learn(examples, go_on=go_on, classes=classes)
            self._make_net(examples, None, seed)
            training, _ = self._sources(examples)
            self._train(training, None, examples, range(1))
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
        return self._initialize(X, y)

    def _initialize(self, X, y, groups=None):
        with _undone_on_error(self):
            self._check_parameters()
            examples = self._examples(X, y, groups=groups, use="initialize")
            self._make_net(examples, None, self._learn(examples))
            self._sources(examples)
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
        return self._evaluate(X, y, sample_weight)

    def _evaluate(self, X, y, sample_weight, groups=None):
        check_is_fitted(self)
        examples = self._examples(X, y, sample_weight, groups=groups, use="evaluate")
        source, _ = examples.sources(self._encode)
        return run.evaluate(self._net, source, self._fit_argument("batch_size"))

    @property
    def model_(self):
        """The trained `keras.Model`, compiled, with its optimizer's state; nobody else's."""
        if not hasattr(self, "_net"):
            raise AttributeError(
                f"This {type(self).__name__} has no model_ yet; call fit or initialize first."
            )
        return self._net.expose()

    # Steps of a fit, in their order.

    def _examples(
        self,
        X,
        y,
        sample_weight=None,
        *,
        groups=None,
        use,
        go_on=False,
        splits=False,
        classes=None,
    ):
        """Check data, and learn of them what scikit-learn learns, if they are the first.

        Parameters
        ----------
        X, y, sample_weight, groups : as given
            Of these estimators, groups only matter to a splitter.
        use : {"fit", "partial_fit", "initialize", "X_val", "evaluate"}
            What the data are for.
        go_on : bool, default=False
            Whether the net is there already.
        splits : bool, default=False
            Whether rows may be held out of them.
        classes : array or None, default=None
            All labels, if the user has told.

        Returns
        -------
        examples : Table, StreamExamples or WindowExamples
        """
        trains = use in ("fit", "partial_fit", "initialize")
        reset = trains and not go_on
        if isinstance(X, np.ndarray) or (stream := as_stream(X)) is None:
            return Table(*self._check_data(X, y, reset=reset), sample_weight, (X, y))
        arguments = split_routed(self._routed)["fit"] if trains else {}
        check_inside(y, sample_weight, "y_val" if use == "X_val" else "y")
        n_passes = self._fit_argument("epochs") if use in ("fit", "X_val") else 1
        check_stream(stream, arguments, n_passes)
        n_steps, counts = arguments.get("steps_per_epoch"), None
        if trains:
            check_asks_for_no_data(self._source(self.model))
            counts = self._count_labels(stream, n_steps, classes_known=go_on or classes is not None)
        return StreamExamples(stream, self._check_data, reset=reset, n_steps=n_steps, counts=counts)

    def _count_labels(self, stream, n_steps, *, classes_known):
        """Count the labels of a stream, where they have to be known before training."""
        return None

    def _learn(self, examples, *, go_on=False, classes=None):
        """Learn what the targets are, and draw the seeds; return that of a net to be made."""
        if go_on:
            self._adopt_learning_rate()
            return None
        random_state = check_random_state(self.random_state)
        build_seed, order_seed, split_seed = random_state.randint(_MAX_SEED, size=3).tolist()
        self._target = self._learn_target(examples.targets, classes)
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

    def _parts(self, examples, X_val, y_val, groups):
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
        return examples.split(split, wanted, self._target, groups, self._split_seed)

    def _make_net(self, examples, parts, seed):
        """Make a net unless there is one; a builder that asks for X sees no held-out rows."""
        if seed is None:
            return
        seen = None if parts is None else parts[0]
        source = self._source(self.model)
        facts = builder_facts(examples, self._target, source, seen)
        recipe = self._recipe(self._net_parameters(), self._target, facts, examples.specs)
        self._net, self._facts = make_net(recipe, seed)
        check_method_names(self._net, self._routed)
        self._made_with = self._net_parameters()
        self._builder_facts = recipe.without_data().facts

    def _sources(self, examples, parts=None):
        """Weigh and encode examples; return the source to train on, and what is held out."""
        train = None if parts is None else parts[0]
        training, validation = examples.sources(
            self._encode, parts, self._class_weights(examples, train)
        )
        if validation is not None:
            training = training.in_storage_order if self._fit_argument("shuffle") else training
            validation = validation.in_storage_order
        return training, validation

    def _class_weights(self, examples, rows):
        """Return a function that weighs rows by their labels; None if they count alike."""
        return None

    def _validation_source(self, X_val, y_val):
        try:
            examples = self._examples(X_val, y_val, use="X_val")
            return examples.sources(self._encode)[0]
        except ValueError as error:
            raise ValueError(f"X_val and y_val can't be used: {error}") from error

    def _encode(self, examples):
        """Put examples into the form the net takes."""
        facts = self._facts
        if examples.specs != facts.x_specs:
            raise ValueError(
                f"X has rows of shape and dtype {examples.specs}; expected {facts.x_specs}, as in "
                "training."
            )
        if examples.y is None:
            return Rows(examples.X, x_dtypes=facts.x_dtypes, are_gathered=examples.are_gathered)
        y = self._target.encode(examples.y, facts.output_shape, facts.loss)
        y_dtypes = map_leaves(
            lambda leaf: "int32" if leaf.dtype == np.int32 else facts.float_dtype, y
        )
        return Rows(
            examples.X,
            y,
            x_dtypes=facts.x_dtypes,
            y_dtypes=y_dtypes,
            weight_dtype=facts.float_dtype,
            are_gathered=examples.are_gathered,
        )

    # The net's recipe.

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

    # Training.

    def _train(self, training, validation, examples, epochs):
        """Train the net, tell callbacks of both kinds about it, and keep the history."""
        X, y = examples.given
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
            self._run(training, validation, [*callbacks, *helpers], epochs, history)
            context.call_on_fit_task_end(estimator=self, X=X, y=y)
            if stopper is not None:
                self.best_epoch_ = n_past + stopper.best_epoch - epochs.start
        finally:  # also if Ctrl-C ends it
            release([*callbacks, *helpers])
            self._net.forget_recipe()
            self.history_ = _joined(past, history, n_past)
            self.n_iter_ = n_past + max(map(len, history.values()), default=0)
            self.callbacks_ = callbacks

    def _run(self, training, validation, callbacks, epochs, history):
        arguments = split_routed(self._routed)["fit"]
        known = _ENGINE_FIT_ARGUMENTS | training.known_arguments
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
            training,
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
        if isinstance(X, np.ndarray) or (stream := as_stream(X)) is None:
            return self._net_outputs(Table(check_inputs(self, X, reset=False)))
        return joined([(self._outputs(x),) for x, _, _ in stream.blocks()])[0]

    def _predicted(self, X, y, sample_weight):
        """Predict X, and return y and weights along with it: a stream has them inside."""
        if (stream := as_stream(X)) is None:
            return self.predict(X), y, sample_weight
        check_inside(y, sample_weight)
        return joined([(self.predict(x), *rest) for x, *rest in stream.blocks(with_targets=True)])

    def _net_outputs(self, examples):
        self._check_predict_batch_size()
        rows = self._encode(examples)
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
