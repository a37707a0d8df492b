"""Internals of Keras objects: attributes, specs, and the seeds and names of new ones.

Keras keeps settings and bookkeeping in attributes; here is known which are which. It draws the
seeds of initializers and dropout layers from Python's global `random`, numbers the names of layers
by a counter of the thread, and keeps its own global seed generator per thread. So nets are made in
a thread of their own, with Python's and NumPy's global generators seeded meanwhile and restored
afterwards: the same seed gives the same net (names included), whatever the caller's thread did
before, and the caller notices nothing.
"""

import contextlib
import contextvars
import dataclasses
import functools
import inspect
import random
import re
import threading
from typing import Any, NamedTuple

import numpy as np

from skkeras._hints import suggestion
from skkeras._keras_objects.content_hash import PLAIN
from skkeras._params import ANY, declared_signature, describe
from skkeras._pickling import PickledByName
from skkeras.exceptions import ParameterNameError

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


def output_shape(model, x_specs, *, by_name=False):
    """Shape of the net's output without the first axis; by name if it has several.

    A single output of a functional model that has a name is without, unless ``by_name``.
    """
    import keras

    outputs = getattr(model, "outputs", None)
    if outputs and len(outputs) == 1 and not by_name:
        outputs = outputs[0]
    else:
        outputs = model(symbolic_inputs(x_specs))
        if isinstance(outputs, list | tuple) and len(outputs) == 1:
            outputs = outputs[0]  # whose targets Keras doesn't take by name
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
class NetFacts(PickledByName):
    """Facts that an estimator needs to feed its net and to read its outputs.

    Shapes are without the first axis. ``x_specs`` (pairs of shape and dtype) and ``x_dtypes`` (the
    dtypes that the net's inputs are cast to) are dicts for several inputs, ``output_shape`` and
    ``loss`` (of `LossFacts`) for several outputs. ``float_dtype`` is that of targets and weights.
    ``lists_outputs`` tells whether the net returns several outputs in a list.
    """

    x_specs: Any
    x_dtypes: Any
    output_shape: Any
    float_dtype: str
    loss: Any
    lists_outputs: bool = False


# Python's and NumPy's global generators are shared by all threads: one net is made at a time.
_lock = threading.RLock()
_making = threading.local()


def is_in_builder():
    """True inside a builder, which may itself fit or inspect an estimator."""
    return getattr(_making, "active", False)


def one_at_a_time():
    """Keep other threads from making nets for a block; a builder's thread has done so."""
    return contextlib.nullcontext() if is_in_builder() else _lock


@contextlib.contextmanager
def _seeded(seed):
    """Seed Python's and NumPy's global generators for a block, and restore them after it."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def make_seeded(make, seed):
    """Return ``make()``, whose randomness comes from a seed and leaves no trace.

    It runs in a thread of its own; its exceptions are raised here. ``seed`` is an int between 0 and
    2**32 - 1.

    Examples
    --------
    >>> import random
    >>> from skkeras._keras_objects.internals import make_seeded
    >>> before = random.getstate()
    >>> first = make_seeded(random.random, seed=7)
    >>> first == make_seeded(random.random, seed=7), random.getstate() == before
    (True, True)
    """
    if not is_in_builder():
        return make_apart(make, seed)
    with _seeded(seed):  # in the same thread: nets that a builder combines need different names
        return make()


def make_apart(make, seed):
    """Do what `make_seeded` does, but inside a builder, too, in a new thread: names begin anew."""
    import keras

    dtype_policy = keras.config.dtype_policy()  # set per thread
    outcome, done = {}, threading.Event()

    def run():
        _making.active = True
        try:
            keras.config.set_dtype_policy(dtype_policy)
            outcome["made"] = make()
        except BaseException as error:  # it is raised again in the caller's thread
            outcome["error"] = error
        finally:
            done.set()

    with one_at_a_time(), _seeded(seed):
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(run,), name="skkeras-build", daemon=True
        )
        thread.start()
        _wait_for(done)
    if "error" in outcome:
        raise outcome["error"]
    return outcome["made"]


def _wait_for(done):
    """Wait for a thread's event even through Ctrl-C: it still uses the state to be restored.

    `threading.Thread.join` takes a thread for ended when Ctrl-C ends the wait (CPython 3.11,
    https://github.com/python/cpython/issues/90882).
    """
    interruption = None
    while not done.is_set():
        try:
            done.wait()
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


def build_optimizer(model):
    """Make the variables of a model's optimizer, unless it has them; return the model.

    The counters by which Keras names the user's objects don't advance.
    """
    optimizer = model.optimizer
    if optimizer is not None and not optimizer.built:
        make_seeded(lambda: optimizer.build(model.trainable_variables), seed=0)
    return model


def constructor_names(cls):
    """Names that a class's constructor accepts, with `ANY` for a ``**kwargs`` of the user's own.

    Keras's classes pass theirs on to a parent, which refuses what is left.
    """
    names = frozenset(declared_signature(cls).parameters)
    init = cls.__init__
    if not inspect.isfunction(init) or init.__module__.partition(".")[0] == "keras":
        return names
    kinds = [parameter.kind for parameter in inspect.signature(init).parameters.values()]
    return names | {ANY} if inspect.Parameter.VAR_KEYWORD in kinds else names


def construct(prefix, cls, values):
    """Call a class with routed values; ParameterNameError if its ``**kwargs`` doesn't take one."""
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        names = constructor_names(cls.func if isinstance(cls, functools.partial) else cls)
        unknown = [name for name in values if name not in names]
        if not unknown:
            raise
        raise ParameterNameError(
            f"Got the parameter '{prefix}__{unknown[0]}', and {describe(cls)!r} can't be made with "
            f"it ({error}). {suggestion(unknown[0], names - {ANY})}"
        ) from error


def optimizes(optimizer, variables):
    """Tell whether a built optimizer was built for these variables, or more.

    Keras refuses to train others, and has no public way to ask:
    https://github.com/keras-team/keras/blob/master/keras/src/optimizers/base_optimizer.py
    """
    return len(optimized(optimizer, variables)) == len(variables)


def optimized(optimizer, variables):
    """Return which of these variables an optimizer was built for, as indices, in its order."""
    places = {id(variable): i for i, variable in enumerate(variables)}
    lists = [value for value in vars(optimizer).values() if isinstance(value, list)]
    known = [[places[id(item)] for item in items if id(item) in places] for items in lists]
    return max(known, key=len, default=[])
