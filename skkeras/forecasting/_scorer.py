"""Scoring: any metric for forecasts of several steps."""

import inspect
import warnings
from numbers import Integral

import numpy as np
import sklearn
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import UNCHANGED, MetadataRequest

from skkeras._pickling import PickledByName
from skkeras._sample_weights import relative_weights
from skkeras.forecasting._mixin import ForecasterMixin


def forecast_scorer(metric, *, greater_is_better=None, **arguments):
    """Make a scorer of a metric, for searches and cross-validation at any horizon.

    scikit-learn's own scorers compare ``predict`` with y row by row, which works for a horizon of
    1. This one takes every step of every row whose true value is known.

    Parameters
    ----------
    metric : callable or {"mase", "skill"}
        ``metric(y_true, y_pred, **arguments)``, where both have shape (n_forecasts,), or
        (n_forecasts, n_targets). The names are of scores next to the seasonal naive, which
        forecasts the value of a season ago, and take one argument, ``season``: the rows of one;
        None is what the index of the training data tells, or 1, the last value.

        ``"mase"`` is the mean absolute scaled error of Hyndman and Koehler (2006), "Another look at
        measures of forecast accuracy", with a minus sign: absolute errors over the mean absolute
        error of the seasonal naive in the training data, one step of a season ahead, of the same
        series and target. Series without such an error (new, or the same every season) don't count.

        ``"skill"`` is 1 minus the mean absolute error over that of the seasonal naive for the same
        rows and steps: at most 1, 0 for the seasonal naive, negative if it is better. Forecasts
        count for which it is known, from X and the ``look_back`` rows before it. With several
        targets it is the mean over them.
    greater_is_better : bool, default=None
        None goes by scikit-learn's naming: ``..._score`` is to be large; ``..._error``,
        ``..._loss`` and ``..._deviance`` small, and get a minus sign.
    **arguments : dict
        Passed to the metric; ``season`` for those that have names.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None, *, sample_weight=None, groups=None, history=None)``, for a
        `KerasForecaster` or a Pipeline that ends in one; arguments are as in its ``score``. With
        scikit-learn's metadata routing, ``scorer.set_score_request(groups=True)`` asks for groups,
        as it does of an estimator.

    Raises
    ------
    ValueError
        If the metric's name doesn't tell whether it is to be large.
    TypeError
        If a metric by name gets other arguments than ``season``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import mean_absolute_error
    >>> from sklearn.model_selection import TimeSeriesSplit, cross_val_score
    >>> from skkeras import KerasForecaster, forecast_scorer
    >>> wave = np.sin(np.arange(200) / 5).reshape(-1, 1)
    >>> net = KerasForecaster(look_back=12, horizon=3, epochs=5, random_state=0)
    >>> scorer = forecast_scorer(mean_absolute_error)
    >>> bool(cross_val_score(net, wave, cv=TimeSeriesSplit(3), scoring=scorer).max() < 0)
    True
    >>> skill = forecast_scorer("skill")  # next to the last value, since no index tells a season
    >>> skill(net.set_params(epochs=50).fit(wave[:150]), wave[150:]) > 0.5
    True
    """
    if isinstance(metric, str):
        return _NaiveScorer(*_check_named(metric, greater_is_better, arguments))
    return _ForecastScorer(metric, _sign(metric, greater_is_better), arguments)


class _ForecastScorer(PickledByName):
    def __init__(self, metric, sign, arguments):
        self.metric = metric
        self.sign = sign
        self.arguments = arguments
        self.requests = dict.fromkeys(("sample_weight", "groups", "history"))

    def __call__(self, estimator, X, y=None, *, sample_weight=None, groups=None, history=None):
        if isinstance(estimator, Pipeline):
            X, estimator = estimator[:-1].transform(X), estimator[-1]
        if not isinstance(estimator, ForecasterMixin):
            raise TypeError(
                f"Got a {type(estimator).__name__}; expected a KerasForecaster or DummyForecaster, "
                "or a Pipeline that ends in one."
            )
        weight = relative_weights(sample_weight, X)
        return self._score(estimator, X, y, weight, history, groups)

    def _score(self, estimator, X, y, weight, history, groups):
        truth, forecasts, rows = estimator.pairs(X, y, history=history, groups=groups)
        arguments = dict(self.arguments)
        if weight is not None and not _takes_weights(self.metric):
            warnings.warn(
                f"Got sample_weight, and {self!r} has a metric that takes none; every forecast "
                "counts alike. Choose another metric, or leave sample_weight out.",
                stacklevel=3,
            )
        elif weight is not None:
            arguments["sample_weight"] = weight[rows]
        return self.sign * self.metric(truth, forecasts, **arguments)

    def set_score_request(self, *, sample_weight=UNCHANGED, groups=UNCHANGED, history=UNCHANGED):
        """Say what a search is to pass on to the scorer, as scikit-learn's scorers have it.

        Parameters
        ----------
        sample_weight, groups, history : bool, None or str
            True to pass it, False to leave it out, None to raise if it is given, or the name under
            which it is given.

        Returns
        -------
        self : object
            The scorer.

        Raises
        ------
        RuntimeError
            If metadata routing isn't enabled.
        """
        if not sklearn.get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "Got set_score_request, and metadata routing is off; expected it on. Enable it "
                "with sklearn.set_config(enable_metadata_routing=True)."
            )
        asked = {"sample_weight": sample_weight, "groups": groups, "history": history}
        self.requests.update({name: to for name, to in asked.items() if to != UNCHANGED})
        return self

    def get_metadata_routing(self):
        """Return the request, a `sklearn.utils.metadata_routing.MetadataRequest`."""
        routing = MetadataRequest(owner=repr(self))
        for name, to in self.requests.items():
            routing.score.add_request(param=name, alias=to)
        return routing

    def __repr__(self):
        return f"forecast_scorer({getattr(self.metric, '__name__', self.metric)})"


class _NaiveScorer(_ForecastScorer):
    """Scorer by name, next to the seasonal naive."""

    def __init__(self, metric, season):
        super().__init__(metric, 1, {"season": season})

    def _score(self, estimator, X, y, weight, history, groups):
        season = self.arguments["season"] or estimator._learned.season or 1
        truth, forecasts, rows, naive = estimator._pairs(X, y, history, groups)
        errors = _columns(np.abs(truth - forecasts))
        weight = np.ones(len(rows)) if weight is None else weight[rows]
        if self.metric == "mase":
            scales = _columns(estimator._learned.naive_errors(season, groups, len(X))[rows])
            return -_mean_ratio(errors, scales, weight)
        naive_errors = _columns(np.abs(truth - naive(season)))
        return _skill(errors, naive_errors, weight, season)


def _columns(values):
    return values.reshape(len(values), -1)


def _mean_ratio(errors, scales, weight):
    """Return the weighted mean of errors over their scales, where these are known and not 0."""
    has_scale = scales > 0
    if not (has_scale & (weight > 0)[:, np.newaxis]).any():
        raise ValueError(
            "Got series without an error of the seasonal naive in the training data (they are new, "
            "or the same every season, or shorter than one); expected some. Choose another season, "
            "or another metric."
        )
    weights = np.where(has_scale, weight[:, np.newaxis], 0)
    return float(np.average(errors / np.where(has_scale, scales, 1), weights=weights))


def _skill(errors, naive_errors, weight, season):
    is_known = np.isfinite(naive_errors).all(axis=1) & (weight > 0)
    if not is_known.any():
        raise ValueError(
            f"Got season={season}, and no row of X whose value of a season ago is among the rows "
            "of X and the look_back rows before it; expected some. Score more rows, or train with "
            f"look_back={season}."
        )
    error, naive_error = (
        np.average(part[is_known], axis=0, weights=weight[is_known])
        for part in (errors, naive_errors)
    )
    with np.errstate(divide="ignore"):
        ratio = np.where(error == naive_error, 1.0, error / np.where(error > 0, naive_error, 1))
    return float(np.mean(1 - ratio))


def _check_named(metric, greater_is_better, arguments):
    """Return the name of a metric and its season."""
    if metric not in ("mase", "skill"):
        raise ValueError(
            f"Got metric={metric!r}; expected a function, such as "
            "sklearn.metrics.mean_absolute_error, 'mase' or 'skill'."
        )
    season = arguments.pop("season", None)
    if arguments or greater_is_better is not None:
        names = [*arguments, *(["greater_is_better"] if greater_is_better is not None else [])]
        raise TypeError(f"Got {', '.join(names)} with metric={metric!r}; expected season alone.")
    is_rows = isinstance(season, Integral) and not isinstance(season, bool) and season > 0
    if season is not None and not is_rows:
        raise ValueError(f"season={season!r}; expected the rows of a season, such as 12, or None.")
    return metric, season


def _takes_weights(metric):
    parameters = inspect.signature(metric).parameters.values()
    return any(one.name == "sample_weight" or one.kind is one.VAR_KEYWORD for one in parameters)


def _sign(metric, greater_is_better):
    if greater_is_better is not None:
        return 1 if greater_is_better else -1
    name = getattr(metric, "__name__", "")
    if name.endswith("_score"):
        return 1
    if name.endswith(("_error", "_loss", "_deviance")):
        return -1
    raise ValueError(
        f"Got greater_is_better=None and metric={name or metric!r}, whose name doesn't end in "
        "_score, _error, _loss or _deviance; expected True or False."
    )
