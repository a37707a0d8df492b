"""Losses: their names in `keras.losses`, and the facts about one that a target needs."""

import dataclasses
import functools
import inspect
import re

import numpy as np

from skkeras._keras_objects.internals import is_keras
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
class LossFacts:
    """Facts about a loss that targets need.

    ``name`` is as in ``keras.losses`` (``"binary_crossentropy"``), None where the net brings its
    own loss; ``is_builtin`` tells whether it is one of Keras's, ``from_logits`` whether the net's
    outputs are logits.
    """

    name: str | None = None
    is_builtin: bool = True
    from_logits: bool = False

    @property
    def takes_margins(self):
        """Whether the sign of an output decides."""
        return self.name in _MARGIN_LOSSES

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
