"""Output: what transformers return for lazy arrays, whatever set_output says."""

import functools

from skkeras.data._arrays import LazyArray


class LazyOutputMixin:
    """Keeps lazy arrays from what `set_output` asks for, which would read them whole.

    scikit-learn wraps ``transform`` and ``fit_transform`` of a class when the class is made, and
    the wrapper makes a DataFrame of whatever they return. For a `LazyArray` this calls the methods
    as they were before. It comes before `sklearn.base.TransformerMixin` in the list of bases.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
    >>> from skkeras import data
    >>> from skkeras.data._output import LazyOutputMixin
    >>> class Same(LazyOutputMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    ...     def fit(self, X, y=None):
    ...         self.n_features_in_ = X.shape[1]
    ...         return self
    ...
    ...     def transform(self, X):
    ...         return X
    >>> same = Same().set_output(transform="pandas")
    >>> same.fit_transform(np.zeros((1, 2)))
        x0   x1
    0  0.0  0.0
    >>> same.fit_transform(data.lazy(np.zeros((1, 2))))
    LazyArray(shape=(1, 2), dtype=float64, n_parts=1)
    """

    def __init_subclass__(cls, **kwargs):
        plain = {name: vars(cls).get(name) for name in ("transform", "fit_transform")}
        super().__init_subclass__(**kwargs)
        for name, method in plain.items():
            if method is not None:
                setattr(cls, name, _unless_lazy(method, getattr(cls, name)))

    def fit_transform(self, X, y=None, **fit_params):
        """Fit to X, and transform it.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), DataFrame or LazyArray
            As in `fit`.
        y : None
            Ignored.
        **fit_params : dict
            As in `fit`.

        Returns
        -------
        X_new : ndarray, DataFrame or LazyArray
            As `transform` returns it: for a `LazyArray` another, whatever `set_output` says.
        """
        if isinstance(X, LazyArray):
            return self.fit(X, y, **fit_params).transform(X)
        return super().fit_transform(X, y, **fit_params)


def _unless_lazy(plain, wrapped):
    @functools.wraps(plain)
    def method(self, X, *args, **kwargs):
        chosen = plain if isinstance(X, LazyArray) else wrapped
        return chosen(self, X, *args, **kwargs)

    return method
