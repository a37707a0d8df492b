"""Panels: the rows of several series, and which is of which."""

from typing import Any, NamedTuple

import numpy as np

from skkeras.forecasting._time_index import tells


def rows_by_group(groups, n_rows):
    """Return the row numbers of each series by group; the group of a single series is None.

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
    """Rows of one series, ``at`` these numbers among those of several."""

    at: np.ndarray
    X: np.ndarray
    index: Any


def parts_of(X, index, groups):
    """Cut rows into series, by group.

    An index that only counts all rows tells nothing of one series.
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
