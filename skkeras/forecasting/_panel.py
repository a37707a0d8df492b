"""Panels: the rows of several series, and which is of which."""

from typing import Any, NamedTuple

import numpy as np

from skkeras.forecasting._time_index import tells


def rows_by_group(groups, n_rows):
    """List the rows of each series.

    Parameters
    ----------
    groups : array-like of shape (n_rows,) or None
        Which series each row is of; None for one series.
    n_rows : int
        Number of rows.

    Returns
    -------
    rows : dict of int array
        By group, in the order of the rows; the group of a single series is None.

    Examples
    --------
    >>> from skkeras.forecasting._panel import rows_by_group
    >>> rows_by_group(["b", "a", "b"], 3)
    {'a': array([1]), 'b': array([0, 2])}
    """
    if groups is None:
        return {None: np.arange(n_rows)}
    labels = _labels(groups)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"groups has shape {labels.shape}; expected the group of each of {n_rows} rows, shape "
            f"({n_rows},)."
        )
    try:
        labels, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise ValueError(
            "groups has labels of several types, which can't be told apart safely; expected one. "
            "Turn them into strings."
        ) from error
    return {label: np.flatnonzero(codes == i) for i, label in enumerate(labels.tolist())}


def _labels(groups):
    """Check that none of the labels is missing; return them as an array."""
    labels = np.asarray(groups)
    if labels.dtype.kind == "M":
        labels = labels.astype("datetime64[us]")  # so that Python has a type for them
    if labels.dtype.kind in "iub":
        return labels
    # As objects, for numpy makes the string "nan" of one among strings.
    for label in np.asarray(groups, dtype=object).flat:
        if label is None or type(label).__name__ in ("NAType", "NaTType") or label != label:
            raise ValueError(
                f"groups has a missing label, {label!r}; expected which series each row is of. "
                "Leave those rows out, or give them a label."
            )
    return labels


class Part(NamedTuple):
    """The rows of one series, among those of several.

    Parameters
    ----------
    at : int array of shape (n_rows,)
        Their numbers.
    X : array of shape (n_rows, n_columns)
        The rows.
    index : pandas.Index or None
        Theirs.
    """

    at: np.ndarray
    X: np.ndarray
    index: Any


def parts_of(X, index, groups):
    """Cut rows into series.

    Parameters
    ----------
    X : array of shape (n_rows, n_columns)
        The rows.
    index : pandas.Index or None
        Theirs. One that only counts all rows says nothing of those of one series.
    groups : array-like of shape (n_rows,) or None
        Which series each row is of; None for one series.

    Returns
    -------
    parts : dict of Part
        By group.
    """
    rows = rows_by_group(groups, len(X))
    if groups is None:
        return {None: Part(rows[None], X, index)}
    index = index if tells(index) else None
    return {
        group: Part(at, X[at], None if index is None else index[at]) for group, at in rows.items()
    }


def only_part(parts):
    """Return the only series, the one that a history is of, as its group and its part."""
    if len(parts) > 1:
        raise ValueError(
            f"Got history= and groups of {len(parts)} series; expected one series, whose history "
            "it is. Predict them one by one, or move their ends on with update."
        )
    return next(iter(parts.items()))
