"""Columns: which columns of X a forecaster's parameters name."""

from numbers import Integral

import numpy as np

from skkeras.advice import suggestion


def column_numbers(name, given, n_columns, names=None):
    """Turn what a parameter says of columns into their numbers.

    Parameters
    ----------
    name : str
        The parameter, for messages.
    given : int, str, or sequence of them
        Numbers (negative ones count from the end) or names.
    n_columns : int
        How many columns X has.
    names : sequence of str or None, default=None
        Their names, if they have any.

    Returns
    -------
    numbers : list of int

    Raises
    ------
    ValueError
        If X has no such column, or one is given twice.

    Examples
    --------
    >>> from skkeras.columns import column_numbers
    >>> column_numbers("target", ["load", 0], 3, ["hour", "day", "load"])
    [2, 0]
    >>> column_numbers("target", 3, 3)
    Traceback (most recent call last):
    ...
    ValueError: Got target=3, and X has 3 columns; expected numbers from -3 to 2.
    """
    several = list(given) if np.iterable(given) and not isinstance(given, str) else [given]
    numbers = [_number(name, given, one, n_columns, names) for one in several]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"Got {name}={given!r}, which names a column twice; expected each once.")
    return numbers


def _number(name, given, column, n_columns, names):
    if isinstance(column, str):
        if names is None:
            raise ValueError(
                f"Got {name}={given!r}, and X has no column names; expected a DataFrame. Give "
                "numbers of columns, or set_output(transform='pandas') on what comes before."
            )
        if column not in names:
            raise ValueError(f"Got {name}={given!r}. {suggestion(column, names)}")
        return list(names).index(column)
    if not isinstance(column, Integral | np.integer) or isinstance(column, bool):
        raise TypeError(
            f"Got {name}={given!r}; expected a column's number or name, or a list of them."
        )
    if not -n_columns <= column < n_columns:
        raise ValueError(
            f"Got {name}={given!r}, and X has {n_columns} columns; expected numbers from "
            f"{-n_columns} to {n_columns - 1}."
        )
    return int(column) % n_columns
