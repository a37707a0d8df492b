"""DummyForecaster: forecasts without a net, the baseline next to one."""

import copy
import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from skkeras._hints import check_no_others
from skkeras.forecasting._mixin import ForecasterMixin
from skkeras.forecasting._target import HorizonTarget

_WINDOWS_AT_ONCE = 4096


def _last(past, horizon, season):
    return past[:, [-1] * horizon]


def _seasonal(past, horizon, season):
    return past[:, past.shape[1] - season + np.arange(horizon) % season]


def _drift(past, horizon, season):
    slope = (past[:, -1:] - past[:, :1]) / max(past.shape[1] - 1, 1)
    return past[:, -1:] + slope * np.arange(1, horizon + 1)[:, np.newaxis]


def _mean(past, horizon, season):
    return past.mean(axis=1, keepdims=True).repeat(horizon, axis=1)


_STRATEGIES = {"last": _last, "seasonal": _seasonal, "drift": _drift, "mean": _mean}


class DummyForecaster(ForecasterMixin, BaseEstimator):
    """Forecasts without a net, as a baseline: a net that isn't better than these has learnt little.

    It is used as `KerasForecaster` is, and forecasts the same rows from the same ones before them.
    TensorFlow isn't needed.

    Parameters
    ----------
    strategy : {"last", "seasonal", "drift", "mean"}, default="last"
        What is forecast: the last value; the value of a season ago (seasonal naive), of the last
        season that is known; the line through the first and the last value of the window; or the
        window's mean.
    season : int, default=None
        Rows of a season, such as 12 for months. None is what X's index tells: a day of hours, a
        week of days, a year of weeks, months or quarters. Other strategies don't look at it.
    look_back : int, default=None
        Rows that a forecast is made from. None is as for `KerasForecaster`, or the season if that
        is longer.
    horizon, target, known_future, gap, freq, missing
        As in `KerasForecaster`. Columns that are known in advance aren't looked at, and
        decide which forecasts count in `score`, as there.

    Attributes
    ----------
    look_back_ : int
        Rows that a forecast is made from.
    season_ : int or None
        Rows of a season, as given or as the index tells.
    n_features_in_, feature_names_in_
        As in `KerasForecaster`.

    Notes
    -----
    The strategies are those of Hyndman and Athanasopoulos (2021), "Forecasting: principles and
    practice", 5.2, on the rows of a window rather than on all of the past. Targets whose past isn't
    among the columns of X, a y that is another series, are forecast by their mean in training.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras import DummyForecaster
    >>> week = np.array([5.0, 4, 4, 3, 6, 9, 8])
    >>> sales = np.tile(week, 10).reshape(-1, 1)
    >>> naive = DummyForecaster("seasonal", season=7, target=0).fit(sales[:63])
    >>> naive.forecast(3)
    array([5., 4., 4.])
    >>> naive.score(sales[63:])
    1.0
    """

    _learned_parameters = (*ForecasterMixin._learned_parameters, "strategy", "season")

    def __init__(
        self,
        strategy="last",
        *,
        season=None,
        look_back=None,
        horizon=1,
        target=None,
        known_future=None,
        gap=0,
        freq=None,
        missing=None,
    ):
        self.strategy = strategy
        self.season = season
        self.look_back = look_back
        self.horizon = horizon
        self.target = target
        self.known_future = known_future
        self.gap = gap
        self.freq = freq
        self.missing = missing

    def fit(self, X, y=None, *, groups=None, **others):
        """Learn the ends of a series, or of several.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            Rows are time steps, in order.
        y : array-like of shape (n_rows,) or (n_rows, n_targets), default=None
            What to forecast; None is ``X[:, target]``.
        groups : array-like of shape (n_rows,), default=None
            Which series each row is of.
        **others : dict
            None are taken.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the data or a parameter can't be used, or there are too few rows.

        Warns
        -----
        UserWarning
            If y's past isn't among the columns of X, so that its mean is forecast.
        """
        if others:
            check_no_others("fit", others, ("X", "y", "groups"), self.get_params())
        self._check_parameters()
        table, parts = self._parts_of_fit(X, y, groups, reset=True)
        is_seen = np.ones(len(table), bool)
        self._learned = self._learn_series(X, y, table, is_seen).in_float64()
        truth = self._learn_ends(y, table, parts, is_seen, holds_season=self.strategy == "seasonal")
        self._check_season()
        self._target = HorizonTarget(self.horizon, truth.shape[1])
        self._means = truth.mean(axis=0)
        rollout = self._rollout
        rollout.examples(parts, rollout.contexts(parts, "nothing"), truth, given=(X, y))
        self._made_with = self._window_parameters()
        if not self._learned.scaling.own:
            warnings.warn(
                f"Got a y that is no column of X, so that strategy={self.strategy!r} has no past "
                "to go by; its mean in training is forecast. Add its past to the columns of X.",
                stacklevel=2,
            )
        return self

    def _ahead(self, steps, X_future, history, group):
        """Forecast steps; a line or a mean goes on as far as asked, and not by horizons."""
        check_is_fitted(self)
        twin = copy.copy(self)
        if isinstance(steps, Integral) and steps > self.horizon and not self.known_future:
            twin.horizon = int(steps)
            twin._made_with = {**self._made_with, "horizon": twin.horizon}
            twin._target = HorizonTarget(twin.horizon, self._target.steps[1])
        return super(DummyForecaster, twin)._ahead(steps, X_future, history, group)

    @property
    def season_(self):
        """Rows of a season, as given or as the index tells; None where neither does."""
        return self._learned.season

    def _check_parameters(self):
        self._check_window_parameters()
        if self.strategy not in _STRATEGIES:
            raise ValueError(f"strategy={self.strategy!r}; expected one of {tuple(_STRATEGIES)}.")
        self._check_rows("season", 1)

    def _check_season(self):
        season, look_back = self._learned.season, self._learned.look_back
        if self.strategy != "seasonal":
            return
        if season is None:
            raise ValueError(
                "Got season=None, and X has no index that tells one; expected the rows of a "
                "season. Pass season=12 for months, for example."
            )
        if look_back < season:
            raise ValueError(
                f"Got look_back={look_back} and season={season}; expected a look_back of a season "
                "or more. Leave look_back out, or raise it."
            )

    def _net_outputs(self, examples):
        """Return forecasts for windows, flat."""
        windows, strategy = examples.X, _STRATEGIES[self.strategy]
        own, horizon = self._learned.scaling.own, self.horizon
        if not own:
            return np.tile(self._means, (len(windows), horizon))
        blocks = [
            strategy(windows[rows][:, :, own], horizon, self._learned.season)
            for rows in gen_batches(len(windows), _WINDOWS_AT_ONCE)
        ]
        return np.concatenate(blocks).reshape(len(windows), -1)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_made_with")
