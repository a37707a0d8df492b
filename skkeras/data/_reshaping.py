"""Reshaping rows, such as images into vectors and back."""

import functools
import math

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skkeras.data._arrays import LazyArray
from skkeras.data._output import LazyOutputMixin
from skkeras.data._ranks import check_rank, check_rows


def reshape_rows(X, shape):
    """Reshape each row of an array or LazyArray to ``shape``, without -1; a view if possible."""
    if isinstance(X, LazyArray):
        return X.map(functools.partial(reshape_rows, shape=shape), shape=shape)
    return X.reshape(X.shape[0], *shape)


def full_shape(shape, n_values):
    """Replace -1 in a row's shape, and check that ``n_values`` fit it.

    >>> from skkeras.data._reshaping import full_shape
    >>> full_shape((28, -1), 784)
    (28, 28)
    """
    asked = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if not asked or any(
        isinstance(n, bool) or not isinstance(n, int | np.integer) or n == 0 or n < -1
        for n in asked
    ):
        raise ValueError(
            f"shape={shape!r}; expected the shape of one row, such as (28, 28), in which one "
            "number may be -1."
        )
    known = math.prod(int(n) for n in asked if n != -1)
    n_open = asked.count(-1)
    if n_open > 1 or n_values % known or (not n_open and known != n_values):
        raise ValueError(
            f"shape={shape!r} doesn't fit rows of {n_values} values; expected numbers whose "
            "product that is, of which one may be -1."
        )
    return tuple(n_values // known if n == -1 else int(n) for n in asked)


# Nothing is computed, so missing values and strings may pass.
_ACCEPTED = {"dtype": None, "ensure_all_finite": False}


def _reshaped(X, before, after):
    if X.shape[1:] != before:
        raise ValueError(
            f"X has rows of shape {X.shape[1:]}; expected {before}, which become {after}."
        )
    return reshape_rows(X, after)


def _makes_table(self):
    return not hasattr(self, "shape_out_") or len(self.shape_out_) == 1


class ArrayReshaper(LazyOutputMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Turn rows of one shape into rows of another: images into vectors, and back.

    Parameters
    ----------
    shape : int or tuple of int, default=-1
        The new shape of one row, as in `keras.layers.Reshape`; one number may be -1. The default
        flattens.

    Attributes
    ----------
    shape_in_, shape_out_ : tuple of int
        The shapes of a row before and after.
    n_features_in_ : int
        Length of the axis after the first.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, if X was a DataFrame.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data import ArrayReshaper
    >>> images = np.zeros((10, 28, 28), "float32")
    >>> to_vectors = ArrayReshaper().fit(images)
    >>> vectors = to_vectors.transform(images)
    >>> vectors.shape, to_vectors.inverse_transform(vectors).shape
    ((10, 784), (10, 28, 28))
    >>> ArrayReshaper((28, 28, 1)).fit_transform(vectors).shape
    (10, 28, 28, 1)
    """

    __module__ = "skkeras.data"  # the path in pickles, and where users import it from

    def __init__(self, shape=-1):
        self.shape = shape

    def fit(self, X, y=None):
        """Learn the shape of a row.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), DataFrame or LazyArray
            Any rank from 2 on.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If rows don't fit ``shape``.
        """
        X = check_rows(self, X, reset=True, **_ACCEPTED)
        self.shape_in_ = X.shape[1:]
        self.shape_out_ = full_shape(self.shape, math.prod(self.shape_in_))
        return self

    def transform(self, X):
        """Give the rows their new shape.

        Parameters
        ----------
        X : array-like of shape (n_samples, *shape_in_), DataFrame or LazyArray
            Rows like those of `fit`.

        Returns
        -------
        X_new : ndarray, DataFrame or LazyArray of shape (n_samples, *shape_out_)
            A view of X where that is possible; dtypes stay. `set_output` applies to vectors; a lazy
            X stays lazy in any case.
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False, **_ACCEPTED)
        return _reshaped(X, self.shape_in_, self.shape_out_)

    def inverse_transform(self, X):
        """Give the rows their old shape.

        Parameters
        ----------
        X : array-like or LazyArray of shape (n_samples, *shape_out_)
            Rows as `transform` returns them.

        Returns
        -------
        X_old : ndarray or LazyArray of shape (n_samples, *shape_in_)
            A view of X where that is possible; lazy if X is.
        """
        check_is_fitted(self)
        return _reshaped(check_rank(X, **_ACCEPTED), self.shape_out_, self.shape_in_)

    @available_if(_makes_table)
    def get_feature_names_out(self, input_features=None):
        """Name the columns of vectors; rows of higher rank have no names.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            The names of X's columns, if X is a table.

        Returns
        -------
        names : ndarray of str
            X's names if its shape stays, else ``x0``, ``x1`` and so on.
        """
        check_is_fitted(self)
        if self.shape_in_ == self.shape_out_:
            return super().get_feature_names_out(input_features)
        return np.array([f"x{i}" for i in range(self.shape_out_[0])], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
