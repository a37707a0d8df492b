"""calendar=...: where in the day, week or year a row is, known ahead wherever the net looks."""

import numpy as np
import pandas as pd
import pytest

from skkeras import KerasForecaster
from skkeras.forecasting._calendar import calendar_columns

FROZEN = {"optimizer": "sgd", "optimizer__learning_rate": 0.0, "loss": "mae", "epochs": 1}


def hours_to_come(input_shape, n_outputs):
    """A net that forecasts the sine of the hour of each step: what it sees of the future."""
    import keras

    window = keras.Input(input_shape)
    ahead = keras.layers.Cropping1D((input_shape[0] - n_outputs, 0))(window)
    sine = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Model(window, keras.layers.Flatten()(sine(ahead)))
    sine.set_weights([np.eye(input_shape[1])[:, [input_shape[1] - 2]]])
    return model


def seer(**parameters):
    settings = {"look_back": 4, "horizon": 3, "target": "v", "calendar": "hour", **FROZEN}
    return KerasForecaster(hours_to_come, normalize=False, **{**settings, **parameters})


def hourly(n_rows, start="2024-03-01 05:00", freq="h", tz=None):
    index = pd.date_range(start, periods=n_rows, freq=freq, tz=tz)
    return pd.DataFrame({"v": np.random.default_rng(0).normal(size=n_rows)}, index=index)


def sines(index):
    return np.sin(2 * np.pi * index.hour.to_numpy() / 24)


def expected(index, horizon=3, step="1h"):
    """The sine of the hour of each step, by the index alone."""
    return np.column_stack([sines(index + h * pd.Timedelta(step)) for h in range(horizon)])


def check(forecasts, index):
    np.testing.assert_allclose(forecasts, expected(index), atol=1e-6)


@pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
@pytest.mark.parametrize("missing", [None, "skip"])
def test_the_net_sees_the_calendar_of_the_steps_also_beyond_the_last_row(tz, missing):
    X = hourly(60, tz=tz)
    net = seer(missing=missing).fit(X[:40])
    check(net.predict(X[40:]), X.index[40:])
    check(net.predict(X[45:], history=X[40:45]), X.index[45:])
    check(net.update(X[40:50]).predict(X[50:51]), X.index[50:51])


def test_forecast_goes_on_in_the_calendar_beyond_the_horizon():
    X = hourly(40)
    ahead = seer().fit(X).forecast(11)
    np.testing.assert_allclose(ahead, sines(ahead.index), atol=1e-6)
    assert ahead.index[0] == X.index[-1] + pd.Timedelta("1h")


def test_intervals_see_the_calendar():
    X = hourly(100)
    net = seer(validation_split=0.4).fit(X[:90])
    lower, upper = net.predict_interval(X[90:], 0.5)
    check((lower + upper) / 2, X.index[90:])
    lower, upper = net.forecast_interval(3, 0.5)
    np.testing.assert_allclose((lower + upper) / 2, sines(lower.index), atol=1e-6)


@pytest.mark.parametrize("missing", [None, "skip"])
def test_rows_that_fill_a_gap_or_a_hole_have_their_calendar(missing):
    X = hourly(80)
    net = seer(missing=missing, freq="h").fit(X[:40].drop(X.index[36:38]))
    for rows in (X[45:], X[45:].drop(X.index[50:54])):
        layout = net._forecasts(rows, None, None)[1]
        last_hours = layout.series[layout.positions[0] - 4 : layout.positions[0], 1]
        np.testing.assert_allclose(last_hours, sines(X.index[41:45]), atol=1e-6)
        check(net.predict(rows), rows.index)
    tail = net._rollout.filled(net._rollout.tail(net._learned.pasts[None]))[-4:]
    np.testing.assert_allclose(tail[:, 1], sines(X.index[36:40]), atol=1e-6)


def test_a_panel_has_a_calendar_for_each_series():
    one, other = hourly(40), hourly(40, start="2024-03-05 17:00")
    X, groups = pd.concat([one, other]), np.repeat(["a", "b"], 40)
    late = np.tile(np.arange(40) >= 30, 2)
    net = seer().fit(X[~late], groups=groups[~late])
    check(net.predict(X[late], groups=groups[late]), X.index[late])
    for group, index in (("a", one.index), ("b", other.index)):
        check([net.forecast(3, group=group)], index[[30]])


def test_known_columns_and_the_calendar_go_together():
    X = hourly(60).assign(known=lambda frame: np.arange(60.0))
    net = seer(known_future="known").fit(X[:40])
    check(net.predict(X[40:]), X.index[40:])
    truth, _, rows = net.pairs(X[40:])
    assert len(truth) == 3 * 18 == len(rows)  # whole horizons, for known columns end with X
    ahead = net.forecast(5, X_future=X[["known"]][40:45])
    np.testing.assert_allclose(ahead, sines(ahead.index), atol=1e-6)
    assert len(seer().fit(X[["v"]][:40]).pairs(X[["v"]][40:])[0]) == 18 * 3 + 2 + 1


def test_the_calendar_is_learnt_and_leaks_nothing():
    X = hourly(400)
    X["v"] = np.sign(np.sin(2 * np.pi * (X.index.hour - 3) / 24)) + 0.1 * X["v"]
    X.loc[X.index[300:], "v"] = 0.0  # nothing but the hour tells
    net = KerasForecaster(
        "mlp", look_back=2, horizon=1, target="v", calendar=["hour", "dayofweek"], epochs=30,
        optimizer__learning_rate=0.01, random_state=0,
    ).fit(X[:300])  # fmt: skip
    before = net.predict(X[300:])
    assert np.corrcoef(before, sines(X.index[300:] - pd.Timedelta("3h")))[0, 1] > 0.6
    changed = X.copy()
    changed.iloc[350:] = 55
    np.testing.assert_array_equal(net.predict(changed[300:])[:51], before[:51])
    assert net.n_features_in_ == 1


def test_each_name_is_a_place_in_its_unit():
    index = pd.date_range("2024-01-01", "2025-12-31 23:00", freq="7h")
    for name in ("minute", "hour", "dayofweek", "day", "dayofyear", "week", "month", "quarter"):
        columns = calendar_columns(index, [name])
        np.testing.assert_allclose((columns**2).sum(axis=1), 1)
        attribute = name.replace("dayof", "day_of_")
        numbers = index.isocalendar().week if name == "week" else getattr(index, attribute)
        places = pd.DataFrame(columns.round(9)).groupby(np.asarray(numbers)).nunique()
        assert (places == 1).all(axis=None)
        assert len(np.unique(columns.round(9), axis=0)) == len(places)
    periods = index.to_period("h")
    names = ["hour", "week"]
    np.testing.assert_array_equal(calendar_columns(periods, names), calendar_columns(index, names))


@pytest.mark.parametrize(
    "index, message",
    [
        (None, "X with an index of int64; expected an index of dates or periods"),
        (pd.RangeIndex(5, 45), "an index of int64"),
        (pd.timedelta_range(0, periods=40, freq="h"), "an index of timedelta64"),
    ],
)
def test_an_index_without_dates_is_an_error(index, message):
    X = hourly(40)
    X.index = pd.RangeIndex(40) if index is None else index
    with pytest.raises(ValueError, match=message):
        seer().fit(X)


def test_a_calendar_that_is_asked_for_wrongly_is_an_error():
    with pytest.raises(ValueError, match="X with no index"):
        seer(target=0).fit(hourly(40).to_numpy())
    with pytest.raises(ValueError, match="history with an index of int64"):
        seer().fit(hourly(40)).forecast(3, history=hourly(40).reset_index(drop=True))
    for calendar in ("hours", ["hour", "hour"], ["hour", "season"]):
        with pytest.raises(ValueError, match="calendar=.*expected some of 'minute', 'hour'"):
            seer(calendar=calendar).fit(hourly(40))
    with pytest.raises(ValueError, match="calendar was changed"):
        seer().fit(hourly(40)).set_params(calendar=None).forecast(3)
