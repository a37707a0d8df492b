"""Layouts: rows with their history before them, ready for windows."""

import dataclasses

import numpy as np


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
        origins[:n_warm_up] += look_back + n_rows + horizon
        is_real[: min(n_warm_up, look_back)] = False
        parts += [np.tile(fill, (look_back, 1)), X[: n_warm_up + horizon], beyond]
    return Layout(np.concatenate(parts), positions, origins, is_real, n_rows - np.arange(n_rows))


def padded(rows, length, fill):
    """Return the last rows of some, with ``fill`` in front of them where they are too few.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._layout import padded
    >>> padded(np.array([[1.0], [2.0]]), 3, np.array([-1.0]))[:, 0]
    array([-1.,  1.,  2.])
    """
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
