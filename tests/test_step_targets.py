"""A class for each step of a series or pixel of an image: what is learnt, predicted and scored."""

import keras
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score
from versions import needs

from skkeras import KerasClassifier, data

layers = keras.layers
RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(60, 6, 3)).astype("float32")
CODES = np.digitize(SERIES[..., 0], [-0.5, 0.5])
TAGS = np.array(["B", "I", "O"])[CODES]
IMAGES = RNG.normal(size=(24, 5, 4, 1)).astype("float32")
ABOVE = IMAGES[..., 0] > 0


def tagger(units, activation="softmax", n_steps=6):
    return lambda: keras.Sequential(
        [keras.Input((n_steps, 3)), layers.Dense(units, activation=activation)]
    )


def segmenter(n_outputs, output_activation):
    return keras.Sequential(
        [keras.Input((5, 4, 1)), layers.Conv2D(n_outputs, 1, activation=output_activation)]
    )


def classifier(model, **parameters):
    return KerasClassifier(
        model, **{"epochs": 40, "optimizer__learning_rate": 0.05, "random_state": 0, **parameters}
    )


@pytest.fixture(scope="module")
def tags_net():
    return classifier(tagger(3)).fit(SERIES, TAGS)


def test_labels_of_steps_are_predicted_in_their_shape(tags_net):
    predicted, probabilities = tags_net.predict(SERIES), tags_net.predict_proba(SERIES)
    assert predicted.dtype == TAGS.dtype
    assert predicted.shape == (60, 6)
    assert probabilities.shape == (60, 6, 3)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    assert np.array_equal(tags_net.classes_[probabilities.argmax(axis=-1)], predicted)
    assert tags_net.score(SERIES, TAGS) == (predicted == TAGS).mean() > 0.9
    np.testing.assert_allclose(tags_net.predict_log_proba(SERIES), np.log(probabilities))


def test_training_on_steps_is_keras_own(tags_net):
    model = keras.models.clone_model(tags_net.model_)
    start = classifier(tagger(3), epochs=1).initialize(SERIES, TAGS).model_.get_weights()
    model.set_weights(start)
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(SERIES, CODES, epochs=2, shuffle=False, verbose=0).history["loss"]
    net = classifier(tagger(3), epochs=2, shuffle=False, optimizer__learning_rate=0.001)
    assert net.fit(SERIES, TAGS).history_["loss"] == pytest.approx(history, rel=1e-6)


@pytest.mark.parametrize(
    "units, activation, y, probabilities_shape",
    [
        (3, "softmax", np.eye(3, dtype="int8")[CODES], (60, 6, 3)),
        (1, "sigmoid", CODES == 1, (60, 6, 2)),
        (1, "sigmoid", (CODES == 1).astype(int)[..., None], (60, 6, 2)),
        (2, "softmax", np.where(CODES == 1, "yes", "no"), (60, 6, 2)),
        (3, "sigmoid", (SERIES > 0).astype(float), (60, 6, 3)),
        (1, None, (CODES == 1).astype("float32"), (60, 6, 2)),
    ],
    ids=["one-hot", "bools", "0/1 in a column", "two units", "several labels", "logits"],
)
@pytest.mark.parametrize("n_steps", [6, None])
def test_every_kind_of_class_has_steps(units, activation, y, probabilities_shape, n_steps):
    net = classifier(tagger(units, activation, n_steps), epochs=15).fit(SERIES, y)
    predicted = net.predict(SERIES)
    assert predicted.shape == y.shape
    assert predicted.dtype == y.dtype
    assert net.predict_proba(SERIES).shape == probabilities_shape
    flat = [part.reshape(360, -1) for part in (y, predicted)]
    assert net.score(SERIES, y) == pytest.approx((flat[0] == flat[1]).all(axis=1).mean())
    assert net.evaluate(SERIES, y)["loss"] == pytest.approx(
        net.model_.evaluate(
            SERIES, net._target.encode(y, net._facts.output_shape, net._facts.loss), verbose=0
        ),
        rel=1e-4,
    )


@pytest.mark.parametrize(
    "y, kind",
    [
        (ABOVE, "binary"),
        (ABOVE[..., None].astype("uint8"), "binary"),
        (np.digitize(IMAGES[..., 0], [-0.5, 0.5]), "multiclass"),
        (np.eye(2)[ABOVE.astype(int)], "onehot"),
    ],
    ids=["bools", "channel", "numbers", "one-hot"],
)
def test_pixels_are_told_apart_and_builders_get_their_facts(y, kind):
    net = classifier(segmenter).fit(IMAGES, y)
    assert net._target.kind == kind
    assert net.predict(IMAGES).shape == y.shape
    assert net.predict(IMAGES).dtype == y.dtype
    assert net.score(IMAGES, y) > 0.8


def test_masks_in_files_are_learnt_as_in_memory():
    y = np.digitize(IMAGES[..., 0], [-0.5, 0.5])
    lazy = classifier(segmenter, shuffle=False, epochs=2).fit(data.lazy(IMAGES), data.lazy(y))
    plain = classifier(segmenter, shuffle=False, epochs=2).fit(IMAGES, y)
    assert np.array_equal(lazy.predict_proba(IMAGES), plain.predict_proba(IMAGES))
    assert lazy.score(data.lazy(IMAGES), data.lazy(y)) == plain.score(IMAGES, y)


def test_weights_of_steps_leave_steps_out():
    weight = np.zeros((60, 6))
    weight[:, :2] = 1
    wrong = np.where(weight > 0, CODES, 2 - CODES)
    net = classifier(tagger(3)).fit(SERIES, wrong, sample_weight=weight)
    assert net.score(SERIES, CODES) > 0.9
    assert net.score(SERIES, wrong, sample_weight=weight) == (
        (net.predict(SERIES) == wrong)[:, :2].mean()
    )


def test_weights_of_rows_count_for_all_their_steps():
    rows = np.arange(60) % 3 + 1.0
    each = [
        classifier(tagger(3), epochs=2)
        .fit(SERIES, CODES, sample_weight=weight)
        .predict_proba(SERIES)
        for weight in (rows, np.repeat(rows[:, None], 6, axis=1))
    ]
    np.testing.assert_allclose(*each, rtol=1e-5)


@pytest.mark.parametrize("class_weight", ["balanced", {"B": 2.0, "I": 1.0, "O": 3.0}])
def test_class_weights_are_of_steps(class_weight):
    counts = {label: (label == TAGS).sum() for label in "BIO"}
    by_label = (
        class_weight
        if isinstance(class_weight, dict)
        else {label: 360 / 3 / count for label, count in counts.items()}
    )
    weight = np.vectorize(by_label.get)(TAGS)
    weighed = classifier(tagger(3), epochs=2, class_weight=class_weight).fit(SERIES, TAGS)
    # sample_weight is relative: mean 1.
    scale = 1 if class_weight == "balanced" else weight.mean()
    plain = classifier(tagger(3), epochs=2).fit(SERIES, TAGS, sample_weight=weight)
    losses = np.array([weighed.history_["loss"][0], plain.history_["loss"][0] * scale])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_searches_and_scores_of_steps():
    net = classifier(tagger(3), epochs=20)
    assert cross_val_score(net, SERIES, TAGS, cv=2).min() > 0.6
    search = GridSearchCV(net, {"epochs": [1, 20]}, cv=2).fit(SERIES, np.eye(3)[CODES])
    assert search.best_params_ == {"epochs": 20}
    assert search.best_score_ > 0.6


def test_labels_of_steps_come_in_batches():
    def batches():
        yield SERIES[CODES[:, 0] == 0], CODES[CODES[:, 0] == 0]
        yield SERIES[CODES[:, 0] > 0], CODES[CODES[:, 0] > 0]

    net = classifier(tagger(3), class_weight="balanced").fit(batches)
    assert net.classes_.tolist() == [0, 1, 2]
    assert net.score(batches) == pytest.approx(net.score(SERIES, CODES))
    assert net.score(SERIES, CODES) > 0.8


def test_columns_of_indicators_stay_labels_of_a_row():
    y = (SERIES[:, 0] > 0).astype(int)
    net = classifier(None, epochs=1).fit(SERIES[:, 0], y)
    assert net.predict_proba(SERIES[:, 0]).shape == (60, 3)


def test_own_loss_of_whole_images_takes_weights_of_rows():
    def dice(true, predicted):
        axes = (1, 2, 3)
        both = keras.ops.sum(true * predicted, axes)
        return 1 - 2 * both / (keras.ops.sum(true + predicted, axes) + 1e-3)

    weight = np.arange(24) % 2 + 1.0
    net = classifier(segmenter, loss=dice, batch_size=24, epochs=1)
    first = net.fit(IMAGES, ABOVE[..., None], sample_weight=weight).history_["loss"][0]
    start = classifier(segmenter, loss=dice).initialize(IMAGES, ABOVE[..., None])
    outputs = start.model_.predict(IMAGES, verbose=0)
    values = keras.ops.convert_to_numpy(dice(ABOVE[..., None].astype("float32"), outputs))
    assert first == pytest.approx((values * weight).sum() / weight.sum(), rel=1e-5)


@pytest.mark.parametrize(
    "units, y, message",
    [
        (2, TAGS, r"\(None, 6, 2\); y has 6 columns of classes, which take \(None, 6, 3\)"),
        (2, CODES[..., None], r"y has rows of shape \(6, 1\), with 3 classes at each position"),
        (3, SERIES, "Unknown label type: continuous.*KerasRegressor"),
        (3, TAGS[:, :4], r"4 columns of classes, which take \(None, 4, 3\)"),
    ],
)
def test_nets_that_do_not_fit_the_steps_are_an_error(units, y, message):
    with pytest.raises(ValueError, match=message):
        classifier(tagger(units)).fit(SERIES, y)


def test_weights_that_fit_neither_rows_nor_steps_are_an_error(tags_net):
    with pytest.raises(ValueError, match=r"shape \(60, 3\); expected.*at each position.*\(60, 6\)"):
        classifier(tagger(3)).fit(SERIES, TAGS, sample_weight=np.ones((60, 3)))
    with pytest.raises(ValueError, match=r"\(60, 5\); expected \(n_samples, 6\)"):
        tags_net.evaluate(SERIES, TAGS[:, :5])
    with pytest.raises(ValueError, match="not seen in training"):
        tags_net.evaluate(SERIES, np.full((60, 6), "X"))


def test_first_batch_may_lack_labels_that_are_declared():
    net = classifier(tagger(3)).partial_fit(SERIES, (CODES > 0).astype(int), classes=[0, 1, 2])
    assert net.partial_fit(SERIES, CODES).predict_proba(SERIES).shape == (60, 6, 3)


@needs("keras", "3.9")  # whose TimeDistributed is the first that takes a mask when it is compiled
def test_tokens_with_a_mask_are_tagged():
    tokens = RNG.integers(0, 20, size=(80, 7))

    def build():
        return keras.Sequential(
            [
                keras.Input((7,)),
                layers.Embedding(20, 8, mask_zero=True),
                layers.TimeDistributed(layers.Dense(3, activation="softmax")),
            ]
        )

    net = classifier(build, early_stopping=True)
    known = (tokens > 0).astype(float)
    net.fit(tokens, tokens % 3, sample_weight=known)
    assert net.score(tokens, tokens % 3, sample_weight=known) > 0.9
    assert {"val_loss"} < {*net.history_}


@pytest.mark.parametrize("y", [CODES > 0, np.eye(6)[CODES[:, 0]]])
def test_binary_columns_for_a_builder_of_steps_are_told_to_take_an_axis(y):
    def build(n_outputs, output_activation):
        return tagger(n_outputs, output_activation)()

    with pytest.raises(ValueError, match=r"pass y\[\.\.\., None\]"):
        classifier(build).fit(SERIES, y)
    assert classifier(build, epochs=1).fit(SERIES, y[..., None]).predict(SERIES).shape == (60, 6, 1)
