"""Layouts: which rows of X are forecast from what."""

import numpy as np
import pytest

from skkeras.forecasting._layout import join, lay_out, padded


def column(values):
    return np.asarray(values, float)[:, np.newaxis]


FILL = np.array([-1.0])


@pytest.mark.parametrize("n_before", [0, 1, 3, 7])
def test_windows_are_the_rows_before_and_what_is_missing_is_filled(n_before):
    before, X = column(np.arange(-n_before, 0)), column(np.arange(5))
    layout = lay_out(X, before, 0, look_back=3, horizon=2, fill=FILL)
    rows = padded(np.concatenate([before, X]), 3 + 5, FILL)
    for t, origin in enumerate(layout.origins):
        np.testing.assert_array_equal(layout.series[origin - 3 : origin], rows[t : t + 3])
    np.testing.assert_array_equal(layout.is_real, np.arange(5) + n_before >= 3)


def test_forecasts_whose_horizon_is_beyond_the_rows_may_be_left_out():
    parts = [
        lay_out(column(range(n)), column([8, 9]), 0, look_back=2, horizon=3, fill=FILL)
        for n in (4, 2)
    ]
    layout = join(parts, [np.array([0, 2, 3, 5]), np.array([1, 4])])
    rows, steps, outcomes = layout.scored(3, are_whole=True)
    assert (rows.tolist(), steps.tolist()) == ([0, 0, 0, 2, 2, 2], [0, 1, 2, 0, 1, 2])
    assert outcomes.tolist() == [0, 2, 3, 2, 3, 5]
    assert layout.scored(3)[0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5]
