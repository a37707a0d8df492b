"""Scoring: any metric for forecasts of several steps."""

from sklearn.pipeline import Pipeline

from skkeras.forecaster import KerasForecaster


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
        ``scorer(estimator, X, y=None)``, for a `KerasForecaster` or a Pipeline that ends in one.

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


class _ForecastScorer:
    def __init__(self, metric, sign, arguments):
        self.metric = metric
        self.sign = sign
        self.arguments = arguments

    def __call__(self, estimator, X, y=None):
        if isinstance(estimator, Pipeline):
            X, estimator = estimator[:-1].transform(X), estimator[-1]
        if not isinstance(estimator, KerasForecaster):
            raise TypeError(
                f"Got a {type(estimator).__name__}; expected a KerasForecaster, or a Pipeline that "
                "ends in one."
            )
        truth, forecasts, _ = estimator.pairs(X, y)
        return self.sign * self.metric(truth, forecasts, **self.arguments)

    def __repr__(self):
        return f"forecast_scorer({getattr(self.metric, '__name__', self.metric)})"


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
