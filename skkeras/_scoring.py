"""Scores of predictions; of lazy arrays, block by block."""

import numpy as np
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skkeras._inputs import by_name, training_weights
from skkeras._targets import WHOLE_BYTES, spans
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
    """Sums of squares, joined block by block as by Chan, Golub and LeVeque (1979)."""

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
        total = weight.sum()
        if not total:
            return
        mean, joined = weight @ y / total, self.total + total
        self.residual += weight @ (y - predicted) ** 2
        self.around_mean += weight @ (y - mean) ** 2
        self.around_mean += (mean - self.mean) ** 2 * self.total * total / joined
        self.mean += (mean - self.mean) * total / joined
        self.total = joined

    @property
    def score(self):
        varies = self.around_mean > 0
        ratio = self.residual / np.where(varies, self.around_mean, 1)
        return float(np.mean(np.where(varies, 1 - ratio, self.residual == 0)))


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


class ScoringMixin:
    """Computes a metric of an estimator's predictions."""

    def _score(self, metric, X, y, sample_weight):
        """Compute a metric of the predictions for X; for several outputs, the mean over them."""
        if isinstance(y, LazyArray):
            y = y.finite("y")
            if isinstance(X, LazyArray) and y.nbytes > WHOLE_BYTES:
                return score_blocks(metric, self._predicted_blocks(X, y, sample_weight))
        predicted, y, sample_weight = self._predicted(X, y, sample_weight)
        if not isinstance(predicted, dict):
            return metric(y, predicted, sample_weight=sample_weight)
        y = by_name(y)
        self._target.check_names(y)
        scores = [
            metric(y[name], part, sample_weight=sample_weight) for name, part in predicted.items()
        ]
        return float(np.mean(scores))

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
