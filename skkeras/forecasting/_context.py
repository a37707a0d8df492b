"""History: what a forecaster keeps of the series it was trained on, and which rows go before X."""

import dataclasses
import math
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from skkeras._holdout import split_rows
from skkeras.forecasting._panel import rows_by_group
from skkeras.forecasting._time_index import counted, read_timeline, tells

# X is what training began with if it is as close as a scaler's rounding leaves it: so much of a
# column's spread, and of its level.
_SAME_SPREAD, _SAME_LEVEL = 1e-6, 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Past:
    """The ends of a series that was trained on.

    Parameters
    ----------
    head, tail : arrays of shape (n_rows, n_columns)
        Its first and last rows, ``look_back`` of them at most.
    n_rows : int
        How long it was, with what `update` has added.
    timeline : Timeline or None, default=None
        Its index; None if the rows are only counted.
    has_moved : bool, default=False
        Whether rows have followed those of training.
    """

    head: np.ndarray
    tail: np.ndarray
    n_rows: int
    timeline: Any = None
    has_moved: bool = False

    def with_rows(self, before, X, index, look_back):
        """Return what is kept once rows have followed.

        Parameters
        ----------
        before : array of shape (n_before, n_columns)
            What goes before the rows: the tail, and what fills a gap.
        X : array of shape (n_rows, n_columns)
            The rows.
        index : pandas.Index or None
            Theirs.
        look_back : int
            Rows to keep.
        """
        timeline, n_rows = self.timeline, self.n_rows + len(X)
        if timeline is not None:
            timeline = timeline.moved(len(X), index if tells(index) else None)
        head = np.concatenate([self.head, X[: look_back - len(self.head)]])
        tail = np.concatenate([before, X[-look_back:]])[-look_back:]
        return Past(head, tail, n_rows, timeline, has_moved=True)

    def is_inside(self, index):
        """Tell whether an index says that it begins before the end, but not at the beginning."""
        missing = self.missing(index)
        return missing is not None and missing < 0 and index[0] != self.timeline.first

    def missing(self, index, name="X"):
        """Count the rows that an index says are missing before it; None if it doesn't tell.

        It is negative if the index doesn't begin after the end.
        """
        if self.timeline is None or not tells(index):
            return None
        return self.timeline.missing(index, name)

    def check_follows(self, index):
        """Return how many rows an index says are missing; raise unless it begins after the end."""
        missing = self.missing(index) or 0
        if missing < 0:
            raise ValueError(
                f"X has an index that begins at {index[0]}, and rows up to {self.timeline.last} "
                "are known; expected the rows that follow them. Leave out those that are known, or "
                "fit on all."
            )
        return missing

    def check_is_right_before(self, index):
        """Raise if an index says that rows are missing after the end, a history's."""
        if self.check_follows(index):
            raise ValueError(
                f"X has an index that begins at {index[0]}, and history ends at "
                f"{self.timeline.last}; expected no rows missing in between. Give them, too."
            )

    def index_after(self, steps):
        """Return the pandas index of the rows to come."""
        if self.timeline is None:
            return counted(self.n_rows, steps)
        return self.timeline.after(steps)


def keep(X, look_back, index=None, name="X"):
    """Keep what a forecaster needs of a series, which messages call by its name.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._context import keep
    >>> past = keep(np.arange(9.0)[:, np.newaxis], look_back=2)
    >>> past.head[:, 0], past.tail[:, 0]
    (array([0., 1.]), array([7., 8.]))
    """
    timeline = read_timeline(index, name)
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
    >>> from skkeras.forecasting._context import rows_in_common
    >>> head = np.array([[1.0], [2.0], [3.0]])
    >>> rows_in_common(head, np.array([[1.0], [2.0], [7.0], [8.0]]), scale=np.ones(1))
    2
    """
    n_rows = min(len(head), len(X))
    differences = np.abs(head[:n_rows] - X[:n_rows])
    tolerances = _SAME_SPREAD * scale + _SAME_LEVEL * np.abs(head[:n_rows])
    close = (differences <= tolerances).all(axis=1)
    return n_rows if close.all() else int(close.argmin())


class Beginning(NamedTuple):
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
        Rows that are missing after those of training, where no index tells.
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
    gap = 0 if past.has_moved else gap
    missing = past.missing(index)
    if missing is None:
        n_common = rows_in_common(past.head, X, scale)
        return Beginning(min(n_common + 1, look_back) if n_common else 0, gap)
    if missing < 0:
        return Beginning(look_back, 0)
    return Beginning(0, gap if past.timeline.step is None else missing)


def hold_out(split, n_rows, groups):
    """Mark the rows to train on and those to validate on.

    Parameters
    ----------
    split : float, int or splitter
        The fraction or number of rows to hold out at the end of each series; or a scikit-learn
        splitter, whose first split counts.
    n_rows : int
        Number of rows.
    groups : array-like of shape (n_rows,) or None
        Which series each row is of.

    Returns
    -------
    is_train, is_held_out : bool arrays of shape (n_rows,)

    Raises
    ------
    ValueError
        If the fraction isn't between 0 and 1, or the number not at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._context import hold_out
    >>> hold_out(0.25, 4, None)[1]
    array([False, False, False,  True])
    """
    if hasattr(split, "split"):
        marks = [
            np.isin(np.arange(n_rows), part)
            for part in split_rows(split, n_rows, None, groups, None)
        ]
        return marks[0], marks[1]
    is_count = isinstance(split, Integral)
    if split <= 0 or (split >= 1 and not is_count):
        raise ValueError(
            f"validation_split={split!r}; expected a fraction between 0 and 1, or an int of at "
            "least 1, the number of rows at the end of each series."
        )
    held_out = np.zeros(n_rows, bool)
    for rows in rows_by_group(groups, n_rows).values():
        held_out[rows[-(split if is_count else math.ceil(split * len(rows))) :]] = True
    return ~held_out, held_out
