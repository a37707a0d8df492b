"""Metrics get the targets that they read, class numbers or one-hot rows, or an error says how."""

import keras
import numpy as np
import pytest
import sklearn.metrics
from keras import layers, ops

from skkeras import KerasClassifier
from skkeras._building.metric_targets import outputs_read_as_rows
from skkeras.exceptions import BuilderError

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 4)).astype("float32")
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])]
CODES = np.digitize(X[:, 0], [-0.5, 0.5])
ROWS = np.eye(3, dtype="float32")[CODES]
BINARY = (X[:, 0] > 0).astype(int)


def softmax(input_shape, units=3):
    last = layers.Dense(units, activation="softmax")
    return keras.Sequential([keras.Input(input_shape), last])


def classifier(model=softmax, **options):
    # Batches alike, since Keras averages what functions return over batches.
    return KerasClassifier(model, **{"epochs": 1, "batch_size": 30, "random_state": 0, **options})


def evaluated(y=LABELS, **options):
    """Return the values of the metrics, without the loss, and the probabilities."""
    net = classifier(**options).fit(X, y)
    results = net.evaluate(X, y)
    del results["loss"]
    return results, net.predict_proba(X).astype("float32")


def own_accuracy(true, predicted):
    """Count as `keras.metrics.categorical_accuracy` does, from one-hot rows."""
    return ops.mean(ops.equal(ops.argmax(true, -1), ops.argmax(predicted, -1)))


def own_brier(true, predicted):
    return ops.mean(ops.square(true - predicted), -1)


def own_sparse_accuracy(true, predicted):
    true = ops.cast(ops.reshape(true, (-1,)), "int64")
    return ops.mean(ops.equal(true, ops.cast(ops.argmax(predicted, -1), "int64")))


def own_confidence(true, predicted):
    return ops.max(predicted, -1)


class OwnRecall(keras.metrics.Metric):
    """Recall of the last class, from one-hot rows."""

    def __init__(self, name="own_recall", **options):
        super().__init__(name=name, **options)
        self.right = self.add_weight(name="right", initializer="zeros")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        is_right = ops.equal(ops.argmax(y_pred, -1), ops.shape(y_pred)[-1] - 1)
        self.right.assign_add(ops.sum(y_true[:, -1] * ops.cast(is_right, "float32")))
        self.total.assign_add(ops.sum(y_true[:, -1]))

    def result(self):
        return self.right / self.total


class OwnSparseF1(keras.metrics.F1Score):
    """F1 of class numbers."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.one_hot(ops.reshape(ops.cast(y_true, "int32"), (-1,)), 3)
        return super().update_state(y_true, y_pred, sample_weight)


READING_ROWS = [
    "categorical_accuracy",
    "mse",
    keras.metrics.Recall(name="recall"),
    "AUC",
    keras.metrics.top_k_categorical_accuracy,
    keras.metrics.TopKCategoricalAccuracy(k=2, name="top 2"),
    keras.metrics.F1Score(average="macro"),
    keras.metrics.MeanMetricWrapper(keras.metrics.categorical_accuracy, name="wrapped"),
    keras.losses.CategoricalCrossentropy(label_smoothing=0.1, name="smooth"),
    keras.metrics.OneHotMeanIoU(num_classes=3, name="iou"),
    own_accuracy,
    keras.metrics.MeanMetricWrapper(own_brier, name="brier"),
    OwnRecall(),
]
OTHERS = [
    "accuracy",
    "Acc",
    "sparse_categorical_accuracy",
    keras.metrics.SparseTopKCategoricalAccuracy(k=2),
    keras.metrics.IoU(3, [0], sparse_y_pred=False),
    keras.metrics.sparse_categorical_crossentropy,
    own_sparse_accuracy,
    own_confidence,
    OwnSparseF1(average="macro"),
]


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_what_metrics_read_is_told(n_classes):
    def reads_rows(metric):
        return bool(outputs_read_as_rows(lambda: [[metric], None], {None: n_classes}))

    assert all(map(reads_rows, READING_ROWS))
    others = [one for one in OTHERS if n_classes == 3 or not isinstance(one, OwnSparseF1)]
    assert not any(map(reads_rows, others))


def test_metrics_of_one_hot_rows_are_what_they_are_with_one_hot_targets():
    metrics = [*READING_ROWS[::2], "accuracy"]
    results, probabilities = evaluated(metrics=metrics)
    expected, same = evaluated(metrics=metrics, loss="categorical_crossentropy", y=ROWS)
    np.testing.assert_allclose(probabilities, same, rtol=1e-5)
    assert results == pytest.approx(expected, rel=1e-5)
    assert results.keys() == expected.keys()
    assert len(results) == len(metrics)


def test_values_are_those_of_scikit_learn():
    metrics = [
        "categorical_accuracy",
        keras.metrics.F1Score(average="macro", name="f1"),
        keras.metrics.MeanSquaredError(name="mse"),
        own_accuracy,
    ]
    results, probabilities = evaluated(metrics=metrics, epochs=20)
    predicted = probabilities.argmax(axis=1)
    accuracy = sklearn.metrics.accuracy_score(CODES, predicted)
    assert results == pytest.approx(
        {
            "categorical_accuracy": accuracy,
            "f1": sklearn.metrics.f1_score(CODES, predicted, average="macro"),
            "mse": np.mean((ROWS - probabilities) ** 2),
            "own_accuracy": accuracy,
        },
        rel=1e-4,
    )


def test_history_and_validation_have_the_right_values_too():
    metrics = ["categorical_accuracy", "accuracy"]
    history = classifier(metrics=metrics, validation_split=0.3, epochs=2).fit(X, LABELS).history_
    assert history["categorical_accuracy"] == history["accuracy"]
    assert history["val_categorical_accuracy"] == history["val_accuracy"]


def test_other_metrics_leave_the_default_loss_sparse():
    metrics = ["accuracy", "sparse_categorical_accuracy", own_sparse_accuracy, own_confidence]
    net = classifier(metrics=metrics).fit(X, LABELS)
    assert net.model_.loss == "sparse_categorical_crossentropy"
    results = net.evaluate(X, LABELS)
    names = ("accuracy", "sparse_categorical_accuracy", "own_sparse_accuracy")
    assert [results[name] for name in names] == pytest.approx([net.score(X, LABELS)] * 3)


def test_a_subclass_that_reads_class_numbers_gets_them():
    net = classifier(metrics=[OwnSparseF1(average="macro", name="f1")], epochs=20)
    net.fit(X, LABELS)
    expected = sklearn.metrics.f1_score(LABELS, net.predict(X), average="macro")
    assert net.evaluate(X, LABELS)["f1"] == pytest.approx(expected, rel=1e-4)


def test_weighted_metrics_get_what_they_read():
    net = classifier(compile__weighted_metrics=["categorical_accuracy"], epochs=3).fit(X, LABELS)
    expected = net.score(X, LABELS)
    assert net.evaluate(X, LABELS)["categorical_accuracy"] == pytest.approx(expected)


def test_builders_that_compile_get_the_same_loss():
    def build(input_shape, compile_kwargs):
        model = softmax(input_shape)
        model.compile(**compile_kwargs)
        return model

    net = classifier(build, metrics=["mse"]).fit(X, LABELS)
    assert net.model_.loss == "categorical_crossentropy"


@pytest.mark.parametrize(
    "options, y, message",
    [
        (
            {"loss": "sparse_categorical_crossentropy", "metrics": ["categorical_accuracy"]},
            LABELS,
            "reads one-hot rows.*Set loss='categorical_crossentropy'",
        ),
        (
            {"loss": "sparse_categorical_crossentropy", "metrics": [own_accuracy]},
            LABELS,
            "own_accuracy, which reads one-hot rows",
        ),
        (
            {"loss": lambda true, p: ops.mean(p, -1), "metrics": [keras.metrics.AUC()]},
            LABELS,
            "AUC, which reads one-hot rows.*LabelBinarizer",
        ),
        (
            {"loss": "categorical_crossentropy", "metrics": ["sparse_categorical_accuracy"]},
            LABELS,
            "reads class numbers.*without 'sparse'",
        ),
        (
            {"metrics": ["mse", "sparse_top_k_categorical_accuracy"]},
            LABELS,
            "'sparse_top_k_categorical_accuracy', which reads class numbers",
        ),
        ({"metrics": ["sparse_categorical_accuracy"]}, ROWS, "which reads class numbers"),
        ({"metrics": [own_sparse_accuracy]}, ROWS, "own_sparse_accuracy, which reads class"),
        ({"metrics": [keras.metrics.Accuracy()]}, LABELS, "Set metrics=\\['accuracy'\\]"),
        ({"metrics": [keras.metrics.MeanIoU(3)]}, LABELS, "expected sparse_y_pred=False"),
    ],
)
def test_metrics_that_would_read_the_wrong_targets_are_refused(options, y, message):
    with pytest.raises(BuilderError, match=message):
        classifier(**options).fit(X, y)


def test_a_compiled_model_s_metrics_are_checked():
    def build(input_shape):
        model = softmax(input_shape)
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["mse"])
        return model

    with pytest.raises(BuilderError, match="'mse', which reads one-hot rows"):
        classifier(build).fit(X, LABELS)


@pytest.mark.parametrize(
    "metric, message",
    [
        ("categorical_accuracy", "compares the units of a row"),
        ("sparse_categorical_accuracy", "compares the units of a row"),
        (keras.metrics.TopKCategoricalAccuracy(k=1), "compares the units of a row"),
        (keras.metrics.F1Score(), "Set threshold=0.5"),
    ],
)
def test_metrics_that_compare_units_are_refused_for_one_unit(metric, message):
    with pytest.raises(BuilderError, match=message):
        classifier("mlp", metrics=[metric]).fit(X, BINARY)


def test_metrics_of_one_unit_have_the_right_values():
    metrics = [keras.metrics.F1Score(threshold=0.5, average="micro", name="f1"), "Precision"]
    net = classifier("mlp", metrics=metrics, epochs=10).fit(X, BINARY)
    results, predicted = net.evaluate(X, BINARY), net.predict(X)
    assert results["f1"] == pytest.approx(sklearn.metrics.f1_score(BINARY, predicted), rel=1e-4)
    expected = sklearn.metrics.precision_score(BINARY, predicted)
    assert results["Precision"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "metrics",
    [
        {"kind": ["categorical_accuracy"], "up": ["accuracy"]},
        [["categorical_accuracy"], ["accuracy"]],
    ],
    ids=["dict", "list"],
)
def test_metrics_of_one_of_several_outputs_get_what_they_read(metrics):
    def two(input_shape, n_outputs, output_activation):
        inputs = keras.Input(input_shape)
        outputs = {
            name: layers.Dense(units, activation=output_activation[name], name=name)(inputs)
            for name, units in n_outputs.items()
        }
        return keras.Model(inputs, outputs)

    y = {"kind": LABELS, "up": BINARY}
    net = classifier(two, metrics=metrics, epochs=5).fit(X, y)
    assert net.model_.loss == {"kind": "categorical_crossentropy", "up": "binary_crossentropy"}
    results, predicted = net.evaluate(X, y), net.predict(X)
    assert results["kind_categorical_accuracy"] == pytest.approx(
        np.mean(predicted["kind"] == LABELS)
    )
    assert results["up_accuracy"] == pytest.approx(np.mean(predicted["up"] == BINARY))
    with pytest.raises(BuilderError, match="'categorical_accuracy', which compares the units"):
        classifier(two, metrics={"up": ["categorical_accuracy"]}).fit(X, y)


def test_metrics_of_a_class_at_each_step_get_what_they_read():
    series = rng.normal(size=(30, 6, 3)).astype("float32")
    marks = (series[..., :1] > 0).astype(int)
    tags = (series[..., 0] > 0).astype(int) + (series[..., 1] > 0)

    def tagger(units, activation):
        return lambda: keras.Sequential([keras.Input((6, 3)), layers.Dense(units, activation)])

    net = classifier(tagger(3, "softmax"), metrics=["categorical_accuracy"]).fit(series, tags)
    results = net.evaluate(series, tags)
    assert results["categorical_accuracy"] == pytest.approx(net.score(series, tags))
    with pytest.raises(BuilderError, match="compares the units of a row, and the net has one"):
        classifier(tagger(1, "sigmoid"), metrics=["categorical_accuracy"]).fit(series, marks)
