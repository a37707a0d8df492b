"""Layers of the presets, which users import from `skkeras.models`; this module imports Keras.

Layers for tables are those of RealMLP, Holzmüller et al. (2024), "Better by Default: Strong
Pre-Tuned MLPs and Boosted Trees on Tabular Data". Some of its parameters are learnt faster or
slower than others: Adam's steps are as long whatever the gradient, so a parameter that counts six
times is learnt six times as fast.
"""

import math

import keras
import numpy as np
from keras import ops


def _registered(layer):
    """Register a layer with Keras, and let pickles and files name it where users import it."""
    layer.__module__ = "skkeras.models"
    return keras.saving.register_keras_serializable("skkeras")(layer)


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
    >>> from skkeras.models import RobustScaling
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
    >>> from skkeras.models import LearntScaling
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
    >>> from skkeras.models import NTKDense
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


@_registered
class OutputScaling(keras.layers.Layer):
    """Outputs in the units of y: ``activation(offset + scale * inputs)``, with constants of y.

    A loss in y's units has gradients in y's units, with which a step of SGD is far too large or
    far too small. Backwards the layer therefore multiplies by ``slope`` in place of ``scale``: the
    layers before it get the gradients that they would get with standardised targets.

    The constants are weights, not trained, so that fits to other targets share compiled programs.

    Parameters
    ----------
    activation : str, default="linear"
        Name of the activation, such as "exponential" for a loss of counts.
    **kwargs : dict
        As for any layer.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.models import OutputScaling
    >>> layer = OutputScaling()
    >>> layer.build((None, 1))
    >>> layer.set_weights([np.array([100.0]), np.array([5.0]), np.array([0.2])])
    >>> layer(np.array([[-1.0], [2.0]])).numpy().ravel().tolist()
    [95.0, 110.0]
    """

    def __init__(self, activation="linear", **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def get_config(self):
        """Return the parameters; what y tells is among the weights."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}

    def build(self, input_shape):
        """Make the constants: one for each value of a row; for rows of any length, each channel."""
        shape = tuple(input_shape[1:])
        shape = shape[-1:] if None in shape else shape
        constant = {"shape": shape, "trainable": False}
        self.offset = self.add_weight(initializer="zeros", name="offset", **constant)
        self.scale = self.add_weight(initializer="ones", name="scale", **constant)
        self.slope = self.add_weight(initializer="ones", name="slope", **constant)

    def call(self, inputs, training=False):
        """Scale outputs; in training by another slope, as a difference of 0 with a gradient."""
        outputs = self.offset + self.scale * inputs
        if training:
            sloped = self.slope * inputs
            outputs = ops.stop_gradient(outputs) + (sloped - ops.stop_gradient(sloped))
        return self.activation(outputs)

    def compute_output_shape(self, input_shape):
        """Return the shape of the inputs."""
        return input_shape
