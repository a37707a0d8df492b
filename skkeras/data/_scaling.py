"""Scaling arrays of any rank by scikit-learn's scalers."""

import copy
import functools

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skkeras.data._arrays import LazyArray
from skkeras.data._output import LazyOutputMixin
from skkeras.data._ranks import check_rank, check_rows


def to_columns(X, axes):
    """Lay an array out as a table with a column for each feature; a view if possible.

    ``axes``, ascending and without the first, are the axes along which features differ.

    >>> import numpy as np
    >>> from skkeras.data._scaling import to_columns
    >>> to_columns(np.zeros((10, 28, 28, 3)), (3,)).shape
    (7840, 3)
    """
    others = [axis for axis in range(X.ndim) if axis not in axes]
    n_features = int(np.prod([X.shape[axis] for axis in axes], dtype=int))
    return X.transpose(*others, *axes).reshape(-1, n_features)


def from_columns(table, shape, axes):
    """Undo `to_columns` of an array of this shape."""
    order = [axis for axis in range(len(shape)) if axis not in axes] + list(axes)
    moved = np.asarray(table).reshape([shape[axis] for axis in order])
    return moved.transpose(np.argsort(order))


def feature_axes(axis, n_dims):
    """Return the feature axes that the parameter ``axis`` of `ArrayScaler` means.

    >>> from skkeras.data._scaling import feature_axes
    >>> feature_axes(-1, 4), feature_axes("pixel", 4), feature_axes(None, 4)
    ((3,), (1, 2, 3), ())
    """
    if axis is None:
        return ()
    if isinstance(axis, str) and axis == "pixel":
        return tuple(range(1, n_dims))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    if any(isinstance(one, bool) or not isinstance(one, int | np.integer) for one in axes):
        raise ValueError(
            f"axis={axis!r}; expected an int, a tuple of ints, 'pixel' or None. The default, -1, "
            "scales each feature on the last axis."
        )
    counted = sorted({int(one) + n_dims * (one < 0) for one in axes})
    if len(counted) != len(axes) or not all(0 < one < n_dims for one in counted):
        raise ValueError(
            f"axis={axis!r} doesn't fit an array with {n_dims} axes; expected different ones from "
            f"1 to {n_dims - 1} or from {1 - n_dims} to -1. The first axis holds the samples."
        )
    return tuple(counted)


def _apply(method, X, axes):
    """Call a scaler's method on an array laid out as a table."""
    table = to_columns(X, axes)
    scaled = method(table)
    if scaled.shape != table.shape:
        raise ValueError(
            f"scaler={type(method.__self__).__name__}() made {scaled.shape[1]} columns of "
            f"{table.shape[1]}; expected as many as before. ArrayScaler takes scalers, such as "
            "StandardScaler."
        )
    return np.ascontiguousarray(from_columns(scaled, X.shape, axes))


def _scaler_has(name):
    def check(self):
        getattr(self.scaler, name)  # its own error names what is missing
        return True

    return check


def _is_table(self):
    return getattr(self, "_n_dims", 2) == 2


class ArrayScaler(LazyOutputMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Scale arrays of any rank by any of scikit-learn's scalers.

    Parameters
    ----------
    scaler : transformer
        ``StandardScaler()``, ``MinMaxScaler()`` or any other that keeps the number of columns. It
        is cloned, and never changed.
    axis : int, tuple of int, "pixel" or None, default=-1
        The axes of features, which have scales of their own; counted as in
        `keras.layers.Normalization`, with the samples on axis 0. (In NumPy's reductions ``axis``
        is the one that vanishes.)

        - -1: each feature on the last axis, such as the channels of images or series;
        - ``"pixel"``: each position of a row; the same as ``(1, 2)`` for (n_samples, 28, 28);
        - other axes: each combination of positions on them;
        - None: one scale for the whole array, as by ``scaler.fit(X.reshape(-1, 1))``.

    Attributes
    ----------
    scaler_ : transformer
        The fitted clone. It sees a table with a row for each value of a feature.
    n_features_in_ : int
        Length of the axis after the first.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, if X was a DataFrame.

    See Also
    --------
    ArrayReshaper : Turns images into vectors and back.

    Notes
    -----
    Rows may have other lengths than in `fit` along axes that aren't in ``axis``, such as longer
    series. ``float32`` stays ``float32``, if the scaler keeps it; scikit-learn's do. `set_output`
    works for tables; arrays of higher rank remain arrays, and a `LazyArray` stays one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> from skkeras.data import ArrayScaler
    >>> images = np.random.default_rng(0).integers(256, size=(10, 28, 28, 3)).astype("float32")
    >>> scaled = ArrayScaler(MinMaxScaler()).fit_transform(images)
    >>> scaled.shape, scaled.dtype, float(scaled.min()), float(scaled.max())
    ((10, 28, 28, 3), dtype('float32'), 0.0, 1.0)

    One scale for all:

    >>> scaler = ArrayScaler(MinMaxScaler(), axis=None).fit([[0, 1], [2, 4]])
    >>> scaler.transform([[0, 1], [2, 4]])
    array([[0.  , 0.25],
           [0.5 , 1.  ]])

    Lazy arrays stay lazy:

    >>> from skkeras import data
    >>> ArrayScaler(MinMaxScaler()).fit_transform(data.lazy(images))
    LazyArray(shape=(10, 28, 28, 3), dtype=float32, n_parts=1)
    """

    __module__ = "skkeras.data"  # the path in pickles, and where users import it from

    def __init__(self, scaler, *, axis=-1):
        self.scaler = scaler
        self.axis = axis

    def fit(self, X, y=None):
        """Learn the scales.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), DataFrame or LazyArray
            Numbers of any rank from 2 on. A `LazyArray` is read once, block by block.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted scaler.

        Raises
        ------
        ValueError
            If X has no such axes.
        TypeError
            If X is lazy, and the scaler has no ``partial_fit``.
        """
        self._begin()
        return self._learn("fit", X, reset=True)

    @available_if(_scaler_has("partial_fit"))
    def partial_fit(self, X, y=None):
        """Learn from more rows, if the scaler can.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), DataFrame or LazyArray
            The next rows.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted scaler.
        """
        first = not hasattr(self, "scaler_")
        if first:
            self._begin()
        return self._learn("partial_fit", X, reset=first)

    def transform(self, X):
        """Scale X.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), DataFrame or LazyArray
            Rows like those of `fit`.

        Returns
        -------
        X_scaled : ndarray, DataFrame or LazyArray of the same shape
            A new array, or the output set by `set_output`. A lazy X stays lazy in any case, and is
            scaled when it is read.
        """
        check_is_fitted(self)
        return self._applied("transform", self._check(X, reset=False))

    @available_if(_scaler_has("inverse_transform"))
    def inverse_transform(self, X):
        """Undo `transform`.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...) or LazyArray
            Scaled rows.

        Returns
        -------
        X_original : ndarray or LazyArray of the same shape
            A new array, in the units of `fit`; lazy if X is.
        """
        check_is_fitted(self)
        return self._applied("inverse_transform", self._check_rank(X))

    @available_if(_is_table)
    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns, which are those of X.

        There are none for higher ranks, which `set_output` leaves as they are.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names, if X had none.

        Returns
        -------
        names : ndarray of str
        """
        return super().get_feature_names_out(input_features)

    def _begin(self):
        self.scaler_ = clone(self.scaler)
        if not getattr(self.scaler_, "copy", True):
            self.scaler_.set_params(copy=True)  # it would write to the caller's array
        for name in ("feature_names_in_", "_n_dims", "_features"):
            vars(self).pop(name, None)

    def _learn(self, method, X, *, reset):
        X = self._check(X, reset=reset)
        if isinstance(X, LazyArray):
            self._learn_blocks(X)
        else:
            getattr(self.scaler_, method)(to_columns(X, self._axes(X)))
        return self

    def _learn_blocks(self, X):
        """Learn from a lazy array in one pass, with one block in memory at a time."""
        if not hasattr(self.scaler_, "partial_fit"):
            raise TypeError(
                f"scaler={type(self.scaler).__name__}() has no partial_fit, and X is a LazyArray, "
                "which is learnt from block by block; expected StandardScaler, MinMaxScaler or "
                "MaxAbsScaler. Or fit on a part that fits into memory: fit(np.asarray(X[:10000]))."
            )
        axes = self._axes(X)
        for rows in X.blocks():
            try:
                rows = self._check_rank(rows)
            except ValueError:
                for _ in X.finite("X").blocks():
                    pass  # raises, and tells file and row
                raise
            self.scaler_.partial_fit(to_columns(rows, axes))

    def _applied(self, name, X):
        """Apply a method of the scaler; to a lazy array block by block, on reading."""
        axes = self._axes(X)
        if not isinstance(X, LazyArray):
            return _apply(getattr(self.scaler_, name), X, axes)
        # A copy: rows that aren't read yet mustn't change if the scaler learns more.
        method = getattr(copy.deepcopy(self.scaler_), name)
        function = functools.partial(_apply, method, axes=axes)
        return X.map(function, dtype=function(np.ones((1, *X.shape[1:]), X.dtype)).dtype)

    def _check(self, X, *, reset):
        X = check_rows(self, X, reset=reset, **self._accepted(X))
        axes = feature_axes(self.axis, X.ndim)
        if reset:
            self._features = tuple(X.shape[axis] for axis in axes)
        return X

    def _check_rank(self, X):
        return check_rank(X, **self._accepted(X))

    def _accepted(self, X):
        is_float = getattr(getattr(X, "dtype", None), "kind", None) == "f"
        allow_nan = get_tags(self.scaler).input_tags.allow_nan
        return {
            "kinds": "biuf",
            "dtype": None if is_float else "numeric",
            "ensure_all_finite": "allow-nan" if allow_nan else True,
        }

    def _axes(self, X):
        """Return the feature axes; raise unless X is as long there as in `fit`."""
        axes = feature_axes(self.axis, X.ndim)
        features = tuple(X.shape[axis] for axis in axes)
        if features != self._features:
            raise ValueError(
                f"X has shape {X.shape}, and so {features} features on axis={self.axis!r}; "
                f"expected {self._features}, as in fit."
            )
        return axes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.scaler)
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.input_tags.positive_only = inner.input_tags.positive_only
        tags.transformer_tags.preserves_dtype = inner.transformer_tags.preserves_dtype
        return tags
