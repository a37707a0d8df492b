"""Blockwise scores: what scikit-learn computes of all rows, from blocks of them."""

import numpy as np
from sklearn.metrics import accuracy_score, r2_score


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
    """Compute a metric of rows that come block by block.

    Parameters
    ----------
    metric : callable
        `sklearn.metrics.accuracy_score` or `sklearn.metrics.r2_score`.
    blocks : iterable of (y, predicted, weight)
        Arrays of as many rows; the weight may be None, and is of at least 0, somewhere above it.

    Returns
    -------
    score : float
        What the metric gives of all rows, to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import accuracy_score
    >>> from skkeras.data._scores import score_blocks
    >>> y, predicted = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])
    >>> score_blocks(accuracy_score, [(y[:1], predicted[:1], None), (y[1:], predicted[1:], None)])
    0.75
    """
    sums = _SUMS[metric]()
    for block in blocks:
        sums.add(*block)
    return sums.score
