"""Errors of the seasonal naive in the training data, which scale those of forecasts."""

import numpy as np

# Seasons of any length up to a month of days; and half-hours, weeks, hours and the like.
SEASONS = (*range(1, 32), 48, 52, 53, 96, 144, 168, 288, 336, 364, 365, 366, 672, 1440)


def naive_errors(values, missing=None):
    """Return the mean absolute error of the value of a season ago, (n_seasons, n_targets).

    A row is for each of ``SEASONS``: NaN where the rows of ``values`` (n_rows, n_targets) are too
    few. ``missing`` counts the entries of the index missing before each row.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._naive_errors import naive_errors
    >>> naive_errors(np.array([[1.0], [4.0], [2.0]]))[:3, 0]
    array([2.5, 1. , nan])
    """
    if missing is not None and missing.any():
        values = _on_grid(values, missing)
    errors = np.full((len(SEASONS), values.shape[1]), np.nan)
    for i, season in enumerate(SEASONS):
        changes = np.abs(values[season:] - values[:-season])
        n_known = np.isfinite(changes).sum(axis=0)
        total = np.nansum(changes, axis=0)
        np.divide(total, n_known, out=errors[i], where=n_known > 0)
    return errors


def _on_grid(values, missing):
    """Put NaN where the index has a hole."""
    places = np.arange(len(values)) + np.cumsum(missing)
    grid = np.full((places[-1] + 1, values.shape[1]), np.nan)
    grid[places] = values
    return grid
