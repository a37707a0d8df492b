"""Flat programs train as others do, bit for bit, and are made only where they do."""

import copy
import itertools
import pickle
import threading
import time

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import skkeras
from skkeras import KerasClassifier, KerasRegressor
from skkeras._engine import compiled_functions, flat_program
from skkeras._engine.compiled_functions import Pool
from skkeras._engine.program import state_variables

# Coverage is measured elsewhere, as in test_parity.py.
pytestmark = [pytest.mark.no_cover, pytest.mark.slow]


@pytest.fixture(autouse=True)
def empty_cache():
    skkeras.clear_cache()
    yield
    skkeras.clear_cache()


@pytest.fixture(scope="module")
def values(X):
    return (X @ np.arange(4.0)).astype("float32")


def n_flat(net, X, y):
    net.fit(X, y)
    return skkeras.cache_info().n_flat


def tiny(x):
    return layers.Dense(3, activation="tanh")(x)


def dense(x):
    x = layers.Normalization(mean=0.5, variance=2.0)(layers.Rescaling(0.5)(x))
    one = layers.Dropout(0.3)(layers.Dense(5, activation="relu")(x))
    two = layers.LeakyReLU()(layers.Dense(5)(layers.GaussianNoise(0.1)(x)))
    both = layers.Concatenate()([layers.Add()([one, two]), layers.Subtract()([one, two])])
    return layers.Softmax()(layers.ReLU()(layers.Dense(4, kernel_regularizer="l2")(both)))


def images(x):
    x = layers.Conv2D(3, 2, padding="same", activation="relu")(layers.Reshape((2, 2, 1))(x))
    pooled = layers.MaxPooling2D()(x), layers.AveragePooling2D(2)(x)
    flat = [layers.Flatten()(one) for one in pooled]
    return layers.Concatenate()([*flat, layers.GlobalAveragePooling2D()(x)])


def steps(x):
    x = layers.Permute((2, 1))(layers.Reshape((1, 4))(x))
    x = layers.Activation("tanh")(layers.Conv1D(3, 2, padding="causal")(x))
    pooled = layers.MaxPooling1D()(x), layers.AveragePooling1D(2)(x)
    each = [layers.GlobalAveragePooling1D()(one) for one in pooled]
    return layers.Concatenate()([*each, layers.GlobalMaxPooling1D()(x)])


def recurrent(x):
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(layers.Reshape((4, 1))(x))
    return keras.Sequential([layers.SimpleRNN(2, return_sequences=True), layers.LSTM(3)])(x)


OPTIMIZERS = {
    "Adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "schedule": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)),
    "amsgrad by a schedule": lambda: optimizers.Adam(
        optimizers.schedules.ExponentialDecay(0.01, 2, 0.5), amsgrad=True
    ),
    "SGD": lambda: optimizers.SGD(0.01),
    "momentum": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "clipvalue": lambda: optimizers.SGD(0.01, clipvalue=0.1),
    "Nadam": lambda: optimizers.Nadam(0.01),
    "Adamax": lambda: optimizers.Adamax(0.01),
    "Lion": lambda: optimizers.Lion(0.01),
    "Ftrl": lambda: optimizers.Ftrl(0.01),
}


BODIES = [dense, images, steps, recurrent]
CASES = [*itertools.product(OPTIMIZERS, [tiny]), *itertools.product(["Adam"], BODIES)]
CASES += [("momentum", dense), ("momentum", images)]


@pytest.mark.parametrize("optimizer, body", CASES)
def test_bits_are_those_of_other_programs(monkeypatch, X, values, optimizer, body):
    def build():
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.Dense(1)(body(inputs)))

    net = KerasRegressor(build, optimizer=OPTIMIZERS[optimizer](), metrics="mae", epochs=3)
    net.set_params(batch_size=16, random_state=0, validation_split=0.2)
    assert n_flat(net, X, values) == 1
    found = [v.numpy() for v in state_variables(net.partial_fit(X, values).model_)]
    history = net.history_

    skkeras.clear_cache()
    monkeypatch.setattr(compiled_functions, "is_flat", lambda model: False)
    assert n_flat(net, X, values) == 0
    expected = [v.numpy() for v in state_variables(net.partial_fit(X, values).model_)]
    assert net.history_ == history
    assert all(map(np.array_equal, found, expected))


class Own(layers.Dense):
    pass


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def with_layer(*some, model=keras.Sequential):
    return lambda: model([keras.Input((4,)), *(make() for make in some), layers.Dense(1)])


OTHERS = {
    "RMSprop": KerasRegressor(optimizer="rmsprop"),
    "clipnorm": KerasRegressor(optimizer="adam", optimizer__clipnorm=1.0),
    "weight decay": KerasRegressor(optimizer="adamw"),
    "moving averages": KerasRegressor(optimizer="adam", optimizer__use_ema=True),
    "accumulation": KerasRegressor(optimizer="adam", optimizer__gradient_accumulation_steps=2),
    "embedding": KerasRegressor(with_layer(lambda: layers.Embedding(3, 2), layers.Flatten)),
    "constraint": KerasRegressor(with_layer(lambda: layers.Dense(2, bias_constraint="non_neg"))),
    "batch normalization": KerasRegressor(with_layer(layers.BatchNormalization)),
    "own layer": KerasRegressor(with_layer(lambda: Own(2))),
    "own step": KerasRegressor(with_layer(model=OwnStep)),
    "many weights": KerasRegressor(model__units=20_000),
    "nothing to train": KerasRegressor(
        with_layer(model=lambda parts: keras.Sequential(parts, trainable=False))
    ),
}


@pytest.mark.parametrize("net", OTHERS.values(), ids=OTHERS)
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_other_steps_stay_keras_own(X, values, net):
    X = np.digitize(X, [-0.5, 0.5])
    assert n_flat(net.set_params(epochs=1), X, values) == 0
    assert skkeras.cache_info().n_programs == 1


def test_a_variable_of_the_loss_still_changes(X, values):
    n_calls = keras.Variable(0.0, trainable=False)

    class Counting(keras.losses.Loss):
        def __init__(self, n_calls):
            super().__init__()
            self.n_calls = n_calls

        def call(self, y_true, y_pred):
            self.n_calls.assign_add(1.0)
            return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    loss = Counting(n_calls)
    net = KerasRegressor("linear", loss=loss, epochs=2, batch_size=20).fit(X, values)
    assert float(net.model_.loss.n_calls) == 6


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_weights_without_a_gradient_stay_as_they_are(X, values):
    def stopped(x):
        return 0 * keras.ops.stop_gradient(x) + keras.ops.ones_like(x)

    net = KerasRegressor(with_layer(lambda: layers.Dense(3, stopped)), epochs=1, random_state=0)
    before = net.initialize(X, values).model_.get_weights()
    after = net.fit(X, values).model_.get_weights()
    assert skkeras.cache_info().n_flat == 0
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[2], after[2])


# --- copies ---------------------------------------------------------------------------------------


def pickled(net):
    return pickle.loads(pickle.dumps(net))


def normalized(input_shape):
    inner = [layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.3)]
    return keras.Sequential([keras.Input(input_shape), *inner, layers.Dense(1, "sigmoid")])


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
@pytest.mark.parametrize("model", ["mlp", normalized])
def test_copies_go_on_in_the_program_of_the_original(X, binary, copied, model):
    net = KerasClassifier(model, loss="binary_crossentropy", metrics="accuracy", random_state=0)
    other = copied(net.set_params(epochs=1).fit(X, binary))
    n_made = skkeras.cache_info().n_made
    for one in (net, other):
        one.partial_fit(X, binary).partial_fit(X, binary)
    assert skkeras.cache_info().n_made == n_made
    assert np.array_equal(net.predict_proba(X), other.predict_proba(X))
    assert net.history_ == other.history_


def test_a_copy_of_a_net_that_was_changed_has_its_own_program(X, values):
    net = KerasRegressor(with_layer(lambda: layers.Dense(3)), epochs=1, random_state=0)
    net.fit(X, values).model_.layers[0].activation = keras.activations.relu
    other = copy.deepcopy(net)
    for one in (net, other):
        one.partial_fit(X, values)
    assert np.array_equal(net.predict(X), other.predict(X))
    kernel, bias, *_ = other.model_.get_weights()
    hidden = np.maximum(X.astype("float32") @ kernel + bias, 0)
    expected = hidden @ other.model_.layers[1].kernel.numpy() + other.model_.layers[1].bias.numpy()
    np.testing.assert_allclose(other.predict(X), expected[:, 0], rtol=1e-5, atol=1e-6)


def test_a_copy_trains_on_when_the_original_is_gone(X, values):
    data = pickle.dumps(KerasRegressor(epochs=1, random_state=0).fit(X, values))
    skkeras.clear_cache()
    one, two = pickle.loads(data), pickle.loads(data)
    n_made = skkeras.cache_info().n_made
    assert np.array_equal(*(net.partial_fit(X, values).predict(X) for net in (one, two)))
    assert skkeras.cache_info().n_made == n_made + 1


# --- threads --------------------------------------------------------------------------------------


class Made:
    n_bytes = 0


def test_a_program_that_is_being_made_is_waited_for():
    pool, made, begun = Pool(9, 9), [], threading.Event()

    def make():
        begun.set()
        time.sleep(0.3)
        made.append(Made())
        return made[-1]

    def use():
        with pool.borrow("key", make):
            pass

    threads = [threading.Thread(target=use) for _ in range(4)]
    threads[0].start()
    begun.wait()
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == pool.n_made == 1
    assert pool.n_hits == 3


def test_a_long_training_is_waited_for_no_longer_than_making_a_program_takes():
    pool = Pool(9, 9)
    with pool.borrow("key", Made) as one:
        begin = time.perf_counter()
        with pool.borrow("key", Made) as two:
            assert time.perf_counter() - begin < 1
    assert one is not two
    assert len(pool) == 2


def test_a_program_that_fails_to_be_made_keeps_nobody_waiting():
    pool = Pool(9, 9)

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        pool.borrow("key", fail)
    begin = time.perf_counter()
    with pool.borrow("key", Made):
        assert time.perf_counter() - begin < 1


def test_a_fit_inside_a_builder_waits_for_no_program_that_waits_for_the_builder(
    monkeypatch, X, values
):
    begun, inside = threading.Event(), threading.Event()
    make_apart = flat_program.make_apart

    def late(make, seed):
        begun.set()
        inside.wait()
        return make_apart(make, seed)

    def build():
        inside.set()
        time.sleep(0.2)  # the other thread waits for this builder by now
        KerasRegressor("linear", epochs=1).fit(X, values)
        return with_layer()()

    monkeypatch.setattr(flat_program, "make_apart", late)
    fits = [KerasRegressor(epochs=1), KerasRegressor(build, epochs=1)]
    threads = [threading.Thread(target=net.fit, args=(X, values), daemon=True) for net in fits]
    threads[0].start()
    begun.wait()
    threads[1].start()
    for thread in threads:
        thread.join(60)
    assert [net.n_iter_ for net in fits] == [1, 1]
