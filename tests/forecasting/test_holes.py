"""Holes in the index: no window is trained on that crosses one; forecasts fill them elsewhere."""

import numpy as np
import pandas as pd
import pytest

from skkeras import KerasForecaster

FROZEN = {"optimizer": "sgd", "optimizer__learning_rate": 0.0, "loss": "mae", "epochs": 1}


def copy_of(row, *, plus=0.0):
    """A builder of nets that forecast a row of the window, and ``plus``."""

    def build(input_shape, n_outputs):
        import keras

        window = keras.Input(input_shape)
        place = range(input_shape[0])[row]
        crop = keras.layers.Cropping1D((place, input_shape[0] - 1 - place))
        flat = keras.layers.Flatten()(crop(window))
        dense = keras.layers.Dense(n_outputs, kernel_initializer="ones")
        model = keras.Model(window, dense(flat))
        model.layers[-1].bias.assign([plus] * n_outputs)
        return model

    return build


def net_of(row=-1, *, plus=0.0, **parameters):
    settings = {"look_back": 3, "normalize": False, **FROZEN, **parameters}
    return KerasForecaster(copy_of(row, plus=plus), **settings)


def tens(index):
    return pd.DataFrame({"v": 10 * np.arange(float(len(index)))}, index=index)


DAYS = pd.date_range("2024-01-01", periods=60)
INDEXES = {
    "days": DAYS,
    "hours": pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin"),
    "months": pd.date_range("2020-01-31", periods=60, freq="ME"),
    "business days": pd.date_range("2024-01-01", periods=60, freq="B"),
    "periods": pd.period_range("2020-01", periods=60, freq="M"),
    "integers": pd.RangeIndex(5, 305, 5),
    "durations": pd.timedelta_range(0, periods=60, freq="15min"),
    "floats": pd.Index(np.arange(60) / 10),
}


def windows(net, X, **given):
    """The windows that a net is trained on, of the first column."""
    return net._examples(X, None, use="fit", **given).X[:][:, :, 0]


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
@pytest.mark.parametrize("horizon", [1, 2])
def test_no_window_of_the_training_data_crosses_a_hole(index, horizon):
    X = tens(index).drop(index[20:30])
    seen = []

    def build(X, input_shape, n_outputs):
        seen.append(X)
        return copy_of(-1)(input_shape, n_outputs)

    net = KerasForecaster(build, look_back=3, horizon=horizon, normalize=False, epochs=1)
    net.fit(X)
    starts = [*range(20 - 2 - horizon), *range(30, 60 - 2 - horizon)]
    np.testing.assert_allclose(
        seen[-1][:, :, 0], [[10 * (t + i) for i in range(3)] for t in starts]
    )


def test_the_loss_is_that_of_windows_without_holes():
    X = tens(DAYS).drop(DAYS[20:50])
    assert net_of().fit(X).history_["loss"] == [10]
    held_out = net_of(validation_split=15).fit(X)
    assert held_out.history_["val_loss"] == [10]
    two = pd.concat([X, X])
    both = net_of().fit(two, groups=["a"] * 30 + ["b"] * 30)
    assert both.history_["loss"] == [10]


@pytest.mark.parametrize("first", [DAYS, DAYS.delete(5)], ids=["even", "uneven"])
def test_rows_that_follow_have_holes_as_well(first):
    X = tens(DAYS)
    known, later = X.loc[first[first < DAYS[30]]], X[31:60].drop(DAYS[40:50])
    net = net_of().fit(known, X_val=X[30:60].drop(DAYS[40:50]))
    assert net.history_["val_loss"] == [10]
    net.partial_fit(X[30:31])
    net.partial_fit(later)
    assert net.history_["loss"][-1] == 10


def test_forecasts_stand_for_the_rows_of_a_hole():
    X = tens(DAYS)
    later = X[30:50].drop(DAYS[[40, 41]])
    rising = net_of(plus=10).fit(X[:30])  # is right, in a hole as well
    np.testing.assert_allclose(rising.predict(later), later)
    assert rising.score(later) == pytest.approx(1)
    assert len(rising.pairs(later)[2]) == 18
    assert rising.evaluate(later)["loss"] == 0
    delayed = net_of(row=0).fit(X[:30])  # two rows late
    np.testing.assert_allclose(delayed.predict(later)[8:13, 0], [350, 360, 390, 370, 380])
    assert delayed.update(later[:11]).forecast(3)["v"].tolist() == [370, 380, 420]


def test_a_history_and_the_end_of_the_training_data_may_have_holes():
    X = tens(DAYS)
    holed = X[:30].drop(DAYS[[27, 28]])
    delayed = net_of(row=0, freq="D").fit(holed)
    assert delayed.forecast(3)["v"].tolist() == [240, 250, 290]
    assert delayed.predict(X[30:32])[:, 0].tolist() == [240, 250]
    history = net_of(row=0).fit(X[:20])
    np.testing.assert_allclose(history.predict(X[30:32], history=holed)[:, 0], [240, 250])
    assert history.forecast(1, history=holed).index[0] == DAYS[30]
    unseen = net_of(row=0).fit(X[:20], groups=["a"] * 20)
    assert unseen.forecast(3, history=holed, group="b")["v"].tolist() == [240, 250, 290]
    np.testing.assert_allclose(
        unseen.predict(X[20:30].drop(DAYS[[25, 26]]), groups=["b"] * 8)[5:8, 0], [240, 220, 230]
    )


def test_validation_rows_do_not_get_a_history_across_a_hole():
    X = tens(DAYS)
    net = net_of(freq="D").fit(X[:30].drop(DAYS[27]), X_val=X[30:40])
    assert net.history_["val_loss"] == [10]
    with pytest.raises(ValueError, match="n_samples=3 rows.*look_back"):
        net.fit(X[:30].drop(DAYS[29]), X_val=X[30:33])


def test_holidays_are_no_holes_and_weeks_are():
    index = INDEXES["business days"]
    holidays = tens(index).drop(index[[4, 20, 21, 40]])
    assert len(windows(net_of(look_back=10), holidays)) == 46
    weeks = tens(index).drop(index[20:30])
    assert len(windows(net_of(look_back=10), weeks)) == 30


def test_a_rhythm_is_told_of_where_it_is_not_understood():
    hours = pd.date_range("2024-01-01", periods=240, freq="h")
    opened = tens(hours[(hours.hour >= 9) & (hours.hour < 15)][:54])
    message = "8 holes in the index of X.*row 6: 2024-01-02 09.*groups="
    with pytest.warns(UserWarning, match=message):
        assert len(windows(net_of(look_back=6), opened)) == 48
    assert len(windows(net_of(look_back=2), opened)) == 36  # enough are left


def test_windows_that_a_stated_step_leaves_out_are_told_of():
    index = INDEXES["business days"]
    X = tens(index).drop(index[[20, 40]])
    with pytest.warns(UserWarning, match="36 of 40 windows are left.*row 20: .*holidays=.*groups="):
        net_of(look_back=18, freq="B").fit(X)
    net_of(look_back=8, freq="B").fit(X)
    with pytest.raises(ValueError, match="n_samples=30 rows.* 9 \\+ 1.*of which X has 29.*freq="):
        net_of(look_back=9, freq="D").fit(tens(DAYS)[::2])


def test_another_frequency_is_no_index_with_holes():
    net = net_of().fit(tens(DAYS[:20]))
    weekly = tens(pd.date_range(DAYS[20], periods=5, freq="7D"))
    with pytest.raises(ValueError, match=r"in another frequency \(row 1, 2024-01-28.*D apart"):
        net.predict(weekly)
    with pytest.raises(ValueError, match=r"in another frequency \(row 2, 2024-01-22 12:00:00"):
        net.update(tens(DAYS[[20, 21]].append(pd.DatetimeIndex(["2024-01-22 12:00"]))))
