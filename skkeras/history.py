"""History: what a forecaster keeps of the series it was trained on, and which rows go before X."""

import dataclasses
import math
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from skkeras.holdout import split_rows
from skkeras.timeline import counted, is_default, read_timeline

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
        head, tail = np.concatenate([self.head, X]), np.concatenate([before, X])
        return Past(head[:look_back], tail[-look_back:], n_rows, timeline, has_moved=True)

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


def tells(index):
    """Tell whether an index is more than a count of the rows."""
    return index is not None and not is_default(index)


def keep(X, look_back, index=None):
    """Keep what a forecaster needs of a series.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.history import keep
    >>> past = keep(np.arange(9.0)[:, np.newaxis], look_back=2)
    >>> past.head[:, 0], past.tail[:, 0]
    (array([0., 1.]), array([7., 8.]))
    """
    return Past(X[:look_back].copy(), X[-look_back:].copy(), len(X), read_timeline(index))


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


def too_few(n_rows, n_before, look_back, horizon):
    """Say that no window is whole, where ``n_before`` rows are known before ``n_rows`` ones."""
    expected = f"horizon={horizon}, the rows to forecast"
    if n_before < look_back:
        expected = (
            f"look_back + horizon = {look_back} + {horizon} = {look_back + horizon}, for a window "
            "and what comes after it"
        )
    return (
        f"Got n_samples={n_rows} rows; expected at least {expected}. Give more rows, or a smaller "
        "look_back or horizon."
    )


def padded(rows, length, fill):
    """Return the last rows of some, with ``fill`` in front of them where they are too few.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.history import padded
    >>> padded(np.array([[1.0], [2.0]]), 3, np.array([-1.0]))[:, 0]
    array([-1.,  1.,  2.])
    """
    rows = rows[-length:]
    return np.concatenate([np.tile(fill, (length - len(rows), 1)), rows])


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

    def scored(self, horizon, *, are_whole=False):
        """List the forecasts whose truth is known, and whose history is real.

        Parameters
        ----------
        horizon : int
            Steps that are forecast.
        are_whole : bool, default=False
            Whether to leave out windows whose horizon goes beyond the rows.

        Returns
        -------
        rows, steps, outcomes : int arrays of shape (n_scored,)
            The forecast of row ``rows[i]``, ``steps[i]`` ahead, is one for row ``outcomes[i]``.
        """
        counts = self.is_real & (self.n_ahead >= (horizon if are_whole else 1))
        is_known = np.arange(horizon) < self.n_ahead[:, np.newaxis]
        rows, steps = np.nonzero(counts[:, np.newaxis] & is_known)
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
    n_rows, n_made_up = len(X), max(look_back - len(before), 0)
    beyond = np.repeat(X[-1:], horizon, axis=0)
    parts = [padded(before, look_back, fill), X, beyond]
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
    >>> from skkeras.history import hold_out
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
