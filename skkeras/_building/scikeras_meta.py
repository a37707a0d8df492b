"""SciKeras's ``meta``: what its builders are told of the data, under its names and by its rules."""

import numpy as np

from skkeras._targets.base import blocks
from skkeras.data._arrays import LazyArray


def scikeras_meta(examples, target):
    """Describe the data as SciKeras's ``meta`` does, by its rules: builders branch on the values.

    https://github.com/adriangb/scikeras/blob/v0.13.0/scikeras/wrappers.py#L516
    """
    import keras

    X, y = (next(iter(v.values())) if isinstance(v, dict) else v for v in (examples.X, examples.y))
    is_classifier, given = target.classes is not None, examples.given[1]
    n_axes = given.ndim if hasattr(given, "ndim") else np.asarray(given).ndim
    meta = {
        "n_features_in_": X.shape[1] if len(X.shape) > 1 else 1,
        "X_dtype_": np.dtype(keras.config.floatx()) if hasattr(X, "toarray") else X.dtype,
        "X_shape_": X.shape,
        "y_dtype_": y.dtype,
        "y_ndim_": 2 if is_classifier and n_axes == 2 else y.ndim,
        "target_type_": _target_type(target.kind, y),
        "n_outputs_": 1 if is_classifier or y.ndim == 1 else y.shape[1],
        "n_outputs_expected_": len(examples.y) if isinstance(examples.y, dict) else 1,
    }
    if is_classifier:
        meta |= {"classes_": target.classes, "n_classes_": target.n_classes}
    return meta


def _target_type(kind, y):
    """Name what y is as `sklearn.utils.multiclass.type_of_target` does: numbers by their values.

    Block by block, and without its warning that many whole numbers may be no classes.
    """
    if kind == "onehot":
        return "multilabel-indicator"
    if kind != "continuous" or not isinstance(y, np.ndarray | LazyArray):
        return kind
    if y.ndim > 2:
        return "unknown"
    several = "-multioutput" if y.ndim == 2 and y.shape[1] > 1 else ""
    labels = set()
    for block in blocks(y):
        if block.dtype.kind == "f" and (block != np.rint(block)).any():
            return "continuous" + several
        if len(labels) < 3:
            labels.update(np.unique(block)[:3].tolist())
    if len(labels) > 2:
        return "multiclass" + several
    return "multilabel-indicator" if several else "binary"
