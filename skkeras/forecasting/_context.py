"""History: the ends of the training series, and the rows that precede X."""

import dataclasses
import math
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from skkeras._holdout import split_rows
from skkeras._pickling import PickledByName
from skkeras.forecasting._missing import is_known
from skkeras.forecasting._panel import rows_by_group
from skkeras.forecasting._time_index import counted, tells

# X is what training began with if it is as close as a scaler's rounding leaves it: so much of a
# column's spread, and of its level.
_SAME_SPREAD, _SAME_LEVEL = 1e-6, 1e-9
# So many rows in a row tell the beginning of the training data if fewer than this share of all such
# stretches come more than once.
_RARE = 0.05
_MOST_TELLING = 32  # beyond, a series is periodic


@dataclasses.dataclass(frozen=True, eq=False)
class Past(PickledByName):
    """First and last rows of a training series, ``look_back`` of them at most, and its index.

    ``n_rows`` counts those of `update`, too; ``has_moved`` is True once rows have followed those of
    training; ``timeline`` is None if rows are only counted; ``changes`` are of `mean_changes`, of
    the targets; ``n_telling`` rows tell that others are the first of these, see `telling_length`.
    ``holes`` are in the tail: a row, the number of entries missing before it, and the last one
    before these.
    ``naive_errors`` are those of training, by `_naive_errors.naive_errors`; None without training.
    """

    head: np.ndarray
    tail: np.ndarray
    n_rows: int
    timeline: Any = None
    has_moved: bool = False
    changes: Any = None
    n_telling: int = 1
    holes: tuple = ()
    naive_errors: Any = None

    def with_rows(self, before, X, index, look_back, scale=1.0, *, last=slice(None)):
        """Return the past after rows X.

        ``before`` is the tail, with rows that fill a gap; or what precedes the ``last`` of the rows
        if X has holes.
        """
        timeline, n_rows = self.timeline, self.n_rows + len(X)
        if timeline is not None:
            timeline = timeline.moved(len(X), index if tells(index) else None)
        head = np.concatenate([self.head, X[: look_back - len(self.head)]])
        tail = last_rows(np.concatenate([before, X[last]]), look_back)
        n_telling = self.n_telling
        if len(self.head) < look_back or len(X) >= self.n_rows:  # more is known of it than was
            n_telling = max(n_telling, telling_length(np.concatenate([before, X]), scale))
        return dataclasses.replace(
            self,
            head=head,
            tail=tail,
            n_rows=n_rows,
            timeline=timeline,
            has_moved=True,
            n_telling=n_telling,
            holes=(),
        )

    @property
    def after_holes(self):
        """The last rows, as far as no hole in the index lies between them."""
        return self.tail[self.holes[-1][0] :] if self.holes else self.tail

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
        missing = self.missing(index)
        if missing == 0:
            missing = self.timeline.hole_before(index)
        missing = missing or 0
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


def keep(X, look_back, timeline=None, index=None, changes=None, scale=1.0):
    """Return the past of a series."""
    n_telling = telling_length(X, scale)
    missing = np.zeros(0, int) if timeline is None else timeline.holes(index)
    rows = np.flatnonzero(missing)
    start = _start_of_tail(X, look_back, rows)
    holes = tuple(
        (int(row - start), int(missing[row]), index[row - 1]) for row in rows[rows > start]
    )
    head, tail = X[:look_back].copy(), X[start:].copy()
    return Past(head, tail, len(X), timeline, False, changes, n_telling, holes)


def last_rows(X, look_back):
    """Return the last rows, and those that missing values among them can be forecast from."""
    return X[_start_of_tail(X, look_back) :]


def _start_of_tail(X, look_back, holes=()):
    """Return the row from which on a series is kept, to fill the holes before its last rows.

    Forecasts that fill a hole are made of a whole window as well, if that has no hole itself.
    """
    start = max(len(X) - look_back, 0)
    is_gap = ~is_known(X[start:])
    is_gap[[row - start for row in holes if row > start]] = True
    return max(start + int(is_gap.argmax()) - look_back, 0) if is_gap.any() else start


def telling_length(X, scale):
    """Return how many of the first rows of a series have to be alike to know them again.

    Single rows of measurements come once; those of counts and flags come often, and only several in
    a row tell where they stand. Nothing tells in a periodic series: the length is beyond its rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._context import telling_length
    >>> rng = np.random.default_rng(0)
    >>> telling_length(rng.normal(size=(500, 1)), 1.0)
    1
    >>> telling_length(rng.integers(0, 5, size=(500, 1)), 1.0)
    8
    >>> telling_length(np.arange(500)[:, np.newaxis] % 7, 1.0)
    501
    """
    X, units = np.nan_to_num(X), np.where(np.asarray(scale) > 0, scale, 1)
    directions = np.random.default_rng(0).uniform(1, 2, size=X.shape[1])
    stretches = np.round((X - X[:1]) / units @ directions / (2 * _SAME_SPREAD) + directions[0])
    length = 1
    while length <= min(_MOST_TELLING, len(X)):
        _, codes, counts = np.unique(stretches, return_inverse=True, return_counts=True)
        comes_again = counts[codes] > 1
        if not comes_again[0] and comes_again.mean() < _RARE:
            return length
        stretches = codes[:-length] * len(counts) + codes[length:]
        length *= 2
    return len(X) + 1


def rows_in_common(head, X, scale):
    """Count the rows with which both begin, as far as ``head`` goes, to rounding.

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
    both_missing = np.isnan(head[:n_rows]) & np.isnan(X[:n_rows])
    close = ((differences <= tolerances) | both_missing).all(axis=1)
    return n_rows if close.all() else int(close.argmin())


class Beginning(NamedTuple):
    """History of the first rows of X.

    For ``n_warm_up`` rows, at most ``look_back``, it is made of training statistics: they are where
    training began; but for the ``n_unsure`` first of them, which tell too little to be known again.
    ``gap`` rows are missing between the training data and X.
    """

    n_warm_up: int
    gap: int
    n_unsure: int = 0


def beginning(past, X, index, *, look_back, gap, scale):
    """Find out how X follows the training data: a `Beginning`.

    An index decides where there is one. Without, a row is where training began if the rows before
    it are those of training, and as many as tell (`telling_length`); otherwise it follows, which
    is likelier of rows that come after a fit. Whether that is so doesn't depend on the row itself
    or on later ones; only the first, which has none before it, speaks for itself if one row tells.

    ``gap`` rows are missing after training where no index tells; ``scale`` is the columns' spread.
    """
    gap = 0 if past.has_moved else gap
    missing = past.missing(index)
    if missing is None:
        n_common = rows_in_common(past.head, X, scale)
        if n_common < past.n_telling:
            return Beginning(0, gap)
        n_unsure = past.n_telling if past.n_telling > 1 else 0
        return Beginning(min(n_common + 1, look_back), gap, n_unsure)
    if missing < 0:
        return Beginning(look_back, 0)
    return Beginning(0, gap if past.timeline.step is None else missing)


def hold_out(split, n_rows, groups):
    """Return masks (n_rows,) of the rows to train on and of those to validate on.

    A number or fraction is held out at the end of each series; a splitter's first split counts.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._context import hold_out
    >>> hold_out(0.25, 4, None)[1]
    array([False, False, False,  True])
    """
    if hasattr(split, "split"):
        masks = [
            np.isin(np.arange(n_rows), part)
            for part in split_rows(split, n_rows, None, groups, None)
        ]
        return tuple(masks)
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
