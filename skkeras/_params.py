"""Routed parameters: how ``model__units=64`` reaches the argument ``units`` of a builder.

An estimator's constructor takes ``prefix__name`` keywords beside its declared parameters. None
of them has to be declared first: which names are right depends on the builder, the optimizer or
the loss that is set at the time, so names are checked against those callables' signatures, with
the nearest right one as advice, before anything is called. A builder is any callable: function,
lambda, partial, bound method, class or callable object.
"""

import functools
import inspect
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from skkeras._hints import advice, suggestion
from skkeras.exceptions import BuilderError, ParameterNameError

PREFIXES = (
    *("model", "optimizer", "loss", "metrics", "callbacks", "early_stopping"),
    *("fit", "predict", "compile"),
)


def check_routed_name(name, declared, model=None):
    """Raise unless a keyword has the form ``prefix__name`` with a known prefix.

    TypeError without a ``__``, since it was meant as a parameter of the constructor: one of
    ``declared`` or a hyperparameter of ``model`` is suggested. Otherwise ParameterNameError.
    """
    prefix, delimiter, rest = name.partition("__")
    if not delimiter:
        instead = advice(name, declared, PREFIXES, _hyperparameters(model))
        raise TypeError(
            f"Got an unexpected keyword argument {name!r}; expected a parameter of the estimator "
            f"or a routed one, such as model__units=64. {instead}"
        )
    if prefix not in PREFIXES:
        raise ParameterNameError(
            f"Got the parameter {name!r}, and {prefix!r} is not a prefix that parameters can be "
            f"routed by. {suggestion(prefix, PREFIXES)}"
        )
    if not rest:
        raise ParameterNameError(
            f"Got the parameter {name!r}; expected a name after '{prefix}__', such as "
            "model__units or optimizer__learning_rate."
        )


def split_routed(routed):
    """Group routed parameters: a dict by name for every known prefix, empty where none was given.

    NumPy's scalars, as from a grid ``np.arange(4, 9)``, become Python's: Keras's layers want those.

    Examples
    --------
    >>> from skkeras._params import split_routed
    >>> groups = split_routed({"model__units": 64, "callbacks__0__patience": 3})
    >>> groups["model"], groups["callbacks"], groups["optimizer"]
    ({'units': 64}, {'0__patience': 3}, {})
    """
    groups = {prefix: {} for prefix in PREFIXES}
    for name, value in routed.items():
        prefix, _, rest = name.partition("__")
        groups[prefix][rest] = python_scalars(value)
    return groups


def python_scalars(value):
    """Replace NumPy's numbers, bools and strings by Python's, also inside lists, tuples and dicts.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._params import python_scalars
    >>> python_scalars((np.int64(4), [np.float32(0.5), np.str_("relu")]))
    (4, [0.5, 'relu'])
    """
    if isinstance(value, np.number | np.bool_ | np.str_):
        return value.item()
    if type(value) is dict:
        return {key: python_scalars(item) for key, item in value.items()}
    return type(value)(map(python_scalars, value)) if type(value) in (list, tuple) else value


def members_of(value, address=()):
    """Yield the members of nested lists, tuples and dicts with their addresses (indices, keys).

    A dict that serialises a Keras object is a member itself.

    Examples
    --------
    >>> from skkeras._params import members_of
    >>> list(members_of({"out": ["mse", "mae"]}))
    [(('out', '0'), 'mse'), (('out', '1'), 'mae')]
    """
    if is_serialised(value) or not isinstance(value, dict | list | tuple):
        yield address, value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from members_of(item, (*address, str(key)))


def is_serialised(value):
    return isinstance(value, dict) and "class_name" in value and "config" in value


# Among the names that something accepts: its own ``**kwargs``, which may take others as well.
ANY = "**kwargs"


def assign_routed(prefix, members, routed):
    """Decide which member of a structure each routed parameter goes to.

    ``metrics__threshold`` goes to every metric that takes a threshold, ``metrics__0__threshold``
    to the first of a list, ``metrics__out__threshold`` to the ones under a dict's key. The longer
    address wins. ``members`` maps each member's address (see `members_of`) to the names that it
    accepts, `ANY` among them for a ``**kwargs``: it gets what no other takes by name. The returned
    dict maps it to its values by name.
    Raises ParameterNameError if an address or a name is unknown.

    Examples
    --------
    >>> from skkeras._params import assign_routed
    >>> members = {("0",): {"patience"}, ("1",): {"patience", "factor"}}
    >>> assign_routed("callbacks", members, {"1__patience": 9, "patience": 3, "factor": 0.5})
    {('0',): {'patience': 3}, ('1',): {'patience': 9, 'factor': 0.5}}
    """
    if routed and not members:
        raise ParameterNameError(
            f"Got the parameter '{prefix}__{next(iter(routed))}', and no {prefix}; expected "
            f"{prefix}=... with one that takes it."
        )
    assigned = {address: {} for address in members}
    for route in sorted(routed, key=lambda route: route.count("__")):
        *start, name = route.split("__")
        reached = [address for address in members if list(address[: len(start)]) == start]
        if not reached:
            addresses = {"__".join(address) for address in members if address}
            raise ParameterNameError(
                f"Got the parameter '{prefix}__{route}', and there is no {'__'.join(start)!r} in "
                f"{prefix}. {suggestion('__'.join(start), addresses)}"
            )
        takers = [address for address in reached if name in members[address]]
        if not takers and name.isidentifier():
            takers = [address for address in reached if ANY in members[address]]
        if not takers:
            names = set().union(*(members[address] for address in reached)) - {ANY}
            raise ParameterNameError(
                f"Got the parameter '{prefix}__{route}', but nothing in {prefix} takes {name!r}. "
                f"{suggestion(name, names)}"
            )
        for address in takers:
            assigned[address][name] = routed[route]
    return assigned


def changed_names(before, after):
    """List the parameters that were changed, added or removed.

    Examples
    --------
    >>> from skkeras._params import changed_names
    >>> changed_names({"loss": "mse", "model__units": 8}, {"loss": "mse", "model__units": 16})
    ['model__units']
    """
    return [name for name in {**before, **after} if not _is_same(before, after, name)]


def _is_same(before, after, name):
    if name not in before or name not in after:
        return False
    one, other = before[name], after[name]
    try:
        return one is other or (type(one) is type(other) and np.array_equal(one, other))
    except (TypeError, ValueError):
        return False


class _Declared:
    """Attribute for a routed parameter that a subclass declares, such as ``model__units=16``.

    Its value is among the other routed ones, whether ``__init__`` sets it or passes it on.
    """

    def __init__(self, name):
        self._name = name

    def __get__(self, estimator, cls=None):
        if estimator is None:
            return self
        try:
            return estimator._routed[self._name]
        except KeyError:
            raise AttributeError(
                f"{type(estimator).__name__}.__init__ takes {self._name!r} and drops it, so the "
                "net would be made without; expected an attribute of that name. Write "
                f"self.{self._name} = {self._name} in __init__, or pass it on by "
                f"super().__init__({self._name}={self._name}, ...)."
            ) from None

    def __set__(self, estimator, value):
        estimator._routed = {**estimator._routed, self._name: value}


def _declared_routed(cls):
    """List the routed parameters in a class's signature."""
    return [
        name
        for name in cls.__signature__.parameters
        if name.partition("__")[0] in PREFIXES and "__" in name
    ]


def _hyperparameters(builder):
    return builder_parameters(builder)[0].keys() if callable(builder) else ()


class RoutedParamsMixin:
    """Mixin for estimators whose ``__init__`` takes ``**routed`` beside its parameters.

    Put it before :class:`sklearn.base.BaseEstimator`, and call ``self._store_routed(routed)``
    in ``__init__``. Routed parameters then take part in ``get_params``, ``set_params``,
    ``clone``, grids, representations, copies and pickles. Their values are kept as they are.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator, clone
    >>> from skkeras._params import RoutedParamsMixin
    >>> class Net(RoutedParamsMixin, BaseEstimator):
    ...     def __init__(self, model=None, *, epochs=10, **routed):
    ...         self.model = model
    ...         self.epochs = epochs
    ...         self._store_routed(routed)
    >>> clone(Net(model__units=64)).set_params(optimizer__learning_rate=0.1)
    Net(model__units=64, optimizer__learning_rate=0.1)
    >>> Net(epoch=3)
    Traceback (most recent call last):
    ...
    TypeError: Got an unexpected keyword argument 'epoch'; expected a parameter of the estimator \
or a routed one, such as model__units=64. Did you mean 'epochs'? Accepted: 'epochs', 'model'.
    """

    # Replaced as a whole and never written to, so that shallow copies stay independent.
    _routed: Mapping = MappingProxyType({})

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # scikit-learn takes every parameter of the signature for a declared one: its
        # `check_do_not_raise_errors_in_init_or_set_params` would pass `routed=...` by that name.
        cls.__signature__ = declared_signature(cls)
        for name in _declared_routed(cls):
            if not hasattr(cls, name):
                setattr(cls, name, _Declared(name))

    def _store_routed(self, routed):
        """Keep routed parameters; for ``__init__``, where a wrong keyword is a TypeError."""
        for name in routed:
            check_routed_name(name, type(self).__signature__.parameters, self._builder())
        # A subclass may have set those that it declares before.
        self._routed = {**self._routed, **routed}

    def _check_declared_routed(self):
        """Raise AttributeError for a routed parameter that ``__init__`` declares and drops."""
        for name in _declared_routed(type(self)):
            getattr(self, name)

    def _builder(self):
        """Return the builder of the nets, if it is known, for advice in messages."""
        return getattr(self, "model", None)

    def _check_routed_names(self):
        """Check ``model__`` names against the builder; called after every ``set_params``."""
        model = getattr(self, "model", None)
        if callable(model):
            check_builder_names(model, split_routed(self._routed)["model"])

    def get_params(self, deep=True):
        """Get the parameters of this estimator, routed ones included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of parameters that are estimators themselves.

        Returns
        -------
        params : dict
            Values by name.
        """
        params = super().get_params(deep=deep)
        for name in type(self).__signature__.parameters:
            if name not in params:
                params[name] = getattr(self, name)
        return {**params, **self._routed}

    def set_params(self, **params):
        """Set parameters of this estimator, routed ones without declaring them first.

        Names are checked when all are set, so a builder and its hyperparameters can be given in
        any order. If a name is wrong, nothing changes.

        Parameters
        ----------
        **params : dict
            Values by name: declared parameters, or ``prefix__name``.

        Returns
        -------
        self : object
            This estimator.

        Raises
        ------
        ParameterNameError
            If a routed name is one that nothing takes.
        """
        if not params:
            return self
        routed = {}
        declared = {}
        for name, value in params.items():
            is_routed = "__" in name and not self._reaches_estimator(name)
            (routed if is_routed else declared)[name] = value
        known = type(self).__signature__.parameters
        for name in routed:
            check_routed_name(name, known)
        for name in declared.keys() - known.keys():
            if "__" not in name:
                raise ParameterNameError(
                    f"Invalid parameter {name!r} for estimator {self}. "
                    f"{advice(name, known, PREFIXES, _hyperparameters(self._builder()))}"
                )
        before = dict(vars(self))
        try:
            super().set_params(**declared)
            self._routed = {**self._routed, **routed}
            self._check_routed_names()
        except Exception:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _reaches_estimator(self, name):
        """Tell ``scaler__with_mean`` of a parameter that is an estimator from a routed name."""
        prefix = name.partition("__")[0]
        return prefix not in PREFIXES and hasattr(getattr(self, prefix, None), "set_params")


# Facts that a builder may ask for by naming them; all other parameters are hyperparameters.
FACTS = (
    *("input_shape", "n_outputs", "n_classes", "output_activation", "output_scaling"),
    *("meta", "compile_kwargs", "X"),
)


def describe(target):
    """Name a callable or an object for an error message."""
    while isinstance(target, functools.partial):
        target = target.func
    return getattr(target, "__name__", None) or type(target).__name__


def builder_parameters(builder):
    """Read a builder's parameters that can be named, in order, and whether it has ``**kwargs``.

    Raises BuilderError if Python cannot tell, as for some functions written in C.
    """
    try:
        parameters = inspect.signature(builder).parameters
    except (TypeError, ValueError) as error:
        raise BuilderError(
            f"Got model={describe(builder)}, whose parameters cannot be read ({error}); expected "
            "a callable with a signature. Wrap it in a function that names what it takes."
        ) from error
    kinds = {parameter.kind for parameter in parameters.values()}
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    return named, inspect.Parameter.VAR_KEYWORD in kinds


def check_builder_names(builder, names, facts=FACTS):
    """Raise ParameterNameError if a builder does not take all hyperparameters, without calling it.

    ``facts`` are names that the estimator fills in: they aren't suggested.
    """
    parameters, takes_any = builder_parameters(builder)
    if takes_any:
        return
    for name in names:
        if name not in parameters:
            raise ParameterNameError(
                f"Got the parameter 'model__{name}', but the builder {describe(builder)!r} takes "
                f"no {name!r}. {suggestion(name, set(parameters) - set(facts))}"
            )


def check_keywords(prefix, method, names, taken=()):
    """Raise ParameterNameError if a method does not take all parameters routed to it.

    ``taken`` holds reserved names, as ``prefix__name``, which the estimator passes itself.

    Examples
    --------
    >>> from skkeras._params import check_keywords
    >>> check_keywords("sort", [].sort, ["revers"])
    Traceback (most recent call last):
    ...
    skkeras.exceptions.ParameterNameError: Got the parameter 'sort__revers', but 'sort' takes no \
    'revers'. Did you mean 'reverse'? Accepted: 'key', 'reverse'.
    """
    if not names:
        return  # reading a signature takes long, next to a short fit
    parameters, takes_any = builder_parameters(method)
    for name in names:
        if name not in parameters and not takes_any:
            accepted = {option for option in parameters if f"{prefix}__{option}" not in taken}
            raise ParameterNameError(
                f"Got the parameter '{prefix}__{name}', but {describe(method)!r} takes no "
                f"{name!r}. {suggestion(name, accepted)}"
            )


def call_builder(builder, facts, hyperparameters):
    """Call a builder with the facts that it names and all hyperparameters.

    A value that a partial has already bound wins over a fact, and a hyperparameter over both.
    Raises ParameterNameError if the builder does not take a hyperparameter, BuilderError if it
    requires a parameter that is neither a fact nor a hyperparameter.

    Examples
    --------
    >>> from skkeras._params import call_builder
    >>> def build(input_shape, units=10):
    ...     return input_shape, units
    >>> call_builder(build, {"input_shape": (4,), "n_outputs": 1}, {"units": 64})
    ((4,), 64)
    """
    check_builder_names(builder, hyperparameters, facts)
    parameters, _ = builder_parameters(builder)
    bound = builder.keywords if isinstance(builder, functools.partial) else {}
    arguments = {name: facts[name] for name in parameters if name in facts and name not in bound}
    arguments.update(hyperparameters)
    _check_required(builder, parameters, arguments, facts)
    positional = []
    for name, parameter in parameters.items():
        if parameter.kind is not parameter.POSITIONAL_ONLY:
            break
        if name not in arguments and parameter.default is not parameter.empty:
            positional.append(parameter.default)
        else:
            positional.append(arguments.pop(name))
    return builder(*positional, **arguments)


def _check_required(builder, parameters, arguments, facts):
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in arguments
    ]
    if missing:
        name = missing[0]
        raise BuilderError(
            f"The builder {describe(builder)!r} requires {name!r}, which is neither given nor a "
            f"fact about the data. Give it as model__{name}=..., or give it a default in the "
            f"builder, or name one of the facts: {', '.join(map(repr, sorted(facts)))}."
        )


def declared_signature(cls):
    """Signature of a class's constructor: inherited parameters too, no ``self``, no ``**kwargs``.

    A subclass whose ``__init__`` passes its ``**kwargs`` to its parent's has the parent's
    parameters, too, as keywords only.
    """
    declared = {}
    for klass in cls.__mro__:
        init = vars(klass).get("__init__")
        if not inspect.isfunction(init):
            continue
        own = list(inspect.signature(init).parameters.values())[1:]
        for parameter in own:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                # Inherited parameters travel through **kwargs, so they can only be keywords.
                kind = parameter.KEYWORD_ONLY if declared else parameter.kind
                declared.setdefault(parameter.name, parameter.replace(kind=kind))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            break
    return inspect.Signature(sorted(declared.values(), key=lambda parameter: parameter.kind))
