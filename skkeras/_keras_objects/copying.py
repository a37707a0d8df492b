"""Faithful copies of Keras objects, within a process and through pickles.

Keras's own copies, by ``copy.deepcopy`` and ``pickle`` alike, go through ``get_config`` and lose
whatever it leaves out: in Keras 3.15 the ``delta`` of ``Huber`` (see
https://github.com/keras-team/keras/pull/23286), parameters of users' classes, everything about
functions but their names, so that a user's ``huber`` comes back as Keras's.

So losses and metrics are copied attribute by attribute. Optimizers are constructed anew, if their
configuration is complete. Layers and models are constructed anew, too, get all values and settings
afterwards (see `layers`), and are compared with the original.
"""

import contextlib
import copy
import dataclasses
import functools
import inspect
import json
import sys
import textwrap
from collections.abc import Sequence
from types import FunctionType

from skkeras._keras_objects.fingerprint import fingerprint, is_shareable
from skkeras._keras_objects.held import ATOMS, Finder, Held, holds_variables
from skkeras._keras_objects.internals import (
    compile_arguments,
    configuration,
    is_keras,
    is_layer,
    make_seeded,
    metric_machinery,
    plain,
    sublayers,
)
from skkeras._keras_objects.layers import is_plain, read_archive, write_archive
from skkeras._params import declared_signature, describe

# A compiled model's attributes that its copy must agree in.
_COMPILED = ("optimizer", "loss")


class Packed:
    """Placeholder for a Keras object; unpickling or deep-copying rebuilds it as ``make(*parts)``.

    ``make`` is a function of a module, since pickles refer to it by name; ``parts`` may contain
    other placeholders.
    """

    def __init__(self, make, *parts):
        self.make = make
        self.parts = parts

    def __reduce__(self):
        return self.make, self.parts

    def __deepcopy__(self, memo):
        return self.make(*copy.deepcopy(self.parts, memo))


class Kept(Packed):
    """Placeholder for an object that copies share, as it stands for something outside."""

    def __init__(self, thing):
        super().__init__(_itself, thing)

    def __deepcopy__(self, memo):
        return self.parts[0]


class NotPickled(Kept):
    """Placeholder for an object that copies share, and that a pickle has None for."""

    def __reduce__(self):
        return type(None), ()


def _itself(thing):
    return thing


def has_placeholders(value):
    """True if dicts, lists or tuples, or attributes of a callback, hold a placeholder."""
    if isinstance(value, Packed):
        return True
    if hasattr(value, "on_epoch_begin"):
        value = vars(value)
    parts = value.values() if isinstance(value, dict) else value
    return isinstance(parts, list | tuple | type({}.values())) and any(map(has_placeholders, parts))


def pack(value, packed=None):
    """Replace Keras objects in a value by placeholders, to pickle or deep-copy it faithfully.

    Without such the value itself is returned, otherwise a copy of it, with the same variables.
    Objects rebuilt from it have no state: metrics are at zero, and optimizers aren't built. Handles
    (see `skkeras._keras_objects.held`) stay what they are in a deep copy. ``packed`` holds
    placeholders by the ``id`` of the original, for objects that occur more than once. Raises
    ValueError if an object has no faithful copy.

    Examples
    --------
    >>> import copy, keras
    >>> from skkeras._keras_objects.copying import pack
    >>> huber = keras.losses.Huber(delta=3.0)
    >>> float(huber([[0.0]], [[9.0]])), float(copy.deepcopy(huber)([[0.0]], [[9.0]]))
    (22.5, 8.5)
    >>> float(copy.deepcopy(pack(huber))([[0.0]], [[9.0]]))
    22.5
    """
    if isinstance(value, ATOMS) or "keras" not in sys.modules:
        return value
    packed = {} if packed is None else packed
    finder = Finder()
    finder.dump(value)
    for model in finder.spent:
        # A callback keeps the model of its last fit; the next fit replaces it.
        packed[id(model)] = Packed(type(None))
    for handle in finder.handles:
        packed[id(handle)] = Kept(handle)
    for function in finder.made_by_fits:
        packed[id(function)] = NotPickled(function)
    for thing in finder.found:
        if id(thing) not in packed:
            packed[id(thing)] = _pack_object(thing, packed)
    replaced = finder.found or finder.handles or finder.made_by_fits
    if not (replaced or any(id(variable) in packed for variable in finder.variables)):
        return value
    # deepcopy replaces every object that its memo has an entry for.
    return copy.deepcopy(value, {**{id(one): one for one in finder.variables}, **packed})


def pack_together(values):
    """Pack each of a dict's values so that copies share what the originals share.

    That are variables, and also layers and variables of a model that is among them.
    """
    packed = {}
    if "keras" not in sys.modules:
        return values
    finder = Finder()
    finder.dump(values)
    for thing in finder.found:
        if is_layer(thing) and len(finder.found) + len(finder.variables) > 1:
            packed |= _packed_parts(thing, packed)
    return {name: pack(value, packed) for name, value in values.items()}


def _packed_parts(model, packed):
    """Placeholders for a model, and for the layers and variables in it."""
    whole = packed.get(id(model)) or _pack_object(model, packed)
    parts = {
        id(part): Packed(_part_of, whole, kind, number)
        for kind, parts in (("layers", sublayers(model)), ("variables", model.variables))
        for number, part in enumerate(parts)
    }
    return {**parts, **packed, id(model): whole}


def _part_of(model, kind, number):
    return (sublayers(model) if kind == "layers" else model.variables)[number]


@dataclasses.dataclass(eq=False)
class Copies:
    """The copies that one fit makes of what its caller gave: shared variables stay shared.

    ``shared`` are variables that two of the caller's objects hold. The fit has one of its own for
    each, made when the first thing is copied, and all its copies hold that one. ``template`` layers
    and variables become those of the net that was made from it, wherever a callback holds one.

    Examples
    --------
    >>> import keras
    >>> from skkeras._keras_objects.copying import Copies
    >>> rate = keras.Variable(1.0)
    >>> copies = Copies([rate])
    >>> one, two = copies.copy([rate]), copies.copy({"rate": rate})
    >>> one[0] is two["rate"], one[0] is rate
    (True, False)
    """

    shared: Sequence = ()
    # Pairs of other things: instances, layers of a template.
    _parts: dict = dataclasses.field(default_factory=dict, init=False)

    @functools.cached_property
    def _pairs(self):
        return {id(one): (one, copy.deepcopy(one)) for one in self.shared}

    @property
    def pairs(self):
        """Pairs of a shared variable and this fit's own."""
        return [*self._pairs.values()]

    def copy(self, value):
        """Copy a value faithfully."""
        return copy.deepcopy(pack(value), self._memo())

    def given(self, value):
        """Return a parameter's value as it is, or a copy if it holds variables."""
        if isinstance(value, ATOMS) or not holds_variables(value):
            return value
        return self.copy(value)

    def callbacks(self, callbacks):
        """Copy callbacks together: what the net was made from is the net's part, wherever held."""
        packed = {key: Kept(own) for key, (_, own) in self._parts.items()}
        return copy.deepcopy(pack(callbacks, packed), self._memo())

    def instance(self, value, values, parameter):
        """Copy an optimizer, loss, metric, learning rate schedule or callable, without its state.

        ``values`` replace entries of its configuration; ``parameter`` is the estimator's parameter
        that it was given for, for the message of the ValueError if there is no faithful copy.
        """
        copied = self._instance(value, values, parameter)
        self._parts[id(value)] = value, copied
        return copied

    def _instance(self, value, values, parameter):
        if not values:
            with contextlib.suppress(Exception):
                return self.copy(value)
        return copy.deepcopy(_pack_by_config(value, values, parameter, {}), self._memo())

    def model(self, template):
        """Copy a built model, or raise ValueError."""
        model = pack_model(template, memo=self._memo())[1]
        self.adopt(template, model)
        return model

    def adopt(self, template, model):
        """Take a model's layers and variables for those of its template."""
        pairs = zip(sublayers(template), sublayers(model), strict=True)
        self._parts |= {id(one): (one, own) for one, own in pairs}
        self.replace(zip(template.variables, model.variables, strict=True))

    def again(self, model):
        """Copies by which the model is made again, with the same variables where it isn't data."""
        data = {id(variable) for variable in model.variables}
        again = Copies(self.shared)
        again.replace((one, own) for one, own in self.pairs if id(own) not in data)
        return again

    def replace(self, pairs):
        """Let other variables be this fit's own; those that aren't shared don't count."""
        self._pairs |= {id(one): (one, own) for one, own in pairs if id(one) in self._pairs}

    def _memo(self):
        return {key: own for key, (_, own) in self._pairs.items()}


def pack_model(model, packed=None, memo=None):
    """Pack a layer or model: architecture, weights and compile settings, no optimizer's state.

    Returns the placeholder, and the copy that was made to check it, with ``memo`` as in
    `copy.deepcopy`. Raises ValueError if there is no faithful copy.
    """
    try:
        arguments = _all_compile_arguments(model)
        stand_in = Packed(_restore_layer, write_archive(model), pack(arguments, packed))
        copied = copy.deepcopy(stand_in, memo)
        # Fingerprints tell variables that a loss holds by their identity.
        held = {id(one): one for one in Held(arguments).variables}
        check_same(model, copy.deepcopy(stand_in, held) if held else copied)
    except OSError:
        raise  # a full disk, perhaps: no fault of the model's
    except Exception as error:
        obstacle = textwrap.shorten(str(error), 300).rstrip(".")
        raise ValueError(
            f"Got the {type(model).__name__} {model.name!r}, which cannot be copied or saved: "
            f"{obstacle}. Pass a function that makes it, as the builder of an estimator, or give "
            "its classes a complete get_config."
        ) from error
    return stand_in, copied


def compile_anew(model, optimizer=None):
    """Compile a model as it is compiled already, with another optimizer.

    None is a copy of its own, without state. Raises ValueError if the settings can't be read.
    """
    arguments = _all_compile_arguments(model)
    optimizer = optimizer or Copies().instance(model.optimizer, {}, "optimizer")
    # An optimizer that scales its loss is wrapped already.
    model.compile(**{**arguments, "optimizer": optimizer}, auto_scale_loss=False)


def check_same(model, other):
    """Raise ValueError unless two layers or models do the same, values of their variables aside.

    Models' losses and optimizers have to agree, too.
    """
    same_whole = _fingerprint(model) == _fingerprint(other)
    if _shapes(model) != _shapes(other) or not (same_whole or _same_parts(model, other)):
        raise ValueError("what comes back is another net")


def _pack_object(thing, packed):
    import keras

    if isinstance(thing, keras.optimizers.Optimizer):
        return _pack_by_config(thing, {}, "optimizer", packed)
    if isinstance(thing, keras.Layer):
        return pack_model(thing, packed)[0]
    is_metric = isinstance(thing, keras.metrics.Metric)
    try:
        made = _pack_metric(thing, packed) if is_metric else _pack_loss(thing, packed)
        copy.deepcopy(made)
    except Exception:
        return _pack_by_config(thing, {}, "metrics" if is_metric else "loss", packed)
    return made


# Losses and metrics


def _pack_loss(loss, packed):
    return Packed(_restore_loss, type(loss), pack(vars(loss), packed))


def _restore_loss(cls, attributes):
    loss = object.__new__(cls)
    vars(loss).update(attributes)
    return loss


def _pack_metric(metric, packed):
    # The tracker of variables can't be pickled; a new metric brings its own.
    attributes = {k: v for k, v in vars(metric).items() if k not in metric_machinery()}
    attributes = pack(plain(attributes), packed)
    return Packed(_restore_metric, type(metric), metric.name, metric.dtype, attributes)


def _restore_metric(cls, name, dtype, attributes):
    import keras

    metric = object.__new__(cls)
    keras.metrics.Metric.__init__(metric, name=name, dtype=dtype)
    for attribute, part in attributes.items():
        setattr(metric, attribute, part)
    metric.reset_state()
    return metric


# Optimizers, and whatever else has a configuration


def _pack_by_config(value, values, parameter, packed):
    """Pack the configuration with some values replaced; raise if it is incomplete."""
    config, obstacle = _faithful_config(value, values)
    if config is not None:
        try:
            parts = type(value), pack({**config, **values}, packed)
            rebuilt = copy.deepcopy(Packed(_construct, *parts, {}))
        except Exception as error:
            obstacle = f"from_config fails: {error}"
        else:
            extra, obstacle = _set_afterwards(value, rebuilt)
            if obstacle is None:
                return Packed(_construct, *parts, extra)
    purpose = f"rebuilt with {', '.join(values)}" if values else "copied, so fits would share it"
    raise ValueError(
        f"Got {parameter}={describe(value)}(...), an instance that cannot be {purpose}: "
        f"{obstacle}. Pass the class instead, and all its parameters as {parameter}__name=..., "
        "or give the class a complete get_config."
    )


def _construct(cls, config, extra):
    # from_config of a wrapper deserialises its parts, which are objects already here.
    holds = any(hasattr(config[name], "__dict__") for name in config.keys() - {"learning_rate"})
    made = cls(**config) if holds else cls.from_config(dict(config))
    vars(made).update(extra)
    return made


def _set_afterwards(value, rebuilt):
    """Find attributes set after construction, as by ``AdamW.exclude_from_weight_decay``."""
    built = getattr(value, "built", False)
    extra = {}
    for name in set(vars(value)) - set(vars(rebuilt)):
        part = plain(vars(value)[name])
        if is_plain(part):
            extra[name] = part
        elif not built:
            return {}, f"its attribute {name!r} was set after it was constructed"
        # Attributes made by `build` are state, which a copy must not have.
    return extra, None


def _faithful_config(value, values):
    """Return a complete configuration and None, or None and the obstacle."""
    try:
        config = dict(_readable(value).get_config())
    except Exception as error:
        return None, f"its get_config() fails: {error}"
    config |= _unserialised(value, config)
    for name, parameter in declared_signature(type(value)).parameters.items():
        if name in config or name in values:
            continue
        if name == "dtype" and hasattr(value, "dtype"):
            config[name] = value.dtype
        elif name in vars(value):
            if vars(value)[name] is not parameter.default:
                config[name] = vars(value)[name]
        elif not _is_settled(value, name, parameter):
            return None, f"its get_config() leaves out {name!r}"
    functions = [name for name, part in config.items() if _is_function(part)]
    if set(functions) - set(values):
        return None, f"its get_config() holds a function, {functions[0]!r}, by name only"
    return config, None


def _is_settled(value, name, parameter):
    """True for a required parameter that the class itself passes to its parent."""
    own = inspect.signature(type(value).__init__).parameters
    return name not in own and parameter.default is parameter.empty


def _readable(value):
    """View of an optimizer without its learning rate schedule, which may lack a get_config."""
    import keras

    if not isinstance(value, keras.optimizers.Optimizer):
        return value
    view = object.__new__(type(value))
    for name, part in vars(value).items():
        scheduled = isinstance(part, keras.optimizers.schedules.LearningRateSchedule)
        vars(view)[name] = 0.0 if scheduled or isinstance(part, FunctionType) else _readable(part)
    return view


def _unserialised(value, config):
    """Find the objects that a configuration serialises: Keras may not know their classes."""
    attributes = vars(value)
    parts = {name: attributes.get(name, attributes.get(f"_{name}")) for name in config}
    return {
        name: parts[name]
        for name, entry in config.items()
        if (isinstance(entry, dict) and not isinstance(parts[name], dict | None))
        or (name == "learning_rate" and callable(parts[name]))
    }


def _is_function(part):
    return isinstance(part, dict) and part.get("class_name") in ("function", "__lambda__")


# Layers and models


def _restore_layer(archive, compile_arguments):
    def make():
        layer = read_archive(archive)
        if compile_arguments is not None:
            # An optimizer that scales its loss is wrapped already.
            layer.compile(**compile_arguments, auto_scale_loss=False)
        return layer

    return make_seeded(make, seed=0)


def _all_compile_arguments(layer):
    import keras

    if not getattr(layer, "compiled", False):
        return None
    if type(layer).compile is not keras.Model.compile:
        raise ValueError(f"{type(layer).__name__} has a compile method of its own")
    arguments = compile_arguments(layer)
    if arguments is None:
        raise ValueError("what it was compiled with can't be read")
    return {**arguments, "optimizer": layer.optimizer}


def _fingerprint(model):
    return fingerprint(model, *[getattr(model, name, None) for name in _COMPILED])


def _shapes(model):
    return [(variable.name, tuple(variable.shape), variable.dtype) for variable in model.variables]


def _same_parts(model, other):
    """Compare layers one by one, and their wiring by Keras's own description.

    Whole fingerprints can't tell of unreadable objects; wired models have no code but Keras's.
    """
    import keras

    if len({json.dumps(configuration(one), default=str) for one in (model, other)}) > 1:
        return False
    one, two = sublayers(model), sublayers(other)
    is_wired = [isinstance(layer, keras.Model) and is_keras(type(layer)) for layer in one]
    pairs = [(a, b) for a, b, wired in zip(one, two, is_wired, strict=True) if not wired]
    pairs += [(getattr(model, name, None), getattr(other, name, None)) for name in _COMPILED]
    digests = [(fingerprint(a), fingerprint(b)) for a, b in pairs]
    return all(a == b or not (is_shareable(a) and is_shareable(b)) for a, b in digests)
