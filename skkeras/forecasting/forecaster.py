"""KerasForecaster: a Keras network that forecasts series, as a scikit-learn regressor."""

import dataclasses
from numbers import Integral

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.callback import with_callbacks
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted, check_scalar, validate_data

from skkeras._base import BaseKerasEstimator
from skkeras._dataframes import as_frame, check_columns, labelled
from skkeras._holdout import DEFAULT_FRACTION
from skkeras._inputs import relative_weights
from skkeras._params import changed_names
from skkeras.forecasting._context import hold_out
from skkeras.forecasting._examples import WindowExamples
from skkeras.forecasting._intervals import interval_widths
from skkeras.forecasting._learned import LearnedSeries, known_rows, learn_series
from skkeras.forecasting._panel import only_part, parts_of
from skkeras.forecasting._rollout import Rollout
from skkeras.forecasting._target import HorizonTarget
from skkeras.forecasting._time_index import index_of

_WINDOW_NORMS = (None, "last", "revin")
# They decide what the net sees and says, so that they can't change under it.
_WINDOW_PARAMETERS = ("look_back", "horizon", "target", "known_future", "normalize", "window_norm")


# What rows that come in for a purpose are, see `Rollout.contexts`.
_FOLLOWS = {
    "fit": "nothing",
    "initialize": "nothing",
    "partial_fit": "training",
    "X_val": "validates",
    "evaluate": "unknown",
}


class KerasForecaster(RegressorMixin, BaseKerasEstimator):
    """A Keras network that forecasts series.

    Rows are time steps. Row t is forecast from the ``look_back`` rows strictly before it.

    Parameters
    ----------
    model : callable, str, keras.Model or None, default=None
        A builder, the name of a preset, a template or None; see `KerasClassifier`. A builder's
        ``input_shape`` is (look_back, n_columns), and its ``n_outputs`` is horizon times the number
        of targets: all targets of the first step, then those of the next. None is ``"nlinear"``.
    look_back : int, default=24
        Rows that a forecast is made from.
    horizon : int, default=1
        Steps that are forecast at once.
    target : int, str, list of them or None, default=None
        The columns of X to forecast; None is all but the ones known in advance. With a y, it is
        y that is forecast, and these are the columns that hold its past, in any linear units; they
        are recognised if target is None.
    known_future : int, str, list of them or None, default=None
        Columns whose values are known in advance, such as holidays. The net sees them up to the
        last step that is forecast, in columns that follow those of X.
    gap : int, default=0
        Rows that are missing between the training data and the X that follows it. They are filled
        with the net's own forecasts; columns that it doesn't forecast keep their last value. Where
        X has a pandas index, the index tells. After `update` and `partial_fit` there is no gap.
    normalize : bool, default=True
        Whether the net sees standardised inputs and targets.
    window_norm : {"last", "revin"} or None, default=None
        Take the last value, or mean and standard deviation, out of each window, and put them back
        into its forecasts.
    validation_split : float, int, splitter or None, default=None
        What to hold out for validation: a fraction or number of rows at the end of the series, or
        the first split of a scikit-learn splitter. A window that forecasts some of both is left
        out.
    early_stopping : bool, default=False
        Stop when ``val_loss`` hasn't improved for 10 epochs, and restore the weights of the best
        epoch. Holds out the last tenth of the rows if nothing else is said.
    loss, optimizer, metrics, epochs, batch_size, callbacks, shuffle, augment, warm_start, \
random_state, verbose, on_divergence, engine, **routed
        As in `KerasRegressor`. Losses and metrics are in the net's units.

    Attributes
    ----------
    model_, history_, n_iter_, best_epoch_, callbacks_, n_features_in_, feature_names_in_
        As in `KerasClassifier`.

    Notes
    -----
    What precedes X in `predict` and `score` is ``history`` if that is given. Otherwise X is taken
    to follow the training data, whose last rows were kept; or, if X begins as the training data
    did, to be the training data: its first ``look_back`` rows, which have no history, are then
    forecast from the means of training, and left out of `score`. So are those of a series whose
    label in ``groups`` is new, and those of an X that begins, as its index says, elsewhere in the
    training data; `predict` then warns.

    Where both have a pandas index of dates, periods or integers, other than one that just counts
    rows from 0, that index decides whether X follows, and after which gap. An index of training
    that isn't even (a day is missing) says only what is later; gaps after it aren't seen. Without
    an index, rows are compared, each with those before it. The first, which has none, is judged by
    itself: where values repeat (counts, flags), give an index or ``history``.

    In a Pipeline a scaler drops the index of X, unless ``set_output(transform="pandas")``; `fit`
    then takes that of y.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras import KerasForecaster
    >>> wave = np.sin(np.arange(200) / 5).reshape(-1, 1)
    >>> net = KerasForecaster(look_back=12, optimizer__learning_rate=0.01, random_state=0)
    >>> net.fit(wave[:150]).score(wave[150:]) > 0.99
    True
    >>> net.forecast(3).shape
    (3, 1)
    """

    _learned: LearnedSeries

    def __init__(
        self,
        model=None,
        *,
        look_back=24,
        horizon=1,
        target=None,
        known_future=None,
        gap=0,
        normalize=True,
        window_norm=None,
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
        super().__init__(
            model,
            loss=loss,
            optimizer=optimizer,
            metrics=metrics,
            epochs=epochs,
            batch_size=batch_size,
            validation_split=validation_split,
            early_stopping=early_stopping,
            callbacks=callbacks,
            shuffle=shuffle,
            augment=augment,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
            on_divergence=on_divergence,
            engine=engine,
            **routed,
        )
        self.look_back = look_back
        self.horizon = horizon
        self.target = target
        self.known_future = known_future
        self.gap = gap
        self.normalize = normalize
        self.window_norm = window_norm

    def fit(self, X, y=None, sample_weight=None, *, X_val=None, y_val=None, groups=None):
        """Train a net on a series, or on several.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            Rows are time steps, in order.
        y : array-like of shape (n_rows,) or (n_rows, n_targets), default=None
            What to forecast; None is ``X[:, target]``.
        sample_weight : array-like of shape (n_rows,), default=None
            How much each row counts, relative to the others, where it is what is forecast.
        X_val, y_val : array-likes, default=None
            Validation data, the rows that follow X. After a gap in the index, windows that would
            reach into it are left out. Not with groups.
        groups : array-like of shape (n_rows,), default=None
            Which series each row is of. The rows of one are in order; windows don't cross.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the data or a parameter can't be used, or there are too few rows.
        DivergenceError
            If training turns to NaN, and ``on_divergence="raise"``.
        """
        return super().fit(X, y, sample_weight, X_val=X_val, y_val=y_val, groups=groups)

    @with_callbacks
    def partial_fit(self, X, y=None, sample_weight=None, *, groups=None):
        """Train for one epoch more on rows that follow those of training.

        Parameters
        ----------
        X, y, sample_weight, groups
            The rows that follow, as in `fit`; the first call begins the series. Forecasts are
            learnt whose steps are all among these rows, from the known rows before them.

        Returns
        -------
        self : object
            The estimator. Its end has moved, as by `update`.

        Raises
        ------
        ValueError
            As in `fit`, and if the index doesn't follow that of the known rows.
        """
        return self._partial_fit(X, y, sample_weight, groups=groups)

    def initialize(self, X, y=None, *, groups=None):
        """Make the net for X and y without training it: to look at it, or to load weights.

        Parameters
        ----------
        X, y, groups
            As in `fit`.

        Returns
        -------
        self : object
            The estimator, ready to predict what follows X.
        """
        return self._initialize(X, y, groups)

    def evaluate(self, X, y=None, sample_weight=None, *, groups=None):
        """Compute the loss and the metrics that the net was compiled with, in the net's units.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in `score`.

        Returns
        -------
        results : dict of float
            ``{"loss": ..., ...}``.
        """
        return self._evaluate(X, y, sample_weight, groups)

    def update(self, X, *, groups=None):
        """Move the end of the series on, without training.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            The rows that follow those that are known. If their index says that some are missing in
            between, the net's own forecasts stand for them.
        groups : array-like of shape (n_rows,), default=None
            Which series each row is of.

        Returns
        -------
        self : object
            The estimator, whose forecasts begin after X.

        Raises
        ------
        ValueError
            If the index overlaps with the known rows, or isn't of their frequency.
        """
        check_is_fitted(self)
        self._check_unchanged()
        table, index = self._table(X, reset=False)
        parts = parts_of(table, index, groups)
        contexts = self._rollout.contexts(parts, "training")
        self._learned = self._learned.extended(parts, contexts, self.look_back)
        return self

    def predict(self, X, *, history=None, groups=None):
        """Forecast each row of X from the rows before it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            Rows are time steps, in order.
        history : array-like or DataFrame of at least look_back rows, default=None
            What came right before X; None looks at the training data, see Notes of the class.
        groups : array-like of shape (n_rows,), default=None
            Which series each row is of.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_targets)
            In the shape of y. If horizon is above 1, steps are a further axis: (n_rows, horizon) or
            (n_rows, horizon, n_targets), and row t holds the forecasts of t, t + 1 and so on. What
            is known in advance beyond the last row of X is taken to be as in that row.

        Warns
        -----
        UserWarning
            If X's index begins inside the training data, whose rows before X aren't kept.
        """
        return self._shaped(self._forecasts(X, history, groups, warns=True)[0])

    def score(self, X, y=None, sample_weight=None, *, history=None, groups=None):
        """Compute the coefficient of determination, R2, of the forecasts for X.

        Each step of each row counts whose true value is in X, and whose history is known. With
        ``known_future``, rows count whose whole horizon is in X, since forecasts see it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            Rows are time steps, in order.
        y : array-like of shape (n_rows,) or (n_rows, n_targets), default=None
            True values; None is ``X[:, target]``.
        sample_weight : array-like of shape (n_rows,), default=None
            How much each row counts where it is what is forecast.
        history, groups
            As in `predict`.

        Returns
        -------
        score : float
            At most 1; 0 for forecasting the mean. With several targets the mean of theirs.
        """
        truth, forecasts, outcome = self.pairs(X, y, history=history, groups=groups)
        weight = relative_weights(sample_weight, X)
        weight = None if weight is None else weight[outcome]
        return r2_score(truth, forecasts, sample_weight=weight)

    def pairs(self, X, y=None, *, history=None, groups=None):
        """Pair forecasts for X with what happened, for a metric.

        Parameters
        ----------
        X, y, history, groups
            As in `score`.

        Returns
        -------
        truth, forecasts : arrays of shape (n_forecasts,) or (n_forecasts, n_targets)
            Each step of each row whose true value is in X, and whose history is known.
        rows : int array of shape (n_forecasts,)
            The rows of X that these are forecasts for.
        """
        forecasts, layout = self._forecasts(X, history, groups)
        truth = self._learned.truth(self._table(X, reset=False)[0], y)
        are_whole = bool(self._learned.known_future)
        rows, steps, outcome = layout.scored(self.horizon, are_whole=are_whole)
        if not len(rows):
            ahead = f", and the {self.horizon} rows to come that it sees" if are_whole else ""
            raise ValueError(
                f"Got n_samples={len(truth)} rows, none of which has {self.look_back} rows of "
                f"known history{ahead}; expected rows that follow the training data, or more of "
                "them. Pass history=, or more rows."
            )
        flat = slice(None) if self._learned.y_shape else 0
        return truth[outcome, flat], forecasts[rows, steps, flat], outcome

    def predict_interval(self, X, coverage=0.9, *, history=None, groups=None):
        """Forecast each row of X, and say between which limits the truth will be.

        Limits are as far from the forecast as the forecasts of held-out windows were off at that
        step (split-conformal). So the fit has to hold some out: ``validation_split=0.2``, or
        ``X_val``.

        Parameters
        ----------
        X, history, groups
            As in `predict`.
        coverage : float, default=0.9
            The share of the truth that is to be within, above 0 and below 1.

        Returns
        -------
        lower, upper : ndarrays
            Each in the shape that `predict` returns.

        Raises
        ------
        ValueError
            If the fit has held out too few windows for such a share, or none.
        """
        check_is_fitted(self)
        widths = interval_widths(self._held_out_errors(), coverage)
        forecasts = self._forecasts(X, history, groups, warns=True)[0]
        return self._shaped(forecasts - widths), self._shaped(forecasts + widths)

    def forecast(self, steps, X_future=None, *, history=None, group=None):
        """Forecast what comes after the end of the series.

        Beyond the horizon, forecasts are made from forecasts, a horizon at a time.

        Parameters
        ----------
        steps : int
            How many rows to forecast.
        X_future : array-like or DataFrame of at least steps rows, default=None
            The rows to come, of which only the columns that are known in advance are read; it may
            have only those. Rows beyond ``steps`` are seen up to the end of the horizon; where
            they lack, the last one is repeated.
        history : array-like or DataFrame of at least look_back rows, default=None
            What came before; None is the end of the training data, or of what `update` has
            added. Its index goes on in the steps of training; without one, rows are counted.
        group : object, default=None
            Which series, if the net was trained on several.

        Returns
        -------
        y : ndarray, Series or DataFrame of shape (steps,) or (steps, n_targets)
            Of the kind that was trained on; a pandas index is the one that continues.

        Raises
        ------
        ValueError
            If rows, or columns that are known in advance, are missing.
        """
        forecasts, index = self._ahead(steps, X_future, history, group)
        return self._labelled(forecasts, index)

    def forecast_interval(self, steps, coverage=0.9, X_future=None, *, history=None, group=None):
        """Say between which limits what comes after the end of the series will be.

        Parameters
        ----------
        steps : int
            How many rows to forecast, at most ``horizon``: what is held out tells no more.
        coverage : float, default=0.9
            The share of the truth that is to be within; see `predict_interval`.
        X_future, history, group
            As in `forecast`.

        Returns
        -------
        lower, upper : ndarrays, Series or DataFrames
            Each as `forecast` returns.

        Raises
        ------
        ValueError
            If steps are beyond the horizon, or the fit has held out too few windows.
        """
        check_is_fitted(self)
        widths = interval_widths(self._held_out_errors(), coverage)
        if steps > self.horizon:
            raise ValueError(
                f"Got steps={steps}, beyond horizon={self.horizon}; expected at most that many, "
                f"because errors of later steps aren't known. Train with horizon={steps}."
            )
        forecasts, index = self._ahead(steps, X_future, history, group)
        sides = forecasts - widths[:steps], forecasts + widths[:steps]
        return tuple(self._labelled(side, index) for side in sides)

    # Steps of the base, in the order of a fit.

    def _check_parameters(self):
        super()._check_parameters()
        for name, least in (("look_back", 1), ("horizon", 1), ("gap", 0)):
            if isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}={getattr(self, name)}; expected a number of rows.")
            check_scalar(getattr(self, name), name, Integral, min_val=least)
        if self.normalize not in (False, True):
            raise ValueError(f"normalize={self.normalize!r}; expected one of (False, True).")
        if self.window_norm not in _WINDOW_NORMS:
            raise ValueError(f"window_norm={self.window_norm!r}; expected one of {_WINDOW_NORMS}.")

    def _source(self, model):
        return model if model is not None else getattr(self, "build_model", "nlinear")

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
        follows = "nothing" if use == "partial_fit" and not go_on else _FOLLOWS[use]
        if follows != "nothing":
            self._check_unchanged()
        reset = follows == "nothing" and not go_on
        table, index = self._table(X, reset=reset)
        if index is None and follows != "unknown":
            index = index_of(y, "y")  # as behind a scaler that returns arrays
        parts = parts_of(table, index, groups)
        split = self._split() if splits else None
        masks = None if split is None else hold_out(split, len(table), groups)
        if reset:
            self._learned = self._learn_series(X, y, table, masks)
        truth = self._learned.truth(table, y)
        rollout = self._rollout
        contexts = rollout.contexts(parts, follows)
        if follows == "nothing":
            self._learned = self._learned.remembering(parts, self.look_back)
        elif follows == "training":
            self._learned = self._learned.extended(parts, contexts, self.look_back)
        return rollout.examples(
            parts, contexts, truth, sample_weight=sample_weight, given=(X, y), masks=masks
        )

    def _learn_target(self, y, classes=None):
        return HorizonTarget(self.horizon, y.series.shape[1])

    def _parts(self, examples, X_val, y_val, groups):
        if X_val is not None and self.validation_split is not None:
            raise ValueError(
                f"Got X_val, and validation_split={self.validation_split!r}; expected one of them. "
                "Leave X_val out, or set validation_split=None."
            )
        if X_val is not None and groups is not None:
            raise ValueError(
                "Got X_val and groups, which say nothing of the rows of X_val; expected one of "
                "them. Set validation_split=0.2, which holds out the end of each series."
            )
        if X_val is None and y_val is not None:
            raise ValueError("Got y_val and no X_val; expected both, or neither. Pass X_val.")
        if examples.masks is None:
            return None
        return examples.split(self._split(), "", self._target, groups, self._split_seed)

    def _split(self):
        """Return what decides which rows are held out; None if none are."""
        if self.validation_split is None and self.early_stopping:
            return DEFAULT_FRACTION
        return self.validation_split

    def _net_parameters(self):
        return super()._net_parameters() | {
            name: getattr(self, name) for name in _WINDOW_PARAMETERS
        }

    def _recipe(self, parameters, target, facts, x_specs):
        parameters = {k: v for k, v in parameters.items() if k not in _WINDOW_PARAMETERS}
        own = {
            "horizon_": target.steps[0],
            "n_targets_": target.steps[1],
            "target_columns_": self._learned.scaling.own,
        }
        facts = {**facts, "meta": {**facts["meta"], **own}}
        return super()._recipe(parameters, target, facts, x_specs)

    def _train(self, training, validation, examples, epochs):
        super()._train(training, validation, examples, epochs)
        if validation is not None:
            # Kept as rows, which are few; errors are as many as windows times steps.
            held_out = [part.only(validation.subset) for part in (validation.x, validation.y)]
            self._learned = dataclasses.replace(self._learned, held_out=held_out)

    # What is known of the series.

    def _table(self, X, *, reset, name="X"):
        """Check X as scikit-learn does; return it as float64, and its index."""
        frame = as_frame(X)
        index = index_of(frame, name)
        check_columns(frame, name)
        return validate_data(self, frame, dtype="float64", reset=reset), index

    def _learn_series(self, X, y, table, masks):
        is_seen = np.ones(len(table), bool) if masks is None else masks[0]
        return learn_series(
            X,
            table,
            y,
            getattr(self, "feature_names_in_", None),
            is_seen=is_seen if is_seen.any() else ~is_seen,
            target=self.target,
            known_future=self.known_future,
            normalize=self.normalize,
            window_norm=self.window_norm,
        )

    @property
    def _rollout(self):
        return Rollout(
            self._learned,
            self.look_back,
            self.horizon,
            self.gap,
            self.window_norm,
            getattr(self, "_target", None),
            self._net_outputs,
        )

    # Forecasts.

    def _forecasts(self, X, history, groups, *, warns=False):
        """Return forecasts (n_rows, horizon, n_targets), and the layout they were made from."""
        check_is_fitted(self)
        self._check_unchanged()
        table, index = self._table(X, reset=False)
        parts = parts_of(table, index, groups)
        rollout = self._rollout
        if history is None:
            contexts = rollout.contexts(parts, "unknown")
            if warns:
                self._learned.warn_inside(parts, self.look_back)
        else:
            group, part = only_part(parts)
            past = self._past_of_history(history, group)
            past.check_is_right_before(part.index)
            contexts = {group: (past.tail, 0)}
        layout = rollout.layout(parts, contexts)
        return rollout.forecasts(layout.series, layout.origins), layout

    def _past_of_history(self, history, group):
        """Check rows of history that a user gives."""
        table, index = self._table(history, reset=False, name="history")
        return self._learned.past_of_history(table, index, group, self.look_back)

    def _ahead(self, steps, X_future, history, group):
        """Return forecasts (steps, n_targets) of what comes after the end, and its index."""
        check_is_fitted(self)
        self._check_unchanged()
        check_scalar(steps, "steps", Integral, min_val=1)
        if history is None:
            past = self._learned.past(group, self.look_back)
        else:
            past = self._past_of_history(history, group)
        index = past.index_after(steps) if self._learned.kind == "pandas" else None
        names = getattr(self, "feature_names_in_", None)
        known = known_rows(
            X_future,
            self._learned.known_future,
            steps,
            None if past.timeline is None else index,
            n_columns=self.n_features_in_,
            names=names,
        )
        self._learned.check_goes_on(steps, self.horizon, names)
        return self._rollout.ahead(past.tail, steps, known)[0], index

    def _labelled(self, forecasts, index):
        y = forecasts if self._learned.y_shape else forecasts[:, 0]
        return labelled(y, self._learned.kind, self._learned.names, index)

    def _held_out_errors(self):
        """Return the absolute errors of the windows held out, in the targets' units."""
        if self._learned.held_out is None:
            raise ValueError(
                "Got no windows that the net wasn't trained on, and so nothing to tell its errors "
                "from; expected a fit that holds some out. Set validation_split=0.2, or pass X_val."
            )
        x, y = self._learned.held_out
        errors = self._target.forecasts(
            self._net_outputs(WindowExamples(x))
        ) - self._target.forecasts(y[:])
        if y.scale is not None:
            errors *= y.scale[:, np.newaxis]
        return np.abs(errors * self._learned.scaling.slope)

    def _shaped(self, forecasts):
        """Give forecasts (n_rows, horizon, n_targets) the shape of y, with an axis of steps."""
        if not self._learned.y_shape:
            forecasts = forecasts[..., 0]
        return forecasts[:, 0] if self.horizon == 1 else forecasts

    def _check_unchanged(self):
        changed = changed_names(self._made_with, self._net_parameters())
        for name in set(changed) & set(_WINDOW_PARAMETERS):
            raise ValueError(
                f"{name} was changed since the net was made; expected what it was trained with, "
                f"{self._made_with[name]!r}. Set it back, or fit again."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # rows of unordered data don't forecast the next
        tags.input_tags.sparse = False
        tags.input_tags.three_d_array = False
        tags.input_tags.string = False
        tags.input_tags.dict = False
        return tags
