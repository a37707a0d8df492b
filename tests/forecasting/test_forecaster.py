"""The forecaster: what it forecasts, from what, and what it says of data that it can't use."""

import functools
import os
import pickle
import runpy
import tracemalloc
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import UndefinedMetricWarning, UnsetMetadataPassedError
from sklearn.metrics import max_error, mean_absolute_error, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.metadata_routing import get_routing_for_object
from versions import parametrize_with_checks

from skkeras import KerasForecaster, forecast_scorer
from skkeras import __main__ as airline

# Monthly totals, in thousands.
AIRLINE = np.array(airline.AIRLINE, dtype="float64").reshape(-1, 1)
LOOK_BACKS = [3, 6, 12, 24]


def airline_net(**parameters):
    settings = {
        "target": 0,
        "epochs": 50,
        "batch_size": 16,
        "optimizer__learning_rate": 0.01,
        "random_state": 0,
    }
    return KerasForecaster(**settings, **parameters)


def walk(n_rows=60, n_columns=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_columns)).cumsum(axis=0)


def forecaster(**parameters):
    """A net that is quickly trained, and no better than it has to be."""
    return KerasForecaster(**{"look_back": 4, "epochs": 2, "random_state": 0, **parameters})


def plus_one(input_shape, n_outputs):
    """A net that forecasts the last value of the first column, and one more."""
    import keras

    window = keras.Input(input_shape)
    last = keras.layers.Flatten()(keras.layers.Cropping1D((input_shape[0] - 1, 0))(window))
    dense = keras.layers.Dense(n_outputs, kernel_initializer="ones", bias_initializer="ones")
    return keras.Model(window, dense(last))


def oldest(input_shape, n_outputs):
    """A net that forecasts the first value of the window."""
    import keras

    window = keras.Input(input_shape)
    first = keras.layers.Flatten()(keras.layers.Cropping1D((0, input_shape[0] - 1))(window))
    dense = keras.layers.Dense(n_outputs, kernel_initializer="ones", use_bias=False)
    return keras.Model(window, dense(first))


def by_hand(model=plus_one, **parameters):
    """A net that is known without training, and sees values as they are."""
    return KerasForecaster(model, **{"look_back": 3, "normalize": False, **parameters})


def dated(values, start="2024-01-01", freq="D"):
    index = pd.date_range(start, periods=len(values), freq=freq)
    return pd.DataFrame(np.asarray(values, float), index=index)  # no names, so that arrays do, too


TENS = dated(10 * np.arange(100.0))


# What scikit-learn says of it.

TIME_ORDER = "Rows are time steps: a row is forecast from those before it, so that "
EXPECTED = {
    "check_methods_sample_order_invariance": TIME_ORDER + "their order counts.",
    "check_methods_subset_invariance": TIME_ORDER + "a part of them has another history.",
    "check_sample_weight_equivalence_on_dense_data": TIME_ORDER
    + "a row left out or repeated makes another series.",
}


@parametrize_with_checks(
    [KerasForecaster(look_back=3, horizon=1)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learn_finds_what_contradicts_time_and_nothing_else(estimator, check):
    check(estimator)


# Forecasts, and the shapes they have.


@pytest.mark.parametrize(
    "target, y, horizon, shape",
    [
        (None, None, 1, (20, 2)),
        (0, None, 1, (20,)),
        ([1], None, 1, (20, 1)),
        (None, None, 3, (20, 3, 2)),
        (1, None, 3, (20, 3)),
        (None, "column", 3, (20, 3)),
        (None, "table", 1, (20, 2)),
        (None, "table", 3, (20, 3, 2)),
    ],
)
def test_predictions_have_the_shape_of_y_and_an_axis_of_steps(target, y, horizon, shape):
    X = walk()
    y = {None: None, "column": X[:, 0], "table": X}[y]
    net = forecaster(horizon=horizon, target=target).fit(X, y)
    predicted = net.predict(walk(20, seed=1))
    assert predicted.shape == shape
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize(
    "model", [None, "lstm", "gru", "nlinear", "dlinear", "mlp", "tcn", "linear"]
)
def test_every_preset_for_sequences_forecasts(model):
    net = forecaster(model=model, horizon=2, target=0, known_future=1, epochs=1).fit(walk())
    assert net.predict(walk(5)).shape == (5, 2)
    assert net.model_.input_shape == (None, 4, 3)


def test_the_net_sees_the_rows_before_and_nothing_else():
    X = walk()
    net = forecaster(horizon=3, normalize=False).fit(X[:40])
    windows = np.stack([X[t - 4 : t] for t in range(40, 60)]).astype("float32")
    expected = net.model_.predict(windows, verbose=0).reshape(20, 3, 2)
    np.testing.assert_allclose(net.predict(X[40:]), expected, rtol=1e-5)


def test_normalize_makes_units_irrelevant():
    X = walk()
    plain = forecaster(horizon=2).fit(X[:40]).predict(X[40:])
    scaled = forecaster(horizon=2).fit(1000 + 100 * X[:40]).predict(1000 + 100 * X[40:])
    np.testing.assert_allclose(scaled, 1000 + 100 * plain, rtol=1e-4)


@pytest.mark.parametrize("window_norm", ["last", "revin"])
def test_window_norm_takes_the_level_out(window_norm):
    X = walk()
    net = forecaster(model="mlp", horizon=2, window_norm=window_norm).fit(X[:40])
    before = net.predict(X[40:])
    np.testing.assert_allclose(
        net.predict(X[40:] + 50, history=X[30:40] + 50), before + 50, rtol=1e-3, atol=1e-3
    )


def test_window_norm_wants_the_targets_past():
    with pytest.raises(ValueError, match="window_norm='last'.*no column of X"):
        forecaster(window_norm="last").fit(walk(), walk(60, 1, seed=5))


def test_y_in_other_units_is_recognised_among_the_columns():
    X = walk()
    net = forecaster(horizon=2).fit(X, 32 + 1.8 * X[:, 1])
    same = forecaster(horizon=2, target=1).fit(X)
    np.testing.assert_allclose(net.predict(X), 32 + 1.8 * same.predict(X), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(net.forecast(2), 32 + 1.8 * same.forecast(2), rtol=1e-3, atol=1e-2)


def test_a_builder_gets_the_shapes_and_may_return_steps_by_targets():
    import keras

    def build(input_shape, n_outputs, meta):
        assert (input_shape, n_outputs) == ((4, 2), 6)
        return keras.Sequential(
            [
                keras.Input(input_shape),
                keras.layers.Flatten(),
                keras.layers.Dense(n_outputs),
                keras.layers.Reshape((meta["horizon_"], meta["n_targets_"])),
            ]
        )

    assert forecaster(model=build, horizon=3).fit(walk()).predict(walk(5)).shape == (5, 3, 2)


@pytest.mark.parametrize("window_norm", [None, "last", "revin"])
def test_a_builder_gets_the_training_windows_as_an_array(window_norm):
    import keras

    shown = []

    def build(X, input_shape, n_outputs):
        scale = keras.layers.Normalization()
        scale.adapt(X)
        shown.append((X, scale))
        flat = keras.layers.Flatten()
        layers = [keras.Input(input_shape), scale, flat, keras.layers.Dense(n_outputs)]
        return keras.Sequential(layers)

    net = by_hand(
        build, target=0, known_future=1, window_norm=window_norm, validation_split=20, epochs=1
    )
    series = walk()
    net.fit(series)
    X, scale = shown[-1]
    past = np.stack([series[t - 3 : t] for t in range(3, 40)])
    if window_norm == "last":
        past = past - past[:, -1:]
    elif window_norm == "revin":
        past = (past - past.mean(1, keepdims=True)) / past.std(1, keepdims=True)
    known = np.stack([series[t - 2 : t + 1, 1:] for t in range(3, 40)])
    windows = np.concatenate([past, known], axis=2)
    assert type(X) is np.ndarray
    np.testing.assert_allclose(X, windows, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.ravel(scale.mean), windows.mean((0, 1)), rtol=1e-4, atol=1e-5)


def test_a_builder_may_ask_for_the_windows_of_a_panel():
    shown = []

    def build(X, input_shape, n_outputs):
        shown.append((X.mean(), len([*X]), X[0].shape, np.asarray(X).dtype))
        return plus_one(input_shape, n_outputs)

    long, groups = np.r_[0:10, 100:120].astype(float)[:, np.newaxis], ["a"] * 10 + ["b"] * 20
    by_hand(build).partial_fit(long, groups=groups)
    windows = [long[t - 3 : t] for t in [*range(3, 10), *range(13, 30)]]
    assert shown[-1] == (pytest.approx(np.mean(windows)), 24, (3, 1), np.float32)


# What precedes X.


def test_x_follows_the_training_data_unless_it_is_the_training_data():
    X = walk()
    net = forecaster().fit(X[:40])
    np.testing.assert_allclose(
        net.predict(X[40:]), net.predict(X[40:], history=X[30:40]), rtol=1e-6
    )
    inside = net.predict(X[:40])
    np.testing.assert_array_equal(net.predict(X[:7]), inside[:7])
    np.testing.assert_allclose(inside[4:], net.predict(X[4:40], history=X[:4]), rtol=1e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_rows_without_history_are_forecast_from_the_means_of_training(normalize):
    X = 100 + walk()
    net = forecaster(normalize=normalize).fit(X)
    means = np.tile(X.mean(axis=0), (4, 1))
    np.testing.assert_allclose(net.predict(X), net.predict(X, history=means), rtol=1e-5)


def test_rows_to_go_on_with_have_to_be_a_horizon():
    net = forecaster(horizon=3).fit(walk())
    with pytest.raises(ValueError, match="n_samples=2 rows; expected at least horizon=3"):
        net.partial_fit(walk(2))


def test_the_training_data_never_sees_the_stored_tail():
    X = walk()
    net = forecaster().fit(X[:40])
    before = net.predict(X[:40])
    net.update(X[40:] + 100)
    np.testing.assert_array_equal(net.predict(X[:40]), before)


def test_score_counts_forecasts_with_truth_and_real_history():
    X = walk()
    net = forecaster(horizon=3, target=0).fit(X[:40])
    predicted = net.predict(X[40:])
    pairs = [(predicted[t, h], X[40 + t + h, 0]) for t in range(20) for h in range(3) if t + h < 20]
    forecasts, truth = np.transpose(pairs)
    assert net.score(X[40:]) == pytest.approx(r2_score(truth, forecasts))
    inside = net.predict(X[:40])
    pairs = [(inside[t, h], X[t + h, 0]) for t in range(4, 40) for h in range(3) if t + h < 40]
    forecasts, truth = np.transpose(pairs)
    assert net.score(X[:40]) == pytest.approx(r2_score(truth, forecasts))


def test_history_that_is_too_short_is_an_error_with_both_numbers():
    net = forecaster().fit(walk())
    with pytest.raises(ValueError, match="history has 3 rows; expected at least look_back=4"):
        net.predict(walk(5), history=walk(3))


@pytest.mark.parametrize("freq", ["15min", "2h", "7D", "2M"])
def test_multiplied_periods_leave_no_gap(freq):
    frame = pd.DataFrame({"v": 10 * np.arange(60.0)})
    frame.index = pd.period_range("2024-01-01", periods=60, freq=freq)
    net = by_hand().initialize(frame[:50])
    np.testing.assert_allclose(net.predict(frame[50:52]).ravel(), [491, 501])
    np.testing.assert_allclose(net.predict(frame[52:54]).ravel(), [493, 521])


def test_zones_are_the_same_instants():
    berlin = TENS.tz_localize("Europe/Berlin")
    net = by_hand().initialize(berlin[:50])
    np.testing.assert_allclose(net.predict(berlin[50:53].tz_convert("UTC"))[0], 491)


def test_a_high_level_is_not_taken_for_the_training_data():
    X = 1e8 + walk(200, 1)
    assert by_hand(normalize=True).initialize(X[:150]).pairs(X[150:])[2][0] == 0


SINE = np.sin(2 * np.pi * np.arange(240) / 8)[:, np.newaxis]
COUNTS = np.random.default_rng(0).poisson(0.4, size=(240, 1)).astype(float)
FLAGS = np.random.default_rng(1).integers(0, 2, size=(240, 1)).astype(float)


@pytest.mark.parametrize("X", [SINE, COUNTS, FLAGS], ids=["periodic", "counts", "flags"])
def test_rows_that_repeat_are_the_future_and_not_the_training_data(X):
    net = by_hand(oldest, look_back=8).initialize(X[:192])
    for n_alike in range(8):  # X begins as the training data did, for some rows
        later = np.concatenate([X[:n_alike], X[200:]])
        expected = np.concatenate([X[184:192], later])[: len(later)]
        np.testing.assert_allclose(net.predict(later), expected, atol=1e-5)
        assert net.pairs(later)[2][0] == 0
    scores = cross_val_score(
        forecaster(look_back=8, target=0), X, cv=TimeSeriesSplit(3, test_size=8)
    )
    assert np.isfinite(scores).all()


def test_the_training_data_is_known_by_as_many_rows_as_tell():
    net = by_hand(oldest, look_back=30).initialize(COUNTS)
    predicted = net.predict(COUNTS)[:, 0]
    first = net.pairs(COUNTS)[2][0]
    assert first == 30
    mean = COUNTS.mean()
    is_mean = np.isclose(predicted[:30], mean)
    n_unsure = int(is_mean.argmax())
    assert 8 <= n_unsure < 30
    assert is_mean[n_unsure:].all()
    np.testing.assert_allclose(predicted[:n_unsure], COUNTS[-30:, 0][:n_unsure], atol=1e-5)


@pytest.mark.parametrize("t", [1, 3, 9, 12])
def test_no_forecast_of_rows_that_repeat_sees_later_ones(t):
    net = by_hand(oldest, look_back=20).initialize(COUNTS)
    changed = COUNTS[:40].copy()
    changed[t:] += 3
    np.testing.assert_array_equal(net.predict(changed)[: t + 1], net.predict(COUNTS[:40])[: t + 1])


def test_a_score_of_rows_without_history_says_why_they_have_none():
    net = by_hand(target=0).initialize(walk())
    with pytest.raises(ValueError, match="no index, begins as the training data do, and so is"):
        net.score(walk()[:3])
    net = by_hand(target=0).initialize(TENS[:50])
    with pytest.raises(ValueError, match="its index begins within the training data.*history="):
        net.score(TENS[20:23])
    X, groups = panel([20, 30])
    with pytest.raises(ValueError, match="the first rows of a series.*history="):
        by_hand().initialize(X, groups=groups).score(X[:3], groups=[7] * 3)


def test_x_after_an_uneven_index_follows_at_once_and_else_has_no_history():
    holed = TENS.drop(TENS.index[20])
    net = by_hand().initialize(holed[:49])
    np.testing.assert_allclose(net.predict(TENS[60:62]).ravel(), [491, 601])
    net = by_hand().initialize(TENS.drop(TENS.index[30:60]))
    mean = TENS.drop(TENS.index[30:60]).to_numpy().mean()
    with pytest.warns(UserWarning, match="3 rows of X"):
        inside = net.predict(TENS[30:35])[:, 0]
    np.testing.assert_allclose(inside, [mean + 1, 301, 311, 321, 331], rtol=1e-6)
    assert net.pairs(TENS[30:35])[2].tolist() == [3, 4]
    np.testing.assert_allclose(by_hand(gap=2).initialize(holed[:49]).predict(TENS[60:61]), [[493]])


def test_rows_out_of_order_are_not_a_series():
    with pytest.raises(ValueError, match=r"isn't in order.*X.sort_index\(\)"):
        by_hand().initialize(TENS[::-1])


@pytest.mark.parametrize("use", ["fit", "partial_fit", "initialize"])
def test_several_series_are_not_one(use):
    long = pd.concat([TENS[:40], 1 + TENS[:40]])
    for X in (long, long.sort_index()):
        with pytest.raises(ValueError, match="with 2024-01-01 00:00:00 more than once.*groups="):
            getattr(by_hand(), use)(X)
    with pytest.raises(ValueError, match="with 2024-01-01 00:00:00 more than once"):
        make_pipeline(StandardScaler(), forecaster()).fit(long, long[0])
    net = by_hand().initialize(long, groups=np.repeat(["A", "B"], 40))
    with pytest.raises(ValueError, match="with 2024-01-01 00:00:00 more than once"):
        net.predict(long, groups=["A"] * 80)
    with pytest.raises(ValueError, match="history has an index with 2024-01-01 00:00:00"):
        net.forecast(1, history=long)


def test_several_levels_of_an_index_are_an_error_wherever_x_comes_in():
    index = pd.MultiIndex.from_product([["s1", "s2"], TENS.index[:30]], names=["store", "date"])
    long = pd.DataFrame({"sales": np.arange(60.0)}, index=index)
    message = "X has an index of 2 levels.*X.droplevel.*groups=X.index.get_level_values"
    net = by_hand().initialize(long.droplevel(0), groups=long.index.get_level_values(0))
    assert net.forecast(1, group="s2").index[0] == TENS.index[30]
    for use in (net.fit, net.partial_fit, net.initialize, net.update, net.predict, net.score):
        with pytest.raises(ValueError, match=message):
            use(long)
    with pytest.raises(ValueError, match="X has an index of 2 levels"):
        net.fit(TENS[:30], X_val=long)
    with pytest.raises(ValueError, match="history has an index of 2 levels"):
        net.forecast(1, history=long)
    with pytest.raises(ValueError, match="y has an index of 2 levels"):
        make_pipeline(StandardScaler(), forecaster()).fit(long, long["sales"])


INSIDE = "rows of X have fewer than look_back=3 known rows before them.*history="


def test_rows_inside_the_training_data_warn_that_their_history_is_made_up():
    net = by_hand(validation_split=0.2, epochs=1).fit(TENS[:50])
    with pytest.warns(UserWarning, match=f"3 {INSIDE}") as caught:
        inside = net.predict(TENS[20:30])
    assert caught[0].filename == __file__
    assert np.isfinite(inside).all()
    with pytest.warns(UserWarning, match=f"2 {INSIDE}"):
        net.predict(TENS[20:22])
    with pytest.warns(UserWarning, match=f"3 {INSIDE}") as caught:
        net.predict_interval(TENS[20:30], 0.5)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=f"3 {INSIDE}"):
        net.update(TENS[50:60]).predict(TENS[50:55])


def test_rows_whose_history_is_known_do_not_warn():  # warnings are errors here
    net = by_hand().initialize(TENS[:50])
    for X in (TENS[:50], TENS[:20], TENS[:60], TENS[:2], TENS[50:60], TENS[55:60]):
        net.predict(X)
    net.predict(TENS[20:30], history=TENS[:20])
    net.predict(TENS[20:30].to_numpy())
    net.score(TENS[20:30])
    counted = TENS.reset_index(drop=True)
    by_hand().initialize(counted[:50]).predict(counted[:20])
    berlin = TENS.tz_localize("Europe/Berlin")
    by_hand().initialize(berlin[:50]).predict(berlin[:20].tz_convert("UTC"))


@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_error"])
def test_a_search_along_time_does_not_warn_of_history(scoring):
    found = GridSearchCV(
        forecaster(epochs=1, target=0),
        {"look_back": [3, 4]},
        cv=TimeSeriesSplit(3),
        scoring=scoring,
        return_train_score=scoring is None,
    ).fit(TENS[:60], TENS[0][:60])
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


def test_rows_of_a_panel_inside_the_training_data_are_counted_together():
    long, groups = pd.concat([TENS[:40], 1 + TENS[:40]]), np.repeat(["A", "B"], 40)
    net = by_hand().initialize(long, groups=groups)
    some = np.r_[10:15, 60:62]
    with pytest.warns(UserWarning, match=f"5 {INSIDE}"):
        net.predict(long.iloc[some], groups=groups[some])
    some = np.r_[0:15, 60:62]
    with pytest.warns(UserWarning, match=f"2 {INSIDE}"):
        net.predict(long.iloc[some], groups=groups[some])
    net.predict(long, groups=groups)


def test_a_score_of_rows_inside_the_training_data_is_of_those_with_history():
    net = by_hand(target=0).initialize(TENS[:50])
    known = r2_score(10 * np.arange(23, 30), 10 * np.arange(22, 29) + 1)
    assert net.score(TENS[20:30]) == pytest.approx(known)
    with pytest.raises(ValueError, match="n_samples=3 rows, none of which.*history="):
        net.score(TENS[20:23])
    with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
        assert np.isnan(net.score(TENS[20:24]))


def test_a_gap_is_over_once_rows_have_followed():
    X = TENS.to_numpy()
    net = by_hand(gap=5).initialize(X[:50])
    np.testing.assert_allclose(net.predict(X[55:56]), [[496]])
    np.testing.assert_allclose(net.update(X[55:60]).predict(X[60:61]), [[591]])


def test_history_has_to_end_right_before_x():
    net = by_hand().initialize(TENS[:50])
    np.testing.assert_allclose(net.predict(TENS[60:61], history=TENS[:60]), [[591]])
    np.testing.assert_allclose(net.predict(TENS[80:81].to_numpy(), history=TENS[:60]), [[591]])
    with pytest.raises(ValueError, match="2024-03-21.*history ends at 2024-02-29.*no rows missing"):
        net.predict(TENS[80:81], history=TENS[:60])
    with pytest.raises(ValueError, match="begins at 2024-02-10.*up to 2024-02-29"):
        net.predict(TENS[40:41], history=TENS[:60])


def test_history_goes_on_as_the_training_data_do():
    for freq in ("B", "MS"):
        frame = dated(np.arange(50), freq=freq)
        for length in (5, 2):
            end = frame.set_axis(pd.DatetimeIndex(list(frame.index)))[40 - length : 40]
            net = by_hand(look_back=2).initialize(frame)
            assert net.forecast(3, history=end).index.equals(frame.index[40:43])
    one = by_hand(look_back=1).initialize(TENS[:50])
    assert one.forecast(1, history=TENS[59:60]).index[0] == TENS.index[60]
    with pytest.raises(ValueError, match="history has an index that begins at .* 07:00"):
        one.forecast(1, history=TENS[59:60].shift(freq="7h"))
    assert one.forecast(1, history=TENS.to_numpy()).index[0] == 100
    counted = TENS.reset_index(drop=True)
    net = by_hand().initialize(counted)
    assert net.forecast(1, history=counted[20:60]).index[0] == 60


def test_scores_of_known_columns_count_what_is_known():
    rng = np.random.default_rng(0)
    week = (np.arange(200) % 7 == 0).astype(float)
    X = np.column_stack([20 * week + 0.3 * rng.normal(size=200), week])
    net = KerasForecaster("mlp", target=0, known_future=1, look_back=7, horizon=7, random_state=0)
    net.initialize(X[:120])
    truth, forecasts, rows = net.pairs(X[120:134])
    windows = [(t, h) for t in range(8) for h in range(7)]
    assert rows.tolist() == [t + h for t, h in windows]
    seen = net.predict(X[120:141])  # with the truth beyond row 134
    np.testing.assert_allclose(forecasts, [seen[t, h] for t, h in windows])
    np.testing.assert_array_equal(truth, [X[120 + t + h, 0] for t, h in windows])
    with pytest.raises(ValueError, match="n_samples=6 rows, none.*the 7 rows to come"):
        net.score(X[120:126])


@functools.cache
def untrained(look_back, horizon, n_columns, known_future, gap, window_norm):
    X = walk(60, n_columns, seed=7)
    return KerasForecaster(
        "lstm",
        model__units=4,
        look_back=look_back,
        horizon=horizon,
        known_future=[n_columns - 1] if known_future else None,
        gap=gap,
        window_norm=window_norm,
        random_state=0,
    ).initialize(X)


@settings(max_examples=40)
@given(
    look_back=st.sampled_from([1, 2, 5]),
    horizon=st.sampled_from([1, 3]),
    n_columns=st.integers(1, 3),
    known_future=st.booleans(),
    gap=st.sampled_from([0, 2]),
    window_norm=st.sampled_from([None, "revin"]),
    inside=st.booleans(),
    t=st.integers(1, 24),
    data=st.data(),
)
def test_no_forecast_sees_its_own_row_or_a_later_one(
    look_back, horizon, n_columns, known_future, gap, window_norm, inside, t, data
):
    known_future = known_future and n_columns > 1
    net = untrained(look_back, horizon, n_columns, known_future, gap, window_norm)
    X = walk(60, n_columns, seed=7)[:25] if inside else walk(25, n_columns, seed=8)
    column = data.draw(st.integers(0, n_columns - 1))
    changed = X.copy()
    changed[t:, column] += 10 * (1 + np.arange(25 - t))
    before, after = net.predict(X), net.predict(changed)
    if known_future and column == n_columns - 1:
        safe = max(t - horizon + 1, 0)
        assert (before[safe] != after[safe]).any()
    else:
        safe = t + 1
    np.testing.assert_array_equal(before[:safe], after[:safe])


# True scores in cross-validation.


def scores_by_hand(cv, look_back):
    """Fit on each training fold, and forecast each test row from its true history."""
    scores = []
    for train, test in cv.split(AIRLINE):
        net = airline_net(look_back=look_back).fit(AIRLINE[train])
        forecasts = [net.forecast(1, history=AIRLINE[:t])[0] for t in test]
        scores.append(r2_score(AIRLINE[test, 0], forecasts))
    return np.mean(scores)


def search(cv, **parameters):
    return GridSearchCV(airline_net(**parameters), {"look_back": LOOK_BACKS}, cv=cv).fit(AIRLINE)


def test_a_search_finds_the_true_scores_and_the_true_look_back():
    cv = TimeSeriesSplit(5, test_size=12)
    found = search(cv)
    by_hand = [scores_by_hand(cv, look_back) for look_back in LOOK_BACKS]
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], by_hand, rtol=1e-4)
    assert found.best_params_["look_back"] == LOOK_BACKS[np.argmax(by_hand)] == 24


@pytest.mark.parametrize("gap", [1, 6])
def test_a_declared_gap_keeps_the_scores_near_the_true_ones(gap):
    cv = TimeSeriesSplit(5, test_size=12, gap=gap)
    by_hand = np.array([scores_by_hand(cv, look_back) for look_back in LOOK_BACKS])
    bridged = search(cv, gap=gap).cv_results_["mean_test_score"]
    glued = search(cv).cv_results_["mean_test_score"]
    assert np.abs(bridged - by_hand).mean() < np.abs(glued - by_hand).mean() / 3
    assert np.argmax(bridged) == np.argmax(by_hand) != np.argmax(glued)
    assert bridged[-1] == pytest.approx(by_hand[-1], abs=0.03)


def test_an_index_tells_the_gap():
    index = pd.period_range("1949-01", periods=144, freq="M")
    frame = pd.DataFrame(AIRLINE, index=index, columns=["passengers"])
    cv = TimeSeriesSplit(3, test_size=12, gap=6)
    told = cross_val_score(airline_net(gap=6), AIRLINE, cv=cv)
    read = cross_val_score(airline_net(), frame, cv=cv)
    np.testing.assert_allclose(told, read)


# Meta-estimators.


def test_a_pipeline_is_searched_and_forecasts_in_the_units_of_y():
    y = AIRLINE[:, 0]
    pipe = make_pipeline(
        MinMaxScaler(), KerasForecaster("mlp", epochs=30, optimizer__learning_rate=0.01)
    )
    grid = {"kerasforecaster__look_back": [12, 24], "kerasforecaster__model__units": [8, 16]}
    found = GridSearchCV(pipe, grid, cv=TimeSeriesSplit(5, test_size=12), error_score="raise")
    found.fit(AIRLINE, y)
    predicted = found.predict(AIRLINE)
    assert 300 < predicted[-12:].mean() < 650
    assert 300 < found.best_estimator_[-1].forecast(12).mean() < 700


def test_targets_are_transformed():
    y = AIRLINE[:, 0]
    pipe = make_pipeline(StandardScaler(), airline_net(look_back=12).set_params(target=None))
    net = TransformedTargetRegressor(pipe, func=np.log, inverse_func=np.exp).fit(
        AIRLINE[:120], y[:120]
    )
    assert net.predict(AIRLINE[120:]).shape == (24,)
    assert r2_score(y[12:120], net.predict(AIRLINE[:120])[12:]) > 0.9


def test_cross_validate_times_and_returns_train_scores():
    results = cross_validate(
        forecaster(), walk(), cv=TimeSeriesSplit(3), return_train_score=True, error_score="raise"
    )
    assert np.isfinite(results["test_score"]).all()
    assert np.isfinite(results["train_score"]).all()


def test_frames_that_a_scaler_makes_keep_their_index():
    index = pd.date_range("2024-01-01", periods=60, freq="D")
    frame = pd.DataFrame(walk(), index=index, columns=["a", "b"])
    scaler = StandardScaler().set_output(transform="pandas")
    pipe = make_pipeline(scaler, forecaster()).fit(frame[:40])
    assert pipe[-1].forecast(3).index[0] == index[40]
    scaled = pipe[:-1].transform(frame)
    bridge = pd.concat([scaled[:40], pipe[-1].forecast(5)])
    np.testing.assert_allclose(
        pipe.predict(frame[45:]), pipe[-1].predict(scaled[45:], history=bridge)
    )


def test_a_clone_and_a_file_forecast_the_same(tmp_path):
    X = walk()
    net = forecaster(horizon=2, known_future=1).fit(X[:40])
    joblib.dump(net, tmp_path / "net.joblib")
    loaded = joblib.load(tmp_path / "net.joblib")
    np.testing.assert_array_equal(loaded.predict(X[40:]), net.predict(X[40:]))
    np.testing.assert_array_equal(clone(net).fit(X[:40]).predict(X[40:]), net.predict(X[40:]))


def test_a_failed_fit_leaves_the_forecaster_as_it_was():
    X = walk()
    net = forecaster().fit(X)
    before = net.forecast(3)
    with pytest.raises(ValueError, match="n_samples=4 rows; expected at least.*= 5"):
        net.fit(X[:4])
    np.testing.assert_array_equal(net.forecast(3), before)


# What comes after the end.


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_forecasts_beyond_the_horizon_are_made_from_forecasts(steps):
    X = walk()
    net = forecaster(horizon=3).fit(X)
    rows = X
    while len(rows) < 60 + steps:
        rows = np.concatenate([rows, net.predict(rows[-1:] * 0, history=rows)[0]])
    np.testing.assert_allclose(net.forecast(steps), rows[60 : 60 + steps], rtol=1e-5)


def test_forecast_goes_on_from_history():
    X = walk()
    net = forecaster(horizon=2).fit(X[:40])
    np.testing.assert_allclose(net.forecast(5, history=X), net.update(X[40:]).forecast(5))


def test_columns_are_called_by_their_names():
    X = pd.DataFrame(walk(), columns=["sales", "price"])
    net = forecaster(horizon=2, target="sales").fit(X)
    with pytest.raises(ValueError, match=r"X's columns \['price'\] have none"):
        net.forecast(3)
    net = forecaster(target="sales", known_future="price").initialize(X)
    with pytest.raises(
        ValueError, match=r"3 columns; expected those known in advance, \['price'\], or all 2 of X"
    ):
        net.forecast(2, walk(9, 3))


def test_columns_that_nobody_forecasts_end_the_recursion():
    net = forecaster(horizon=2, target=0).fit(walk())
    assert net.forecast(2).shape == (2,)
    with pytest.raises(ValueError, match=r"steps=3, beyond horizon=2.*columns \[1\].*known_future"):
        net.forecast(3)


def test_known_columns_are_read_from_x_future():
    rng = np.random.default_rng(0)
    holiday = (rng.random(300) < 0.3).astype(float)
    sales = 10 + 5 * holiday + 0.1 * rng.normal(size=300)
    X = pd.DataFrame({"sales": sales, "holiday": holiday})
    net = forecaster(horizon=2, target="sales", known_future="holiday", epochs=80, batch_size=16)
    net.set_params(optimizer__learning_rate=0.01).fit(X[:280])
    assert net.score(X[280:]) > 0.95
    forecasts = net.forecast(5, X[["holiday"]][280:])
    np.testing.assert_allclose(forecasts, sales[280:285], atol=1)
    np.testing.assert_allclose(net.forecast(5, X[280:]), forecasts)
    np.testing.assert_allclose(net.forecast(5, holiday[280:, np.newaxis]), forecasts)
    with pytest.raises(ValueError, match=r"no X_future; expected 5 rows.*\['holiday'\]"):
        net.forecast(5)
    with pytest.raises(ValueError, match="X_future has 3 rows; expected steps=5"):
        net.forecast(5, X[280:283])
    with pytest.raises(ValueError, match="X_future begins at 281; expected.*from 280 to 284"):
        net.forecast(5, X[281:])
    with pytest.raises(ValueError, match=r"X_future lacks the columns \['holiday'\]"):
        net.forecast(5, X[["sales"]][280:])


INDEXES = {
    "monthly": pd.date_range("2020-01-31", periods=66, freq="ME"),
    "business days": pd.date_range("2024-01-01", periods=66, freq="B"),
    "hourly across a change of clocks": pd.date_range(
        "2024-03-29", periods=66, freq="h", tz="Europe/Berlin"
    ),
    "every 37 minutes": pd.date_range("2024-01-01", periods=66, freq="37min"),
    "periods": pd.period_range("2020-01", periods=66, freq="M"),
    "integers": pd.RangeIndex(100, 166),
    "every second integer": pd.Index(np.arange(0, 132, 2)),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_the_index_goes_on(index):
    frame = pd.DataFrame(walk(66), index=index, columns=["a", "b"])
    index = index if isinstance(index, pd.RangeIndex) else type(index)(list(index))  # no freq
    frame.index = index
    net = forecaster(horizon=2).fit(frame[:60])
    forecasts = net.forecast(6)
    assert forecasts.index.equals(index[60:])
    assert list(forecasts.columns) == ["a", "b"]
    net.update(frame[60:62])
    assert net.forecast(4).index.equals(index[62:])
    np.testing.assert_allclose(
        net.predict(frame[62:]), net.predict(frame[62:], history=frame[50:62])
    )


def test_rows_that_follow_are_found_by_their_index():
    at_once = by_hand().initialize(TENS[:50]).update(TENS[50:60])
    after_a_gap = by_hand().initialize(TENS[:50]).update(TENS[55:60])
    bridged = by_hand().initialize(TENS[:50]).update(TENS[58:60])
    for net in (at_once, after_a_gap, bridged):
        np.testing.assert_allclose(net.predict(TENS[60:61]), [[591]])
        assert net.forecast(1).index[0] == TENS.index[60]
    np.testing.assert_allclose(by_hand(oldest).initialize(TENS[:50]).forecast(1), [[470]])
    net = by_hand(oldest).initialize(TENS[:50]).update(TENS[58:60])
    bridge = by_hand(oldest).initialize(TENS[:50]).forecast(8)
    np.testing.assert_allclose(net.forecast(1), bridge[-1:])


@pytest.mark.parametrize(
    "X, message",
    [
        (TENS[40:60], "begins at 2024-02-10.*rows up to 2024-02-19.*Leave out"),
        (TENS[10:20], "begins at 2024-01-11.*rows up to 2024-02-19"),
        (TENS[50:60].shift(freq="7h"), "begins at 2024-02-20 07:00.*D apart"),
        (dated(range(9), "2024-02-20", "h"), "in another frequency.*D apart"),
        (TENS[50:60].to_period(), "index of period"),
    ],
    ids=["overlap", "before", "off the grid", "another frequency", "another kind"],
)
@pytest.mark.parametrize("method", ["update", "partial_fit", "X_val"])
def test_rows_that_do_not_follow_are_an_error(method, X, message):
    net = by_hand(epochs=1).initialize(TENS[:50])
    uses = {"X_val": lambda X: net.fit(TENS[:50], X_val=X)}
    with pytest.raises(ValueError, match=message):
        uses.get(method, getattr(net, method, None))(X)
    assert net.forecast(1).index[0] == TENS.index[50]


def test_validation_rows_after_a_gap_are_those_with_their_own_history():
    net = by_hand(optimizer="sgd", optimizer__learning_rate=0.0, loss="mae", epochs=1)
    net.fit(TENS[:50], X_val=TENS[55:60])
    assert net.history_["val_loss"] == [9]
    with pytest.raises(ValueError, match="n_samples=3 rows.* 3 \\+ 1 = 4"):
        net.fit(TENS[:50], X_val=TENS[55:58])


def test_partial_fit_fills_a_gap_with_forecasts():
    frozen = {"optimizer": "sgd", "optimizer__learning_rate": 0.0, "loss": "mae"}
    net = by_hand(**frozen).partial_fit(TENS[:50]).partial_fit(TENS[55:60])
    assert net.history_["loss"][-1] == pytest.approx((54 + 4 * 9) / 5)
    assert net.forecast(1).index[0] == TENS.index[60]


def test_updates_in_pieces_are_one_history():
    frame = pd.DataFrame(walk(110), index=pd.date_range("2024-01-01", periods=110))
    net = forecaster(horizon=3).initialize(frame[:60])
    ends = [*range(63, 110, 7), 110]
    for start, end in zip([60, *ends], ends, strict=False):
        rows = frame[start:end]
        net.update(rows if end % 2 else rows.reset_index(drop=True))
        pd.testing.assert_frame_equal(net.forecast(5), net.forecast(5, history=frame[:end]))


@pytest.mark.parametrize("form", ["array", "default index"])
def test_rows_without_an_index_follow_and_move_the_labels(form):
    for frame in (TENS, TENS.reset_index(drop=True)):
        rows = frame[50:60].to_numpy() if form == "array" else frame[50:60].reset_index(drop=True)
        net = by_hand().initialize(frame[:50]).update(rows)
        assert net.forecast(2).index.equals(frame.index[60:62])
        np.testing.assert_allclose(net.predict(frame[60:61]), [[591]])


def test_an_index_of_y_goes_on_where_x_has_none():
    scaled = make_pipeline(StandardScaler(), forecaster()).fit(TENS[:50], TENS[0].rename("v")[:50])
    forecasts = scaled[-1].forecast(2)
    assert forecasts.index.equals(TENS.index[50:52])
    assert forecasts.name == "v"
    both = by_hand().initialize(TENS[:50], TENS[0][:50].reset_index(drop=True))
    assert both.forecast(1).index[0] == TENS.index[50]


def test_labels_do_not_go_on():
    frame = TENS.set_axis(TENS.index.astype(str))
    net = by_hand().initialize(frame[:50])
    np.testing.assert_allclose(net.predict(frame[50:51]), [[491]])
    with pytest.raises(ValueError, match=r"'2024-02-19'.*pd.to_datetime"):
        net.forecast(1)


def test_rows_to_come_beyond_the_steps_are_seen():
    X = np.column_stack([np.arange(60.0), np.arange(60) % 7])
    net = forecaster(target=0, known_future=1, horizon=3).initialize(X[:40])
    whole = net.forecast(3, X[40:43])
    np.testing.assert_allclose(net.forecast(1, X[40:43]), whole[:1])
    repeated = X[[40, 40, 40]]
    np.testing.assert_allclose(net.forecast(1, X[40:41]), net.forecast(3, repeated)[:1])
    unknown = np.column_stack([np.full(3, np.nan), X[40:43, 1]])
    np.testing.assert_allclose(net.forecast(3, unknown), whole)
    with pytest.raises(ValueError, match="X_future contains NaN"):
        net.forecast(3, unknown[:, ::-1])


def test_a_series_comes_in_and_goes_out():
    index = pd.period_range("1949-01", periods=144, freq="M")
    series = pd.Series(AIRLINE[:, 0], index=index, name="passengers")
    forecasts = forecaster().fit(series).forecast(3)
    assert isinstance(forecasts, pd.Series)
    assert forecasts.name == "passengers"
    assert str(forecasts.index[0]) == "1961-01"
    assert forecaster().fit(series.rename(None)).forecast(3).name is None


def test_polars_comes_in_and_goes_out():
    frame = pl.DataFrame(walk(), schema=["a", "b"])
    assert forecaster().fit(frame).forecast(3).columns == ["a", "b"]
    assert forecaster().fit(frame["a"]).forecast(3).name == "a"


def test_another_frequency_is_an_error():
    frame = pd.DataFrame(walk(), index=pd.date_range("2024-01-01", periods=60, freq="D"))
    net = forecaster().fit(frame[:40])
    other = frame[40:].set_axis(pd.date_range("2024-02-10", periods=20, freq="h"))
    with pytest.raises(ValueError, match="20 rows in another frequency.*D apart.*2024-02-09"):
        net.predict(other)
    with pytest.raises(ValueError, match="begins at 2024-02-10 07:00.*D apart"):
        net.predict(frame[40:].set_axis(frame.index[40:] + pd.Timedelta("7h")))
    with pytest.raises(ValueError, match="index of int64.*D apart"):
        net.predict(frame[40:].set_axis(range(5, 25)))
    for without_index in (frame[40:].to_numpy(), frame[40:].reset_index(drop=True)):
        np.testing.assert_allclose(net.predict(without_index), net.predict(frame[40:]))


def test_an_index_that_isnt_even_can_be_trained_on_but_does_not_go_on():
    frame = pd.DataFrame(walk(), index=pd.date_range("2024-01-01", periods=60, freq="D"))
    net = forecaster().fit(frame[:55].drop(frame.index[7]))
    assert net.predict(frame[55:]).shape == (5, 2)
    with pytest.raises(ValueError, match="evenly spaced.*asfreq"):
        net.forecast(3)


DATE = "X's column 'date' holds .*2024.*, which is no number; expected numbers. .*"


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("date", TENS.index[:60], DATE + r"X.set_index\('date'\)"),
        ("date", TENS.index[:60].tz_localize("UTC"), DATE + r"X.set_index\('date'\)"),
        ("date", TENS.index[:60].to_period(), DATE + r"X.set_index\('date'\)"),
        ("date", TENS.index[:60].date, DATE + r"X.set_index\('date'\)"),
        ("store", ["s1"] * 60, "X's column 'store' holds 's1', which is no number.*groups="),
        ("store", pd.Categorical(["s1"] * 60), "X's column 'store' holds 's1'.*groups="),
        ("n", ["1", "?"] * 30, r"X's column 'n' holds '\?'"),
        ("age", TENS.index[:60] - TENS.index[0], "X's column 'age' holds .*, which is no number"),
    ],
    ids=["dates", "with a zone", "periods", "objects", "strings", "categories", "one", "durations"],
)
def test_columns_that_are_no_numbers_are_named(name, values, message):
    X = pd.DataFrame({"v": np.arange(60.0), name: values})
    for frame in (X, X[[name]]):
        with pytest.raises(ValueError, match=message):
            forecaster().fit(frame)
    net = forecaster(target="v", known_future=name).initialize(X.assign(**{name: 1.0}))
    with pytest.raises(ValueError, match=message):
        net.predict(X)
    with pytest.raises(ValueError, match=message.replace("X", "X_future")):
        net.forecast(2, X.set_axis(range(60, 120)))


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("date", TENS.index[:60].to_numpy(), DATE + r"X.drop\('date'\)"),
        ("store", ["s1"] * 60, "X's column 'store' holds 's1', which is no number"),
    ],
)
def test_columns_of_polars_that_are_no_numbers_are_named(name, values, message):
    with pytest.raises(ValueError, match=message):
        forecaster().fit(pl.DataFrame({"v": np.arange(60.0), name: values}))


def test_numbers_may_be_of_any_type():
    X = pd.DataFrame({"v": np.arange(60), "n": np.arange(60) % 7})
    expected = forecaster(epochs=1).fit(X).predict(X)
    for kind in ("Int64", "object", "string", "category", "Float64"):
        np.testing.assert_array_equal(forecaster(epochs=1).fit(X.astype(kind)).predict(X), expected)
    missing = X.astype("Int64").astype({"n": object})
    missing.iloc[3, 0] = pd.NA
    with pytest.raises(ValueError, match="contains NaN"):
        forecaster().fit(missing)


def test_rows_without_columns_are_what_forecast_is_for():
    net = by_hand().initialize(TENS[:50])
    empty = pd.DataFrame(index=TENS.index[50:62])
    for use in (net.predict, net.fit, net.score):
        with pytest.raises(ValueError, match=r"X has 12 rows and no columns.*forecast\(12\)"):
            use(empty)


@pytest.mark.parametrize("where", ["fit", "predict", "history"])
def test_missing_values_are_scikit_learns_error(where):
    X = walk()
    broken = X.copy()
    broken[20, 0] = np.nan
    net = forecaster().fit(X)
    with pytest.raises(ValueError, match="contains NaN"):
        {
            "fit": lambda: net.fit(broken),
            "predict": lambda: net.predict(broken),
            "history": lambda: net.predict(X, history=broken),
        }[where]()


def test_one_dimension_is_scikit_learns_error():
    with pytest.raises(ValueError, match="Reshape your data"):
        forecaster().fit(AIRLINE[:, 0])


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"look_back": 0}, ValueError, "look_back == 0"),
        ({"horizon": 1.5}, TypeError, "horizon"),
        ({"gap": -1}, ValueError, "gap == -1"),
        ({"window_norm": "first"}, ValueError, "window_norm='first'; expected one of"),
        ({"target": 2}, ValueError, "target=2, and X has 2 columns; expected numbers from -2 to 1"),
        ({"target": "a"}, ValueError, "X has no column names"),
        ({"target": [0, 0]}, ValueError, "a column twice"),
        ({"target": 0.5}, TypeError, "expected a column's number"),
        ({"target": 0, "known_future": [0]}, ValueError, "a column in common"),
        ({"look_back": True}, TypeError, "look_back=True; expected a number of rows"),
        ({"normalize": "no"}, ValueError, "normalize='no'; expected one of"),
        ({"target": []}, ValueError, "X has 2 columns; expected some to forecast"),
        ({"known_future": [0, 1]}, ValueError, "X has 2 columns; expected some to forecast"),
        ({"validation_split": 1.0}, ValueError, "validation_split=1.0; expected a fraction"),
        ({"validation_split": 2.5}, ValueError, "validation_split=2.5; expected a fraction"),
        ({"validation_split": 60}, ValueError, "validation_split=60 leaves 0 windows to train on"),
        ({"look_back": 59, "horizon": 2}, ValueError, "n_samples=60.*59 \\+ 2 = 61"),
        ({"validation_split": 2}, ValueError, None),
    ],
)
def test_a_wrong_parameter_is_an_error(parameters, error, message):
    net = forecaster(**parameters)
    if message is None:
        assert len(net.fit(walk()).history_["val_loss"]) == 2
        return
    with pytest.raises(error, match=message):
        net.fit(walk())


def test_y_has_as_many_targets_as_are_named():
    X = walk()
    with pytest.raises(ValueError, match=r"target=\[0\], and y of shape \(60, 2\)"):
        forecaster(target=[0]).fit(X, X)


@pytest.mark.parametrize("weight", [np.ones(9), np.ones(15), -np.ones(10)])
def test_weights_of_a_score_are_one_for_each_row(weight):
    net = by_hand().initialize(TENS[:50])
    with pytest.raises(ValueError, match="number.* of samples|negative"):
        net.score(TENS[50:60], sample_weight=weight)


def test_validation_targets_want_validation_rows():
    X = walk()
    with pytest.raises(ValueError, match="y_val and no X_val"):
        forecaster().fit(X, X[:, 0], y_val=X[:9, 0])
    with pytest.raises(ValueError, match="X_val and groups.*validation_split=0.2"):
        forecaster().fit(X, groups=[0] * 60, X_val=X[:9])


# Training on part of it, and going on.


def test_a_splitter_is_asked_once():
    asked = []

    class Splitter(TimeSeriesSplit):
        def split(self, *arguments):
            asked.append(arguments)
            return super().split(*arguments)

    forecaster(validation_split=Splitter(3)).fit(walk())
    assert len(asked) == 1


def test_windows_held_out_are_forgotten_by_a_fit_that_holds_out_none():
    X = walk()
    net = forecaster(warm_start=True, validation_split=0.4).fit(X)
    widths = np.ptp(net.predict_interval(X, 0.8), axis=0)
    net.partial_fit(walk(9))
    assert np.ptp(net.predict_interval(X, 0.8), axis=0).shape == widths.shape
    net.set_params(validation_split=None).fit(X)
    with pytest.raises(ValueError, match="no windows that the net wasn't trained on"):
        net.predict_interval(X, 0.8)


def test_the_last_rows_are_held_out():
    X = walk()
    split = forecaster(horizon=2, validation_split=0.25).fit(X)
    explicit = forecaster(horizon=2).fit(X[:45], X_val=X[45:])
    np.testing.assert_allclose(split.history_["val_loss"], explicit.history_["val_loss"], rtol=1e-6)


def test_a_splitter_holds_out_the_rows_it_says():
    X = walk()
    net = forecaster(validation_split=TimeSeriesSplit(3)).fit(X)
    same = forecaster().fit(X[:15], X_val=X[15:30])
    np.testing.assert_allclose(net.history_["val_loss"], same.history_["val_loss"], rtol=1e-6)


def test_weights_count_where_a_row_is_forecast():
    X = walk()
    weight = np.ones(60)
    weight[40:] = 0
    spoilt = X.copy()
    spoilt[40:] += 100
    settings = {"normalize": False, "shuffle": False, "batch_size": 100}
    one = forecaster(**settings).fit(X, sample_weight=weight)
    other = forecaster(**settings).fit(spoilt, sample_weight=weight)
    # The first rows have no history but the means of training, which are others.
    np.testing.assert_allclose(one.predict(X[:40])[4:], other.predict(X[:40])[4:], rtol=1e-4)


def test_partial_fit_learns_the_windows_of_the_new_rows_and_moves_the_end():
    X = walk()
    net = forecaster(normalize=False).partial_fit(X[:40]).partial_fit(X[40:])
    assert net.n_iter_ == 2
    np.testing.assert_allclose(net.forecast(3), net.forecast(3, history=X))
    by_hand = forecaster(epochs=1, normalize=False).fit(X[:40])
    before = X[30:40]
    by_hand.model_.fit(
        np.stack([X[t - 4 : t] for t in range(40, 60)]), X[40:], epochs=1, batch_size=20, verbose=0
    )
    np.testing.assert_allclose(
        net.predict(X[40:], history=before), by_hand.predict(X[40:], history=before), atol=0.02
    )


def test_an_lstm_trains_as_in_keras():
    import keras

    X = walk(120).astype("float32")

    def build(input_shape, n_outputs):
        layers = [keras.Input(input_shape), keras.layers.LSTM(8), keras.layers.Dense(n_outputs)]
        return keras.Sequential(layers)

    net = forecaster(model=build, look_back=12, horizon=2, epochs=3, shuffle=False, normalize=False)
    twin = clone(net).initialize(X).model_
    origins = range(12, 119)
    twin.fit(
        np.stack([X[t - 12 : t] for t in origins]),
        np.stack([X[t : t + 2].ravel() for t in origins]),
        epochs=3,
        batch_size=32,
        shuffle=False,
        verbose=0,
    )
    net.fit(X)
    for mine, theirs in zip(net.model_.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


# Several series.


def panel(lengths, seed=0):
    """Waves of other levels, interleaved at random; rows of each are in order."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(lengths)), lengths))
    X = np.empty((len(groups), 1))
    for group, length in enumerate(lengths):
        phase, level = rng.uniform(0, 6), rng.normal() * 10
        X[groups == group, 0] = level + np.sin(phase + np.arange(length) / 2)
    return X, groups


def test_windows_do_not_cross_series():
    X, groups = panel([20, 31, 9])
    net = forecaster(normalize=False, shuffle=False, batch_size=100).initialize(X, groups=groups)
    predicted = net.predict(X, groups=groups)
    for group in range(3):
        alone = X[groups == group]
        by_hand = net.model_.predict(
            np.stack([alone[t - 4 : t] for t in range(4, len(alone))]), verbose=0
        )
        np.testing.assert_allclose(predicted[groups == group][4:], by_hand, rtol=1e-5)
    losses = [
        (net.predict(X, groups=groups)[rows][4:] - X[rows][4:]) ** 2
        for rows in (np.flatnonzero(groups == group) for group in range(3))
    ]
    trained = forecaster(normalize=False, epochs=1, batch_size=100).fit(X, groups=groups)
    assert trained.history_["loss"][0] == pytest.approx(np.concatenate(losses).mean(), rel=1e-4)


def test_a_panel_goes_on_series_by_series():
    X, groups = panel([40, 25, 30])
    late = np.concatenate([np.flatnonzero(groups == group)[-5:] for group in range(3)])
    early = np.setdiff1d(np.arange(len(X)), late)
    net = forecaster(window_norm="last", epochs=60).fit(X[early], groups=groups[early])
    assert net.score(X[late], groups=groups[late]) > 0.9
    for group in range(3):
        history = X[early][groups[early] == group]
        np.testing.assert_allclose(
            net.forecast(3, group=group), net.forecast(3, history=history), rtol=1e-6
        )
    with pytest.raises(ValueError, match="group=None; expected one of the 3 series.*0, 1, 2"):
        net.forecast(3)


def test_groups_are_asked_for_where_training_had_some():
    X, groups = panel([20, 30])
    net = forecaster().fit(X, groups=groups)
    with pytest.raises(ValueError, match="no groups; expected the series of each row.*2"):
        net.predict(X)
    assert net.predict(X[:5], history=X[groups == 0]).shape == (5, 1)


def test_groups_have_to_be_as_many_as_rows():
    X, groups = panel([20, 30])
    with pytest.raises(ValueError, match="groups has shape \\(49,\\); expected.*50 rows"):
        forecaster().fit(X, groups=groups[:-1])


def test_a_panel_that_only_counts_its_rows_goes_on():
    early = pd.DataFrame(np.r_[np.arange(50), 1000 + np.arange(50)].astype(float))
    late = pd.DataFrame(np.r_[50, 51, 52, 1050, 1051, 1052].astype(float))
    before, after = np.repeat(["A", "B"], 50), np.repeat(["A", "B"], 3)
    net = by_hand().initialize(early, groups=before)
    expected = [50, 51, 52, 1050, 1051, 1052]
    np.testing.assert_allclose(net.predict(late, groups=after).ravel(), expected)
    np.testing.assert_allclose(net.predict(late.to_numpy(), groups=after).ravel(), expected)
    assert len(net.pairs(late, groups=after)[2]) == 6
    assert net.forecast(1, group="B").index[0] == 50
    net.update(late, groups=after)
    assert net.forecast(2, group="A").index.tolist() == [53, 54]
    np.testing.assert_allclose(net.forecast(1, group="B"), [[1053]])


def test_a_panel_in_long_form_is_cut_by_an_index_that_goes_on():
    long = pd.concat([TENS[:50], 1 + TENS[:40]])
    later = pd.concat([TENS[50:52], 1 + TENS[45:47]])
    net = by_hand().initialize(long, groups=np.repeat(["A", "B"], [50, 40]))
    np.testing.assert_allclose(
        net.predict(later, groups=list("AABB")).ravel(), [491, 501, 397, 452]
    )
    with pytest.raises(ValueError, match="begins at 2024-02-05.*rows up to 2024-02-09"):
        net.update(TENS[35:45], groups=["B"] * 10)


def test_a_short_series_grows_to_a_window_and_is_recognised():
    X = np.r_[np.arange(50.0), 1000 + np.arange(22.0)][:, np.newaxis]
    groups = np.repeat(["A", "B"], [50, 22])
    net = by_hand(oldest, look_back=5).initialize(X[:52], groups=groups[:52])
    net.update(X[52:], groups=groups[52:])
    begun = X[50:57]
    mean = X[:52].mean()
    np.testing.assert_allclose(
        net.predict(begun, groups=["B"] * 7).ravel(), [mean] * 5 + [1000, 1001], rtol=1e-6
    )
    assert net.pairs(begun, groups=["B"] * 7)[2].tolist() == [5, 6]


@pytest.mark.parametrize("horizon", [1, 7])
def test_a_gap_after_a_short_series_is_filled_from_the_means(horizon):
    X = np.r_[np.arange(50.0), 1000, 1001][:, np.newaxis]
    net = by_hand(oldest, look_back=5, gap=2, horizon=horizon)
    net.initialize(X, groups=np.repeat(["A", "B"], [50, 2]))
    predicted = net.predict(1004 + np.arange(5.0)[:, np.newaxis], groups=["B"] * 5)
    first = predicted.reshape(5, horizon)[:, 0]
    np.testing.assert_allclose(first, [X.mean(), 1000, 1001, X.mean(), X.mean()], rtol=1e-6)


def test_groups_belong_to_a_net_that_was_trained_with_some():
    X, groups = panel([20, 30])
    net = forecaster().fit(X)
    for use in (net.predict, net.update, net.partial_fit, net.score):
        with pytest.raises(ValueError, match="Got groups, and the net was trained without"):
            use(X, groups=groups)
    with pytest.raises(ValueError, match="missing label, nan"):
        forecaster().fit(X, groups=np.where(groups == 0, np.nan, 1))


def test_an_unseen_series_begins_without_history():
    X, groups = panel([20, 30])
    net = by_hand().initialize(X, groups=groups)
    assert net.pairs(X[:8], groups=[7] * 8)[2].tolist() == [3, 4, 5, 6, 7]
    np.testing.assert_allclose(
        net.predict(X[:2], groups=[7] * 2).ravel(), [X.mean() + 1, X[0, 0] + 1], rtol=1e-5
    )


def test_a_panel_is_evaluated_with_its_groups():
    X, groups = panel([20, 30])
    net = by_hand(loss="mse").initialize(X, groups=groups)
    truth, forecasts, _ = net.pairs(X, groups=groups)
    loss = net.evaluate(X, groups=groups)["loss"]
    assert loss == pytest.approx(((truth - forecasts) ** 2).mean(), rel=1e-4)


# Intervals and other metrics.


def autoregression(n_rows, seed):
    rng = np.random.default_rng(seed)
    series = np.zeros(n_rows)
    for t in range(2, n_rows):
        series[t] = 0.6 * series[t - 1] - 0.3 * series[t - 2] + rng.normal()
    return series[:, np.newaxis]


def test_intervals_cover_what_they_promise():
    coverages = {0.5: [], 0.8: [], 0.95: []}
    for seed in range(4):
        X = autoregression(2400, seed)
        net = forecaster(horizon=2, target=0, epochs=5, validation_split=0.4).fit(X[:1600])
        truth = np.column_stack([X[1600:-1, 0], X[1601:, 0]])
        for coverage, realised in coverages.items():
            lower, upper = net.predict_interval(X[1600:], coverage)
            realised.append(((lower[:-1] <= truth) & (truth <= upper[:-1])).mean(axis=0))
    for coverage, realised in coverages.items():
        np.testing.assert_allclose(np.mean(realised, axis=0), coverage, atol=0.05)


@pytest.mark.parametrize("window_norm", [None, "last", "revin"])
def test_limits_are_as_far_as_held_out_forecasts_were_off(window_norm):
    X = walk()
    net = forecaster(horizon=2, target=0, window_norm=window_norm, validation_split=20).fit(X)
    errors = np.abs(
        net.predict(X[40:-1], history=X[:40]) - np.column_stack([X[40:-1, 0], X[41:, 0]])
    )
    lower, upper = net.predict_interval(X[50:], 0.75)
    np.testing.assert_allclose((upper - lower)[0] / 2, np.sort(errors, axis=0)[15 - 1], rtol=1e-4)
    low, high = net.set_params(predict__batch_size=7).forecast_interval(2, 0.75)
    np.testing.assert_allclose((high + low) / 2, net.forecast(2))
    with pytest.raises(ValueError, match="steps=3, beyond horizon=2"):
        net.forecast_interval(3)


@pytest.fixture(scope="module")
def noisy_panel():
    """Three series of noise, of which the last is short; a net that forecasts the last value."""
    rng = np.random.default_rng(0)
    lengths, scales = [200, 150, 30], [1.0, 100.0, 10.0]
    series = [rng.normal(scale=s, size=(n, 1)) for n, s in zip(lengths, scales, strict=True)]
    X, groups = np.concatenate(series), np.repeat(["small", "large", "short"], lengths)
    rows = {one: np.flatnonzero(groups == one) for one in ("small", "large", "short")}
    mixed = rng.permutation(groups)  # rows of each are in order
    shuffled = np.empty_like(X)
    for one, at in rows.items():
        shuffled[mixed == one] = X[at]
    frozen = {"optimizer": "sgd", "optimizer__learning_rate": 0.0, "epochs": 1}
    net = by_hand(validation_split=0.2, horizon=2, **frozen).fit(shuffled, groups=mixed)
    return net, dict(zip(rows, series, strict=True))


def errors_by_hand(series):
    """Absolute errors of the windows held out, (n_windows, 2), of a forecast by the last value."""
    n_held_out = len(series) // 5
    origins = range(len(series) - n_held_out, len(series) - 1)
    return np.array([np.abs(series[t : t + 2, 0] - series[t - 1, 0] - 1) for t in origins])


def order_statistic(errors, coverage):
    return np.sort(errors, axis=0)[int(np.ceil((len(errors) + 1) * coverage)) - 1]


def test_intervals_of_a_series_come_from_its_own_errors(noisy_panel):
    net, series = noisy_panel
    for group in ("small", "large"):
        low, high = net.predict_interval(series[group][:7], 0.8, groups=[group] * 7)
        expected = order_statistic(errors_by_hand(series[group]), 0.8)
        np.testing.assert_allclose((high - low)[:, :, 0] / 2, [expected] * 7, rtol=1e-4)
        low, high = net.forecast_interval(2, 0.8, group=group)
        np.testing.assert_allclose((high - low)[:, 0] / 2, expected, rtol=1e-4)
    groups = np.array(["small", "large"] * 2)
    low, high = net.predict_interval(np.zeros((4, 1)), 0.8, groups=groups)
    widths = (high - low)[:, 0, 0]
    assert widths[0] == pytest.approx(widths[2])
    assert widths[1] == pytest.approx(widths[3])
    assert widths[1] > 50 * widths[0]


def test_intervals_of_a_short_or_new_series_come_from_all_errors_by_its_scale(noisy_panel):
    net, series = noisy_panel
    changes = {one: np.abs(np.diff(X[: -(len(X) // 5), 0])).mean() for one, X in series.items()}
    pool = np.concatenate([errors_by_hand(X) / changes[one] for one, X in series.items()])
    low, high = net.forecast_interval(1, 0.8, group="short")
    expected = changes["short"] * order_statistic(pool, 0.8)[0]
    np.testing.assert_allclose((high - low)[0, 0] / 2, expected, rtol=1e-4)
    history = 1000 + np.array([[0.0], [3.0], [0.0]])
    for group in (None, "new"):
        low, high = net.forecast_interval(1, 0.8, history=history, group=group)
        scale = 3 * order_statistic(pool, 0.8)[0]
        np.testing.assert_allclose((high - low)[0, 0] / 2, scale, rtol=1e-4)
    low, high = net.predict_interval(history, 0.8, groups=["unknown"] * 3)
    plain = np.concatenate([errors_by_hand(X) for X in series.values()])
    np.testing.assert_allclose((high - low)[0, :, 0] / 2, order_statistic(plain, 0.8), rtol=1e-4)


def test_intervals_of_series_that_do_not_change_are_finite():
    X, groups = np.repeat([[5.0], [7.0]], 20, axis=0), np.repeat(["a", "b"], 20)
    net = by_hand(validation_split=0.3, epochs=1).fit(X, groups=groups)
    low, high = net.forecast_interval(1, 0.5, group="a")
    assert np.isfinite([low, high]).all()


def test_intervals_of_a_panel_are_kept_in_a_file(noisy_panel):
    net, _ = noisy_panel
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(
        again.forecast_interval(2, group="large"), net.forecast_interval(2, group="large")
    )


def test_intervals_want_windows_held_out():
    with pytest.raises(ValueError, match="no windows.*validation_split=0.2"):
        forecaster().fit(walk()).predict_interval(walk())
    with pytest.raises(ValueError, match="coverage=0.99 and 6 windows.*at least 99"):
        forecaster(validation_split=0.1).fit(walk()).predict_interval(walk(), 0.99)


def test_any_metric_scores_forecasts_of_several_steps():
    X = walk()
    pipe = make_pipeline(StandardScaler(), forecaster(horizon=3, target=0))
    cv = TimeSeriesSplit(2, test_size=10)
    scores = cross_val_score(pipe, X, cv=cv, scoring=forecast_scorer(mean_absolute_error))
    for (train, test), score in zip(cv.split(X), scores, strict=True):
        net = clone(pipe).fit(X[train])
        predicted, truth = net.predict(X[test]), net[0].transform(X[test])[:, 0]
        errors = [
            abs(predicted[t, h] - truth[t + h]) for t in range(10) for h in range(3) if t + h < 10
        ]
        assert score == pytest.approx(-np.mean(errors))
    with pytest.raises(ValueError, match="greater_is_better=None"):
        forecast_scorer(max)


def test_weights_groups_and_history_reach_the_scorer():
    scorer = forecast_scorer(mean_absolute_error)
    X, groups = panel([40, 30])
    net = forecaster(horizon=3, target=0, epochs=1).fit(X, groups=groups)
    weight = np.random.default_rng(0).uniform(size=70)
    truth, forecasts, rows = net.pairs(X, groups=groups)
    expected = np.average(np.abs(truth - forecasts), weights=weight[rows])
    assert scorer(net, X, groups=groups, sample_weight=weight) == pytest.approx(-expected)
    furthest = forecast_scorer(max_error, greater_is_better=False)
    with pytest.warns(
        UserWarning, match=r"forecast_scorer\(max_error\) has a metric that takes no"
    ):
        assert furthest(net, X, groups=groups, sample_weight=weight) == -max_error(truth, forecasts)
    truth, forecasts, _ = net.pairs(X[:9], history=X)
    assert scorer(net, X[:9], history=X) == -mean_absolute_error(truth, forecasts)


def panel_search(scorer, **parameters):
    return GridSearchCV(
        forecaster(horizon=3, target=0, epochs=1, **parameters).set_fit_request(groups=True),
        {"look_back": [3, 4]},
        scoring=scorer,
        refit="mae" if isinstance(scorer, dict) else True,
        cv=TimeSeriesSplit(2),
        error_score="raise",
    )


def test_a_panel_is_searched_at_any_horizon():
    X, groups = panel([60, 60])
    with config_context(enable_metadata_routing=True):
        scorer = forecast_scorer(mean_absolute_error).set_score_request(groups=True)
        found = panel_search(scorer).fit(X, groups=groups)
        both = panel_search({"mae": scorer, "r2": forecast_scorer(r2_score)})
        with pytest.raises(UnsetMetadataPassedError, match=r"forecast_scorer\(r2_score\)"):
            both.fit(X, groups=groups)
    for i, (train, test) in enumerate(TimeSeriesSplit(2).split(X)):
        net = forecaster(horizon=3, target=0, epochs=1, look_back=4)
        net.fit(X[train], groups=groups[train])
        score = scorer(net, X[test], groups=groups[test])
        assert found.cv_results_[f"split{i}_test_score"][1] == pytest.approx(score)


def test_a_scorer_keeps_what_was_asked_for():
    scorer = forecast_scorer(mean_absolute_error)
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        scorer.set_score_request(groups=True)
    with config_context(enable_metadata_routing=True):
        scorer.set_score_request(groups="store").set_score_request(sample_weight=True)
        for one in (scorer, pickle.loads(pickle.dumps(scorer)), clone(scorer, safe=False)):
            asked = get_routing_for_object(one).score.requests
            assert asked == {"sample_weight": True, "groups": "store", "history": None}
        with pytest.raises(TypeError, match="stores"):
            scorer.set_score_request(stores=True)


def test_parameters_of_windows_can_not_change_under_a_net():
    X = walk()
    net = forecaster().fit(X)
    with pytest.raises(ValueError, match="horizon was changed since"):
        net.set_params(horizon=2).predict(X)
    for use in (net.update, net.partial_fit, net.evaluate):
        with pytest.raises(ValueError, match="horizon was changed since"):
            use(X)


# What it costs, and what others say of it.


def test_windows_are_not_materialised():
    X = np.random.default_rng(0).normal(size=(17_420, 7))
    net = KerasForecaster(look_back=720, horizon=96, random_state=0)
    tracemalloc.start()
    try:
        net.initialize(X)
        rows, _ = net._sources(net._examples(X, None, use="evaluate"))
        rows.take(np.arange(32))
        peak_mb = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert rows.n_rows > 16_000
    assert peak_mb < 40  # 345 MB if materialised


def test_scikit_learns_callbacks_score_the_rows_that_were_given(sklearn_callbacks):
    monitor = sklearn_callbacks.ScoringMonitor(scoring="r2")
    net = forecaster(target=0).set_callbacks(monitor)
    net.fit(walk())
    assert len(net.history_["loss"]) == 2


def benchmark():
    folder = os.environ.get("SKKERAS_TEST_DATA")
    if folder is None or not Path(folder, "ETTh1.csv").exists():
        pytest.skip("SKKERAS_TEST_DATA names no folder with ETTh1.csv, which isn't ours to ship")
    module = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "forecasting.py"))
    return module["measure"], module["load_etth1"]()


@pytest.mark.no_cover
def test_small_steps_keep_up_where_large_ones_ruin_a_net():
    path = Path(__file__).parents[1] / "benchmarks" / "weekly.py"
    weekly = runpy.run_path(str(path))
    X, week, start, net = weekly["daily_sales"]()
    net.set_params(optimizer__learning_rate=0.01).fit(X[:start])
    fitted = pickle.dumps(net)
    later = {}
    for way in ("partial_fit", "partial_fit, rate / 10", "warm fit, rate / 10"):
        net, later[way] = pickle.loads(fitted), []
        for end in range(start + week, start + 4 * week, week):
            weekly["learn"](net, way, X[end - week : end], X[:end])
            truth, forecasts, _ = net.pairs(X[end : end + week])
            later[way].append(np.abs(truth - forecasts).mean())
    ruined, *kept = (np.mean(errors) for errors in later.values())
    assert max(kept) < 2 < 5 < ruined


@pytest.mark.no_cover
@pytest.mark.slow
def test_dlinear_reaches_the_error_of_its_paper():
    measure, parts = benchmark()
    assert measure("dlinear", 96, 0, parts)[0] <= 0.3825


@pytest.mark.no_cover
@pytest.mark.slow
@pytest.mark.parametrize(
    "horizon, published, n_seeds",
    [(96, 0.374, 3), (192, 0.408, 1), (336, 0.429, 1), (720, 0.44, 1)],
)
def test_nlinear_reaches_the_error_of_its_paper(horizon, published, n_seeds):
    measure, parts = benchmark()
    errors = [measure("nlinear", horizon, seed, parts)[0] for seed in range(n_seeds)]
    assert np.mean(errors) <= 1.03 * published


@pytest.mark.slow
def test_small_series_are_forecast_better_than_by_their_last_season():
    errors = []
    for seed in range(5):
        net = airline_net(look_back=24, horizon=12).set_params(
            epochs=300, batch_size=32, optimizer__learning_rate=0.003, random_state=seed
        )
        predicted = net.fit(AIRLINE[:-36]).predict(AIRLINE[-36:])
        errors.append(np.abs(predicted[[0, 12, 24]].ravel() - AIRLINE[-36:, 0]).mean())
    assert np.mean(errors) < 25.8
