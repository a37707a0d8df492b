"""`set_output` without effect on lazy arrays."""

import functools

from sklearn.base import TransformerMixin

from skkeras.data._arrays import LazyArray


class LazyOutputMixin:
    """Keeps lazy arrays lazy whatever `set_output` says, which would read them whole.

    scikit-learn wraps ``transform`` and ``fit_transform`` when a class is made; for a `LazyArray`
    this calls the unwrapped methods. It comes before `TransformerMixin` in the list of bases.

    >>> import numpy as np
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> from skkeras import data
    >>> scaler = data.ArrayScaler(MinMaxScaler()).set_output(transform="pandas")
    >>> scaler.fit_transform(np.zeros((1, 2)))
        x0   x1
    0  0.0  0.0
    >>> scaler.fit_transform(data.lazy(np.zeros((1, 2))))
    LazyArray(shape=(1, 2), dtype=float64, n_parts=1)
    """

    def __init_subclass__(cls, **kwargs):
        plain = {name: vars(cls).get(name) for name in ("transform", "fit_transform")}
        super().__init_subclass__(**kwargs)
        for name, method in plain.items():
            if method is not None:
                setattr(cls, name, _unless_lazy(method, getattr(cls, name)))

    def fit_transform(self, X, y=None, **fit_params):
        if isinstance(X, LazyArray):
            return self.fit(X, y, **fit_params).transform(X)
        return super().fit_transform(X, y, **fit_params)

    # A public method of the transformers, so documented as they are.
    fit_transform.__doc__ = TransformerMixin.fit_transform.__doc__


def _unless_lazy(plain, wrapped):
    @functools.wraps(plain)
    def method(self, X, *args, **kwargs):
        chosen = plain if isinstance(X, LazyArray) else wrapped
        return chosen(self, X, *args, **kwargs)

    return method
