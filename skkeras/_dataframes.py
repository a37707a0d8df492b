"""Frames: series that come in, and forecasts that go out, as pandas or polars have them."""

from numbers import Integral

import numpy as np

from skkeras._hints import suggestion


def kind_of(data):
    """Return "pandas" or "polars", whose frame or series the data are; or None."""
    package = type(data).__module__.partition(".")[0]
    return package if package in ("pandas", "polars") else None


def is_series(data):
    """Tell whether some data is one column of a frame."""
    return kind_of(data) is not None and type(data).__name__ == "Series"


def as_frame(X):
    """Return a Series as a frame of one column, and anything else as it is."""
    return X.to_frame() if is_series(X) else X


def names_of(data):
    """Return the names of a frame's columns or of a Series, as a list; None for anything else."""
    if kind_of(data) is None:
        return None
    return [data.name] if is_series(data) else list(data.columns)


def check_columns(X, name="X"):
    """Check that X, if it is a frame, has columns, of numbers alone.

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras._dataframes import check_columns
    >>> check_columns(pd.DataFrame({"sales": [1.5, 2.5], "store": ["s1", "s1"]}))
    Traceback (most recent call last):
    ...
    ValueError: X's column 'store' holds 's1', which is no number; expected numbers. ...
    """
    if kind_of(X) == "pandas" and not len(X.columns):
        raise ValueError(
            f"{name} has {len(X)} rows and no columns; expected the values of the rows, for each "
            "is forecast from those before it. What comes after the end is forecast by "
            f"forecast({len(X)})."
        )
    for column in _unsure_columns(X):
        _check_numbers(column, name)


def _unsure_columns(X):
    """List the columns whose type doesn't say that they hold numbers; others are many, at times."""
    if kind_of(X) == "pandas":
        kinds = [dtype.kind for dtype in X.dtypes]
        return [X.iloc[:, i] for i, kind in enumerate(kinds) if kind not in "biufc"]
    if hasattr(X, "get_columns"):
        return [column for column in X.get_columns() if not column.dtype.is_numeric()]
    return []


def _check_numbers(column, name):
    is_pandas = hasattr(column, "iloc")
    present = column.dropna() if is_pandas else column.drop_nulls()
    odd = next((entry for entry in present if not _is_number(entry)), None)
    if odd is None:
        return
    held = f"{name}'s column {column.name!r} holds {odd!r}, which is no number; expected numbers."
    if not hasattr(odd, "year"):
        raise ValueError(
            f"{held} Encode it. If it says which series a row is of, leave it out, and pass it as "
            "groups=. If these are dates, turn them into such with to_datetime, and make them "
            "the index."
        )
    if not is_pandas:
        raise ValueError(f"{held} Leave it out, {name}.drop({column.name!r}).")
    raise ValueError(f"{held} Make it the index, {name}.set_index({column.name!r}).")


def _is_number(entry):
    try:
        float(entry)
    except (TypeError, ValueError):
        return False
    return True


def labelled(values, kind, names, index):
    """Give forecasts (steps,) or (steps, n_targets) the form of the training data.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skkeras._dataframes import labelled
    >>> labelled(np.array([1.0, 2.0]), "pandas", ["load"], pd.RangeIndex(7, 9))
    7    1.0
    8    2.0
    Name: load, dtype: float64
    """
    if kind == "pandas":
        import pandas as pd

        if values.ndim == 1:
            return pd.Series(values, index=index, name=names[0] if names else None)
        return pd.DataFrame(values, index=index, columns=names)
    if kind == "polars":
        import polars as pl

        if values.ndim == 1:
            return pl.Series(names[0] if names else None, values)
        return pl.DataFrame(values, schema=names)
    return values


def column_numbers(name, given, n_columns, names=None):
    """Return the numbers of columns given by number (negative: from the end) or by name.

    Examples
    --------
    >>> from skkeras._dataframes import column_numbers
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
