"""What only classifiers do."""

import functools

import keras
import numpy as np
import pytest
from sklearn.base import clone

from skkeras import KerasClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4)).astype("float32")
y = (X[:, 0] + X[:, 1] > 0).astype(int)


def linear(input_shape, n_outputs, output_activation):
    layers = [keras.Input(input_shape), keras.layers.Dense(n_outputs, output_activation)]
    return keras.Sequential(layers)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": functools.partial(keras.losses.binary_crossentropy, from_logits=True)},
        {"loss": keras.losses.binary_crossentropy, "loss__from_logits": True},
        {"loss": "binary_crossentropy", "loss__from_logits": True},
        {"loss": keras.losses.BinaryCrossentropy(from_logits=True)},
    ],
    ids=["partial", "routed to a function", "routed to a name", "instance"],
)
def test_logits_are_known_however_the_loss_was_told_of_them(options):
    net = KerasClassifier(linear, epochs=5, random_state=0, **options).fit(X, y)
    logits = net.model_.predict(X, verbose=0)[:, 0]
    assert net.model_.layers[-1].activation.__name__ == "linear"
    np.testing.assert_array_equal(net.predict(X), (logits > 0).astype(int))
    np.testing.assert_allclose(net.predict_proba(X)[:, 1], 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_a_subclass_of_a_categorical_loss_gets_rows_and_not_codes():
    class Doubled(keras.losses.CategoricalCrossentropy):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    three = np.digitize(X[:, 0], [-0.5, 0.5])
    net = KerasClassifier(linear, loss=Doubled(), epochs=2, random_state=0).fit(X, three)
    one = KerasClassifier(linear, loss="categorical_crossentropy", epochs=2, random_state=0)
    one.fit(X, three)
    assert net.evaluate(X, three)["loss"] == pytest.approx(2 * one.evaluate(X, three)["loss"], 0.05)


def test_class_weights_of_classes_that_a_batch_lacks_are_left_out():
    net = KerasClassifier(class_weight={0: 1.0, 1: 5.0}, random_state=0)
    net.partial_fit(X, y)
    assert net.partial_fit(X[y == 0], y[y == 0]).n_iter_ == 2


@pytest.mark.parametrize(
    "options, weight",
    [
        ({"class_weight": {0: 0.0, 1: 0.0}}, None),
        ({"class_weight": {0: -1.0, 1: 2.0}}, None),
        ({"class_weight": {0: 0.0, 1: 1.0}}, (y == 0).astype(float)),
    ],
    ids=["zeros", "negative", "zeros together"],
)
def test_weights_that_leave_nothing_to_train_on_are_an_error(options, weight):
    with pytest.raises(ValueError, match="class_weight.*expected weights of at least 0"):
        KerasClassifier(epochs=1, **options).fit(X, y, sample_weight=weight)


def test_huge_weights_are_weights_like_others():
    one, other = (
        KerasClassifier(epochs=2, random_state=0).fit(X, y, sample_weight=np.full(60, weight))
        for weight in (1e308, 1.0)
    )
    assert one.history_["loss"] == pytest.approx(other.history_["loss"])


@pytest.mark.parametrize(
    "y, class_weight, message",
    [
        (
            [1, 2],
            {0: 1, 7: 2},
            "a weight for 0, which is none of the classes; expected some of 1, 2",
        ),
        ([1, 2], {1: 1, 2: 1, 7: 2}, "a weight for 7, which is none"),
        ([1, 2], {"1": 1, "2": 1}, "a weight for '1', which is none of the classes"),
        (["a", "b"], {"a": 1, "b": 1, "c": 2}, "a weight for 'c'.*expected some of 'a', 'b'"),
        ([*range(12)], {12: 2}, r"some of 0, .*, 9, \.\.\."),
        (np.eye(3), {0: 1, 1: 1, 2: 1, 3: 1}, "a weight for 3, which is none"),
        ([[1, 1], [0, 1]], [{0: 1, 1: 2}, {0: 1, 1: 1, 2: 1}], "a weight for 2, which is none"),
        ([1, 2], {1: None, 2: 1}, "gives 1 the weight None; expected a number"),
        ([1, 2], {1: 1, 2: np.nan}, "gives 2 the weight nan; expected a number"),
        ([1, 2], [1, 2], r"class_weight=\[1, 2\], a list; expected a dict"),
    ],
    ids=[
        "two",
        "one more",
        "strings",
        "labels",
        "many",
        "one-hot",
        "several",
        "None",
        "NaN",
        "list",
    ],
)
def test_class_weights_of_what_is_no_class_are_an_error_that_names_it(y, class_weight, message):
    y = np.array([*y] * 4)
    X = np.arange(4.0 * len(y)).reshape(-1, 4)
    net = KerasClassifier("linear", class_weight=class_weight, epochs=1)
    with pytest.raises(ValueError, match=message):
        net.fit(X, y)
    if y.ndim == 1:
        with pytest.raises(ValueError, match=message):
            net.fit(lambda: iter([(X, y)]))


def test_class_weights_of_some_classes_and_of_times_are_taken():
    X, days = np.arange(32.0).reshape(8, 4), np.array(["2020-01-01", "2020-01-02"] * 4, "M8[D]")
    net = KerasClassifier("linear", class_weight={days[0]: 2.0}, epochs=1, random_state=0)
    weights = np.where(days == days[0], 2.0, 1.0)
    expected = clone(net).set_params(class_weight=None).fit(X, days, sample_weight=weights)
    # As weights of rows they are relative, as those of classes they aren't.
    assert net.fit(X, days).history_["loss"][0] == pytest.approx(
        expected.history_["loss"][0] * weights.mean(), rel=1e-4
    )


def test_classes_can_be_declared_once():
    net = KerasClassifier(random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    net.partial_fit(X, y, classes=[2, 1, 0])
    with pytest.raises(ValueError, match="differs from the ones learnt first"):
        net.partial_fit(X, y, classes=[0, 1])


def test_labels_without_an_order_are_told_by_their_types():
    with pytest.raises((TypeError, ValueError), match="str"):
        KerasClassifier().fit(X, np.array(["a", None] * 30, dtype=object))


def test_balanced_classes_are_those_of_the_weighted_rows():
    weight = (np.arange(60) % 3 > 0) * 2.0
    options = {"batch_size": 60, "epochs": 30, "optimizer": "sgd", "random_state": 0}
    net = KerasClassifier(linear, class_weight="balanced", shuffle=False, **options)
    shifted = (X[:, 0] > 0.8).astype(int)
    kept = weight > 0
    weighted, fewer = (
        net.fit(X, shifted, sample_weight=weight).model_.get_weights(),
        net.fit(X[kept], shifted[kept]).model_.get_weights(),
    )
    for one, other in zip(weighted, fewer, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_one_weight_for_all_rows_is_as_none():
    net = KerasClassifier(linear, epochs=2, random_state=0)
    weights = [net.fit(X, y, sample_weight=w).model_.get_weights() for w in (2.0, None)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
