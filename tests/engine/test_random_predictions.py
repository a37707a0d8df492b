"""Nets that draw random numbers when they predict go on from call to call, as Keras's do."""

import copy
import pickle
import threading

import keras
import numpy as np
import pytest
from keras import layers

from skkeras import KerasClassifier, KerasForecaster, KerasRegressor
from skkeras._engine.compiled_functions import CompiledFunctions

rng = np.random.default_rng(0)
X = rng.normal(size=(70, 4)).astype("float32")
y = X[:, 0]
LABELS = np.array(["no", "yes"])[(y > 0).astype(int)]
SAME = np.repeat(X[:1], 256, axis=0)


class AlwaysDropout(layers.Dropout):
    def call(self, x, training=None):
        return super().call(x, training=True)


class Sampling(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)


class UnseededSampling(layers.Layer):
    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x))


class Counting(layers.Layer):
    """Adds the number of batches it has seen."""

    def build(self, shape):
        self.n_batches = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.n_batches.assign_add(1.0)
        return x + self.n_batches


def with_layer(layer, *arguments):
    def build(input_shape, n_outputs, output_activation="linear"):
        last = layers.Dense(n_outputs, activation=output_activation)
        middle = [layers.Dense(16, activation="tanh"), layer(*arguments)]
        return keras.Sequential([keras.Input(input_shape), *middle, last])

    return build


def dropping(input_shape, n_outputs, output_activation="linear"):
    return with_layer(AlwaysDropout, 0.5)(input_shape, n_outputs, output_activation)


def called_in_training_mode(input_shape, n_outputs):
    inputs = keras.Input(input_shape)
    hidden = layers.Dropout(0.5)(layers.Dense(16)(inputs), training=True)
    return keras.Model(inputs, layers.Dense(n_outputs)(hidden))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dropout, self.last = AlwaysDropout(0.5), layers.Dense(1)

    def call(self, x):
        return self.last(self.dropout(x))


def regressor(build=dropping, **options):
    return KerasRegressor(build, **{"epochs": 2, "random_state": 0, **options})


@pytest.fixture(scope="module")
def pair():
    """The same net twice: one to predict with, and a model to ask Keras."""
    return regressor().fit(X, y), regressor().fit(X, y).model_


def by_keras(model, rows=X, **options):
    return model.predict(rows, verbose=0, **options)[:, 0]


@pytest.mark.parametrize(
    "build, options",
    [
        (dropping, {}),
        (dropping, {"callbacks": keras.callbacks.Callback()}),
        (with_layer(Sampling), {}),
        (with_layer(Counting), {}),
        (lambda: Subclassed(), {}),
    ],
    ids=["dropout", "callback", "sampling", "counting", "subclassed"],
)
def test_each_call_draws_what_keras_would_draw(build, options):
    net, model = (regressor(build, **options).fit(X, y) for _ in range(2))
    model = model.model_
    for rows in (X, X[:1], X):
        np.testing.assert_allclose(net.predict(rows), by_keras(model, rows), rtol=1e-5, atol=1e-6)
    assert np.abs(net.predict(X) - net.predict(X)).max() > 0
    by_keras(model), by_keras(model)
    by_keras(net.model_), by_keras(model)  # the user's own calls move the estimator on
    np.testing.assert_allclose(net.predict(X), by_keras(model), rtol=1e-5, atol=1e-6)


def test_a_layer_called_in_training_mode_predicts_as_keras_has_it():
    net, model = (regressor(called_in_training_mode).fit(X, y) for _ in range(2))
    model = model.model_  # whose `predict` calls the layer for inference all the same
    np.testing.assert_allclose(net.predict(X), by_keras(model), rtol=1e-5, atol=1e-6)


def test_no_block_of_rows_gets_the_numbers_of_another(pair):
    net, model = pair
    assert len(np.unique(net.predict(SAME))) > 200
    blocks = net.predict(SAME).reshape(8, 32)
    assert len(np.unique(blocks, axis=0)) == 8
    assert len(np.unique(by_keras(model, SAME))) > 200


def test_batch_size_of_predict_is_that_of_the_draws():
    net, model = (regressor(predict__batch_size=50).fit(X, y) for _ in range(2))
    expected = by_keras(model.model_, batch_size=50)
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"callbacks": keras.callbacks.Callback()}])
def test_evaluation_and_validation_draw_on_as_in_keras(options):
    options = {"validation_split": 0.4, "epochs": 3, **options}
    net, other = (regressor(engine=e, **options).fit(X, y) for e in ("compiled", "keras"))
    np.testing.assert_allclose(net.history_["val_loss"], other.history_["val_loss"], rtol=1e-5)
    np.testing.assert_allclose(net.history_["loss"], other.history_["loss"], rtol=1e-5)
    losses, expected = ([one.evaluate(X, y)["loss"] for _ in range(3)] for one in (net, other))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert len(set(losses)) == 3
    np.testing.assert_allclose(net.predict(X), by_keras(other.model_), rtol=1e-4, atol=1e-5)


def test_training_goes_on_from_the_draws_of_predictions():
    net, other = regressor().fit(X, y), regressor(engine="keras").fit(X, y)
    net.predict(X), other.model_.predict(X, verbose=0)
    net.partial_fit(X, y), other.partial_fit(X, y)
    np.testing.assert_allclose(net.predict(X), by_keras(other.model_), rtol=1e-4, atol=1e-5)


def test_random_state_decides_the_first_draw():
    first = [regressor(random_state=seed).fit(X, y).predict(X) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(first[0], first[1])
    assert np.abs(first[0] - first[2]).max() > 0
    untrained = [regressor().initialize(X, y) for _ in range(2)]
    draws = [(net.predict(X), net.predict(X)) for net in untrained]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0][0] - draws[0][1]).max() > 0


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["deepcopy", "pickle"],
)
@pytest.mark.parametrize("is_seen", [False, True])
def test_a_pickle_goes_on_where_its_net_is(copied, is_seen):
    net = regressor().fit(X, y)
    if is_seen:
        net.model_.summary(print_fn=lambda text: None)
    net.predict(X)
    twin = copied(net)
    for _ in range(2):
        np.testing.assert_array_equal(twin.predict(X), net.predict(X))


def test_probabilities_of_a_classifier_are_drawn_anew():
    net = KerasClassifier(dropping, epochs=2, random_state=0).fit(X, LABELS)
    draws = np.stack([net.predict_proba(X[:1])[0] for _ in range(20)])
    assert (draws.std(axis=0) > 0).all()
    np.testing.assert_allclose(draws.sum(axis=1), 1, rtol=1e-6)
    assert len({net.score(X, LABELS) for _ in range(10)}) > 1


def test_forecasts_are_drawn_anew():
    def build(input_shape, n_outputs):
        last = [layers.Flatten(), AlwaysDropout(0.5), layers.Dense(n_outputs)]
        return keras.Sequential([keras.Input(input_shape), *last])

    net = KerasForecaster(build, look_back=4, epochs=1, random_state=0).fit(X[:, :1])
    assert not np.array_equal(net.predict(X[:, :1]), net.predict(X[:, :1]))


def test_a_layer_without_a_seed_of_its_own_does_not_repeat_itself():
    net = regressor(with_layer(UnseededSampling)).fit(X, y)
    draws = [net.predict(SAME), net.predict(SAME)]
    assert len(np.unique(draws)) > 500


def test_a_net_that_begins_to_draw_is_noticed():
    net = regressor(with_layer(AlwaysDropout, 1e-9)).fit(X, y)
    net.predict(X)
    net.model_.layers[1].rate = 0.5
    assert np.abs(net.predict(X) - net.predict(X)).max() > 0


def test_threads_draw_different_numbers():
    net, drawn = regressor().fit(X, y), []

    def draw():
        drawn.extend(net.predict(X[:1])[0] for _ in range(20))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other = regressor().fit(X, y)
    assert sorted(drawn) == sorted(other.predict(X[:1])[0] for _ in range(80))


def test_a_net_that_draws_nothing_predicts_without_a_lock_and_steadily():
    net = KerasRegressor("mlp", epochs=1, random_state=0).fit(X, y)
    functions: CompiledFunctions = net._net._functions
    with functions._drawing:
        alone = [net.predict(X[i : i + 1])[0] for i in (3, 60)]
        np.testing.assert_array_equal(net.predict(X)[[3, 60]], alone)
