"""Arguments of ``keras.Model.compile``: a fresh optimizer, loss and metrics for every fit.

Users pass names, classes (or partials of them), instances, functions, Keras's serialised dicts, or
lists and dicts of these for several outputs. Instances are copied, so that fits share no state;
``copies`` is what the fit copies by, see `skkeras._keras_objects.copying.Copies`.
Parameters routed to them come by name, without the ``optimizer__``; `make_optimizer` and its
siblings raise ParameterNameError for one that nothing takes, ValueError for an unknown name or an
instance that can't be copied, and TypeError for a value of another type.
"""

import copy
import functools
import inspect
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import NamedTuple

import numpy as np

from skkeras._hints import suggestion
from skkeras._keras_objects.copying import Copies
from skkeras._keras_objects.internals import construct, constructor_names
from skkeras._params import (
    assign_routed,
    is_serialised,
    members_of,
)


class Kind(NamedTuple):
    """One of optimizer, loss and metrics: how Keras names, makes and checks them."""

    parameter: str
    module: ModuleType
    base: type
    copies: Copies
    # Names that Keras resolves only when it sees the shapes of the target and the output.
    deferred: tuple = ()


class Source(NamedTuple):
    """Origin of an object: the names it accepts, and how it is built from values."""

    accepted: frozenset
    build: Callable


def make_optimizer(value, routed, copies=None):
    """Make an optimizer of a fit's own; None for None, which takes no parameters.

    Examples
    --------
    >>> from skkeras._building.compile_args import make_optimizer
    >>> make_optimizer("sgd", {"learning_rate": 1, "momentum": 0.9}).momentum
    0.9
    """
    import keras

    kind = Kind("optimizer", keras.optimizers, keras.optimizers.Optimizer, copies or Copies())
    if value is None:
        assign_routed(kind.parameter, {}, routed)
        return None
    source = _source(kind, value)
    values = assign_routed(kind.parameter, {(): source.accepted}, routed)[()]
    return source.build(values)


def make_loss(value, routed, copies=None):
    """Make a loss of a fit's own, or one for each output.

    Parameters may be routed to an output, as in ``out__delta``. A name that none is routed to
    stays a name.

    Examples
    --------
    >>> from skkeras._building.compile_args import make_loss
    >>> make_loss("mse", {})
    'mse'
    >>> type(make_loss("huber", {"delta": 2.0})).__name__
    'Huber'
    """
    import keras

    deferred = ("crossentropy", "ce")
    kind = Kind("loss", keras.losses, keras.losses.Loss, copies or Copies(), deferred)
    return _make_structure(kind, value, routed)


def make_metrics(value, routed, copies=None):
    """Make the metrics of a fit's own: a list or dict.

    Parameters go to all metrics that take them, or by index or key to one, as in ``0__threshold``.
    A name that none is routed to stays a name; one that becomes an instance keeps its name, so
    that the history has the same keys.

    Examples
    --------
    >>> from skkeras._building.compile_args import make_metrics
    >>> make_metrics("accuracy", {})
    ['accuracy']
    >>> make_metrics(["mae", "binary_accuracy"], {"threshold": 0.3})
    ['mae', <BinaryAccuracy name=binary_accuracy>]
    """
    import keras

    deferred = ("accuracy", "acc", "crossentropy", "ce")
    kind = Kind("metrics", keras.metrics, keras.metrics.Metric, copies or Copies(), deferred)
    metrics = _make_structure(kind, value, routed)
    if metrics is None or (isinstance(metrics, list | dict) and not is_serialised(value)):
        return metrics
    # Keras takes no bare metric.
    return [metrics]


def _make_structure(kind, value, routed):
    """Make every leaf of a list, dict or single value, in the same structure."""
    members = dict(members_of(value))
    sources = {address: _source(kind, leaf) for address, leaf in members.items()}
    accepted = {address: source.accepted for address, source in sources.items()}
    assigned = assign_routed(kind.parameter, accepted, routed)
    made = {address: source.build(assigned[address]) for address, source in sources.items()}
    return _put_back(value, made)


def _put_back(value, made, address=()):
    if isinstance(value, dict) and not is_serialised(value):
        return {key: _put_back(item, made, (*address, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_put_back(item, made, (*address, str(i))) for i, item in enumerate(value)]
    return made[address]


def _source(kind, leaf):
    """Find out how to make the fit's own object from a user's value."""
    fixed = {}
    while isinstance(leaf, functools.partial) and inspect.isclass(leaf.func) and not leaf.args:
        fixed, leaf = {**leaf.keywords, **fixed}, leaf.func
    if leaf is None:
        return Source(frozenset(), lambda values: None)
    if isinstance(leaf, str):
        return _named_source(kind, leaf)
    if is_serialised(leaf):
        return _source(kind, _deserialise(kind, leaf))
    if inspect.isclass(leaf):
        return _class_source(kind, leaf, fixed)
    if isinstance(leaf, kind.base):
        return Source(
            constructor_names(type(leaf)),
            lambda values: kind.copies.instance(leaf, _plain(values, kind), kind.parameter),
        )
    if kind.parameter != "optimizer" and callable(leaf):
        return _function_source(kind, leaf)
    raise TypeError(
        f"Got {kind.parameter}={leaf!r} of type {type(leaf).__name__}; expected a name, a class "
        f"or an instance of keras.{kind.base.__module__.split('.')[-2]}, or its serialised dict."
    )


def _class_source(kind, cls, fixed):
    def build(values):
        made = construct(kind.parameter, cls, _plain({**fixed, **values}, kind))
        if not isinstance(made, kind.base) and (
            kind.parameter == "optimizer" or not callable(made)
        ):
            raise TypeError(
                f"Got {kind.parameter}={cls.__name__}; expected a subclass of "
                f"{kind.base.__name__} in {kind.module.__name__}."
            )
        return made

    return Source(constructor_names(cls), build)


def _function_source(kind, function):
    """Bind routed values to a function of (y_true, y_pred, ...), keeping its name."""

    def build(values):
        if values:
            bound = functools.partial(kind.copies.given(function), **_plain(values, kind))
            return functools.update_wrapper(bound, function)
        if isinstance(function, FunctionType | functools.partial):
            return kind.copies.given(function)
        return kind.copies.instance(function, {}, kind.parameter)

    try:
        parameters = list(inspect.signature(function).parameters.values())[2:]
    except (TypeError, ValueError):
        parameters = []
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return Source(frozenset(named), build)


def _named_source(kind, name):
    """Look a name up as Keras does, and find the class behind a function's name."""
    import keras

    if name.lower() in kind.deferred:
        return Source(frozenset(), lambda values: name)
    classes = {_normalised(cls.__name__): cls for cls in _classes(kind)}
    is_optimizer = kind.parameter == "optimizer"
    found = classes.get(_normalised(name)) if is_optimizer else _get(kind, name)
    if found is None:
        registered = keras.saving.get_registered_object(name)
        if registered is not None:
            return _source(kind, registered)
        raise ValueError(
            f"Got {kind.parameter}={name!r}, which Keras does not know. "
            f"{suggestion(name, _known_names(kind))} Or pass a class or an instance."
        )
    if inspect.isfunction(found):
        found = classes.get(_normalised(found.__name__), found)
    elif not inspect.isclass(found):
        found = type(found)
    made = _source(kind, found)
    if is_optimizer:
        return made
    named = {"name": name} if "name" in made.accepted else {}
    return Source(made.accepted, lambda values: made.build({**named, **values}) if values else name)


def _get(kind, name):
    try:
        return kind.module.get(name)
    except ValueError:
        return None


def _deserialise(kind, config):
    try:
        # Keras writes into the dict it is given.
        made = kind.module.deserialize(copy.deepcopy(config))
    except (TypeError, ValueError) as error:
        made, obstacle = None, error
    else:
        # Keras may return the name of an object that it cannot find.
        obstacle = f"there is no {made!r}."
    if made is None or isinstance(made, str):
        raise ValueError(
            f"Got {kind.parameter}={config!r}, which Keras cannot deserialise: {obstacle} "
            f"Expected a dict as of {kind.module.__name__}.serialize. A custom class has to be "
            "registered with keras.saving.register_keras_serializable."
        )
    return made


def _normalised(name):
    return name.replace("_", "").lower()


def _classes(kind):
    found = (getattr(kind.module, name) for name in dir(kind.module))
    return [
        cls
        for cls in found
        if inspect.isclass(cls) and issubclass(cls, kind.base) and cls is not kind.base
    ]


def _known_names(kind):
    if kind.parameter == "optimizer":
        return {cls.__name__.lower() for cls in _classes(kind)}
    functions = {
        name for name in dir(kind.module) if inspect.isfunction(getattr(kind.module, name))
    }
    names = functions | {cls.__name__ for cls in _classes(kind)} | set(kind.deferred)
    return names - {"get", "serialize", "deserialize"}


def _plain(values, kind):
    """Convert NumPy scalars, and the learning rates that grids give, for Keras."""
    return {name: _plain_value(name, value, kind.copies) for name, value in values.items()}


def _plain_value(name, value, copies):
    import keras

    if isinstance(value, np.generic):
        value = value.item()
    value = copies.given(value)
    if name != "learning_rate":
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if is_serialised(value):
        return keras.optimizers.schedules.deserialize(copy.deepcopy(value))
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return copies.instance(value, {}, "optimizer__learning_rate")
    return value
