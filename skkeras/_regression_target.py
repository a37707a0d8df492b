"""Regression target: numbers, one or several for each sample."""

import numpy as np
from scipy.special import expit

from skkeras._losses import BINARY_LOSSES, CATEGORICAL_LOSSES, RANGES, ROW_LOSSES
from skkeras._targets import Target, blocks, shape_text


class RegressionTarget(Target):
    """Regression targets: numbers of shape (n_samples,) or (n_samples, ...)."""

    kind = "continuous"
    classes = None
    n_classes = None
    output_activation = "linear"

    def __init__(self, y):
        self.shape = y.shape[1:]

    @property
    def n_outputs(self):
        """Units of the output layer that a builder is asked for."""
        return int(np.prod(self.shape, dtype=int))

    def default_loss(self, output_shape):
        """Name the loss for a net with such outputs."""
        return "mean_squared_error"

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these values."""
        if output_shape != self.shape and output_shape != (self.shape or (1,)):
            raise ValueError(
                f"The net's outputs have shape {shape_text(output_shape)}; y asks for "
                f"{shape_text(self.shape or (1,))}. Let the builder take n_outputs and give its "
                "last layer that many units."
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
        if loss.name not in RANGES:
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
        return y.reshape(len(y), *output_shape)

    def predictions(self, outputs, loss):
        """Return the net's outputs in the shape of y; of logits, the probabilities."""
        values = np.asarray(outputs, dtype="float64").reshape(len(outputs), *self.shape)
        # Logits of a user's own loss may mean anything.
        return expit(values) if loss.from_logits and loss.name in BINARY_LOSSES else values
