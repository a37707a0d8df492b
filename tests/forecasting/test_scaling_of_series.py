"""Units: how a net's inputs and targets are scaled."""

import numpy as np
import pytest

from skkeras.forecasting._scaling import learn_scaling


@pytest.mark.parametrize("rate", [0.19, 1e6 / 3, -1e-9 / 7])
def test_a_column_that_is_constant_but_for_rounding_keeps_its_scale(rate):
    X = np.column_stack([np.arange(112.0), np.full(112, rate)])
    units = learn_scaling(X, X[:, :1], [0], normalize=True)
    assert units.scale[1] == 1
    np.testing.assert_allclose(units.inputs(X)[:, 1], 0, atol=1e-7)


def test_a_target_is_no_column_that_is_known_in_advance():
    t = np.arange(60.0)
    X, y = np.column_stack([t, 3 * t + 5]), 3 * t[:, np.newaxis] + 5
    assert learn_scaling(X, y, None, normalize=True, known_future=[0]).own == [1]
    assert learn_scaling(X[:, :1], y, None, normalize=True, known_future=[0]).own == []
