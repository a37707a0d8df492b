"""Scoring: any metric for forecasts of several steps."""

import inspect
import warnings

import sklearn
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import UNCHANGED, MetadataRequest

from skkeras._pickling import PickledByName
from skkeras._sample_weights import relative_weights
from skkeras.forecasting.forecaster import KerasForecaster


def forecast_scorer(metric, *, greater_is_better=None, **arguments):
    """Make a scorer of a metric, for searches and cross-validation at any horizon.

    scikit-learn's own scorers compare ``predict`` with y row by row, which works for a horizon of
    1. This one takes every step of every row whose true value is known.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_pred, **arguments)``, where both have shape (n_forecasts,), or
        (n_forecasts, n_targets).
    greater_is_better : bool, default=None
        None goes by scikit-learn's naming: ``..._score`` is to be large; ``..._error``,
        ``..._loss`` and ``..._deviance`` small, and get a minus sign.
    **arguments : dict
        Passed to the metric.

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
    """
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
        if not isinstance(estimator, KerasForecaster):
            raise TypeError(
                f"Got a {type(estimator).__name__}; expected a KerasForecaster, or a Pipeline that "
                "ends in one."
            )
        truth, forecasts, rows = estimator.pairs(X, y, history=history, groups=groups)
        arguments, weight = dict(self.arguments), relative_weights(sample_weight, X)
        if weight is not None and not _takes_weights(self.metric):
            warnings.warn(
                f"Got sample_weight, and {self!r} has a metric that takes none; every forecast "
                "counts alike. Choose another metric, or leave sample_weight out.",
                stacklevel=2,
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
