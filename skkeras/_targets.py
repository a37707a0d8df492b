"""Targets: the kind of y, the loss and output layer that suit it, and decoding of predictions.

A target learns from y once, encodes any y of its kind for Keras, and decodes the net's outputs
into predictions as scikit-learn expects. Each kind for one output has a file of its own. Output
shapes are without the first axis.
"""

import functools

import numpy as np

from skkeras._encoding import encoded
from skkeras._losses import LossFacts
from skkeras.data._arrays import LazyArray


class Target:
    """Base class of the targets of one output: rows are encoded at once, or when they are taken."""

    def encode(self, y, output_shape, loss):
        """Encode targets for the loss, with the shape and dtype of `encode_rows`.

        Raises ValueError if they are of another kind than in the first fit, or unfit for the loss.
        """
        y = as_array(y)
        self.check(y, loss)
        encode = functools.partial(self.encode_rows, output_shape=output_shape, loss=loss)
        return encoded(encode, y)

    def strata(self, y):
        """Class of each sample, to stratify splits by; None where it has none or several."""
        return None


class MultiOutput:
    """Targets of several outputs, a dict by the outputs' names."""

    kind = "multioutput"

    def __init__(self, targets):
        self.targets = targets

    @property
    def classes(self):
        """The classes of each output, or None for numbers."""
        return self._each("classes")

    @property
    def n_classes(self):
        """Number of classes of each output, or None for numbers."""
        return self._each("n_classes")

    def _each(self, name):
        values = {key: getattr(target, name) for key, target in self.targets.items()}
        return None if any(value is None for value in values.values()) else values

    @property
    def n_outputs(self):
        """Units of each output layer that a builder is asked for."""
        return self._each("n_outputs")

    @property
    def output_activation(self):
        """Activation of each output layer that a builder is asked for."""
        return self._each("output_activation")

    def default_loss(self, output_shape):
        """Name the loss of each output."""
        self._check_outputs(output_shape)
        return {
            name: target.default_loss(output_shape[name]) for name, target in self.targets.items()
        }

    def check_net(self, output_shape, loss):
        """Raise if the net lacks an output, or one can't learn its target."""
        self._check_outputs(output_shape)
        for name, target in self.targets.items():
            target.check_net(output_shape[name], loss[name])

    def _check_outputs(self, output_shape):
        if not isinstance(output_shape, dict) or set(output_shape) != set(self.targets):
            names = list(output_shape) if isinstance(output_shape, dict) else output_shape
            raise ValueError(
                f"The net's outputs are {names}; y has {list(self.targets)}. Let the net return a "
                "dict with these keys, or name its output layers so."
            )

    def check_names(self, y):
        """Raise unless y has targets for the outputs of the first fit."""
        if not isinstance(y, dict) or set(y) != set(self.targets):
            raise ValueError(
                f"y has {list(y) if isinstance(y, dict) else type(y).__name__}; expected a dict "
                f"with the keys {list(self.targets)}, as in the first fit."
            )

    def encode(self, y, output_shape, loss):
        """Encode the target of each output."""
        self.check_names(y)
        return {
            name: target.encode(y[name], output_shape[name], loss[name])
            for name, target in self.targets.items()
        }

    def strata(self, y):
        """None: there is no one label to stratify by."""
        return None

    def probabilities(self, outputs, loss):
        """Turn each output into probabilities."""
        return {
            name: target.probabilities(outputs[name], loss[name])
            for name, target in self.targets.items()
        }

    def predictions(self, outputs, loss):
        """Turn each output into predictions."""
        return {
            name: target.predictions(outputs[name], loss[name])
            for name, target in self.targets.items()
        }


def output_activation(target, loss):
    """Choose the activation of the output layer that a builder is asked for; by name for several.

    Examples
    --------
    >>> from skkeras._losses import LossFacts
    >>> from skkeras._classification_targets import classification_target
    >>> from skkeras._targets import output_activation
    >>> target = classification_target([0, 1])
    >>> output_activation(target, LossFacts("binary_crossentropy"))
    'sigmoid'
    >>> output_activation(target, LossFacts("binary_crossentropy", from_logits=True))
    'linear'
    """
    if isinstance(target, MultiOutput):
        losses = loss if isinstance(loss, dict) else {}
        return {
            name: output_activation(part, losses.get(name, LossFacts()))
            for name, part in target.targets.items()
        }
    if loss.from_logits or loss.takes_margins:
        return "linear"
    return target.output_activation


def as_array(y):
    return y if hasattr(y, "toarray") or isinstance(y, LazyArray) else np.asarray(y)


def dense(y):
    return y.toarray() if hasattr(y, "toarray") else y


def shape_text(shape, first="None"):
    return f"({', '.join([first, *map(str, shape)])}{',' if not shape else ''})"
