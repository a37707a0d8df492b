"""Scores of held-out rows after every epoch, as `scoring` of the estimators asks for them."""

import copy
import inspect

import numpy as np
from sklearn.metrics import check_scoring

from skkeras._engine.rows import map_leaves


def score_names(scoring):
    """Name the scores; the first is the one that early stopping watches."""
    if isinstance(scoring, list | tuple | dict):
        return [*scoring]
    name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
    return ["score" if name == "<lambda>" else name]


def epoch_scorer(estimator, scoring, examples, rows):
    """Return a function that scores some rows, as a dict of floats by name."""
    names, scorer = score_names(scoring), _weighted_scorer(estimator, scoring)
    X, y = (_rows_of(part, rows) for part in (examples.X, examples.y))
    unweighted = examples.sample_weight is None
    weight = None if unweighted else examples.weights(rows, estimator._facts)
    weights = {} if weight is None else {"sample_weight": _rows_of(weight, rows)}
    # Rows that were checked have no names of columns any more.
    estimator = copy.copy(estimator)
    for name in ("feature_names_in_", "_input_columns"):
        vars(estimator).pop(name, None)

    def score():
        try:
            scores = scorer(estimator, X, y, **weights)
        except ValueError as error:
            if not _has_nan(y):
                raise
            raise ValueError(
                f"Got scoring={scoring!r} and held-out rows with NaN in y: {error} Expected a "
                "function that leaves NaN out, such as scoring=lambda net, X, y: net.score(X, y)."
            ) from error
        if estimator.early_stopping is True and names[0] not in scores:
            raise ValueError(
                f"Got early_stopping=True and scoring={scoring!r}, which returns the scores "
                f"{[*scores]}; expected one to watch. Give a dict of scorers, whose first is "
                "watched, or set early_stopping=False and "
                f"callbacks=keras.callbacks.EarlyStopping('val_{next(iter(scores))}', mode='max')."
            )
        return {name: float(value) for name, value in scores.items()}

    return score


def _weighted_scorer(estimator, scoring):
    """Return a scorer, ``(estimator, X, y, **weights)`` to a dict, that weighs where scores can.

    Some of scikit-learn's metrics take no weights, nor do most functions of one's own.
    """
    names = score_names(scoring)
    check_scoring(estimator, scoring)
    if isinstance(scoring, list | tuple):
        scorers = dict(zip(names, scoring, strict=True))
    else:
        scorers = scoring if isinstance(scoring, dict) else {names[0]: scoring}
    own = {k: one for k, one in scorers.items() if not _is_of_scikit_learn(one)}
    rest = {k: one for k, one in scorers.items() if k not in own}
    score_rest = check_scoring(estimator, rest) if rest else None

    def score(estimator, X, y, **weights):
        scores = score_rest(estimator, X, y, **weights) if rest else {}
        for name, function in own.items():
            value = function(estimator, X, y, **(weights if _takes_weights(function) else {}))
            scores |= value if isinstance(value, dict) else {name: value}
        return {name: scores.pop(name) for name in names if name in scores} | scores

    return score


def _is_of_scikit_learn(scoring):
    return isinstance(scoring, str) or hasattr(scoring, "set_score_request")


def _takes_weights(function):
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == "sample_weight" or p.kind == p.VAR_KEYWORD for p in parameters)


def _has_nan(y):
    parts = y.values() if isinstance(y, dict) else [y]
    return any(part.dtype.kind == "f" and np.isnan(part).any() for part in parts)


def _rows_of(part, rows):
    return part if rows is None else map_leaves(lambda one: one[rows], part)
