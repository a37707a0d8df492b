"""Regression target: numbers, one or several for each sample."""

import numpy as np
from scipy.special import expit

from skkeras._losses import (
    BINARY_LOSSES,
    CATEGORICAL_LOSSES,
    RANGES,
    ROW_LOSSES,
    loss_name,
)
from skkeras._targets.base import Target, blocks, fits, shape_text, units_advice

_NUMBER_LOSSES = {
    *("mean_squared_error", "mean_absolute_error", "mean_squared_logarithmic_error"),
    *("mean_absolute_percentage_error", "huber", "log_cosh", "poisson"),
}


# Endings of a net whose loss is defined for some numbers only. The exponential function makes a
# generalised linear model of a linear net.
_ENDINGS = {
    **dict.fromkeys(BINARY_LOSSES, "sigmoid"),
    **dict.fromkeys(("poisson", "mean_squared_logarithmic_error"), "exponential"),
}


def ending(loss):
    """Name the activation that ends a net for numbers with such a loss."""
    return _ENDINGS.get(loss.name, "linear") if loss.is_builtin else "linear"


@np.errstate(over="ignore", invalid="ignore")  # float32, which nets take, overflows earlier
def moments(y, weight=None):
    """Return mean and standard deviation of each value in rows of y, as arrays of a row's shape.

    NaN, and rows of weight 0, don't count. Lazy arrays are read block by block.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._targets.regression import moments
    >>> moments(np.array([[1.0, 5.0], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 0.]))
    """
    total = first = second = 0.0
    start = None
    for rows, part in _weighed_blocks(y, weight):
        counts = part * np.isfinite(rows)
        start = np.nan_to_num(rows[:1]) if start is None else start
        # Around a row of it, as differences of large numbers lose digits.
        around = np.where(counts > 0, rows - start, 0.0)
        total = total + counts.sum(axis=0)
        first = first + (counts * around).sum(axis=0)
        second = second + (counts * around**2).sum(axis=0)
    total = np.where(total > 0, total, 1.0)
    mean = first / total
    spread = np.sqrt(np.maximum(second / total - mean**2, 0.0))
    # Rounding leaves a little spread to a constant.
    spread = np.where(spread > 1e-9 * np.abs(mean + start[0]), spread, 0.0)
    return mean + start[0], spread


def _weighed_blocks(y, weight):
    n_done = 0
    for rows in blocks(y):
        rows = np.asarray(rows, "float64")
        part = slice(n_done, n_done + len(rows))
        n_done = part.stop
        own = np.ones(len(rows)) if weight is None else np.asarray(weight[part], "float64")
        yield rows, own.reshape(-1, *[1] * (rows.ndim - 1))


def are_numbers(y, loss=None):
    """Tell whether an output's y are numbers, beside outputs of classes.

    They are if some aren't whole, or if a loss for numbers is named and there are others than 0, 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._targets.regression import are_numbers
    >>> are_numbers(np.array([0.5, 2])), are_numbers(np.array([5, 2])), are_numbers(
    ...     np.array([5, 2]), "mae"
    ... )
    (True, False, True)
    """
    if y.dtype.kind not in "iuf" or hasattr(y, "toarray"):
        return False
    if loss_name(loss) in _NUMBER_LOSSES and any(((b != 0) & (b != 1)).any() for b in blocks(y)):
        return True
    return y.dtype.kind == "f" and any((rows % 1).any() for rows in blocks(y))


class RegressionTarget(Target):
    """Regression targets: numbers of shape (n_samples,) or (n_samples, ...)."""

    kind = "continuous"
    classes = None
    n_classes = None
    output_activation = "linear"
    row_dtype = "float32"

    allows_nan = False

    def __init__(self, y, *, allows_nan=False):
        self.shape, self.allows_nan = y.shape[1:], allows_nan

    @property
    def n_outputs(self):
        """Units of the output layer that a builder is asked for."""
        return int(np.prod(self.shape, dtype=int))

    def ending(self, loss):
        """Name the activation of the output layer that fits a loss."""
        return ending(loss)

    def default_loss(self, output_shape):
        """Name the loss for a net with such outputs."""
        return "mean_squared_error"

    @property
    def row_shape(self):
        """Shape of a row of y."""
        return self.shape

    def some_rows(self):
        """Return rows such as y has."""
        return np.full((2, *self.shape), 0.5)

    def has_shape(self, output_shape):
        """Tell whether a net with such outputs has one for each value; None is any length."""
        return fits(self.shape, output_shape) or fits(self.shape or (1,), output_shape)

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these values."""
        if not self.has_shape(output_shape) and not self.has_any_shape(loss):
            raise ValueError(
                f"The net's outputs have shape {shape_text(output_shape)}; y asks for "
                f"{shape_text(self.shape or (1,))}. {units_advice(self.shape, output_shape)}"
            )
        if loss.name in CATEGORICAL_LOSSES:
            raise ValueError(
                f"loss={loss.name!r} doesn't fit a regressor: it expects classes, and y holds "
                "numbers. Use loss='mean_squared_error', or a KerasClassifier."
            )
        if loss.name in ROW_LOSSES and output_shape in ((), (1,)):
            raise ValueError(
                f"loss={loss.name!r} doesn't fit a net with one output unit: it compares the units "
                "of a row with each other. Use loss='mean_squared_error'."
            )

    def check(self, y, loss):
        """Raise unless y has the shape of the first fit's, and numbers that the loss takes."""
        # (n,) and (n, 1) are interchangeable between fits.
        if y.shape[1:] != self.shape and {y.shape[1:], self.shape} != {(), (1,)}:
            raise ValueError(
                f"y has shape {y.shape}; expected {shape_text(self.shape, 'n_samples')}, as in the "
                "first fit."
            )
        if self.allows_nan and loss.is_builtin and any(np.isnan(rows).any() for rows in blocks(y)):
            raise ValueError(
                f"y has NaN in it, of which loss={loss.name!r} makes NaN; expected a loss of your "
                "own that leaves NaN out, such as keras.ops.where(keras.ops.isnan(y_true), 0.0, "
                "...) of errors computed from keras.ops.nan_to_num(y_true), or numbers alone."
            )
        if loss.name not in RANGES or not loss.is_builtin:
            return
        low, high = RANGES[loss.name]
        extremes = [(float(rows.min()), float(rows.max())) for rows in blocks(y)]
        least, most = min(low for low, _ in extremes), max(high for _, high in extremes)
        if least < low or most > high:
            span = f"between {low} and {high}" if high < np.inf else f"of at least {low}"
            raise ValueError(
                f"loss={loss.name!r} doesn't fit y, which runs from {least:g} to {most:g}: "
                f"it expects values {span}. Use loss='mean_squared_error', or scale y."
            )

    def encode_rows(self, y, output_shape, loss):
        """Return the values in the shape of the net's outputs."""
        y = y if y.dtype.kind == "f" else y.astype("float64")
        if loss.y_shape is not None:
            return y.reshape(len(y), *loss.y_shape)
        return y.reshape(len(y), *(self.shape if None in output_shape else output_shape))

    def predictions(self, outputs, loss):
        """Return the net's outputs in the shape of y; of logits, the probabilities.

        Of a net whose outputs have another shape than y, as its loss allows, they are as they come.
        """
        values = np.asarray(outputs, dtype="float64")
        if loss.y_shape is not None:
            return values
        values = values.reshape(len(outputs), *self.shape)
        # Logits of a user's own loss may mean anything.
        return expit(values) if loss.from_logits and loss.name in BINARY_LOSSES else values
