"""Models that their builder compiled: checks that they are trained as the estimator was asked."""

from skkeras._keras_objects.fingerprint import fingerprint
from skkeras._params import describe
from skkeras.exceptions import BuilderError


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
        + " A keras.Model's own optimizer takes optimizer__... if optimizer is left out."
        * (name == "optimizer")
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
