"""Targets of every kind: what is asked of the net for them, and the way back to predictions."""

import functools

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier, KerasRegressor
from skkeras._losses import LossFacts, loss_name
from skkeras._targets.base import MultiOutput
from skkeras._targets.classification import classification_target
from skkeras._targets.regression import RegressionTarget

layers = keras.layers

ONE_HOT = np.eye(3, dtype=int)[[0, 1, 2, 1]]
SEVERAL_LABELS = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
LOGITS = LossFacts("binary_crossentropy", from_logits=True)


# --- What a target asks of the net -----------------------------------------------------------


@pytest.mark.parametrize(
    "y, kind, n_classes, n_outputs, activation, loss",
    [
        ([0, 1, 1], "binary", 2, 1, "sigmoid", "binary_crossentropy"),
        (["b", "a", "c"], "multiclass", 3, 3, "softmax", "sparse_categorical_crossentropy"),
        ([False, True], "binary", 2, 1, "sigmoid", "binary_crossentropy"),
        (np.eye(2)[[0, 1]], "onehot", 2, 2, "softmax", "categorical_crossentropy"),
        (ONE_HOT, "onehot", 3, 3, "softmax", "categorical_crossentropy"),
        (SEVERAL_LABELS, "multilabel-indicator", 3, 3, "sigmoid", "binary_crossentropy"),
        (
            scipy.sparse.csr_matrix(SEVERAL_LABELS),
            "multilabel-indicator",
            3,
            3,
            "sigmoid",
            "binary_crossentropy",
        ),
    ],
    ids=["binary", "strings", "bools", "one-hot 2", "one-hot 3", "multilabel", "sparse"],
)
def test_labels_ask_for_their_output_layer_and_loss(
    y, kind, n_classes, n_outputs, activation, loss
):
    target = classification_target(y)
    assert (target.kind, target.n_classes) == (kind, n_classes)
    assert (target.n_outputs, target.output_activation) == (n_outputs, activation)
    assert target.default_loss((n_outputs,)) == loss


@pytest.mark.parametrize("shape, n_outputs", [((5,), 1), ((5, 1), 1), ((5, 3), 3), ((5, 2, 4), 8)])
def test_numbers_ask_for_a_unit_each(shape, n_outputs):
    target = RegressionTarget(np.zeros(shape))
    assert (target.n_outputs, target.output_activation) == (n_outputs, "linear")
    assert target.default_loss((n_outputs,)) == "mean_squared_error"
    assert target.classes is None


def test_binary_labels_with_a_unit_for_each_class_are_learnt_as_classes():
    assert classification_target([0, 1]).default_loss((2,)) == "sparse_categorical_crossentropy"


def test_one_hot_rows_with_a_binary_loss_are_a_multilabel_target():
    target = classification_target(ONE_HOT, loss="binary_crossentropy")
    assert target.kind == "multilabel-indicator"


def test_declared_classes_count_even_if_y_lacks_some():
    target = classification_target(["b", "b"], classes=["a", "b", "c"])
    assert list(target.classes) == ["a", "b", "c"]


def test_classes_in_several_columns_are_refused_with_advice():
    with pytest.raises(ValueError, match="2 columns of classes.*MultiOutputClassifier"):
        classification_target([[0, 3], [1, 2], [2, 1]]).check_net((4,), LossFacts("mse"))


def test_several_targets_answer_by_output():
    target = MultiOutput(
        {"a": classification_target([0, 1]), "b": RegressionTarget(np.zeros((2, 3)))}
    )
    assert target.n_outputs == {"a": 1, "b": 3}
    assert target.output_activation == {"a": "sigmoid", "b": "linear"}
    assert target.default_loss({"a": (1,), "b": (3,)}) == {
        "a": "binary_crossentropy",
        "b": "mean_squared_error",
    }
    assert target.classes is None


# --- There and back --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y, output_shape, loss, encoded",
    [
        ([5, 7, 5], (1,), "binary_crossentropy", [[0], [1], [0]]),
        ([5, 7, 5], (), "binary_crossentropy", [0, 1, 0]),
        ([5, 7, 5], (2,), "sparse_categorical_crossentropy", [0, 1, 0]),
        ([5, 7, 5], (2,), "categorical_crossentropy", [[1, 0], [0, 1], [1, 0]]),
        (["b", "a", "c"], (3,), "sparse_categorical_crossentropy", [1, 0, 2]),
        (["b", "a", "c"], (3,), "mean_squared_error", [[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
        (ONE_HOT, (3,), "categorical_crossentropy", ONE_HOT),
        (ONE_HOT, (3,), "sparse_categorical_crossentropy", [0, 1, 2, 1]),
        (SEVERAL_LABELS, (3,), "binary_crossentropy", SEVERAL_LABELS),
    ],
)
def test_labels_are_encoded_as_the_loss_takes_them(y, output_shape, loss, encoded):
    given_to_keras = classification_target(y).encode(y, output_shape, LossFacts(loss))
    assert given_to_keras.tolist() == np.asarray(encoded).tolist()
    is_codes = loss == "sparse_categorical_crossentropy"
    assert given_to_keras.dtype == ("int32" if is_codes else "float32")


@pytest.mark.parametrize("y, encoded", [(["b", "a", "c"], [1, 0, 2]), (ONE_HOT, ONE_HOT.tolist())])
def test_users_own_loss_gets_class_numbers_or_the_rows_that_were_given(y, encoded):
    facts = LossFacts("my_loss", is_builtin=False)
    assert classification_target(y).encode(y, (3,), facts).tolist() == encoded


@given(
    st.one_of(
        # Of more than 20 labels, scikit-learn warns if most are unique.
        st.lists(values, min_size=2, max_size=20).filter(lambda y: len(set(y)) > 1)
        for values in (
            st.integers(-(2**40), 2**40),
            st.booleans(),
            st.text("abcdé \n", max_size=3),
            st.sampled_from([-1.0, 0.0, 2.0, 1e6]),
        )
    ),
    st.booleans(),
)
def test_labels_come_back_as_they_were(y, as_objects):
    y = np.array(y, dtype=object if as_objects and isinstance(y[0], str) else None)
    target = classification_target(y)
    one_unit = target.kind == "binary"
    loss = LossFacts(target.default_loss((target.n_outputs,)))
    codes = target.encode(y, (target.n_outputs,), loss)
    outputs = codes if one_unit else np.eye(target.n_classes)[codes]
    predicted = target.predictions(outputs, loss)
    assert predicted.dtype == y.dtype
    assert np.array_equal(predicted, y)
    columns = np.searchsorted(target.classes, y)
    assert np.array_equal(target.probabilities(outputs, loss).argmax(axis=1), columns)


@pytest.mark.parametrize("dtype", [bool, int, "int8", float, "float32"])
@pytest.mark.parametrize("y", [ONE_HOT, SEVERAL_LABELS], ids=["one-hot", "multilabel"])
def test_label_columns_come_back_as_they_were(y, dtype):
    y = y.astype(dtype)
    target = classification_target(y)
    loss = LossFacts(target.default_loss((3,)))
    predicted = target.predictions(target.encode(y, (3,), loss) * 0.9 + 0.05, loss)
    assert predicted.dtype == y.dtype
    assert np.array_equal(predicted, y)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 2, 2)])
def test_numbers_come_back_in_their_shape(shape):
    y = np.arange(np.prod(shape)).reshape(shape)
    target = RegressionTarget(y)
    outputs = target.encode(y, shape[1:] or (1,), LossFacts("mean_squared_error"))
    assert outputs.shape == (4, *(shape[1:] or (1,)))
    predicted = target.predictions(outputs.astype("float32"), LossFacts("mean_squared_error"))
    assert predicted.dtype == "float64"
    assert predicted.shape == shape
    assert np.array_equal(predicted, y)


@pytest.mark.parametrize("first, later", [((4,), (4, 1)), ((4, 1), (4,))])
def test_column_and_row_of_numbers_are_the_same_target(first, later):
    target = RegressionTarget(np.zeros(first))
    encoded = target.encode(np.arange(4.0).reshape(later), (1,), LossFacts("mean_squared_error"))
    assert encoded.tolist() == [[0], [1], [2], [3]]


# --- Probabilities ---------------------------------------------------------------------------


def test_one_unit_gives_two_columns():
    target = classification_target(["no", "yes"])
    outputs = np.array([[0.1], [0.9]])
    assert target.probabilities(outputs, LossFacts()) == pytest.approx(
        np.array([[0.9, 0.1], [0.1, 0.9]])
    )
    assert list(target.predictions(outputs, LossFacts())) == ["no", "yes"]


def test_logits_become_probabilities():
    logits = np.array([[-3.0, 0.5, 2.0], [0.0, 0.0, 100.0]])
    classes, columns = classification_target([0, 1, 2]), classification_target(SEVERAL_LABELS)
    two = classification_target([0, 1])
    assert classes.probabilities(logits, LOGITS) == pytest.approx(softmax(logits, axis=1))
    assert columns.probabilities(logits, LOGITS) == pytest.approx(expit(logits))
    assert two.probabilities(logits[:, :1], LOGITS)[:, 1] == pytest.approx(expit(logits[:, 0]))
    assert list(two.predictions(logits[:, :1], LOGITS)) == [0, 0]
    assert list(two.predictions(-logits[:, :1], LOGITS)) == [1, 0]


def test_a_unit_for_each_class_without_softmax_is_normalised():
    target = classification_target([0, 1, 2])
    sigmoids = np.array([[0.9, 0.6, 0.3], [0.0, 0.0, 0.0]])
    assert target.probabilities(sigmoids, LossFacts("binary_crossentropy")) == pytest.approx(
        np.array([[0.5, 1 / 3, 1 / 6], [1 / 3, 1 / 3, 1 / 3]])
    )


@pytest.mark.parametrize("y", [[0, 1, 1], [0, 1, 2], SEVERAL_LABELS])
@pytest.mark.parametrize("value", [-0.5, 1.5, np.nan])
def test_what_is_no_probability_is_refused(y, value):
    target = classification_target(y)
    outputs = np.full((2, target.n_outputs), 0.25)
    outputs[1, -1] = value
    with pytest.raises(ValueError, match="expected probabilities between 0 and 1.*from_logits"):
        target.probabilities(outputs, LossFacts("mean_squared_error"))


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_margins_are_decided_at_zero_and_are_no_probabilities(loss):
    target = classification_target([0, 1])
    outputs = np.array([[-0.2], [0.2]])
    assert list(target.predictions(outputs, LossFacts(loss))) == [0, 1]
    with pytest.raises(ValueError, match=f"loss='{loss}'"):
        target.probabilities(abs(outputs), LossFacts(loss))


# --- What doesn't fit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y, output_shape, expected",
    [
        ([0, 1, 1], (3,), r"\(None, 3\); y has 2 classes, which take \(None, 1\)"),
        ([0, 1, 2], (2,), r"\(None, 2\); y has 3 classes, which take \(None, 3\)"),
        ([0, 1, 2], (1,), r"\(None, 1\); y has 3 classes, which take \(None, 3\)"),
        ([0, 1, 2], (5, 3), r"\(None, 5, 3\); y has 3 classes, which take \(None, 3\)"),
        (ONE_HOT, (2,), r"\(None, 2\); y has 3 classes, which take \(None, 3\)"),
        (SEVERAL_LABELS, (1,), r"\(None, 1\); y has 3 label columns, which take \(None, 3\)"),
    ],
)
def test_wrong_number_of_outputs_names_both_shapes_and_the_fix(y, output_shape, expected):
    with pytest.raises(ValueError, match=f"outputs have shape {expected}.*n_outputs"):
        classification_target(y).check_net(output_shape, LossFacts("mean_squared_error"))


@pytest.mark.parametrize(
    "shape, output_shape, expected",
    [
        ((5,), (2,), r"\(None, 2\); y asks for \(None, 1\)"),
        ((5, 3), (1,), r"\(None, 1\); y asks for \(None, 3\)"),
        ((5, 2, 2), (4,), r"\(None, 4\); y asks for \(None, 2, 2\)"),
    ],
)
def test_wrong_number_of_outputs_for_numbers_names_both_shapes(shape, output_shape, expected):
    with pytest.raises(ValueError, match=f"outputs have shape {expected}.*n_outputs"):
        RegressionTarget(np.zeros(shape)).check_net(output_shape, LossFacts("mean_squared_error"))


@pytest.mark.parametrize(
    "target, output_shape, advice",
    [
        (classification_target(SEVERAL_LABELS), (3, 3), r"each of 3 steps, pass y\[..., None\]"),
        (classification_target(SEVERAL_LABELS), (None, 3), r"each of 3 steps, pass y"),
        (classification_target(ONE_HOT), (3, 3), r"each of 3 steps, pass y\[..., None\]"),
        (classification_target([0, 1, 2]), (5, 3), r"by return_sequences=False"),
        (RegressionTarget(np.zeros((4, 5))), (5, 5), r"each of 5 steps, pass y\[..., None\]"),
        (RegressionTarget(np.zeros((4, 5))), (6, 5), r"by return_sequences=False"),
        (RegressionTarget(np.zeros(4)), (5, 1), r"by return_sequences=False"),
        (RegressionTarget(np.zeros((4, 5, 1))), (5, 5), r"Reshape\(\(5, 1\)\).*units=1"),
    ],
)
def test_outputs_of_steps_that_do_not_fit_y_are_told_apart(target, output_shape, advice):
    with pytest.raises(ValueError, match=advice):
        target.check_net(output_shape, LossFacts("mean_squared_error"))


@pytest.mark.parametrize("output_shape", [{"a": (1,)}, (1,), {"a": (1,), "c": (1,)}])
def test_outputs_that_y_does_not_name_are_an_error(output_shape):
    target = MultiOutput({"a": RegressionTarget(np.zeros(3)), "b": RegressionTarget(np.zeros(3))})
    with pytest.raises(ValueError, match=r"outputs are .*y has \['a', 'b'\]"):
        target.check_net(output_shape, {"a": LossFacts(), "b": LossFacts()})


@pytest.mark.parametrize(
    "target, output_shape, loss",
    [
        (classification_target([0, 1]), (1,), "categorical_crossentropy"),
        (classification_target([0, 1]), (1,), "sparse_categorical_crossentropy"),
        (classification_target([0, 1]), (1,), "categorical_hinge"),
        (classification_target([0, 1]), (1,), "kl_divergence"),
        (classification_target([0, 1]), (1,), "cosine_similarity"),
        (classification_target([0, 1]), (1,), "circle"),
        (classification_target(SEVERAL_LABELS), (3,), "categorical_crossentropy"),
        (classification_target(SEVERAL_LABELS), (3,), "crossentropy"),
        (classification_target(SEVERAL_LABELS), (3,), "kl_divergence"),
        (classification_target(SEVERAL_LABELS), (3,), "sparse_categorical_crossentropy"),
        (RegressionTarget(np.zeros(3)), (1,), "sparse_categorical_crossentropy"),
        (RegressionTarget(np.zeros((3, 2))), (2,), "categorical_crossentropy"),
        (RegressionTarget(np.zeros(3)), (1,), "kl_divergence"),
        (RegressionTarget(np.zeros((3, 1))), (1,), "cosine_similarity"),
    ],
)
def test_loss_that_does_not_fit_is_named_with_one_that_does(target, output_shape, loss):
    with pytest.raises(ValueError, match=f"loss='{loss}' doesn't fit.*Use loss='"):
        target.check_net(output_shape, LossFacts(loss))


class OwnBinaryCrossentropy(keras.losses.BinaryCrossentropy):
    pass


BINARY_CROSSENTROPIES = [
    *("binary_crossentropy", "BinaryCrossentropy", "bce", "BCE"),
    *(keras.losses.binary_crossentropy, keras.losses.BinaryCrossentropy),
    keras.losses.BinaryCrossentropy(from_logits=True),
    functools.partial(keras.losses.BinaryCrossentropy, label_smoothing=0.1),
    keras.losses.serialize(keras.losses.BinaryCrossentropy()),
    keras.losses.serialize(keras.losses.binary_crossentropy),
    OwnBinaryCrossentropy,
    OwnBinaryCrossentropy(),
    ["bce"],
    {"out": "bce"},
]


@pytest.mark.parametrize("loss", BINARY_CROSSENTROPIES)
def test_binary_loss_makes_one_hot_rows_multilabel_however_it_is_spelt(loss):
    assert loss_name(loss) == "binary_crossentropy"
    assert classification_target(ONE_HOT, loss=loss).kind == "multilabel-indicator"


@pytest.mark.parametrize("name", [name for name in dir(keras.losses) if name[0].isupper()])
def test_class_of_a_loss_has_the_name_of_its_function(name):
    function = loss_name(name)
    if name not in ("Loss", "CategoricalGeneralizedCrossEntropy"):  # which have none
        assert getattr(keras.losses, function).__name__ == function
    assert loss_name(getattr(keras.losses, name)) == function


def test_loss_of_several_outputs_has_no_one_name():
    assert loss_name(None) is None
    assert loss_name(["mse", "bce"]) is None


@pytest.mark.parametrize(
    "loss, low, high",
    [
        ("binary_crossentropy", -0.1, 1),
        ("binary_focal_crossentropy", 0, 1.5),
        ("kl_divergence", -0.1, 1),
        ("poisson", -1, 5),
        ("mean_squared_logarithmic_error", -1, 5),
        ("hinge", 0, 2),
        ("squared_hinge", -2, 1),
    ],
)
def test_numbers_that_a_loss_is_not_defined_for_are_named(loss, low, high):
    y = np.linspace(low, high, 5)
    message = f"loss='{loss}' doesn't fit y, which runs from {low:g} to {high:g}.*Use loss='"
    with pytest.raises(ValueError, match=message):
        RegressionTarget(y).encode(y, (1,), LossFacts(loss))


@pytest.mark.parametrize(
    "first, later, message",
    [
        ([0, 1], [0, 2], r"labels that were not seen in training: \[2\].*expected only \[0 1\]"),
        (["a", "b"], ["b", "z"], r"not seen in training: \['z'\]"),
        ([0, 1], ["0", "1"], "not seen in training"),
        (["0", "1"], [0, 1], "not seen in training"),
        ([0, 1], np.eye(2), r"shape \(2, 2\); expected one label for each sample"),
        (ONE_HOT, [0, 1, 2], r"shape \(3,\); expected one-hot rows of shape \(n_samples, 3\)"),
        (ONE_HOT, SEVERAL_LABELS, r"expected one-hot rows.*each with a single 1"),
        (ONE_HOT, np.eye(4), r"shape \(4, 4\); expected one-hot rows of shape \(n_samples, 3\)"),
        (SEVERAL_LABELS, np.zeros((4, 2)), r"shape \(4, 2\); expected \(n_samples, 3\)"),
        (SEVERAL_LABELS, np.zeros(4), r"shape \(4,\); expected \(n_samples, 3\)"),
        (SEVERAL_LABELS, SEVERAL_LABELS * 2, "expected 0 and 1"),
    ],
)
def test_later_labels_of_another_kind_are_an_error(first, later, message):
    target = classification_target(first)
    with pytest.raises(ValueError, match=message):
        target.encode(later, (target.n_outputs,), LossFacts("categorical_crossentropy"))


@pytest.mark.parametrize("later", [(4, 2), (4, 3, 1), (4,)])
def test_later_numbers_of_another_shape_are_an_error(later):
    with pytest.raises(ValueError, match=r"expected \(n_samples, 3\), as in the first fit"):
        RegressionTarget(np.zeros((4, 3))).encode(
            np.zeros(later), (3,), LossFacts("mean_squared_error")
        )


def test_later_targets_must_name_the_same_outputs():
    target = MultiOutput({"a": RegressionTarget(np.zeros(3)), "b": RegressionTarget(np.zeros(3))})
    shapes, losses = dict.fromkeys("ab", (1,)), dict.fromkeys("ab", LossFacts())
    with pytest.raises(ValueError, match=r"y has \['a'\]; expected.*\['a', 'b'\]"):
        target.encode({"a": np.zeros(3)}, shapes, losses)
    with pytest.raises(ValueError, match=r"y has ndarray; expected a dict"):
        target.encode(np.zeros(3), shapes, losses)


# --- Through the estimators: labels ----------------------------------------------------------


def classifier(model="mlp", **parameters):
    if model == "mlp":
        parameters = {"model__units": 8, **parameters}
    settings = {"epochs": 25, "batch_size": 20, "random_state": 0}
    return KerasClassifier(model, **{**settings, **parameters})


def regressor(model="mlp", **parameters):
    if model == "mlp":
        parameters = {"model__units": 8, **parameters}
    return KerasRegressor(model, **{"epochs": 3, "random_state": 0, **parameters})


FAST = {"optimizer__learning_rate": 0.05}

DTYPES = {
    "int": np.array([-5, 2, 40]),
    "int8": np.array([-5, 2, 40], dtype="int8"),
    "uint8": np.array([0, 1, 255], dtype="uint8"),
    "float": np.array([0.0, 1.0, 2.0]),
    "str": np.array(["high", "low", "mid"]),
    "object": np.array(["high", "low", "mid"], dtype=object),
    "datetime": np.array(["2020-01-01", "2021-01-01", "2022-01-01"], dtype="datetime64[D]"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_labels_of_any_dtype_are_predicted_as_they_were_given(X, dtype, n_classes):
    classes = DTYPES[dtype][:n_classes]
    y = classes[np.digitize(X[:, 0], [0, 0.6][: n_classes - 1])]
    net = classifier(**FAST).fit(X, y)
    predicted = net.predict(X)
    assert net.classes_.dtype == predicted.dtype == y.dtype
    assert np.array_equal(net.classes_, classes)
    assert net.score(X, y) > 0.85
    probabilities = net.predict_proba(X)
    assert probabilities.shape == (60, n_classes)
    assert np.array_equal(net.classes_[probabilities.argmax(axis=1)], predicted)


def test_bool_labels_are_predicted_as_bools(X, binary):
    net = classifier(**FAST).fit(X, binary.astype(bool))
    assert net.classes_.tolist() == [False, True]
    assert net.predict(X).dtype == bool
    assert net.score(X, binary.astype(bool)) > 0.9


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        pd.Series,
        pl.Series,
        lambda y: pd.Series(y).astype("category"),
        lambda y: pd.Series(y).astype("string"),
        lambda y: pd.DataFrame({"label": y}).label,
    ],
    ids=["list", "pandas", "polars", "category", "string", "column"],
)
def test_containers_of_labels_are_all_the_same(X, labels, wrap):
    expected = classifier(epochs=2).fit(X, labels)
    net = classifier(epochs=2).fit(X, wrap(labels))
    assert net.classes_.tolist() == ["high", "low", "mid"]
    assert np.array_equal(net.predict_proba(X), expected.predict_proba(X))
    assert net.predict(X).tolist() == expected.predict(X).tolist()


def softmax_net(n_units=3):
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(n_units, "softmax")]
    )


@pytest.mark.parametrize("dtype", [int, float, bool, "float32"])
@pytest.mark.parametrize(
    "loss", [None, "categorical_crossentropy", "sparse_categorical_crossentropy"]
)
def test_one_hot_labels_with_a_softmax_net(X, labels, loss, dtype):
    one_hot = np.eye(3, dtype=dtype)[np.unique(labels, return_inverse=True)[1]]
    net = classifier(softmax_net, loss=loss, **FAST).fit(X, one_hot)
    predicted = net.predict(X)
    assert predicted.dtype == dtype
    assert predicted.shape == (60, 3)
    assert (predicted.sum(axis=1) == 1).all()
    assert net.classes_.tolist() == [0, 1, 2]
    assert net.score(X, one_hot) > 0.85
    assert np.array_equal(net.predict_proba(X).argmax(axis=1), predicted.argmax(axis=1))


def test_one_hot_and_plain_labels_train_the_same_net(X, labels):
    codes = np.unique(labels, return_inverse=True)[1]
    plain = classifier(softmax_net, loss="categorical_crossentropy").fit(X, codes)
    one_hot = classifier(softmax_net, loss="categorical_crossentropy").fit(X, np.eye(3)[codes])
    assert np.array_equal(plain.predict_proba(X), one_hot.predict_proba(X))


@pytest.mark.parametrize(
    "wrap", [np.asarray, scipy.sparse.csr_matrix, pd.DataFrame], ids=["array", "sparse", "pandas"]
)
def test_multilabel_targets_are_learnt_column_by_column(X, wrap):
    several = (X[:, :3] > 0).astype(int)
    net = classifier(**FAST).fit(X, wrap(several))
    predicted, probabilities = net.predict(X), net.predict_proba(X)
    assert predicted.shape == probabilities.shape == (60, 3)
    assert set(predicted.sum(axis=1)) > {1, 2}
    assert np.array_equal(predicted, probabilities > 0.5)
    assert (predicted == several).mean() > 0.9


# --- Through the estimators: probabilities ---------------------------------------------------


def ending_in(n_units, activation):
    """A builder that goes its own way, whatever it is asked for."""

    def build(input_shape):
        return keras.Sequential(
            [
                keras.Input(input_shape),
                layers.Dense(8, "relu"),
                layers.Dense(n_units, activation),
            ]
        )

    return build


def nested_logits(input_shape):
    return keras.Sequential(
        [keras.Input(input_shape), keras.Sequential([layers.Dense(8, "relu"), layers.Dense(3)])]
    )


def functional(n_units, last):
    def build(input_shape):
        inputs = keras.Input(input_shape)
        hidden = layers.Dense(8, "relu")(inputs)
        return keras.Model(inputs, last(layers.Dense(n_units)(hidden)))

    return build


class SubclassedLogits(keras.Model):
    def __init__(self, n_outputs):
        super().__init__()
        self.hidden = layers.Dense(8, "relu")
        self.last = layers.Dense(n_outputs)

    def call(self, inputs):
        return self.last(self.hidden(inputs))


class SubclassedProbabilities(SubclassedLogits):
    def call(self, inputs):
        outputs = super().call(inputs)
        return keras.ops.sigmoid(outputs) if outputs.shape[-1] == 1 else keras.ops.softmax(outputs)


LOSSES = keras.losses


@pytest.mark.parametrize(
    "model, parameters, n_classes",
    [
        ("mlp", {}, 2),
        ("mlp", {}, 3),
        ("mlp", {"loss__from_logits": True, "loss": "binary_crossentropy"}, 2),
        ("mlp", {"loss": LOSSES.BinaryCrossentropy(from_logits=True)}, 2),
        ("mlp", {"loss": LOSSES.SparseCategoricalCrossentropy(from_logits=True)}, 3),
        ("mlp", {"loss": LOSSES.CategoricalCrossentropy(from_logits=True)}, 3),
        (ending_in(1, None), {}, 2),
        (ending_in(2, None), {}, 2),
        (ending_in(3, None), {}, 3),
        (ending_in(1, None), {"loss": LOSSES.BinaryCrossentropy(from_logits=True)}, 2),
        (ending_in(2, "softmax"), {}, 2),
        (ending_in(3, "sigmoid"), {"loss": "binary_crossentropy"}, 3),
        (nested_logits, {}, 3),
        (functional(3, lambda outputs: outputs), {}, 3),
        (functional(3, layers.Softmax()), {}, 3),
        (functional(3, keras.ops.softmax), {}, 3),
        (functional(1, keras.ops.sigmoid), {}, 2),
        (functools.partial(SubclassedLogits, 3), {}, 3),
        (functools.partial(SubclassedLogits, 1), {}, 2),
        (functools.partial(SubclassedProbabilities, 3), {}, 3),
        (functools.partial(SubclassedProbabilities, 1), {}, 2),
    ],
    ids=[
        "preset-2",
        "preset-3",
        "preset-routed-logits",
        "preset-binary-logits",
        "preset-sparse-logits",
        "preset-one-hot-logits",
        "one-logit",
        "two-logits",
        "three-logits",
        "one-logit-said",
        "two-softmax",
        "three-sigmoid",
        "nested-logits",
        "functional-logits",
        "softmax-layer",
        "softmax-operation",
        "sigmoid-operation",
        "subclassed-logits-3",
        "subclassed-logits-1",
        "subclassed-softmax",
        "subclassed-sigmoid",
    ],
)
def test_probabilities_are_probabilities_and_agree_with_predictions(
    X, model, parameters, n_classes
):
    y = np.digitize(X[:, 0], [0, 0.6][: n_classes - 1])
    net = classifier(model, **FAST, **parameters).fit(X, y)
    probabilities = net.predict_proba(X)
    assert probabilities.shape == (60, n_classes)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(probabilities.argmax(axis=1), net.predict(X))
    # Probabilities that went through a second sigmoid would be one-sided, or all alike.
    assert net.score(X, y) > 0.85
    assert probabilities.max() > 0.9


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
@pytest.mark.parametrize(
    "model", ["mlp", ending_in(1, None), ending_in(1, "tanh")], ids=["preset", "linear", "tanh"]
)
def test_margin_losses_find_both_classes(X, binary, model, loss):
    net = classifier(model, loss=loss, **FAST).fit(X, binary)
    assert net.score(X, binary) > 0.9
    with pytest.raises(AttributeError, match="no attribute 'predict_proba'") as caught:
        net.predict_proba(X)
    assert f"loss='{loss}'" in str(caught.value.__cause__)


def test_multilabel_logits_become_probabilities(X):
    several = (X[:, :3] > 0).astype(int)
    net = classifier(ending_in(3, None), **FAST).fit(X, several)
    probabilities = net.predict_proba(X)
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    assert np.array_equal(net.predict(X), probabilities > 0.5)


def two_outputs(as_dict, in_logits):
    """A net for three classes, "z", and two, "a"; "z" comes first."""

    def build(input_shape):
        inputs = keras.Input(input_shape)
        hidden = layers.Dense(8, "relu")(inputs)
        outputs = {
            "z": layers.Dense(3, None if in_logits else "softmax", name="z")(hidden),
            "a": layers.Dense(1, None if in_logits else "sigmoid", name="a")(hidden),
        }
        return keras.Model(inputs, outputs if as_dict else [*outputs.values()])

    return build


@pytest.mark.parametrize("as_dict", [True, False], ids=["dict", "list"])
def test_several_outputs_in_logits_are_trained_as_such_by_default(X, labels, binary, as_dict):
    y = {"z": labels, "a": binary}
    net = classifier(two_outputs(as_dict, in_logits=True), **FAST).fit(X, y)
    said = {
        "z": LOSSES.SparseCategoricalCrossentropy(from_logits=True),
        "a": LOSSES.BinaryCrossentropy(from_logits=True),
    }
    same = classifier(two_outputs(as_dict, in_logits=True), loss=said, **FAST).fit(X, y)
    for name, probabilities in net.predict_proba(X).items():
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(probabilities, same.predict_proba(X)[name])
        assert (net.predict(X)[name] == y[name]).mean() > 0.85


def test_default_losses_that_take_logits_take_routed_parameters_too(X, labels, binary):
    y = {"z": labels, "a": binary}
    build = two_outputs(as_dict=True, in_logits=True)
    routed = classifier(build, loss__label_smoothing=0.0, loss__z__ignore_class=7, **FAST)
    said = classifier(build, **FAST).fit(X, y).predict_proba(X)
    for name, probabilities in routed.fit(X, y).predict_proba(X).items():
        np.testing.assert_array_equal(probabilities, said[name])


@pytest.mark.parametrize("as_dict", [True, False], ids=["dict", "list"])
def test_list_of_losses_is_paired_with_outputs_as_keras_does(X, labels, binary, as_dict):
    y = {"z": binary, "a": 1 - binary}

    def build(input_shape):
        inputs = keras.Input(input_shape)
        outputs = {name: layers.Dense(1, name=name)(inputs) for name in ("z", "a")}
        return keras.Model(inputs, outputs if as_dict else [*outputs.values()])

    logits = LOSSES.BinaryCrossentropy(from_logits=True)
    net = classifier(build, loss=["hinge", logits], **FAST).fit(X, y)
    margins, other = ("a", "z") if as_dict else ("z", "a")
    # Keras sorts the keys of a dict.
    with pytest.raises(ValueError, match="loss='hinge' has margins"):
        net.predict_proba(X)
    raw = net.model_.predict(X, verbose=0)
    raw = raw if as_dict else dict(zip("za", raw, strict=True))
    encoded = {name: part[:, None].astype("float32") for name, part in y.items()}
    history = net.model_.evaluate(
        X,
        encoded if as_dict else [*encoded.values()],
        batch_size=60,
        verbose=0,
        return_dict=True,
    )
    signs = 2 * encoded[margins] - 1
    hinge = np.maximum(1 - signs * raw[margins], 0).mean()
    assert history[f"{margins}_loss"] == pytest.approx(hinge, rel=1e-4)
    facts = net._facts.loss
    assert (facts[margins].name, facts[other].name) == ("hinge", "binary_crossentropy")


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # as Keras warns
def test_output_with_the_loss_none_is_not_trained(X, labels, binary):
    y = {"z": labels, "a": binary}
    losses = {"z": "sparse_categorical_crossentropy", "a": None}
    net = classifier(two_outputs(as_dict=True, in_logits=False), loss=losses, **FAST).fit(X, y)
    assert (net.predict(X)["z"] == labels).mean() > 0.85
    assert set(net.predict(X)["a"]) <= {0, 1}


def named_output(input_shape, n_outputs, output_activation):
    last = layers.Dense(n_outputs, output_activation, name="out")
    return keras.Sequential([keras.Input(input_shape), last])


def compiled_in(input_shape, n_outputs, output_activation, loss):
    inputs = keras.Input(input_shape)
    last = layers.Dense(n_outputs, output_activation, name="out")
    made = keras.Model(inputs, last(inputs))
    made.compile("adam", loss)
    return made


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"out": x}])
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_one_output_may_have_its_loss_in_a_list_or_dict(X, labels, wrap, engine):
    loss = LOSSES.CategoricalCrossentropy(from_logits=True)
    y = np.eye(3)[np.unique(labels, return_inverse=True)[1]]
    expected = classifier(named_output, loss=loss).fit(X, y).predict_proba(X)
    net = classifier(named_output, loss=wrap(loss), engine=engine).fit(X, y)
    np.testing.assert_allclose(net.predict_proba(X), expected, rtol=1e-5)
    codes = y.argmax(axis=1)
    compiled = classifier(compiled_in, model__loss=wrap("sparse_categorical_crossentropy"))
    assert compiled.fit(X, codes).predict_proba(X).shape == (60, 3)
    agreeing = classifier(compiled_in, loss="mse", model__loss=wrap("mse"))
    assert agreeing.fit(X, codes).predict_proba(X).shape == (60, 3)


# --- Through the estimators: numbers ---------------------------------------------------------


@pytest.mark.parametrize("wrap", [np.asarray, pd.DataFrame, pl.from_numpy])
@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 3)], ids=str)
def test_numbers_are_predicted_in_the_shape_of_y(X, values, shape, wrap):
    if len(shape) == 1 and wrap is not np.asarray:
        wrap = {pd.DataFrame: pd.Series, pl.from_numpy: lambda y: pl.Series(y)}[wrap]
    y = np.stack([values, values**2, -values], axis=1)[:, : shape[-1]].reshape(-1)[: np.prod(shape)]
    net = regressor().fit(X, wrap(y.reshape(shape)))
    predicted = net.predict(X)
    assert predicted.shape == shape
    assert predicted.dtype == "float64"
    assert net.predict(X[:1]).shape == (1, *shape[1:])
    assert net.score(X, wrap(y.reshape(shape))) < 1


def test_column_of_numbers_trains_the_same_net(X, values):
    row, column = regressor().fit(X, values), regressor().fit(X, values.reshape(-1, 1))
    assert np.array_equal(row.predict(X), column.predict(X).ravel())


def test_integer_numbers_are_predicted_as_floats(X):
    net = regressor().fit(X, np.arange(60))
    assert net.predict(X).dtype == "float64"


@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 2)], ids=str)
@pytest.mark.parametrize(
    "parameters",
    [
        {"loss": "binary_crossentropy", "loss__from_logits": True},
        {"loss": LOSSES.BinaryFocalCrossentropy(from_logits=True, gamma=0.0)},
    ],
    ids=["routed", "instance"],
)
def test_logits_of_numbers_are_predicted_as_the_numbers(X, values, shape, parameters):
    y = expit(np.stack([values, -values][: np.prod(shape) // 60], axis=1)).reshape(shape)
    net = regressor("linear", **parameters, **FAST | {"epochs": 60}).fit(X, y)
    logits = net.model_.predict(X, verbose=0).reshape(shape)
    np.testing.assert_allclose(net.predict(X), expit(logits), rtol=1e-5)
    assert net.score(X, y) > 0.8


def test_nets_without_a_unit_axis_learn_numbers_and_two_classes(X, values, binary):
    def build(activation):
        return keras.Sequential(
            [keras.Input((4,)), layers.Dense(1, activation), layers.Reshape(())]
        )

    assert regressor(lambda: build(None)).fit(X, values).predict(X).shape == (60,)
    net = classifier(lambda: build("sigmoid")).fit(X, binary)
    assert net.predict_proba(X).shape == (60, 2)


# --- Through the estimators: inputs ----------------------------------------------------------


@pytest.mark.parametrize("first", ["float16", "float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("later", ["float32", "float64", "int64", "bool", list])
def test_later_rows_may_have_another_dtype(X, values, first, later):
    ones = np.sign(X) > 0  # the same numbers in every dtype
    net = regressor().fit(ones.astype(first), values)
    expected = net.predict(ones.astype(first))
    rows = ones.tolist() if later is list else ones.astype(later)
    assert np.array_equal(net.predict(rows), expected)


def test_float32_fit_then_float64_predict(X, values):
    net = regressor().fit(X.astype("float32"), values)
    assert np.array_equal(net.predict(X), net.predict(X.astype("float32")))


def frame(kind, X, columns="abcd"):
    return {"pandas": pd.DataFrame, "polars": pl.DataFrame}[kind](
        {name: X[:, "abcd".index(name)] for name in columns}
    )


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize(
    "columns, message",
    [("dcba", "must be in the same order as they were in fit"), ("abc", "now missing:\n- d")],
)
def test_other_columns_are_scikit_learns_own_error(X, binary, kind, columns, message):
    if not hasattr(StandardScaler().fit(frame(kind, X)), "feature_names_in_"):
        versions = f"scikit-learn {sklearn.__version__}, {kind} {pl.__version__}"
        pytest.skip(f"scikit-learn doesn't see these columns: {versions}")
    net = classifier(epochs=2).fit(frame(kind, X), binary)
    assert list(net.feature_names_in_) == list("abcd")
    other = frame(kind, X, columns)
    attempts = [
        lambda: net.predict(other),
        lambda: net.predict_proba(other),
        lambda: net.score(other, binary),
        lambda: net.evaluate(other, binary),
        lambda: net.partial_fit(other, binary),
        lambda: classifier().fit(frame(kind, X), binary, X_val=other, y_val=binary),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="feature names should match") as caught:
            attempt()
        assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_data_frames_train_the_same_net_as_their_values(X, binary, kind):
    net = classifier(epochs=2).fit(frame(kind, X), binary)
    expected = classifier(epochs=2).fit(X, binary)
    assert np.array_equal(net.predict_proba(frame(kind, X)), expected.predict_proba(X))


def test_values_of_a_data_frame_are_predicted_with_scikit_learns_warning(X, binary):
    net = classifier(epochs=2).fit(frame("pandas", X), binary)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        net.predict(X)


# --- Through the estimators: models of every kind --------------------------------------------


def dense_net(input_shape, n_outputs, output_activation, units=8):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(units, "relu"),
            layers.Dense(n_outputs, output_activation),
        ]
    )


def without_input_layer(n_outputs, output_activation):
    return keras.Sequential([layers.Dense(8, "relu"), layers.Dense(n_outputs, output_activation)])


class Architect:
    units = 8

    def __call__(self, input_shape, n_outputs, output_activation):
        return dense_net(input_shape, n_outputs, output_activation, self.units)

    def build(self, input_shape, n_outputs, output_activation):
        return self(input_shape, n_outputs, output_activation)

    @classmethod
    def of_class(cls, input_shape, n_outputs, output_activation):
        return cls()(input_shape, n_outputs, output_activation)

    @staticmethod
    def static(input_shape, n_outputs, output_activation):
        return Architect()(input_shape, n_outputs, output_activation)


class Subclassed(keras.Model):
    def __init__(self, n_outputs, output_activation, units=8):
        super().__init__()
        self.units = units
        self.hidden = layers.Dense(units, "relu")
        self.last = layers.Dense(n_outputs, output_activation)

    def call(self, inputs):
        return self.last(self.hidden(inputs))


BUILDERS = {
    "function": dense_net,
    "lambda": lambda input_shape, n_outputs, output_activation: dense_net(
        input_shape, n_outputs, output_activation
    ),
    "partial": functools.partial(dense_net, units=8),
    "bound method": Architect().build,
    "class method": Architect.of_class,
    "static method": Architect.static,
    "callable object": Architect(),
    "class": Subclassed,
    "no Input layer": without_input_layer,
}


@pytest.mark.parametrize("builder", BUILDERS)
def test_any_callable_is_a_builder_for_both_tasks(X, labels, values, builder):
    classified = classifier(BUILDERS[builder], **FAST).fit(X, labels)
    assert classified.score(X, labels) > 0.85
    regressed = regressor(BUILDERS[builder], epochs=20, **FAST).fit(X, values)
    assert regressed.score(X, values) > 0.85


def test_all_builders_of_one_net_make_the_same_net(X, labels):
    nets = [
        classifier(builder, epochs=2).fit(X, labels).predict_proba(X)
        for name, builder in BUILDERS.items()
        if name not in ("class", "no Input layer")
    ]
    assert all(np.array_equal(net, nets[0]) for net in nets)


def test_class_takes_hyperparameters(X, labels):
    net = classifier(Subclassed, model__units=5, epochs=1).fit(X, labels)
    assert net.model_.units == 5


def weights(model):
    return [array.copy() for array in model.get_weights()]


def equal(arrays, others):
    return all(map(np.array_equal, arrays, others))


@pytest.mark.parametrize("compiled", [False, True], ids=["bare", "compiled"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: dense_net((4,), 3, "softmax"),
        lambda: functional(3, layers.Softmax())((4,)),
    ],
    ids=["sequential", "functional"],
)
def test_prebuilt_model_is_where_every_fit_starts_and_stays_as_it_is(X, labels, make, compiled):
    template = make()
    if compiled:
        template.compile("sgd", "sparse_categorical_crossentropy")
    before, config = weights(template), template.get_config()
    net = classifier(template, epochs=2)
    assert equal(weights(net.initialize(X, labels).model_), before)
    first = weights(net.fit(X, labels).model_)
    second = weights(net.fit(X, labels).model_)
    assert equal(first, second)
    assert not equal(first, before)
    assert net.model is template
    assert net.model_ is not template
    assert equal(weights(template), before)
    assert template.get_config() == config
    assert template.compiled == compiled
    if compiled:
        assert type(net.model_.optimizer).__name__ == "SGD"
        assert int(template.optimizer.iterations) == 0


def test_trained_model_is_a_start_too(X, labels):
    trained = classifier(dense_net).fit(X, labels)
    net = classifier(trained.model_)
    assert equal(weights(net.initialize(X, labels).model_), weights(trained.model_))
    assert np.array_equal(net.predict_proba(X), trained.predict_proba(X))
