"""Keras layers of the presets, for builders of your own; this module imports Keras.

Import it before `keras.models.load_model` reads a file with such layers. Those defined here are of
RealMLP, Holzmüller et al. (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
Tabular Data". Some of its parameters are learnt faster or slower than others: Adam's steps are as
long whatever the gradient, so a parameter that counts six times is learnt six times as fast.
"""

import math

import keras
import numpy as np
from keras import ops

from skkeras._keras_objects.output_scaling import OutputScaling

__all__ = ["LearntScaling", "NTKDense", "OutputScaling", "RobustScaling"]

_registered = keras.saving.register_keras_serializable("skkeras")


@_registered
class RobustScaling(keras.layers.Layer):
    """Columns around their medians in units of their interquartile ranges, smoothly clipped.

    Medians and ranges are weights that training doesn't change, so that nets for other data share
    a compiled program. Until `adapt` sets them, columns are only clipped.

    Parameters
    ----------
    limit : float, default=3.0
        Bound of the outputs, which very large inputs approach.
    **kwargs : dict
        As for `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.layers import RobustScaling
    >>> layer = RobustScaling()
    >>> layer.adapt(np.array([[0.0], [1000.0], [2000.0], [3000.0], [4000.0]]))
    >>> np.round(np.asarray(layer(np.array([[2000.0], [4000.0], [1e9]]))), 2).tolist()
    [[0.0], [0.949999988079071], [3.0]]
    """

    def __init__(self, limit=3.0, **kwargs):
        super().__init__(**kwargs)
        self.limit = limit

    def build(self, input_shape):
        """Make the weights.

        Parameters
        ----------
        input_shape : tuple
            Shape of the inputs, (n_samples, n_features).
        """
        shape = input_shape[-1:]
        self.center = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="center"
        )
        self.factor = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="factor"
        )

    def adapt(self, X):
        """Set medians and ranges to those of training rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows. Half of the whole range takes the place of an interquartile range of zero, as
            of a rare category's column; a constant column becomes zero.
        """
        if not self.built:
            self.build(np.shape(X))
        center, factor = _robust_scale(np.asarray(X, float))
        self.center.assign(center)
        self.factor.assign(factor)

    def call(self, inputs):
        """Scale and clip inputs.

        Parameters
        ----------
        inputs : tensor of shape (n_samples, n_features)
            Columns in their own units.

        Returns
        -------
        outputs : tensor of shape (n_samples, n_features)
            Between ``-limit`` and ``limit``.
        """
        scaled = (inputs - self.center) * self.factor
        return scaled / ops.sqrt(1 + ops.square(scaled / self.limit))

    def get_config(self):
        """Get the arguments of the constructor.

        Returns
        -------
        config : dict
            Values by name.
        """
        return {**super().get_config(), "limit": self.limit}


def _robust_scale(X):
    """Return the columns' medians, and factors, 0 for a constant column."""
    low, first, center, third, high = np.quantile(X, [0, 0.25, 0.5, 0.75, 1], axis=0)
    span = np.where(third > first, third - first, (high - low) / 2)
    return center, np.divide(1, span, out=np.zeros_like(span), where=span > 0)


@_registered
class LearntScaling(keras.layers.Layer):
    """A learnt factor for each column, 1 at first.

    Parameters
    ----------
    rate : float, default=6.0
        How many times as fast as other weights Adam learns it.
    **kwargs : dict
        As for `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.layers import LearntScaling
    >>> np.asarray(LearntScaling()(np.array([[2.0, 4.0]]))).tolist()
    [[2.0, 4.0]]
    """

    def __init__(self, rate=6.0, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape):
        """Make the weights.

        Parameters
        ----------
        input_shape : tuple
            Shape of the inputs, (n_samples, n_features).
        """
        start = keras.initializers.Constant(1 / self.rate)
        self.scale = self.add_weight(shape=input_shape[-1:], initializer=start, name="scale")

    def call(self, inputs):
        """Multiply inputs by the factors.

        Parameters
        ----------
        inputs : tensor of shape (n_samples, n_features)
            Columns.

        Returns
        -------
        outputs : tensor of shape (n_samples, n_features)
            Products.
        """
        return inputs * (self.rate * self.scale)

    def get_config(self):
        """Get the arguments of the constructor.

        Returns
        -------
        config : dict
            Values by name.
        """
        return {**super().get_config(), "rate": self.rate}


@_registered
class NTKDense(keras.layers.Layer):
    """Dense layer in the parametrisation of neural tangent kernels.

    Weights are drawn from the standard normal distribution, and the sum over the inputs is divided
    by the root of their number, so that one learning rate suits layers of every width.

    Parameters
    ----------
    units : int
        Number of outputs.
    bias_rate : float, default=0.1
        How many times as fast as weights Adam learns biases.
    zeros : bool, default=False
        Whether weights and biases begin at zero, as for the last layer of a net.
    **kwargs : dict
        As for `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.layers import NTKDense
    >>> np.asarray(NTKDense(2, zeros=True)(np.ones((1, 3)))).tolist()
    [[0.0, 0.0]]
    """

    def __init__(self, units, bias_rate=0.1, zeros=False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.bias_rate = bias_rate
        self.zeros = zeros

    def build(self, input_shape):
        """Make the weights.

        Parameters
        ----------
        input_shape : tuple
            Shape of the inputs, (n_samples, n_inputs).
        """
        spread = 0.0 if self.zeros else 1.0
        weights = keras.initializers.RandomNormal(stddev=spread)
        biases = keras.initializers.RandomNormal(stddev=spread / self.bias_rate)
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, initializer=weights, name="kernel")
        self.bias = self.add_weight(shape=shape[1:], initializer=biases, name="bias")
        self.factor = 1 / math.sqrt(shape[0])

    def call(self, inputs):
        """Multiply inputs by the kernel, and add the bias.

        Parameters
        ----------
        inputs : tensor of shape (n_samples, n_inputs)
            Outputs of the layer before.

        Returns
        -------
        outputs : tensor of shape (n_samples, units)
            Sums.
        """
        return ops.matmul(inputs, self.kernel) * self.factor + self.bias_rate * self.bias

    def get_config(self):
        """Get the arguments of the constructor.

        Returns
        -------
        config : dict
            Values by name.
        """
        own = {"units": self.units, "bias_rate": self.bias_rate, "zeros": self.zeros}
        return {**super().get_config(), **own}
