import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skkeras import KerasRegressor
from skkeras._examples import check_inputs, check_targets
from skkeras._sample_weights import relative_weights
from skkeras.data import lazy


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "int32"])
def test_numbers_that_a_net_may_want_are_kept(dtype):
    X = np.arange(12, dtype=dtype).reshape(6, 2)
    checked = check_inputs(KerasRegressor(), X, reset=True)
    assert checked.dtype == dtype
    assert np.shares_memory(checked, X)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (2, 8, 8, 3)])
def test_arrays_of_any_rank_above_one_are_taken(shape):
    assert check_inputs(KerasRegressor(), np.zeros(shape), reset=True).shape == shape


@pytest.mark.parametrize(
    "texts",
    [
        ["one", "two"],
        np.array(["one", "two"]),
        np.array(["one", "two"], dtype=object),
        pd.Series(["one", "two"]),
        [["one"], ["two"]],
        pd.DataFrame({"text": ["one", "two"]}),
    ],
)
def test_text_stays_text(texts):
    checked = check_inputs(KerasRegressor(), texts, reset=True)
    assert checked.dtype == object
    assert checked.ravel().tolist() == ["one", "two"]


@pytest.mark.parametrize(
    "texts",
    [
        np.array(["one", None], dtype=object),
        np.array([np.nan, "one"], dtype=object),
        [None, "one"],
        pd.Series([None, "one"]),
        pd.Series([pd.NA, "one"], dtype="string"),
        pd.DataFrame({"text": [np.nan, "one"]}),
    ],
)
def test_text_with_missing_values_is_refused(texts):
    with pytest.raises(ValueError, match="mixes strings with other values"):
        check_inputs(KerasRegressor(), texts, reset=True)


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.coo_matrix, sparse.dok_array])
def test_sparse_matrices_stay_sparse(make):
    checked = check_inputs(KerasRegressor(), make(np.eye(3)), reset=True)
    assert sparse.issparse(checked)
    assert checked.format == "csr"


def test_named_inputs_are_checked_each():
    X = {"a": np.zeros((3, 2)), "b": [["x"], ["y"], ["z"]]}
    checked = check_inputs(KerasRegressor(), X, reset=True)
    assert checked["a"].shape == (3, 2)
    assert checked["b"].dtype == object
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        check_inputs(KerasRegressor(), {**X, "a": np.zeros((4, 2))}, reset=True)
    with pytest.raises(ValueError, match="X\\['a'\\] contains NaN"):
        check_inputs(KerasRegressor(), {**X, "a": np.full((3, 2), np.nan)}, reset=True)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((3, 2, 0)),
        np.zeros((3, 0)),
        lazy(np.zeros((3, 0))),
        {"a": np.zeros((3, 0))},
        {"a": lazy(np.zeros((3, 4, 0)))},
    ],
)
def test_rows_without_values_are_refused(X):
    with pytest.raises(ValueError, match="Found array with 0 feature"):
        check_inputs(KerasRegressor(), X, reset=True)


def test_numbers_in_one_dimension_get_scikit_learns_advice():
    with pytest.raises(ValueError, match="Reshape your data"):
        check_inputs(KerasRegressor(), np.zeros(3), reset=True)


def test_targets_are_as_long_as_inputs():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        check_targets(KerasRegressor(), np.zeros((3, 2)), np.zeros(4), reset=True)
    with pytest.raises(ValueError, match="requires y to be passed"):
        check_targets(KerasRegressor(), np.zeros((3, 2)), None, reset=True)


def test_weights_are_relative():
    X = np.zeros((4, 1))
    weights = relative_weights([1, 2, 3, 4], X)
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(weights, relative_weights([10, 20, 30, 40], X))
    assert relative_weights(None, X) is None


@pytest.mark.parametrize("weights", [[-1, 1, 1], [0, 0, 0], [1, 2], [[1], [2], [3]]])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="sample_weight|inconsistent"):
        relative_weights(weights, np.zeros((3, 1)))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_columns_of_text_keep_their_order(make):
    frame = make({"home": ["a", "b"], "away": ["c", "d"]})
    estimator = KerasRegressor()
    check_inputs(estimator, frame, reset=True)
    assert estimator.n_features_in_ == 2
    assert estimator.feature_names_in_.tolist() == ["home", "away"]
    with pytest.raises(ValueError, match="feature names should match"):
        check_inputs(estimator, frame[["away", "home"]], reset=False)
    check_inputs(estimator, ["one", "two"], reset=True)  # nothing is left of an earlier X
    assert not hasattr(estimator, "n_features_in_")
    assert not hasattr(estimator, "feature_names_in_")


def test_columns_of_named_frames_keep_their_order():
    frame, estimator = pd.DataFrame({"u": [1.0, 2.0], "v": [3.0, 4.0]}), KerasRegressor()
    check_inputs(estimator, {"a": frame, "b": np.zeros((2, 1))}, reset=True)
    check_inputs(estimator, {"a": frame.to_numpy(), "b": np.zeros((2, 1))}, reset=False)
    with pytest.raises(ValueError, match=r"X\['a'\] has the columns \['v', 'u'\]; expected"):
        check_inputs(estimator, {"a": frame[["v", "u"]], "b": np.zeros((2, 1))}, reset=False)


@pytest.mark.parametrize("X", [[[1, None], [2, 3]], {"a": [[1, None], [2, 3]]}])
def test_a_list_with_none_in_it_has_missing_values(X):
    with pytest.raises(ValueError, match="contains NaN"):
        check_inputs(KerasRegressor(), X, reset=True)
    with pytest.raises(ValueError, match="contains NaN"):
        check_targets(KerasRegressor(), [[1], [2]], [None, 1.0], reset=True, numeric=True)


@pytest.mark.parametrize("wrap", [list, tuple])
def test_a_list_of_several_inputs_is_told_to_be_a_dict(wrap):
    inputs = wrap([np.zeros((20, 4, 4)), np.zeros((20, 3))])
    with pytest.raises(TypeError, match=r"of 2 arrays, each as long as y; .* by their names"):
        KerasRegressor().fit(inputs, np.zeros(20))


def test_lists_of_samples_that_are_arrays_stay_what_they_are():
    rows = [np.full((4, 4), value) for value in np.linspace(0, 1, 4)]
    net = KerasRegressor(epochs=1, random_state=0).fit(rows, np.arange(4.0))
    np.testing.assert_array_equal(net.predict(rows), net.predict(np.stack(rows)))


def test_words_among_the_numbers_of_a_named_input_are_told_by_its_name():
    frame = pd.DataFrame({"age": [1.0, 2.0], "sex": ["m", "f"]})
    with pytest.raises(ValueError, match=r"X\['meta'\] can't be used: could not convert string"):
        KerasRegressor().fit({"meta": frame}, np.zeros(2))
