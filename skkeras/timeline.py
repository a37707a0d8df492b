"""Timelines: the index of a series, how it goes on, and where other rows lie on it."""

import dataclasses
import warnings
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """An evenly spaced index: its first and last entry, and the step between two.

    Parameters
    ----------
    first, last : timestamp, period or int
        Ends of the index.
    step : str, offset or int
        A pandas frequency, or the difference of two integers.
    """

    first: Any
    last: Any
    step: Any

    def after(self, steps):
        """Return the index of the steps after the last.

        Parameters
        ----------
        steps : int
            How many.

        Returns
        -------
        index : pandas.Index
        """
        return _stretch(self.last, steps + 1, self.step)[1:]

    def position(self, index):
        """Tell how many steps after the first entry an index begins.

        Parameters
        ----------
        index : pandas.Index
            Of other rows.

        Returns
        -------
        position : int
            Negative if it begins before.

        Raises
        ------
        ValueError
            If the index isn't of this kind and step, or not on its grid.
        """
        expected = (
            f"expected entries {_words(self.step)} apart, on from {self.last}, as in training"
        )
        remedy = "Give X the index that follows the training data's, or none (X.to_numpy())."
        if not _same_kind(index, self.first):
            raise ValueError(f"X has an index of {index.dtype}; {expected}. {remedy}")
        position = _distance(self.first, index[0], self.step)
        if position is None:
            raise ValueError(f"X has an index that begins at {index[0]}; {expected}. {remedy}")
        if not index.equals(_stretch(index[0], len(index), self.step)):
            raise ValueError(
                f"X has an index from {index[0]} to {index[-1]} with {len(index)} rows in another "
                f"frequency, or with gaps; {expected}. {remedy}"
            )
        return position

    def until(self, last):
        """Return the timeline that ends elsewhere."""
        return dataclasses.replace(self, last=last)


def index_of(X):
    """Return the pandas index of X; None if it has none."""
    return getattr(X, "index", None) if hasattr(X, "iloc") else None


def read_timeline(index):
    """Read an index of the training data.

    Parameters
    ----------
    index : pandas.Index or None
        Timestamps, periods or integers.

    Returns
    -------
    timeline : Timeline or None
        None if the index is none, or not evenly spaced, so that nobody knows how it goes on.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.timeline import read_timeline
    >>> timeline = read_timeline(pd.period_range("2024-01", "2024-11", freq="M"))
    >>> list(timeline.after(2).astype(str))
    ['2024-12', '2025-01']
    >>> timeline.position(pd.period_range("2025-01", periods=3, freq="M"))
    12
    """
    if index is None or len(index) < 2:
        return None
    step = _step(index)
    if step is None or not index.equals(_stretch(index[0], len(index), step)):
        return None
    return Timeline(index[0], index[-1], step)


def _step(index):
    import pandas as pd

    if isinstance(index, pd.PeriodIndex):
        return index.freq
    if isinstance(index, pd.DatetimeIndex):
        return index.freq or _calendar_step(index) or _even_spacing(index)
    if pd.api.types.is_integer_dtype(index.dtype):
        return int(index[1] - index[0]) or None
    return None


def _even_spacing(index):
    import pandas as pd

    spacing = np.unique(np.diff(index.asi8))
    is_even = len(spacing) == 1 and spacing[0] > 0
    return pd.tseries.frequencies.to_offset(index[1] - index[0]) if is_even else None


def _calendar_step(index):
    """Infer months, business days and the like."""
    import pandas as pd

    with warnings.catch_warnings():
        # pandas 3 announces that pandas 4 returns an offset, which does as well.
        warnings.simplefilter("ignore")
        return pd.infer_freq(index) if len(index) > 2 else None


def _stretch(first, length, step):
    import pandas as pd

    if isinstance(first, pd.Period):
        return pd.period_range(first, periods=length, freq=step)
    if isinstance(first, pd.Timestamp):
        return pd.date_range(first, periods=length, freq=step)
    return pd.RangeIndex(first, first + length * step, step)


def _same_kind(index, first):
    import pandas as pd

    if isinstance(first, pd.Period):
        return isinstance(index, pd.PeriodIndex) and index.freq == first.freq
    if isinstance(first, pd.Timestamp):
        return isinstance(index, pd.DatetimeIndex) and (index.tz is None) == (first.tz is None)
    return pd.api.types.is_integer_dtype(index.dtype)


def _distance(first, other, step):
    """Count the steps from one entry to another; None if it lies between two of them."""
    import pandas as pd

    if isinstance(first, pd.Period):
        return (other - first).n
    if not isinstance(first, pd.Timestamp):
        whole, rest = divmod(int(other - first), step)
        return None if rest else whole
    early, late = min(first, other), max(first, other)
    between = pd.date_range(early, late, freq=step)
    if not len(between) or between[0] != early or between[-1] != late:
        return None
    return len(between) - 1 if other >= first else 1 - len(between)


def _words(step):
    return getattr(step, "freqstr", step)
