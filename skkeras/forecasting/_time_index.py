"""Timelines: where the index of a series ends, how it goes on, and where other rows lie on it."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from skkeras._pickling import PickledByName


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline(PickledByName):
    """First and last entry of an index, and its step.

    The step is a pandas frequency, or the difference of two integers or of the ordinals of two
    periods; None if it isn't known.
    """

    first: Any
    last: Any
    step: Any

    def after(self, steps):
        """Return the pandas index of the steps after the last; raise if the step isn't known."""
        if self.step is not None:
            return _regular_index(self.last, steps + 1, self.step)[1:]
        if _kind(_single(self.last)) == "labels":
            raise ValueError(
                f"X's index ends with {self.last!r}, and nobody knows how labels go on; expected "
                "dates, periods or integers. Turn strings into dates with pd.to_datetime(X.index), "
                "or count the rows with X.reset_index(drop=True)."
            )
        raise ValueError(
            f"X's index, which ends with {self.last}, is not of dates, periods or integers that "
            "are known to be evenly spaced, so nobody knows how it goes on; expected such a one. "
            "Fill it with X.asfreq(...), or count the rows with X.reset_index(drop=True)."
        )

    def missing(self, index, name="X"):
        """Count the entries missing between the last one and an index, called ``name`` in errors.

        Negative if it doesn't begin after the last; 0 if it does, and the step isn't known; None if
        labels have no order. An index of another kind, step or grid raises ValueError.
        """
        apart = "" if self.step is None else f"entries {self._words()} apart, "
        expected = f"expected {apart}on from {self.last}, as in training"
        remedy = (
            f"Give {name} the index that follows the training data's, or none "
            f"({name}.reset_index(drop=True))."
        )
        kind = _kind(index)
        if kind != _kind(_single(self.last)):
            raise ValueError(f"{name} has an index of {index.dtype}; {expected}. {remedy}")
        if kind == "labels":
            return None
        _check_order(index, name)
        index = self._in_zone(index)
        if self.step is None:
            return 0 if index[0] > self.last else -1
        distance = _distance(self.last, index[0], self.step)
        if distance is None:
            raise ValueError(f"{name} has an index that begins at {index[0]}; {expected}. {remedy}")
        if not index.equals(_regular_index(index[0], len(index), self.step)):
            raise ValueError(
                f"{name} has an index from {index[0]} to {index[-1]} with {len(index)} rows in "
                f"another frequency, or with gaps; {expected}. {remedy}"
            )
        return distance - 1

    def moved(self, n_rows, index=None):
        """Return the timeline that ends ``n_rows`` later, with ``index`` if that tells."""
        if index is not None:
            return dataclasses.replace(self, last=self._in_zone(index)[-1])
        return self if self.step is None else dataclasses.replace(self, last=self.after(n_rows)[-1])

    def _in_zone(self, index):
        zone = getattr(self.last, "tz", None)
        return index if zone is None else index.tz_convert(zone)

    def _words(self):
        freq = getattr(self.last, "freq", None)
        step = self.step if freq is None else freq.base * self.step
        return getattr(step, "freqstr", step)


def index_of(X, name="X"):
    """Return the pandas index of X, which messages call ``name``; None if it has none."""
    index = getattr(X, "index", None) if hasattr(X, "iloc") else None
    if getattr(index, "nlevels", 1) > 1:
        raise ValueError(
            f"{name} has an index of {index.nlevels} levels, {list(index.names)}; expected one, "
            "that of time. If the first says which series a row is of, pass "
            f"{name}.droplevel(0) and groups={name}.index.get_level_values(0)."
        )
    return index


def is_default(index):
    """Tell whether an index counts the rows from 0, as pandas does where there is none."""
    return _kind(index) == "integers" and np.array_equal(index, np.arange(len(index)))


def tells(index):
    """Tell whether an index is more than a count of the rows."""
    return index is not None and not is_default(index)


def counted(n_rows, steps):
    """Return the pandas index of the steps after ``n_rows`` rows that have none."""
    import pandas as pd

    return pd.RangeIndex(n_rows, n_rows + steps)


def read_timeline(index, name="X"):
    """Read an index (or None), which has to be in order and without duplicates.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.forecasting._time_index import read_timeline
    >>> timeline = read_timeline(pd.period_range("2024-01", "2024-11", freq="M"))
    >>> list(timeline.after(2).astype(str))
    ['2024-12', '2025-01']
    >>> timeline.missing(pd.period_range("2025-01", periods=3, freq="M"))
    1
    """
    if index is None:
        return None
    _check_order(index, name)
    step = _step(index)
    is_even = step is not None and index.equals(_regular_index(index[0], len(index), step))
    return Timeline(index[0], index[-1], step if is_even else None)


def _check_order(index, name):
    if _kind(index) == "labels":
        return
    if not index.is_unique:
        raise ValueError(
            f"{name} has an index with {index[index.duplicated()][0]} more than once; expected "
            "each entry once in a series. If these are several series, pass groups=, which of them "
            f"each row is of; if it is one, leave rows out with {name}[~{name}.index.duplicated()]."
        )
    if not index.is_monotonic_increasing:
        raise ValueError(
            f"{name} has an index from {index[0]} to {index[-1]} that isn't in order; expected "
            f"rows in the order of time. Sort them with {name}.sort_index()."
        )


def _kind(index):
    """Tell what an index counts in: those of one kind can be compared."""
    import pandas as pd

    if isinstance(index, pd.PeriodIndex):
        return f"periods of {index.freqstr}"
    if isinstance(index, pd.DatetimeIndex):
        return "dates" if index.tz is None else "dates with a time zone"
    if isinstance(index, pd.TimedeltaIndex):
        return "durations"
    if pd.api.types.is_integer_dtype(index.dtype):
        return "integers"
    return "floats" if pd.api.types.is_float_dtype(index.dtype) else "labels"


def _single(entry):
    import pandas as pd

    return pd.Index([entry])


def _step(index):
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex):
        return index.freq or _calendar_step(index) or _even_spacing(index)
    if isinstance(index, pd.PeriodIndex):
        return int(index[1].ordinal - index[0].ordinal) or None if len(index) > 1 else index.freq.n
    if _kind(index) == "integers":
        return int(index[1] - index[0]) or None if len(index) > 1 else 1
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


def _regular_index(first, length, step):
    import pandas as pd

    if isinstance(first, pd.Period):
        ordinals = first.ordinal + step * np.arange(length)
        return pd.PeriodIndex.from_ordinals(ordinals, freq=first.freq)
    if isinstance(first, pd.Timestamp):
        return pd.date_range(first, periods=length, freq=step)
    return pd.RangeIndex(first, first + length * step, step)


def _distance(first, other, step):
    """Count the steps from one entry to another; None if it lies between two of them."""
    import pandas as pd

    if not isinstance(first, pd.Timestamp):
        ends = (
            entry.ordinal if isinstance(entry, pd.Period) else entry for entry in (first, other)
        )
        early, late = map(int, ends)
        whole, rest = divmod(late - early, step)
        return None if rest else whole
    early, late = min(first, other), max(first, other)
    between = pd.date_range(early, late, freq=step)
    if not len(between) or between[0] != early or between[-1] != late:
        return None
    return len(between) - 1 if other >= first else 1 - len(between)
