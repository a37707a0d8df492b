"""Sliding windows of a series, as views."""

import numpy as np
from sklearn.utils.validation import check_array


def windows(X, look_back, horizon=1):
    """Cut a series into sliding windows and the rows after each, as views without copies.

    ``KerasForecaster`` does without; this is for looking, and for nets outside of it.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_columns)
        Rows are time steps, in order.
    look_back : int
        Rows in a window.
    horizon : int, default=1
        Rows after it.

    Returns
    -------
    past : ndarray of shape (n_windows, look_back, n_columns)
        Not writeable, and as large as n_windows * look_back rows once it is copied.
    future : ndarray of shape (n_windows, horizon, n_columns)

    Raises
    ------
    ValueError
        If there are too few rows for a window.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data import windows
    >>> past, future = windows(np.arange(5).reshape(-1, 1), look_back=2)
    >>> past[..., 0].tolist(), future[..., 0].tolist()
    ([[0, 1], [1, 2], [2, 3]], [[2], [3], [4]])
    """
    X = check_array(X, ensure_min_samples=look_back + horizon)
    both = np.lib.stride_tricks.sliding_window_view(X, look_back + horizon, axis=0)
    both = both.swapaxes(1, 2)
    return both[:, :look_back], both[:, look_back:]
