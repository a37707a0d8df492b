"""Steps of an index: of one series, of a panel, stated, or guessed."""

import numpy as np
import pandas as pd
import pytest

from skkeras import KerasForecaster
from skkeras.forecasting._steps import even_step, panel_step, series_step, spacing_of

HOLIDAYS = ["2023-01-02", "2023-04-07", "2023-05-01"]
TRADING = pd.offsets.CustomBusinessDay(holidays=HOLIDAYS)
SIX_DAYS = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat", holidays=HOLIDAYS)


def last_value(input_shape, n_outputs):
    """A net that forecasts the last value of the window, and one more."""
    import keras

    window = keras.Input(input_shape)
    last = keras.layers.Flatten()(keras.layers.Cropping1D((input_shape[0] - 1, 0))(window))
    dense = keras.layers.Dense(n_outputs, kernel_initializer="ones", bias_initializer="ones")
    return keras.Model(window, dense(last))


def net_of(look_back=2, **parameters):
    return KerasForecaster(last_value, look_back=look_back, normalize=False, **parameters)


def bare(index):
    """The entries alone, as after a groupby or a file."""
    return type(index)(list(index)) if not isinstance(index, pd.RangeIndex) else index


def rows(index, start=0.0):
    return pd.DataFrame({"v": start + 10 * np.arange(len(index))}, index=bare(index))


def panel(**series):
    """Rows of all series, and the series of each."""
    frame = pd.concat([rows(index) for index in series.values()])
    return frame, np.repeat([*series], [len(index) for index in series.values()])


LONG_ONES = {
    "business days": pd.date_range("2024-01-01", periods=40, freq="B"),
    "months": pd.date_range("2020-01-01", periods=40, freq="MS"),
    "ends of months": pd.date_range("2020-01-31", periods=40, freq="ME"),
    "quarters": pd.date_range("2020-01-01", periods=40, freq="QS"),
    "weeks": pd.date_range("2024-01-03", periods=40, freq="W-WED"),
    "hours": pd.date_range("2024-03-30", periods=40, freq="2h", tz="Europe/Berlin"),
    "quarters of periods": pd.period_range("2020-01", periods=120, freq="M")[::3],
    "integers": pd.RangeIndex(100, 180, 2),
}


@pytest.mark.parametrize("index", LONG_ONES.values(), ids=LONG_ONES)
@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_a_short_series_goes_in_the_step_of_the_panel(index, n_rows):
    short = index[20 : 20 + n_rows]
    X, groups = panel(old=index[:30], new=short)
    net = net_of(look_back=1).initialize(X, groups=groups)
    assert list(net.forecast(3, group="new").index) == list(index[20 + n_rows : 23 + n_rows])
    unseen = net.update(rows(short), groups=["unseen"] * n_rows).forecast(3, group="unseen")
    assert list(unseen.index) == list(index[20 + n_rows : 23 + n_rows])
    for group in (None, "other"):
        ahead = net.forecast(3, history=rows(short), group=group)
        assert list(ahead.index) == list(index[20 + n_rows : 23 + n_rows])


def test_nothing_is_filled_in_where_a_weekend_is_between():
    index = pd.date_range("2024-01-01", periods=30, freq="B")
    X, groups = panel(old=index[:20], new=index[10:20])
    net = net_of().initialize(X[:25], groups=groups[:25])
    later = rows(index[15:18], start=1000)
    predicted = net.predict(later, groups=["new"] * 3)
    np.testing.assert_allclose(predicted[:, 0], [41, 1001, 1011])
    history = rows(index[10:15])
    np.testing.assert_allclose(net.predict(later, history=history, groups=["x"] * 3), predicted)
    skipped = net.predict(later[1:], groups=["new"] * 2)  # Monday is missing
    np.testing.assert_allclose(skipped[:, 0], [42, 1011])


def test_a_series_grows_a_row_at_a_time():
    index = pd.date_range("2020-01-31", periods=40, freq="ME")
    net = net_of().initialize(rows(index[:30]), groups=["a"] * 30)
    for i in range(30, 36):
        net.update(rows(index[i : i + 1]), groups=["z"])
    assert net.forecast(1, group="z").index[0] == index[36]
    with pytest.raises(ValueError, match="of series 'z' that begins at 2023-01-15.*ME apart"):
        net.update(rows(pd.DatetimeIndex(["2023-01-15"])), groups=["z"])


def test_the_step_is_that_of_most_rows():
    days, weeks = pd.date_range("2024-01-01", periods=60), LONG_ONES["weeks"]
    assert panel_step([bare(days), bare(weeks)]) == pd.offsets.Day()
    assert panel_step([bare(days)[:20], bare(weeks)]) == pd.offsets.Day(7)
    mornings, halves = LONG_ONES["hours"], LONG_ONES["hours"] + pd.Timedelta("30min")
    assert panel_step([bare(mornings), bare(halves)[:2]]) == pd.offsets.Hour(2)
    week = LONG_ONES["business days"]
    for starts in ((0, 5, 10), (0, 5, 15), (0, 20)):
        assert panel_step([bare(week[i : i + 5]) for i in starts]) == pd.offsets.BDay()


def test_a_series_with_holes_has_the_step_of_the_panel():
    days = pd.date_range("2024-01-01", periods=30)
    holed = [days.delete([7, 8]), days.delete(20), days.delete([0, 1, 25])]
    X, groups = panel(a=holed[0], b=holed[1], c=holed[2])
    net = net_of().initialize(X, groups=groups)  # none is whole, and all together are
    assert [net.forecast(1, group=one).index[0] for one in "abc"] == [days[-1] + days.freq] * 3


def test_series_of_other_steps_go_on_in_their_own_and_are_told_of():
    days, weeks = pd.date_range("2024-01-01", periods=60), LONG_ONES["weeks"]
    X, groups = panel(daily=days, weekly=weeks)
    with pytest.warns(UserWarning, match="of series 'weekly' is of entries 7D apart.* D apart"):
        net = net_of().initialize(X, groups=groups)
    assert net.forecast(1, group="daily").index[0] == days[-1] + pd.Timedelta("1D")
    assert net.forecast(1, group="weekly").index[0] == weeks[-1] + pd.Timedelta("7D")
    assert series_step(bare(weeks[:5]), pd.offsets.Day()) == pd.offsets.Day()


# Stated.


@pytest.mark.parametrize("calendar", [TRADING, SIX_DAYS], ids=["five days", "six days"])
def test_a_calendar_is_stated_or_kept_from_the_index(calendar):
    index = pd.date_range("2022-12-01", "2023-06-30", freq=calendar)
    start = index.get_loc("2023-04-06")  # the day before a holiday
    X, groups = panel(a=index[: start + 1], b=index[: start + 1])
    expected = list(index[start + 1 : start + 4])
    net = net_of(freq=calendar).initialize(X, groups=groups)
    assert list(net.forecast(3, group="b").index) == expected
    later = rows(index[start + 1 : start + 4], start=700)
    np.testing.assert_allclose(
        net.predict(later, groups=["a"] * 3)[:, 0], [10 * start + 1, 701, 711]
    )
    kept = X.iloc[: start + 1].set_axis(index[: start + 1])
    assert list(net_of().initialize(kept).forecast(3).index) == expected
    one = net_of().initialize(kept, groups=["a"] * len(kept))
    assert list(one.forecast(3, group="a").index) == expected


def test_holidays_that_all_series_leave_out_are_no_holes():
    index = pd.date_range("2022-12-01", "2023-06-30", freq=TRADING)
    X, groups = panel(a=index, b=index[:100])
    net = net_of(look_back=20).initialize(X, groups=groups)
    n_windows = len(net._examples(X, None, groups=groups, use="evaluate").X)
    assert n_windows == len(index) - 20 + 80
    assert net.forecast(1, group="b").index[0] == index[100]


STATED = {
    "a name": ("MS", pd.date_range("2020-01-01", periods=30, freq="MS")),
    "a multiple": ("3MS", pd.date_range("2020-01-01", periods=30, freq="QS")),
    "months from a day": (
        pd.DateOffset(months=1),
        pd.date_range("2020-01-15", periods=30, freq="30D"),
    ),
    "a duration": (
        pd.Timedelta("37min").to_pytimedelta(),
        pd.date_range("2024", periods=30, freq="37min"),
    ),
    "periods": ("M", pd.period_range("2020-01", periods=30, freq="M")),
    "an int": (5, pd.RangeIndex(7, 157, 5)),
}


@pytest.mark.parametrize("freq, index", STATED.values(), ids=STATED)
def test_a_stated_step_goes_on_after_holes(freq, index):
    if isinstance(freq, pd.DateOffset):
        index = pd.date_range("2020-01-15", periods=30, freq=freq)
    net = net_of(freq=freq).initialize(rows(index)[:26].drop(index[10]))
    assert list(net.forecast(4).index) == list(index[26:])
    frame = rows(index)
    np.testing.assert_allclose(net.predict(frame[28:])[:, 0], [253, 281])  # two are missing


@pytest.mark.parametrize(
    "freq, index, message",
    [
        ("B", pd.date_range("2024-01-01", periods=9), "2024-01-06 00:00:00 in row 5, .* freq='B'"),
        (
            "MS",
            pd.date_range("2024-01-02", periods=2),
            "2024-01-02 00:00:00 in row 0, .* freq='MS'",
        ),
        (2, pd.Index([1, 3, 6]), "an index with 6 in row 2, which is not on the grid of freq=2"),
        ("wood", pd.date_range("2024-01-01", periods=9), "freq='wood', and X has.*'D' or 'B'"),
        (2, pd.date_range("2024-01-01", periods=9), "freq=2, and X has an index of datetime64"),
        ("D", pd.RangeIndex(9), "freq='D', and X has an index of int64; expected a whole number"),
        (0, pd.RangeIndex(9), "freq=0, and X .* a whole number, of at least 1"),
        ("D", pd.period_range("2024-01", periods=9, freq="M"), "the periods are of M"),
        ("D", pd.Index(list("abcdefghi")), "freq='D', and X .*pd.to_datetime"),
        ("D", None, "freq='D', and X without an index"),
    ],
)
def test_a_stated_step_that_the_index_has_not_is_an_error(freq, index, message):
    X = np.arange(9.0)[:, None] if index is None else rows(index)
    with pytest.raises(ValueError, match=message):
        net_of(freq=freq).initialize(X)


def test_a_step_is_stated_as_pandas_does_and_stays():
    for freq in (2.5, True, ["D"]):
        with pytest.raises(TypeError, match="freq=.*expected a pandas offset"):
            net_of(freq=freq).initialize(rows(pd.RangeIndex(9)))
    net = net_of().initialize(rows(pd.date_range("2024-01-01", periods=9)))
    with pytest.raises(ValueError, match="freq was changed since"):
        net.set_params(freq="B").forecast(1)


def test_the_series_off_the_stated_grid_is_named():
    X, groups = panel(a=LONG_ONES["business days"], b=pd.date_range("2024-01-05", periods=3))
    with pytest.raises(ValueError, match="of series 'b' with 2024-01-06 00:00:00 in row 41"):
        net_of(freq="B").initialize(X, groups=groups)


# Not even.


def test_a_forecast_of_a_series_that_is_not_even_says_which_series_and_row():
    days = pd.date_range("2024-01-01", periods=30)
    X, groups = panel(a=days[:25].delete(4), b=days.delete([4, 20]))
    net = net_of().initialize(X, groups=groups)
    with pytest.raises(ValueError, match=r"of series 'b', .*\(row 28, 2024-01-06 00:00:00, comes"):
        net.forecast(1, group="b")
    one = X[groups == "b"]
    with pytest.raises(ValueError, match=r"\(row 4, 2024-01-06 00:00:00, .*freq='D'.*asfreq"):
        net_of().initialize(one).forecast(1)
    alone = net_of(look_back=1).initialize(one, groups=["a"] * 28).update(one[:1], groups=["z"])
    with pytest.raises(ValueError, match=r"of series 'z', .*\(it is of one row\)"):
        alone.forecast(1, group="z")
    assert net_of(freq="D").initialize(one).forecast(1).index[0] == days[-1] + days.freq


@pytest.mark.parametrize(
    "index, expected",
    [
        (pd.DatetimeIndex(["2024-01-01", "2024-02-01"]), pd.offsets.MonthBegin()),
        (pd.DatetimeIndex(["2024-01-31", "2024-02-29"]), pd.offsets.MonthEnd()),
        (pd.DatetimeIndex(["2024-01-15", "2025-01-15"]), pd.DateOffset(months=12)),
        (pd.DatetimeIndex(["2024-01-01 08:00", "2024-01-01 09:30"]), pd.offsets.Minute(90)),
        (pd.DatetimeIndex(["2024-01-01", "2024-01-03"]), pd.offsets.Day(2)),
        (pd.DatetimeIndex(["2024-01-01"]), None),
        (pd.Index([0.5, 1.0, 1.5]), None),
    ],
)
def test_two_rows_tell_the_step_that_is_likely(index, expected):
    assert even_step(index) == expected


BERLIN = pd.date_range("2024-03-01", periods=60, tz="Europe/Berlin")  # clocks change in between
GUESSES = {
    "days": (BERLIN.delete([5, 6]), pd.offsets.Day(), 0),
    "months": (LONG_ONES["months"].delete(5), pd.offsets.MonthBegin(), 0),
    "business days": (LONG_ONES["business days"].delete(5), pd.offsets.BDay(), 4),
    "hours": (LONG_ONES["hours"].delete(5), pd.Timedelta("2h"), 0),
    "floats": (pd.Index(0.25 * np.delete(np.arange(50), 9)), 0.25, 0),
    "at random": (pd.Index(np.random.default_rng(0).exponential(size=50).cumsum()), None, 0),
    "few": (BERLIN[[0, 2]], None, 0),
}


@pytest.mark.parametrize("index, spacing, n_holidays", GUESSES.values(), ids=GUESSES)
def test_the_spacing_of_most_rows_is_guessed(index, spacing, n_holidays):
    assert spacing_of(index) == (spacing, n_holidays)
