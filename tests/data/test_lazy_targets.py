"""Targets that are read when a batch needs them: the same training as with y in memory."""

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skkeras._scoring
import skkeras._targets.base
from skkeras import KerasClassifier, KerasRegressor, data
from skkeras._scoring import score_blocks

N_ROWS = 300
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(N_ROWS, 6)).astype("float32")
TABLE[:, -1] = TABLE[:, :4].sum(axis=1)
SIZES = {"block_bytes": 240, "shuffle_bytes": 1200}  # 10 rows a block, 50 in the buffer
MIXED = RNG.permutation(N_ROWS)[:200]


@pytest.fixture
def rows(tmp_path):
    for number, part in enumerate(np.split(TABLE, [70, 200])):
        np.save(tmp_path / f"{number}.npy", part)
    return data.open_npy(tmp_path).with_sizes(**SIZES)


SMALL = {"model__units": 4, "epochs": 2, "batch_size": 16, "random_state": 0}


def regressor(**parameters):
    return KerasRegressor(**SMALL | parameters)


def classifier(**parameters):
    return KerasClassifier(**SMALL | parameters)


def results(net, X, y, **fit):
    net.fit(X, y, **fit)
    return net.history_, net.predict(X[:9]).tolist(), net.evaluate(X, y)


def is_positive(rows):
    return (rows > 0).astype("int64")


def as_words(rows):
    return np.array(["no", "yes"])[is_positive(rows)]


def two_columns(rows):
    return np.stack([rows, -rows], axis=-1)


def one_hot(rows):
    return np.eye(2)[is_positive(rows)]


def two_labels(rows):
    return np.stack([rows > 0, rows > 1], axis=-1).astype("int64")


LABELS = {"shape": (), "dtype": "int64"}
PAIRS = {"shape": (2,), "dtype": "float64"}


@pytest.mark.parametrize(
    "net, function, mapped",
    [
        (regressor(), np.abs, {}),
        (regressor(), two_columns, {"shape": (2,)}),
        (regressor(loss="mean_squared_logarithmic_error"), np.abs, {}),
        (regressor(validation_split=0.2, early_stopping=True), np.abs, {}),
        (classifier(), is_positive, LABELS),
        (classifier(validation_split=0.2, class_weight="balanced"), is_positive, LABELS),
        (classifier(validation_split=0.2), as_words, {"dtype": "<U3"}),
        (classifier(early_stopping=True, metrics=["accuracy"]), one_hot, PAIRS),
        (classifier(class_weight={0: 1, 1: 3}), one_hot, PAIRS),
        (classifier(class_weight="balanced"), two_labels, PAIRS | {"dtype": "int64"}),
    ],
)
def test_training_is_that_with_y_in_memory(rows, net, function, mapped):
    X, y = rows[MIXED, :-1], rows[MIXED, -1].map(function, **mapped)
    assert results(net, X, y) == results(net, X, np.asarray(y))


@pytest.mark.parametrize("weight", [RNG.integers(0, 3, N_ROWS), None], ids=["weights", "none"])
def test_weights_stay_with_their_rows(rows, weight):
    X, y = rows[:, :-1], rows[:, -1].map(is_positive, **LABELS)
    net = classifier(class_weight="balanced", validation_split=0.2)
    assert results(net, X, y, sample_weight=weight) == results(
        net, X, np.asarray(y), sample_weight=weight
    )


def test_labels_of_any_number_are_learnt(rows):
    y = rows[:, -1].map(np.round)
    net = classifier().fit(rows[:, :-1], y)
    np.testing.assert_array_equal(net.classes_, np.unique(np.asarray(y)))


def test_validation_data_goes_on_and_several_outputs_are_lazy_too(rows):
    def two_outputs(input_shape):
        x = keras.Input(input_shape)
        return keras.Model(x, {"a": keras.layers.Dense(1)(x), "b": keras.layers.Dense(1)(x)})

    X, y = rows[:200, :-1], rows[:200, -1]
    X_val, y_val = rows[200:, :-1], rows[200:, -1]

    def trained(as_array):
        net = regressor().fit(X, as_array(y), X_val=X_val, y_val=as_array(y_val))
        net.partial_fit(X_val, as_array(y_val))
        pair = data.NamedArrays({"a": as_array(y), "b": as_array(y.map(np.negative))})
        several = KerasRegressor(two_outputs, epochs=2, random_state=0).fit(X, pair)
        return net.history_, several.history_, several.score(X, pair)

    assert trained(lambda y: y) == trained(np.asarray)


def test_inputs_in_memory_take_lazy_targets(rows):
    X, y = np.asarray(rows[:, :-1]), rows[:, -1]
    assert results(regressor(), X, y) == results(regressor(), X, np.asarray(y))


def test_inputs_and_targets_in_files_of_their_own(rows, tmp_path):
    for number, part in enumerate(np.split(TABLE, [70, 200])):
        for name, columns in (("x", part[:, :-1]), ("y", part[:, -1])):
            (tmp_path / name).mkdir(exist_ok=True)
            np.save(tmp_path / name / f"{number}.npy", columns)
    X, y = data.open_npy_pairs(tmp_path / "x", tmp_path / "y")
    X = X.with_sizes(**SIZES | {"block_bytes": 200, "shuffle_bytes": 1000})
    assert results(regressor(), X, y) == results(regressor(), X, np.asarray(y))


@pytest.mark.parametrize("view", [slice(None), RNG.permutation(N_ROWS)], ids=["whole", "mixed"])
def test_a_block_that_has_inputs_and_targets_is_read_once_an_epoch(counting, view):
    source = counting(TABLE)
    rows = data.lazy(source).with_sizes(**SIZES, cache_bytes=0)[view]
    net = regressor(epochs=1, warm_start=True).fit(rows[:, :-1], rows[:, -1])
    source.n_rows = 0
    net.set_params(epochs=5).fit(rows[:, :-1], rows[:, -1])
    assert 5 * N_ROWS <= source.n_rows <= 5 * N_ROWS + 30  # and a block for what it looks like


def test_nan_in_targets_is_an_error_that_names_file_and_row(rows, tmp_path):
    part = TABLE[200:].copy()
    part[3, -1] = np.nan
    np.save(tmp_path / "2.npy", part)
    rows = data.open_npy(tmp_path)
    with pytest.raises(ValueError, match=r"Input y contains NaN: in row 3 .* of .*2\.npy, and"):
        regressor().fit(rows[:, :-1], rows[:, -1])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        regressor().fit(rows[:200, :-1], rows[:200, -1]).score(rows[:, :-1], rows[:, -1])


def test_faults_of_targets_are_those_of_targets_in_memory(rows):
    X, y = rows[:, :-1], rows[:, -1]
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[300, 299\]"):
        regressor().fit(X, y[1:])
    with pytest.raises(ValueError, match="loss='poisson' doesn't fit y, which runs from -"):
        regressor(loss="poisson").fit(X, y)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(X, y)
    net = classifier().fit(X, y.map(is_positive, **LABELS))
    with pytest.raises(ValueError, match=r"labels that were not seen in training: \[3\]"):
        net.partial_fit(X, y.map(lambda rows: is_positive(rows) * 3, **LABELS))


def test_a_search_over_files_has_the_scores_of_arrays_in_memory(rows):
    def scores(X, y, cv):
        pipe = make_pipeline(data.ArrayScaler(StandardScaler()), regressor())
        grid = {"kerasregressor__model__units": [2, 4]}
        search = GridSearchCV(pipe, grid, cv=cv).fit(X, y)
        return search.cv_results_["mean_test_score"], search.score(X, y)

    in_memory = data.lazy(*np.split(TABLE, [70, 200])).with_sizes(**SIZES)
    lazy = scores(rows[:, :-1], rows[:, -1], data.LazyKFold(3))
    loaded = scores(in_memory[:, :-1], TABLE[:, -1], 3)
    for ours, expected in zip(lazy, loaded, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_lazy_targets_are_split_like_lazy_inputs(rows):
    X, X_test, y, y_test = train_test_split(rows[:, :-1], rows[:, -1], random_state=0)
    assert isinstance(y_test, data.LazyArray)
    score = regressor().fit(X, y).score(X_test, y_test)
    assert score == regressor().fit(X, np.asarray(y)).score(X_test, np.asarray(y_test))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(skkeras._targets.base, "WHOLE_BYTES", 256)
    monkeypatch.setattr(skkeras._scoring, "WHOLE_BYTES", 256)


@pytest.mark.parametrize("view", [slice(None), RNG.permutation(N_ROWS)], ids=["whole", "mixed"])
@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_no_more_than_a_buffer_is_read_at_once(rows, small_blocks, monkeypatch, view, kind):
    X, y = rows[view, :-1], rows[view, -1]
    net, y = (regressor(), y) if kind == "numbers" else (classifier(), y.map(is_positive, **LABELS))
    fill, n_rows = data.LazyArray._fill, []

    def watched(array, *arguments):
        n_rows.append(len(array))
        return fill(array, *arguments)

    monkeypatch.setattr(data.LazyArray, "_fill", watched)
    net.fit(X, y).score(X, y)
    assert max(n_rows) <= 60  # a buffer and a block


@pytest.mark.parametrize("weight", [None, RNG.uniform(0, 2, N_ROWS)], ids=["none", "weights"])
@pytest.mark.parametrize("view", [slice(None), RNG.permutation(N_ROWS)], ids=["whole", "mixed"])
def test_scores_of_blocks_are_those_of_all_rows(rows, small_blocks, view, weight):
    X, y = rows[view, :-1], rows[view, -1]
    nets = [
        (regressor(), y, r2_score),
        (regressor(), y.map(two_columns, shape=(2,)), r2_score),
        (classifier(), y.map(is_positive, **LABELS), accuracy_score),
        (classifier(), y.map(two_labels, shape=(2,), dtype="int64"), accuracy_score),
    ]
    for net, target, metric in nets:
        net.fit(X, target)
        expected = metric(np.asarray(target), net.predict(X), sample_weight=weight)
        assert net.score(X, target, weight) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "weight, message",
    [
        (np.ones(7), "inconsistent numbers of samples"),
        (np.zeros(N_ROWS), "sample_weight has negative values, or only zeros"),
        (-np.ones(N_ROWS), "sample_weight has negative values, or only zeros"),
        (np.full(N_ROWS, np.nan), "sample_weight contains NaN"),
        (np.ones((N_ROWS, 1)), "Sample weights must be 1D"),
    ],
)
def test_weights_that_mean_nothing_are_an_error(rows, small_blocks, weight, message):
    X, y = rows[:, :-1], rows[:, -1]
    with pytest.raises(ValueError, match=message):
        regressor().fit(X, y).score(X, y, weight)


def test_targets_of_another_shape_are_an_error(rows, small_blocks):
    X, y = rows[:, :-1], rows[:, -1]
    with pytest.raises(ValueError, match="y has 2 values a row, and what is predicted 1;"):
        regressor().fit(X, y).score(X, y.map(two_columns, shape=2))


def test_blocks_of_no_weight_count_for_nothing(rows, small_blocks):
    X, y = rows[:, :-1], rows[:, -1].map(is_positive, **LABELS)
    weight = np.arange(N_ROWS) >= N_ROWS - 10
    net = classifier().fit(X, y)
    expected = accuracy_score(np.asarray(y), net.predict(X), sample_weight=weight)
    assert net.score(X, y, weight) == pytest.approx(expected)


@pytest.mark.parametrize("weight", [[], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("shift", [0, 1e6])
@pytest.mark.parametrize("constant", [[], [0], [0, 1]], ids=str)
def test_r2_of_blocks_is_scikit_learns(shift, constant, weight):
    y = RNG.normal(size=(100, 2)) + shift
    y[:, constant] = 3
    predicted = y + RNG.normal(size=y.shape)
    predicted[:, 0] = y[:, 0]
    weight = RNG.choice(weight, 100) * (np.arange(100) > 30) if weight else np.ones(100)
    cuts = [10, 11, 50]
    blocks = zip(*(np.split(a, cuts) for a in (y, predicted, weight)), strict=True)
    expected = r2_score(y, predicted, sample_weight=weight)
    assert score_blocks(r2_score, blocks) == pytest.approx(expected, rel=1e-9)
