"""Steps of an index: which it goes in, and how many lie between its entries.

A step is a pandas offset, or a difference of integers or of the ordinals of periods. A *spacing* is
a guess at one, of an index that isn't even: an offset, or about how far apart entries are, as a
`pandas.Timedelta` or a number.
"""

import collections
import functools
import warnings
from numbers import Integral

import numpy as np

# Rows that tell a step for certain: fewer may be the five days of a week, and no daily series.
_ENOUGH_TO_TELL = 3
# Rows of an even series that keep their own step, although they would fit the panel's with holes.
_ENOUGH_TO_DIFFER = 10
# So much of an index is about as far apart as the rest, or it has no spacing.
_MOSTLY, _ABOUT = 0.8, 0.25
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Entries of a calendar that are missing in a row: fewer are holidays, rather than a hole.
LONGEST_HOLIDAY = 4


def kind_of_index(index):
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


def regular_index(first, length, step):
    """Return the index of so many entries, a step apart."""
    import pandas as pd

    if isinstance(first, pd.Period):
        ordinals = first.ordinal + step * np.arange(length)
        return pd.PeriodIndex.from_ordinals(ordinals, freq=first.freq)
    if isinstance(first, pd.Timestamp):
        return pd.date_range(first, periods=length, freq=step)
    return pd.RangeIndex(first, first + length * step, step)


def distance(first, other, step):
    """Count the steps from one entry to another; None if it lies between two of them."""
    import pandas as pd

    entries = [first, other] if other >= first else [other, first]
    if isinstance(first, pd.Period):
        index = pd.PeriodIndex(entries)
    else:
        index = pd.Index(entries)
    n_steps = 0 if first == other else int(steps_between(index, step)[0])
    return None if n_steps < 0 else n_steps if other >= first else -n_steps


def steps_between(index, step):
    """Count the steps, or spacings, from each entry to the next; -1 where one is off the grid.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.forecasting._steps import steps_between
    >>> days = pd.DatetimeIndex(["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-13"])
    >>> steps_between(days, pd.offsets.BDay()), steps_between(days, pd.offsets.Day())
    (array([ 1,  1, -1]), array([1, 3, 5]))
    """
    import pandas as pd

    if isinstance(step, pd.Timedelta | float):
        return np.maximum(np.rint(np.asarray(_differences(index) / step)), 1).astype(int)
    positions = _positions(index, step)
    n_steps = np.diff(positions)
    n_steps[(positions[1:] < 0) | (positions[:-1] < 0)] = -1
    return n_steps


def is_on_grid(index, step):
    """Tell which entries are a whole number of steps from the first; none if that is off."""
    if hasattr(step, "is_on_offset") and not step.is_on_offset(index[0]):
        return np.zeros(len(index), bool)  # not a business day, for example
    return _positions(index, step) >= 0


def _positions(index, step):
    """Number the entries by steps from the first; -1 off the grid."""
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex):
        if isinstance(step, pd.offsets.Tick) and not isinstance(step, pd.offsets.Day):
            nanoseconds = (index.asi8 - index.asi8[0]) * _NANOSECONDS[index.unit]
            whole, rest = np.divmod(nanoseconds, step.nanos)
            return np.where(rest == 0, whole, -1)
        grid, instants = _grid(index[0], index[-1], step, index.unit), index.asi8
        places = np.searchsorted(grid, instants).clip(max=len(grid) - 1)
        return np.where(grid[places] == instants, places, -1) if len(grid) else places - 1
    numbers = _numbers(index)
    whole, rest = np.divmod(numbers - numbers[0], step)
    return np.where(rest == 0, whole, -1)


@functools.lru_cache(maxsize=32)  # the series of a panel have mostly one grid, and months are slow
def _grid(first, last, step, unit):
    """Return the instants of a calendar, in a unit."""
    import pandas as pd

    return pd.date_range(first, last, freq=step).as_unit(unit).asi8


def _numbers(index):
    """Return integers, or the ordinals of periods."""
    import pandas as pd

    numbers = index.asi8 if isinstance(index, pd.PeriodIndex) else index
    return np.asarray(numbers).astype("int64")


def _differences(index):
    import pandas as pd

    if isinstance(index, pd.PeriodIndex) or kind_of_index(index) == "integers":
        return np.diff(_numbers(index)).astype(float)
    return index[1:] - index[:-1]


def even_step(index):
    """Return the step of an index that has one step throughout, as far as it tells; else None."""
    step = _step(index)
    is_even = step is not None and (len(index) == 1 or (steps_between(index, step) == 1).all())
    return step if is_even else None


def _step(index):
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex):
        return index.freq or _calendar_step(index) or _even_spacing(index)
    if isinstance(index, pd.PeriodIndex):
        return int(index[1].ordinal - index[0].ordinal) or None if len(index) > 1 else index.freq.n
    if kind_of_index(index) == "integers":
        return int(index[1] - index[0]) or None if len(index) > 1 else 1
    return None


def _even_spacing(index):
    import pandas as pd

    if len(index) < 2:
        return None
    if (months := _months(index)) is not None:
        return months  # 31 days would be those of one month alone
    spacing = np.unique(np.diff(index.asi8))
    if len(spacing) > 1 or spacing[0] <= 0:
        return None
    n_days, rest = divmod(index[1] - index[0], pd.Timedelta("1D"))
    if not rest:
        return pd.offsets.Day(n_days)  # by the clock on the wall
    return pd.tseries.frequencies.to_offset(index[1] - index[0])


def _calendar_step(index):
    """Infer months, business days and the like; weeks count as 7 days, from any day on."""
    import pandas as pd

    with warnings.catch_warnings():
        # pandas 3 announces that pandas 4 returns an offset, which does as well.
        warnings.simplefilter("ignore")
        name = pd.infer_freq(index) if len(index) > 2 else None
    step = None if name is None else pd.tseries.frequencies.to_offset(name)
    return pd.offsets.Day(7 * step.n) if isinstance(step, pd.offsets.Week) else step


def _months(index):
    """Return the step of whole months that entries mostly are apart, on one day of the month."""
    import pandas as pd

    months = index.year * 12 + index.month
    n_months = np.diff(np.asarray(months))
    same_time = (index - index.normalize()).nunique() == 1
    if not (n_months > 0).all() or not same_time:
        return None
    usual = int(np.median(n_months))
    if index.is_month_end.all():
        return pd.offsets.MonthEnd(usual)
    if index.day.nunique() > 1:
        return None
    is_first = index[0].day == 1
    return pd.offsets.MonthBegin(usual) if is_first else pd.DateOffset(months=usual)


def rows_of_a_season(step):
    """Return how many rows a day, a week or a year has, the shortest of which there are several.

    None if that isn't a whole number, or more than the minutes of a day.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.forecasting._steps import rows_of_a_season
    >>> steps = ["h", "D", "B", "W", "MS", "QE", "YE"]
    >>> [rows_of_a_season(pd.tseries.frequencies.to_offset(step)) for step in steps]
    [24, 7, 5, 52, 12, 4, None]
    """
    import pandas as pd

    if isinstance(step, pd.offsets.Tick) and pd.Timedelta(step) < pd.Timedelta("1min"):
        return None

    def rows(first_monday_to, n_seasons):
        # 2001-01-01 was a Monday.
        return len(pd.date_range("2001-01-01", first_monday_to, freq=step)[1:]) / n_seasons

    seasons = rows("2001-01-29", 28), rows("2001-01-29", 4), round(rows("2009-01-01", 8))
    return next((int(n) for n in seasons if n >= 2 and n == int(n)), None)


def stated_step(freq, index):
    """Return the step that a user states, as it is for the kind of the index."""
    import pandas as pd

    kind = kind_of_index(index)
    wrong = f"Got freq={freq!r}, and X has an index of {index.dtype}; expected "
    if kind == "integers":
        if not isinstance(freq, Integral) or isinstance(freq, bool) or freq < 1:
            raise ValueError(f"{wrong}a whole number, of at least 1. Turn dates into such.")
        return int(freq)
    if kind in ("durations", "floats", "labels"):
        raise ValueError(
            f"{wrong}an index of dates, periods or integers. Turn strings into dates with "
            "pd.to_datetime(X.index), or leave freq out."
        )
    try:
        if isinstance(index, pd.PeriodIndex):
            stated = pd.PeriodIndex([], freq=freq).freq
            if stated.base != index.freq.base:
                raise ValueError(f"the periods are of {index.freqstr}")
            return stated.n
        return pd.tseries.frequencies.to_offset(freq)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{wrong}a pandas offset, such as 'D' or 'B': {error}.") from error


def panel_step(indexes):
    """Return the step of several series, from those that tell it; None if none does.

    It is the one by which most rows follow each other, and among equals the longest. All entries
    together count as well: where no single series is whole, or all leave out the same holidays.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.forecasting._steps import panel_step
    >>> days = pd.date_range("2024-01-01", periods=20, freq="B")
    >>> panel_step([days[:5], days, days[5:10], days[7:8]])
    <BusinessDay>
    """
    if len(indexes) == 1:
        return even_step(indexes[0])
    names = [(index[0], index[-1], len(index)) for index in indexes]
    counts = collections.Counter(names)
    different = dict(zip(names, indexes, strict=True))  # a panel often has few
    n_rows = {name: counts[name] * len(index) for name, index in different.items()}
    union = indexes[0].append(list(indexes[1:])).unique().sort_values()

    def support(step):
        """Count the rows that follow each other by a step; and tell how long it is."""
        is_even = {k: (steps_between(index, step) == 1).all() for k, index in different.items()}
        return sum(n_rows[k] for k in different if is_even[k]), regular_index(union[0], 8, step)[-1]

    guess, _ = spacing_of(union)  # five days each of several weeks
    for least in (_ENOUGH_TO_TELL, 2, 1):
        telling = [index for index in (*different.values(), union) if len(index) >= least]
        steps = {step for step in map(even_step, telling) if step is not None}
        if steps:
            if hasattr(guess, "is_on_offset") and support(guess)[0]:
                steps.add(guess)
            return max(steps, key=support)
    return _shared_calendar(indexes, union)


def series_step(index, step):
    """Return the step of one series of a panel: the panel's, or its own where that doesn't fit."""
    if step is None:
        return even_step(index)
    n_steps = steps_between(index, step)
    fits, is_whole = is_on_grid(index, step).all(), (n_steps == 1).all()
    if fits and (is_whole or len(index) < _ENOUGH_TO_DIFFER):
        return step
    own = even_step(index) if len(index) >= _ENOUGH_TO_TELL else None
    return step if own is None and fits else own


def spacing_of(index):
    """Guess the step of an index that isn't even; None if it has none.

    Returns it, and how many of its entries may be missing in a row without being a hole: an index
    that leaves out days of the week is a calendar, which leaves out holidays.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.forecasting._steps import spacing_of
    >>> spacing_of(pd.date_range("2024-01-01", periods=20).delete([3, 4]))
    (<Day>, 0)
    >>> spacing_of(pd.date_range("2024-01-01", periods=20, freq="B").delete(3))
    (<BusinessDay>, 4)
    """
    import pandas as pd

    if len(index) < _ENOUGH_TO_TELL or kind_of_index(index) == "labels":
        return None, 0
    if isinstance(index, pd.DatetimeIndex):
        guesses = [(_months(index), 0), (_weekly_calendar(index), LONGEST_HOLIDAY)]
        if (index - index.normalize()).nunique() == 1:
            guesses.append((pd.offsets.Day(_usual_days(index)), 0))
        for guess, n_holidays in guesses:
            if guess is not None and _is_mostly(steps_between(index, guess)):
                return guess, n_holidays
    differences = _differences(index)
    usual = pd.Series(differences).median()
    is_about = np.abs(np.asarray(differences / usual) - 1) <= _ABOUT
    return (usual if is_about.mean() >= _MOSTLY else None), 0


def _is_mostly(n_steps):
    return (n_steps > 0).all() and (n_steps == 1).mean() >= _MOSTLY


def _usual_days(index):
    seconds = np.diff(index.normalize().asi8) * (_NANOSECONDS[index.unit] / 1e9)
    return max(int(np.median(seconds) / 86_400), 1)


def _weekly_calendar(index):
    """Return the calendar of the days of the week that occur; None if all do, or of few days."""
    import pandas as pd

    days = np.bincount(index.day_of_week, minlength=7) > 0
    is_daily = (index - index.normalize()).nunique() == 1
    if days.all() or days.sum() < 2 or not is_daily or index[-1] - index[0] < pd.Timedelta("13D"):
        return None
    if days.tolist() == [True] * 5 + [False] * 2:
        return pd.offsets.BDay()
    return pd.offsets.CustomBusinessDay(weekmask="".join(map(str, days.astype(int))))


def _shared_calendar(indexes, union):
    """Return the calendar that several series share, whose holidays all of them leave out."""
    import pandas as pd

    if not isinstance(union, pd.DatetimeIndex) or (week := _weekly_calendar(union)) is None:
        return None
    n_steps = steps_between(union, week)
    if not _is_mostly(n_steps) or n_steps.max() > 1 + LONGEST_HOLIDAY:
        return None
    missing = pd.date_range(union[0], union[-1], freq=week).difference(union)
    n_within = sum((index[0] < missing) & (missing < index[-1]) for index in indexes)
    if np.mean(n_within > 1) < 0.5:  # one series alone may have holes
        return None
    holidays = [*missing.tz_localize(None).normalize()]
    return pd.offsets.CustomBusinessDay(
        weekmask=getattr(week, "weekmask", None) or "Mon Tue Wed Thu Fri", holidays=holidays
    )
