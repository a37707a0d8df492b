"""Scaling: how a forecaster's inputs and targets are scaled, and which are the same series."""

import dataclasses

import numpy as np
from sklearn.preprocessing import StandardScaler

from skkeras._pickling import PickledByName

# Columns are the same series if they differ by so much of a standard deviation at most: more than
# scaling them in float32 leaves, and less than anybody measures.
_SAME_SERIES = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Scaling(PickledByName):
    """Units that a net works in.

    A target that stands among the inputs has its column's units, so that the net can add a forecast
    change to the last value; one that does not has its own. A column's value is ``scale`` times the
    net's input plus ``center``, a target's ``slope`` times the net's forecast plus ``offset``.
    ``own`` are the input columns of the targets; empty if a target has none.
    """

    center: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    slope: np.ndarray
    own: list
    dtype: str = "float32"

    def inputs(self, X):
        """Put rows of inputs into the net's units, in its dtype."""
        return ((X - self.center) / self.scale).astype(self.dtype)

    def targets(self, y):
        """Put rows of targets into the net's units, in its dtype."""
        return ((y - self.offset) / self.slope).astype(self.dtype)

    def forecasts(self, outputs):
        """Put the net's forecasts into the targets' units; targets along the last axis."""
        return outputs * self.slope + self.offset

    def past_targets(self, X):
        """Read the targets off their own columns of rows, in the targets' units."""
        return self.forecasts((X[:, self.own] - self.center[self.own]) / self.scale[self.own])

    @property
    def factors(self):
        """How much a target changes where its own column changes by one."""
        return self.slope / self.scale[self.own]

    def columns(self, forecasts):
        """Put forecasts in the targets' units into those of their own input columns."""
        internal = (forecasts - self.offset) / self.slope
        return internal * self.scale[self.own] + self.center[self.own]


def learn_scaling(X, y, own, *, normalize, known_future=()):
    """Learn the units from training rows; ``own`` None finds out the input column of each target.

    Columns of ``known_future`` are never a target's own.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._scaling import learn_scaling
    >>> celsius = np.array([[10.0, 0.1], [20.0, 0.7], [15.0, 0.4]])
    >>> units = learn_scaling(celsius, 32 + 1.8 * celsius[:, :1], None, normalize=True)
    >>> units.own, units.columns(np.array([[212.0]]))
    ([0], array([[100.]]))
    """
    identity = np.zeros(X.shape[1]), np.ones(X.shape[1])
    center, scale = _standard(X) if normalize else identity
    if own is None:
        candidates = [i for i in range(X.shape[1]) if i not in known_future]
        own = [candidates[i] for i in _own_columns(X[:, candidates], y)]
    if not own:
        identity = np.zeros(y.shape[1]), np.ones(y.shape[1])
        return Scaling(center, scale, *(_standard(y) if normalize else identity), [])
    factor, shift = _same_series(X[:, own], y)
    return Scaling(center, scale, factor * center[own] + shift, factor * scale[own], own)


def _standard(values):
    """Return means and scales; columns constant but for rounding get the scale 1."""
    scaler = StandardScaler().fit(values)
    return scaler.mean_, scaler.scale_


def _own_columns(X, y):
    """Find the column of each target, or none at all."""
    centered = X - X.mean(axis=0), y - y.mean(axis=0)
    lengths = [np.sqrt((part**2).sum(axis=0)) for part in centered]
    if not X.size or (lengths[1] == 0).any() or not lengths[0].any():
        return []
    cosines = np.abs(centered[0].T @ centered[1]) / np.maximum(lengths[0], 1e-300)[:, np.newaxis]
    own = cosines.argmax(axis=0).tolist()
    try:
        _same_series(X[:, own], y)
    except ValueError:
        return []
    return own


def _same_series(x, y):
    """Return factor and shift of ``y = factor * x + shift``, column by column."""
    x_center, y_center = x.mean(axis=0), y.mean(axis=0)
    x_moved, y_moved = x - x_center, y - y_center
    square = (x_moved**2).sum(axis=0)
    factor = np.where(
        square > 0, (x_moved * y_moved).sum(axis=0) / np.where(square > 0, square, 1), 1
    )
    error = np.abs(y_moved - factor * x_moved).max(axis=0)
    if (error > _SAME_SERIES * y.std(axis=0)).any() or (factor == 0).any():
        raise ValueError(
            "Got target=... and a y that is another series than these columns of X; expected the "
            "same one, in any linear units. Leave target or y out."
        )
    factor = np.where(np.isclose(factor, 1, rtol=1e-9), 1.0, factor)
    return factor, y_center - factor * x_center
