import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from versions import parametrize_with_checks

from skkeras import KerasClassifier, data
from skkeras.data import ArrayReshaper, ArrayScaler

SCALERS = [
    StandardScaler(),
    MinMaxScaler(),
    MaxAbsScaler(),
    RobustScaler(),
    PowerTransformer(),
    QuantileTransformer(n_quantiles=5),
]


@parametrize_with_checks(
    [
        ArrayScaler(StandardScaler()),
        ArrayScaler(MinMaxScaler(), axis=None),
        ArrayScaler(RobustScaler(), axis="pixel"),
        ArrayScaler(PowerTransformer(), axis=1),
    ]
)
def test_scikit_learn_finds_nothing(estimator, check):
    check(estimator)


def table():
    return np.random.default_rng(0).normal(3, 2, size=(5, 4))


def series():
    return np.random.default_rng(1).normal(3, 2, size=(6, 7, 3))


@pytest.mark.parametrize("scaler", [MinMaxScaler(), StandardScaler()])
def test_one_scale_is_exactly_the_recipe_with_reshape(scaler):
    X = table()
    recipe = clone(scaler).fit(X.reshape(-1, 1))
    expected = recipe.transform(X.reshape(-1, 1)).reshape(5, 4)
    net = ArrayScaler(scaler, axis=None)
    assert np.array_equal(net.fit_transform(X), expected)
    back = recipe.inverse_transform(expected.reshape(-1, 1)).reshape(5, 4)
    assert np.array_equal(net.inverse_transform(expected), back)


@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_in_a_table_each_column_is_scaled_as_by_the_scaler_itself(scaler):
    X = table()
    assert np.array_equal(ArrayScaler(scaler).fit_transform(X), clone(scaler).fit_transform(X))


@pytest.mark.parametrize(
    "axis, reduced",
    [(-1, (0, 1)), (2, (0, 1)), (1, (0, 2)), ("pixel", (0,)), ((1, 2), (0,)), (None, None)],
)
def test_each_feature_gets_its_own_mean_and_deviation(axis, reduced):
    X = series()
    scaled = ArrayScaler(StandardScaler(), axis=axis).fit_transform(X)
    mean, deviation = X.mean(reduced, keepdims=True), X.std(reduced, keepdims=True)
    np.testing.assert_allclose(scaled, (X - mean) / deviation, atol=1e-12)


@pytest.mark.parametrize("axis", [-1, 1, "pixel", (1, 3), None])
@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_scaling_is_undone(scaler, axis):
    X = np.random.default_rng(2).normal(5, 2, size=(30, 3, 2, 2))
    fitted = ArrayScaler(scaler, axis=axis).fit(X)
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(X)), X, atol=1e-6)


@pytest.mark.parametrize("axis", [-1, "pixel", None])
@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_float32_stays_float32(scaler, axis):
    X = series().astype("float32")
    fitted = ArrayScaler(scaler, axis=axis).fit(X)
    scaled = fitted.transform(X)
    assert scaled.dtype == np.float32
    assert fitted.inverse_transform(scaled).dtype == np.float32


@pytest.mark.parametrize("axis", [-1, 1, "pixel", None])
@pytest.mark.parametrize("scaler", [StandardScaler(copy=False), MinMaxScaler(copy=False)])
def test_neither_the_array_nor_the_scaler_is_changed(scaler, axis):
    X = series()
    before, parameters = X.copy(), scaler.get_params()
    fitted = ArrayScaler(scaler, axis=axis).fit(X)
    fitted.inverse_transform(fitted.transform(X))
    assert np.array_equal(X, before)
    assert scaler.get_params() == parameters
    assert not hasattr(scaler, "n_features_in_")


def test_a_read_only_array_is_scaled():
    X = series()
    X.flags.writeable = False
    ArrayScaler(StandardScaler(copy=False)).fit_transform(X)


def test_scales_are_learnt_in_parts():
    X = series()
    parts = ArrayScaler(StandardScaler(), axis="pixel").partial_fit(X[:2]).partial_fit(X[2:])
    whole = ArrayScaler(StandardScaler(), axis="pixel").fit(X)
    np.testing.assert_allclose(parts.transform(X), whole.transform(X), atol=1e-12)


def test_only_scalers_that_can_learn_in_parts_do():
    assert hasattr(ArrayScaler(MinMaxScaler()), "partial_fit")
    assert not hasattr(ArrayScaler(RobustScaler()), "partial_fit")


def test_missing_values_stay_where_the_scaler_takes_them():
    X = series()
    X[0, 0, 0] = np.nan
    scaled = ArrayScaler(StandardScaler()).fit_transform(X)
    assert np.isnan(scaled).sum() == 1


def test_longer_series_are_scaled_by_the_same_features():
    X = series()
    fitted = ArrayScaler(StandardScaler()).fit(X)
    assert np.array_equal(fitted.transform(X[:, :2]), fitted.transform(X)[:, :2])
    with pytest.raises(ValueError, match=r"\(2,\) features on axis=-1; expected \(3,\)"):
        fitted.transform(X[..., :2])


def test_a_fit_forgets_the_one_before():
    scaler = ArrayScaler(StandardScaler()).fit(pd.DataFrame(table(), columns=list("abcd")))
    scaler.fit(series())
    assert not hasattr(scaler, "feature_names_in_")
    assert scaler.transform(series()).shape == (6, 7, 3)


def test_columns_keep_their_names():
    X = pd.DataFrame(table(), columns=list("abcd"))
    scaler = ArrayScaler(StandardScaler(), axis=None).set_output(transform="pandas")
    scaled = scaler.fit_transform(X)
    assert list(scaled.columns) == list("abcd")
    assert list(scaler.get_feature_names_out()) == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        scaler.transform(X[list("dcba")])


def test_set_output_leaves_higher_ranks_as_arrays():
    scaler = ArrayScaler(StandardScaler()).set_output(transform="pandas")
    assert isinstance(scaler.fit_transform(series()), np.ndarray)
    assert not hasattr(scaler, "get_feature_names_out")


@pytest.mark.parametrize("axis", [0, 3, -3, (1, 1), (1, -2), "feature", 1.0, True])
def test_an_axis_that_does_not_exist_is_refused(axis):
    with pytest.raises(ValueError, match="axis="):
        ArrayScaler(StandardScaler(), axis=axis).fit(series())


def test_what_changes_the_number_of_columns_is_no_scaler():
    X = np.tile([[0, 1], [1, 0]], (3, 1))
    encoder = ArrayScaler(OneHotEncoder(sparse_output=False)).fit(X)
    with pytest.raises(ValueError, match="made 4 columns of 2"):
        encoder.transform(X)


def test_the_scaler_is_searched_and_pickled():
    X, y = series(), np.array([0, 1, 0, 1, 0, 1])
    X[y == 1] += 3
    net = make_pipeline(
        ArrayScaler(StandardScaler()), KerasClassifier(model__units=4, epochs=2, random_state=0)
    )
    grid = {
        "arrayscaler__axis": [-1, "pixel", None],
        "arrayscaler__scaler__with_std": [False, True],
    }
    search = GridSearchCV(net, grid, cv=2, error_score="raise").fit(X, y)
    loaded = pickle.loads(pickle.dumps(search.best_estimator_))
    assert np.array_equal(loaded.predict_proba(X), search.predict_proba(X))


def files(folder, X, n_files=4):
    for number, part in enumerate(np.array_split(X, n_files)):
        np.save(folder / f"part_{number}.npy", part)
    return data.open_npy(folder)


@pytest.mark.parametrize("axis", [-1, 1, "pixel", None])
@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), MaxAbsScaler()], ids=str)
def test_lazy_arrays_are_scaled_as_those_in_memory(tmp_path, scaler, axis):
    X = np.random.default_rng(3).normal(3, 2, size=(50, 7, 3))
    lazy = files(tmp_path, X)
    fitted = ArrayScaler(scaler, axis=axis).fit(lazy)
    expected = ArrayScaler(scaler, axis=axis).fit(X)
    scaled = fitted.transform(lazy)
    assert isinstance(scaled, data.LazyArray)
    np.testing.assert_allclose(np.asarray(scaled), expected.transform(X), atol=1e-12)
    back = fitted.inverse_transform(scaled)
    assert isinstance(back, data.LazyArray)
    np.testing.assert_allclose(np.asarray(back), X, atol=1e-12)


@pytest.mark.parametrize(
    "dtype, scaled_dtype", [("float32", "float32"), ("float64", "float64"), ("uint8", "float64")]
)
def test_lazy_arrays_have_the_dtype_of_those_in_memory(dtype, scaled_dtype):
    X = (series() * 9 + 99).astype(dtype)
    fitted = ArrayScaler(StandardScaler()).fit(data.lazy(X))
    scaled = fitted.transform(data.lazy(X))
    assert scaled.dtype == np.asarray(scaled).dtype == fitted.transform(X).dtype == scaled_dtype


def test_fitting_reads_files_once_and_transforming_reads_nothing():
    class Counted:
        shape, dtype, n_read = (1000, 8), np.dtype("float32"), 0

        def __getitem__(self, key):
            rows = np.arange(1000)[key]
            self.n_read += len(rows)
            return np.repeat(rows[:, None], 8, axis=1).astype("float32")

    counted = Counted()
    lazy = data.lazy(counted)
    fitted = ArrayScaler(StandardScaler()).fit(lazy)
    assert counted.n_read <= 1001  # one row may show what rows look like
    before = counted.n_read
    scaled = fitted.transform(lazy)
    assert counted.n_read - before <= 1
    assert scaled.shape == (1000, 8)


def test_a_scaled_lazy_array_stays_as_it_was_scaled():
    X = series()
    fitted = ArrayScaler(StandardScaler()).fit(data.lazy(X))
    scaled, expected = fitted.transform(data.lazy(X)), fitted.transform(X)
    fitted.partial_fit(data.lazy(X * 100))
    np.testing.assert_array_equal(np.asarray(scaled), expected)


def test_a_scaled_lazy_array_is_pickled_without_its_data(tmp_path):
    X = np.random.default_rng(0).normal(size=(5000, 10))
    lazy = files(tmp_path, X)
    scaled = ArrayScaler(StandardScaler()).fit_transform(lazy)[::2]
    packed = pickle.dumps(scaled)
    assert len(packed) < X.nbytes / 20
    np.testing.assert_array_equal(np.asarray(pickle.loads(packed)), np.asarray(scaled))


def test_a_scaler_that_needs_all_rows_says_so_of_lazy_arrays():
    with pytest.raises(TypeError, match=r"RobustScaler\(\) has no partial_fit.*StandardScaler"):
        ArrayScaler(RobustScaler()).fit(data.lazy(series()))
    fitted = ArrayScaler(RobustScaler()).fit(series())
    assert isinstance(fitted.transform(data.lazy(series())), data.LazyArray)


def test_lazy_arrays_without_features_are_refused():
    with pytest.raises(ValueError, match="at least 2 axes"):
        ArrayScaler(StandardScaler()).fit(data.lazy(np.zeros(5)))
    fitted = ArrayScaler(StandardScaler()).fit(data.lazy(series()))
    with pytest.raises(ValueError, match=r"expected \(3,\), as in fit"):
        fitted.transform(data.lazy(series()[..., :2]))


def test_files_are_scaled_and_searched_without_being_loaded(tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(50, 20, size=(150_000, 4, 3)).astype("float32")
    y = (X[:, 0, 0] > 50).astype(int)
    lazy = files(tmp_path, X)
    pipe = make_pipeline(
        ArrayScaler(StandardScaler()),
        KerasClassifier(model__units=4, epochs=2, batch_size=512, shuffle=False, random_state=0),
    )
    grid = {"arrayscaler__axis": [-1, None]}
    expected = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, y)

    loaded, load = [], data.LazyArray.__array__

    def note(self, dtype=None, copy=None):
        loaded.append(self.nbytes)
        return load(self, dtype, copy)

    monkeypatch.setattr(data.LazyArray, "__array__", note)
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise", refit=False).fit(
        lazy.with_sizes(shuffle_bytes=2**21), y
    )
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(search.cv_results_[key], expected.cv_results_[key], atol=1e-4)
    assert max(loaded) <= 2**22 < lazy.nbytes / 1.5  # blocks, and never the rows of a fold


def test_infinity_in_a_file_is_told_with_file_and_row(tmp_path):
    X = np.ones((50, 3))
    X[33, 1] = np.inf
    lazy = files(tmp_path, X)
    with pytest.raises(ValueError, match=r"infinity: in row \d+ .* of .*\.npy"):
        ArrayScaler(StandardScaler()).fit(lazy)


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("by_config", [False, True], ids=["set_output", "config"])
def test_set_output_leaves_lazy_arrays_lazy(container, by_config):
    X = table()
    rows = data.lazy(X)
    of_memory, of_rows = (ArrayScaler(StandardScaler()).fit(fitted) for fitted in (X, rows))
    expected = StandardScaler().fit_transform(X)
    with config_context(transform_output=container if by_config else "default"):
        for scaler in (of_memory, of_rows):
            scaler = scaler if by_config else scaler.set_output(transform=container)
            scaled = scaler.transform(rows)
            assert isinstance(scaled, data.LazyArray)
            assert isinstance(scaler.inverse_transform(scaled), data.LazyArray)
            in_memory = scaler.transform(X)
            assert type(in_memory).__module__.startswith(container)
            np.testing.assert_allclose(in_memory.to_numpy(), expected)


def test_fit_transform_leaves_lazy_arrays_lazy():
    scaler = ArrayScaler(StandardScaler()).set_output(transform="pandas")
    assert isinstance(scaler.fit_transform(data.lazy(table()), y=None), data.LazyArray)
    assert isinstance(scaler.fit_transform(table()), pd.DataFrame)
    assert isinstance(scaler.fit_transform(data.lazy(table())), data.LazyArray)


def test_set_output_of_a_pipeline_leaves_lazy_arrays_lazy():
    X = series()
    rows = data.lazy(X)
    pipe = make_pipeline(
        ArrayScaler(MinMaxScaler()), ArrayReshaper(), ArrayScaler(StandardScaler())
    )
    pipe.set_output(transform="pandas")
    expected = clone(pipe).set_output(transform="default").fit_transform(X)
    for scaled in (pipe.fit_transform(rows), pipe.transform(rows), pipe.fit(X).transform(rows)):
        assert isinstance(scaled, data.LazyArray)
        np.testing.assert_allclose(np.asarray(scaled), expected, atol=1e-12)
    assert isinstance(pipe.inverse_transform(pipe.transform(rows)), data.LazyArray)
    with config_context(transform_output="polars"):
        assert isinstance(pipe.transform(rows), data.LazyArray)


def test_a_class_of_ones_own_leaves_lazy_arrays_lazy():
    class Halved(ArrayScaler):
        def transform(self, X):
            return super().transform(X[::2])

    scaler = Halved(StandardScaler()).set_output(transform="pandas")
    assert isinstance(scaler.fit_transform(data.lazy(table())), data.LazyArray)
    assert isinstance(scaler.transform(table()), pd.DataFrame)


def test_columns_of_lazy_tables_have_names():
    scaler = ArrayScaler(StandardScaler()).fit(data.lazy(table()))
    assert list(scaler.get_feature_names_out()) == ["x0", "x1", "x2", "x3"]
    assert isinstance(scaler.set_output(transform="pandas").transform(table()), pd.DataFrame)
