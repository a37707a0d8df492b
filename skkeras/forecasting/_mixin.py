"""Mixin of all forecasters, nets and baselines: forecasts from learned series, and their scores."""

from datetime import timedelta
from numbers import Integral

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted, check_scalar, validate_data

from skkeras._dataframes import as_frame, check_columns
from skkeras._hints import check_no_others
from skkeras._params import changed_names
from skkeras._sample_weights import relative_weights
from skkeras.forecasting._calendar import calendar_columns, check_calendar
from skkeras.forecasting._layout import Context
from skkeras.forecasting._learned import LearnedSeries, known_rows, learn_series
from skkeras.forecasting._missing import is_known
from skkeras.forecasting._panel import only_part, parts_of
from skkeras.forecasting._rollout import Rollout
from skkeras.forecasting._time_index import index_of


class ForecasterMixin(RegressorMixin):
    """Mixin of estimators whose rows are time steps, learnt from windows of them.

    A subclass learns `LearnedSeries` in `fit`, and keeps in ``_made_with`` the parameters that it
    learnt them with; its ``_net_outputs(examples)`` are forecasts for windows, in the units of
    ``_learned.scaling``, to which ``_target``, a `HorizonTarget`, gives an axis of steps.
    ``normalize``, ``window_norm``, ``season`` and ``calendar`` are parameters of some.
    """

    _learned: LearnedSeries
    # They decide what a window and a forecast are, and how series go on.
    _learned_parameters: tuple[str, ...] = (
        "look_back",
        "horizon",
        "target",
        "known_future",
        "freq",
        "missing",
    )

    @property
    def look_back_(self):
        """Rows that a forecast is made from."""
        check_is_fitted(self)
        return self._learned.look_back

    def update(self, X, *, groups=None):
        """Move the end of the series on, without training.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            The rows that follow the known ones. If their index says that some are missing in
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
        self._learned = self._learned.extended(parts, contexts)
        return self

    def predict(self, X, *, history=None, groups=None, **others):
        """Forecast each row of X from the rows before it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            Rows are time steps, in order.
        history : array-like or DataFrame of at least look_back rows, default=None
            What came right before X; None looks at the training data, see Notes of the class.
        groups : array-like of shape (n_rows,), default=None
            Which series each row is of.
        **others : dict
            None are taken: what `keras.Model.predict` takes goes to the constructor.

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
        if others:
            check_no_others("predict", others, ("X", "history", "groups"))
        forecasts, _ = self._forecasts(X, history, groups, warns=True)
        return self._learned.shaped(forecasts)

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
            How much each row counts where it is forecast.
        history, groups
            As in `predict`.

        Returns
        -------
        score : float
            At most 1; 0 for forecasting the mean. With several targets the mean over them.
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
        return self._pairs(X, y, history, groups)[:3]

    def _pairs(self, X, y, history, groups):
        """Return `pairs`, and forecasts of a season ago for them, by a function."""
        forecasts, layout = self._forecasts(X, history, groups)
        table = self._table(X, reset=False)[0]
        truth = self._learned.truth(table, y)
        if self._learned.skips:
            layout = layout.leaving_out(is_known(table), is_known(truth), self._learned.look_back)
        are_whole = bool(self._learned.given_known_future)
        rows, steps, outcome = layout.scored(self.horizon, are_whole=are_whole)
        if not len(rows):
            ahead = f", and the {self.horizon} rows to come that it sees" if are_whole else ""
            raise ValueError(
                f"Got n_samples={len(truth)} rows, none of which has {self.look_back_} rows of "
                f"known history{ahead}{layout.why}; expected rows that follow the training data, "
                "or more of them. Pass history=, or more rows, or a pandas index that tells."
            )
        flat = slice(None) if self._learned.y_shape else 0

        def naive(season):
            past = self._learned.scaling.past_targets(layout.series)
            return layout.of_a_season_ago(past, rows, steps, season)[:, flat]

        return truth[outcome, flat], forecasts[rows, steps, flat], outcome, naive

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
        return self._learned.labelled(forecasts, index)

    def _check_window_parameters(self):
        for name, least in (("look_back", 1), ("horizon", 1), ("gap", 0)):
            self._check_rows(name, least, or_none=name == "look_back")
        is_step = isinstance(self.freq, str | Integral | timedelta) or hasattr(self.freq, "n")
        if self.freq is not None and (isinstance(self.freq, bool) or not is_step):
            raise TypeError(
                f"freq={self.freq!r}; expected a pandas offset or its name, such as 'B', a "
                "timedelta, a whole number for an index of integers, or None."
            )
        if self.missing not in (None, "skip"):
            raise ValueError(f"missing={self.missing!r}; expected 'skip' or None.")

    def _check_rows(self, name, least, *, or_none=True):
        value = getattr(self, name)
        if isinstance(value, bool):
            raise TypeError(f"{name}={value}; expected a number of rows.")
        if value is not None or not or_none:
            check_scalar(value, name, Integral, min_val=least)

    def _parts_of_fit(self, X, y, groups, *, reset):
        """Check rows to learn from; return them as a table, and by series."""
        table, index = self._table(X, reset=reset)
        if index is None:
            index = index_of(y, "y")  # as behind a scaler that returns arrays
        return table, parts_of(table, index, groups)

    def _learn_ends(self, y, table, parts, is_seen, *, holds_season=False):
        """Keep the ends of new series; return the targets."""
        truth = self._learned.truth(table, y)
        self._learned = self._learned.remembering(
            parts,
            truth,
            is_seen,
            look_back=self.look_back,
            season=getattr(self, "season", None),
            freq=self.freq,
            holds_season=holds_season,
        )
        return truth

    def _table(self, X, *, reset, name="X"):
        """Check X as scikit-learn does; return it as float64, and its index."""
        frame = as_frame(X)
        index = index_of(frame, name)
        check_columns(frame, name)
        is_finite = "allow-nan" if self.missing == "skip" else True
        try:
            table = validate_data(
                self, frame, dtype="float64", reset=reset, ensure_all_finite=is_finite
            )
        except ValueError as error:
            if "contains NaN" not in str(error):
                raise
            raise ValueError(
                f"{name} contains NaN; expected numbers. missing='skip' leaves out windows that "
                f"touch missing values; or fill them, in a Pipeline. scikit-learn says: {error}"
            ) from error
        if names := self._calendar():
            table = np.column_stack([table, calendar_columns(index, names, name)])
        return table, index

    def _calendar(self):
        return check_calendar(getattr(self, "calendar", None))

    def _learn_series(self, X, y, table, is_seen):
        return learn_series(
            X,
            table,
            y,
            getattr(self, "feature_names_in_", None),
            is_seen=is_seen if is_seen.any() else ~is_seen,
            target=self.target,
            known_future=self.known_future,
            normalize=getattr(self, "normalize", False),
            window_norm=getattr(self, "window_norm", None),
            skips=self.missing == "skip",
            calendar=self._calendar(),
        )

    @property
    def _rollout(self):
        return Rollout(
            self._learned,
            self._learned.look_back,
            self.horizon,
            self.gap,
            getattr(self, "window_norm", None),
            getattr(self, "_target", None),
            self._net_outputs,
        )

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
                self._learned.warn_inside(parts)
        else:
            group, part = only_part(parts)
            past = self._past_of_history(history, group)
            past.check_is_right_before(part.index)
            contexts = {group: [Context(rollout.tail(past))]}
        layout = rollout.layout(parts, contexts, fills=True)
        return rollout.forecasts(layout.series, layout.origins), layout

    def _past_of_history(self, history, group):
        """Check rows of history that a user gives."""
        table, index = self._table(history, reset=False, name="history")
        return self._learned.past_of_history(table, index, group)

    def _ahead(self, steps, X_future, history, group):
        """Return forecasts (steps, n_targets) of what comes after the end, and its index."""
        check_is_fitted(self)
        self._check_unchanged()
        check_scalar(steps, "steps", Integral, min_val=1)
        if history is None:
            past = self._learned.past(group)
        else:
            past = self._past_of_history(history, group)
        index = past.index_after(steps) if self._learned.kind == "pandas" else None
        names = getattr(self, "feature_names_in_", None)
        known = known_rows(
            X_future,
            self._learned.given_known_future,
            steps,
            None if past.timeline is None else index,
            n_columns=self.n_features_in_,
            names=names,
        )
        self._learned.check_goes_on(steps, self.horizon, names)
        rollout = self._rollout
        context = rollout.filled(rollout.tail(past))
        to_come = rollout.to_come(context, steps, past.timeline, known)
        return rollout.ahead(context, steps, to_come)[0], index

    def _window_parameters(self):
        return {name: getattr(self, name) for name in self._learned_parameters}

    def _check_unchanged(self):
        now = self._window_parameters()
        for name in changed_names({name: self._made_with[name] for name in now}, now):
            raise ValueError(
                f"{name} was changed since the net was made; expected what it was trained with, "
                f"{self._made_with[name]!r}. Set it back, or fit again."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # rows of unordered data don't forecast the next
        tags.input_tags.allow_nan = self.missing == "skip"
        return tags
