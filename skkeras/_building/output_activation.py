"""Endings: what a net does last to the values that it puts out.

A default loss takes logits where a net ends in them, and a loss that takes probabilities gets
none from a linear layer. What Keras's own layers do is known; a Lambda, or a layer or model with a
``call`` of the user's own, may do anything.
"""

# Activations whose outputs are no probabilities.
NO_PROBABILITIES = {
    *("linear", "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "softplus"),
    *("tanh", "softsign"),
}
_PROBABILITIES = {"sigmoid", "softmax"}
# Layers and operations are told by their class's name in lower case. These leave values as they
# are when predicting, or move or average them;
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
# and these do so with any number among what they combine.
_COMBINING = {"add", "subtract", "multiply", "average", "concatenate", "rescaling"}
_WRAPPERS = {"timedistributed", "spectralnormalization"}
_SPELLINGS = {"leakyrelu": "leaky_relu"}


def output_endings(model, shape):
    """Name the activation that each output of a net ends in.

    Parameters
    ----------
    model : keras.Model
        Built.
    shape : tuple of int or dict of them
        Of its outputs, the first axis left out; a dict in the order of ``model.outputs``.

    Returns
    -------
    endings : str, None or dict of them
        As ``"softmax"`` or ``"linear"``; None where it isn't known. By output name if there are
        several.

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
    """Name the ending of the operation that puts out a tensor of a functional model.

    None for a layer that is used more than once: Keras tells what came of its first use only.
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
    """Name what a layer or operation ends in; ``endings_before()`` are those of its inputs."""
    import keras

    if isinstance(operation, keras.Model):
        return _model_ending(operation)
    if _has_own_call(operation):
        return None
    kind = next(c.__name__ for c in type(operation).__mro__ if _is_keras(c)).lower()
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
        kind = getattr(activation, "__name__", "") if _is_keras(activation) else ""
    elif getattr(operation, "max_value", None) is not None:
        return None  # a ReLU that is cut may put out probabilities
    ending = _SPELLINGS.get(kind, kind)
    return ending if ending in NO_PROBABILITIES | _PROBABILITIES else None


def _has_own_call(operation):
    return not _is_keras(type(operation).call)


def _is_keras(thing):
    return (getattr(thing, "__module__", None) or "").split(".")[0] == "keras"
