"""Forecast intervals, from the errors on held-out windows.

Split-conformal prediction after Lei et al. (2018), "Distribution-free predictive inference for
regression", for each step and target by itself; in a panel, for each series by itself.
"""

import dataclasses
import math
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_scalar

from skkeras._pickling import PickledByName

# A series with fewer held-out windows borrows the errors of the others.
_ENOUGH_WINDOWS = 20


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut(PickledByName):
    """Windows held out of a fit: `Inputs` and `Windows`, and the series that each is of.

    ``codes`` (n_windows,) are numbers of ``groups``.
    """

    x: Any
    y: Any
    groups: list
    codes: np.ndarray


def mean_changes(values):
    """Return the mean absolute change from row to row of each column; None for a single row.

    Changes to and from missing values don't count.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._intervals import mean_changes
    >>> mean_changes(np.array([[1.0], [3.0], [2.0]]))
    array([1.5])
    """
    if len(values) < 2:
        return None
    changes = np.abs(np.diff(values, axis=0))
    return np.nansum(changes, axis=0) / np.isfinite(changes).sum(axis=0).clip(min=1)


def widths_by_series(errors, codes, groups, changes, coverage):
    """Return half-widths (horizon, n_targets) for each series of ``changes``, a dict.

    ``errors`` are as in `interval_widths`, ``codes`` the numbers of their series among ``groups``.
    ``changes`` are of `mean_changes`, by series, or None. A series with few errors gets those of
    all series, scaled by its mean change over theirs; unscaled if its change isn't known.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._intervals import widths_by_series
    >>> errors = np.r_[1:26, 10:260:10].reshape(50, 1, 1).astype(float)
    >>> codes = np.repeat([0, 1], 25)
    >>> changes = {"low": np.ones(1), "high": 10 * np.ones(1), "new": 2 * np.ones(1)}
    >>> widths = widths_by_series(errors, codes, ["low", "high"], changes, 0.8)
    >>> [widths[name].item() for name in changes]
    [21.0, 210.0, 42.0]
    """
    check_coverage(coverage)
    if groups == [None]:
        return dict.fromkeys(changes, interval_widths(errors, coverage))
    own = {group: errors[codes == code] for code, group in enumerate(groups)}
    scales = _scales(changes)
    scaled = errors / np.array([scales[group] for group in groups])[codes][:, np.newaxis]

    def widths(group):
        if len(own.get(group, ())) >= max(_n_needed(coverage), _ENOUGH_WINDOWS):
            return interval_widths(own[group], coverage)
        if changes[group] is None:
            return interval_widths(errors, coverage)
        return interval_widths(scaled, coverage) * scales[group]

    return {group: widths(group) for group in changes}


def _scales(changes):
    """Return what to divide errors of each series by: its changes, the usual ones if it has none.

    Several constant series have no usual change, either; their errors stay as they are.
    """
    known = [change for change in changes.values() if change is not None]
    usual = np.mean(known, axis=0) if known else np.ones(1)
    usual = np.where(usual > 0, usual, 1)
    return {
        group: usual if change is None else np.where(change > 0, change, usual)
        for group, change in changes.items()
    }


def check_coverage(coverage):
    """Raise unless a coverage is a share, above 0 and below 1."""
    check_scalar(coverage, "coverage", Real, min_val=0, max_val=1, include_boundaries="neither")


def _n_needed(coverage):
    return math.ceil(round(coverage / (1 - coverage), 9))


def interval_widths(errors, coverage):
    """Return half-widths (horizon, n_targets) of intervals that cover a share of the truth.

    ``errors`` (n_windows, horizon, n_targets) are absolute, of windows that weren't trained on. The
    coverage is reached, on average and at least, if windows to come are exchangeable with these;
    where a series drifts, or windows overlap, it is approximate.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.forecasting._intervals import interval_widths
    >>> errors = np.arange(1.0, 10.0).reshape(9, 1, 1)
    >>> interval_widths(errors, 0.8)
    array([[8.]])
    >>> interval_widths(errors, 0.95)
    Traceback (most recent call last):
    ...
    ValueError: Got coverage=0.95 and 9 windows that were held out; expected at least 19 of them. \
Hold out more, or ask for less.
    """
    check_coverage(coverage)
    # (n + 1) * coverage, but for rounding, which would ask for one more.
    rank = math.ceil(round((len(errors) + 1) * coverage, 9))
    if rank > len(errors):
        raise ValueError(
            f"Got coverage={coverage} and {len(errors)} windows that were held out; expected at "
            f"least {_n_needed(coverage)} of them. Hold out more, or ask for less."
        )
    return np.partition(errors, rank - 1, axis=0)[rank - 1]
