"""Windows: what is gathered on demand equals what would have been materialised."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skkeras import data
from skkeras.forecasting._windows import inputs, outcomes, window_norms

SERIES = np.random.default_rng(0).normal(size=(40, 3))


@given(
    look_back=st.integers(1, 9),
    horizon=st.integers(1, 12),
    known_future=st.sampled_from([(), (2,), (0, 1)]),
    data=st.data(),
)
def test_gathered_windows_equal_materialised_ones(look_back, horizon, known_future, data):
    origins = np.arange(look_back, 40 - horizon + 1)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(origins) - 1), min_size=1)))
    x = inputs(SERIES, origins, look_back=look_back, horizon=horizon, known_future=known_future)
    y = outcomes(SERIES[:, :2], origins, horizon)
    assert x.shape == (len(origins), *x[:1].shape[1:])
    past = np.stack([SERIES[t - look_back : t] for t in origins[chosen]])
    np.testing.assert_array_equal(x[chosen][..., :3], past)
    np.testing.assert_array_equal(
        y[chosen], [SERIES[t : t + horizon, :2].ravel() for t in origins[chosen]]
    )
    for window, t in zip(x[chosen], origins[chosen], strict=True):
        seen = window[:, 3:]
        for i, column in enumerate(known_future):
            # The folds of a column stand next to those of the others, the earliest first.
            led = seen[:, i :: len(known_future)].T.ravel()
            np.testing.assert_array_equal(led[-horizon:], SERIES[t : t + horizon, column])
    part = x.only(chosen)
    np.testing.assert_array_equal(part[:], x[chosen])


@given(look_back=st.integers(1, 9), kind=st.sampled_from(["last", "revin"]))
def test_norms_are_those_of_the_window_alone(look_back, kind):
    origins = np.arange(look_back, 40)
    level, scale = window_norms(SERIES, origins, look_back, kind)
    windows = [SERIES[t - look_back : t] for t in origins]
    expected = [w[-1] if kind == "last" else w.mean(axis=0) for w in windows]
    np.testing.assert_allclose(level, expected)
    if kind == "revin":
        np.testing.assert_allclose(scale, np.maximum([w.std(axis=0) for w in windows], 1e-3))
    else:
        assert scale is None


def test_materialised_windows_are_views():
    past, future = data.windows(SERIES, 5, 2)
    np.testing.assert_array_equal(past[7], SERIES[7:12])
    np.testing.assert_array_equal(future[7], SERIES[12:14])
    assert past.shape == (34, 5, 3)
    assert np.shares_memory(past, SERIES)
    assert not past.flags.writeable
