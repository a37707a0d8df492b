"""LazyKFold: scikit-learn's folds, in less memory."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from versions import needs

from skkeras import KerasRegressor, data
from skkeras.data._folds import Ranges

X = np.random.default_rng(0).normal(size=(50, 3))
Y = X.sum(axis=1)


@given(st.integers(2, 6).flatmap(lambda k: st.tuples(st.just(k), st.integers(k, 40))))
def test_the_folds_are_those_of_k_fold(sizes):
    n_splits, n_rows = sizes
    rows = np.zeros(n_rows)
    pairs = zip(data.LazyKFold(n_splits).split(rows), KFold(n_splits).split(rows), strict=True)
    for ours, expected in pairs:
        for got, numbers in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(got), numbers)
            assert (len(got), got.shape, [*got]) == (len(numbers), numbers.shape, [*numbers])
            np.testing.assert_array_equal(X[:n_rows][got[:3]], X[:n_rows][numbers[:3]])


def test_it_is_a_splitter_of_scikit_learns():
    folds = clone(data.LazyKFold(3), safe=False)
    assert (repr(folds), folds.get_n_splits()) == ("LazyKFold(n_splits=3)", 3)
    with pytest.raises(ValueError, match=r"n_splits=3 is more than the number of rows, 2;"):
        next(folds.split([1, 2]))
    with pytest.raises(ValueError, match="n_splits=1"):
        data.LazyKFold(1)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scikit_learn_takes_it_for_k_fold(n_jobs):
    def results(folds):
        search = GridSearchCV(Ridge(), {"alpha": [1, 9]}, cv=folds, n_jobs=n_jobs).fit(X, Y)
        return [
            cross_val_score(Ridge(), X, Y, cv=folds, n_jobs=n_jobs),
            cross_val_predict(Ridge(), X, Y, cv=folds),
            *learning_curve(Ridge(), X, Y, cv=folds),
            search.cv_results_["mean_test_score"],
        ]

    for got, expected in zip(results(data.LazyKFold(4)), results(KFold(4)), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_it_holds_validation_rows_out():
    net = KerasRegressor("linear", epochs=2, random_state=0)
    histories = [
        net.set_params(validation_split=folds).fit(X, Y).history_
        for folds in (data.LazyKFold(4), KFold(4))
    ]
    assert histories[0] == histories[1]


def test_folds_take_no_memory_before_they_are_used():
    rows = np.broadcast_to(0.0, 10_000_000)
    tracemalloc.start()
    folds = list(data.LazyKFold(5).split(rows))
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert len(pickle.dumps(folds)) < 10_000


def test_views_of_folds_take_little_memory():
    source = data.lazy(np.broadcast_to(np.float32(0), (4_000_000, 1)))
    (_, _), (train, test), _ = data.LazyKFold(3).split(source)
    for rows in (np.asarray(train), np.asarray(test)):
        tracemalloc.start()
        view = source[rows]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (len(view), peak < rows.nbytes / 2) == (len(rows), True)


def test_numbers_that_need_it_have_8_bytes():
    rows = Ranges(range(2**31, 2**31 + 2))
    np.testing.assert_array_equal(np.asarray(rows), [2**31, 2**31 + 1])


@needs("numpy", "2.0")
def test_numbers_have_no_view():
    rows = Ranges(range(2**31, 2**31 + 2))
    with pytest.raises(ValueError, match="copy=False"):
        np.asarray(rows, copy=False)
