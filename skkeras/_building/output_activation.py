"""Activations of a net's outputs: probabilities, logits, or unknown.

A default loss takes logits where a net ends in them, and a loss that takes probabilities is refused
for a linear layer. The activations of Keras's own layers are known; a Lambda, or a layer or model
with a ``call`` of the user's own, may do anything. An *ending* is the name of an activation, as
``"softmax"`` or ``"linear"``, or None where it is unknown. Shapes are those of the outputs without
the first axis, by name if there are several, in the order of ``model.outputs``.
"""

import numpy as np

from skkeras._keras_objects.internals import is_keras
from skkeras._keras_objects.specs import by_output_name
from skkeras.exceptions import BuilderError

# Activations whose outputs are no probabilities.
NO_PROBABILITIES = {
    *("linear", "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "softplus"),
    *("tanh", "softsign"),
}
_PROBABILITIES = {"sigmoid", "softmax"}
# Layers and operations, by their class's name in lower case: these leave values as they are when
# predicting, or move or average them;
_KEEPING = {
    *("identity", "activityregularization", "dropout", "gaussiannoise", "gaussiandropout"),
    *("alphadropout", "spatialdropout1d", "spatialdropout2d", "spatialdropout3d"),
    *("flatten", "reshape", "permute", "repeatvector", "squeeze", "expanddims", "transpose"),
    *("averagepooling1d", "averagepooling2d", "averagepooling3d", "globalaveragepooling1d"),
    *("globalaveragepooling2d", "globalaveragepooling3d"),
}
# these leave some out, after which the rows of a softmax don't sum to 1;
_CUTTING = {"cropping1d", "cropping2d", "cropping3d", "getitem"}
# these make any number of them;
_UNBOUNDED = {"batchnormalization", "layernormalization", "groupnormalization", "rmsnormalization"}
# and these do so if one of their inputs may be any number.
_COMBINING = {"add", "subtract", "multiply", "average", "concatenate", "rescaling"}
_WRAPPERS = {"timedistributed", "spectralnormalization"}
_SPELLINGS = {"leakyrelu": "leaky_relu"}


def ends_in_logits(model, x_specs, shape):
    """True if a built net ends without an activation that makes probabilities; by output name."""
    endings = output_endings(model, shape)
    by_name = endings if isinstance(endings, dict) else {None: endings}
    # A Lambda, or a layer or model of the user's own, has to be tried. Were its logits taken for
    # probabilities, Keras would clip them in training.
    tried = _tried_outputs(model, x_specs) if None in by_name.values() else {}
    in_logits = {
        name: ending == "linear" if ending else _are_logits(tried.get(name, ()))
        for name, ending in by_name.items()
    }
    return in_logits if isinstance(endings, dict) else in_logits[None]


def check_ending(model, loss, shape):
    """Raise BuilderError if a loss gets logits instead of probabilities, or the other way round.

    Keras trains such nets, and their predictions are wrong.
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
    """Outputs of the net for a few random rows, by output name; empty if it takes none."""
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

    # Small values, which any net takes, and large ones, at which most logits leave [0, 1]; then
    # weights of random signs, with which all logits do.
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
            continue  # many nets fail on any rows but their own data's
        for name, one in outputs.items() if isinstance(outputs, dict) else [(None, outputs)]:
            tried.setdefault(name, []).append(keras.ops.convert_to_numpy(one))
        if all(any(map(_leave_0_to_1, arrays)) for arrays in tried.values()):
            break
    return tried


def _are_logits(tried):
    """True if some outputs leave [0, 1], or there is nothing but zeros."""
    only_zeros = bool(tried) and not any(outputs.any() for outputs in tried)
    return only_zeros or any(map(_leave_0_to_1, tried))


def _leave_0_to_1(outputs):
    # Large weights make NaN or infinity of any activation, which proves nothing.
    is_outside = outputs.min() < -1e-3 or outputs.max() > 1 + 1e-3
    return bool(is_outside and np.isfinite(outputs).all())


def output_endings(model, shape):
    """Name the activation that each output of a built net ends in; a dict by name for several.

    Examples
    --------
    >>> import keras
    >>> from skkeras._building.output_activation import output_endings
    >>> net = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(1, "sigmoid"), keras.layers.Flatten()]
    ... )
    >>> output_endings(net, (1,))
    'sigmoid'
    """
    if not isinstance(shape, dict):
        return _model_ending(model)
    outputs = getattr(model, "outputs", None) or ()
    if _has_own_call(model) or len(outputs) != len(shape):
        return dict.fromkeys(shape)
    return {
        name: _tensor_ending(tensor, model.operations)
        for name, tensor in zip(shape, outputs, strict=True)
    }


def _model_ending(model):
    import keras

    if _has_own_call(model):
        return None
    if isinstance(model, keras.Sequential):
        return _chain_ending(model.layers)
    operations, outputs = getattr(model, "operations", ()), getattr(model, "outputs", ())
    if not operations or len(outputs) != 1:
        return None
    return _tensor_ending(outputs[0], operations)


def _chain_ending(layers):
    if not layers:
        return None
    *before, last = layers
    return _ending(last, lambda: [_chain_ending(before)])


def _tensor_ending(tensor, operations):
    """Name the ending of the operation that made a tensor of a functional model.

    None for a layer that is used more than once: Keras keeps the output of its first use only.
    """
    import keras

    for operation in operations:
        made = keras.tree.flatten(getattr(operation, "output", None))
        if any(one is tensor for one in made):
            return _ending(
                operation,
                lambda made_of=operation: [
                    _tensor_ending(one, operations) for one in keras.tree.flatten(made_of.input)
                ],
            )
    return None


def _ending(operation, endings_before):
    """Name the ending of a layer or operation; ``endings_before()`` lists those of its inputs."""
    import keras

    if isinstance(operation, keras.Model):
        return _model_ending(operation)
    if _has_own_call(operation):
        return None
    kind = next(c.__name__ for c in type(operation).__mro__ if is_keras(c)).lower()
    if kind in _WRAPPERS:
        return _ending(operation.layer, endings_before)
    if kind in _UNBOUNDED:
        return "linear"
    if kind in _KEEPING | _CUTTING:
        ending = next(iter(endings_before()), None)
        return None if kind in _CUTTING and ending == "softmax" else ending
    if kind in _COMBINING:
        return "linear" if "linear" in endings_before() else None
    activation = getattr(operation, "activation", None)
    if isinstance(activation, keras.layers.Layer):
        return _ending(activation, endings_before)
    if activation is not None:
        kind = getattr(activation, "__name__", "") if is_keras(activation) else ""
    elif getattr(operation, "max_value", None) is not None:
        return None  # a ReLU that is cut may put out probabilities
    ending = _SPELLINGS.get(kind, kind)
    return ending if ending in NO_PROBABILITIES | _PROBABILITIES else None


def _has_own_call(operation):
    return not is_keras(type(operation).call)
