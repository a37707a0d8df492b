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
    padding, and ``n_ahead`` the number of rows from it on, itself included: of true steps. ``why``
    says why the first rows have no history, if they have none.
    """

    series: np.ndarray
    positions: np.ndarray
    origins: np.ndarray
    is_real: np.ndarray
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


class Context(NamedTuple):
    """What precedes the rows of one series: the rows ``before``.

    Where training began, the first ``n_warm_up`` rows have none; the ``n_unsure`` first of these
    get the rows before all the same. ``why`` says in words where the rows stand. ``rows`` are those
    up to the next hole in the index.
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


def lay_out(X, before, n_warm_up, n_unsure=0, why="", *, look_back, horizon, fill):
    """Put history before the rows of one series, a `Context`, and ``fill`` where it lacks.

    Where training began, rows get a history that is made of ``fill`` alone.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._layout import lay_out
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
        origins[n_unsure:n_warm_up] += look_back + n_rows + horizon
        is_real[: min(n_warm_up, look_back)] = False
        parts += [np.tile(fill, (look_back, 1)), X[: n_warm_up + horizon], beyond]
    n_ahead = n_rows - np.arange(n_rows)
    return Layout(np.concatenate(parts), positions, origins, is_real, n_ahead, why)


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
        joined("n_ahead"),
        next((layout.why for layout in layouts if layout.why), ""),
    )
