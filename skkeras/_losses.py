"""Losses: their names in `keras.losses`, facts about one, and the output activations that suit it.

A default loss takes logits where a net ends in them, and a loss that takes probabilities is refused
for a linear layer. The activations of Keras's own layers are known; a Lambda, or a layer or model
with a ``call`` of the user's own, may do anything. An *ending* is the name of an activation, as
``"softmax"`` or ``"linear"``, or None where it is unknown. Shapes are those of the outputs without
the first axis, by name if there are several, in the order of ``model.outputs``.
"""

import dataclasses
import functools
import inspect
import re

import numpy as np

from skkeras._keras_objects.internals import by_output_name, is_keras
from skkeras._pickling import PickledByName
from skkeras.exceptions import BuilderError

# Keras's losses that take class numbers where the net has a unit for each class.
SPARSE_LOSSES = {"sparse_categorical_crossentropy", "crossentropy"}

# Losses that compare distributions over classes: a single unit has none.
CATEGORICAL_LOSSES = {
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
}

BINARY_LOSSES = {"binary_crossentropy", "binary_focal_crossentropy"}

# Losses over all units of a row together: from one unit they learn no value.
ROW_LOSSES = {"kl_divergence", "cosine_similarity", "circle"}

# Losses whose decision lies at 0, not at a probability of 0.5.
_MARGIN_LOSSES = {"hinge", "squared_hinge"}

# Range of targets that a loss is defined for; outside, Keras clips or returns NaN.
RANGES = {
    **dict.fromkeys(BINARY_LOSSES | {"kl_divergence"}, (0, 1)),
    **dict.fromkeys(_MARGIN_LOSSES, (-1, 1)),
    **dict.fromkeys({"poisson", "mean_squared_logarithmic_error"}, (0, np.inf)),
}

# Keras's short names, besides those of its functions and classes.
_SHORT_NAMES = {
    "bce": "binary_crossentropy",
    "ce": "crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}


def loss_name(loss):
    """Name a loss as its function in ``keras.losses`` is named, however it is given.

    A user's class is named after the class of Keras's that it derives from. None for no loss, and
    for several losses.

    Examples
    --------
    >>> from skkeras._losses import loss_name
    >>> loss_name("BCE"), loss_name("BinaryCrossentropy"), loss_name(["mse"])
    ('binary_crossentropy', 'binary_crossentropy', 'mean_squared_error')
    """
    while isinstance(loss, functools.partial):
        loss = loss.func
    if isinstance(loss, dict) and "class_name" in loss:  # as Keras serialises it
        named = loss["config"] if loss["class_name"] == "function" else loss["class_name"]
        return loss_name(named)
    if isinstance(loss, dict | list | tuple):
        inside = [*loss.values()] if isinstance(loss, dict) else loss
        return loss_name(inside[0]) if len(inside) == 1 else None
    if loss is None:
        return None
    if not isinstance(loss, str):
        loss = keras_loss_class(loss) or loss
        is_named = inspect.isclass(loss) or hasattr(loss, "__name__")
        loss = (loss if is_named else type(loss)).__name__
    snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", loss).lower()
    return _SHORT_NAMES.get(loss.lower(), snake_case)


def keras_loss_class(loss):
    """Return the class of Keras's that a loss is or derives from; None for others."""
    cls = loss if inspect.isclass(loss) else type(loss)
    base = next(filter(is_keras, cls.__mro__), None)
    is_general = base is None or base.__name__ in ("Loss", "LossFunctionWrapper")
    return None if is_general else base


@dataclasses.dataclass(frozen=True)
class LossFacts(PickledByName):
    """Facts about a loss that targets need.

    ``name`` is as in ``keras.losses`` (``"binary_crossentropy"``), None where the net brings its
    own loss; ``is_builtin`` tells whether it is one of Keras's, ``from_logits`` whether the net's
    outputs are logits. ``y_shape`` is the shape of a row of targets where it isn't that of the
    outputs, ``n_value_axes`` how many axes a user's loss leaves, where it isn't known.
    """

    name: str | None = None
    is_builtin: bool = True
    from_logits: bool = False
    y_shape: tuple | None = None
    n_value_axes: int | None = None

    @property
    def takes_any_shape(self):
        """Whether targets and outputs may differ in shape: of Keras's losses none lets them."""
        return self.name is None or not self.is_builtin

    @property
    def takes_margins(self):
        """Whether the sign of an output decides."""
        return self.name in _MARGIN_LOSSES

    @property
    def gives_margins(self):
        """Whether outputs are margins or scores of classes, and no probabilities."""
        return self.takes_margins or self.name == "categorical_hinge"

    @property
    def threshold(self):
        """Output above which a label is predicted."""
        return 0 if self.from_logits or self.takes_margins else 0.5

    @property
    def takes_probabilities(self):
        """Whether the net's outputs have to be probabilities, or logits if so said."""
        crossentropies = BINARY_LOSSES | CATEGORICAL_LOSSES | {"crossentropy"}
        return self.name in crossentropies - {"categorical_hinge"}


def loss_facts(loss):
    """Facts about a compiled model's loss; a list or dict of them as it is one."""
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
        # A user's subclass of one of Keras's losses takes the same targets and outputs.
        is_builtin = keras_loss_class(loss) is not None
        settings = loss.get_config() if is_keras(type(loss)) else vars(loss)
    else:
        is_builtin = is_keras(loss)
    return LossFacts(loss_name(loss), is_builtin, bool(settings.get("from_logits", False)))


def by_output(loss, output_shape):
    """Give each output its loss, as Keras does: one for all, or by their names or order.

    Returns LossFacts, or a dict of them if the net has several outputs. Raises BuilderError if
    there are more or fewer losses than outputs, or for others.
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

    Keras takes no dict for a Sequential model. Raises BuilderError if there are several.
    """
    if not isinstance(loss, dict | list | tuple):
        return loss
    if len(loss) != 1:
        raise BuilderError(
            f"loss has {len(loss)} losses for one output; expected one. Add them up in a function "
            "of your own, or name the net's outputs if it has several."
        )
    return only_loss(next(iter(loss.values() if isinstance(loss, dict) else loss)))


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
    if ending == "softmax" and shape[-1:] == (1,):
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
    >>> from skkeras._losses import output_endings
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
