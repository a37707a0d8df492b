"""History: what a forecaster keeps of the series it was trained on, and which rows go before X."""

import dataclasses
import math
from typing import Any

import numpy as np

from skkeras.holdout import split_rows

# X is what training began with if it is as close as a scaler's rounding leaves it.
_SAME_ROWS = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Past:
    """The ends of a series that was trained on.

    Parameters
    ----------
    head, tail : arrays of shape (n_rows, n_columns)
        Its first and last rows, ``look_back`` of them at most.
    n_rows : int
        How long it was, with what `update` has added.
    timeline : Timeline or None
        Its index.
    """

    head: np.ndarray
    tail: np.ndarray
    n_rows: int
    timeline: Any = None

    def with_rows(self, X, look_back, last=None):
        """Return what is kept once rows have followed.

        Parameters
        ----------
        X : array of shape (n_rows, n_columns)
            The rows.
        look_back : int
            Rows to keep.
        last : timestamp, period or int, default=None
            The last entry of their index.
        """
        timeline = self.timeline.until(last) if self.timeline and last is not None else None
        tail = np.concatenate([self.tail, X])[-look_back:]
        return Past(self.head, tail, self.n_rows + len(X), timeline)


def keep(X, look_back, timeline=None):
    """Keep what a forecaster needs of a series.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.history import keep
    >>> past = keep(np.arange(9.0)[:, np.newaxis], look_back=2)
    >>> past.head[:, 0], past.tail[:, 0]
    (array([0., 1.]), array([7., 8.]))
    """
    return Past(X[:look_back].copy(), X[-look_back:].copy(), len(X), timeline)


def rows_in_common(head, X, scale):
    """Count the rows with which both begin, as far as ``head`` goes.

    Parameters
    ----------
    head : array of shape (n_head, n_columns)
        First rows of the training data.
    X : array of shape (n_rows, n_columns)
        Other rows.
    scale : array of shape (n_columns,)
        Spread of the columns, to tell what is close.

    Returns
    -------
    n_rows : int

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.history import rows_in_common
    >>> head = np.array([[1.0], [2.0], [3.0]])
    >>> rows_in_common(head, np.array([[1.0], [2.0], [7.0], [8.0]]), scale=np.ones(1))
    2
    """
    n_rows = min(len(head), len(X))
    differences = np.abs(head[:n_rows] - X[:n_rows])
    close = (differences <= _SAME_ROWS * (scale + np.abs(head[:n_rows]))).all(axis=1)
    return n_rows if close.all() else int(close.argmin())


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What goes before the first rows of X.

    Parameters
    ----------
    n_warm_up : int
        Of so many rows, at most ``look_back``, the history is made of training statistics: they
        are where training began.
    gap : int
        Rows that are missing between the training data and X.
    """

    n_warm_up: int
    gap: int


def beginning(past, X, index, *, look_back, gap, scale):
    """Find out how X follows the training data.

    An index decides where there is one. Without, a row is where training began if the rows before
    it are those of training. Whether that is so doesn't depend on the row itself or on
    later ones; only the first, which has none before it, has to speak for itself.

    Parameters
    ----------
    past : Past
        What was kept.
    X : array of shape (n_rows, n_columns)
        The rows.
    index : pandas.Index or None
        Theirs.
    look_back : int
        Rows in a window.
    gap : int
        Missing rows, where no index tells.
    scale : array of shape (n_columns,)
        Spread of the columns.

    Returns
    -------
    beginning : Beginning

    Raises
    ------
    ValueError
        If the index doesn't go with that of training.
    """
    if past.timeline is not None and index is not None and not _is_default(index):
        position = past.timeline.position(index)
        if position >= past.n_rows:
            return Beginning(0, position - past.n_rows)
        return Beginning(look_back, 0)
    n_common = rows_in_common(past.head, X, scale)
    return Beginning(min(n_common + 1, look_back) if n_common else 0, gap)


def _is_default(index):
    """Tell whether an index is the one that pandas gives to rows without one."""
    return hasattr(index, "start") and index.start == 0


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Rows with their history before them, ready for windows.

    Parameters
    ----------
    series : array of shape (n_laid_out, n_columns)
        History, rows, and ``horizon`` rows more for windows that look beyond the end.
    positions : int array of shape (n_rows,)
        Where each row is among them.
    origins : int array of shape (n_rows,)
        Where the row is with the history to forecast it from.
    is_real : bool array of shape (n_rows,)
        Whether a row's window holds nothing that was made up.
    n_ahead : int array of shape (n_rows,)
        How many rows there are from each on, itself included, and so how many true steps.
    """

    series: np.ndarray
    positions: np.ndarray
    origins: np.ndarray
    is_real: np.ndarray
    n_ahead: np.ndarray

    def spread(self, values):
        """Put a value for each row where the row is in the series; zeros elsewhere."""
        spread = np.zeros((len(self.series), *values.shape[1:]), values.dtype)
        spread[self.positions] = values
        return spread

    def scored(self, horizon):
        """List the forecasts whose truth is known, and whose history is real.

        Returns
        -------
        rows, steps, outcomes : int arrays of shape (n_scored,)
            The forecast of row ``rows[i]``, ``steps[i]`` ahead, is one for row ``outcomes[i]``.
        """
        rows, steps = np.nonzero(
            self.is_real[:, np.newaxis] & (np.arange(horizon) < self.n_ahead[:, np.newaxis])
        )
        numbers = self.spread(np.arange(len(self.positions)))
        return rows, steps, numbers[self.positions[rows] + steps]


def lay_out(X, before, n_warm_up, *, look_back, horizon, fill):
    """Put history before the rows of one series.

    Parameters
    ----------
    X : array of shape (n_rows, n_columns)
        The rows.
    before : array of shape (n_before, n_columns)
        What came before them.
    n_warm_up : int
        So many of the first rows get a history that is made of ``fill``.
    look_back, horizon : int
        Rows in, and steps out.
    fill : array of shape (n_columns,)
        Stands where history is missing.

    Returns
    -------
    layout : Layout

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.history import lay_out
    >>> rows, before = np.array([[3.0], [4.0]]), np.array([[2.0]])
    >>> laid_out = lay_out(rows, before, 0, look_back=2, horizon=1, fill=np.array([-1.0]))
    >>> laid_out.series[:, 0], laid_out.origins, laid_out.is_real
    (array([-1.,  2.,  3.,  4.,  4.]), array([2, 3]), array([False,  True]))
    """
    n_rows, before = len(X), before[len(before) - min(len(before), look_back) :]
    n_made_up = look_back - len(before)
    beyond = np.repeat(X[-1:], horizon, axis=0)
    parts = [np.tile(fill, (n_made_up, 1)), before, X, beyond]
    positions = look_back + np.arange(n_rows)
    origins = positions.copy()
    is_real = np.arange(n_rows) >= n_made_up
    n_warm_up = min(n_warm_up, n_rows)
    if n_warm_up:
        origins[:n_warm_up] += look_back + n_rows + horizon
        is_real[: min(n_warm_up, look_back)] = False
        parts += [np.tile(fill, (look_back, 1)), X[: n_warm_up + horizon], beyond]
    return Layout(np.concatenate(parts), positions, origins, is_real, n_rows - np.arange(n_rows))


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
    >>> from skkeras.history import rows_by_group
    >>> rows_by_group(["b", "a", "b"], 3)
    {'a': array([1]), 'b': array([0, 2])}
    """
    if groups is None:
        return {None: np.arange(n_rows)}
    groups = np.asarray(groups)
    if groups.shape != (n_rows,):
        raise ValueError(
            f"groups has shape {groups.shape}; expected the group of each of {n_rows} rows, shape "
            f"({n_rows},)."
        )
    labels, codes = np.unique(groups, return_inverse=True)
    return {label: np.flatnonzero(codes == i) for i, label in enumerate(labels.tolist())}


def rows_ahead(rows):
    """Count the rows of a series from each on, itself included.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.history import rows_ahead
    >>> rows_ahead({"a": np.array([0, 2]), "b": np.array([1, 3, 4])})
    array([2, 3, 1, 2, 1])
    """
    ahead = np.empty(sum(map(len, rows.values())), int)
    for at in rows.values():
        ahead[at] = np.arange(len(at), 0, -1)
    return ahead


def hold_out(split, n_ahead, groups, seed):
    """Mark the rows to train on and those to validate on.

    Parameters
    ----------
    split : float, int or splitter
        The fraction or number of rows to hold out at the end of each series; or a scikit-learn
        splitter, whose first split counts.
    n_ahead : int array of shape (n_rows,)
        Rows from each on, itself included.
    groups : array-like of shape (n_rows,) or None
        Which series each row is of.
    seed : int
        Of a splitter's shuffling.

    Returns
    -------
    is_train, is_held_out : bool arrays of shape (n_rows,)

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.history import hold_out
    >>> hold_out(0.25, np.array([4, 3, 2, 1]), None, seed=0)[1]
    array([False, False, False,  True])
    """
    if hasattr(split, "split"):
        parts = split_rows(split, len(n_ahead), None, groups, seed)
        return tuple(np.isin(np.arange(len(n_ahead)), part) for part in parts)
    held_out = np.zeros(len(n_ahead), bool)
    for rows in rows_by_group(groups, len(n_ahead)).values():
        n_held_out = split if split >= 1 else math.ceil(split * len(rows))
        held_out[rows] = n_ahead[rows] <= n_held_out
    return ~held_out, held_out


def join(layouts, rows):
    """Put the layouts of several series after each other.

    Parameters
    ----------
    layouts : list of Layout
        One of each series.
    rows : list of int array
        Which rows of the whole each series has.

    Returns
    -------
    layout : Layout
        Its rows are in the order of the whole.
    """
    if len(layouts) == 1:
        return layouts[0]
    order = np.argsort(np.concatenate(rows), kind="stable")
    starts = np.cumsum([0, *(len(layout.series) for layout in layouts)])[:-1]

    def together(name, starts):
        parts = [getattr(layout, name) for layout in layouts]
        return np.concatenate([part + start for part, start in zip(parts, starts, strict=True)])

    none = np.zeros(len(layouts), int)
    return Layout(
        np.concatenate([layout.series for layout in layouts]),
        together("positions", starts)[order],
        together("origins", starts)[order],
        together("is_real", none)[order].astype(bool),
        together("n_ahead", none)[order],
    )
