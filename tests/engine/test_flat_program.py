"""Flat programs train as others do, bit for bit, and are made only where they do."""

import copy
import pickle
import threading
import time

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import skkeras
from skkeras import KerasClassifier, KerasRegressor
from skkeras._engine import compiled_functions
from skkeras._engine.compiled_functions import Pool
from skkeras._engine.program import state_variables


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


def dense():
    return [layers.Dense(5, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.3)]


def convolution():
    return [layers.Reshape((4, 1)), layers.Conv1D(3, 2, kernel_regularizer="l2"), layers.Flatten()]


def recurrent():
    return [layers.Reshape((4, 1)), layers.GRU(3)]


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


@pytest.mark.parametrize("body", [dense, convolution, recurrent])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_bits_are_those_of_other_programs(monkeypatch, X, values, body, optimizer):
    def build():
        return keras.Sequential([keras.Input((4,)), *body(), layers.Dense(1)])

    net = KerasRegressor(build, optimizer=optimizer(), metrics="mae", epochs=2, batch_size=16)
    net.set_params(random_state=0, validation_split=0.2)
    assert n_flat(net, X, values) == 1
    found = [v.numpy() for v in state_variables(net.partial_fit(X, values).model_)]
    history = net.history_

    skkeras.clear_cache()
    monkeypatch.setattr(compiled_functions, "is_flat", lambda model: False)
    assert n_flat(net, X, values) == 0
    expected = [v.numpy() for v in state_variables(net.partial_fit(X, values).model_)]
    assert net.history_ == history
    assert all(map(np.array_equal, found, expected))


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
    class Stopped(layers.Dense):
        def call(self, x):
            return keras.ops.stop_gradient(super().call(x))

    net = KerasRegressor(with_layer(lambda: Stopped(3)), epochs=1, random_state=0)
    before = net.initialize(X, values).model_.get_weights()
    after = net.fit(X, values).model_.get_weights()
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[2], after[2])


# --- copies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("body", [dense, convolution])
def test_copies_go_on_in_the_program_of_the_original(X, binary, copied, body):
    def build():
        return keras.Sequential([keras.Input((4,)), *body(), layers.Dense(1, "sigmoid")])

    net = KerasClassifier(build, loss="binary_crossentropy", metrics="accuracy", random_state=0)
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
    expected = hidden @ other.model_.layers[1].kernel.numpy()
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
