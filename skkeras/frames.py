"""Frames: series that come in, and forecasts that go out, as pandas or polars have them."""


def kind_of(data):
    """Tell whose frame or series some data is.

    Returns
    -------
    kind : {"pandas", "polars"} or None

    Examples
    --------
    >>> import pandas as pd
    >>> from skkeras.frames import kind_of
    >>> kind_of(pd.Series([1.0])), kind_of([1.0])
    ('pandas', None)
    """
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


def labelled(values, kind, names, index):
    """Give forecasts the form of what was trained on.

    Parameters
    ----------
    values : array of shape (steps,) or (steps, n_targets)
        The forecasts.
    kind : {"pandas", "polars"} or None
        Whose form.
    names : list or None
        Of the targets.
    index : pandas.Index or None
        For pandas.

    Returns
    -------
    forecasts : ndarray, Series or DataFrame

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skkeras.frames import labelled
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
