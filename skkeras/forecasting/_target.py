"""The forecaster's target: all steps of all targets, as one row of outputs."""

import numpy as np

from skkeras._targets.regression import RegressionTarget


class HorizonTarget(RegressionTarget):
    """Forecasts of shape (horizon, n_targets), flat for the net unless it ends in that shape."""

    takes_any_shape = False  # steps and targets are told apart by their places

    def __init__(self, horizon, n_targets):
        self.shape = (horizon * n_targets,)
        self.steps = (horizon, n_targets)

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these values."""
        if output_shape != self.steps:
            super().check_net(output_shape, loss)

    def encode(self, y, output_shape, loss):
        """Return the windows of targets in the shape of the net's outputs, still not gathered."""
        extremes = np.array([[y.series.min()], [y.series.max()]])
        super().encode(extremes.repeat(self.n_outputs, axis=1), self.shape, loss)
        return y.shaped(output_shape)

    def forecasts(self, outputs):
        """Return the net's outputs as an array (n_windows, horizon, n_targets) of float64."""
        return np.asarray(outputs, dtype="float64").reshape(len(outputs), *self.steps)
