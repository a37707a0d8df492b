"""Layers that end a regressor's nets: made, and found again in a model."""

import keras

from skkeras._keras_objects.internals import sublayers
from skkeras._keras_objects.preset_layers import OutputScaling

_NAME = "output_scaling"


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
