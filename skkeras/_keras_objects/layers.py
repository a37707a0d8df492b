"""Archives: a Keras layer or model as plain data, by the methods that Keras's own format uses.

That format itself won't do: it writes compile settings by way of ``get_config``, which loses
some, and it misses layers in nested lists. Here the structure comes from the configuration, and all
values of variables, settings and functions are set afterwards.
"""

import inspect
import pathlib
import re
import tempfile
from types import FunctionType

import numpy as np

from skkeras._keras_objects.internals import (
    configuration,
    is_keras,
    layer_machinery,
    plain,
    sublayers,
)
from skkeras._versions import load_tf_idf


def write_archive(layer):
    """Turn a layer or model, built or not, into plain data; compile settings are left out.

    The archive holds the configuration, custom classes and functions, variables, and for every
    layer inside its settings and its other state, such as a vocabulary.
    """
    return {
        "config": configuration(layer),
        "custom_objects": _custom_objects(layer),
        "layers": [(_settings(part), _learnt(part)) for part in sublayers(layer)],
        "variables": [(variable.numpy(), variable.trainable) for variable in layer.variables],
    }


def read_archive(archive):
    """Make a layer or model, not compiled, from an archive of `write_archive`.

    Keras writes into the archive, so pass a copy. As with a pickle, it must come from a source you
    trust: a Lambda layer is code. Raises Keras's own ValueError or TypeError if the layer can't be
    made, or ValueError if it has another number of variables or layers.
    """
    import keras

    layer = keras.saving.deserialize_keras_object(
        archive["config"], archive["custom_objects"], safe_mode=False
    )
    layers, variables = sublayers(layer), layer.variables
    for kind, found in ("layers", layers), ("variables", variables):
        if len(found) != len(archive[kind]):
            raise ValueError(
                f"it has {len(archive[kind])} {kind}, but {len(found)} when it is made from its "
                "configuration"
            )
    for part, (settings, _) in zip(layers, archive["layers"], strict=True):
        _set(part, settings)
    for variable, (value, trainable) in zip(variables, archive["variables"], strict=True):
        variable.assign(value)
        variable.trainable = trainable
    for part, (_, learnt) in zip(layers, archive["layers"], strict=True):
        _put_back(part, learnt)
    return layer


def is_plain(value):
    """True for values that mean the same elsewhere: numbers, texts, arrays, containers of them."""
    if isinstance(value, dict):
        # Text keys only: Keras has dicts by the `id` of a variable, which means nothing elsewhere.
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_plain, value))
    if isinstance(value, np.ndarray):
        return value.dtype != object
    return value is None or isinstance(value, str | bytes | int | float | np.generic | re.Pattern)


def _settings(layer):
    """Attributes that are values or users' functions, and the two that models' configs lack."""
    settings = {name: plain(value) for name, value in _own_attributes(layer).items()}
    kept = {k: v for k, v in settings.items() if is_plain(v) or _is_users_function(v)}
    return {"trainable": layer.trainable, "dtype_policy": layer.dtype_policy, **kept}


def _own_attributes(layer):
    return {name: value for name, value in vars(layer).items() if name not in layer_machinery()}


def _set(layer, settings):
    """Set attributes that the configuration leaves out, or that it names ambiguously."""
    for name, value in settings.items():
        if not _equal(plain(getattr(layer, name, _MISSING)), value):
            setattr(layer, name, value)


_MISSING = object()


def _equal(one, other):
    if type(one) is not type(other):
        return False
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def _learnt(layer):
    """State of a layer outside its variables, saved by its own methods; None without any."""
    import keras

    cls = type(layer)
    has_own = cls.load_own_variables is not keras.Layer.load_own_variables
    if not hasattr(cls, "load_assets") and (not has_own or is_keras(cls)):
        return None
    store, files = {}, {}
    layer.save_own_variables(store)
    if hasattr(cls, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            files = {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}
    return {name: keras.ops.convert_to_numpy(value) for name, value in store.items()}, files


def _put_back(layer, learnt):
    if learnt is not None:
        if load_tf_idf(layer, *learnt):
            return
        layer.load_own_variables(learnt[0])
        if hasattr(layer, "load_assets"):
            with tempfile.TemporaryDirectory() as folder:
                for name, content in learnt[1].items():
                    (pathlib.Path(folder) / name).write_bytes(content)
                layer.load_assets(folder)
    elif layer.variables and hasattr(layer, "finalize_state"):
        # As in Normalization, whose constants are computed from the adapted variables.
        layer.finalize_state()


def _custom_objects(layer):
    """Collect classes and functions that Keras may not find by the name it writes for them."""
    import keras

    found, seen, pending = {}, set(), sublayers(layer)
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, list | tuple):
            pending.extend(thing)
        elif isinstance(thing, dict):
            pending.extend(thing.values())
        elif _is_users_function(thing) and thing.__name__ != "<lambda>":
            found |= dict.fromkeys(_names(thing), thing)
        elif _is_keras_like(thing):
            if not is_keras(type(thing)):
                found |= dict.fromkeys(_names(type(thing)), type(thing))
            is_layer = isinstance(thing, keras.Layer)
            pending.extend((_own_attributes(thing) if is_layer else vars(thing)).values())
    return found


def _names(thing):
    import keras

    return thing.__name__, keras.saving.get_registered_name(thing)


def _is_keras_like(thing):
    """True for an instance of a Keras class or of a subclass, variables aside."""
    import keras

    if isinstance(thing, keras.Variable) or inspect.isclass(thing):
        return False
    return hasattr(thing, "__dict__") and any(is_keras(c) for c in type(thing).__mro__)


def _is_users_function(thing):
    return isinstance(thing, FunctionType) and not is_keras(thing)
