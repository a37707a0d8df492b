"""Nets whose models their users change, share or make in ways of their own."""

import _thread
import contextlib
import random
import signal
import sys
import threading
import time

import numpy as np
import pytest

from skkeras import KerasClassifier, KerasRegressor
from skkeras._engine.net import Net
from skkeras._engine.program import Program
from skkeras.exceptions import BuilderError, DivergenceError, SharedVariablesError

# Coverage is measured elsewhere, as in test_parity.py.
pytestmark = pytest.mark.no_cover

keras = pytest.importorskip("keras")
layers = keras.layers

rng = np.random.default_rng(0)
X = rng.normal(size=(48, 4)).astype("float32")
y = X @ [1, -2, 0.5, 0]


def small(units=5, activation="tanh"):
    return keras.Sequential([keras.Input((4,)), layers.Dense(units, activation), layers.Dense(1)])


def normalizing():
    return keras.Sequential([keras.Input((4,)), layers.Normalization(), layers.Dense(1)])


def unreadable(factor):
    """Make an activation of which no fingerprint can tell what it does."""
    steps = iter([factor])
    return lambda x: x * factor if steps is not None else x


def with_unreadable():
    return small(activation=unreadable(1.0))


def dropping():
    return keras.Sequential([keras.Input((4,)), layers.Dropout(0.9), layers.Dense(1)])


def regressor(build=small, **options):
    return KerasRegressor(build, **{"epochs": 2, "random_state": 0, **options})


@pytest.fixture
def traced(monkeypatch):
    """How many programs have been traced."""
    counted = []
    trace = Program.__init__

    def counting(*arguments):
        counted.append(arguments)
        trace(*arguments)

    monkeypatch.setattr(Program, "__init__", counting)
    return counted


def agree(change, build=small, train=("fit", "partial_fit")):
    """Assert that a change to ``model_`` means the same to both engines, and to the model."""
    outputs = []
    for engine in ("compiled", "keras"):
        net = regressor(build, engine=engine)
        regressor(build).fit(X, y).predict(X)  # whose programs mustn't be taken for this one
        for step in train:
            net.initialize(X, y) if step == "initialize" else getattr(net, step)(X, y)
            if step == train[0]:
                change(net.model_)
                # Keras looks at some changes only if it is told to.
                net.model_.make_train_function(force=True)
                net.model_.make_predict_function(force=True)
        outputs.append(net.predict(X))
        np.testing.assert_allclose(
            outputs[-1], net.model_.predict(X, verbose=0)[:, 0], rtol=1e-4, atol=1e-4
        )
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-4)


def adapt(model):
    model.layers[0].adapt(X * 50 + 100)


def stop_dropping(model):
    model.layers[0].rate = 0.0


def clip(model):
    model.optimizer.clipnorm = 1e-9


def recompile(model):
    model.layers[0].activation = keras.activations.relu
    model.compile("sgd", "mae")


def activate_unreadably(model):
    model.layers[0].activation = unreadable(3.0)


def schedule(model):
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    model.optimizer.learning_rate = decay


def train_it(model):
    model.fit(X, y[:, None], shuffle=False, verbose=0)


def freeze(model):
    model.layers[0].trainable = False
    model.compile("sgd", "mse")


@pytest.mark.parametrize(
    "change, build",
    [
        (adapt, normalizing),
        (stop_dropping, dropping),
        (clip, small),
        (recompile, small),
        (activate_unreadably, small),
        (activate_unreadably, with_unreadable),
        (schedule, small),
        (train_it, small),
        (freeze, small),
    ],
    ids=lambda case: case.__name__,
)
@pytest.mark.parametrize("first", ["initialize", "fit"])
def test_changes_to_the_model_are_trained_and_predicted_with(change, build, first):
    agree(change, build, (first, "partial_fit"))


def test_changed_architecture_is_predicted_with():
    net = regressor().fit(X, y)
    net.predict(X)
    net.model_.layers[0].enable_lora(2)
    np.testing.assert_allclose(net.predict(X), net.model_.predict(X, verbose=0)[:, 0], rtol=1e-5)


def test_a_callback_may_change_the_net_when_training_begins():
    class StopDropping(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.layers[0].rate = 0.0

    one, other = (
        regressor(dropping, engine=engine, callbacks=StopDropping).fit(X, y)
        for engine in ("compiled", "keras")
    )
    assert one.history_["loss"] == pytest.approx(other.history_["loss"], rel=1e-5)


def test_a_model_that_was_only_looked_at_goes_on_sharing(traced):
    net = regressor(metrics=["mae"]).fit(X, y)
    model = net.model_
    model.summary(print_fn=lambda text: None)
    model.predict(X, verbose=0)
    model.evaluate(X, y, verbose=0)
    net.partial_fit(X, y)
    regressor(metrics=["mae"]).fit(X, y)
    regressor(metrics=["mae"], callbacks=keras.callbacks.Callback()).fit(X, y)
    assert len(traced) == 1


def test_failed_partial_fit_after_a_recompilation_leaves_a_usable_estimator():
    net = regressor().fit(X, y)
    net.model_.compile(keras.optimizers.SGD(1e30), "mse")
    before = net.predict(X)
    with pytest.raises(DivergenceError):
        net.partial_fit(X, y)
    np.testing.assert_array_equal(net.predict(X), before)
    net.model_.compile("sgd", "mse")
    assert net.partial_fit(X, y).n_iter_ == 3


def test_values_pulled_while_a_model_is_looked_at_are_not_lost():
    model = small()
    model.compile("sgd", "mse")
    net = Net(model)
    earlier = [np.full_like(value, 1) for value in net.values()]
    later = [np.full_like(value, 2) for value in net.values()]

    def while_another_thread_pulls():
        thread.start()
        thread.join(0.2)
        yield from earlier

    class Left:
        """A program after training."""

        worker = None

        def __init__(self, values):
            self.dump = lambda: values

    class Slow(list):
        def __iter__(self):
            return while_another_thread_pulls()

    thread = threading.Thread(target=net.pull, args=(Left(later),))
    net.pull(Left(Slow(earlier)))
    net.model.get_weights()
    thread.join()
    assert all((weight == 2).all() for weight in net.model.get_weights())


# Builders


def test_a_builder_that_returns_one_model_again_and_again_is_refused():
    model = small()
    regressor(small).fit(X, y)  # whose program would do, so that the builder is called once
    regressor(lambda: model).fit(X, y)
    with pytest.raises(SharedVariablesError, match="pass the model itself"):
        regressor(lambda: model).fit(X, y)


def test_a_builder_that_wraps_trainable_layers_of_its_own_is_refused():
    base = layers.Dense(3)
    net = regressor(lambda: keras.Sequential([keras.Input((4,)), base, layers.Dense(1)]))
    with pytest.raises(SharedVariablesError, match="keras.models.clone_model"):
        net.fit(X, y)


def test_a_builder_may_wrap_frozen_layers_and_those_that_it_has_trained_itself():
    base = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    base.trainable = False

    def build():
        trained = regressor(engine="keras").fit(X, y).model_.layers[0]
        return keras.Sequential(
            [keras.Input((4,)), base, layers.Dense(4), trained, layers.Dense(1)]
        )

    kept = base.get_weights()
    regressor(build).fit(X, y)
    regressor(build).fit(X, y)
    np.testing.assert_array_equal(base.get_weights()[0], kept[0])


def test_a_builder_that_can_be_called_once_only_still_trains():
    models = [small()]
    assert regressor(lambda: models.pop()).fit(X, y).n_iter_ == 2


def slow_build():
    time.sleep(0.5)
    return small()


def interrupt_at_once():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@contextlib.contextmanager
def ctrl_c(seconds, interrupt):
    timer = threading.Timer(seconds, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    timer.join()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of threads")
@pytest.mark.parametrize("interrupt", [interrupt_at_once, _thread.interrupt_main])
def test_ctrl_c_while_a_builder_runs_leaves_estimator_and_random_state_as_they_were(interrupt):
    net = KerasClassifier(slow_build, epochs=1).fit(X, np.where(y > 0, "cat", "dog"))
    before, state = net.predict(X), random.getstate()
    with ctrl_c(0.2, interrupt):
        net.fit(X[:, :3], np.where(y > 0, "ham", "spam"))
    time.sleep(0.5)  # a builder left behind would draw numbers now
    assert random.getstate() == state
    np.testing.assert_array_equal(net.predict(X), before)


def test_other_builder_errors_come_through():
    with pytest.raises(BuilderError, match="expected a keras.Model"):
        regressor(lambda: None).fit(X, y)


# What Keras has to predict


def test_state_of_a_stateful_layer_goes_from_batch_to_batch():
    def stateful():
        inputs = keras.Input(batch_shape=(8, 4, 1))
        hidden = layers.SimpleRNN(3, stateful=True)(inputs)
        return keras.Model(inputs, layers.Dense(1)(hidden))

    net = regressor(stateful, batch_size=8, predict__batch_size=8, epochs=1).fit(X[..., None], y)
    net.model_.layers[1].reset_state()
    ours = net.predict(X[..., None])
    net.model_.layers[1].reset_state()
    np.testing.assert_allclose(
        ours, net.model_.predict(X[..., None], batch_size=8, verbose=0)[:, 0], rtol=1e-5
    )
