"""Fingerprints: fits whose nets have the same one share a compiled training program.

The engine compiles a training program once and shares it with every fit of the same fingerprint:
the fit's values are loaded into the program's variables and read back afterwards. So the values of
variables are data, and everything else that reaches the traced graph has to agree: layers and
their wiring, options, closures, globals that functions read, constants, dtypes.

Two rules for callers:

- All objects that a program is traced with go into *one* call, ``fingerprint(model, optimizer,
  loss, ...)``, so that a loss that holds one of the model's layers is understood.
- Variables of the models, optimizers and metrics among these objects are data. Any other variable,
  such as one in a closure, is told by its identity: only fits with that very variable agree.

No walk over objects can see data that code fetches at tracing time from files, or from state that a
library hides behind its functions.
"""

import functools
import re
from typing import ClassVar

from skkeras._keras_objects.code_facts import read_code
from skkeras._keras_objects.content_hash import (
    PLAIN,
    Contents,
    UnreadableError,
    attributes,
    library_name,
    serial_numbers,
)
from skkeras._keras_objects.internals import (
    calls_in_order,
    history_of,
    is_generated,
    layer_settings,
    machinery,
)

_UNSHAREABLE = "unshareable-"

# Of a built layer, the attributes hold the results of these.
_SETUP_METHODS = frozenset(
    {"__init__", "build", "get_config", "from_config", "get_build_config", "build_from_config"}
)


def fingerprint(*objects):
    """Hash everything in the objects that determines a compiled program.

    Two calls give the same digest only if a program traced with the objects of one can be run for
    those of the other. Values of the objects' own variables don't count, nor do seeds,
    initializers, and learning rates that are numbers; of the global settings, ``floatx``,
    ``epsilon``, ``image_data_format`` and the dtype policy count. Nothing is changed, nothing drawn
    from random generators, no name used up.

    Examples
    --------
    >>> from skkeras._keras_objects.fingerprint import fingerprint
    >>> def power(exponent):
    ...     return lambda x: x**exponent
    >>> fingerprint(power(2)) == fingerprint(power(2))
    True
    >>> fingerprint(power(2)) == fingerprint(power(3))
    False
    """
    for follows_cycles in (False, True):
        try:
            return _Program(objects, follows_cycles).digest()
        except (ValueError, RecursionError):
            continue  # raised over values that contain themselves
        except Exception:  # of a user's property, or an object that can't be pickled
            break
    return f"{_UNSHAREABLE}{next(serial_numbers)}"


def is_shareable(digest):
    """False for the digest of objects that could not be read: no other call gives it again.

    Examples
    --------
    >>> from skkeras._keras_objects.fingerprint import fingerprint, is_shareable
    >>> is_shareable(fingerprint([1, 2])), is_shareable(fingerprint(iter([1, 2])))
    (True, False)
    """
    return not digest.startswith(_UNSHAREABLE)


class _Program(Contents):
    """Contents of the objects that a program is traced with."""

    known_readers: ClassVar[dict] = {}

    def __init__(self, objects, follows_cycles):
        import keras

        super().__init__(follows_cycles)
        self._objects = objects
        self._data = {}  # places of the objects' own variables, by id
        self._layers_data = set()
        self._tensors = {}
        self._layer_names = []
        self._names_count = True
        self._selectors = []
        variables = [self._claim_variables(obj, number) for number, obj in enumerate(objects)]
        config = keras.config
        settings = (config.floatx(), config.epsilon(), config.image_data_format())
        self.dump((variables, objects, settings, config.dtype_policy()))
        self.dump((self._selected(), self._names_read()))

    def find_reader(self, cls):
        for base, reader in _readers_of_frameworks():
            if issubclass(cls, base):
                return reader
        if any(base.__module__.startswith("wrapt") for base in cls.__mro__):
            return lambda _, value: ("Wrapped", value.__wrapped__)  # TensorFlow's dicts
        return super().find_reader(cls)

    # Variables

    def _claim_variables(self, obj, number):
        """Note by which place an object's variables are loaded; describe a layer's variables."""
        import keras

        if isinstance(obj, keras.optimizers.Optimizer):
            inner = [v for v in vars(obj).values() if isinstance(v, keras.optimizers.Optimizer)]
            for depth, optimizer in enumerate([*inner, obj]):
                for place, variable in enumerate(optimizer.variables):
                    self._data.setdefault(id(variable), (number, depth, place))
        elif isinstance(obj, keras.metrics.Metric):
            for place, variable in enumerate(obj.variables):
                self._data.setdefault(id(variable), (number, place))
        elif isinstance(obj, keras.Layer):
            for place, variable in enumerate(obj.variables):
                self._data.setdefault(id(variable), (number, place))
                self._layers_data.add(id(variable))
            # Counted from the end, since compiling puts metrics in front of the layer's own.
            in_metrics = [v for metric in obj.metrics for v in metric.variables]
            for place, variable in enumerate(reversed(in_metrics)):
                self._data.setdefault(id(variable), (number, -1 - place))
            return [self._describe_variable(variable) for variable in obj.variables]
        # Shapes of the others' variables follow from their settings and the layers' variables.
        return None

    def _describe_variable(self, variable):
        name = variable.name
        return (
            self._data[id(variable)],
            None if re.fullmatch(r"variable(_\d+)?", name) else f".{name}",
            tuple(variable.shape),
            variable.dtype,
            variable.trainable,
            getattr(variable, "overwrite_with_gradient", None),
            variable.regularizer,
            variable.constraint,
        )

    def variable(self, variable):
        place = self._data.get(id(variable))
        return self.identity(variable) if place is None else ("Variable", *place)

    def seed_generator(self, generator):
        if library_name(type(generator)) is None:
            return self.instance(generator)
        return ("Seeds", generator.state)

    # Layers and models

    def layer(self, layer):
        import keras

        is_model = isinstance(layer, keras.Model)
        is_users = library_name(type(layer)) is None
        if self._names_count:
            self._layer_names.append((layer, layer.name))
        # Names of layers inside a library's layer are never read.
        outside, self._names_count = self._names_count, is_model or is_users
        items = layer_settings(layer).items()
        items = [(k, v) for k, v in items if not isinstance(v, keras.callbacks.History)]
        loss = None
        if not is_users:
            items = self._of_library(items)
        elif layer.built:
            items = _without_spent_initializers(type(layer), items)
        if is_users and is_model and "loss" in _names_in_use(type(layer)):
            loss = layer.loss
        ignored = _SETUP_METHODS if is_users and layer.built else frozenset()
        wiring = self._wiring(layer) if is_model else None
        cls = self.cls(type(layer), ignored)
        return ("Layer", cls, attributes(items), loss, wiring, _Leaving(outside))

    def leave(self, leaving):
        self._names_count = leaving.outside
        return ("Leaving",)

    def _of_library(self, items):
        """Yield the attributes of a library's layer that reach the traced graph."""
        import keras
        import tensorflow as tf

        for name, value in items:
            if name == "seed" or name.endswith("_initializer"):
                continue
            if not isinstance(value, PLAIN):
                if isinstance(value, keras.initializers.Initializer):
                    continue
                if isinstance(value, tf.Variable):  # a lookup layer's adapted state
                    value = value.numpy()
                elif isinstance(value, tf.lookup.experimental.MutableHashTable):
                    value = _table(self, value)
            yield name, value

    def _wiring(self, model):
        import keras

        if isinstance(model, machinery().functional):
            return self._graph(model)
        if isinstance(model, keras.Sequential):
            inputs = model.inputs if model.built and hasattr(model, "inputs") else []
            return self._inputs(inputs), [*model.layers]
        return None

    def _inputs(self, tensors):
        found = []
        for tensor in tensors:
            self._number_tensor(tensor)
            history = history_of(tensor)
            # Inputs given as a dict are found by these names.
            has_name = not re.fullmatch(r"(keras_tensor|input_layer)(_\d+)?", tensor.name)
            name = f".{tensor.name}" if has_name else None
            found.append((_describe_tensor(tensor), history and history[0], name))
        return found

    def _graph(self, model):
        inputs = self._inputs(model.inputs)
        calls = []
        for operation, node in calls_in_order(model):
            if operation is None:
                raise UnreadableError("Its outputs don't come from its inputs.")
            calls.append((operation, node.arguments.args, node.arguments.kwargs))
            for tensor in node.outputs:
                self._number_tensor(tensor)
        # Several outputs are told apart by their names in the logs.
        names = [*model.output_names] if len(model.outputs) > 1 else None
        return inputs, calls, model.input, model.output, [*model.operations], names

    def _number_tensor(self, tensor):
        self._tensors.setdefault(id(tensor), len(self._tensors))

    def symbolic_tensor(self, tensor):
        number = self._tensors.get(id(tensor))
        return _describe_tensor(tensor) if number is None else ("Tensor", number)

    def operation(self, operation):
        skip = machinery().of_operations
        items = [(k, v) for k, v in vars(operation).items() if k not in skip]
        return ("Operation", type(operation), attributes(items))

    # Optimizers, losses and metrics

    def optimizer(self, optimizer):
        if hasattr(optimizer, "optimizers"):
            raise UnreadableError("It picks one for each variable, by any function.")
        items = self._settings(optimizer)
        for _, value in items:
            values = value if isinstance(value, (list, tuple, set)) else [value]
            self._selectors += [v for v in values if isinstance(v, (str, re.Pattern))]
        return ("Optimizer", type(optimizer), attributes(items))

    def _settings(self, obj):
        """Collect the attributes of an optimizer or metric besides its variables."""
        skip = machinery().of_optimizers
        own = {id(variable) for variable in obj.variables} - self._layers_data
        items = [(k, v) for k, v in vars(obj).items() if k not in skip]
        return [(k, v) for k, v in items if not _holds_only(own, v)]

    def metric(self, metric):
        # The name is in the logs. Some create their variables when they see the first batch.
        return ("Metric", f".{metric.name}", type(metric), attributes(self._settings(metric)))

    def loss(self, loss):
        skip = "name" if is_generated(loss.name, loss) else None
        return ("Loss", type(loss), attributes((k, v) for k, v in vars(loss).items() if k != skip))

    # TensorFlow's values

    def graph_function(self, function):
        options = [(k, v) for k, v in vars(function).items() if isinstance(v, PLAIN)]
        return ("GraphFunction", function.python_function, attributes(options))

    # Names

    def _selected(self):
        """Tell which variables are selected by the optimizers' patterns (as for weight decay)."""
        paths = self._paths() if self._selectors else []
        return [_selects(selector, path) for selector in self._selectors for path in paths]

    def _names_read(self):
        """Describe the names that users' code could depend on; None without such code.

        Generated names differ in their numbers only, so each is described by the texts with a digit
        in users' code that it contains.
        """
        if not self.reads_user_code:
            return None
        strings = self.strings()
        texts = {text for text in strings if re.search(rb"\d", text)}

        def found(name):
            name = name.encode()
            return sorted({text for text in texts if text in name} | ({name} & strings))

        layers = [
            found(name) if is_generated(name, layer) else name
            for layer, name in self._layer_names[1:]
        ]
        return layers, [found(path) for path in self._paths()]

    def _paths(self):
        import keras

        layers = [obj for obj in self._objects if isinstance(obj, keras.Layer)]
        return [variable.path for layer in layers for variable in layer.variables]


def _tensor(program, tensor):
    try:
        return ("Constant", tensor.numpy())
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise UnreadableError("It is symbolic, or a handle of a resource.") from error


def _dtype(program, dtype):
    return ("Dtype", str(dtype))


def _shape(program, shape):
    return ("Shape", None if shape.rank is None else shape.as_list())


def _table(program, table):
    import tensorflow as tf

    try:
        keys, values = [part.numpy().tolist() for part in table.export()]
    except tf.errors.OpError:
        keys, values = [], []  # nothing was adapted or loaded yet
    pairs = sorted(zip(keys, values, strict=True), key=repr)
    # Of its attributes, the default value: an eager tensor that isn't a handle.
    tensors = [v for v in vars(table).values() if isinstance(v, tf.Tensor)]
    return ("Table", type(table), pairs, [v for v in tensors if v.dtype != tf.resource])


class _Leaving:
    """Last part of a layer: when pickle comes to it, everything inside has been written."""

    def __init__(self, outside):
        self.outside = outside


def _describe_tensor(tensor):
    ragged = getattr(tensor, "ragged", 0)
    return ("Symbolic", tuple(tensor.shape), tensor.dtype, tensor.sparse, ragged)


def _holds_only(ids, value):
    """True if a value is made of nothing but objects with these ids, and None."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return all(item is None or _holds_only(ids, item) for item in value)
    return id(value) in ids


def _without_spent_initializers(cls, items):
    """Leave out initializers that a built layer of the user's no longer reads."""
    import keras

    names = None
    for name, value in items:
        if isinstance(value, keras.initializers.Initializer) and library_name(type(value)):
            names = _names_in_use(cls) if names is None else names
            if name not in names:
                continue
        yield name, value


def _names_in_use(cls):
    """Collect the names in methods of a user's layer that run after it was built."""
    names = set()
    for base in cls.__mro__:
        if library_name(base) is not None:
            continue
        for name, member in vars(base).items():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if hasattr(function, "__code__") and name not in _SETUP_METHODS:
                code = read_code(function.__code__)
                names |= code.attributes | code.strings
    return names


def _selects(selector, path):
    if isinstance(selector, str) and selector in path:
        return True
    try:
        return re.search(selector, path) is not None
    except re.error:
        return False


def _once(describe):
    return lambda walk, obj: walk.once(obj, functools.partial(describe, walk))


@functools.cache
def _readers_of_frameworks():
    """Pairs of a class and the method that describes its instances; the first match counts."""
    import keras
    import numpy as np
    import tensorflow as tf

    return (
        (keras.random.SeedGenerator, _Program.seed_generator),
        (keras.Layer, _once(_Program.layer)),
        (keras.Variable, _Program.variable),
        (keras.KerasTensor, _Program.symbolic_tensor),
        (keras.Operation, _once(_Program.operation)),
        (keras.optimizers.Optimizer, _once(_Program.optimizer)),
        (keras.metrics.Metric, _once(_Program.metric)),
        (keras.losses.Loss, _Program.loss),
        (tf.Variable, _Program.variable),
        (tf.Tensor, _tensor),
        (tf.DType, _dtype),
        (tf.TensorShape, _shape),
        (tf.types.experimental.PolymorphicFunction, _Program.graph_function),
        (tf.lookup.StaticHashTable, _table),
        (tf.lookup.experimental.MutableHashTable, _Program.identity),
        (np.ndarray, Contents.array),
        (np.generic, lambda walk, value: ("Scalar", walk.array(np.asarray(value)))),
        (np.dtype, _dtype),
        (np.ufunc, Contents.builtin),
        (_Leaving, _Program.leave),
    )
