import pickle

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier, KerasRegressor, data
from skkeras.data import ColumnsToInputs, NamedArrays

N = 24


def arrays():
    rng = np.random.default_rng(0)
    return {
        "image": rng.normal(size=(N, 4, 4)).astype("float32"),
        "table": rng.normal(size=(N, 3)),
    }


def labels():
    return np.where(arrays()["table"][:, 0] > 0, "yes", "no")


def build(input_shape, n_outputs, output_activation, units=4):
    inputs = {name: keras.Input(shape, name=name) for name, shape in input_shape.items()}
    flat = [keras.layers.Flatten()(tensor) for tensor in inputs.values()]
    joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    hidden = keras.layers.Dense(units, activation="relu")(joined)
    outputs = keras.layers.Dense(n_outputs, activation=output_activation)(hidden)
    return keras.Model(inputs, outputs)


def classifier(**parameters):
    return KerasClassifier(build, epochs=2, batch_size=8, random_state=0, **parameters)


def test_it_trains_as_the_dict_does():
    from_dict = classifier().fit(arrays(), labels())
    named = classifier().fit(NamedArrays(arrays()), labels())
    assert named.history_ == from_dict.history_
    assert np.array_equal(
        named.predict_proba(NamedArrays(arrays())), from_dict.predict_proba(arrays())
    )


@pytest.mark.parametrize(
    "index",
    [
        slice(2, 9),
        slice(None, None, -2),
        np.array([5, 0, 5]),
        [5, 0, 5],
        [],
        np.arange(N) % 2 == 0,
        (np.array([5, 0]), ...),
        [True, False] * (N // 2),
    ],
)
def test_samples_of_all_arrays_are_chosen(index):
    chosen = NamedArrays(arrays())[index]
    key = index[0] if isinstance(index, tuple) else index
    key = np.zeros(0, int) if isinstance(key, list) and not key else key
    assert isinstance(chosen, NamedArrays)
    for name, array in arrays().items():
        assert np.array_equal(chosen[name], array[key])
    assert chosen.shape == (len(chosen["table"]),)


def test_a_number_chooses_one_sample():
    for index in (-1, np.int8(-1), np.array(-1)):
        sample = NamedArrays(arrays())[index]
        assert isinstance(sample, dict)
        assert np.array_equal(sample["table"], arrays()["table"][-1])


@pytest.mark.parametrize("index", [True, None, 1.0, ...])
def test_what_chooses_no_samples_is_an_error(index):
    with pytest.raises(IndexError, match="expected a name, or samples"):
        NamedArrays(arrays())[index]


def test_nothing_is_copied():
    table = np.zeros((5, 2))
    named = NamedArrays({"table": table})
    assert named["table"] is table
    assert np.shares_memory(named[1:3]["table"], table)


def test_it_behaves_as_a_dict_of_arrays():
    named = NamedArrays(arrays())
    assert list(named.keys()) == ["image", "table"]
    assert "image" in named
    assert "text" not in named
    assert dict(named).keys() == named.keys()
    assert NamedArrays({**named})["image"] is named["image"]
    with pytest.raises(KeyError, match="'text'.*'image', 'table'"):
        named["text"]


def test_splitters_split_it():
    named = NamedArrays(arrays())
    train, test, y_train, y_test = train_test_split(
        named, labels(), stratify=labels(), test_size=0.25, random_state=0
    )
    expected = train_test_split(np.arange(N), stratify=labels(), test_size=0.25, random_state=0)
    assert np.array_equal(train["image"], arrays()["image"][expected[0]])
    assert np.array_equal(test["image"], arrays()["image"][expected[1]])
    assert (len(train), len(y_train), len(test), len(y_test)) == (18, 18, 6, 6)
    assert len(list(KFold(3).split(named))) == 3
    assert len(list(StratifiedKFold(3).split(named, labels()))) == 3


def test_folds_are_those_of_single_arrays():
    named, y = NamedArrays({"table": arrays()["table"]}), labels()
    plain = KerasClassifier(epochs=2, model__units=4, random_state=0)

    class One(KerasClassifier):
        def fit(self, X, y):
            return super().fit(X["table"], y)

        def predict(self, X):
            return super().predict(X["table"])

    one = One(epochs=2, model__units=4, random_state=0)
    assert np.array_equal(
        cross_val_predict(one, named, y, cv=3), cross_val_predict(plain, named["table"], y, cv=3)
    )


@pytest.mark.parametrize("n_jobs, backend", [(1, "threading"), (2, "threading")])
def test_searches_and_curves_run_over_it(n_jobs, backend):
    import joblib

    named, y = NamedArrays(arrays()), labels()
    with joblib.parallel_config(backend, n_jobs=n_jobs):
        assert cross_val_score(classifier(), named, y, cv=3, error_score="raise").shape == (3,)
        search = GridSearchCV(classifier(), {"model__units": [2, 4]}, cv=2, error_score="raise")
        assert len(search.fit(named, y).predict(named)) == N
        sizes, *_ = learning_curve(
            classifier(), named, y, cv=2, train_sizes=[0.5, 1.0], error_score="raise"
        )
    assert sizes.tolist() == [6, 12]


def test_rows_are_held_out_of_it():
    net = classifier(validation_split=0.25).fit(NamedArrays(arrays()), labels())
    assert len(net.history_["val_loss"]) == 2


def test_sparse_and_text_leaves_are_split_too():
    words = np.array(["good film", "bad film"] * (N // 2))
    named = NamedArrays(
        {
            "counts": sparse.coo_matrix(np.eye(N)),
            "words": words.tolist(),
            "series": pd.Series(words),
        }
    )
    assert np.array_equal(named[3:5]["counts"].toarray(), np.eye(N)[3:5])
    assert named["words"].dtype == object
    assert named[np.array([1])]["series"].tolist() == ["bad film"]

    def build_bag():
        counts = keras.Input((N,), name="counts")
        outputs = keras.layers.Dense(1, activation="sigmoid")(counts)
        return keras.Model({"counts": counts}, outputs)

    y = np.arange(N) % 2
    scores = cross_val_score(
        KerasClassifier(build_bag, epochs=1),
        NamedArrays({"counts": named["counts"]}),
        y,
        cv=2,
        error_score="raise",
    )
    assert scores.shape == (2,)


def test_it_is_pickled_and_cloned():
    named = NamedArrays(arrays())
    for copied in (pickle.loads(pickle.dumps(named)), clone(named, safe=False)):
        assert np.array_equal(copied["image"], named["image"])


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        NamedArrays({"a": np.zeros(3), "b": np.zeros(4)})


@pytest.mark.parametrize(
    "given, message",
    [
        ([np.zeros(3)], "expected a dict of arrays"),
        ({}, "at least one array"),
        ({0: np.zeros(3)}, "expected strings"),
        ({"a": 3.0}, "a single value"),
    ],
)
def test_what_is_no_dict_of_arrays_is_refused(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        NamedArrays(given)


def test_an_index_over_several_axes_is_refused():
    with pytest.raises(IndexError, match="expected a name, or samples"):
        NamedArrays(arrays())[:, 0]


def test_what_wants_one_array_says_what_to_do():
    with pytest.raises(TypeError, match=r"X\['name'\]"):
        StandardScaler().fit(NamedArrays(arrays()))


def frame():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "age": rng.integers(20, 60, N),
            "fare": rng.normal(30, 10, N),
            "title": ["Ms", "Dr", "Mr"] * (N // 3),
        }
    )


@pytest.mark.parametrize("make", [lambda: frame(), lambda: pl.DataFrame(frame().to_dict("list"))])
def test_columns_become_inputs(make):
    inputs = {"numbers": ["fare", "age"], "title": "title", "titles": ["title"], "age": 0}
    named = ColumnsToInputs(inputs).fit_transform(make())
    assert np.array_equal(named["numbers"], frame()[["fare", "age"]].to_numpy())
    assert named["title"].tolist() == frame()["title"].tolist()
    assert named["titles"].shape == (N, 1)
    assert np.array_equal(named["age"], frame()["age"])


def test_a_selector_finds_the_columns():
    selector = make_column_selector(dtype_include="number")
    fitted = ColumnsToInputs({"numbers": selector, "title": "title"}).fit(frame())
    assert fitted.inputs_ == {"numbers": [0, 1], "title": 2}
    assert fitted.feature_names_in_.tolist() == ["age", "fare", "title"]


def test_columns_of_an_array_have_numbers():
    table = np.arange(12.0).reshape(4, 3)
    named = ColumnsToInputs({"a": [0, 2], "b": -1}).fit_transform(table)
    assert np.array_equal(named["a"], table[:, [0, 2]])
    assert np.array_equal(named["b"], table[:, 2])
    sparse_named = ColumnsToInputs({"a": [0, 2], "b": -1}).fit_transform(sparse.csr_array(table))
    assert np.array_equal(sparse_named["a"].toarray(), table[:, [0, 2]])
    assert np.array_equal(sparse_named["b"], table[:, 2])


def test_the_frame_is_never_written_to():
    X = frame()[["age"]].astype(float)
    named = ColumnsToInputs({"age": ["age"]}).fit_transform(X)
    named["age"][:] = 0
    assert X["age"].min() > 0


@pytest.mark.parametrize(
    "inputs, message",
    [
        ({"numbers": ["age", "fair"]}, "fare"),
        ({"numbers": []}, "no columns"),
        ({"numbers": 5}, "3 columns"),
        ([["age"]], "expected a dict"),
        ({}, "expected a dict"),
    ],
)
def test_columns_that_do_not_exist_are_refused(inputs, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ColumnsToInputs(inputs).fit(frame())


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_only_columns_that_are_used_are_wanted_and_found_by_their_names(make):
    columns = frame().to_dict("list")
    fitted = ColumnsToInputs({"age": "age", "both": ["title", "age"]}).fit(make(columns))
    later = fitted.transform(make({name: columns[name] for name in ("title", "age")}))
    expected = fitted.transform(make(columns))
    assert np.array_equal(later["age"], expected["age"])
    assert np.array_equal(later["both"], expected["both"])
    with pytest.raises(ValueError, match=r"X lacks the columns \['title'\].*X has \['age'\]"):
        fitted.transform(make({"age": columns["age"]}))


def test_an_array_has_as_many_columns_as_before():
    fitted = ColumnsToInputs({"first": [0]}).fit(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="X has 2 features"):
        fitted.transform(np.zeros((4, 2)))


def build_with_text(X, n_outputs, output_activation, units=4):
    vectors = keras.layers.TextVectorization(output_mode="multi_hot")
    vectors.adapt(X["title"])
    title = keras.Input((), dtype="string", name="title")
    numbers = keras.Input((2,), name="numbers")
    joined = keras.layers.Concatenate()([vectors(title), numbers])
    hidden = keras.layers.Dense(units, activation="relu")(joined)
    outputs = keras.layers.Dense(n_outputs, activation=output_activation)(hidden)
    return keras.Model({"title": title, "numbers": numbers}, outputs)


def test_a_pipeline_from_columns_to_inputs_is_searched():
    scale = ColumnTransformer(
        [("scaled", StandardScaler(), ["age", "fare"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipe = make_pipeline(
        scale,
        ColumnsToInputs({"numbers": ["age", "fare"], "title": "title"}),
        KerasRegressor(build_with_text, epochs=2, random_state=0),
    )
    y = (frame()["title"] == "Dr") + 0.1 * frame()["age"]
    grid = {
        "kerasregressor__model__units": [2, 4],
        "columnstoinputs__inputs": [
            {"numbers": ["age", "fare"], "title": "title"},
            {"numbers": ["fare", "age"], "title": "title"},
        ],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(frame(), y)
    assert search.predict(frame()).shape == (N,)
    assert cross_val_score(pipe, frame(), y, cv=3, error_score="raise").shape == (3,)


def test_lazy_arrays_may_be_among_the_inputs():
    named = NamedArrays({name: data.lazy(array) for name, array in arrays().items()})
    assert isinstance(named[np.array([3, 1])]["image"], data.LazyArray)
    net = classifier(shuffle=False)
    expected = cross_val_score(net, NamedArrays(arrays()), labels(), cv=3, error_score="raise")
    scores = cross_val_score(net, named, labels(), cv=3, error_score="raise")
    assert np.array_equal(scores, expected)
