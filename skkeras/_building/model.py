"""Models that a builder returned, or copied from a template: built and checked."""

import weakref

from skkeras._keras_objects.fingerprint import fingerprint
from skkeras._keras_objects.specs import input_shapes, symbolic_inputs
from skkeras._signatures import describe
from skkeras.exceptions import BuilderError, SharedVariablesError

# Trainable variables of all living nets, by their id.
_trained: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def trained_variables():
    """Return the trainable variables of all living nets, by their id."""
    return dict(_trained)


def clone_template(template, copies):
    """Copy a `keras.Model`: same architecture, same weights, same compile settings, no state.

    Raises BuilderError if it has no weights yet, ValueError if there is no faithful copy.
    """
    if not template.built:
        raise BuilderError(
            f"Got model={template.name!r}, a keras.Model that isn't built, so it has no weights "
            "to start from; expected one that knows its input shape. Begin it with keras.Input, "
            "or pass a function that makes it."
        )
    return copies.model(template)


def check_not_taken(model, taken):
    """Raise if a net shares weights with one that was made earlier: one fit would change both."""
    for variable in model.trainable_variables:
        if taken.get(id(variable)) is variable:
            raise SharedVariablesError(
                f"The builder returned a net with the weights {variable.path!r} of a net that it "
                "had returned before, so that one fit would train the other's; expected new "
                "layers. Make them inside the builder, or copy them there with "
                "keras.models.clone_model and set_weights, or pass the model itself: each fit "
                "starts from a copy of it."
            )
        _trained[id(variable)] = variable


def check_model(model):
    import keras

    if not isinstance(model, keras.Model):
        raise BuilderError(
            f"The builder returned {model!r} of type {type(model).__name__}; expected a "
            "keras.Model. Does it end in `return model`?"
        )


def build_variables(model, x_specs):
    """Create the variables of a net that doesn't know its input shape, and check the one it has."""
    inputs = getattr(model, "inputs", None)
    if model.built and inputs:
        _check_inputs(inputs, x_specs)
        return
    try:
        model(symbolic_inputs(x_specs))
    except Exception as error:
        raise BuilderError(
            f"The net {model.name!r} can't be called on rows of shape {input_shapes(x_specs)}: "
            f"{error}"
        ) from error


def _check_inputs(inputs, x_specs):
    specs = x_specs if isinstance(x_specs, dict) else {None: x_specs}
    if len(inputs) != len(specs):
        raise BuilderError(
            f"X has {len(specs)} input(s) and the net has {len(inputs)}: "
            f"{[tensor.name for tensor in inputs]}; expected one array for each, as a dict by name."
        )
    by_name = {tensor.name: tensor for tensor in inputs}
    for name, (shape, _) in specs.items():
        if name is not None and name not in by_name:
            raise BuilderError(
                f"X has an input {name!r} that the net doesn't have; expected {list(by_name)}."
            )
        expected = tuple(by_name[name].shape if name is not None else inputs[0].shape)[1:]
        if not _fits(shape, expected):
            raise BuilderError(
                f"X has rows of shape {shape}, and the net's input has shape {expected}. Let the "
                "builder take input_shape and begin with keras.Input(input_shape), or reshape X."
            )


def _fits(shape, expected):
    """True if Keras takes rows of a shape: it adds or drops a last axis of length 1."""
    candidates = [shape, (*shape, 1)] + [shape[:-1]] * (shape[-1:] == (1,))
    return any(
        len(candidate) == len(expected)
        and all(e in (None, c) for c, e in zip(candidate, expected, strict=True))
        for candidate in candidates
    )


def check_agrees(compiled, asked, name):
    """Raise if a net is compiled with another optimizer or loss than the estimator was given."""
    if asked is None or compiled is asked or _identity(compiled) == _identity(asked):
        return
    given = f"{name}={_say(asked)}"
    if _say(asked) == _say(compiled):
        given += f" with other settings, as {name}__... parameters make them"
    raise BuilderError(
        f"model is compiled with {name}={_say(compiled)}, and the estimator was given {given}; "
        "expected one of them. Don't compile it, or let its builder compile with compile_kwargs, "
        f"or don't pass {name} nor {name}__... to the estimator."
    )


def check_compiled_with(model, asked):
    """Raise if a net is compiled with other metrics or settings than asked for."""
    import keras

    for name, value in asked.items():
        try:
            compiled = model.get_compile_config().get(name.removeprefix("compile__"))
            same = compiled == keras.saving.serialize_keras_object(value)
        except (TypeError, ValueError):  # Keras can't serialise some values
            same = False
        if not same:
            raise BuilderError(
                f"model is compiled, so the estimator's {name}={value!r} would be ignored. Don't "
                "compile it, or let its builder compile with compile_kwargs, or leave "
                f"{name} out."
            )


def _identity(value):
    import keras

    if isinstance(value, keras.optimizers.Optimizer):
        # A fingerprint leaves the learning rate out: it is a variable.
        config = value.get_config()
        return fingerprint(value, str(config.get("learning_rate")))
    return fingerprint(keras.losses.get(value) if isinstance(value, str) else value)


def _say(value):
    return repr(value) if isinstance(value, str) else describe(value)
