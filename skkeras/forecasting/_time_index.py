"""Timelines: where the index of a series ends, how it goes on, and where other rows lie on it."""

import dataclasses
from typing import Any

import numpy as np

from skkeras._pickling import PickledByName
from skkeras._versions import is_unique
from skkeras.forecasting._steps import (
    distance,
    even_step,
    is_on_grid,
    kind_of_index,
    regular_index,
    rows_of_a_season,
    spacing_of,
    steps_between,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline(PickledByName):
    """First and last entry of an index, and its step.

    The step is a pandas offset, or the difference of two integers or of the ordinals of two
    periods; None if it isn't known. ``spacing`` is by what holes are found: the step, or a guess,
    or None; up to ``n_holidays`` missing entries in a row are none. ``whose`` and ``odd`` say in
    words which series' index it is, and where it isn't even.
    """

    kind: str
    first: Any
    last: Any
    step: Any
    spacing: Any = None
    n_holidays: int = 0
    whose: str = ""
    odd: str = ""

    def after(self, steps):
        """Return the pandas index of the steps after the last; raise if the step isn't known."""
        if self.step is not None:
            return regular_index(self.last, steps + 1, self.step)[1:]
        if self.kind == "labels":
            raise ValueError(
                f"X's index{self.whose} ends with {self.last!r}, and nobody knows how labels go "
                "on; expected dates, periods or integers. Turn strings into dates with "
                "pd.to_datetime(X.index), or count the rows with X.reset_index(drop=True)."
            )
        raise ValueError(
            f"X's index{self.whose}, which ends with {self.last}, is not of dates, periods or "
            f"integers that are known to be evenly spaced{self.odd}, so nobody knows how it goes "
            "on; expected such a one. Say its step, such as freq='D', fill it with X.asfreq(...), "
            "or count the rows with X.reset_index(drop=True)."
        )

    def going_on(self, last, steps):
        """Return the steps after an entry by the spacing, as far as that is known; else None."""
        if self.spacing is None or self.kind == "labels":
            return None
        return regular_index(last, steps + 1, self.spacing)[1:]

    def missing(self, index, name="X"):
        """Count the entries missing between the last one and an index, called ``name`` in errors.

        Negative if it doesn't begin after the last; 0 if it does, and the step isn't known; None if
        labels have no order. An index of another kind, step or grid raises ValueError.
        """
        self.check_kind(index, name, self.whose)
        if self.kind == "labels":
            return None
        check_order(index, name)
        expected, whose = self._expected(name), self.whose
        index = self._in_zone(index)
        if self.step is None:
            return 0 if index[0] > self.last else -1
        n_missing = distance(self.last, index[0], self.step)
        if n_missing is None:
            raise ValueError(f"{name} has an index{whose} that begins at {index[0]}; {expected}")
        n_steps = steps_between(index, self.step)
        if (n_steps < 0).any() or (len(index) > 2 and len(np.unique(n_steps)) == 1 < n_steps[0]):
            raise ValueError(
                f"{name} has an index{whose} from {index[0]} to {index[-1]} with {len(index)} rows "
                f"in another frequency{_off_the_grid(index, n_steps)}; {expected}"
            )
        return n_missing - 1

    def check_kind(self, index, name, whose=""):
        """Raise unless an index is of the kind of this one, such as dates."""
        if kind_of_index(index) != self.kind:
            raise ValueError(f"{name} has an index of {index.dtype}{whose}; {self._expected(name)}")

    def _expected(self, name):
        apart = "" if self.step is None else f"entries {self.words} apart, "
        return (
            f"expected {apart}on from {self.last}, as in training. Give {name} the index that "
            f"follows the training data's, or none ({name}.reset_index(drop=True))."
        )

    def hole_before(self, index):
        """Count the entries missing before an index that begins after the end, by the spacing."""
        if self.step is not None or self.spacing is None:
            return 0
        ends = self._in_zone(index)[:1].insert(0, self.last)
        return int(self._holes(steps_between(ends, self.spacing))[0])

    def holes(self, index):
        """Count the entries missing before each row of an index: an int array of its length."""
        if self.spacing is None or is_default(index):
            return np.zeros(len(index), int)
        n_steps = steps_between(self._in_zone(index), self.spacing)
        return np.append(0, self._holes(n_steps))

    def _holes(self, n_steps):
        return np.where(n_steps > 1 + self.n_holidays, n_steps - 1, 0)

    def moved(self, n_rows, index=None):
        """Return the timeline that ends ``n_rows`` later, with ``index`` if that tells."""
        if index is not None:
            return dataclasses.replace(self, last=self._in_zone(index)[-1])
        return self if self.step is None else dataclasses.replace(self, last=self.after(n_rows)[-1])

    def _in_zone(self, index):
        zone = getattr(self.last, "tz", None)
        return index if zone is None else index.tz_convert(zone)

    @property
    def season(self):
        """Rows of a day, a week or a year, by `rows_of_a_season`; None where nobody knows."""
        import pandas as pd

        step, freq = self.spacing, getattr(self.last, "freq", None)
        if freq is not None and step is not None:  # of periods
            step = freq.base * int(step)
        if isinstance(step, pd.Timedelta):
            step = pd.tseries.frequencies.to_offset(step)
        return rows_of_a_season(step) if hasattr(step, "is_on_offset") else None

    @property
    def words(self):
        """The step, as pandas calls it."""
        freq = getattr(self.last, "freq", None)
        return words_of(self.step if freq is None else freq.base * self.step)


def words_of(step):
    """Return a step as pandas calls it; without a name, such as months from any day, as it is."""
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
    return kind_of_index(index) == "integers" and np.array_equal(index, np.arange(len(index)))


def tells(index):
    """Tell whether an index is more than a count of the rows."""
    return index is not None and not is_default(index)


def counted(n_rows, steps):
    """Return the pandas index of the steps after ``n_rows`` rows that have none."""
    import pandas as pd

    return pd.RangeIndex(n_rows, n_rows + steps)


def read_timeline(index, name="X", *, find_step=even_step, whose="", at=None):
    """Read an index (or None), which has to be in order and without duplicates.

    ``find_step`` tells its step, or None. The index is that of a series ``whose`` rows are ``at``
    these numbers, for messages.

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
    check_order(index, name)
    kind, step = kind_of_index(index), find_step(index)
    if step is not None:
        return Timeline(kind, index[0], index[-1], step, step, whose=whose)
    spacing, n_holidays = spacing_of(index)
    odd = _odd(index, spacing, at)
    return Timeline(kind, index[0], index[-1], None, spacing, n_holidays, whose, odd)


def check_on_grid(index, step, grid, what, at):
    """Raise unless all entries are on the grid of a stated step; ``what`` has the index."""
    is_on = is_on_grid(index, step)
    if not is_on.all():
        row = int(is_on.argmin())
        raise ValueError(
            f"{what} with {index[row]} in row {at[row]}, which is not on the grid of {grid}; "
            "expected entries that are. State another freq, or leave those rows out."
        )


def _odd(index, spacing, at):
    """Say in words where an index isn't even."""
    if kind_of_index(index) == "labels":
        return ""
    if len(index) < 2:
        return " (it is of one row)"
    if spacing is not None:
        differs = steps_between(index, spacing) != 1
    else:
        apart = index[1:] - index[:-1]
        differs = np.asarray(apart != apart[0])
    row = 1 + int(np.argmax(differs))
    number = row if at is None else at[row]
    return f" (row {number}, {index[row]}, comes right after {index[row - 1]})"


def _off_the_grid(index, n_steps):
    row = int(np.argmax(n_steps != 1)) + 1
    return f" (row {row}, {index[row]}, comes right after {index[row - 1]})"


def check_order(index, name):
    """Raise if an index has an entry twice, or isn't in order."""
    if kind_of_index(index) == "labels":
        return
    if not is_unique(index):
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
