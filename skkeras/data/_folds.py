"""Cross-validation folds stored as ranges of rows, written out only on use."""

import numpy as np
from sklearn.model_selection import KFold


class LazyKFold(KFold):
    """K folds of neighbouring rows that take no memory before they are used.

    The folds are those of `sklearn.model_selection.KFold` without shuffling, which a search holds
    all at once, as numbers of 8 bytes for each row and fold: with 16 million rows and 3 folds,
    384 MB. These are numbers, of 4 bytes, while a fold is trained on.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.

    See Also
    --------
    LazyArray : Rows that such folds are taken of.

    Notes
    -----
    Rows that are sorted, by label or by day, are cut as they lie.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras import data
    >>> X = data.lazy(np.zeros((6, 2)))
    >>> for train, test in data.LazyKFold(3).split(X):
    ...     print(train, np.asarray(test))
    Ranges(range(2, 6)) [0 1]
    Ranges(range(0, 2), range(4, 6)) [2 3]
    Ranges(range(0, 4)) [4 5]
    """

    __module__ = "skkeras.data"  # the path in pickles, and where users import it from

    def __init__(self, n_splits=5):
        super().__init__(n_splits)

    def split(self, X, y=None, groups=None):
        """Yield the rows to train on and to test on.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Only its length matters.
        y, groups : object, default=None
            Ignored.

        Yields
        ------
        train, test : Ranges
            Row numbers, which `numpy.asarray` makes an array of.

        Raises
        ------
        ValueError
            If there are fewer rows than folds.
        """
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        if n_rows < self.n_splits:
            raise ValueError(
                f"n_splits={self.n_splits} is more than the number of rows, {n_rows}; expected at "
                "least a row for each fold."
            )
        size, n_larger = divmod(n_rows, self.n_splits)
        start = 0
        for fold in range(self.n_splits):
            stop = start + size + (fold < n_larger)
            yield Ranges(range(start), range(stop, n_rows)), Ranges(range(start, stop))
            start = stop


class Ranges:
    """Array-like of row numbers, stored as ranges.

    >>> import numpy as np
    >>> from skkeras.data._folds import Ranges
    >>> rows = Ranges(range(2), range(5, 8))
    >>> len(rows), np.asarray(rows), rows[-1:]
    (5, array([0, 1, 5, 6, 7], dtype=int32), array([7], dtype=int32))
    """

    ndim = 1

    def __init__(self, *ranges):
        self.ranges = tuple(filter(len, ranges)) or ranges[:1]
        last = max(part.stop for part in self.ranges)
        self.dtype = np.dtype("int32" if last < 2**31 else "int64")

    @property
    def shape(self):
        """Shape of the array."""
        return (len(self),)

    def __len__(self):
        return sum(map(len, self.ranges))

    def __repr__(self):
        return f"Ranges({', '.join(map(repr, self.ranges))})"

    def __getitem__(self, key):
        """Return some of the numbers, as an ndarray does."""
        return np.asarray(self)[key]

    def __iter__(self):
        return iter(np.asarray(self))

    def __array__(self, dtype=None, copy=None):
        """Return the numbers as a new array."""
        if copy is False:
            raise ValueError("Ranges are written down, which is a copy; got copy=False.")
        dtype = self.dtype if dtype is None else dtype
        return np.concatenate([np.arange(r.start, r.stop, dtype=dtype) for r in self.ranges])
