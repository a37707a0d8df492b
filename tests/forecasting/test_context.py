"""History: what is kept of a series, and what is held out of it."""

import numpy as np
import pytest

from skkeras.forecasting._context import hold_out, keep, rows_in_common, telling_length


def column(values):
    return np.asarray(values, float)[:, np.newaxis]


def test_high_levels_do_not_make_rows_the_same():
    X = 1e8 + column([0, 5, 3, 8])
    spread = X.std(axis=0)
    assert rows_in_common(X, X + 1e-7 * spread, spread) == 4
    assert rows_in_common(X, X + 1e-7 * X, spread) == 0


def test_the_beginning_grows_until_it_is_a_window():
    past = keep(column([0, 1]), look_back=5)
    for start in (2, 4, 6):
        past = past.with_rows(past.tail, column([start, start + 1]), None, look_back=5)
    np.testing.assert_array_equal(past.head[:, 0], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(past.tail[:, 0], [3, 4, 5, 6, 7])
    assert past.n_rows == 8


@pytest.mark.parametrize("split", [1.0, 2.5, 0, 0.0, -1, -0.5])
def test_what_is_held_out_is_a_fraction_or_a_number_of_rows(split):
    with pytest.raises(
        ValueError, match="validation_split=.*a fraction between 0 and 1, or an int"
    ):
        hold_out(split, 10, None)


def test_the_end_of_each_series_is_held_out():
    groups = ["a", "b", "a", "b", "a"]
    np.testing.assert_array_equal(hold_out(1, 5, groups)[1], [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(hold_out(0.5, 5, groups)[1], [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(hold_out(np.int64(1), 5, None)[1], [0, 0, 0, 0, 1])


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.arange(100) ** 2, 1),
        (np.sin(np.arange(100)), 1),
        (np.arange(100) % 10, 101),
        (np.zeros(100), 101),
        ([3, 3, *range(4, 100)], 2),
        ([7, *np.arange(99) % 10], 101),
        ([1, 2], 1),
        ([0, 0], 2),
        ([5], 1),
    ],
    ids=["squares", "sine", "period", "zeros", "twice", "one odd", "two", "alike", "single"],
)
def test_as_many_rows_tell_as_come_once(values, expected):
    assert telling_length(column(values), 1.0) == expected
    rounded = column(values) + 1e-9 * np.random.default_rng(0).normal(size=(len(values), 1))
    assert telling_length(rounded, 1.0) == expected
