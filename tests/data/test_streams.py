import _thread
import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier, KerasRegressor, models
from skkeras.data import ArrayScaler

PAGE = Path(__file__).parent.parent.parent / "docs" / "guide" / "streams.md"
X = StandardScaler().fit_transform(load_iris().data).astype("float32")
Y = load_iris().target
NAMES = load_iris().target_names[Y]
VALUES = X @ np.array([1.0, -2.0, 0.5, 3.0], "float32")
# So that the last batch is a partial one, and the first lacks classes.
SIZE = 32
ONE_DIMENSION = "Input should have at least 1 dimension"


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays, **options):
        super().__init__(**options)
        self.arrays = arrays
        self.calls = []

    def __len__(self):
        return -(-len(X) // SIZE)

    def __getitem__(self, index):
        parts = tuple(array[index * SIZE : (index + 1) * SIZE] for array in self.arrays)
        return parts if len(parts) > 1 else parts[0]

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")


def dataset(*arrays):
    parts = tuple(array.astype(str) if array.dtype == object else array for array in arrays)
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(SIZE)


def function(*arrays):
    def batches():
        for start in range(0, len(X), SIZE):
            parts = tuple(array[start : start + SIZE] for array in arrays)
            yield parts if len(parts) > 1 else parts[0]

    return batches


def threaded(*arrays):
    return Batches(*arrays, workers=3, max_queue_size=2)


KINDS = [dataset, function, Batches, threaded]


def classifier(**parameters):
    settings = {"model__units": 8, "epochs": 3, "shuffle": False, "random_state": 0}
    return KerasClassifier(**{**settings, **parameters})


def unscaled_mlp(input_shape, n_outputs, units):
    """A net that doesn't scale its outputs, as the preset does, by the first batch."""
    return models.mlp(input_shape, n_outputs, "linear", units=units)


def regressor(**parameters):
    settings = {"model__units": 8, "epochs": 3, "shuffle": False, "random_state": 0}
    return KerasRegressor(unscaled_mlp, **{**settings, **parameters})


def assert_same_training(one, other):
    assert one.history_.keys() == other.history_.keys()
    for name, values in one.history_.items():
        np.testing.assert_allclose(values, other.history_[name], rtol=1e-5)
    weights = zip(one.model_.get_weights(), other.model_.get_weights(), strict=True)
    for a, b in weights:
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("make", KINDS)
def test_a_classifier_trains_as_on_the_arrays(make, engine):
    streamed = classifier(metrics=["accuracy"], engine=engine).fit(make(X, NAMES))
    plain = classifier(metrics=["accuracy"]).fit(X, NAMES)
    assert streamed.classes_.tolist() == plain.classes_.tolist()
    assert streamed.n_features_in_ == 4
    assert_same_training(streamed, plain)
    assert streamed.predict(X).tolist() == plain.predict(X).tolist()


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("make", KINDS)
def test_a_regressor_trains_as_on_the_arrays(make, engine):
    streamed = regressor(engine=engine).fit(make(X, VALUES))
    assert_same_training(streamed, regressor().fit(X, VALUES))


@pytest.mark.parametrize("seconds", [1e-9, 1e-3, 10])
def test_every_epoch_is_whole_however_many_steps_a_call_takes(seconds, monkeypatch):
    monkeypatch.setattr("skkeras._engine.compiled_loop.SECONDS_PER_CALL", seconds)
    streamed = classifier(epochs=5).fit(function(X, NAMES), X_val=function(X, NAMES))
    assert_same_training(streamed, classifier(epochs=5).fit(X, NAMES, X_val=X, y_val=NAMES))


@pytest.mark.parametrize("make", KINDS)
def test_predictions_come_in_the_order_of_the_batches(make):
    net = classifier().fit(X, NAMES)
    np.testing.assert_allclose(net.predict_proba(make(X)), net.predict_proba(X), atol=1e-6)
    assert net.predict(make(X, NAMES)).tolist() == net.predict(X).tolist()
    line = regressor().fit(X, VALUES)
    np.testing.assert_allclose(line.predict(make(X, VALUES)), line.predict(X), atol=1e-5)


@pytest.mark.parametrize("make", KINDS)
def test_scores_take_the_targets_inside(make):
    weights = np.linspace(0, 1, len(X))
    net = classifier().fit(X, NAMES)
    assert net.score(make(X, NAMES)) == net.score(X, NAMES)
    expected = accuracy_score(NAMES, net.predict(X), sample_weight=weights)
    assert net.score(make(X, NAMES, weights)) == pytest.approx(expected)
    line = regressor().fit(X, VALUES)
    assert line.score(make(X, VALUES)) == pytest.approx(r2_score(VALUES, line.predict(X)))


def test_a_shuffling_dataset_is_scored_in_one_pass():
    net = classifier(epochs=20).fit(X, NAMES)
    shuffled = dataset(X, NAMES).unbatch().shuffle(150).batch(SIZE)
    assert net.score(shuffled) == net.score(X, NAMES)


@pytest.mark.parametrize("make", KINDS)
def test_weights_inside_count(make):
    weights = np.random.default_rng(0).uniform(0, 2, len(X))
    weights /= weights.mean()
    streamed = classifier().fit(make(X, NAMES, weights))
    assert_same_training(streamed, classifier().fit(X, NAMES, sample_weight=weights))


@pytest.mark.parametrize("class_weight", ["balanced", {"setosa": 3.0}])
def test_classes_are_weighted(class_weight):
    rows = np.r_[0:90]  # 50 and 40
    streamed = classifier(class_weight=class_weight).fit(
        tf.data.Dataset.from_tensor_slices((X[rows], NAMES[rows])).batch(SIZE)
    )
    plain = classifier(class_weight=class_weight).fit(X[rows], NAMES[rows])
    assert_same_training(streamed, plain)


def uneven_weights():
    weights = np.where(Y == 0, 9.0, 1.0) * np.random.default_rng(0).uniform(0.5, 1.5, len(Y))
    return weights / weights.mean()  # those of arrays are scaled so


def assert_equal_weights(one, other):
    for a, b in zip(one.model_.get_weights(), other.model_.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("class_weight", [None, "balanced", {"setosa": 3.0}])
@pytest.mark.parametrize("make", KINDS)
def test_weights_of_classes_and_rows_train_bit_for_bit_as_on_the_arrays(make, class_weight):
    weights = uneven_weights()
    streamed = classifier(class_weight=class_weight).fit(make(X, NAMES, weights))
    plain = classifier(class_weight=class_weight).fit(X, NAMES, sample_weight=weights)
    assert streamed.history_ == plain.history_
    assert_equal_weights(streamed, plain)


def test_classes_are_balanced_by_the_sum_of_their_weights():
    half = np.r_[0:50, 50:75]  # 50 and 25 rows
    counted = classifier(class_weight="balanced").fit(lambda: [(X[half], Y[half])])
    weights = np.where(Y[half] == 0, 1.0, 2.0)  # as if there were 50 and 50
    even = classifier(class_weight="balanced").fit(lambda: [(X[half], Y[half], weights)])
    plain = classifier().fit(lambda: [(X[half], Y[half], weights)])
    assert even.history_ == plain.history_ != counted.history_


def test_a_class_without_weight_is_learnt_all_the_same():
    weights = np.where(Y == 0, 0.0, 1.5)
    net = classifier(class_weight="balanced").fit(function(X, Y, weights))
    assert net.classes_.tolist() == [0, 1, 2]
    plain = classifier(class_weight="balanced").fit(X, Y, sample_weight=weights)
    assert net.history_ == plain.history_


def test_balanced_classes_of_a_further_call_are_weighted_by_its_own_weights():
    weights = uneven_weights()
    net, plain = (classifier(class_weight="balanced") for _ in range(2))
    for _ in range(2):
        net.partial_fit(function(X, Y, weights), classes=[0, 1, 2])
        plain.partial_fit(X, Y, sample_weight=weights)
    assert net.history_ == plain.history_


@pytest.mark.parametrize("weights", [np.ones((150, 1)), np.ones((150, 2)), np.full(150, -1.0)])
def test_balancing_refuses_the_weights_that_training_refuses(weights):
    with pytest.raises(ValueError, match="X yields weights of shape"):
        classifier(class_weight="balanced").fit(function(X, NAMES, weights))


@pytest.mark.parametrize("make", KINDS)
def test_partial_fit_takes_one_pass(make):
    streamed = classifier().partial_fit(make(X, Y), classes=[0, 1, 2]).partial_fit(make(X, Y))
    plain = classifier().partial_fit(X, Y).partial_fit(X, Y)
    assert_same_training(streamed, plain)
    assert streamed.n_iter_ == 2


def counting(*arrays):
    """Return a function that makes generators, and a list that gets an entry for each."""
    made = []

    def batches():
        made.append(0)
        yield from function(*arrays)()

    return batches, made


def test_the_classes_cost_one_pass_unless_they_are_known():
    batches, passes = counting(X, NAMES)
    net = classifier(epochs=2).fit(batches)
    assert len(passes) == 3
    net.set_params(warm_start=True).fit(batches)
    assert len(passes) == 5
    batches, passes = counting(X, NAMES)
    classifier().partial_fit(batches, classes=np.unique(NAMES))
    assert len(passes) == 1
    batches, passes = counting(X, np.eye(3)[Y])
    classifier(epochs=2).fit(batches)
    assert len(passes) == 2
    batches, passes = counting(X, VALUES)
    regressor(epochs=2).fit(batches)
    assert len(passes) == 2


def test_one_hot_rows_and_columns_are_targets_too():
    one_hot = np.eye(3)[Y]
    assert_same_training(classifier().fit(function(X, one_hot)), classifier().fit(X, one_hot))
    two = np.stack([VALUES, -VALUES], axis=1)
    streamed = regressor().fit(function(X, two))
    assert_same_training(streamed, regressor().fit(X, two))
    assert streamed.predict(function(X)).shape == (150, 2)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("streamed_training", [False, True])
def test_validation_data_may_be_a_stream(make, streamed_training):
    net = classifier(metrics=["accuracy"], epochs=2)
    expected = classifier(metrics=["accuracy"], epochs=2).fit(X, NAMES, X_val=X, y_val=NAMES)
    arguments = (make(X, NAMES),) if streamed_training else (X, NAMES)
    net.fit(*arguments, X_val=make(X, NAMES))
    assert_same_training(net, expected)


def test_early_stopping_watches_a_stream():
    settings = {"early_stopping": True, "epochs": 200, "optimizer__learning_rate": 0.1}
    by_chance = np.random.default_rng(0).permutation(NAMES)
    net = classifier(**settings).fit(dataset(X, NAMES), X_val=dataset(X, by_chance))
    assert net.n_iter_ == net.best_epoch_ + 11 < 200
    best = net.evaluate(dataset(X, by_chance))["loss"]
    assert best == pytest.approx(min(net.history_["val_loss"]), rel=1e-4)


def test_evaluate_takes_a_stream():
    net = classifier(metrics=["accuracy"]).fit(X, NAMES)
    told, expected = net.evaluate(dataset(X, NAMES)), net.evaluate(X, NAMES)
    assert told == pytest.approx(expected, rel=1e-5)


def test_several_named_inputs_and_outputs_come_as_dicts():
    def build():
        inputs = {name: keras.Input((2,), name=name) for name in ("a", "b")}
        joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
        outputs = {
            "kind": keras.layers.Dense(3, activation="softmax", name="kind")(joined),
            "is_first": keras.layers.Dense(1, activation="sigmoid", name="is_first")(joined),
        }
        return keras.Model(inputs, outputs)

    arrays = {"a": X[:, :2], "b": X[:, 2:]}
    targets = {"kind": Y, "is_first": (Y == 0).astype(int)}
    streamed = tf.data.Dataset.from_tensor_slices((arrays, targets)).batch(SIZE)
    settings = {"epochs": 2, "shuffle": False, "random_state": 0}
    net = KerasClassifier(build, **settings).fit(streamed)
    plain = KerasClassifier(build, **settings).fit(arrays, targets)
    assert_same_training(net, plain)
    assert net.predict(streamed)["kind"].tolist() == plain.predict(arrays)["kind"].tolist()
    assert net.score(streamed) == pytest.approx(plain.score(arrays, targets))


def test_text_comes_as_strings():
    words = np.array(["good film", "bad film", "fine"] * 50, dtype=object)

    def build(input_shape, n_outputs, output_activation):
        vectors = keras.layers.TextVectorization(
            output_mode="multi_hot", vocabulary=["good", "bad", "film"]
        )
        inputs = keras.Input(input_shape, dtype="string")
        outputs = keras.layers.Dense(n_outputs, activation=output_activation)(vectors(inputs))
        return keras.Model(inputs, outputs)

    kinds = np.array(["x", "y", "z"] * 50)
    net = KerasClassifier(build, epochs=2, shuffle=False, random_state=0)
    streamed = net.fit(dataset(words, kinds)).predict_proba(dataset(words))
    plain = KerasClassifier(build, epochs=2, shuffle=False, random_state=0).fit(words, kinds)
    np.testing.assert_allclose(streamed, plain.predict_proba(words), atol=1e-5)
    assert net.classes_.tolist() == ["x", "y", "z"]


def test_epochs_may_be_told_in_steps():
    endless = dataset(X, NAMES).repeat()
    net = classifier(fit__steps_per_epoch=5).fit(endless)
    assert_same_training(net, classifier().fit(X, NAMES))
    # A finite one begins anew where it ends: 7 steps are a pass and two batches.
    again = classifier(epochs=5, fit__steps_per_epoch=7).fit(function(X, NAMES))
    assert len(again.history_["loss"]) == 5
    whole = classifier(epochs=7).fit(X, NAMES)
    for a, b in zip(again.model_.get_weights(), whole.model_.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_pydataset_is_told_of_epochs_of_training_only():
    batches = Batches(X, NAMES)
    net = classifier(epochs=2).fit(batches)
    assert batches.calls == ["begin", "end"] * 2
    net.predict(batches)
    net.score(batches)
    assert batches.calls == ["begin", "end"] * 2


class Steps(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.n_batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.n_batches += 1


def test_callbacks_see_epochs_and_batches():
    net = classifier(callbacks=Steps(), epochs=2).fit(function(X, NAMES))
    assert net.callbacks_[0].n_batches == 10
    stopping = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=100)
    assert classifier(callbacks=stopping, epochs=9).fit(dataset(X, NAMES)).n_iter_ == 2


def test_the_batches_stay_as_they_are():
    uneven = [0, 1, 60, 61, 150]

    def batches():
        for start, stop in itertools.pairwise(uneven):
            yield X[start:stop], VALUES[start:stop]

    net = regressor(optimizer="sgd", epochs=1).fit(batches)
    model = regressor(optimizer="sgd").initialize(X, VALUES).model_
    for x, y in batches():
        model.train_on_batch(x, y.reshape(-1, 1))
    for a, b in zip(net.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_generator_is_enough_for_one_pass():
    made = function(X, VALUES)
    net = regressor().partial_fit(made())
    assert net.n_iter_ == 1
    assert net.predict(made()).shape == (150,)
    assert net.score(made()) <= 1
    assert regressor(epochs=1).fit(made()).n_iter_ == 1


def test_a_spent_generator_is_refused():
    net = regressor().fit(X, VALUES)
    spent = function(X, VALUES)()
    net.predict(spent)
    with pytest.raises(ValueError, match="spent after one pass"):
        net.predict(spent)
    with pytest.raises(ValueError, match="spent after one pass"):
        regressor().partial_fit(spent)
    with pytest.raises(TypeError, match="read only once.*function that returns it"):
        regressor().fit(function(X, VALUES)())
    with pytest.raises(TypeError, match="read only once.*function that returns it"):
        classifier(epochs=1).fit(function(X, NAMES)())


@pytest.mark.parametrize("setting", [{"validation_split": 0.2}, {"early_stopping": True}])
def test_nothing_is_held_out_of_a_stream(setting):
    wanted = "validation_split=0.2" if "validation_split" in setting else "early_stopping=True"
    with pytest.raises(ValueError, match=f"Got {wanted} with a dataset.*LazyArray.*X_val"):
        classifier(**setting).fit(dataset(X, NAMES))


def test_a_pydataset_in_cross_validation_is_told_to_be_a_lazy_array():
    with pytest.raises(TypeError, match="cross-validate.*LazyArray"):
        cross_val_score(classifier(), Batches(X, NAMES), cv=2, error_score="raise")
    with pytest.raises(TypeError, match="cross-validate.*LazyArray"):
        GridSearchCV(classifier(), {"epochs": [1]}, cv=2, error_score="raise").fit(
            Batches(X, NAMES)
        )


def test_a_scaler_before_it_is_told_to_be_a_lazy_array():
    with pytest.raises(TypeError, match="LazyArray"):
        make_pipeline(ArrayScaler(StandardScaler()), classifier()).fit(dataset(X, NAMES))


def ragged():
    return tf.ragged.constant([[1.0, 2.0], [3.0]])


def no_batches():
    yield from ()


@pytest.mark.parametrize(
    "given, message",
    [
        (lambda: dataset(X, NAMES).unbatch(), "single samples.*batch"),
        (lambda: dataset(X), "without targets"),
        (lambda: dataset(X, NAMES).repeat(), "fit__steps_per_epoch"),
        (lambda: no_batches, "no batches"),
        (lambda: lambda: 3, "returned a int"),
        (lambda: lambda rows: rows, "without arguments"),
        (lambda: function(X, NAMES[:40]), r"\[8, 32\] rows"),
        (lambda: function(X, NAMES, Y, Y), "length 4"),
        (lambda: lambda: iter([([X, X], NAMES)]), "a list in them"),
        (lambda: function(np.full_like(X, np.nan), NAMES), "contains NaN"),
        (lambda: function(X, NAMES, np.full(150, -1.0)), "at least 0"),
        (lambda: tf.data.Dataset.from_tensors((ragged(), NAMES[:2])), r"ragged.*\.to_tensor\(\)"),
        (lambda: lambda: iter([(ragged(), NAMES[:2])]), r"ragged.*\.to_tensor\(\)"),
        (lambda: tf.data.Dataset.from_tensors(ragged()), r"ragged.*\.to_tensor\(\)"),
    ],
)
def test_what_is_no_stream_of_batches_is_refused(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        classifier().fit(given())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"y": NAMES}, "Got y beside"),
        ({"sample_weight": np.ones(150)}, "Got sample_weight beside"),
        ({"X_val": dataset(X, NAMES), "y_val": NAMES}, "Got y_val beside"),
    ],
)
def test_targets_beside_a_stream_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(dataset(X, NAMES), **arguments)


def test_a_batch_size_or_an_order_for_a_stream_is_refused():
    for name in ("fit__batch_size", "fit__shuffle"):
        with pytest.raises(ValueError, match=name):
            classifier(**{name: True}).fit(dataset(X, NAMES))


def test_rows_of_another_shape_are_refused():
    def batches():
        yield X[:30], VALUES[:30]
        yield X[30:60, :3], VALUES[30:60]

    with pytest.raises(ValueError, match="4 features|shapes"):
        regressor().fit(batches)


def test_labels_that_no_pass_found_are_refused():
    with pytest.raises(ValueError, match="not seen in training"):
        classifier().partial_fit(function(X, Y), classes=[0, 1])


def test_a_builder_that_asks_for_the_data_is_refused():
    def build(X, n_outputs):
        raise AssertionError

    with pytest.raises(ValueError, match="asks for X"):
        KerasRegressor(build).fit(dataset(X, VALUES))


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_a_failing_generator_ends_fit_with_its_error(engine):
    reads = []

    def batches():
        reads.append(0)
        for start in range(0, 150, 30):
            if len(reads) == 2 and start == 90:
                raise OSError("disk on fire")
            yield X[start : start + 30], VALUES[start : start + 30]

    net = regressor(engine=engine)
    with pytest.raises(OSError, match="disk on fire"):
        net.fit(batches)
    assert not hasattr(net, "model_")


def test_fits_without_a_global_seed_repeat():
    one, two = (regressor().fit(dataset(X, VALUES)) for _ in range(2))
    assert one.history_ == two.history_


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_batches_are_augmented_as_those_of_arrays(make, engine):
    def noise(x, rng):
        x += rng.normal(size=x.shape).astype("float32")
        return x

    before = X.copy()
    streamed = classifier(augment=noise, engine=engine).fit(make(X, NAMES), X_val=make(X, NAMES))
    plain = classifier(augment=noise).fit(X, NAMES, X_val=X, y_val=NAMES)
    assert_same_training(streamed, plain)
    assert np.array_equal(X, before)


def test_validation_data_that_never_ends_or_is_soon_spent_is_refused():
    endless, spent = dataset(X, NAMES).repeat(), function(X, NAMES)()
    with pytest.raises(ValueError, match="X_val.*repeats for ever"):
        classifier().fit(X, NAMES, X_val=endless)
    with pytest.raises(TypeError, match="read only once"):
        classifier().fit(X, NAMES, X_val=spent)
    net = classifier().fit(X, NAMES)
    for method in (net.evaluate, net.predict, net.score):
        with pytest.raises(ValueError, match="repeats for ever"):
            method(endless)


def endless_function(*arrays):
    def batches():
        return itertools.chain.from_iterable(function(*arrays)() for _ in itertools.count())

    return batches


def endless_of_unknown_length(*arrays):
    like = dataset(*arrays)
    return tf.data.Dataset.from_generator(
        endless_function(*arrays), output_signature=like.element_spec
    )


class Endless(Batches):
    num_batches = None

    def __getitem__(self, index):
        return super().__getitem__(index % super().__len__())


ENDLESS = [
    endless_function,
    endless_of_unknown_length,
    lambda *arrays: dataset(*arrays).repeat(),
    Endless,
]


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("make", ENDLESS, ids=["function", "unknown", "repeated", "PyDataset"])
def test_validation_on_a_number_of_batches_takes_the_first_ones_every_time(make, engine):
    settings = {"engine": engine, "fit__validation_steps": 2}
    net = regressor(**settings).fit(dataset(X, VALUES), X_val=make(X, VALUES))
    assert_same_training(
        net, regressor().fit(X, VALUES, X_val=X[: 2 * SIZE], y_val=VALUES[: 2 * SIZE])
    )


def test_more_steps_than_there_are_take_all():
    net = regressor(fit__validation_steps=100).fit(X, VALUES, X_val=function(X, VALUES))
    assert_same_training(net, regressor().fit(X, VALUES, X_val=X, y_val=VALUES))


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("make", [*ENDLESS[:2], ENDLESS[3]], ids=["function", "unknown", "PyData"])
def test_validation_data_that_go_on_and_on_are_an_error_that_names_the_steps(make, engine):
    net = regressor(engine=engine, epochs=1)
    with pytest.raises(ValueError, match="X_val has yielded 1000 batches.*fit__validation_steps"):
        net.fit(X, VALUES, X_val=make(X, VALUES))
    assert not hasattr(net, "history_")
    with pytest.raises(ValueError, match="X_val.*repeats for ever.*fit__validation_steps=100"):
        net.fit(X, VALUES, X_val=dataset(X, VALUES).repeat())


def test_long_validation_data_with_an_end_are_read_to_it(monkeypatch):
    monkeypatch.setattr("skkeras.data._streams._FEW_BATCHES", 1)
    ten_batches = [(X[:SIZE], VALUES[:SIZE])] * 10
    net = regressor(epochs=1, batch_size=1_000).fit(X, VALUES, X_val=lambda: iter(ten_batches))
    assert len(net.history_["val_loss"]) == 1
    with pytest.raises(ValueError, match="X_val has yielded 10 batches"):
        net.fit(X, VALUES, X_val=lambda: iter([*ten_batches, ten_batches[0]]))


def test_a_batch_size_to_validate_on_a_stream_with_is_refused():
    with pytest.raises(ValueError, match="fit__validation_batch_size with a dataset or generator"):
        regressor(fit__validation_batch_size=8).fit(X, VALUES, X_val=dataset(X, VALUES))


class ShuffledBatches(Batches):
    def __init__(self, *arrays, **options):
        super().__init__(*arrays, **options)
        self.order, self.rng = np.arange(len(X)), np.random.default_rng(0)

    def on_epoch_begin(self):
        self.rng.shuffle(self.order)

    def __getitem__(self, index):
        rows = self.order[index * SIZE : (index + 1) * SIZE]
        return tuple(array[rows] for array in self.arrays)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_dataset_may_shuffle_when_an_epoch_begins(workers):
    seen = []

    def note(x):
        seen.extend(x[:, 0].tolist())
        return x

    numbered = np.arange(len(X), dtype="float32")[:, np.newaxis]
    source = ShuffledBatches(numbered, VALUES, workers=workers)
    KerasRegressor("linear", epochs=2, augment=note, on_divergence="warn").fit(source)
    assert sorted(seen[: len(X)]) == sorted(seen[len(X) :]) == list(range(len(X)))


def test_a_dataset_that_stops_early_is_an_error():
    class Stops(Batches):
        def __getitem__(self, index):
            if index == 2:
                raise StopIteration
            return super().__getitem__(index)

    with pytest.raises(RuntimeError, match="StopIteration"):
        KerasRegressor("linear", epochs=1).fit(Stops(X, VALUES))


def test_classes_are_those_of_all_steps():
    rare = np.sort(Y)  # the last batches have the last class
    net = KerasClassifier("linear", epochs=5, fit__steps_per_epoch=1, random_state=0)
    assert net.fit(function(X, rare)).classes_.tolist() == [0, 1, 2]


def test_an_error_in_a_function_is_its_own():
    def fails():
        raise TypeError("the disk is asleep")

    with pytest.raises(TypeError, match="^the disk is asleep"):
        KerasRegressor("linear", epochs=1).fit(fails)


def sparse_tensors():
    return dataset(X, Y).map(lambda x, y: (tf.sparse.from_dense(x), y))


@pytest.mark.parametrize(
    "make",
    [
        sparse_tensors,
        lambda: lambda: iter(sparse_tensors()),
        lambda: lambda: ((sparse.csr_array(x), y) for x, y in function(X, Y)()),
    ],
    ids=["dataset", "tensors", "scipy"],
)
def test_sparse_batches_are_made_dense(make):
    expected = classifier().fit(function(X, Y))
    net = classifier().fit(make())
    assert_same_training(net, expected)
    assert np.array_equal(net.predict_proba(make()), expected.predict_proba(X))


def test_sparse_tensors_without_targets_are_predicted():
    net = classifier().fit(X, Y)
    inputs = sparse_tensors().map(lambda x, y: x)
    assert np.array_equal(net.predict(inputs), net.predict(X))


@pytest.mark.parametrize("lengths", [(3, 3, 5), (3, 3, 2)])
def test_passes_of_different_lengths_are_epochs_and_an_error_in_keras_own_loop(lengths):
    passes = iter(lengths * 2)

    def batches():
        for start in range(next(passes)):
            yield X[start * 10 : start * 10 + 10], VALUES[start * 10 : start * 10 + 10]

    net = regressor().fit(batches)
    assert len(net.history_["loss"]) == net.n_iter_
    passes = iter(lengths * 2)
    with pytest.raises(ValueError, match="X had 3 batches at first, and now has (more|2)"):
        regressor(engine="keras", epochs=3).fit(batches)
    passes = iter((5, 4) * 10)
    net = regressor(engine="keras", epochs=3, fit__steps_per_epoch=4).fit(batches)
    assert net.n_iter_ == 3


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_ctrl_c_ends_a_generator_that_never_ends(engine):
    seen = []

    def endless():
        while True:
            seen.append(0)
            if len(seen) == 300:
                _thread.interrupt_main()
            yield X[:32], VALUES[:32]

    with pytest.raises(KeyboardInterrupt):
        regressor(engine=engine).fit(endless)
    assert len(seen) < 100_000


@pytest.mark.parametrize(
    "split, make, message",
    [
        (lambda X: cross_val_score(classifier(), X), dataset, ONE_DIMENSION),
        (lambda X: cross_val_score(classifier(), X), function, "must be an array-like or a sparse"),
        (lambda X: GridSearchCV(classifier(), {"epochs": [1]}).fit(X), dataset, ONE_DIMENSION),
        (lambda X: GridSearchCV(classifier(), {"epochs": [1]}).fit(X), function, ONE_DIMENSION),
    ],
)
def test_scikit_learn_says_what_the_guide_quotes_when_it_should_split_a_stream(
    split, make, message
):
    """It looks at X before any estimator does, and offers no hook; should it, take it."""
    with pytest.raises((TypeError, ValueError), match=message):
        split(make(X, Y))
    assert message in " ".join(PAGE.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("y", [np.c_[Y > 0, Y > 1].astype(int), {"a": Y, "b": Y}])
def test_classes_of_rows_with_several_are_not_weighted(y):
    def batches():
        yield X, y

    model = two_outputs if isinstance(y, dict) else None
    with pytest.raises(ValueError, match="Got class_weight=.*expected None"):
        KerasClassifier(model, epochs=1, class_weight={0: 2.0}).fit(batches)


def two_outputs(input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(
        inputs,
        {name: keras.layers.Dense(3, activation="softmax", name=name)(inputs) for name in "ab"},
    )


def function_with_empty(*arrays):
    """Put batches without rows before, between and after the others."""

    def batches():
        for batch in function(*arrays)():
            yield tuple(part[:0] for part in batch)
            yield batch
        yield tuple(part[:0] for part in batch)

    return batches


class WithEmpty(Batches):
    def __len__(self):
        return 2 * super().__len__() + 1

    def __getitem__(self, index):
        if index % 2:
            return super().__getitem__(index // 2)
        return tuple(array[:0] for array in self.arrays)


def dataset_with_empty(*arrays):
    """Make a dataset whose cardinality counts the batches without rows."""
    batches = dataset(*arrays)
    none = batches.take(1).map(lambda *parts: tuple(part[:0] for part in parts))
    return none.concatenate(batches.take(2)).concatenate(none).concatenate(batches.skip(2))


def threaded_with_empty(*arrays):
    return WithEmpty(*arrays, workers=3, max_queue_size=2)


WITH_EMPTY = [dataset_with_empty, function_with_empty, WithEmpty, threaded_with_empty]


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("make", WITH_EMPTY)
def test_batches_without_rows_are_left_out(make, engine):
    net = classifier(engine=engine, class_weight="balanced", callbacks=Steps())
    net.fit(make(X, NAMES), X_val=make(X, NAMES))
    plain = classifier(engine=engine, class_weight="balanced")
    plain.fit(function(X, NAMES), X_val=function(X, NAMES))
    assert_equal_weights(net, plain)
    assert net.history_ == plain.history_
    assert net.callbacks_[0].n_batches == 3 * 5  # Keras's own loop, since it wants batches


@pytest.mark.parametrize("make", WITH_EMPTY)
def test_batches_without_rows_are_no_steps_of_compiled_programs(make, monkeypatch):
    plain = regressor().fit(function(X, VALUES), X_val=function(X, VALUES))
    for seconds in (1e-9, 10):  # one alone in a call, and all together
        monkeypatch.setattr("skkeras._engine.compiled_loop.SECONDS_PER_CALL", seconds)
        net = regressor().fit(make(X, VALUES), X_val=make(X, VALUES))
        assert_equal_weights(net, plain)
        assert net.history_ == plain.history_
        assert net.evaluate(make(X, VALUES)) == plain.evaluate(function(X, VALUES))


@pytest.mark.parametrize("make", WITH_EMPTY)
def test_batches_without_rows_are_not_predicted(make):
    net = classifier().fit(X, NAMES)
    assert np.array_equal(net.predict_proba(make(X, NAMES)), net.predict_proba(X))
    assert net.score(make(X, NAMES)) == net.score(X, NAMES)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("make", WITH_EMPTY)
def test_epochs_told_in_steps_count_batches_with_rows(make, engine):
    settings = {"epochs": 5, "fit__steps_per_epoch": 7, "engine": engine}
    net = regressor(**settings).fit(make(X, VALUES))
    assert_equal_weights(net, regressor(**settings).fit(function(X, VALUES)))


@pytest.mark.parametrize("make", [dataset_with_empty, WithEmpty])
def test_a_length_that_counts_batches_without_rows_is_an_error_in_keras_own_loop(make):
    with pytest.raises(ValueError, match="now has 5; expected.*none without rows"):
        regressor(engine="keras").fit(make(X, VALUES))


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_a_stream_of_batches_without_rows_is_refused(engine):
    net = classifier().fit(X, NAMES)
    nothing = function(X[:0], NAMES[:0])
    for call in (
        classifier(engine=engine, fit__steps_per_epoch=2).fit,
        classifier(engine=engine).fit,
        lambda given: net.fit(X, NAMES, X_val=given),
        net.predict,
        net.score,
        net.evaluate,
    ):
        with pytest.raises(ValueError, match="X has no batches, or none with rows"):
            call(nothing)


def test_ctrl_c_ends_a_generator_of_nothing_but_batches_without_rows():
    seen = []

    def batches():
        yield X[:32], VALUES[:32]
        while True:
            seen.append(0)
            if len(seen) == 300:
                _thread.interrupt_main()
            yield X[:0], VALUES[:0]

    with pytest.raises(KeyboardInterrupt):
        regressor().fit(batches)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("seconds", [1e-9, 10])
def test_batches_that_are_not_alike_are_refused(engine, seconds, monkeypatch):
    monkeypatch.setattr("skkeras._engine.compiled_loop.SECONDS_PER_CALL", seconds)

    def batches():
        yield X[:30], VALUES[:30]
        yield X[30:60], VALUES[30:60], np.ones(30)

    with pytest.raises(ValueError, match="Some of X's batches have targets or weights, and others"):
        regressor(engine=engine).fit(batches)


def test_passes_that_are_not_alike_are_refused():
    passes = itertools.count()

    def batches():
        yield (X, VALUES, np.ones(150)) if next(passes) else (X, VALUES)

    with pytest.raises(ValueError, match="Some of X's batches have targets or weights, and others"):
        regressor(fit__steps_per_epoch=2).fit(batches)


def mostly_without_targets():
    for start in range(0, len(X), SIZE):
        x = X[start : start + SIZE]
        yield (x, NAMES[start : start + SIZE]) if start == SIZE else x


def with_useless_targets():
    for start in range(0, len(X), SIZE):
        yield X[start : start + SIZE], [None], NAMES[:2]


@pytest.mark.parametrize("make", [mostly_without_targets, with_useless_targets])
def test_what_comes_with_the_inputs_is_not_looked_at_in_prediction(make):
    net = classifier().fit(X, NAMES)
    assert net.predict(make).tolist() == net.predict(X).tolist()
    assert net.predict(make()).tolist() == net.predict(X).tolist()
    with pytest.raises((ValueError, TypeError)):
        net.score(make)


def test_text_in_another_encoding_is_refused():
    words = np.array(["café".encode("latin-1"), b"tea"] * 30, dtype=object)
    kinds = np.array(["x", "y"] * 30)
    slices = tf.data.Dataset.from_tensor_slices
    message = r"yields b'caf\\xe9' as text; expected UTF-8.*unicode_transcode"
    for given in (slices((words, kinds)), slices((X[:60], words))):
        with pytest.raises(ValueError, match=message):
            classifier().fit(given.batch(8))
    net = classifier().fit(X, Y)
    assert len(net.predict(slices((X[:60], words)).batch(8))) == 60


def test_text_may_be_converted_as_the_error_says():
    words = tf.data.Dataset.from_tensor_slices(["café".encode("latin-1"), b"tea"] * 30)
    labels = words.map(lambda text: tf.strings.unicode_transcode(text, "ISO-8859-1", "UTF-8"))
    batches = tf.data.Dataset.zip((tf.data.Dataset.from_tensor_slices(X[:60]), labels)).batch(8)
    assert classifier().fit(batches).classes_.tolist() == ["café", "tea"]


@pytest.mark.parametrize("workers", [1, 3])
def test_whose_stop_iteration_it_is_is_told(workers):
    class Stops(Batches):
        def __getitem__(self, index):
            return next(iter([])) if index == 2 else super().__getitem__(index)

    def stops():
        yield X[:30], VALUES[:30]
        yield next(iter([]))

    for given in (Stops(X, VALUES, workers=workers), stops):
        with pytest.raises(RuntimeError, match="X raised StopIteration within a batch"):
            KerasRegressor("linear", epochs=1).fit(given)


def test_another_error_of_the_kind_stays_as_it_is():
    def fails():
        yield X[:30], VALUES[:30]
        raise RuntimeError("out of tea")

    with pytest.raises(RuntimeError, match="^out of tea$"):
        KerasRegressor("linear", epochs=1).fit(fails)
