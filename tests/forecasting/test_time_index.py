"""Timelines: how an index goes on, and where other rows lie on it."""

import numpy as np
import pandas as pd
import pytest

from skkeras.forecasting._time_index import index_of, is_default, read_timeline

DATES = pd.date_range("2024-01-01", periods=30)


@pytest.mark.parametrize("freq", ["15min", "2h", "7D", "2M", "3M", "Q", "D"])
def test_periods_are_counted_in_steps(freq):
    index = pd.period_range("2024-01-01", periods=30, freq=freq)
    timeline = read_timeline(index[:20])
    assert [timeline.missing(index[start:]) for start in (20, 23, 0)] == [0, 3, -20]
    assert timeline.after(10).equals(index[20:])
    assert timeline.moved(5).after(5).equals(index[25:])


@pytest.mark.parametrize("freq", ["15min", "2h", "7D", "2MS", "QS", "D", "B"])
def test_dates_are_counted_in_steps(freq):
    index = pd.date_range("2024-01-01", periods=30, freq=freq)
    timeline = read_timeline(index[:20])
    assert [timeline.missing(index[start:]) for start in (20, 23, 0)] == [0, 3, -20]
    assert timeline.moved(3, index[20:23]).after(7).equals(index[23:])


def test_periods_may_be_wider_apart_than_they_are_long():
    index = pd.period_range("2024-01", periods=30, freq="M")[::3]
    timeline = read_timeline(index[:6])
    assert timeline.after(4).equals(index[6:])
    assert timeline.missing(index[8:]) == 2
    with pytest.raises(ValueError, match="begins at 2025-11; expected entries 3M.* apart"):
        timeline.missing(index[7:] + 1)


def test_a_multiplied_period_off_the_grid_is_an_error():
    index = pd.period_range("2024-01-01", periods=30, freq="15min")
    with pytest.raises(ValueError, match="begins at 2024-01-01 05:05; expected entries 15min"):
        read_timeline(index[:20]).missing(
            pd.period_range("2024-01-01 05:05", freq="15min", periods=3)
        )


def test_zones_are_compared_by_instants():
    index = pd.date_range("2024-03-29", periods=66, freq="h", tz="Europe/Berlin")
    timeline = read_timeline(index[:40])
    assert timeline.missing(index[45:].tz_convert("UTC")) == 5
    assert timeline.moved(26, index[40:].tz_convert("UTC")).last == index[-1]
    assert str(timeline.moved(26, index[40:].tz_convert("UTC")).last.tz) == "Europe/Berlin"
    with pytest.raises(ValueError, match=r"index of datetime64\[.*\]; expected"):
        timeline.missing(index[45:].tz_localize(None))


@pytest.mark.parametrize(
    "index",
    [
        DATES.delete(7),
        pd.Index(np.linspace(0, 1, 30)),
        pd.Index([5, 6, 9, 12]),
        DATES[[3]],
    ],
    ids=["a day is missing", "floats", "uneven", "a single one"],
)
def test_an_index_that_isnt_even_says_what_is_later(index):
    timeline = read_timeline(index)
    later = index[-1:] + (index[-1] - index[0] if len(index) > 1 else pd.Timedelta("1D"))
    assert timeline.missing(later) == 0
    assert timeline.missing(index) == -1
    assert timeline.moved(1, later).last == later[0]
    with pytest.raises(ValueError, match="not of dates, .* evenly spaced.*asfreq"):
        timeline.after(2)


def test_labels_have_no_order():
    timeline = read_timeline(pd.Index(["2024-01-01", "2024-01-02"]))
    assert timeline.missing(pd.Index(["a"])) is None
    with pytest.raises(ValueError, match=r"'2024-01-02', and nobody.*pd.to_datetime"):
        timeline.after(2)
    with pytest.raises(ValueError, match="X has an index of datetime64"):
        timeline.missing(DATES)
    with pytest.raises(ValueError, match="history has an index of"):
        read_timeline(DATES).missing(pd.Index(["a"]), "history")


@pytest.mark.parametrize("index", [DATES[::-1], pd.Index([2, 1, 3]), DATES.to_period()[[1, 0]]])
def test_rows_out_of_order_are_an_error(index):
    with pytest.raises(ValueError, match=r"isn't in order.*X.sort_index\(\)"):
        read_timeline(index)


@pytest.mark.parametrize(
    "index, label",
    [
        (DATES.append(DATES), "2024-01-01 00:00:00"),
        (DATES[[0, 1, 2, 2, 3, 3]], "2024-01-03 00:00:00"),
        (DATES.tz_localize("Europe/Berlin")[[0, 0]], "2024-01-01 00:00:00\\+01:00"),
        (DATES.to_period()[[4, 5, 4]], "2024-01-05"),
        (pd.Index([7, 8, 9, 7, 8, 9]), "7"),
        (pd.Index([0, 0]), "0"),
    ],
    ids=["series below each other", "in order", "with a zone", "periods", "integers", "zeros"],
)
def test_an_entry_that_is_repeated_is_an_error(index, label):
    message = f"X has an index with {label} more than once.*several series.*groups=.*duplicated"
    with pytest.raises(ValueError, match=message):
        read_timeline(index)
    timeline = read_timeline(index[:1])
    with pytest.raises(ValueError, match=message.replace("X", "history", 1)):
        timeline.missing(index, "history")


def test_labels_may_be_repeated():
    assert read_timeline(pd.Index(["Mon", "Tue", "Mon"])).last == "Mon"


def test_an_index_of_several_levels_is_an_error():
    index = pd.MultiIndex.from_product([["s1", "s2"], DATES[:2]], names=["store", "date"])
    frame = pd.DataFrame({"sales": range(4)}, index=index)
    remedy = r"X.droplevel\(0\) and groups=X.index.get_level_values\(0\)"
    with pytest.raises(ValueError, match=rf"X has an index of 2 levels.*'store', 'date'.*{remedy}"):
        index_of(frame)
    with pytest.raises(ValueError, match=r"y has an index of 2 levels.*y.droplevel\(0\)"):
        index_of(frame["sales"], "y")


def test_an_index_that_counts_the_rows_is_the_default_one():
    assert is_default(pd.RangeIndex(9))
    assert is_default(pd.Index([0, 1, 2]))
    assert not is_default(pd.RangeIndex(9)[3:])
    assert not is_default(pd.RangeIndex(0, 9, 2))
    assert not is_default(DATES)
