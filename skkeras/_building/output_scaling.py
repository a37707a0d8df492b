"""Output scaling: a regressor's last layer, and its constants by the moments of y and the loss.

The layer, `skkeras.models.OutputScaling`, brings a net's outputs into the units of y, and gradients
out of them. What moments are, see `skkeras._targets.regression.moments`.
"""

import math
import warnings

import numpy as np

from skkeras._keras_objects.internals import sublayers
from skkeras._losses import BINARY_LOSSES, CATEGORICAL_LOSSES, ROW_LOSSES, by_output, loss_facts
from skkeras._targets.regression import ending

# Slopes by the spread of y; of other losses, the gradients are looked at.
_SLOPES = {
    "mean_squared_error": lambda spread: 1 / spread,
    "mean_absolute_error": np.ones_like,
    "poisson": lambda spread: 1 / spread,
}

# Losses that compare directions, or take margins or probabilities: y has no units.
_WITHOUT_UNITS = BINARY_LOSSES | CATEGORICAL_LOSSES | ROW_LOSSES | {"hinge", "squared_hinge"}


def scaling_facts(moments, activation, losses):
    """Return the facts "output_activation" and "output_scaling", the layer, or None for no scaling.

    ``moments`` are those of y, ``activation`` the one that fits y and the loss, and ``losses`` are
    `LossFacts`; each by output if there are several. The layer has the activation inside.
    """
    if not isinstance(moments, dict):
        if not _takes_scaling(losses):
            return {"output_activation": activation, "output_scaling": None}
        return {"output_activation": "linear", "output_scaling": _layer(activation)}
    layers = {
        name: _layer(activation[name], name) for name in moments if _takes_scaling(losses[name])
    }
    return {
        "output_activation": {**activation, **dict.fromkeys(layers, "linear")},
        "output_scaling": {name: layers.get(name) for name in activation},
    }


def _takes_scaling(facts):
    return not (facts.is_builtin and facts.name in _WITHOUT_UNITS)


def _layer(activation, output=None):
    import keras

    from skkeras._keras_objects.preset_layers import OutputScaling

    # Floats of Keras's own size, also with mixed precision: those of 16 bits end at 65,504.
    return OutputScaling(activation, name=_name(output), dtype=keras.config.floatx())


def _name(output):
    """Name the layer of a net's only output (None), or of one of several."""
    return "output_scaling" if output is None else f"{output}_output_scaling"


def scaling_places(moments, model):
    """Find these layers in a built model.

    Returns a dict by output, for those that have one, of the constants' shape and the indices of
    offset, scale and slope among ``model.variables``.
    """
    from skkeras._keras_objects.preset_layers import OutputScaling

    numbers = {id(variable): i for i, variable in enumerate(model.variables)}
    layers = {layer.name: layer for layer in sublayers(model) if isinstance(layer, OutputScaling)}
    places = {}
    for output in moments if isinstance(moments, dict) else [None]:
        layer = layers.get(_name(output))
        if layer is not None and layer.built:
            constants = layer.offset, layer.scale, layer.slope
            places[output] = tuple(layer.scale.shape), [numbers[id(v)] for v in constants]
    return places


def scale_outputs(moments, model, output_shape):
    """Let these layers in a compiled model begin with the moments of y."""
    if not (places := scaling_places(moments, model)):
        return
    losses = by_output(model.loss, output_shape)
    losses = losses if isinstance(losses, dict) else {None: losses}
    for i, value in scaling_values(moments, places, losses).items():
        model.variables[i].assign(value)


def scaling_values(moments, places, losses):
    """Return the values of the layers' constants, by their index among the model's variables.

    ``losses`` are by output, with None for the only one.
    """
    values = {}
    for output, (shape, numbers) in places.items():
        own = moments if output is None else moments[output]
        loss = losses[output]
        constants = scaling_constants(own, shape, loss_facts(loss), loss)
        values |= dict(zip(numbers, constants, strict=True))
    return values


def scaling_constants(moments, shape, facts, loss):
    """Return offset, scale and slope, each of ``shape``, for targets with these moments.

    ``facts`` are those of the ``loss``, by which the layer has an activation. Where outputs have no
    value for each of a row of y, as a loss of the user's own lets them, they share all moments.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._building.output_scaling import scaling_constants
    >>> from skkeras._losses import LossFacts
    >>> moments = np.array([100.0]), np.array([5.0])
    >>> scaling_constants(moments, (1,), LossFacts("mean_squared_error"), "mse")
    [array([100.]), array([5.]), array([0.2])]
    """
    mean, spread = _fitted(*moments, shape)
    if ending(facts) == "linear":
        _warn_of_lost_digits(mean, spread)
    spread = np.where(spread > 0, spread, 1.0)
    offset, scale = _before_activation(mean, spread, ending(facts))
    return [offset, scale, _slope(offset, spread, facts, loss)]


def _before_activation(mean, spread, activation):
    """Return offset and scale with which the activation's outputs have about these moments."""
    if activation == "linear":
        return mean, spread
    mean = np.where(mean > 0, mean, 1.0)
    return np.log(mean), np.minimum(spread / mean, 1.0)  # with more it would run away


def _warn_of_lost_digits(mean, spread):
    precision = np.finfo(np.float32).eps * np.abs(mean)
    if np.any((spread > 0) & (precision > 0.1 * spread)):
        warnings.warn(
            "y is so far from 0, next to its standard deviation, that it loses digits in a net of "
            "float32; expected a y around 0. Subtract a constant, or put the estimator into a "
            "TransformedTargetRegressor with a StandardScaler.",
            stacklevel=2,
        )


def _fitted(mean, spread, shape):
    """Give the moments of a row the shape of the layer's constants."""
    if mean.size == math.prod(shape):
        return mean.reshape(shape), spread.reshape(shape)
    n_channels = shape[-1] if shape and mean.shape[-1:] == shape[-1:] else 1
    means, spreads = mean.reshape(-1, n_channels), spread.reshape(-1, n_channels)
    pooled = means.mean(axis=0)
    spread = np.sqrt((spreads**2 + (means - pooled) ** 2).mean(axis=0))
    return np.broadcast_to(pooled, shape), np.broadcast_to(spread, shape)


def _slope(offset, spread, facts, loss):
    """Return the slope with which gradients are those of targets with the moments 0 and 1."""
    if facts.is_builtin and facts.name in _SLOPES:
        return _SLOPES[facts.name](spread)
    zeros, ones = np.zeros_like(spread), np.ones_like(spread)
    with np.errstate(all="ignore"):
        slope = 1 / _gradient(loss, offset, spread, ending(facts))
        if ending(facts) == "linear":
            slope = slope * _gradient(loss, zeros, ones, "linear")
    # A loss of the user's own may fail on such rows, or be flat there.
    return np.where(np.isfinite(slope) & (slope > 0), slope, 1 / spread)


def _gradient(loss, offset, spread, activation):
    """Return the mean size of a loss's gradient where errors are as large as the spread.

    It is that by what the activation is applied to.
    """
    import keras
    import tensorflow as tf

    inputs = tf.constant(np.stack([offset, offset]), keras.config.floatx())
    errors = tf.constant(np.stack([-spread, spread]), inputs.dtype)
    loss = keras.losses.get(loss)
    loss = loss.call if isinstance(loss, keras.losses.Loss) else loss
    try:
        with keras.StatelessScope(), tf.GradientTape() as tape:
            tape.watch(inputs)
            y_pred = keras.activations.get(activation)(inputs)
            y_true = tf.stop_gradient(y_pred + errors)
            y_true = y_true if activation == "linear" else tf.maximum(y_true, y_pred / 2)
            values = loss(y_true, y_pred)
        return np.abs(tape.gradient(values, inputs).numpy()).mean(axis=0)
    except Exception:  # training will tell
        return np.full(spread.shape, np.nan)
