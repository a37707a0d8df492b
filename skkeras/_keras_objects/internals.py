"""Internals of Keras objects: the attributes in which Keras keeps settings and bookkeeping."""

import functools
import re
from typing import NamedTuple

from skkeras._keras_objects.content_hash import PLAIN
from skkeras._keras_objects.seeding import make_seeded

# Attributes that hold an object's history or name.
_HISTORY = {
    *("name", "_path", "_parent_path", "built", "_build_shapes_dict", "_called", "_lock"),
    *("_saved_model_inputs_spec", "_saved_model_arg_spec"),
    # Set to None on every layer by an export, TFLite's and ONNX's too:
    # https://github.com/keras-team/keras/blob/master/keras/src/backend/tensorflow/layer.py
    *("train_function", "test_function", "predict_function"),
}
_HISTORY_OF_MODELS = {
    *("optimizer", "stop_training", "stop_evaluating", "stop_predicting"),
    *("_initial_epoch", "_eval_epoch_iterator"),
}
_HISTORY_OF_OPTIMIZERS_AND_METRICS = {"_built", "_exclude_from_weight_decay_cache"}


def layer_settings(layer):
    """Attributes of a layer or model by name, without Keras's bookkeeping."""
    skip = machinery().of(layer)
    return {name: value for name, value in vars(layer).items() if name not in skip}


class Machinery(NamedTuple):
    """Names of attributes in which Keras keeps more than settings, by kind of object."""

    of_operations: frozenset
    of_layers: frozenset
    of_models: frozenset
    of_functional: frozenset
    of_sequential: frozenset
    of_optimizers: frozenset
    functional: type

    def of(self, layer):
        import keras

        if not isinstance(layer, keras.Model):
            return self.of_layers
        if isinstance(layer, self.functional):
            return self.of_functional
        return self.of_sequential if isinstance(layer, keras.Sequential) else self.of_models


@functools.cache
def machinery():
    """Learn the attributes of Keras's own from objects without any setting."""
    import keras

    # Named, since generated names would advance the counters in names of users' layers.
    layer = keras.Layer(name="probe")
    settings = {k for k, v in vars(layer).items() if isinstance(v, PLAIN)} - _HISTORY
    settings |= {k for k, v in vars(layer).items() if v is layer.dtype_policy}
    layer.probe = keras.Variable(0.0, name="probe")  # starts the bookkeeping of variables
    of_layers = {*vars(layer)} - settings - {"probe"}
    bookkeeping = {name for name in of_layers if name.startswith("_self_")}

    class Named(keras.Layer):
        def compute_output_spec(self, inputs):
            return keras.KerasTensor(inputs.shape, name="probe_output")

    tensor = keras.Input((1,), name="probe_input")
    functional = keras.Model(tensor, Named(name="probe")(tensor), name="probe")
    compiled = keras.Model(name="probe")
    compiled.compile(optimizer=keras.optimizers.SGD(name="probe"), loss="mse")
    of_models = of_layers | ({*vars(compiled)} - settings) | _HISTORY_OF_MODELS
    optimizer = vars(keras.optimizers.Optimizer(learning_rate=0.0, name="probe"))
    # The learning rate may be a schedule, so it is not left out by its name.
    data = (*PLAIN, keras.Variable)
    of_optimizers = {k for k, v in optimizer.items() if not isinstance(v, data)}
    of_optimizers |= bookkeeping | _HISTORY | _HISTORY_OF_OPTIMIZERS_AND_METRICS
    return Machinery(
        frozenset({*vars(keras.Operation(name="probe"))} - settings),
        frozenset(of_layers | _HISTORY),
        frozenset(of_models),
        frozenset(of_models | ({*vars(functional)} - settings)),
        frozenset(of_models | ({*vars(keras.Sequential(name="probe"))} - settings)),
        frozenset(of_optimizers),
        type(functional),
    )


def history_of(tensor):
    """Find the operation, and the call of it, that made a symbolic tensor; None for an input."""
    for history in vars(tensor).values():
        if hasattr(history, "tensor_index") and history.operation is not None:
            # Lists of calls: also of calls that use the operation's outputs.
            for calls in vars(history.operation).values():
                for call in calls if isinstance(calls, list) else ():
                    if any(output is tensor for output in getattr(call, "outputs", ())):
                        return history.operation, call
    return None


def calls_in_order(model):
    """Yield operations and calls of a functional model, each after the calls it depends on."""
    inputs = {id(tensor) for tensor in model.inputs}
    done = set()
    stack = [(tensor, None) for tensor in reversed(model.outputs)]
    while stack:
        tensor, ready = stack.pop()
        if ready is not None and id(ready[1]) not in done:
            done.add(id(ready[1]))
            yield ready
        elif ready is None and id(tensor) not in inputs:
            history = history_of(tensor)
            if history is None:
                yield None, None
                return
            if id(history[1]) not in done:
                stack.append((tensor, history))
                stack += [(t, None) for t in reversed(history[1].input_tensors)]


def is_generated(name, obj):
    """True if a name is made of the object's class and, maybe, a number."""
    stem = re.sub(r"\W|_", "", type(obj).__name__).lower()
    without_number = re.sub(r"_\d+$", "", name)
    return stem in (name.replace("_", ""), without_number.replace("_", ""))


def is_keras(thing):
    """True if a class or function is Keras's own."""
    return (getattr(thing, "__module__", None) or "").split(".")[0] == "keras"


def is_layer(thing):
    """True for a layer or a model, told without importing Keras."""
    return hasattr(thing, "stateless_call") and not isinstance(thing, type)


def model_of(callback):
    """Model that a callback has; None before its first fit.

    Keras's property fails if the callback's ``__init__`` doesn't call its parent's, which Keras
    itself doesn't need: `keras.callbacks.CallbackList` sets the model before it calls any hook.
    """
    return getattr(callback, "model", None)


def plain(value):
    """Copy the lists, dicts and sets that Keras tracks, which know their owner, to Python's own."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(plain, value)) if type(value) is tuple else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    return set(value) if isinstance(value, set) else value


def configuration(layer):
    """Keras's description of a layer or model, without what a model was compiled with."""
    import keras

    view = object.__new__(type(layer))
    vars(view).update({**vars(layer), "compiled": False})
    return keras.saving.serialize_keras_object(view)


def sublayers(layer):
    """List a layer and all within it, each once, in an order that depends on structure only."""
    import keras

    found, seen, pending = [], set(), [layer]
    while pending:
        thing = pending.pop()
        if isinstance(thing, list | tuple):
            pending.extend(reversed(thing))
        elif isinstance(thing, dict):
            pending.extend(reversed(thing.values()))
        elif isinstance(thing, keras.Layer) and id(thing) not in seen:
            seen.add(id(thing))
            found.append(thing)
            pending.extend(part for _, part in sorted(vars(thing).items(), reverse=True))
    return found


@functools.cache
def layer_machinery():
    """Names of the attributes of Keras's own in layers and models."""
    import keras

    def make_probes():
        tensor = keras.Input((1,))
        model = keras.Model(tensor, keras.layers.Identity()(tensor))
        model.compile(optimizer=keras.optimizers.SGD(), loss="mse")
        return model, keras.Layer(), keras.Sequential()

    # In a thread of their own the probes don't advance the counters in generated names.
    return frozenset().union(*map(vars, make_seeded(make_probes, seed=0)))


def compile_arguments(model):
    """Arguments of `keras.Model.compile` of a model, without the optimizer; None if not found.

    Keras keeps them as they were given, but its public `get_compile_config` serialises them.
    """
    for part in vars(model).values():
        arguments = getattr(part, "config", None)
        if isinstance(arguments, dict) and {"optimizer", "loss", "metrics"} <= set(arguments):
            return {name: value for name, value in arguments.items() if name != "optimizer"}
    return None


@functools.cache
def metric_machinery():
    """Names of the attributes of Keras's own in metrics."""
    import keras

    return frozenset(vars(keras.metrics.Metric(name="probe")))
