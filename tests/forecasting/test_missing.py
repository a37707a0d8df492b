"""missing="skip": windows that touch NaN or a hole are left out, and forecasts fill them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import TimeSeriesSplit, cross_val_score

from skkeras import DummyForecaster, KerasForecaster, forecast_scorer

FROZEN = {"optimizer": "sgd", "optimizer__learning_rate": 0.0, "loss": "mae", "epochs": 1}
LOOK_BACK = 3


def plus_one(input_shape, n_outputs):
    """A net that forecasts the last value of the first column, and one more for each step."""
    import keras

    window = keras.Input(input_shape)
    last = keras.layers.Flatten()(keras.layers.Cropping1D((input_shape[0] - 1, 0))(window))
    kernel = np.zeros((input_shape[1], n_outputs))
    kernel[0] = 1
    dense = keras.layers.Dense(n_outputs)
    model = keras.Model(window, dense(last))
    dense.set_weights([kernel, 1.0 + np.arange(n_outputs)])
    return model


def net_of(**parameters):
    settings = {"look_back": LOOK_BACK, "normalize": False, "missing": "skip", "target": 0}
    return KerasForecaster(plus_one, **{**settings, **FROZEN, **parameters})


def tens(n_rows=40, n_columns=1):
    """Rows that tell where they stand, all the same in each column."""
    return np.tile(10.0 * np.arange(n_rows)[:, np.newaxis], n_columns)


def dated(values, start="2024-01-01"):
    return pd.DataFrame(values, index=pd.date_range(start, periods=len(values)))


def whole_origins(is_missing, horizon, look_back=LOOK_BACK):
    """The rows that windows without a missing row forecast first."""
    return [
        t
        for t in range(look_back, len(is_missing) - horizon + 1)
        if not is_missing[t - look_back : t + horizon].any()
    ]


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("where", ["target", "covariate", "y"])
def test_windows_that_touch_missing_values_are_not_trained_on(horizon, where):
    X, y, missing = tens(n_columns=2), tens()[:, 0], [0, 12, 13, 25, 39]
    if where == "y":
        y[missing] = np.nan
        expected = [
            t for t in range(LOOK_BACK, 41 - horizon) if np.isfinite(y[t : t + horizon]).all()
        ]
    else:
        X[missing, 0 if where == "target" else 1] = np.nan
        expected = whole_origins(np.isnan(X).any(axis=1), horizon)
    net = net_of(horizon=horizon, target=None if where == "y" else 0)
    net._check_parameters()
    examples = net._examples(X, y if where == "y" else None, use="fit")
    np.testing.assert_array_equal(examples.X[:][:, -1, 0], 10.0 * np.array(expected) - 10)
    np.testing.assert_array_equal(examples.y[:][:, 0], 10.0 * np.array(expected))


def test_missing_values_are_left_out_of_the_units():
    X = np.random.default_rng(0).normal(3, 5, size=(60, 2))
    X[[4, 5, 30], 0] = np.nan
    net = KerasForecaster(
        "linear", look_back=LOOK_BACK, target=0, missing="skip", epochs=1, random_state=0
    ).fit(X)
    whole = X[np.isfinite(X).all(axis=1)]
    np.testing.assert_allclose(net._learned.scaling.center, whole.mean(axis=0))
    np.testing.assert_allclose(net._learned.scaling.scale, whole.std(axis=0))


def test_missing_values_are_like_rows_that_an_index_leaves_out():
    X = dated(np.random.default_rng(0).normal(size=(80, 1)))
    X.iloc[[20, 21, 50, 66, 71], 0] = np.nan
    results = []
    for rows in (X, X.dropna()):
        net = KerasForecaster(
            "linear", look_back=LOOK_BACK, horizon=2, target=0, missing="skip", epochs=3,
            freq="D", random_state=0,
        ).fit(rows[: "2024-03-01"])  # fmt: skip
        truth, forecasts, outcome = net.pairs(rows["2024-03-02":])
        when = rows["2024-03-02":].index[outcome]
        results.append((truth, forecasts, when.to_numpy(), net.forecast(2).to_numpy()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("missing", [[], [0], [4, 5], [19]])
@pytest.mark.parametrize("missing_before", [[], [17], [19]])
def test_forecasts_are_scored_whose_window_and_steps_are_known(missing, missing_before):
    horizon, X = 2, tens()
    X[[*missing_before, *(20 + row for row in missing)]] = np.nan
    truth, _, rows = net_of(horizon=horizon).fit(X[:20]).pairs(X[20:])
    expected = [
        t + step
        for t in range(20, 40)
        for step in range(horizon)
        if t + step < 40 and not np.isnan(X[t - LOOK_BACK : t + step + 1]).any()
    ]
    np.testing.assert_array_equal(rows + 20, expected)
    np.testing.assert_array_equal(truth, X[expected, 0])


def test_predict_puts_forecasts_in_the_place_of_missing_values():
    X = tens()
    X[[17, 18, 19, 20, 21, 30]] = np.nan
    forecasts = net_of(horizon=2).fit(X[:20]).predict(X[20:])
    filled = X[:, 0].copy()
    for t in np.flatnonzero(np.isnan(filled)):
        filled[t] = filled[t - 1] + 1
    np.testing.assert_array_equal(forecasts[:, 0], filled[19:39] + 1)
    np.testing.assert_array_equal(forecasts[:, 1], filled[19:39] + 2)


def test_columns_that_are_not_forecast_keep_their_last_value():
    X = tens(n_columns=2)
    X[[0, 20, 21], 1] = np.nan
    net = net_of().fit(X[:20])
    layout = net._forecasts(X[20:], None, None)[1]
    np.testing.assert_array_equal(layout.series[layout.positions[:3], 1], [190, 190, 220])


def test_forecast_goes_on_from_forecasts_where_the_end_is_missing():
    X = tens(20)
    X[18:] = np.nan
    np.testing.assert_array_equal(net_of(horizon=2).fit(X).forecast(3), [173, 174, 175])
    after = net_of().fit(X[:15]).forecast(1, history=X[10:])
    np.testing.assert_array_equal(after, [173])


@pytest.mark.parametrize("missing", [[2, 3], [11]])
def test_no_forecast_sees_its_own_row_or_a_later_one(missing):
    X = np.random.default_rng(0).normal(size=(60, 2))
    X[40 + np.array(missing), 0] = np.nan
    net = KerasForecaster(
        "linear", look_back=LOOK_BACK, horizon=2, missing="skip", epochs=1, random_state=0
    ).fit(X[:40])
    before = net.predict(X[40:])
    for t in range(20):
        changed = X.copy()
        changed[40 + t :] = 77
        np.testing.assert_array_equal(net.predict(changed[40:])[: t + 1], before[: t + 1])


def test_rows_of_training_that_are_missing_at_first_are_not_filled_from_its_end():
    X = tens()
    X[:2] = np.nan
    net = net_of().fit(X)
    np.testing.assert_array_equal(net.predict(X)[2], net._learned.means[0] + 1)


def test_a_gap_is_left_out_until_a_window_is_over():
    X = dated(tens())
    net = net_of(freq="D").fit(X[:20])
    assert [*net.pairs(X[25:])[2]] == [*range(LOOK_BACK, 15)]
    np.testing.assert_array_equal(net.predict(X[25:26]), [196])
    net.update(X[25:27])
    assert [*net.pairs(X[27:])[2]] == [*range(LOOK_BACK - 2, 13)]
    default = net_of(freq="D", missing=None).fit(X[:20])
    assert [*default.pairs(X[25:])[2]] == [*range(15)]  # forecasts fill the gap, and it counts


def test_a_panel_is_left_out_series_by_series():
    X, groups = np.concatenate([tens(20), tens(20)]), np.repeat(["a", "b"], 20)
    X[[5, 38]] = np.nan
    net = net_of().fit(X, groups=groups)
    np.testing.assert_array_equal(net.forecast(1, group="a"), [191])
    np.testing.assert_array_equal(net.forecast(1, group="b"), [191])
    rows = net.pairs(X, groups=groups)[2]
    expected = [*whole_origins(np.isnan(X[:20, 0]), 1), *whole_origins(np.isnan(X[20:, 0]), 1)]
    assert sorted(rows % 20) == sorted(expected)


def test_baselines_searches_intervals_and_scorers_take_missing_values():
    X = np.cumsum(np.random.default_rng(0).normal(size=(90, 1)), axis=0)
    X[[3, 30, 55, 80]] = np.nan
    naive = DummyForecaster("seasonal", season=2, target=0, missing="skip", look_back=LOOK_BACK)
    net = KerasForecaster(
        "linear", target=0, missing="skip", look_back=LOOK_BACK, epochs=1, validation_split=0.3,
        random_state=0,
    )  # fmt: skip
    for forecaster in (naive, net):
        for scorer in (None, forecast_scorer("mase", season=2), forecast_scorer("skill", season=2)):
            scores = cross_val_score(forecaster, X, cv=TimeSeriesSplit(2), scoring=scorer)
            assert np.isfinite(scores).all()
        assert np.isfinite(forecaster.fit(X[:60]).predict(X[60:])).all()
        np.testing.assert_array_equal(*(f.pairs(X[60:])[2] for f in (net.fit(X[:60]), forecaster)))
    assert np.isfinite(net.predict_interval(X[60:], 0.5)).all()


def test_what_cannot_be_skipped_is_an_error():
    X = tens()
    X[3] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        net_of(missing=None).fit(X)
    with pytest.raises(ValueError, match="missing='drop'; expected 'skip' or None"):
        net_of(missing="drop").fit(X)
    with pytest.raises(ValueError, match="infinity"):
        net_of().fit(np.where(np.isnan(X), np.inf, X))
    with pytest.raises(ValueError, match="rows all have missing values"):
        net_of().fit(np.full((40, 1), np.nan))
    X[::3] = np.nan
    with pytest.raises(ValueError, match="that touch the 14 rows with missing values"):
        net_of().fit(X)
