"""Calendar columns: where in the day, the week or the year each row of an index is."""

import numpy as np

# How many there are of each in the next larger unit.
_PERIODS = {
    "minute": 60,
    "hour": 24,
    "dayofweek": 7,
    "day": 31,
    "dayofyear": 366,
    "week": 53,
    "month": 12,
    "quarter": 4,
}


def check_calendar(calendar):
    """Return the names in a list, a name or None as a tuple; raise if there is another."""
    names = (calendar,) if isinstance(calendar, str) else tuple(calendar or ())
    unknown = [name for name in names if name not in _PERIODS]
    if unknown or len({*names}) < len(names):
        raise ValueError(
            f"calendar={calendar!r}; expected some of {', '.join(map(repr, _PERIODS))}, each once."
        )
    return names


def calendar_columns(index, names, of="X"):
    """Return the sine and cosine of each name for an index, (n_rows, 2 * n_names).

    ``of`` says in errors what has the index.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.forecasting._calendar import calendar_columns
    >>> index = pd.date_range("2024-01-01", periods=3, freq="6h")
    >>> calendar_columns(index, ["hour"]).round(3) + 0.0
    array([[ 0.,  1.],
           [ 1.,  0.],
           [ 0., -1.]])
    """
    if not hasattr(index, "day_of_week"):
        has = "no index" if index is None else f"an index of {index.dtype}"
        raise ValueError(
            f"Got calendar={[*names]}, and {of} with {has}; expected an index of dates or periods. "
            f"Pass a DataFrame that has one, such as {of}.set_index(pd.to_datetime(...)); a step "
            'of a Pipeline before keeps it with set_output(transform="pandas").'
        )
    angles = [2 * np.pi * _numbers(index, name) / _PERIODS[name] for name in names]
    return np.column_stack([part for angle in angles for part in (np.sin(angle), np.cos(angle))])


def _numbers(index, name):
    if name == "week":
        dates = index.to_timestamp() if hasattr(index, "to_timestamp") else index
        return dates.isocalendar().week.to_numpy(dtype=float)
    return np.asarray(getattr(index, name.replace("dayof", "day_of_")), dtype=float)
