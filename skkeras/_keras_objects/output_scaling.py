"""Layer that ends a regressor's net: from standardised numbers to the units of y."""

import keras

from skkeras._keras_objects.internals import sublayers

_NAME = "output_scaling"


@keras.saving.register_keras_serializable("skkeras")
class OutputScaling(keras.layers.Layer):
    """Outputs in the units of y: ``activation(offset + scale * inputs)``, with constants of y.

    A loss in y's units has gradients in y's units, with which a step of SGD is far too large or
    far too small. Backwards the layer therefore multiplies by ``slope`` in place of ``scale``: the
    layers before it get the gradients that they would get with standardised targets.

    The constants are weights, not trained, so that fits to other targets share compiled programs.

    Parameters
    ----------
    activation : str, default="linear"
        Name of the activation, such as "exponential" for a loss of counts.
    **kwargs : dict
        As for any layer.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.models import OutputScaling
    >>> layer = OutputScaling()
    >>> layer.build((None, 1))
    >>> layer.set_weights([np.array([100.0]), np.array([5.0]), np.array([0.2])])
    >>> layer(np.array([[-1.0], [2.0]])).numpy().ravel().tolist()
    [95.0, 110.0]
    """

    def __init__(self, activation="linear", **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def get_config(self):
        """Return the parameters; what y tells is among the weights."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}

    def build(self, input_shape):
        """Make the constants: one for each value of a row; for rows of any length, each channel."""
        shape = tuple(input_shape[1:])
        shape = shape[-1:] if None in shape else shape
        constant = {"shape": shape, "trainable": False}
        self.offset = self.add_weight(initializer="zeros", name="offset", **constant)
        self.scale = self.add_weight(initializer="ones", name="scale", **constant)
        self.slope = self.add_weight(initializer="ones", name="slope", **constant)

    def call(self, inputs, training=False):
        """Scale outputs; in training by another slope, as a difference of 0 with a gradient."""
        outputs = self.offset + self.scale * inputs
        if training:
            sloped = self.slope * inputs
            outputs = keras.ops.stop_gradient(outputs) + (sloped - keras.ops.stop_gradient(sloped))
        return self.activation(outputs)

    def compute_output_shape(self, input_shape):
        """Return the shape of the inputs."""
        return input_shape


def scaling_layer(activation, output=None):
    """Make the layer for a net's only output, or for one of several, by its name."""
    # Floats of Keras's own size, also with mixed precision: those of 16 bits end at 65,504.
    name = _NAME if output is None else f"{output}_{_NAME}"
    return OutputScaling(activation, name=name, dtype=keras.config.floatx())


def scaling_places(model, outputs):
    """Find the layers of `scaling_layer` in a built model.

    Returns a dict by output, for those of ``outputs`` that have one, of the constants' shape and
    the indices of offset, scale and slope among ``model.variables``.
    """
    numbers = {id(variable): i for i, variable in enumerate(model.variables)}
    layers = {layer.name: layer for layer in sublayers(model) if isinstance(layer, OutputScaling)}
    places = {}
    for output in outputs:
        layer = layers.get(_NAME if output is None else f"{output}_{_NAME}")
        if layer is not None and layer.built:
            constants = layer.offset, layer.scale, layer.slope
            places[output] = tuple(layer.scale.shape), [numbers[id(v)] for v in constants]
    return places
