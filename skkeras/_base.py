"""Base class of the estimators: `fit`, `predict`, pickling."""

import contextlib
import copy

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skkeras._building.recipe import check_asks_for_no_data
from skkeras._callbacks import (
    early_stopping_callback,
    make_callbacks,
    needs_batches,
    release,
    task_callback,
)
from skkeras._engine.augmentation import make_augmentation
from skkeras._engine.compiled_loop import Schedule
from skkeras._engine.net import make_net
from skkeras._examples import Table, check_inputs, encode
from skkeras._hints import check_no_others
from skkeras._holdout import DEFAULT_FRACTION
from skkeras._keras_objects.copying import Copies
from skkeras._keras_objects.internals import by_output_name
from skkeras._net_params import (
    NetParamsMixin,
    builder_facts,
    check_method_names,
    check_validation,
)
from skkeras._params import RoutedParamsMixin, split_routed
from skkeras._scoring import ScoringMixin
from skkeras._state import StateMixin, restore
from skkeras._stream_examples import StreamExamples
from skkeras._versions import CallbackSupportMixin, with_callbacks
from skkeras.data._batches import joined
from skkeras.data._streams import as_stream, check_inside, check_stream

_MAX_SEED = 2**31 - 1
# Arguments of `keras.Model.fit` that the engine knows; for others Keras's own loop runs.
_ENGINE_FIT_ARGUMENTS = {"epochs", "batch_size", "verbose", "shuffle", "initial_epoch"}


class BaseKerasEstimator(
    ScoringMixin,
    StateMixin,
    NetParamsMixin,
    RoutedParamsMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
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
        epochs="auto",
        batch_size="auto",
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
        allow_nan_targets=False,
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
        self.allow_nan_targets = allow_nan_targets
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
        sample_weight : array-like of shape (n_samples,) or (n_samples, ...), or dict, default=None
            How much each sample, or position in it, counts, relative to the others; by output.
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
            stops = self._stops_early(examples, X_val)
            parts = self._parts(examples, X_val, y_val, groups, stops)
            self._make_net(examples, parts, seed)
            training, validation = self._sources(examples, parts)
            held_out = examples, None if parts is None else parts[1]
            if X_val is not None:
                held_out, validation = self._validation_source(X_val, y_val, training, examples)
            epochs = self._epochs_of_fit(validation)
            self._train(training, validation, examples, epochs, held_out, stops)
        return self

    @with_callbacks
    def partial_fit(self, X, y=None, sample_weight=None, **others):
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
        **others : dict
            None are taken: what `keras.Model.fit` takes goes to the constructor.

        Returns
        -------
        self : object
            The estimator.
        """
        if others:
            own = ("X", "y", "sample_weight")
            check_no_others("partial_fit", others, own, type(self).__signature__.parameters)
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

    def evaluate(self, X, y=None, sample_weight=None, **others):
        """Compute the loss and the metrics that the net was compiled with.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            Data, as in `fit`.
        y : array-like, default=None
            True targets. None with a stream.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts, relative to the others.
        **others : dict
            None are taken: ``batch_size`` is the constructor's.

        Returns
        -------
        results : dict of float
            ``{"loss": ..., ...}``.
        """
        if others:
            own = ("X", "y", "sample_weight")
            check_no_others("evaluate", others, own, type(self).__signature__.parameters)
        return self._evaluate(X, y, sample_weight)

    def _evaluate(self, X, y, sample_weight, groups=None):
        check_is_fitted(self)
        examples = self._examples(X, y, sample_weight, groups=groups, use="evaluate")
        source, _ = examples.sources(self._target, self._facts)
        return self._net.evaluate(source, self._fit_argument("batch_size"))

    @property
    def model_(self):
        """The trained `keras.Model`, compiled, with its optimizer's state; nobody else's."""
        if not hasattr(self, "_net"):
            raise AttributeError(
                f"This {type(self).__name__} has no model_ yet; call fit or initialize first."
            )
        return self._net.present(self._facts.x_specs)

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

        ``use`` is "fit", "partial_fit", "initialize", "X_val" or "evaluate"; ``go_on`` says whether
        the net is there already, ``splits`` whether rows may be held out, ``classes`` holds all
        labels if the user has told. Groups only matter to a splitter here.
        """
        trains = use in ("fit", "partial_fit", "initialize")
        reset = trains and not go_on
        if isinstance(X, np.ndarray) or (stream := as_stream(X)) is None:
            return Table(*self._check_data(X, y, reset=reset), sample_weight, (X, y))
        validates = use == "X_val"
        arguments = split_routed(self._routed)["fit"] if trains or validates else {}
        check_inside(y, sample_weight, "y_val" if validates else "y")
        n_passes = self._fit_argument("epochs") if use in ("fit", "X_val") else 1
        check_stream(stream, arguments, n_passes, validates=validates)
        n_steps = arguments.get("validation_steps" if validates else "steps_per_epoch")
        counts = None
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
        x_shape = getattr(examples.X, "shape", ())
        self._target = self._learn_target(examples.targets, classes, x_shape)
        self._generator, self._split_seed = np.random.default_rng(order_seed), split_seed
        self.history_, self.n_iter_ = {}, 0
        return build_seed

    def _stops_early(self, examples, X_val):
        """Tell whether held-out rows decide when to stop; "auto" holds rows out of large tables."""
        if not self._leaves_stopping:
            return bool(self.early_stopping)
        is_left = self.validation_split is None and X_val is None
        return is_left and examples.can_spare(self._least_rows())

    def _parts(self, examples, X_val, y_val, groups, stops):
        """Return the numbers of training and validation rows; None if nothing is held out."""
        split = self.validation_split
        wanted = f"validation_split={split!r}"
        if split is None and stops:
            split, wanted = DEFAULT_FRACTION, f"early_stopping={self.early_stopping!r}"
        check_validation(X_val, y_val, groups, self.validation_split)
        if split is None or X_val is not None:
            return None
        try:
            return examples.split(split, wanted, self._target, groups, self._split_seed)
        except ValueError:
            if self.validation_split is None and self._leaves_stopping:
                return None  # a label has too few rows
            raise

    def _make_net(self, examples, parts, seed):
        """Make a net unless there is one; a builder that asks for X sees no held-out rows."""
        shared = self._shared_variables()
        if seed is None:
            self._check_shared(shared)
            return
        seen = None if parts is None else parts[0]
        source = self._source(self.model)
        facts = builder_facts(examples, self._target, source, seen)
        self._copies = Copies(shared)
        recipe = self._recipe(self._net_parameters(), self._target, facts, examples.specs)
        self._net, self._facts = make_net(recipe, seed, self._copies)
        self._target = self._target.reading(self._facts.output_shape)
        check_method_names(self._net, self._routed)
        self._made_with = self._net_parameters()
        self._builder_facts = recipe.without_data().facts

    def _sources(self, examples, parts=None):
        """Weigh and encode examples; return the source to train on, and what is held out."""
        train = None if parts is None else parts[0]
        class_weights = self._class_weights(examples, train)
        training, validation = examples.sources(self._target, self._facts, parts, class_weights)
        if validation is not None:
            training = training.in_storage_order if self._fit_argument("shuffle") else training
            validation = validation.in_storage_order
        return training, validation

    def _class_weights(self, examples, rows):
        """Return a function that weighs rows by their labels; None if they count alike."""
        return None

    def _validation_source(self, X_val, y_val, training, trained):
        """Return examples, with None for all their rows, and the source of them.

        They are weighed by the class weights of the examples to train on.
        """
        stream, known = as_stream(X_val), split_routed(self._routed)["fit"].get("validation_steps")
        if stream is not None and known is None:
            X_val = stream.limited(training.steps_per_epoch(self._fit_argument("batch_size")))
        try:
            examples = self._examples(X_val, y_val, use="X_val")
            weigh = self._class_weights(trained, None)
            return (examples, None), examples.sources(self._target, self._facts, None, weigh)[0]
        except ValueError as error:
            raise ValueError(f"X_val and y_val can't be used: {error}") from error

    # Training.

    @property
    def _scoring(self):
        return getattr(self, "scoring", None)  # a forecaster has none

    def _train(self, training, validation, examples, epochs, held_out=None, stops=False):
        """Train the net, tell callbacks of both kinds about it, and keep the history."""
        X, y = examples.given
        callbacks = self._own_callbacks()
        scores = self._score_callbacks(held_out, validation) if self._scoring else []
        stops = stops and validation is not None
        stopper = early_stopping_callback(**self._stopping_settings()) if stops else None
        context = self._init_callback_context(max_subtasks=len(epochs))
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        tasks = task_callback(self, context, X, y) if hasattr(self, "_skl_callbacks") else None
        helpers = [callback for callback in (stopper, tasks) if callback is not None]
        n_past, past, history = self.n_iter_, self.history_, {}
        vars(self).pop("best_epoch_", None)
        try:
            with self._scheduled(epochs) as rates:
                before = [*rates, *scores]
                self._run(training, validation, [*before, *callbacks, *helpers], epochs, history)
            context.call_on_fit_task_end(estimator=self, X=X, y=y)
            if stopper is not None:
                self.best_epoch_ = n_past + stopper.best_epoch - epochs.start
        finally:  # also if Ctrl-C ends it
            if callbacks or helpers:
                release([*callbacks, *helpers])
            self._net.forget_recipe()
            self.history_ = _joined(past, history, n_past)
            self.n_iter_ = n_past + max(map(len, history.values()), default=0)
            self.callbacks_ = callbacks

    def _own_callbacks(self):
        routed = split_routed(self._routed)["callbacks"]
        if not (self.callbacks or routed):
            return []
        return make_callbacks(self.callbacks, routed, self._copies)

    def _run(self, training, validation, callbacks, epochs, history):
        arguments = split_routed(self._routed)["fit"]
        known = _ENGINE_FIT_ARGUMENTS | training.known_arguments
        if validation is not None:
            known |= validation.known_validation_arguments
        schedule = Schedule(
            epochs=epochs.stop,
            batch_size=self._fit_argument("batch_size"),
            generator=self._generator,
            shuffle=self._fit_argument("shuffle"),
            initial_epoch=epochs.start,
            augment=None if self.augment is None else make_augmentation(self.augment),
        )
        self._net.train(
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

    def _outputs(self, X):
        """Check X and return the net's outputs for it."""
        check_is_fitted(self)
        if isinstance(X, np.ndarray) or (stream := as_stream(X)) is None:
            return self._net_outputs(Table(check_inputs(self, X, reset=False)))
        return joined([(self._outputs(x),) for x, _, _ in stream.blocks()])[0]

    def _net_outputs(self, examples):
        arguments = self._predict_arguments() if self._routed else {}
        rows = encode(examples, self._target, self._facts)
        outputs = self._net.predict(rows, arguments, self.on_divergence)
        if isinstance(outputs, list | tuple):
            outputs = by_output_name(self._net.structure, outputs)
        is_one = isinstance(outputs, dict) and not isinstance(self._facts.output_shape, dict)
        return next(iter(outputs.values())) if is_one else outputs

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_net")


@contextlib.contextmanager
def _undone_on_error(estimator, *, go_on=False):
    """Leave an estimator as it was if a fit fails.

    A fit that is interrupted (Ctrl-C) keeps its training so far, as Keras's does.
    """
    before, values = dict(vars(estimator)), None
    if go_on:  # the net and the generator of the earlier fit are changed in place
        before["_generator"] = copy.deepcopy(before["_generator"])
        values = before["_net"].values()
    try:
        yield
    except BaseException as error:
        has_trained = go_on or vars(estimator).get("_net") is not before.get("_net")
        if isinstance(error, Exception) or not has_trained:
            restore(estimator, before, values)
        raise


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
