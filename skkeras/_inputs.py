"""Inputs: what X and y may be, how they are checked, and structures of several arrays."""

import functools
import itertools
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from skkeras._dataframes import names_of
from skkeras._targets.base import blocks, encoded
from skkeras.data._arrays import LazyArray
from skkeras.data._named import NamedArrays


def check_inputs(estimator, X, *, reset):
    """Check X as scikit-learn does, for every kind of input that a net takes.

    X is a table, an array of any rank above 1 (lazy, sparse), a string for each sample, or named
    inputs; it isn't copied where it needn't be, and not read. With ``reset`` the estimator learns
    ``n_features_in_`` and ``feature_names_in_``; without, X is checked against them.
    """
    X = by_name(X)
    if reset:  # of an earlier X, of another kind
        for name in ("n_features_in_", "feature_names_in_", "_input_columns"):
            vars(estimator).pop(name, None)
    if isinstance(X, dict) and not issparse(X):  # SciPy's DOK matrices are dicts
        _check_columns(estimator, X, reset=reset)
        checked = {str(name): _check_named(value, str(name)) for name, value in X.items()}
        check_consistent_length(*checked.values())
        return checked
    if isinstance(X, LazyArray):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _check_lazy(X, "X", min_ndim=2)
    if _is_text(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _check_text(X)
    X = validate_data(
        estimator, X, accept_sparse="csr", allow_nd=True, dtype=_dtype(X), reset=reset
    )
    return _check_any_value(_as_numbers(X, "X"), "X")


def check_targets(estimator, X, y, *, reset, numeric=False, allow_nan=False):
    """Check X and y together, as `check_inputs` does; y may have any rank, and is finite.

    y is by name for several outputs, and stays lazy only if X is lazy, too. Numbers in it may be
    NaN with ``allow_nan``.
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None."
        )
    y = by_name(y)
    _check_no_list_of_inputs(X, y)
    X = check_inputs(estimator, X, reset=reset)
    _check_no_list_of_outputs(X, y)
    is_read = any(isinstance(part, LazyArray) for part in _parts(X))
    check = functools.partial(_check_target, numeric=numeric, is_read=is_read, allow_nan=allow_nan)
    if isinstance(y, dict):
        y = {str(k): check(v, f"y[{k!r}]") for k, v in y.items()}
    else:
        y = check(y, "y")
    check_consistent_length(*_parts(X), *_parts(y))
    return X, y


def _check_no_list_of_inputs(X, y):
    """Raise for a list of several inputs, as Keras takes them: it would be one of samples."""
    n_rows = {part.shape[:1] for part in _parts(y) if hasattr(part, "shape")}
    if not isinstance(X, list | tuple) or len(n_rows) != 1 or (len(X),) in n_rows:
        return
    if all(getattr(part, "shape", ())[:1] in n_rows for part in X):
        raise TypeError(
            f"X is a {type(X).__name__} of {len(X)} arrays, each as long as y; expected several "
            "inputs by their names: {'a': ..., 'b': ...}, for a net with inputs of these names, or "
            "skkeras.data.NamedArrays of such a dict, which scikit-learn can split."
        )


def _check_no_list_of_outputs(X, y):
    """Raise for a list of the targets of several outputs, as Keras takes them."""
    n_rows = n_samples(X)
    if not isinstance(y, list | tuple) or len(y) in (0, n_rows):
        return
    if all(getattr(part, "shape", ())[:1] == (n_rows,) for part in y):
        raise TypeError(
            f"y is a {type(y).__name__} of {len(y)} arrays, each as long as X; expected the "
            "targets of several outputs by their names: {'a': ..., 'b': ...}, for a net with "
            "outputs of these names, or skkeras.data.NamedArrays of such a dict, which "
            "scikit-learn can split."
        )


def _parts(arrays):
    return [*arrays.values()] if isinstance(arrays, dict) else [arrays]


def by_name(arrays):
    """Return NamedArrays as the dict they are, and all else as it is."""
    return dict(arrays.items()) if isinstance(arrays, NamedArrays) else arrays


def n_samples(X):
    """Count the samples of checked inputs."""
    return next(iter(X.values())).shape[0] if isinstance(X, dict) else X.shape[0]


def relative_weights(sample_weight, X, rows=None):
    """Check sample weights (n_samples,) or one number, and scale them to a mean of 1 over ``rows``.

    Weights are relative, as in scikit-learn: doubling all of them changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._inputs import relative_weights
    >>> relative_weights([1, 3], np.zeros((2, 1)))
    array([0.5, 1.5])
    """
    weight = training_weights(sample_weight, X, rows)
    return None if weight is None else np.asarray(weight)


def training_weights(sample_weight, X, rows=None, y_shape=()):
    """Relative weights, as `relative_weights` returns them; `Encoded` if there are many.

    ``y_shape`` are the axes of y, samples first, of which all positions may have a weight.
    """
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples(X), float(sample_weight))
    weight = _check_weights(sample_weight)
    if weight is None:
        return None
    if weight.ndim != 1 and weight.shape != y_shape[: weight.ndim]:
        also = f", or at each position, shape {y_shape}" if len(y_shape) > 1 else ""
        raise ValueError(
            f"Sample weights must be 1D array or scalar: sample_weight has shape {weight.shape}; "
            f"expected one weight for each sample, shape (n_samples,){also}."
        )
    check_consistent_length(next(iter(X.values())) if isinstance(X, dict) else X, weight)
    if weight.min() < 0 or not weight.any():
        raise ValueError(
            "sample_weight has negative values, or only zeros; expected values of at least 0, "
            "some of them above it."
        )
    most = np.float64(weight.max())  # the sum of large ones may overflow
    counted = blocks(weight) if rows is None else (weight[part] for part in blocks(rows))
    total = sum((block / most).sum() for block in counted)
    n_values = len(weight if rows is None else rows) * int(np.prod(weight.shape[1:], dtype=int))
    to_mean = n_values / total if total else 1.0
    return encoded(lambda some: some / most * to_mean, weight)


def batch_weights(sample_weight, X, y_shape=()):
    """Check the weights of a batch; they are taken as they are, since the others aren't known."""
    weight = _check_weights(sample_weight)
    if weight is None:
        return None
    fits = weight.shape in ((n_samples(X),), y_shape[: weight.ndim])
    if not fits or weight.min() < 0:
        raise ValueError(
            f"X yields weights of shape {weight.shape}, the least of them {weight.min():g}; "
            f"expected one of at least 0 for each sample, shape ({n_samples(X)},)."
        )
    return weight.astype("float64")


def check_any_weight(weight, rows, name, use="train on"):
    """Raise if all ``rows`` (None: all there are) have the weight 0, or one a weight below it.

    ``name`` are the parameters that the weights come from.
    """
    if weight is None:
        return
    parts = blocks(weight) if rows is None else (np.asarray(weight[r]) for r in blocks(rows))
    extremes = [(part.min(), part.max()) for part in parts]
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if low < 0 or not high:
        raise ValueError(
            f"{name} gives the rows to {use} weights from {low:g} to {high:g}; expected "
            "weights of at least 0, some of them above it."
        )


def _check_weights(sample_weight):
    """Check what can be told of weights alone; numbers aren't copied."""
    if sample_weight is None:
        return None
    is_plain = isinstance(sample_weight, np.ndarray) and sample_weight.dtype.kind in "fiub"
    dtype = None if is_plain else "float64"
    return check_array(
        sample_weight, ensure_2d=False, allow_nd=True, dtype=dtype, input_name="sample_weight"
    )


def with_axes(array, ndim):
    """Append axes of length 1, up to a number of axes."""
    return array.reshape(*array.shape, *(1,) * (ndim - array.ndim))


def _check_target(y, name, *, numeric, is_read, allow_nan=False):
    kinds = "biuf" if numeric else "biufU"
    if is_read and isinstance(y, LazyArray) and y.dtype.kind in kinds:
        return _check_lazy(y, name, kinds, allow_nan=allow_nan)
    if numeric and _is_text(y):
        raise ValueError(
            f"{name} holds strings; expected numbers. Use a KerasClassifier to learn labels."
        )
    check = functools.partial(
        check_array,
        accept_sparse="csr",
        ensure_2d=False,
        allow_nd=True,
        dtype="numeric" if numeric else None,
        input_name=name,
    )
    try:
        y = check(y, ensure_all_finite="allow-nan" if allow_nan else True)
    except ValueError as error:
        if not str(error).startswith(f"Input {name} contains NaN"):
            raise
        raise ValueError(
            f"{error} Leave those rows out; or set allow_nan_targets=True, for numbers and a loss "
            "of your own that leaves NaN out."
        ) from error
    if y.dtype == object and y.ndim == 2:
        y = np.array(y.tolist())  # as of a DataFrame with a dtype of its own for integers
    return _as_numbers(y, name, allow_nan=allow_nan) if numeric else y


def _check_lazy(X, name, kinds="biuf", min_ndim=1, *, allow_nan=False):
    """Check what can be told without reading; values are when they are read."""
    if X.ndim < min_ndim:
        raise ValueError(
            f"Expected 2D array, got 1D array instead: {name} is {X!r}. Reshape your data by "
            f"{name}[:, None] if it has a single feature."
        )
    if X.dtype.kind not in kinds:
        raise ValueError(
            f"{name} is {X!r}; expected numbers. Load strings by numpy.asarray({name})."
        )
    if not len(X):
        raise ValueError(f"Found array with 0 sample(s) in {name}; expected at least one.")
    X = _check_any_value(X, name)
    return X if allow_nan else X.finite(name)


def _check_any_value(X, name):
    """Raise if rows are empty, which would end the process: TensorFlow's kernels abort."""
    if 0 in X.shape[1:]:
        raise ValueError(
            f"Found array with 0 feature(s) in {name}, whose shape is {X.shape}; expected rows "
            "with at least one value."
        )
    return X


def _check_named(value, name):
    if isinstance(value, LazyArray):
        return _check_lazy(value, f"X[{name!r}]")
    if _is_text(value):
        return _check_text(value)
    try:
        value = check_array(
            value,
            accept_sparse="csr",
            allow_nd=True,
            ensure_2d=False,
            dtype=_dtype(value),
            input_name=f"X[{name!r}]",
        )
    except ValueError as error:
        if f"X[{name!r}]" in str(error):
            raise
        raise ValueError(
            f"X[{name!r}] can't be used: {error}. Expected numbers, or strings alone."
        ) from error
    return _check_any_value(_as_numbers(value, f"X[{name!r}]"), f"X[{name!r}]")


def _check_columns(estimator, X, *, reset):
    """Check that frames among named inputs have the columns of training, in their order."""
    columns = {str(name): names_of(value) for name, value in X.items()}
    if reset:
        estimator._input_columns = columns
    for name, expected in getattr(estimator, "_input_columns", {}).items():
        got = columns.get(name)
        if got is not None and expected is not None and got != expected:
            raise ValueError(
                f"X[{name!r}] has the columns {got}; expected {expected}, as in training. Choose "
                "them by name, in this order."
            )


def _as_numbers(X, name, *, allow_nan=False):
    """Turn what scikit-learn leaves as objects, lists with None in them, into numbers."""
    if not isinstance(X, np.ndarray) or X.dtype.kind != "O":
        return X
    return check_array(
        X,
        allow_nd=True,
        ensure_2d=False,
        dtype="float64",
        input_name=name,
        ensure_all_finite="allow-nan" if allow_nan else True,
    )


def _check_text(X):
    X = np.asarray(X, dtype=object)
    if not len(X):
        raise ValueError("X is empty; expected at least one string.")
    if not all(isinstance(text, str) for text in X.flat):
        raise ValueError(
            "X mixes strings with other values (missing ones, perhaps); expected a string for "
            "each sample."
        )
    return X


def _is_text(X):
    """Tell whether X is strings, one or a row of them for each sample."""
    if hasattr(X, "toarray") or isinstance(X, str | bytes) or not hasattr(X, "__len__"):
        return False
    if hasattr(X, "iloc") and getattr(X, "ndim", 1) == 2:
        return all(_is_text(X.iloc[:, i]) for i in range(X.shape[1])) and X.shape[1] > 0
    if hasattr(X, "dtype") and getattr(X.dtype, "kind", "O") not in "OUST":
        return False
    array = X if isinstance(X, np.ndarray) else np.asarray(_first_known(X))
    return array.dtype.kind in "UT" or (
        array.dtype.kind == "O" and any(isinstance(one, str) for one in _first_known(array.flat))
    )


def _first_known(values):
    """Return the first value that isn't missing, in a list; an empty one if all are."""
    return [*itertools.islice((one for one in values if not _is_missing(one)), 1)]


def _is_missing(value):
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or type(value).__name__ == "NAType"  # pandas's


def _dtype(X):
    """Keep the floats and ints that a net may want; everything else becomes a float."""
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    return None if kind in ("f", "i", "u") else "numeric"


def map_leaves(function, structure, *others):
    """Apply a function to the leaves of (nested) dicts, lists and tuples.

    `keras.tree` would do, but it takes array-likes with a length for leaves only by type.
    """
    if isinstance(structure, dict):
        return {k: map_leaves(function, v, *(o[k] for o in others)) for k, v in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(
            map_leaves(function, *vs) for vs in zip(structure, *others, strict=True)
        )
    return function(structure, *others)


def leaves(structure):
    """List the leaves of (nested) dicts, lists and tuples, in order."""
    found = []
    map_leaves(found.append, structure)
    return found


def input_specs(x):
    """Shape without the first axis, and dtype, of the inputs in ``x``; by name if it is a dict."""
    import keras

    def spec(array):
        text = array.dtype.kind in "OUST"
        return array.shape[1:], "string" if text else keras.config.floatx()

    return {k: spec(v) for k, v in x.items()} if isinstance(x, dict) else spec(x)


def input_shapes(specs):
    """Shape of each input without the first axis."""
    return {k: v[0] for k, v in specs.items()} if isinstance(specs, dict) else specs[0]
