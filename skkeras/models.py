"""Presets: the builders that ship with the library, to use by name or to copy and change.

A preset is a plain Keras builder. It takes the facts about the data by name, as every builder
does, and its hyperparameters as keywords, so ``KerasClassifier("mlp", model__units=64)`` reaches
``units`` of :func:`mlp`. It returns a model that is not compiled. To go further than a preset's
hyperparameters, copy its body, without the checks on top, into a builder of your own.
"""

from numbers import Integral, Real
from types import MappingProxyType

import numpy as np

from skkeras._hints import suggestion
from skkeras._versions import map_steps

# Layers are found by `__getattr__`.
__all__ = [  # noqa: F822
    "LearntScaling",
    "NTKDense",
    "OutputScaling",
    "RobustScaling",
    "cnn",
    "dlinear",
    "find_preset",
    "gru",
    "linear",
    "lstm",
    "mlp",
    "nlinear",
    "nlinear_mlp",
    "tabular",
    "tcn",
]


def mlp(
    input_shape,
    n_outputs,
    output_activation,
    *,
    units=100,
    activation="relu",
    dropout=0.0,
    normalization=None,
    output_scaling=None,
):
    """Build a multilayer perceptron; the default preset.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one row. More than one dimension is flattened.
    n_outputs : int
        Units of the output layer.
    output_activation : str
        Activation of the output layer.
    units : int or sequence of int, default=100
        Units of each hidden layer; an int makes one layer.
    activation : str or callable, default="relu"
        Activation of the hidden layers: a name that Keras knows, or a function.
    dropout : float, default=0.0
        Fraction of each hidden layer's outputs that training drops, in [0, 1).
    normalization : {"layer", "batch"}, default=None
        Normalise each hidden layer before its activation, with Keras's LayerNormalization or
        BatchNormalization. None leaves it out.

    output_scaling : keras.Layer, default=None
        Last layer, which brings the outputs of a regressor into the units of y. None leaves it out.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter or the shape cannot be used; the message names it.

    Examples
    --------
    >>> from skkeras import models
    >>> net = models.mlp((30,), 1, "sigmoid", units=(64, 32), dropout=0.2)
    >>> net.output_shape, net.count_params()
    ((None, 1), 4097)
    >>> models.mlp((30,), 1, "sigmoid", units=0)
    Traceback (most recent call last):
    ...
    ValueError: Got units=0; expected an int of at least 1, or a sequence of them, one for each \
layer, such as 64 or (64, 32).
    """
    import keras

    _check_input_shape("mlp", input_shape)
    _check_hidden_layers(activation, dropout, normalization, units=units)
    layers = [keras.Input(input_shape)]
    if len(input_shape) > 1:
        layers.append(keras.layers.Flatten())
    for size in np.atleast_1d(units).tolist():
        layers.append(keras.layers.Dense(size))
        if normalization == "layer":
            layers.append(keras.layers.LayerNormalization())
        if normalization == "batch":
            layers.append(keras.layers.BatchNormalization())
        layers.append(keras.layers.Activation(activation))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    layers += _output(n_outputs, output_activation, output_scaling)
    return keras.Sequential(layers)


def tabular(
    input_shape,
    n_outputs,
    output_activation,
    n_classes=None,
    X=None,
    *,
    units=(128, 128),
    activation=None,
    output_scaling=None,
):
    """Build a multilayer perceptron for tables in their own units, after RealMLP-TD-S.

    As in the simplified variant of Holzmüller et al. (2024), "Better by Default": columns are
    scaled by the medians and interquartile ranges of the training rows and smoothly clipped, both
    inside the net; each has a factor to learn; weights are in the parametrisation of neural tangent
    kernels; estimators train it by a recipe of its own. That has 64 epochs and two layers of 128,
    which take a fraction of the time of the published ``units=(256, 256, 256)`` and 256 epochs.
    Encode categories before, by a `sklearn.preprocessing.OneHotEncoder`.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one row. More than one dimension is flattened.
    n_outputs : int
        Units of the output layer.
    output_activation : str
        Activation of the output layer.
    n_classes : int, default=None
        Number of classes; None for numbers.
    X : array-like of shape (n_samples, ...), default=None
        Training rows, whose columns' medians and ranges the net keeps. None leaves columns as they
        are, but clipped.
    units : int or sequence of int, default=(128, 128)
        Units of each hidden layer; an int makes one layer.
    activation : str or callable, default=None
        Activation of the hidden layers: a name that Keras knows, or a function. None is "selu"
        for classes and "mish" for numbers.
    output_scaling : keras.Layer, default=None
        Last layer, which brings the outputs of a regressor into the units of y. None leaves it out.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter or the shape cannot be used; the message names it.

    Examples
    --------
    >>> from skkeras import models
    >>> net = models.tabular((30,), 1, "sigmoid", n_classes=2)
    >>> [type(layer).__name__ for layer in net.layers][:3], net.output_shape
    (['RobustScaling', 'LearntScaling', 'NTKDense'], (None, 1))
    """
    import keras

    from skkeras._keras_objects.preset_layers import LearntScaling, NTKDense, RobustScaling

    _check_input_shape("tabular", input_shape)
    _check_sizes("units", units)
    _check_activation(activation)
    hidden = activation or ("mish" if n_classes is None else "selu")
    # Half precision can't hold columns in their own units.
    scaling = RobustScaling(dtype=keras.config.floatx(), name="scaling")
    layers = [keras.Input(input_shape)]
    if len(input_shape) > 1:
        layers.append(keras.layers.Flatten())
    layers += [scaling, LearntScaling()]
    for size in np.atleast_1d(units).tolist():
        layers += [NTKDense(size), keras.layers.Activation(hidden)]
    layers += [NTKDense(n_outputs, zeros=True), keras.layers.Activation(output_activation)]
    layers += [] if output_scaling is None else [output_scaling]
    net = keras.Sequential(layers)
    if X is not None:
        some = X[:: 1 + len(X) // _MANY_ROWS]  # as good for medians, and rows may be in files
        scaling.adapt(np.reshape(some, (len(some), -1)))
    return net


def cnn(
    input_shape,
    n_outputs,
    output_activation,
    *,
    filters=(32, 64),
    kernel_size=3,
    pool_size=2,
    units=64,
    activation="relu",
    dropout=0.0,
    normalization=None,
    output_scaling=None,
):
    """Build a convolutional network for images: convolutions with pooling, then dense layers.

    Edges are padded, so that no image is too small for the layers asked for.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one image: (height, width) or (height, width, channels).
    n_outputs : int
        Units of the output layer.
    output_activation : str
        Activation of the output layer.
    filters : int or sequence of int, default=(32, 64)
        Filters of each convolution; an int makes one.
    kernel_size : int or pair of int, default=3
        Height and width, in pixels, of each convolution's window.
    pool_size : int or pair of int, default=2
        Factor by which the maximum over neighbours shrinks height and width after each
        convolution; 1 keeps them.
    units : int or sequence of int, default=64
        Units of each dense hidden layer after the convolutions.
    activation : str or callable, default="relu"
        Activation of the hidden layers: a name that Keras knows, or a function.
    dropout : float, default=0.0
        Fraction of each dense hidden layer's inputs that training drops, in [0, 1).
    normalization : {"layer", "batch"}, default=None
        Normalise each convolution before its activation, with Keras's LayerNormalization (over
        the filters of a pixel) or BatchNormalization. None leaves it out.

    output_scaling : keras.Layer, default=None
        Last layer, which brings the outputs of a regressor into the units of y. None leaves it out.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter or the shape cannot be used; the message names it.

    Examples
    --------
    >>> from skkeras import models
    >>> models.cnn((8, 8), 10, "softmax").output_shape
    (None, 10)
    >>> models.cnn((64,), 10, "softmax")
    Traceback (most recent call last):
    ...
    ValueError: Got rows of shape input_shape=(64,); expected (height, width) or (height, width, \
channels) for model='cnn'. Reshape X so that each row is an image, or use model='mlp'.
    """
    import keras

    _check_input_shape("cnn", input_shape)
    _check_hidden_layers(activation, dropout, normalization, filters=filters)
    _check_sizes("units", units)
    _check_window("kernel_size", kernel_size)
    _check_window("pool_size", pool_size)
    kernel_size = np.broadcast_to(kernel_size, 2).tolist()
    pool_size = np.broadcast_to(pool_size, 2).tolist()
    layers = [keras.Input(input_shape)]
    if len(input_shape) == 2:
        layers.append(keras.layers.Reshape((*input_shape, 1)))
    for size in np.atleast_1d(filters).tolist():
        layers.append(keras.layers.Conv2D(size, kernel_size, padding="same"))
        if normalization == "layer":
            layers.append(keras.layers.LayerNormalization())
        if normalization == "batch":
            layers.append(keras.layers.BatchNormalization())
        layers.append(keras.layers.Activation(activation))
        layers.append(keras.layers.MaxPooling2D(pool_size, padding="same"))
    layers.append(keras.layers.Flatten())
    for size in np.atleast_1d(units).tolist():
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
        layers.append(keras.layers.Dense(size, activation=activation))
    layers += _output(n_outputs, output_activation, output_scaling)
    return keras.Sequential(layers)


def lstm(
    input_shape,
    n_outputs,
    output_activation,
    *,
    units=64,
    activation="tanh",
    dropout=0.0,
    normalization=None,
    output_scaling=None,
):
    """Build a recurrent network of LSTM layers for sequences.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sequence: (steps, features).
    n_outputs : int
        Units of the output layer, which follows the last step.
    output_activation : str
        Activation of the output layer.
    units : int or sequence of int, default=64
        Units of each LSTM layer; an int makes one layer.
    activation : str or callable, default="tanh"
        Activation of the LSTM layers: a name that Keras knows, or a function.
    dropout : float, default=0.0
        Fraction of each LSTM layer's outputs that training drops, in [0, 1).
    normalization : {"layer", "batch"}, default=None
        Normalise the outputs of each LSTM layer, with Keras's LayerNormalization or
        BatchNormalization. None leaves it out.

    output_scaling : keras.Layer, default=None
        Last layer, which brings the outputs of a regressor into the units of y. None leaves it out.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter or the shape cannot be used; the message names it.

    Examples
    --------
    >>> from skkeras import models
    >>> models.lstm((24, 3), 1, "linear", units=(32, 16)).output_shape
    (None, 1)
    >>> models.lstm((24,), 1, "linear")
    Traceback (most recent call last):
    ...
    ValueError: Got rows of shape input_shape=(24,); expected (steps, features) for model='lstm'. \
Reshape X so that each row is a sequence, X[..., None] for one feature, or use model='mlp'.
    """
    import keras

    _check_input_shape("lstm", input_shape)
    _check_hidden_layers(activation, dropout, normalization, units=units)
    return _recurrent(
        keras.layers.LSTM,
        input_shape,
        _output(n_outputs, output_activation, output_scaling),
        units,
        activation,
        dropout,
        normalization,
    )


def gru(
    input_shape,
    n_outputs,
    output_activation,
    *,
    units=64,
    activation="tanh",
    dropout=0.0,
    normalization=None,
    output_scaling=None,
):
    """Build a recurrent network of GRU layers for sequences.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sequence: (steps, features).
    n_outputs : int
        Units of the output layer, which follows the last step.
    output_activation : str
        Activation of the output layer.
    units : int or sequence of int, default=64
        Units of each GRU layer; an int makes one layer.
    activation : str or callable, default="tanh"
        Activation of the GRU layers: a name that Keras knows, or a function.
    dropout : float, default=0.0
        Fraction of each GRU layer's outputs that training drops, in [0, 1).
    normalization : {"layer", "batch"}, default=None
        Normalise the outputs of each GRU layer, with Keras's LayerNormalization or
        BatchNormalization. None leaves it out.

    output_scaling : keras.Layer, default=None
        Last layer, which brings the outputs of a regressor into the units of y. None leaves it out.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter or the shape cannot be used; the message names it.

    Examples
    --------
    >>> from skkeras import models
    >>> models.gru((24, 3), 1, "linear", normalization="layer").output_shape
    (None, 1)
    >>> models.gru((24, 3), 1, "linear", normalization="foo")
    Traceback (most recent call last):
    ...
    ValueError: Got normalization='foo'; expected 'layer', 'batch' or None.
    """
    import keras

    _check_input_shape("gru", input_shape)
    _check_hidden_layers(activation, dropout, normalization, units=units)
    return _recurrent(
        keras.layers.GRU,
        input_shape,
        _output(n_outputs, output_activation, output_scaling),
        units,
        activation,
        dropout,
        normalization,
    )


def _recurrent(layer, input_shape, output, units, activation, dropout, normalization):
    import keras

    layers = [keras.Input(input_shape)]
    sizes = np.atleast_1d(units).tolist()
    for i, size in enumerate(sizes, start=1):
        layers.append(layer(size, activation=activation, return_sequences=i < len(sizes)))
        if normalization == "layer":
            layers.append(keras.layers.LayerNormalization())
        if normalization == "batch":
            layers.append(keras.layers.BatchNormalization())
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    return keras.Sequential([*layers, *output])


def linear(input_shape, n_outputs, output_activation, *, output_scaling=None):
    """Build a linear or logistic regression: an output layer and nothing before it.

    Without hidden layers there is nothing to size, drop or normalise, so it takes no
    hyperparameters.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one row. More than one dimension is flattened.
    n_outputs : int
        Units of the output layer.
    output_activation : str
        Activation of the output layer.

    output_scaling : keras.Layer, default=None
        Last layer, which brings the outputs of a regressor into the units of y. None leaves it out.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If the shape cannot be used.

    Examples
    --------
    >>> from skkeras import models
    >>> models.linear((30,), 1, "linear").count_params()
    31
    """
    import keras

    _check_input_shape("linear", input_shape)
    layers = [keras.Input(input_shape)]
    if len(input_shape) > 1:
        layers.append(keras.layers.Flatten())
    layers += _output(n_outputs, output_activation, output_scaling)
    return keras.Sequential(layers)


def nlinear(input_shape, n_outputs, output_activation, meta=None):
    """Build NLinear: one linear map from each channel's past to its future, around its last value.

    After Zeng et al. (2023), "Are transformers effective for time series forecasting?". All
    channels that are forecast share the weights. Channels that are not forecast, if there are
    any, add a linear map of their own.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one window: (steps, channels).
    n_outputs : int
        Units of the output layer: all forecast channels of the first step, then of the next.
    output_activation : str
        Activation of the output layer.
    meta : dict, default=None
        Its ``target_columns_`` are the channels that are forecast. Without, they are all, if
        ``n_outputs`` is a multiple of them, or none.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If the shape cannot be used.

    Examples
    --------
    >>> from skkeras import models
    >>> models.nlinear((336, 7), 96 * 7, "linear").count_params()
    32352
    """
    import keras

    _check_input_shape("nlinear", input_shape)
    inputs = keras.Input(input_shape)
    targets, others = _channels(inputs, n_outputs, meta)
    outputs = []
    if targets is not None:
        last = targets[:, -1:]
        horizon = n_outputs // targets.shape[2]
        outputs.append(keras.layers.Flatten()(_ahead(targets - last, horizon) + last))
    if others is not None:
        outputs.append(_dense(n_outputs, others.shape[1])(others))
    return _sum_up(inputs, outputs, output_activation)


def dlinear(input_shape, n_outputs, output_activation, *, kernel_size=25, meta=None):
    """Build DLinear: linear maps of each channel's moving average and of what is left.

    After Zeng et al. (2023), "Are transformers effective for time series forecasting?". All
    channels that are forecast share the weights. Channels that are not forecast, if there are
    any, add a linear map of their own.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one window: (steps, channels).
    n_outputs : int
        Units of the output layer: all forecast channels of the first step, then of the next.
    output_activation : str
        Activation of the output layer.
    kernel_size : int, default=25
        Steps of the moving average; the window's ends are repeated beyond them.
    meta : dict, default=None
        Its ``target_columns_`` are the channels that are forecast. Without, they are all, if
        ``n_outputs`` is a multiple of them, or none.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter or the shape cannot be used; the message names it.

    Examples
    --------
    >>> from skkeras import models
    >>> models.dlinear((336, 7), 96 * 7, "linear").count_params()
    64704
    """
    import keras

    _check_input_shape("dlinear", input_shape)
    _check_sizes("kernel_size", kernel_size)
    inputs = keras.Input(input_shape)
    targets, others = _channels(inputs, n_outputs, meta)
    outputs = []
    if targets is not None:
        horizon = n_outputs // targets.shape[2]
        before, after = (kernel_size - 1) // 2, kernel_size // 2
        ends = [targets[:, :1]] * before, [targets[:, -1:]] * after
        padded = keras.layers.Concatenate(axis=1)([*ends[0], targets, *ends[1]])
        trend = keras.layers.AveragePooling1D(kernel_size, strides=1)(padded)
        ahead = _ahead(trend, horizon) + _ahead(targets - trend, horizon)
        outputs.append(keras.layers.Flatten()(ahead))
    if others is not None:
        outputs.append(_dense(n_outputs, others.shape[1])(others))
    return _sum_up(inputs, outputs, output_activation)


def nlinear_mlp(
    input_shape,
    n_outputs,
    output_activation,
    *,
    units=128,
    activation="relu",
    dropout=0.0,
    meta=None,
):
    """Build NLinear with a level and a hidden layer for covariates; the forecaster's default.

    Each channel's linear map around its last value, as in :func:`nlinear`, is the skip of a dense
    net, as in Das et al. (2023), "Long-term forecasting with TiDE: time-series dense encoder".
    Channels that are not forecast, known in advance or not, go through hidden layers together with
    those that are. Without such channels there is no hidden layer. The mean of each
    channel's window counts, too, so that forecasts can return to a level: by the part of it that
    its standard error explains, which is small where levels move. All maps begin with zeros, so
    that a net begins as the last value, and leaves it as far as training finds better.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one window: (steps, channels).
    n_outputs : int
        Units of the output layer: all forecast channels of the first step, then of the next.
    output_activation : str
        Activation of the output layer.
    units : int or sequence of int, default=128
        Units of each hidden layer; an int makes one layer.
    activation : str or callable, default="relu"
        Activation of the hidden layers: a name that Keras knows, or a function.
    dropout : float, default=0.0
        Fraction of each hidden layer's outputs that training drops, in [0, 1).
    meta : dict, default=None
        Its ``target_columns_`` are the channels that are forecast. Without, they are all, if
        ``n_outputs`` is a multiple of them, or none.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter or the shape cannot be used; the message names it.

    Examples
    --------
    >>> from skkeras import models
    >>> models.nlinear_mlp((336, 7), 96 * 7, "linear").count_params()
    32448
    >>> meta = {"target_columns_": [0]}
    >>> models.nlinear_mlp((24, 3), 12, "linear", units=(64, 64), meta=meta).output_shape
    (None, 12)
    """
    import keras

    _check_input_shape("nlinear_mlp", input_shape)
    _check_hidden_layers(activation, dropout, None, units=units)
    inputs = keras.Input(input_shape)
    targets, others = _channels(inputs, n_outputs, meta)
    outputs, seen = [], []
    if targets is not None:
        last, horizon = targets[:, -1:], n_outputs // targets.shape[2]
        changes, level = targets - last, _level_by_chance(targets)
        by_change = map_steps(keras.layers.Dense(horizon, kernel_initializer="zeros"), changes)
        by_level = keras.layers.Dense(horizon, kernel_initializer="zeros", use_bias=False)
        # Adam's steps are as long for all weights; few epochs of a short series need longer ones.
        ahead = last + by_change + 3 * map_steps(by_level, level)
        outputs.append(keras.layers.Flatten()(ahead))
        seen.append(keras.layers.Flatten()(targets))
    if others is not None:
        hidden = keras.layers.Concatenate()([*seen, others]) if seen else others
        for size in np.atleast_1d(units).tolist():
            hidden = keras.layers.Dense(size, activation=activation)(hidden)
            if dropout:
                hidden = keras.layers.Dropout(dropout)(hidden)
        outputs.append(keras.layers.Dense(n_outputs, kernel_initializer="zeros")(hidden))
    return _sum_up(inputs, outputs, output_activation)


def tcn(
    input_shape,
    n_outputs,
    output_activation,
    *,
    filters=(32, 32, 32, 32),
    kernel_size=3,
    activation="relu",
    dropout=0.0,
    output_scaling=None,
):
    """Build a temporal convolutional network: causal convolutions, each twice as far apart.

    After Bai et al. (2018), "An empirical evaluation of generic convolutional and recurrent
    networks for sequence modeling", with one convolution in a block.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sequence: (steps, features).
    n_outputs : int
        Units of the output layer, which follows the last step.
    output_activation : str
        Activation of the output layer.
    filters : int or sequence of int, default=(32, 32, 32, 32)
        Filters of each block; the dilation is 1, 2, 4 and so on.
    kernel_size : int, default=3
        Steps that a convolution combines.
    activation : str or callable, default="relu"
        Activation of the hidden layers: a name that Keras knows, or a function.
    dropout : float, default=0.0
        Fraction of each block's outputs that training drops, in [0, 1).

    output_scaling : keras.Layer, default=None
        Last layer, which brings the outputs of a regressor into the units of y. None leaves it out.

    Returns
    -------
    model : keras.Model
        Not compiled.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter or the shape cannot be used; the message names it.

    Examples
    --------
    >>> from skkeras import models
    >>> models.tcn((24, 3), 12, "linear", filters=(16, 16)).output_shape
    (None, 12)
    """
    import keras

    _check_input_shape("tcn", input_shape)
    _check_hidden_layers(activation, dropout, None, filters=filters, kernel_size=kernel_size)
    inputs = hidden = keras.Input(input_shape)
    for i, size in enumerate(np.atleast_1d(filters).tolist()):
        convolved = keras.layers.Conv1D(
            size, kernel_size, dilation_rate=2**i, padding="causal", activation=activation
        )(hidden)
        if dropout:
            convolved = keras.layers.Dropout(dropout)(convolved)
        if hidden.shape[-1] != size:
            hidden = keras.layers.Conv1D(size, 1)(hidden)
        hidden = hidden + convolved
    outputs = hidden[:, -1]
    for layer in _output(n_outputs, output_activation, output_scaling):
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def _output(n_outputs, activation, scaling):
    """Make the layers that a net ends in."""
    import keras

    output = keras.layers.Dense(n_outputs, activation=activation)
    return [output] if scaling is None else [output, scaling]


def _channels(inputs, n_outputs, meta):
    """Split windows into the channels that are forecast and the others, flat; or None."""
    import keras

    n_channels = inputs.shape[2]
    every = range(n_channels) if n_outputs % n_channels == 0 else ()
    targets = list((meta or {}).get("target_columns_", every))
    others = [channel for channel in range(n_channels) if channel not in targets]
    if not others and targets == [*every]:
        return inputs, None
    parts = [keras.ops.take(inputs, part, axis=2) if part else None for part in (targets, others)]
    return parts[0], None if parts[1] is None else keras.layers.Flatten()(parts[1])


def _level_by_chance(channels):
    """Return the mean of each channel, times the share of its square that its error explains.

    The error counts 4 times, for values that follow each other are alike.
    """
    import keras

    level = keras.ops.mean(channels, axis=1, keepdims=True)
    error = 4 / channels.shape[1] * keras.ops.var(channels, axis=1, keepdims=True)
    return level * error / (error + level * level + 1e-9)


def _ahead(channels, horizon):
    """Map the steps of each channel to those of the horizon, by shared weights."""
    return map_steps(_dense(horizon, channels.shape[1]), channels)


def _dense(units, n_inputs):
    """Make a linear layer that starts from U(-b, b), b = 1 / sqrt(n_inputs), as in the paper."""
    import keras

    bound = n_inputs**-0.5
    return keras.layers.Dense(
        units, kernel_initializer=keras.initializers.RandomUniform(-bound, bound)
    )


def _sum_up(inputs, outputs, activation):
    import keras

    total = outputs[0] if len(outputs) == 1 else keras.layers.Add()(outputs)
    return keras.Model(inputs, keras.layers.Activation(activation)(total))


PRESETS = MappingProxyType(
    {
        "mlp": mlp,
        "tabular": tabular,
        "cnn": cnn,
        "lstm": lstm,
        "gru": gru,
        "linear": linear,
        "nlinear": nlinear,
        "dlinear": dlinear,
        "nlinear_mlp": nlinear_mlp,
        "tcn": tcn,
    }
)


# Rows that tell medians and ranges of columns well enough.
_MANY_ROWS = 100_000

# How a preset is trained where its user doesn't say; `_recipe_of` adds what differs.
_RECIPE = {"fit__epochs": 100, "fit__batch_size": 32}
_RECIPES = {
    "tabular": {
        "fit__epochs": 64,
        "fit__batch_size": 256,
        "optimizer__beta_2": 0.95,
        "optimizer__schedule": "coslog4",
        "early_stopping__patience": 64,  # any epoch may be the best, as its waves begin anew
    },
}
# Rows from which early_stopping="auto" holds some out, where a recipe looks for the best epoch.
_LEAST_ROWS = {"tabular": 100}
_FOR_CLASSES = {"tabular": {"optimizer__learning_rate": 0.04, "loss__label_smoothing": 0.1}}
_FOR_NUMBERS = {"tabular": {"optimizer__learning_rate": 0.07}}


def _recipe_of(model, *, has_classes):
    """Return how to train the nets of a preset, as routed parameters; of others the usual."""
    if not (isinstance(model, str) and model in _RECIPES):
        return _RECIPE
    return {**_RECIPES[model], **(_FOR_CLASSES if has_classes else _FOR_NUMBERS)[model]}


def find_preset(name):
    """Look up a preset's builder by its name.

    Parameters
    ----------
    name : str
        One of the keys of ``PRESETS``.

    Returns
    -------
    builder : callable
        The preset.

    Raises
    ------
    ValueError
        If there is no such preset; the message names the nearest one.

    Examples
    --------
    >>> from skkeras.models import find_preset
    >>> find_preset("mlp").__name__
    'mlp'
    >>> find_preset("mpl")
    Traceback (most recent call last):
    ...
    ValueError: Got model='mpl'; expected the name of a preset, a builder or a keras.Model. Did \
you mean 'mlp'? Accepted: 'cnn', 'dlinear', 'gru', 'linear', 'lstm', \
'mlp', 'nlinear', 'nlinear_mlp', 'tabular', 'tcn'.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(
            f"Got model={name!r}; expected the name of a preset, a builder or a keras.Model. "
            f"{suggestion(name, PRESETS)}"
        ) from None


# Layers of presets, for builders of users' own.
_LAYERS = ("LearntScaling", "NTKDense", "OutputScaling", "RobustScaling")

# What one row has to look like: in words, the ranks, and how to get there.
_IMAGE = (
    "(height, width) or (height, width, channels)",
    (2, 3),
    "Reshape X so that each row is an image",
)
_SEQUENCE = (
    "(steps, features)",
    (2,),
    "Reshape X so that each row is a sequence, X[..., None] for one feature",
)
_ROWS = {
    "cnn": _IMAGE,
    **dict.fromkeys(("lstm", "gru", "tcn", "nlinear", "dlinear", "nlinear_mlp"), _SEQUENCE),
}


def _check_input_shape(preset, input_shape):
    if not isinstance(input_shape, (tuple, list)):
        raise TypeError(
            f"Got input_shape={input_shape!r}; expected a tuple of int, because model={preset!r} "
            "takes one input. Write a builder for several inputs."
        )
    if not input_shape:
        raise ValueError(
            f"Got rows of shape input_shape=(); expected (features,) or more for model={preset!r}. "
            "Reshape X with X[:, None] if these are numbers; write a builder that starts with "
            "keras.layers.TextVectorization if they are strings."
        )
    if preset in _ROWS:
        expected, ranks, remedy = _ROWS[preset]
        if len(input_shape) not in ranks:
            raise ValueError(
                f"Got rows of shape input_shape={tuple(input_shape)}; expected {expected} for "
                f"model={preset!r}. {remedy}, or use model='mlp'."
            )
    # Recurrent layers take any number of steps; the others turn all of a row into weights.
    fixed = input_shape[1:] if preset in ("lstm", "gru", "tcn") else input_shape
    if None in fixed:
        raise ValueError(
            f"Got rows of shape input_shape={tuple(input_shape)}; expected sizes that are known "
            f"for model={preset!r}. Pad or crop X so that all rows have one shape."
        )


def _check_sizes(name, value):
    if isinstance(value, (list, tuple, np.ndarray)):
        sizes = list(value)
    else:
        sizes = [value]
    if not sizes or not all(_is_size(size) for size in sizes):
        raise ValueError(
            f"Got {name}={value!r}; expected an int of at least 1, or a sequence of them, one for "
            "each layer, such as 64 or (64, 32)."
        )


def _check_window(name, value):
    sizes = value if isinstance(value, (list, tuple)) else [value, value]
    if len(sizes) != 2 or not all(_is_size(size) for size in sizes):
        raise ValueError(
            f"Got {name}={value!r}; expected an int of at least 1, or two of them for height and "
            "width."
        )


def _check_hidden_layers(activation, dropout, normalization, **sizes):
    _check_activation(activation)
    if isinstance(dropout, bool) or not isinstance(dropout, Real) or not 0 <= dropout < 1:
        raise ValueError(
            f"Got dropout={dropout!r}; expected a fraction of at least 0 and below 1, such as 0.2."
        )
    if normalization not in ("layer", "batch", None):
        raise ValueError(f"Got normalization={normalization!r}; expected 'layer', 'batch' or None.")
    for name, value in sizes.items():
        _check_sizes(name, value)
        if normalization == "layer" and np.min(value) == 1:
            raise ValueError(
                f"Got normalization='layer' and {name}={value!r}; expected layers of at least 2, "
                f"because a layer of 1 is normalised to a constant. Take larger {name}, or "
                "normalization='batch'."
            )


def _check_activation(activation):
    import keras

    is_layer = isinstance(activation, (type, keras.Layer))
    try:
        known = not is_layer and callable(keras.activations.get(activation))
    except (TypeError, ValueError):
        known = False
    if not known and activation is not None:
        # A layer may have weights, and one object in several layers or nets would share them.
        raise ValueError(
            f"Got activation={activation!r}; expected a function, or the name of one in "
            "keras.activations, such as 'relu', 'tanh' or 'gelu'. Write a builder to put layers "
            "between others."
        )


def _is_size(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def __getattr__(name):
    # Layers of Keras, and importing this module doesn't import Keras.
    if name in _LAYERS:
        from skkeras._keras_objects import preset_layers

        return getattr(preset_layers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
