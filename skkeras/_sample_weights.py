"""Sample weights: checked, made relative, and fitted to the values that a loss has."""

import dataclasses
import functools
from numbers import Real

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length

from skkeras._engine.rows import n_samples
from skkeras._targets.base import blocks, encoded


def relative_weights(sample_weight, X, rows=None):
    """Check sample weights (n_samples,) or one number, and scale them to a mean of 1 over ``rows``.

    Weights are relative, as in scikit-learn: doubling all of them changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._sample_weights import relative_weights
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


def check_outputs(weight, y):
    """Raise unless weights by name are those of outputs."""
    if not isinstance(y, dict) or not set(weight) <= set(y):
        outputs = [*y] if isinstance(y, dict) else "one output"
        raise ValueError(
            f"sample_weight has the keys {[*weight]}, and y has {outputs}; expected one array, or "
            "a dict of them by the outputs' names."
        )


def output_facts(facts, name):
    """Return the facts of one output."""
    return dataclasses.replace(facts, output_shape=facts.output_shape[name], loss=facts.loss[name])


def weighed_shape(y, facts):
    """Return the axes of y, samples first, at which a loss has values of their own."""
    return () if isinstance(y, dict) else y.shape[: _n_axes(facts.output_shape, facts.loss)]


def _n_axes(output_shape, loss):
    # Keras's losses go over the last axis.
    return max(1, len(output_shape) if loss.n_value_axes is None else loss.n_value_axes)


def fitted_weights(weight, y, facts):
    """Give weights as many axes as the values of the loss have, for Keras to multiply them."""
    if weight is None:
        return None
    if not isinstance(facts.output_shape, dict):
        return _with_axes(weight, _n_axes(facts.output_shape, facts.loss))
    n_axes = {name: _n_axes(facts.output_shape[name], facts.loss[name]) for name in y}
    if not isinstance(weight, dict) and {*n_axes.values()} == {1}:
        return weight
    ones = np.ones(n_samples(y))
    weights = weight if isinstance(weight, dict) else dict.fromkeys(y, weight)
    # Keras wants a weight for every output.
    fitted = {
        name: _with_axes(ones if weights.get(name) is None else weights[name], n_axes[name])
        for name in facts.output_shape
    }
    return tuple(fitted.values()) if facts.lists_outputs else fitted


def _with_axes(weight, n_axes):
    if len(weight.shape) > n_axes:
        raise ValueError(
            f"Weights have shape {weight.shape}, and the loss has one value for {n_axes} of these "
            "axes; expected a weight for each of its values. Let the net's outputs have a last "
            "axis for the classes, of length 1 where one unit tells."
        )
    if len(weight.shape) == n_axes:
        return weight
    return encoded(functools.partial(with_axes, ndim=n_axes), weight)
