"""Tell whether two nets would be compiled into the same program.

The engine compiles a training program once and lends it to every fit that agrees with it: the
fit's values are loaded into the program's variables and taken back afterwards. So the values of
variables are data, and everything else that reaches the traced graph has to agree: layers and how
they are wired, options, closures, globals that functions read, constants, dtypes.

Two rules for whoever shares programs:

- All objects that a program is traced with go into *one* call, ``fingerprint(model, optimizer,
  loss, ...)``, so that a loss that holds one of the model's layers is understood.
- Variables of the models, optimizers and metrics among these objects are data. Any other one, such
  as a closure's, is told by its identity: only those share it who share the variable itself.

What no walk over objects sees is what code fetches at tracing time from elsewhere: from files, or
from state that a library hides behind its functions.
"""

import functools
import re
from typing import ClassVar, NamedTuple

from skkeras._keras_objects.bytecode import digest, read_code
from skkeras._keras_objects.libraries import library_name
from skkeras._keras_objects.tokens import PLAIN, Walk

_UNSHAREABLE = "unshareable-"

# Attributes that tell what happened to an object so far, or what it is called.
_HISTORY = {
    *("name", "_path", "_parent_path", "built", "_build_shapes_dict", "_called", "_lock"),
    *("_saved_model_inputs_spec", "_saved_model_arg_spec"),
}
_HISTORY_OF_MODELS = {
    *("optimizer", "stop_training", "stop_evaluating", "stop_predicting"),
    *("_initial_epoch", "_eval_epoch_iterator"),
}
_HISTORY_OF_OPTIMIZERS_AND_METRICS = {"_built", "_exclude_from_weight_decay_cache"}
# Once a layer is built, what these did is in its attributes.
_SETUP_METHODS = frozenset(
    {"__init__", "build", "get_config", "from_config", "get_build_config", "build_from_config"}
)


def fingerprint(*objects):
    """Condense everything in the objects that determines a compiled program.

    Parameters
    ----------
    *objects : object
        Keras models, layers, optimizers, losses and metrics, functions, or any Python values.

    Returns
    -------
    digest : str
        Two calls give the same digest only if a program that is traced with the objects of one
        can be run for those of the other. Values of the objects' own variables don't count, nor
        do seeds, initializers, and learning rates that are numbers; of the global settings,
        ``floatx``, ``epsilon``, ``image_data_format`` and the dtype policy count.

    Notes
    -----
    Nothing is changed, nothing drawn from random generators, no name used up.

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
    walk = _KerasWalk(objects)
    try:
        condensed = digest(walk.everything())
    except Exception:  # of a user's property, or of an object too deep or too large to be read
        condensed = digest(walk.fresh())
    return ("" if walk.is_shareable else _UNSHAREABLE) + condensed.hex()


def model_fingerprint(model):
    """Condense a model's architecture; how it is compiled doesn't count.

    Parameters
    ----------
    model : keras.Model
        Built, since the shapes of its variables count.

    Returns
    -------
    digest : str
        See `fingerprint`.
    """
    return fingerprint(model)


def is_shareable(digest):
    """Tell whether another call of `fingerprint` can give this digest.

    Parameters
    ----------
    digest : str
        From `fingerprint`.

    Returns
    -------
    bool
        False if something in the objects could not be read. Then there is no use in keeping a
        program under this digest.

    Examples
    --------
    >>> from skkeras._keras_objects.fingerprint import fingerprint, is_shareable
    >>> is_shareable(fingerprint([1, 2])), is_shareable(fingerprint(iter([1, 2])))
    (True, False)
    """
    return not digest.startswith(_UNSHAREABLE)


def layer_settings(layer):
    """Collect the attributes of a layer that count, by name.

    Parameters
    ----------
    layer : keras.Layer
        It may be a model.

    Returns
    -------
    settings : dict
        Without Keras's bookkeeping: what was built, called and compiled.
    """
    skip = _machinery().of(layer)
    return {name: value for name, value in vars(layer).items() if name not in skip}


class _Machinery(NamedTuple):
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
def _machinery():
    """Learn from objects without any setting which attributes all of their kind have."""
    import keras

    # With names, since generated ones would advance the numbers in the names of users' layers.
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
    return _Machinery(
        frozenset({*vars(keras.Operation(name="probe"))} - settings),
        frozenset(of_layers | _HISTORY),
        frozenset(of_models),
        frozenset(of_models | ({*vars(functional)} - settings)),
        frozenset(of_models | ({*vars(keras.Sequential(name="probe"))} - settings)),
        frozenset(of_optimizers),
        type(functional),
    )


class _KerasWalk(Walk):
    """A walk over the objects that a program is traced with."""

    known_readers: ClassVar[dict] = {}

    def __init__(self, objects):
        super().__init__()
        self._objects = objects
        self._data = {}  # places of the objects' own variables, by id
        self._layers_data = set()
        self._tensors = {}
        self._layer_names = []
        self._names_count = True
        self._selectors = []

    def everything(self):
        """Read all objects, the global settings, and the names that anybody may read."""
        import keras

        objects = enumerate(self._objects)
        variables = tuple([self._claim_variables(obj, number) for number, obj in objects])
        tokens = tuple([self.token(obj) for obj in self._objects])
        config = keras.config
        settings = (config.floatx(), config.epsilon(), config.image_data_format())
        policy = self.token(config.dtype_policy())
        return variables, tokens, settings, policy, self._selected(), self._names_read()

    def find_reader(self, cls):
        for base, reader in _readers_of_frameworks():
            if issubclass(cls, base):
                return reader
        if any(base.__module__.startswith("wrapt") for base in cls.__mro__):
            return lambda walk, value: walk.token(value.__wrapped__)  # TensorFlow's dicts
        return super().find_reader(cls)

    # Variables

    def _claim_variables(self, obj, number):
        """Note the places of an object's variables, by which values are loaded; describe them."""
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
            return tuple([self._describe_variable(variable) for variable in obj.variables])
        # Shapes of the others' variables follow from their settings and the layers' variables.
        return None

    def _describe_variable(self, variable):
        name = variable.name
        return (
            self._data[id(variable)],
            None if re.fullmatch(r"variable(_\d+)?", name) else name,
            tuple(variable.shape),
            variable.dtype,
            variable.trainable,
            getattr(variable, "overwrite_with_gradient", None),
            self.token(variable.regularizer),
            self.token(variable.constraint),
        )

    def variable(self, variable):
        place = self._data.get(id(variable))
        return self.identity(variable) if place is None else ("variable", *place)

    def seed_generator(self, generator):
        if library_name(type(generator)) is None:
            return self.instance(generator)
        return ("seed generator", self.token(generator.state))

    # Layers and models

    def layer(self, layer):
        return self.numbered(layer, self._layer)

    def _layer(self, layer):
        import keras

        is_model = isinstance(layer, keras.Model)
        is_users = library_name(type(layer)) is None
        if self._names_count:
            self._layer_names.append((layer, layer.name))
        # Nobody asks for the names of layers that a library's layer has made for itself.
        outside, self._names_count = self._names_count, is_model or is_users
        items = layer_settings(layer).items()
        items = [(k, v) for k, v in items if not isinstance(v, keras.callbacks.History)]
        if is_users:
            cls = self.cls(type(layer), ignored=_SETUP_METHODS if layer.built else frozenset())
            if layer.built:
                items = _without_spent_initializers(type(layer), items)
            attributes = self.attributes(items)
            uses_loss = is_model and "loss" in _names_in_use(type(layer))
            loss = self.token(layer.loss) if uses_loss else None
        else:
            cls, loss = self.token(type(layer)), None
            attributes = self._library_attributes(items)
        wiring = self._wiring(layer) if is_model else None
        self._names_count = outside
        return ("layer", cls, attributes, loss, wiring)

    def _library_attributes(self, items):
        import keras
        import tensorflow as tf

        tokens = []
        for name, value in items:
            if name == "seed" or name.endswith("_initializer"):
                continue
            token = self.token
            if not isinstance(value, PLAIN):
                if isinstance(value, keras.initializers.Initializer):
                    continue
                if isinstance(value, tf.Variable):  # what a lookup layer has adapted to
                    value = value.numpy()
                elif isinstance(value, tf.lookup.experimental.MutableHashTable):
                    token = self.table
            tokens.append((name, token(value)))
        return tuple(sorted(tokens))

    def _wiring(self, model):
        import keras

        if isinstance(model, _machinery().functional):
            return self._graph(model)
        if isinstance(model, keras.Sequential):
            inputs = model.inputs if model.built and hasattr(model, "inputs") else []
            return self._inputs(inputs), tuple([self.token(layer) for layer in model.layers])
        return None

    def _inputs(self, tensors):
        tokens = []
        for tensor in tensors:
            self._number_tensor(tensor)
            history = _history(tensor)
            made_by = history and self.token(history[0])
            # Inputs given as a dict are found by these names.
            is_generated = re.fullmatch(r"(keras_tensor|input_layer)(_\d+)?", tensor.name)
            name = None if is_generated else tensor.name
            tokens.append((self._describe_tensor(tensor), made_by, name))
        return tuple(tokens)

    def _graph(self, model):
        inputs = self._inputs(model.inputs)
        calls = []
        for operation, node in _calls_in_order(model):
            if operation is None:
                return self.fresh()
            arguments = node.arguments
            call = (self.token(operation), self.token(arguments.args))
            calls.append((*call, self.token(arguments.kwargs)))
            for tensor in node.outputs:
                self._number_tensor(tensor)
        ends = (self.token(model.input), self.token(model.output))
        order = tuple([self.token(operation) for operation in model.operations])
        # Several outputs are told apart by their names in the logs.
        names = tuple(model.output_names) if len(model.outputs) > 1 else None
        return inputs, tuple(calls), ends, order, names

    def _number_tensor(self, tensor):
        self._tensors.setdefault(id(tensor), len(self._tensors))

    def symbolic_tensor(self, tensor):
        number = self._tensors.get(id(tensor))
        return self._describe_tensor(tensor) if number is None else ("tensor", number)

    def _describe_tensor(self, tensor):
        return (
            "symbolic",
            tuple(tensor.shape),
            tensor.dtype,
            tensor.sparse,
            getattr(tensor, "ragged", 0),
        )

    def operation(self, operation):
        return self.numbered(operation, self._operation)

    def _operation(self, operation):
        skip = _machinery().of_operations
        items = [(k, v) for k, v in vars(operation).items() if k not in skip]
        return ("operation", self.token(type(operation)), self.attributes(items))

    # Optimizers, losses and metrics

    def optimizer(self, optimizer):
        return self.numbered(optimizer, self._optimizer)

    def _optimizer(self, optimizer):
        if hasattr(optimizer, "optimizers"):
            return self.fresh()  # it picks one for each variable, by any function
        items = self._settings(optimizer)
        for _, value in items:
            values = value if isinstance(value, (list, tuple, set)) else [value]
            self._selectors += [v for v in values if isinstance(v, (str, re.Pattern))]
        return ("optimizer", self.token(type(optimizer)), self.attributes(items))

    def _settings(self, obj):
        """Collect what an optimizer or metric holds besides its variables."""
        skip = _machinery().of_optimizers
        own = {id(variable) for variable in obj.variables} - self._layers_data
        items = [(k, v) for k, v in vars(obj).items() if k not in skip]
        return [(k, v) for k, v in items if not _holds_only(own, v)]

    def metric(self, metric):
        return self.numbered(metric, self._metric)

    def _metric(self, metric):
        # The name is in the logs. Some create their variables when they see the first batch.
        items = self._settings(metric)
        return ("metric", metric.name, self.token(type(metric)), self.attributes(items))

    def loss(self, loss):
        return self.nested(loss, self._loss)

    def _loss(self, loss):
        is_generated = _is_generated(loss.name, loss)
        items = [(k, v) for k, v in vars(loss).items() if not (k == "name" and is_generated)]
        return ("loss", self.token(type(loss)), self.attributes(items))

    # TensorFlow's values

    def tensor(self, tensor):
        try:
            return ("eager tensor", self.token(tensor.numpy()))
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            return self.fresh()  # symbolic, or a handle of a resource

    def dtype(self, dtype):
        return ("dtype", str(dtype))

    def shape(self, shape):
        return ("shape", None if shape.rank is None else tuple(shape.as_list()))

    def table(self, table):
        import tensorflow as tf

        try:
            keys, values = [part.numpy().tolist() for part in table.export()]
        except tf.errors.OpError:
            keys, values = [], []  # nothing was adapted or loaded yet
        pairs = sorted(zip(keys, values, strict=True), key=repr)
        # Of its attributes, the default value: an eager tensor that isn't a handle.
        tensors = [v for v in vars(table).values() if isinstance(v, tf.Tensor)]
        others = [self.token(v) for v in tensors if v.dtype != tf.resource]
        return ("table", self.token(type(table)), tuple(pairs), tuple(others))

    def graph_function(self, function):
        options = [(k, v) for k, v in vars(function).items() if isinstance(v, PLAIN)]
        body = self.token(function.python_function)
        return ("graph function", body, self.attributes(options))

    # Names

    def _selected(self):
        """Tell which of the variables those patterns select that an optimizer has."""
        paths = self._paths() if self._selectors else []
        return tuple([_selects(selector, path) for selector in self._selectors for path in paths])

    def _names_read(self):
        """Tell what users' code may find out from names, if there is such code.

        Generated names differ in their numbers only; so for these it is told which texts in the
        code, if with a digit, they contain.
        """
        if not self.reads_user_code:
            return None
        texts = {text for text in self.strings if any(c.isdigit() for c in text)}

        def found(name):
            return tuple(sorted({text for text in texts if text in name} | ({name} & self.strings)))

        layers = [
            found(name) if _is_generated(name, layer) else name
            for layer, name in self._layer_names[1:]
        ]
        return tuple(layers), tuple([found(path) for path in self._paths()])

    def _paths(self):
        import keras

        layers = [obj for obj in self._objects if isinstance(obj, keras.Layer)]
        return [variable.path for layer in layers for variable in layer.variables]


def _holds_only(ids, value):
    """Tell whether there is nothing in a value but objects with these ids."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return all(item is None or _holds_only(ids, item) for item in value)
    return id(value) in ids


def _without_spent_initializers(cls, items):
    """Leave out what a user's layer does not use any more once it is built."""
    import keras

    names = None
    for name, value in items:
        if isinstance(value, keras.initializers.Initializer) and library_name(type(value)):
            names = _names_in_use(cls) if names is None else names
            if name not in names:
                continue
        yield name, value


def _names_in_use(cls):
    """Collect what the methods name that a user's layer runs after it was built."""
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


def _history(tensor):
    """Find the operation and the call of it that made a symbolic tensor, or None."""
    for history in vars(tensor).values():
        if hasattr(history, "tensor_index") and history.operation is not None:
            # Calls are in lists; those that use the operation's outputs are there, too.
            for calls in vars(history.operation).values():
                for call in calls if isinstance(calls, list) else ():
                    if any(output is tensor for output in getattr(call, "outputs", ())):
                        return history.operation, call
    return None


def _calls_in_order(model):
    """Yield operations and calls in a functional model, each after those it depends on."""
    inputs = {id(tensor) for tensor in model.inputs}
    done = set()
    stack = [(tensor, None) for tensor in reversed(model.outputs)]
    while stack:
        tensor, ready = stack.pop()
        if ready is not None and id(ready[1]) not in done:
            done.add(id(ready[1]))
            yield ready
        elif ready is None and id(tensor) not in inputs:
            history = _history(tensor)
            if history is None:
                yield None, None
                return
            if id(history[1]) not in done:
                stack.append((tensor, history))
                stack += [(t, None) for t in reversed(history[1].input_tensors)]


def _is_generated(name, obj):
    """Tell whether a name is made of the object's class and, maybe, a number."""
    stem = re.sub(r"\W|_", "", type(obj).__name__).lower()
    without_number = re.sub(r"_\d+$", "", name)
    return stem in (name.replace("_", ""), without_number.replace("_", ""))


def _selects(selector, path):
    if isinstance(selector, str) and selector in path:
        return True
    try:
        return re.search(selector, path) is not None
    except re.error:
        return False


@functools.cache
def _readers_of_frameworks():
    """Pairs of a class and the method that reads it and its subclasses; the first that fits."""
    import keras
    import numpy as np
    import tensorflow as tf

    return (
        (keras.random.SeedGenerator, _KerasWalk.seed_generator),
        (keras.Layer, _KerasWalk.layer),
        (keras.Variable, _KerasWalk.variable),
        (keras.KerasTensor, _KerasWalk.symbolic_tensor),
        (keras.Operation, _KerasWalk.operation),
        (keras.optimizers.Optimizer, _KerasWalk.optimizer),
        (keras.metrics.Metric, _KerasWalk.metric),
        (keras.losses.Loss, _KerasWalk.loss),
        (tf.Variable, _KerasWalk.variable),
        (tf.Tensor, _KerasWalk.tensor),
        (tf.DType, _KerasWalk.dtype),
        (tf.TensorShape, _KerasWalk.shape),
        (tf.types.experimental.PolymorphicFunction, _KerasWalk.graph_function),
        (tf.lookup.StaticHashTable, _KerasWalk.table),
        (tf.lookup.experimental.MutableHashTable, _KerasWalk.identity),
        (np.ndarray, Walk.array),
        (np.generic, lambda walk, value: ("scalar", walk.array(np.asarray(value)))),
        (np.dtype, _KerasWalk.dtype),
        (np.ufunc, Walk.builtin),
    )
