"""Layers of the preset ``"tabular"``; this file imports Keras, so import it inside functions only.

After RealMLP of Holzmüller et al. (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted
Trees on Tabular Data". Some parameters are learnt faster or slower than others there. Adam's steps
are as long whatever the gradient, so a parameter that counts six times is learnt six times as fast.
"""

import math

import keras
import numpy as np
from keras import ops

_package = keras.saving.register_keras_serializable("skkeras")


@_package
class RobustScaling(keras.layers.Layer):
    """Columns around their medians in units of their interquartile ranges, smoothly clipped.

    Medians and ranges are weights that training doesn't change, so that nets for other data share
    a compiled program. Until `adapt` sets them, columns are only clipped. ``limit`` bounds outputs.
    """

    def __init__(self, limit=3.0, **kwargs):
        super().__init__(**kwargs)
        self.limit = limit

    def build(self, input_shape):
        """Make the weights for (n_samples, n_features)."""
        shape = input_shape[-1:]
        self.center = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="center"
        )
        self.factor = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="factor"
        )

    def adapt(self, X):
        """Set medians and ranges to those of training rows, of shape (n_samples, n_features)."""
        center, factor = robust_scale(X)
        self.center.assign(center)
        self.factor.assign(factor)

    def call(self, inputs):
        """Scale and clip."""
        scaled = (inputs - self.center) * self.factor
        return scaled / ops.sqrt(1 + ops.square(scaled / self.limit))

    def get_config(self):
        """Return what makes such a layer."""
        return {**super().get_config(), "limit": self.limit}


def robust_scale(X):
    """Return medians and factors of columns, which are 0 for a constant one.

    A column most of whose values are the same, such as a rare category's, has no interquartile
    range; half of its whole range takes that place.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._keras_objects.tabular import robust_scale
    >>> X = np.array([[0, 0, 7], [1, 0, 7], [2, 0, 7], [3, 0, 7], [4, 1, 7.0]])
    >>> [part.tolist() for part in robust_scale(X)]
    [[2.0, 0.0, 7.0], [0.5, 2.0, 0.0]]
    """
    low, first, center, third, high = np.quantile(X, [0, 0.25, 0.5, 0.75, 1], axis=0)
    span = np.where(third > first, third - first, (high - low) / 2)
    return center, np.divide(1, span, out=np.zeros_like(span), where=span > 0)


@_package
class LearntScaling(keras.layers.Layer):
    """A factor for each column, at first 1, that is learnt ``rate`` times as fast as weights."""

    def __init__(self, rate=6.0, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape):
        """Make the factors for (n_samples, n_features)."""
        start = keras.initializers.Constant(1 / self.rate)
        self.scale = self.add_weight(shape=input_shape[-1:], initializer=start, name="scale")

    def call(self, inputs):
        """Multiply."""
        return inputs * (self.rate * self.scale)

    def get_config(self):
        """Return what makes such a layer."""
        return {**super().get_config(), "rate": self.rate}


@_package
class NTKDense(keras.layers.Layer):
    """Linear layer in the parametrisation of neural tangent kernels: weights are of order 1.

    Outputs are divided by the root of the number of inputs. Biases are learnt ``bias_rate`` times
    as fast as weights. With ``zeros`` all begin at zero, as for a last layer.
    """

    def __init__(self, units, bias_rate=0.1, zeros=False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.bias_rate = bias_rate
        self.zeros = zeros

    def build(self, input_shape):
        """Make the weights for (n_samples, n_inputs)."""
        spread = 0.0 if self.zeros else 1.0

        def normal(stddev):
            return keras.initializers.RandomNormal(stddev=stddev)

        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units), initializer=normal(spread), name="kernel"
        )
        self.bias = self.add_weight(
            shape=(self.units,), initializer=normal(spread / self.bias_rate), name="bias"
        )
        self.factor = 1 / math.sqrt(input_shape[-1])

    def call(self, inputs):
        """Multiply by the kernel, and add the bias."""
        return ops.matmul(inputs, self.kernel) * self.factor + self.bias_rate * self.bias

    def get_config(self):
        """Return what makes such a layer."""
        own = {"units": self.units, "bias_rate": self.bias_rate, "zeros": self.zeros}
        return {**super().get_config(), **own}
