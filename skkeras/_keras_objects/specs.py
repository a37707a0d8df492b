"""Specs: shapes and dtypes of a net's inputs and outputs, and its outputs' names."""

import dataclasses
from typing import Any


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


def input_dtypes(model, specs):
    """Dtype that each input is cast to: the one of the net's own input, if declared."""
    declared = {tensor.name: tensor.dtype for tensor in getattr(model, "inputs", None) or ()}
    if isinstance(specs, dict):
        return {name: declared.get(name, dtype) for name, (_, dtype) in specs.items()}
    return next(iter(declared.values())) if len(declared) == 1 else specs[1]


def float_dtype(model):
    """Dtype of targets and weights: float64 for a float64 net, or Keras's default."""
    import keras

    outputs = getattr(model, "outputs", None) or ()
    return "float64" if any(t.dtype == "float64" for t in outputs) else keras.config.floatx()


def output_shape(model, x_specs):
    """Shape of the net's output without the first axis; by name if it has several."""
    import keras

    outputs = getattr(model, "outputs", None)
    outputs = outputs[0] if outputs and len(outputs) == 1 else model(symbolic_inputs(x_specs))
    return keras.tree.map_structure(lambda t: tuple(t.shape)[1:], by_output_name(model, outputs))


def by_output_name(model, outputs):
    """Turn a list of outputs into a dict by the names of the net's output layers.

    Its order is the one in which Keras goes through the outputs.
    """
    import keras

    if isinstance(outputs, list | tuple):
        names = getattr(model, "output_names", None) or [f"output_{i}" for i in range(len(outputs))]
        return dict(zip(names, outputs, strict=True))
    if isinstance(outputs, dict):
        names = keras.tree.flatten(type(outputs)(zip(outputs, outputs, strict=True)))
        return {name: outputs[name] for name in names}
    return outputs


def symbolic_inputs(x_specs):
    """Make symbolic tensors of these specs, to call a model on."""
    import keras

    def tensor(spec):
        shape, dtype = spec
        return keras.KerasTensor((None, *shape), dtype)

    if isinstance(x_specs, dict):
        return {name: tensor(spec) for name, spec in x_specs.items()}
    return tensor(x_specs)


@dataclasses.dataclass(frozen=True)
class NetFacts:
    """Facts that an estimator needs to feed its net and to read its outputs.

    Shapes are without the first axis. ``x_specs`` (pairs of shape and dtype) and ``x_dtypes`` (the
    dtypes that the net's inputs are cast to) are dicts for several inputs, ``output_shape`` and
    ``loss`` (of `LossFacts`) for several outputs. ``float_dtype`` is that of targets and weights.
    """

    x_specs: Any
    x_dtypes: Any
    output_shape: Any
    float_dtype: str
    loss: Any
