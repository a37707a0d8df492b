"""Forecast intervals, from the errors on held-out windows.

Split-conformal prediction after Lei et al. (2018), "Distribution-free predictive inference for
regression", for each step and target by itself.
"""

import math
from numbers import Real

import numpy as np
from sklearn.utils.validation import check_scalar


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
    check_scalar(coverage, "coverage", Real, min_val=0, max_val=1, include_boundaries="neither")
    # (n + 1) * coverage, but for rounding, which would ask for one more.
    rank = math.ceil(round((len(errors) + 1) * coverage, 9))
    if rank > len(errors):
        n_needed = math.ceil(round(coverage / (1 - coverage), 9))
        raise ValueError(
            f"Got coverage={coverage} and {len(errors)} windows that were held out; expected at "
            f"least {n_needed} of them. Hold out more, or ask for less."
        )
    return np.partition(errors, rank - 1, axis=0)[rank - 1]
