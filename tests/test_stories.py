"""What people come for, from end to end, with the figures they may expect."""

import _thread
import json
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.model_selection import KFold, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skkeras import KerasClassifier, KerasRegressor

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = [pytest.mark.no_cover, pytest.mark.slow]

layers = keras.layers

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


# --- A line through 100 noisy points, X and y scaled -----------------------------------------


def noisy_line(n_rows, noise, seed):
    generator = np.random.default_rng(seed)
    X = generator.uniform(0, 10, (n_rows, 1))
    return X, 3 * X[:, 0] + 50 + generator.normal(0, noise, n_rows)


@pytest.mark.parametrize(
    "net",
    [
        KerasRegressor(random_state=0),
        KerasRegressor("linear", optimizer__learning_rate=0.02, random_state=0),
    ],
    ids=["default", "linear"],
)
def test_line_is_found_to_the_noise_floor_when_x_and_y_are_scaled(net):
    noise = 2.0
    X, y = noisy_line(100, noise, seed=0)
    X_test, y_test = noisy_line(1000, noise, seed=1)
    scaled = TransformedTargetRegressor(
        make_pipeline(MinMaxScaler(), net), transformer=MinMaxScaler()
    )
    predicted = scaled.fit(X, y).predict(X_test)
    assert X.shape == (100, 1)
    assert predicted.shape == y_test.shape
    assert np.mean((predicted - y_test) ** 2) < 1.5 * noise**2


# --- Images ----------------------------------------------------------------------------------


def textured_images(n_images, seed):
    """Each class is a texture of its own, anywhere in a noisy 32 x 32 x 3 image."""
    textures = np.random.default_rng(0).uniform(size=(10, 6, 6, 3))
    generator = np.random.default_rng(seed)
    images = generator.uniform(0.3, 0.7, (n_images, 32, 32, 3)).astype("float32")
    labels = generator.integers(10, size=n_images)
    for image, label in zip(images, labels, strict=True):
        row, column = generator.integers(26, size=2)
        image[row : row + 6, column : column + 6] = textures[label]
    return images, np.eye(10, dtype=int)[labels]


def build_conv2d(filters=24):
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(filters, 5, strides=1, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def test_colour_images_with_one_hot_labels():
    X, Y = textured_images(600, seed=1)
    X_test, Y_test = textured_images(200, seed=2)
    net = KerasClassifier(
        build_conv2d,
        loss="categorical_crossentropy",
        optimizer__learning_rate=0.01,
        metrics=["accuracy"],
        epochs=8,
        random_state=0,
    ).fit(X, Y)
    probabilities = net.predict_proba(X_test)
    assert net.model_.loss == "categorical_crossentropy"
    assert probabilities.shape == (200, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    predicted = net.predict(X_test)
    assert predicted.dtype == Y.dtype
    assert np.array_equal(predicted, np.eye(10)[probabilities.argmax(axis=1)])
    assert net.score(X_test, Y_test) > 0.95
    assert net.evaluate(X_test, Y_test)["accuracy"] == pytest.approx(net.score(X_test, Y_test))


def test_digits_as_images_are_told_apart():
    digits = load_digits()
    images = digits.images[..., None] / 16
    X, X_test, y, y_test = train_test_split(
        images, digits.target, stratify=digits.target, random_state=0
    )
    net = KerasClassifier("cnn", epochs=20, random_state=0).fit(X, y)
    assert net.model_.input_shape == (None, 8, 8, 1)
    assert net.score(X_test, y_test) > 0.97


# --- The 8-12-8-3 net ------------------------------------------------------------------------


def build_8_12_8_3():
    net = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(12, activation="relu"),
            layers.Dense(8, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    net.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return net


def build_8_12_8_3_without_input():
    return keras.Sequential(
        [
            layers.Dense(12, activation="relu"),
            layers.Dense(8, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize(
    "model, compiled",
    [(build_8_12_8_3, True), (build_8_12_8_3(), True), (build_8_12_8_3_without_input, False)],
    ids=["compiled builder", "template", "builder without Input"],
)
def test_8_12_8_3_net_with_one_hot_labels_is_evaluated_on_held_out_samples(model, compiled):
    X, y = make_classification(
        150, 8, n_informative=6, n_classes=3, class_sep=2.0, n_clusters_per_class=1, random_state=0
    )
    Y = np.eye(3)[y]
    settings = {} if compiled else {"loss": "categorical_crossentropy", "metrics": ["accuracy"]}
    net = KerasClassifier(model, epochs=150, batch_size=10, random_state=0, **settings)
    net.fit(X[:100], Y[:100])
    assert Y[:100].shape == (100, 3)
    assert {name: len(values) for name, values in net.history_.items()} == {
        "loss": 150,
        "accuracy": 150,
    }
    results = net.evaluate(X[100:], Y[100:])
    assert isinstance(results, dict)
    assert results.keys() == {"loss", "accuracy"}
    assert results["accuracy"] > 0.9
    by_keras = net.model_.evaluate(X[100:], Y[100:], verbose=0, return_dict=True)
    assert results == pytest.approx(by_keras, rel=1e-5)


# --- Early stopping, a checkpoint, an interruption, and on from there ------------------------


class InterruptAt(keras.callbacks.Callback):
    """Does what Ctrl-C does."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def build_small(input_shape, n_outputs, output_activation):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(16, activation="relu"),
            layers.Dense(n_outputs, activation=output_activation),
        ]
    )


@pytest.fixture(scope="module")
def parts():
    """70 % to train, 20 % to validate, 10 % to test."""
    X, y = load_breast_cancer(return_X_y=True)
    X, X_rest, y, y_rest = train_test_split(X, y, train_size=0.7, stratify=y, random_state=0)
    X_val, X_test, y_val, y_test = train_test_split(
        X_rest, y_rest, train_size=2 / 3, stratify=y_rest, random_state=0
    )
    scale = StandardScaler().fit(X).transform
    assert [len(y), len(y_val), len(y_test)] == [398, 114, 57]
    return {
        "train": (scale(X), y),
        "validation": {"X_val": scale(X_val), "y_val": y_val},
        "test": (scale(X_test), y_test),
    }


@pytest.fixture
def checkpointed(tmp_path):
    """The estimator, its callbacks, and the file of their checkpoint."""
    file = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(file, save_best_only=True),
    ]
    # Without shuffling the batches after a resumption are those of an uninterrupted fit.
    net = KerasClassifier(
        build_small,
        optimizer__learning_rate=0.005,
        metrics=["accuracy"],
        epochs=100,
        callbacks=callbacks,
        shuffle=False,
        random_state=0,
    )
    return net, callbacks, file


def interrupt(net, callbacks, parts, epoch):
    interrupted = clone(net).set_params(callbacks=[*callbacks, InterruptAt(epoch)])
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(*parts["train"], **parts["validation"])
    return interrupted


def test_early_stopping_restores_the_best_epoch_which_is_the_one_in_the_checkpoint(
    parts, checkpointed
):
    net, _, file = checkpointed
    net.fit(*parts["train"], **parts["validation"])
    losses = net.history_["val_loss"]
    assert 3 < net.n_iter_ < net.epochs
    assert int(np.argmin(losses)) == net.n_iter_ - 1 - 3
    assert net.evaluate(*parts["validation"].values())["loss"] == pytest.approx(min(losses))
    saved = keras.saving.load_model(file)
    for weight, kept in zip(net.model_.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert net.score(*parts["test"]) > 0.9


def test_interrupted_fit_goes_on_from_its_checkpoint_as_if_nothing_had_been(parts, checkpointed):
    net, callbacks, file = checkpointed
    straight = clone(net).fit(*parts["train"], **parts["validation"])
    interrupt(net, callbacks, parts, epoch=9)
    resumed = clone(net).set_params(warm_start=True).initialize(*parts["train"])
    resumed.model_.load_weights(file)
    assert resumed.evaluate(*parts["validation"].values())["loss"] == pytest.approx(
        straight.history_["val_loss"][9]
    )
    resumed.fit(*parts["train"], **parts["validation"])
    assert resumed.n_iter_ == straight.n_iter_ - 10
    # The optimizer's state was in the checkpoint, too.
    for name, values in straight.history_.items():
        assert resumed.history_[name] == pytest.approx(values[10:], rel=1e-6), name
    assert resumed.score(*parts["test"]) == straight.score(*parts["test"]) > 0.9


def test_checkpoint_as_a_template_is_where_a_fit_starts(parts, checkpointed):
    net, callbacks, file = checkpointed
    interrupt(net, callbacks, parts, epoch=9)
    saved = keras.saving.load_model(file)
    weights = saved.get_weights()
    resumed = clone(net).set_params(model=saved)
    start = resumed.initialize(*parts["train"]).evaluate(*parts["validation"].values())
    resumed.fit(*parts["train"], **parts["validation"])
    assert min(resumed.history_["val_loss"]) < start["loss"]
    assert resumed.score(*parts["test"]) > 0.9
    for before, after in zip(weights, saved.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_interrupted_estimator_goes_on_by_warm_start(parts, checkpointed):
    net, callbacks, _ = checkpointed
    straight = clone(net).fit(*parts["train"], **parts["validation"])
    resumed = interrupt(net, callbacks, parts, epoch=9)
    resumed.set_params(callbacks=callbacks, warm_start=True)
    resumed.fit(*parts["train"], **parts["validation"])
    assert resumed.history_["val_loss"][-5:] == pytest.approx(straight.history_["val_loss"][-5:])


def test_backup_and_restore_begins_with_the_epoch_that_was_interrupted(parts, tmp_path):
    backup = [keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    net = KerasClassifier(build_small, epochs=6, callbacks=backup, shuffle=False, random_state=0)
    straight = clone(net).fit(*parts["train"], **parts["validation"])
    interrupt(net, backup, parts, epoch=3)
    net.fit(*parts["train"], **parts["validation"])
    assert net.n_iter_ == 2
    assert net.history_["val_loss"] == pytest.approx(straight.history_["val_loss"][-2:], rel=1e-6)


def test_interruption_keeps_what_was_trained(parts):
    """Ctrl-C without any callback, in the middle of a long fit."""
    net = KerasClassifier(build_small, random_state=0, epochs=1).fit(*parts["train"])
    net.set_params(epochs=10**7)
    timer = threading.Timer(1, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        net.fit(*parts["train"])
    assert net.model_.optimizer.iterations > 13
    assert net.score(*parts["test"]) > 0.9
    n_epochs = len(net.history_["loss"])
    assert net.n_iter_ == n_epochs > 1
    net.partial_fit(*parts["train"])
    assert net.n_iter_ == n_epochs + 1


# --- A training loop of one's own ------------------------------------------------------------


class Clipped(keras.Model):
    """Clips the gradients in its own loop, and logs how long they were."""

    def train_step(self, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            loss = self.compute_loss(x, y, predicted, weight)
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients, length = tf.clip_by_global_norm(gradients, 0.5)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss, "gradient_norm": length}


def build_clipped(input_shape, n_outputs, output_activation):
    inputs = keras.Input(input_shape)
    hidden = layers.Dense(16, activation="relu")(inputs)
    return Clipped(inputs, layers.Dense(n_outputs, activation=output_activation)(hidden))


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_own_training_loop_reports_both_losses_for_every_epoch(parts, engine):
    net = KerasClassifier(build_clipped, epochs=12, engine=engine, random_state=0)
    net.fit(*parts["train"], **parts["validation"])
    assert isinstance(net.model_, Clipped)
    assert {name: len(values) for name, values in net.history_.items()} == {
        "loss": 12,
        "gradient_norm": 12,
        "val_loss": 12,
    }
    assert np.min(net.history_["gradient_norm"]) > 0
    assert net.history_["val_loss"][-1] < net.history_["val_loss"][0] / 2
    assert net.score(*parts["test"]) > 0.9


# --- Text ------------------------------------------------------------------------------------


def reviews():
    """Short texts; every one has a word that no other has."""
    generator = np.random.default_rng(0)
    words = {
        "bad": ["grim", "dull", "cold", "poor"],
        "good": ["lovely", "bright", "warm", "fine"],
    }
    labels = generator.choice(["bad", "good"], 90)
    texts = [
        " ".join([f"seen{i}", "The", *generator.choice(words[label], 2), "film,", "it", "was!"])
        for i, label in enumerate(labels)
    ]
    return np.array(texts), labels


def build_text(X, n_outputs, output_activation, size=8):
    vectorize = layers.TextVectorization(output_sequence_length=8)
    vectorize.adapt(X)
    return keras.Sequential(
        [
            keras.Input((), dtype="string"),
            vectorize,
            layers.Embedding(vectorize.vocabulary_size(), size),
            layers.GlobalAveragePooling1D(),
            layers.Dense(n_outputs, activation=output_activation),
        ]
    )


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_vocabulary_of_a_fold_holds_no_word_of_its_test_texts_alone(engine):
    X, y = reviews()
    net = KerasClassifier(
        build_text, optimizer__learning_rate=0.05, epochs=15, engine=engine, random_state=0
    )
    folds = cross_validate(net, X, y, cv=3, return_estimator=True, return_indices=True)
    assert folds["test_score"].min() > 0.95
    for fitted, train, test in zip(
        folds["estimator"], folds["indices"]["train"], folds["indices"]["test"], strict=True
    ):
        vocabulary = set(fitted.model_.layers[0].get_vocabulary()) - {"", "[UNK]"}
        assert {f"seen{i}" for i in train} <= vocabulary
        assert vocabulary.isdisjoint({f"seen{i}" for i in test})
        # What predicts uses that vocabulary, and not the one of another fold's net.
        np.testing.assert_allclose(
            fitted.predict_proba(X[test])[:, 1:],
            fitted.model_(tf.constant(X[test])),
            atol=1e-6,
        )


# --- Normalising inside the net and outside --------------------------------------------------


def build_normalized(X, input_shape, n_outputs, output_activation, inside=None):
    net = keras.Sequential([keras.Input(input_shape)])
    if inside == "adapted":
        normalize = layers.Normalization()
        normalize.adapt(X)
        net.add(normalize)
    if inside == "layer":
        net.add(layers.LayerNormalization())
    net.add(layers.Dense(32, activation="relu"))
    net.add(layers.Dense(n_outputs, activation=output_activation))
    return net


def normalized_folds(inside, *outside):
    X, y = load_wine(return_X_y=True)
    net = KerasClassifier(build_normalized, model__inside=inside, epochs=30, random_state=0)
    pipe = make_pipeline(*outside, net)
    return cross_validate(pipe, X, y, cv=3, return_estimator=True, return_indices=True)


def test_normalization_is_adapted_to_the_training_fold_alone():
    X, _ = load_wine(return_X_y=True)
    folds = normalized_folds("adapted")
    for pipe, train in zip(folds["estimator"], folds["indices"]["train"], strict=True):
        adapted = pipe[-1].model_.layers[0]
        np.testing.assert_allclose(np.ravel(adapted.mean), X[train].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(np.ravel(adapted.variance), X[train].var(axis=0), rtol=1e-4)
        # What predicts uses these, and not those of another fold's net.
        predicted, by_net = pipe.predict_proba(X), pipe[-1].model_(X.astype("float32"))
        np.testing.assert_allclose(predicted, by_net, atol=1e-5)


def test_normalization_is_not_adapted_to_held_out_rows():
    X, y = load_wine(return_X_y=True)
    split = KFold(3)
    train, _ = next(split.split(X))
    net = KerasClassifier(
        build_normalized, model__inside="adapted", validation_split=split, epochs=1, random_state=0
    )
    adapted = net.fit(X, y).model_.layers[0]
    np.testing.assert_allclose(np.ravel(adapted.mean), X[train].mean(axis=0), rtol=1e-5)


def test_normalization_inside_the_net_is_as_good_as_a_scaler_outside():
    plain = normalized_folds(None)["test_score"].mean()
    standard = normalized_folds(None, StandardScaler())["test_score"].mean()
    minmax = normalized_folds(None, MinMaxScaler())["test_score"].mean()
    adapted = normalized_folds("adapted")["test_score"].mean()
    layer = normalized_folds("layer", StandardScaler())["test_score"].mean()
    assert plain < 0.8
    assert min(standard, adapted) > 0.93
    assert min(minmax, layer) > 0.85
    # The same arithmetic in another place.
    assert adapted == pytest.approx(standard, abs=0.01)


# --- The notebooks that tell these stories ---------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 3
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
