"""Signatures: the parameters of a builder, method or class, and calling a builder with them.

Wrong names are refused before anything is called, with the nearest right one. A builder is any
callable: function, lambda, partial, bound method, class or callable object.
"""

import functools
import inspect

from skkeras._hints import suggestion
from skkeras.exceptions import BuilderError, ParameterNameError

# Facts that a builder may ask for by naming them; all other parameters are hyperparameters.
FACTS = (
    "input_shape",
    "n_outputs",
    "n_classes",
    "output_activation",
    "meta",
    "compile_kwargs",
    "X",
)


def describe(target):
    """Name a callable or an object for an error message.

    Examples
    --------
    >>> from functools import partial
    >>> from skkeras._signatures import describe
    >>> describe(partial(sorted, reverse=True)), describe(3)
    ('sorted', 'int')
    """
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
    >>> from skkeras._signatures import check_keywords
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
    >>> from skkeras._signatures import call_builder
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
