"""Scores of predictions; of lazy arrays, block by block."""

import numpy as np
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skkeras._callbacks import score_callback
from skkeras._epoch_scores import epoch_scorer, score_names
from skkeras._examples import by_name
from skkeras._params import split_routed
from skkeras._sample_weights import training_weights, with_axes
from skkeras._targets.base import WHOLE_BYTES, MultiOutput, naming, spans
from skkeras._targets.steps import ByStep
from skkeras.data._arrays import LazyArray
from skkeras.data._batches import joined
from skkeras.data._streams import as_stream, check_inside


class _Accuracy:
    def __init__(self):
        self.right = self.total = 0.0

    def add(self, y, predicted, weight):
        total = len(y) if weight is None else weight.sum()
        if total:
            self.right += accuracy_score(y, predicted, sample_weight=weight, normalize=False)
            self.total += total

    @property
    def score(self):
        return float(self.right / self.total)


class _R2:
    """Sums of squares, joined block by block as by Chan, Golub and LeVeque (1979).

    Weights are of rows, or of single values.
    """

    def __init__(self):
        self.total, self.mean, self.around_mean, self.residual = 0.0, 0.0, 0.0, 0.0

    def add(self, y, predicted, weight):
        y, predicted = (np.asarray(a, "float64").reshape(len(a), -1) for a in (y, predicted))
        if y.shape[1] != predicted.shape[1]:
            raise ValueError(
                f"y has {y.shape[1]} values a row, and what is predicted {predicted.shape[1]}; "
                "expected as many, as in training."
            )
        weight = np.ones(len(y)) if weight is None else weight
        total = weight.sum(axis=0)
        if not np.any(total):
            return
        joined = self.total + total
        mean = _weighted(weight, y) / np.where(total, total, 1)
        share = total / np.where(joined, joined, 1)
        self.residual += _weighted(weight, (y - predicted) ** 2)
        self.around_mean += _weighted(weight, (y - mean) ** 2)
        self.around_mean += (mean - self.mean) ** 2 * self.total * share
        self.mean += (mean - self.mean) * share
        self.total = joined

    @property
    def score(self):
        varies = self.around_mean > 0
        ratio = self.residual / np.where(varies, self.around_mean, 1)
        scores = np.where(varies, 1 - ratio, self.residual == 0)
        if not np.any(self.total):
            raise ValueError(
                "y has no value with a weight above 0, or NaN alone, which tell no score; expected "
                "some numbers. Leave these rows out."
            )
        return float(np.average(scores, weights=np.broadcast_to(self.total, scores.shape) > 0))


def _weighted(weight, values):
    """Sum up the values of each column, weighted by row or one by one."""
    return weight @ values if weight.ndim == 1 else (weight * values).sum(axis=0)


_SUMS = {accuracy_score: _Accuracy, r2_score: _R2}


def score_blocks(metric, blocks):
    """Compute accuracy or R2 of blocks ``(y, predicted, weight)``, as of all rows, to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import accuracy_score
    >>> from skkeras._scoring import score_blocks
    >>> y, predicted = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])
    >>> score_blocks(accuracy_score, [(y[:1], predicted[:1], None), (y[1:], predicted[1:], None)])
    0.75
    """
    sums = _SUMS[metric]()
    for block in blocks:
        sums.add(*block)
    return sums.score


def score_of(target, y, predicted, sample_weight=None):
    """Compute the accuracy of classes, or the mean R2 of numbers, of any shape.

    Classes at positions count alike, all of them. Numbers that are NaN in y, where the estimator
    allows them, are left out.
    """
    if isinstance(target, ByStep):
        rows = target.by_position(y, predicted)
        return accuracy_score(*rows, sample_weight=_by_position(sample_weight, target.steps))
    if target.classes is not None:
        return accuracy_score(y, predicted, sample_weight=sample_weight)
    if np.ndim(predicted) <= 2 and np.ndim(sample_weight) <= 1 and not target.allows_nan:
        return r2_score(y, predicted, sample_weight=sample_weight)
    y = np.asarray(y, "float64")
    weight = np.ones(1) if sample_weight is None else np.asarray(sample_weight, "float64")
    known = ~np.isnan(y) if target.allows_nan else np.ones(y.shape, bool)
    weight = (with_axes(weight, y.ndim) * known).reshape(len(y), -1)
    sums = _R2()
    sums.add(np.where(known, y, 0), predicted, weight)
    return sums.score


def _by_position(weight, steps):
    if weight is None:
        return None
    weight = np.asarray(weight)
    return np.broadcast_to(with_axes(weight, 1 + len(steps)), (len(weight), *steps)).ravel()


def check_comparable(y, predicted, loss):
    """Raise if predictions are outputs that a loss of the user's lets have another shape than y."""
    shapes = np.shape(y)[1:], np.shape(predicted)[1:]
    if loss.y_shape is not None and shapes[0] != shapes[1] and {*shapes} != {(), (1,)}:
        raise ValueError(
            f"score compares predictions with y, and predictions have shape "
            f"{np.shape(predicted)}, as the loss lets them, and y {np.shape(y)}; expected one "
            "shape. Give scoring=... to searches, a function of the estimator, X and y, or "
            "override predict or score in a subclass."
        )


class ScoringMixin:
    """Computes the score of an estimator's predictions."""

    def _score(self, X, y, sample_weight):
        """Score the predictions for X; for several outputs, the mean over them."""
        check_is_fitted(self)
        target, loss = self._target, self._facts.loss
        if isinstance(y, LazyArray):
            y = y if self.allow_nan_targets else y.finite("y")
            is_plain = not isinstance(target, ByStep | MultiOutput) and not self.allow_nan_targets
            if isinstance(X, LazyArray) and y.nbytes > WHOLE_BYTES and is_plain:
                metric = r2_score if target.classes is None else accuracy_score
                return score_blocks(metric, self._predicted_blocks(X, y, sample_weight))
        predicted, y, sample_weight = self._predicted(X, y, sample_weight)
        if not isinstance(target, MultiOutput):
            check_comparable(y, predicted, loss)
            return score_of(target, y, predicted, sample_weight)
        y, weights = by_name(y), by_name(sample_weight)
        target.check_names(y)
        scores = []
        for name, part in target.targets.items():
            weight = weights.get(name) if isinstance(weights, dict) else weights
            with naming(name):
                check_comparable(y[name], predicted[name], loss[name])
                scores.append(score_of(part, y[name], predicted[name], weight))
        return float(np.mean(scores))

    def _score_callbacks(self, held_out, validation):
        """Make the callback that scores held-out rows after every epoch.

        ``held_out`` are examples and the numbers of the rows, None for all; or None in a fit that
        never holds any out.
        """
        if held_out is None:
            return []
        scoring = self._scoring
        if validation is None:
            raise ValueError(
                f"Got scoring={scoring!r}, which scores held-out rows after every epoch, and none "
                "are held out; expected some. Set validation_split=0.1 or early_stopping=True, or "
                "pass X_val."
            )
        examples, rows = held_out
        if not hasattr(examples, "sample_weight"):
            raise ValueError(
                f"Got scoring={scoring!r} and an X_val that comes in batches; expected arrays, "
                "which scikit-learn's scorers take. Or set scoring=None, and metrics of Keras."
            )
        return [score_callback(epoch_scorer(self, scoring, examples, rows))]

    def _stopping_settings(self):
        """Return the arguments of early stopping: it watches the first score, if there are some."""
        given = split_routed(self._all_routed())["early_stopping"]
        scores = [f"val_{name}" for name in score_names(self._scoring)] if self._scoring else []
        monitor = given.get("monitor", scores[0] if scores else "val_loss")
        return {"monitor": monitor, "mode": "max" if monitor in scores else "auto", **given}

    def _predicted_blocks(self, X, y, sample_weight):
        """Yield targets, predictions and weights of lazy rows, block by block in storage order."""
        check_is_fitted(self)
        check_consistent_length(X, y)
        weights, order = training_weights(sample_weight, X), X.storage_order()
        row_bytes = 8 * int(np.prod(self._facts.output_shape, dtype=int))
        for rows in spans(len(X), 4 * row_bytes):  # predictions, and arrays computed from them
            rows = rows if order is None else order[rows]
            weight = None if weights is None else np.asarray(weights[rows])
            yield np.asarray(y[rows]), self.predict(X[rows]), weight

    def _predicted(self, X, y, sample_weight):
        """Predict X, and return y and weights along with it: a stream has them inside."""
        if (stream := as_stream(X)) is None:
            return self.predict(X), y, sample_weight
        check_inside(y, sample_weight)
        return joined([(self.predict(x), *rest) for x, *rest in stream.blocks(with_targets=True)])
