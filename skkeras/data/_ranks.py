"""Input checks of transformers for arrays of any rank; lazy ones aren't read."""

from sklearn.utils.validation import check_array, validate_data

from skkeras.data._arrays import LazyArray
from skkeras.data._streams import check_no_stream


def check_rank(X, kinds="biufUSO", **accepted):
    """Check an array of at least two axes.

    ``kinds`` are the dtype kinds that a lazy array may have; ``accepted`` goes to
    `sklearn.utils.check_array` for all others.

    >>> import numpy as np
    >>> from skkeras import data
    >>> from skkeras.data._ranks import check_rank
    >>> check_rank(data.lazy(np.zeros(3)))
    Traceback (most recent call last):
    ...
    ValueError: X is a LazyArray of shape (3,) and dtype float64; expected at least 2 axes, the
    samples first. X[:, np.newaxis] makes one feature of single values.
    """
    if not isinstance(X, LazyArray):
        return check_array(X, allow_nd=True, input_name="X", **accepted)
    got = f"X is a LazyArray of shape {X.shape} and dtype {X.dtype}"
    if X.ndim < 2:
        raise ValueError(
            f"{got}; expected at least 2 axes, the samples first. X[:, np.newaxis] makes one "
            "feature of single values."
        )
    if X.dtype.kind not in kinds:
        raise ValueError(f"{got}; expected numbers.")
    return X


def check_rows(transformer, X, *, reset, **accepted):
    """Check X of any rank from 2 on, and a table's columns; ``reset`` learns rank and columns."""
    check_no_stream(X, transformer)
    was_table = reset or transformer._n_dims == 2
    if getattr(X, "ndim", 2) == 2 and was_table and not isinstance(X, LazyArray):
        accepted.pop("kinds", None)
        X = validate_data(transformer, X, reset=reset, allow_nd=True, **accepted)
    else:
        X = check_rank(X, **accepted)
        if reset:
            vars(transformer).pop("feature_names_in_", None)
    if reset:
        transformer.n_features_in_, transformer._n_dims = X.shape[1], X.ndim
    return X
