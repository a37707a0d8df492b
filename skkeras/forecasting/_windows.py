"""Sliding windows of a series, gathered on demand.

Windows overlap, so an array of them holds every row ``look_back`` times. These classes
look like that array to the engine (`shape`, `dtype`, indexing), and hold the series alone.

An *origin* is the row that a forecast is made for first: its window ends just before it.
"""

import dataclasses
from typing import Any

import numpy as np

from skkeras._pickling import PickledByName

# A window that is constant has no scale of its own; its other digits are rounding.
_SMALLEST_SCALE = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Windows(PickledByName):
    """Equally long windows of a series, like an array (n_windows, length, n_columns).

    ``starts`` are the windows' first rows. ``level`` is subtracted and ``scale`` divided by, both
    (n_windows, n_columns) or None; ``row_shape`` is the shape of one window, None for its own.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._windows import Windows
    >>> windows = Windows(np.arange(10.0)[:, np.newaxis], starts=np.arange(7), length=3)
    >>> windows.shape
    (7, 3, 1)
    >>> windows[np.array([5, 0])][..., 0]
    array([[5., 6., 7.],
           [0., 1., 2.]])
    """

    series: np.ndarray
    starts: np.ndarray
    length: int
    level: Any = None
    scale: Any = None
    row_shape: Any = None

    def __len__(self):
        return len(self.starts)

    @property
    def shape(self):
        """Shape of the array that all windows would make."""
        return len(self), *(self.row_shape or (self.length, self.series.shape[1]))

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self):
        """The dtype of the series."""
        return self.series.dtype

    def only(self, subset=None):
        """Return some of the windows (all for None), without the rows that they don't need."""
        starts = self.starts if subset is None else self.starts[subset]
        first, last = starts.min(), starts.max() + self.length
        return dataclasses.replace(
            self,
            series=self.series[first:last].copy(),
            starts=starts - first,
            level=_some(self.level, subset),
            scale=_some(self.scale, subset),
        )

    def shaped(self, row_shape):
        """Return the same windows, each in another shape."""
        return dataclasses.replace(self, row_shape=row_shape)

    def __getitem__(self, indices):
        """Gather the windows at an int array or a slice of indices."""
        windows = sliding_windows(self.series, self.length)[self.starts[indices]]
        if self.level is not None:
            windows = windows - self.level[indices][:, np.newaxis]
        if self.scale is not None:
            windows = windows / self.scale[indices][:, np.newaxis]
        return windows.reshape(len(windows), *self.shape[1:])


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs(PickledByName):
    """Inputs of a net for each origin: the columns of several windows, side by side."""

    parts: list
    origins: np.ndarray

    def __len__(self):
        return len(self.origins)

    @property
    def shape(self):
        """Shape of the array that all windows would make."""
        n_columns = sum(part.shape[2] for part in self.parts)
        return len(self), self.parts[0].length, n_columns

    @property
    def ndim(self):
        """Number of axes."""
        return 3

    @property
    def dtype(self):
        """The dtype of the series."""
        return self.parts[0].dtype

    def only(self, subset=None):
        """Return some of the windows (all for None), without the rows that they don't need."""
        return Inputs([part.only(subset) for part in self.parts], _some(self.origins, subset))

    def __getitem__(self, indices):
        """Gather the windows at an int array or a slice of indices."""
        if len(self.parts) == 1:
            return self.parts[0][indices]
        return np.concatenate([part[indices] for part in self.parts], axis=2)


def _some(values, subset):
    return values if values is None or subset is None else values[subset]


def sliding_windows(series, length):
    """View a series as all its windows of a length, (n_rows - length + 1, length, n_columns).

    Each window of the view is contiguous memory, so taking some of them is a plain copy.
    """
    series = np.ascontiguousarray(series)
    n_rows, n_columns = series.shape
    step, item = series.strides
    return np.lib.stride_tricks.as_strided(
        series,
        (max(n_rows - length + 1, 0), length, n_columns),
        (step, step, item),
        writeable=False,
    )


def inputs(series, origins, *, look_back, horizon, known_future=(), norm=None):
    """Describe the inputs of a net for each origin.

    Past columns come first. Known-future columns follow once more, led so that their last row is
    the last one forecast; where the horizon is longer than the window they are folded into several.
    Before each origin there are at least ``look_back`` rows, from it on ``horizon``.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._windows import inputs
    >>> series = np.column_stack([np.arange(10), 100 + np.arange(10)])
    >>> seen = inputs(series, np.array([4]), look_back=3, horizon=2, known_future=[1])
    >>> seen[:]
    array([[[  1, 101, 103],
            [  2, 102, 104],
            [  3, 103, 105]]])
    """
    level, scale = norm or (None, None)
    parts = [Windows(series, origins - look_back, look_back, level, scale)]
    if len(known_future):
        known = np.ascontiguousarray(series[:, list(known_future)])
        folds = -(-horizon // look_back)
        parts += [
            Windows(known, origins + horizon - (folds - fold) * look_back, look_back)
            for fold in range(folds)
        ]
    return Inputs(parts, origins)


def outcomes(series, origins, horizon, norm=None):
    """Describe the outcomes after each origin, flat: all targets of a step, then those of the next.

    ``series`` and ``norm`` are the targets' own.
    """
    level, scale = norm or (None, None)
    return Windows(series, origins, horizon, level, scale, (horizon * series.shape[1],))


def window_norms(series, origins, look_back, kind):
    """Return level and scale (n_windows, n_columns) of the window before each origin, or None.

    ``"last"`` takes the last row for the level, and no scale. ``"revin"`` takes mean
    and standard deviation, after Kim et al. (2022), "Reversible instance normalization for
    accurate time-series forecasting against distribution shift", without learnt factors.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._windows import window_norms
    >>> series = np.array([[1.0], [3.0], [5.0], [5.0]])
    >>> window_norms(series, np.array([2]), 2, "revin")
    (array([[2.]]), array([[1.]]))
    """
    if kind is None:
        return None
    if kind == "last":
        return series[origins - 1], None
    windows = sliding_windows(series, look_back)
    blocks = np.array_split(origins - look_back, max(1, len(origins) // 1024))
    levels = [windows[block].mean(axis=1) for block in blocks]
    scales = [windows[block].std(axis=1) for block in blocks]
    return np.concatenate(levels), np.maximum(np.concatenate(scales), _SMALLEST_SCALE)


def columns_of(norm, columns):
    """Pick the norms of some columns."""
    if norm is None:
        return None
    level, scale = norm
    return level[:, columns], None if scale is None else scale[:, columns]


def split_origins(origins, horizon, is_train, is_held_out):
    """Split window numbers into training and held-out ones, by the rows that they forecast.

    All of a window's rows have to be in the mask; one with rows of both is in neither.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._windows import split_origins
    >>> late = np.arange(10) >= 7
    >>> split_origins(np.arange(3, 9), horizon=2, is_train=~late, is_held_out=late)
    (array([0, 1, 2]), array([4, 5]))
    """

    def only(rows):
        count = np.concatenate([[0], np.cumsum(rows)])
        return np.flatnonzero(count[origins + horizon] - count[origins] == horizon)

    return only(is_train), only(is_held_out)
