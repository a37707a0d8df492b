"""Missing values: which rows have none, and forecasts that stand for them."""

import numpy as np


def is_known(values):
    """Tell which rows (n_rows, n_columns) have no missing value."""
    return np.isfinite(values).all(axis=1)


def n_known_at_end(rows):
    """Count the last rows in a row that have no missing value."""
    return int(np.append(is_known(rows)[::-1], False).argmin())


def filled(rows, means, own=(), forecast=None):
    """Fill the missing values of a series: the same copy of it if there are none.

    Columns keep their last value, or are ``means`` before the first. ``own`` columns are
    ``forecast(rows_before, rows)`` instead, if that is given and there are some before: rows like
    those that it gets, of which the own columns are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._missing import filled
    >>> filled(np.array([[np.nan], [3.0], [np.nan], [4.0]]), np.array([1.0]))[:, 0]
    array([1., 3., 3., 4.])
    """
    if is_known(rows).all():
        return rows
    is_missing, kept = np.isnan(rows), _with_last_values(rows, means)
    if forecast is None or not len(own):
        return kept
    lacks = is_missing[:, own].any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], lacks, [False]])))
    for start, end in edges.reshape(-1, 2):
        if start:
            guess = forecast(kept[:start], kept[start:end])
            kept[start:end] = np.where(is_missing[start:end], guess, kept[start:end])
    return kept


def _with_last_values(rows, means):
    is_here = np.isfinite(rows)
    last = np.maximum.accumulate(np.where(is_here, np.arange(len(rows))[:, np.newaxis], -1))
    values = np.take_along_axis(rows, last.clip(min=0), axis=0)
    return np.where(last >= 0, values, means)
