"""KerasForecaster: a Keras network that forecasts series, as a scikit-learn regressor."""

import dataclasses
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted, check_scalar, validate_data

from skkeras.base import BaseKerasEstimator
from skkeras.engine import running
from skkeras.engine.rows import Rows
from skkeras.frames import as_frame, labelled
from skkeras.history import beginning, hold_out, join, lay_out, rows_ahead, rows_by_group
from skkeras.holdout import DEFAULT_FRACTION
from skkeras.horizon import Horizon
from skkeras.inputs import relative_weights
from skkeras.intervals import interval_widths
from skkeras.params import changed_names
from skkeras.series import Series, known_rows, learn_series
from skkeras.timeline import index_of, read_timeline
from skkeras.windows import columns_of, inputs, outcomes, split_origins, window_norms

_WINDOW_NORMS = (None, "last", "revin")
# They decide what the net sees and says, so that they can't change under it.
_WINDOW_PARAMETERS = ("look_back", "horizon", "target", "known_future", "normalize", "window_norm")


@dataclasses.dataclass(frozen=True, eq=False)
class _Given:
    """What fit and its kin were given, on its way through the steps of the base."""

    X: Any
    y: Any = None
    groups: Any = None
    follows: str = "unknown"  # "nothing", "training", or to be found out
    is_learnt: bool = True
    is_split: bool = False  # whether validation rows may have to be taken off


class _WindowRows(Rows):
    """Rows that are many times as large as the series they are gathered from.

    The engine's buffer would be most of the memory of a fit, and is no faster than a quarter of it,
    8 MB.
    """

    @property
    def row_bytes(self):
        return 4 * super().row_bytes


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
        X has a pandas index, the index tells.
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
    loss, optimizer, metrics, epochs, batch_size, callbacks, shuffle, warm_start, random_state, \
verbose, on_divergence, engine, **routed
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
    forecast from the means of training, and left out of `score`.

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

    _series: Series

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
            Validation data, the rows that follow X.
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
        given = _Given(X, y, groups, "nothing", is_split=X_val is None)
        return super().fit(given, y, sample_weight, X_val=X_val, y_val=y_val)

    def partial_fit(self, X, y=None, sample_weight=None, *, groups=None):
        """Train for one epoch more on rows that follow those of training.

        Parameters
        ----------
        X, y, sample_weight, groups
            The rows that follow, as in `fit`; the first call begins the series.

        Returns
        -------
        self : object
            The estimator. Its end has moved, as by `update`.
        """
        follows = "training" if hasattr(self, "_net") else "nothing"
        return super().partial_fit(_Given(X, y, groups, follows), y, sample_weight)

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
        return super().initialize(_Given(X, y, groups, "nothing"), y)

    def evaluate(self, X, y=None, sample_weight=None):
        """Compute the loss and the metrics that the net was compiled with, in the net's units.

        Parameters
        ----------
        X, y, sample_weight
            As in `score`.

        Returns
        -------
        results : dict of float
            ``{"loss": ..., ...}``.
        """
        check_is_fitted(self)
        x, truth = self._check_data(X, y, reset=False)
        rows = self._rows(x, truth, self._training_weights(x, truth, sample_weight))
        return running.evaluate(self._net, rows, self._fit_argument("batch_size"))

    def update(self, X, *, groups=None):
        """Move the end of the series on, without training.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            The rows that follow those that are known.
        groups : array-like of shape (n_rows,), default=None
            Which series each row is of.

        Returns
        -------
        self : object
            The estimator, whose forecasts begin after X.
        """
        check_is_fitted(self)
        X, index = self._table(X, reset=False)
        rows = rows_by_group(groups, len(X))
        self._series = self._series.extended(X, index, rows, self.look_back)
        return self

    def predict(self, X, *, history=None, groups=None):
        """Forecast each row of X from the rows before it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            Rows are time steps, in order.
        history : array-like or DataFrame of at least look_back rows, default=None
            What came before X; None looks at the training data, see Notes of the class.
        groups : array-like of shape (n_rows,), default=None
            Which series each row is of.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_targets)
            In the shape of y. If horizon is above 1, steps are a further axis: (n_rows, horizon) or
            (n_rows, horizon, n_targets), and row t holds the forecasts of t, t + 1 and so on.
        """
        return self._shaped(self._forecasts(X, history, groups)[0])

    def score(self, X, y=None, sample_weight=None, *, history=None, groups=None):
        """Compute the coefficient of determination, R2, of the forecasts for X.

        Each step of each row counts whose true value is in X, and whose history is known.

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
        weight = None if sample_weight is None else np.asarray(sample_weight)[outcome]
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
        truth = self._series.truth(self._table(X, reset=False)[0], y)
        rows, steps, outcome = layout.scored(self.horizon)
        if not len(rows):
            raise ValueError(
                f"Got n_samples={len(truth)} rows, none of which has {self.look_back} rows of "
                "known history; expected rows that follow the training data, or more of them. "
                "Pass history=."
            )
        flat = slice(None) if self._series.y_shape else 0
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
        forecasts = self._forecasts(X, history, groups)[0]
        return self._shaped(forecasts - widths), self._shaped(forecasts + widths)

    def forecast(self, steps, X_future=None, *, history=None, group=None):
        """Forecast what comes after the end of the series.

        Beyond the horizon, forecasts are made from forecasts, a horizon at a time.

        Parameters
        ----------
        steps : int
            How many rows to forecast.
        X_future : array-like or DataFrame of shape (steps, n_columns), default=None
            The rows to come, of which only the columns that are known in advance are read; it may
            have only those.
        history : array-like or DataFrame of at least look_back rows, default=None
            What came before; None is the end of the training data, or of what `update` has
            added.
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
            check_scalar(getattr(self, name), name, Integral, min_val=least)
        if self.window_norm not in _WINDOW_NORMS:
            raise ValueError(f"window_norm={self.window_norm!r}; expected one of {_WINDOW_NORMS}.")

    def _source(self, model):
        return model if model is not None else getattr(self, "build_model", "nlinear")

    def _check_data(self, X, y, *, reset):
        given = X if isinstance(X, _Given) else _Given(X, y)
        table, index = self._table(given.X, reset=reset)
        rows = rows_by_group(given.groups, len(table))
        if reset:
            self._series = self._learn_series(given, table, rows)
        truth = self._series.truth(table, y)
        layout = self._layout(table, index, rows, given.follows)
        if given.follows == "nothing":
            self._series = self._series.remembering(table, index, rows, self.look_back)
        elif given.follows == "training" and given.is_learnt:
            self._series = self._series.extended(table, index, rows, self.look_back)
        return self._examples(layout, truth, given)

    def _learn_target(self, y):
        return Horizon(self.horizon, y.series.shape[1])

    def _hold_out(self, X_val, y_val, groups, X, y):
        if X_val is not None and self.validation_split is not None:
            raise ValueError(
                f"Got X_val, and validation_split={self.validation_split!r}; expected one of them. "
                "Leave X_val out, or set validation_split=None."
            )
        split = self._split()
        if X_val is not None or split is None:
            return None
        given, layout = X.source
        marks = hold_out(split, layout.n_ahead, given.groups, self._split_seed)
        train, validation = split_origins(X.origins, self.horizon, *map(layout.spread, marks))
        if not len(train) or not len(validation):
            raise ValueError(
                f"validation_split={split!r} leaves {len(train)} windows to train on and "
                f"{len(validation)} to validate on; expected some of both. Hold out another part, "
                "give more rows, or a smaller look_back or horizon."
            )
        return train, validation

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
            "target_columns_": self._series.units.own,
        }
        facts = {**facts, "meta": {**facts["meta"], **own}}
        return super()._recipe(parameters, target, facts, x_specs)

    def _rows(self, X, y=None, weight=None):
        return _WindowRows(**vars(super()._rows(X, y, weight)))

    def _training_weights(self, X, y, sample_weight):
        """Weigh each window by the mean weight of the rows that it forecasts."""
        layout = X.source[1]
        weight = relative_weights(sample_weight, layout.positions)
        if weight is None:
            return None
        windows = outcomes(layout.spread(weight[:, np.newaxis]), X.origins, self.horizon)
        return relative_weights(windows[:].mean(axis=1), X)

    def _validation_rows(self, X_val, y_val):
        given = _Given(X_val, y_val, follows="training", is_learnt=False)
        return super()._validation_rows(given, y_val)

    def _train(self, rows, validation, X, y, epochs, *, go_on):
        given = X.source[0]
        super()._train(rows, validation, given.X, given.y, epochs, go_on=go_on)
        if validation is not None:
            # Kept as rows, which are few; errors are as many as windows times steps.
            held_out = [part.only(validation.subset) for part in (validation.x, validation.y)]
            self._series = dataclasses.replace(self._series, held_out=held_out)

    # What is known of the series.

    def _table(self, X, *, reset):
        """Check X as scikit-learn does; return it as float64, and its index."""
        frame = as_frame(X)
        return validate_data(self, frame, dtype="float64", reset=reset), index_of(frame)

    def _learn_series(self, given, table, rows):
        split = self._split() if given.is_split else None
        is_seen = np.ones(len(table), bool)
        if split is not None:
            is_seen = hold_out(split, rows_ahead(rows), given.groups, None)[0]
        return learn_series(
            given.X,
            table,
            given.y,
            getattr(self, "feature_names_in_", None),
            is_seen=is_seen if is_seen.any() else ~is_seen,
            target=self.target,
            known_future=self.known_future,
            normalize=self.normalize,
            window_norm=self.window_norm,
        )

    def _layout(self, table, index, rows, follows):
        """Put history before the rows of X."""
        layouts = [
            lay_out(
                table[at],
                *self._before(table[at], None if index is None else index[at], group, follows),
                look_back=self.look_back,
                horizon=self.horizon,
                fill=self._series.means,
            )
            for group, at in rows.items()
        ]
        return join(layouts, list(rows.values()))

    def _before(self, table, index, group, follows):
        """Return the rows before those of X, and how many of X have none."""
        if follows == "nothing":
            return table[:0], 0
        past = self._series.past_of_rows(group)
        if past is None:
            return table[:0], 0
        if follows == "training":
            return past.tail, 0
        start = beginning(
            past,
            table,
            index,
            look_back=self.look_back,
            gap=self.gap,
            scale=self._series.spreads,
        )
        if start.gap == 0 or start.n_warm_up == self.look_back:
            return past.tail, start.n_warm_up
        return self._roll(past.tail, start.gap)[1], start.n_warm_up

    def _examples(self, layout, y, given):
        """Return the windows whose history and outcome are known, lazily."""
        is_whole = layout.is_real & (layout.n_ahead >= self.horizon)
        if not is_whole.any():
            raise ValueError(self._too_few(len(y), given.follows))
        x, norm = self._windows(layout.series, layout.origins[is_whole], (given, layout))
        truth = layout.spread(self._series.units.targets(y))
        norm = columns_of(norm, self._series.units.own)
        return x, outcomes(truth, x.origins, self.horizon, norm)

    def _too_few(self, n_rows, follows):
        if follows == "training":
            expected = f"horizon={self.horizon}, the rows to forecast"
        else:
            total = self.look_back + self.horizon
            expected = (
                f"look_back + horizon = {self.look_back} + {self.horizon} = {total}, for a window "
                "and what comes after it"
            )
        return (
            f"Got n_samples={n_rows} rows; expected at least {expected}. Give more rows, or a "
            "smaller look_back or horizon."
        )

    def _windows(self, series, origins, source=None):
        """Return what the net sees of each origin, and the windows' norms."""
        series = self._series.units.inputs(series)
        norm = window_norms(series, origins, self.look_back, self.window_norm)
        x = inputs(
            series,
            origins,
            look_back=self.look_back,
            horizon=self.horizon,
            known_future=self._series.known_future,
            norm=norm,
            source=source,
        )
        return x, norm

    # Forecasts.

    def _forecasts(self, X, history, groups):
        """Return forecasts (n_rows, horizon, n_targets), and the layout they were made from."""
        check_is_fitted(self)
        self._check_unchanged()
        table, index = self._table(X, reset=False)
        rows = rows_by_group(groups, len(table))
        if history is None:
            layout = self._layout(table, index, rows, "unknown")
        else:
            layout = self._layout_after(self._history(history), table, rows)
        return self._forecast_at(layout.series, layout.origins), layout

    def _layout_after(self, history, table, rows):
        if len(rows) > 1:
            raise ValueError(
                f"Got history= and groups of {len(rows)} series; expected one series, whose "
                "history it is. Predict them one by one, or move their ends on with update."
            )
        fill = self._series.means
        sizes = {"look_back": self.look_back, "horizon": self.horizon}
        return lay_out(table, history, 0, fill=fill, **sizes)

    def _history(self, history):
        """Check rows of history that a user gives."""
        table = self._table(history, reset=False)[0]
        if len(table) < self.look_back:
            raise ValueError(
                f"history has {len(table)} rows; expected at least look_back={self.look_back}, the "
                "rows that a forecast is made from. Give earlier ones, too."
            )
        return table

    def _forecast_at(self, series, origins):
        """Forecast origins of a series, in its own units."""
        x, norm = self._windows(series, origins)
        forecasts = self._target.forecasts(self._net_outputs(x))
        norm = columns_of(norm, self._series.units.own)
        if norm is not None:
            level, scale = norm
            forecasts = forecasts * (1 if scale is None else scale[:, np.newaxis])
            forecasts = forecasts + level[:, np.newaxis]
        return self._series.units.forecasts(forecasts)

    def _ahead(self, steps, X_future, history, group):
        """Return forecasts (steps, n_targets) of what comes after the end, and its index."""
        check_is_fitted(self)
        self._check_unchanged()
        check_scalar(steps, "steps", Integral, min_val=1)
        before, timeline = self._end(history, group)
        index = self._index_ahead(timeline, steps)
        known = self._known_rows(X_future, steps, index)
        self._check_recursion(steps)
        return self._roll(before, steps, known)[0], index

    def _labelled(self, forecasts, index):
        y = forecasts if self._series.y_shape else forecasts[:, 0]
        return labelled(y, self._series.kind, self._series.names, index)

    def _held_out_errors(self):
        """Return the absolute errors of the windows held out, in the targets' units."""
        if self._series.held_out is None:
            raise ValueError(
                "Got no windows that the net wasn't trained on, and so nothing to tell its errors "
                "from; expected a fit that holds some out. Set validation_split=0.2, or pass X_val."
            )
        x, y = self._series.held_out
        errors = self._target.forecasts(self._net_outputs(x)) - self._target.forecasts(y[:])
        if y.scale is not None:
            errors *= y.scale[:, np.newaxis]
        return np.abs(errors * self._series.units.slope)

    def _shaped(self, forecasts):
        """Give forecasts (n_rows, horizon, n_targets) the shape of y, with an axis of steps."""
        if not self._series.y_shape:
            forecasts = forecasts[..., 0]
        return forecasts[:, 0] if self.horizon == 1 else forecasts

    def _roll(self, before, steps, known=None):
        """Forecast on from some rows, a horizon at a time.

        Returns
        -------
        forecasts : array of shape (steps, n_targets)
        rows : array of shape (n_before + steps, n_columns)
            With the rows that the forecasts make; what isn't forecast keeps its last value.
        """
        series, rows, forecasts = self._series, before, []
        for step in range(0, steps, self.horizon):
            ahead = np.repeat(rows[-1:], self.horizon, axis=0)
            if known is not None:
                within = np.arange(step, step + self.horizon).clip(max=len(known) - 1)
                ahead[:, series.known_future] = known[within]
            last = rows[-self.look_back :]
            block = self._forecast_at(np.concatenate([last, ahead]), np.array([len(last)]))[0]
            if series.units.own:
                ahead[:, series.units.own] = series.units.columns(block)
            forecasts.append(block)
            rows = np.concatenate([rows, ahead])
        return np.concatenate(forecasts)[:steps], rows[: len(before) + steps]

    def _end(self, history, group):
        """Return the rows that a forecast goes on from, and their timeline."""
        if history is not None:
            return self._history(history), read_timeline(index_of(history))
        past = self._series.past(group)
        if len(past.tail) < self.look_back:
            raise ValueError(
                f"Got {len(past.tail)} rows of the series; expected at least look_back="
                f"{self.look_back}, the rows that a forecast is made from. Pass history=, or "
                "update with more rows."
            )
        return past.tail, past.timeline

    def _index_ahead(self, timeline, steps):
        if timeline is None and self._series.kind == "pandas":
            raise ValueError(
                "X's index isn't evenly spaced, so nobody knows how it goes on; expected one with "
                "a frequency, or integers. Fill it with X.asfreq(...), or count the rows with "
                "X.reset_index(drop=True)."
            )
        return None if timeline is None else timeline.after(steps)

    def _known_rows(self, X_future, steps, index):
        return known_rows(
            X_future,
            self._series.known_future,
            steps,
            index,
            n_columns=self.n_features_in_,
            names=getattr(self, "feature_names_in_", None),
        )

    def _check_unchanged(self):
        changed = changed_names(self._made_with, self._net_parameters())
        for name in set(changed) & set(_WINDOW_PARAMETERS):
            raise ValueError(
                f"{name} was changed since the net was made; expected what it was trained with, "
                f"{self._made_with[name]!r}. Set it back, or fit again."
            )

    def _check_recursion(self, steps):
        unforecast = self._series.unforecast
        if steps > self.horizon and unforecast:
            raise ValueError(
                f"Got steps={steps}, beyond horizon={self.horizon}: the forecasts go on from "
                f"forecasts, and X's columns {unforecast} have none; expected targets and "
                "known_future columns alone. Forecast those columns too, declare them "
                f"known_future, or train with horizon={steps}."
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
