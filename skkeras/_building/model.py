"""Assembling: from a builder or a template to a net that is built, compiled and checked."""

import functools
import weakref

import numpy as np

from skkeras._building.output_activation import NO_PROBABILITIES, output_endings
from skkeras._keras_objects.copying import pack_model
from skkeras._keras_objects.fingerprint import fingerprint
from skkeras._keras_objects.specs import by_output_name, output_shape, symbolic_inputs
from skkeras._losses import LossFacts, keras_loss_class, loss_name
from skkeras._signatures import check_keywords, describe
from skkeras.exceptions import BuilderError, SharedVariablesError

# The trainable variables, by their id, of all nets that live.
_trained: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def assemble(
    source, x_specs, *, optimizer, loss, asks_loss, metrics, compile_arguments, handed_over
):
    """Make a model that is built and compiled.

    Parameters
    ----------
    source : callable
        Takes nothing and returns a `keras.Model`, compiled or not, built or not.
    x_specs : structure of (shape, dtype)
        What a batch of inputs looks like, the first axis left out.
    optimizer, metrics : callable or None
        Each makes the object that was asked for; None where none was.
    loss : callable
        Takes the net's output shape, and perhaps a function that tells which outputs are logits;
        makes the loss.
    asks_loss : bool
        Whether ``loss`` makes one that was asked for, and not a default.
    compile_arguments : dict
        Further arguments of `keras.Model.compile`.
    handed_over : bool
        Whether the source was given all of this, to compile the model with it by itself.

    Returns
    -------
    model : keras.Model

    Raises
    ------
    BuilderError
        If the source returns something else, the shapes don't fit, or a compiled model's loss or
        optimizer is another than the one asked for.
    """
    taken = dict(_trained)
    model = source()
    _check_model(model)
    _build(model, x_specs)
    _check_not_taken(model, taken)
    shape = output_shape(model, x_specs)
    if model.compiled:
        _check_agrees(model.optimizer, optimizer() if optimizer else None, "optimizer")
        compiled = model.loss if isinstance(shape, dict) else only_loss(model.loss)
        _check_agrees(compiled, loss(shape) if asks_loss else None, "loss")
        if not handed_over:
            asked = {"metrics": metrics()} if metrics else {}
            asked |= {f"compile__{name}": value for name, value in compile_arguments.items()}
            _check_compiled_with(model, asked)
    else:
        check_keywords("compile", model.compile, compile_arguments)
        model.compile(
            optimizer=optimizer() if optimizer else "adam",
            loss=loss(shape, functools.partial(ends_in_logits, model, x_specs, shape)),
            metrics=metrics() if metrics else None,
            **compile_arguments,
        )
    return model


def clone_template(template):
    """Copy a `keras.Model`: same architecture, same weights, same compile settings, no state.

    Parameters
    ----------
    template : keras.Model
        It isn't changed.

    Returns
    -------
    model : keras.Model

    Raises
    ------
    BuilderError
        If it has no weights yet.
    ValueError
        If there is no faithful copy.
    """
    if not template.built:
        raise BuilderError(
            f"Got model={template.name!r}, a keras.Model that isn't built, so it has no weights "
            "to start from; expected one that knows its input shape. Begin it with keras.Input, "
            "or pass a function that makes it."
        )
    return pack_model(template)[1]


def loss_facts(loss):
    """Tell what a compiled model's loss is, see `LossFacts`; by output name if it has several."""
    import keras

    if isinstance(loss, dict):
        return {name: loss_facts(one) for name, one in loss.items()}
    if isinstance(loss, list | tuple):
        return [loss_facts(one) for one in loss]
    if loss is None or isinstance(loss, str):
        return LossFacts(loss_name(loss))
    settings = {}
    while isinstance(loss, functools.partial):
        settings, loss = {**loss.keywords, **settings}, loss.func
    if isinstance(loss, keras.losses.Loss):
        # A user's subclass of one of Keras's losses takes what that one takes.
        is_builtin = keras_loss_class(loss) is not None
        settings = loss.get_config() if _is_keras(type(loss)) else vars(loss)
    else:
        is_builtin = _is_keras(loss)
    return LossFacts(loss_name(loss), is_builtin, bool(settings.get("from_logits", False)))


def by_output(loss, output_shape):
    """Give each output its loss, as Keras does: one for all, or by their names or order.

    Parameters
    ----------
    loss : LossFacts, or dict or list of them
        As `loss_facts` tells.
    output_shape : tuple of int or dict of them
        As `output_shape` tells.

    Returns
    -------
    loss : LossFacts or dict of LossFacts
        A dict if the net has several outputs.

    Raises
    ------
    BuilderError
        If there are more or fewer losses than outputs, or for others.
    """
    if not isinstance(output_shape, dict):
        return only_loss(loss)
    outputs = [*output_shape]
    if isinstance(loss, dict):
        # Keras leaves an output without a loss untrained; one that was forgotten would be, too.
        if set(loss) != set(outputs):
            raise BuilderError(
                f"loss has the keys {[*loss]}, and the net's outputs are {outputs}; expected a "
                "loss for each. Give those that aren't to be trained the loss None."
            )
        return {name: only_loss(loss[name]) for name in outputs}
    if isinstance(loss, list):
        if len(loss) != len(outputs):
            raise BuilderError(
                f"loss is a list of {len(loss)}, and the net's outputs are {outputs}; expected a "
                "loss for each, in this order, or a dict by these names."
            )
        return {name: only_loss(one) for name, one in zip(outputs, loss, strict=True)}
    return dict.fromkeys(outputs, loss)


def only_loss(loss):
    """Take the loss of one output out of the list or dict that it may be in.

    Keras takes no dict for a Sequential model.

    Raises
    ------
    BuilderError
        If there are several.
    """
    if not isinstance(loss, dict | list | tuple):
        return loss
    if len(loss) != 1:
        raise BuilderError(
            f"loss has {len(loss)} losses for one output; expected one. Add them up in a function "
            "of your own, or name the net's outputs if it has several."
        )
    return only_loss(next(iter(loss.values() if isinstance(loss, dict) else loss)))


def ends_in_logits(model, x_specs, shape):
    """Tell whether the net ends without an activation that makes probabilities.

    Parameters
    ----------
    model : keras.Model
        Built.
    x_specs : structure of (shape, dtype)
        What a batch of inputs looks like, the first axis left out.
    shape : tuple of int or dict of them
        Of its outputs, the first axis left out.

    Returns
    -------
    in_logits : bool or dict of bool
        By output name if there are several.
    """
    endings = output_endings(model, shape)
    by_name = endings if isinstance(endings, dict) else {None: endings}
    # What a Lambda, or a layer or model of the user's own, puts out is seen when it is tried. To
    # guess at probabilities instead would train a net on logits that are clipped.
    tried = _tried_outputs(model, x_specs) if None in by_name.values() else {}
    in_logits = {
        name: ending == "linear" if ending else _are_logits(tried.get(name, ()))
        for name, ending in by_name.items()
    }
    return in_logits if isinstance(endings, dict) else in_logits[None]


def check_ending(model, loss, shape):
    """Raise if a loss that takes probabilities gets none, or one that takes logits gets no logits.

    Keras trains such nets, and what they predict is wrong.

    Parameters
    ----------
    model : keras.Model
        Built.
    loss : LossFacts or dict of LossFacts
        What it is trained by.
    shape : tuple of int or dict of them
        Of its outputs, the first axis left out.

    Raises
    ------
    BuilderError
        If the two contradict each other, or the outputs are always the same.
    """
    endings = output_endings(model, shape)
    if not isinstance(endings, dict):
        _check_ending(endings, loss, shape)
        return
    for name, ending in endings.items():
        _check_ending(ending, loss[name], shape[name], f"output {name!r}")


def _check_ending(ending, loss, shape, output=None):
    if not loss.is_builtin:
        return
    net = f"the net's {output}" if output else "the net"
    if ending == "softmax" and shape == (1,):
        raise BuilderError(
            f"T{net[1:]} ends in softmax over one unit, which is always 1; expected sigmoid for "
            "one unit, or a unit for each class. The builder may ask for n_outputs and "
            "output_activation."
        )
    if loss.from_logits and ending in ("sigmoid", "softmax"):
        raise BuilderError(
            f"loss={loss.name!r} has from_logits=True, and {net} ends in {ending}; expected "
            "outputs without activation. Leave from_logits out, or give the last layer the "
            "output_activation that the builder may ask for."
        )
    if loss.takes_margins and ending == "sigmoid":
        raise BuilderError(
            f"loss={loss.name!r} looks at the sign of the net's outputs, and {net} ends "
            "in sigmoid; expected outputs of both signs. Give the last layer the "
            "output_activation that the builder may ask for, or tanh."
        )
    if loss.takes_probabilities and not loss.from_logits and ending in NO_PROBABILITIES:
        has = "no activation" if ending == "linear" else f"the activation {ending}"
        if loss.name == "crossentropy":  # a name that takes no parameters
            advice = "Leave loss out, which chooses one for logits"
        elif output:
            advice = "Give that loss from_logits=True"
        else:
            advice = "Add loss__from_logits=True"
        layer = f"the last layer of {output}" if output else "the net's last layer"
        raise BuilderError(
            f"loss={loss.name!r} takes probabilities, and {layer} has {has}. {advice}, or give the "
            "last layer the output_activation that the builder may ask for (sigmoid or softmax)."
        )


def _tried_outputs(model, x_specs):
    """Let the net put out something for a few rows, by output name; nothing if it can't."""
    import keras

    rng = np.random.default_rng(0)
    variables = model.trainable_variables

    def rows(spec, n_rows, low, high):
        shape = (n_rows, *(4 if n is None else n for n in spec[0]))
        if spec[1] == "string":
            return rng.choice(["a", "b c"], shape).astype(object)
        return rng.uniform(low, high, shape).astype(spec[1])

    def flipped(variable):
        signs = rng.choice([-1, 1], variable.shape)
        return variable.value * keras.ops.cast(signs, variable.dtype)

    # Small rows, which any net takes, and large ones, at which most logits leave [0, 1]; then
    # weights of other signs, with which any logits do.
    trials = [(4, 0, 1), (4, -50, 50)] + 6 * [(2, 0, 1)]
    tried = {}
    for i, trial in enumerate(trials):
        try:
            if isinstance(x_specs, dict):
                x = {name: rows(spec, *trial) for name, spec in x_specs.items()}
            else:
                x = rows(x_specs, *trial)
            values = [(variable, flipped(variable)) for variable in variables] if i > 1 else []
            with keras.StatelessScope(state_mapping=values):  # no variable changes
                outputs = by_output_name(model, model(x, training=False))
        except Exception:
            continue  # many nets take no rows but the right ones
        for name, one in outputs.items() if isinstance(outputs, dict) else [(None, outputs)]:
            tried.setdefault(name, []).append(keras.ops.convert_to_numpy(one))
        if all(any(map(_leave_0_to_1, arrays)) for arrays in tried.values()):
            break
    return tried


def _are_logits(tried):
    """Tell whether some outputs leave [0, 1], or there is nothing but zeros."""
    only_zeros = bool(tried) and not any(outputs.any() for outputs in tried)
    return only_zeros or any(map(_leave_0_to_1, tried))


def _leave_0_to_1(outputs):
    # Too large weights make NaN or infinity of anything.
    is_outside = outputs.min() < -1e-3 or outputs.max() > 1 + 1e-3
    return bool(is_outside and np.isfinite(outputs).all())


def _check_not_taken(model, taken):
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


def _check_model(model):
    import keras

    if not isinstance(model, keras.Model):
        raise BuilderError(
            f"The builder returned {model!r} of type {type(model).__name__}; expected a "
            "keras.Model. Does it end in `return model`?"
        )


def _build(model, x_specs):
    """Create the variables of a net that doesn't know its input shape, and check the one it has."""
    inputs = getattr(model, "inputs", None)
    if model.built and inputs:
        _check_inputs(inputs, x_specs)
        return
    try:
        model(symbolic_inputs(x_specs))
    except Exception as error:
        raise BuilderError(
            f"The net {model.name!r} can't be called on rows of shape {_shapes(x_specs)}: {error}"
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
    """Tell whether Keras takes rows of a shape: it adds or drops a last axis of length 1."""
    candidates = [shape, (*shape, 1)] + [shape[:-1]] * (shape[-1:] == (1,))
    return any(
        len(candidate) == len(expected)
        and all(e in (None, c) for c, e in zip(candidate, expected, strict=True))
        for candidate in candidates
    )


def _shapes(x_specs):
    return {k: v[0] for k, v in x_specs.items()} if isinstance(x_specs, dict) else x_specs[0]


def _check_agrees(compiled, asked, name):
    """Raise if a net is compiled with something else than the estimator was given."""
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


def _check_compiled_with(model, asked):
    """Raise if a net is compiled with other metrics or settings than asked for."""
    import keras

    for name, value in asked.items():
        try:
            compiled = model.get_compile_config().get(name.removeprefix("compile__"))
            same = compiled == keras.saving.serialize_keras_object(value)
        except (TypeError, ValueError):  # something in them that Keras can't write
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


def _is_keras(thing):
    return (getattr(thing, "__module__", None) or "").split(".")[0] == "keras"
