"""Layouts: rows with their history before them, ready for windows."""

import dataclasses
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Rows with their history before them, ready for windows.

    ``series`` (n_laid_out, n_columns) has history, rows, and ``horizon`` rows more for windows that
    look beyond the end. For each row, ``positions`` is its place there, ``origins`` its place with
    the history to forecast it from, ``is_real`` True where the look-back window contains no
    padding, ``n_before`` the number of known rows right before it, and ``n_ahead`` that of rows
    from it on, itself included: of true steps. ``why`` says why the first rows have no history, if
    they have none.
    """

    series: np.ndarray
    positions: np.ndarray
    origins: np.ndarray
    is_real: np.ndarray
    n_before: np.ndarray
    n_ahead: np.ndarray
    why: str = ""

    def spread(self, values):
        """Put a value for each row where the row is in the series; zeros elsewhere."""
        spread = np.zeros((len(self.series), *values.shape[1:]), values.dtype)
        spread[self.positions] = values
        return spread

    def scored(self, horizon, *, are_whole=False):
        """List the forecasts with known truth and real history: arrays ``rows, steps, outcomes``.

        The forecast of row ``rows[i]``, ``steps[i]`` ahead, is one for row ``outcomes[i]``.
        ``are_whole`` leaves out windows whose horizon goes beyond the rows.
        """
        counts = self.is_real & (self.n_ahead >= (horizon if are_whole else 1))
        is_known = np.arange(horizon) < self.n_ahead[:, np.newaxis]
        rows, steps = np.nonzero(counts[:, np.newaxis] & is_known)
        numbers = self.spread(np.arange(len(self.positions)))
        return rows, steps, numbers[self.positions[rows] + steps]

    def leaving_out(self, is_known, has_outcome, look_back):
        """Return the layout without windows that touch missing values.

        ``is_known`` tells of each row whether its inputs are, ``has_outcome`` whether its targets.
        """
        places = np.arange(len(self.series))
        last = np.maximum.accumulate(np.where(self.spread(~is_known), places, -1))
        is_end = self.spread(~has_outcome | ~is_known)
        following = np.where(is_end, places, len(places))[::-1]
        following = np.minimum.accumulate(following)[::-1]
        n_before = np.minimum(self.n_before, self.positions - 1 - last[self.positions - 1])
        return dataclasses.replace(
            self,
            is_real=self.is_real & (n_before >= look_back),
            n_before=n_before,
            n_ahead=np.minimum(self.n_ahead, following[self.positions] - self.positions),
        )

    def of_a_season_ago(self, values, rows, steps, season):
        """Take for forecasts, as `scored` lists them, the last known value of the same season.

        ``values`` are of the rows of ``series``. It is NaN where that is before all known rows.
        """
        ago = steps - season * (steps // season + 1)
        is_known = -ago <= self.n_before[rows]
        taken = values[self.positions[rows] + np.where(is_known, ago, 0)]
        return np.where(is_known[:, np.newaxis], taken, np.nan)


class Context(NamedTuple):
    """What precedes the rows of one series: the rows ``before``.

    Where training began, the first ``n_warm_up`` rows have none; the ``n_unsure`` first of these
    get the rows before all the same. ``why`` says in words where the rows stand. ``rows`` are those
    up to the next hole in the index. Rows before may have missing values, which are filled later.
    """

    before: np.ndarray
    n_warm_up: int = 0
    n_unsure: int = 0
    why: str = ""
    rows: slice = slice(None)


def without_made_up(contexts):
    """Return the contexts of one series without forecasts that fill holes: no window is trained on.

    The first is as it was: what fills a gap before all rows is known of it.
    """
    return [
        context if i == 0 else context._replace(before=context.before[:0])
        for i, context in enumerate(contexts)
    ]


def lay_out(
    X, before, n_warm_up, n_unsure=0, why="", *, look_back, horizon, fill, beyond=None, n_known=None
):
    """Put history before the rows of one series, a `Context`, and ``fill`` where it lacks.

    ``beyond`` are the ``horizon`` rows after the last, None repeats it. ``n_known`` are the last
    rows of ``before`` that weren't missing; None is all. Where training began, rows get a history
    that is made of ``fill`` alone.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._layout import lay_out
    >>> rows, before = np.array([[3.0], [4.0]]), np.array([[2.0]])
    >>> laid_out = lay_out(rows, before, 0, look_back=2, horizon=1, fill=np.array([-1.0]))
    >>> laid_out.series[:, 0], laid_out.origins, laid_out.is_real
    (array([-1.,  2.,  3.,  4.,  4.]), array([2, 3]), array([False,  True]))
    """
    n_known = len(before) if n_known is None else n_known
    n_rows, n_made_up = len(X), max(look_back - n_known, 0)
    if beyond is None:
        beyond = np.repeat(X[-1:], horizon, axis=0)
    parts = [padded(before, look_back, fill), X, beyond]
    positions = look_back + np.arange(n_rows)
    origins = positions.copy()
    is_real = np.arange(n_rows) >= n_made_up
    n_warm_up = min(n_warm_up, n_rows)
    if n_warm_up:
        origins[n_unsure:n_warm_up] += look_back + n_rows + horizon
        is_real[: min(n_warm_up, look_back)] = False
        parts += [np.tile(fill, (look_back, 1)), X[: n_warm_up + horizon], beyond]
    # Where X is the training data, what is kept before it is their end.
    n_before = np.arange(n_rows) + (0 if n_warm_up == look_back else look_back - n_made_up)
    n_before[:n_warm_up] = np.arange(n_warm_up)
    n_ahead = n_rows - np.arange(n_rows)
    return Layout(np.concatenate(parts), positions, origins, is_real, n_before, n_ahead, why)


def padded(rows, length, fill):
    """Return the last ``length`` rows, with ``fill`` in front where they are too few."""
    rows = rows[-length:]
    return np.concatenate([np.tile(fill, (length - len(rows), 1)), rows])


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


def join(layouts, rows):
    """Concatenate the layouts of several series; ``rows`` are the numbers of each one's rows."""
    if len(layouts) == 1:
        return layouts[0]
    order = np.argsort(np.concatenate(rows), kind="stable")
    starts = np.cumsum([0, *(len(layout.series) for layout in layouts)])[:-1]
    shifts = np.repeat(starts, [len(layout.positions) for layout in layouts])[order]

    def joined(name):
        return np.concatenate([getattr(layout, name) for layout in layouts])[order]

    return Layout(
        np.concatenate([layout.series for layout in layouts]),
        joined("positions") + shifts,
        joined("origins") + shifts,
        joined("is_real"),
        joined("n_before"),
        joined("n_ahead"),
        next((layout.why for layout in layouts if layout.why), ""),
    )
