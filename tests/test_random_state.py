"""The same ``random_state`` gives the same net anywhere, and nobody else's randomness changes."""

import copy
import functools
import pickle
import random

import joblib
import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from versions import is_older

from skkeras import KerasClassifier

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

layers = keras.layers


@keras.saving.register_keras_serializable("test_random_state")
class Noise(layers.Layer):
    """Draws as Keras's guide has it: from a generator of its own, which is seeded at random."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.random.SeedGenerator()

    def call(self, inputs, training=False):
        if not training:
            return inputs
        return inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.generator)


def draw_everything(input_shape, n_outputs, output_activation):
    """A builder whose net depends on three global generators."""
    units = random.randint(3, 6)
    biases = keras.ops.convert_to_numpy(keras.random.normal((units,)))
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(units, bias_initializer=keras.initializers.Constant(biases)),
            layers.Rescaling(np.random.uniform(0.5, 1)),
            layers.Dropout(0.5),
            Noise(),
            layers.Dense(n_outputs, activation=output_activation),
        ]
    )


@functools.cache
def template():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="relu"),
            layers.Dropout(0.5),
            layers.GaussianNoise(0.1),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def make(kind, random_state=0, **parameters):
    model = {
        "dropout": {"model": "mlp", "model__units": 8, "model__dropout": 0.5},
        "template": {"model": template() if kind == "template" else None},
        "drawing": {"model": draw_everything},
    }[kind]
    return KerasClassifier(**{"epochs": 2, "random_state": random_state, **model, **parameters})


def weights(estimator):
    return b"".join(array.tobytes() for array in estimator.model_.get_weights())


def make_all(random_state, **parameters):
    return {kind: make(kind, random_state, **parameters) for kind in KINDS}


def fit_all(nets, X, y):
    """Fit every kind; joblib's workers do it, too."""
    for net in nets.values():
        net.fit(X, y)
    return {kind: (weights(net), net.history_) for kind, net in nets.items()}


KINDS = ("dropout", "template", "drawing")
ENGINES = ("compiled", "keras")
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def serial(X, binary):
    return [fit_all(make_all(seed), X, binary) for seed in SEEDS]


@pytest.fixture
def generators_kept():
    """Put the generators back that a test seeds."""
    states = random.getstate(), np.random.get_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])


# --- Reproducible ----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_weights_are_equal_to_the_bit_serial_in_threads_and_in_processes(
    serial, X, binary, backend
):
    parallel = joblib.Parallel(n_jobs=2, backend=backend)(
        joblib.delayed(fit_all)(make_all(seed), X, binary) for seed in SEEDS
    )
    assert parallel == serial


def test_engines_agree_to_the_bit_in_where_they_start(X, binary):
    nets = [make("dropout", engine=engine).initialize(X, binary) for engine in ENGINES]
    assert weights(nets[0]) == weights(nets[1])


def test_kerass_engine_repeats_itself(X, binary):
    first, second = (make("dropout", engine="keras").fit(X, binary) for _ in range(2))
    assert weights(first) == weights(second)
    assert first.history_ == second.history_


@pytest.mark.parametrize("kind", KINDS)
def test_another_random_state_is_another_net(serial, kind):
    assert len({fits[kind][0] for fits in serial}) == len(SEEDS)


def test_what_was_drawn_before_does_not_matter(generators_kept, serial, X, binary):
    keras.utils.set_random_seed(42)
    keras.random.normal((3,))
    layers.Dropout(0.5)
    assert fit_all(make_all(0), X, binary) == serial[0]


def test_predictions_repeat_themselves_with_dropout(X, binary):
    net = make("dropout").fit(X, binary)
    assert np.array_equal(net.predict_proba(X), net.predict_proba(X))


def test_random_state_instance_is_drawn_from(X, binary):
    shared = np.random.RandomState(0)
    first, second = (weights(make("dropout", shared).fit(X, binary)) for _ in range(2))
    again = weights(make("dropout", np.random.RandomState(0)).fit(X, binary))
    assert first == again
    assert first != second


def test_numpys_seed_decides_without_a_random_state(generators_kept, X, binary):
    def fit_after(seed):
        np.random.seed(seed)
        return weights(make("dropout", None).fit(X, binary))

    assert fit_after(0) == fit_after(0)
    assert fit_after(0) != fit_after(1)


# --- Nobody else's randomness ----------------------------------------------------------------


def draw():
    """Draw from every global generator, as a user's next line might."""
    return [
        random.random(),
        np.random.uniform(),
        *keras.random.uniform((2,)).numpy(),
        *tf.random.uniform((2,)).numpy(),
        *tf.random.get_global_generator().uniform((2,)).numpy(),
    ]


def draws_after(action):
    if is_older("keras", "3.13"):  # it seeds no generator that is there
        keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    tf.random.get_global_generator().reset_from_seed(7)
    action()
    return draw()


@pytest.fixture(scope="module")
def fitted(X, binary):
    return {kind: net.fit(X, binary) for kind, net in make_all(0).items()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_fit_leaves_global_random_state_untouched(generators_kept, X, binary, kind, engine):
    net = make(kind, engine=engine, epochs=1, validation_split=0.2)
    assert draws_after(lambda: net.fit(X, binary)) == draws_after(lambda: None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["partial_fit", "initialize"])
def test_other_training_leaves_global_random_state_untouched(
    generators_kept, X, binary, method, kind
):
    train = getattr(make(kind), method)
    assert draws_after(lambda: train(X, binary)) == draws_after(lambda: None)


READING = {
    "predict": lambda net, X, y: net.predict(X),
    "predict_proba": lambda net, X, y: net.predict_proba(X),
    "evaluate": lambda net, X, y: net.evaluate(X, y),
    "clone": lambda net, X, y: clone(net),
    "deepcopy": lambda net, X, y: copy.deepcopy(net),
    "pickle": lambda net, X, y: pickle.dumps(net),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", READING)
def test_reading_leaves_global_random_state_untouched(
    generators_kept, fitted, X, binary, action, kind
):
    after = draws_after(lambda: READING[action](fitted[kind], X, binary))
    assert after == draws_after(lambda: None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_fitted", [False, True], ids=["unfitted", "fitted"])
def test_loading_a_pickle_leaves_global_random_state_untouched(
    generators_kept, fitted, kind, is_fitted
):
    data = pickle.dumps(fitted[kind] if is_fitted else make(kind))
    assert draws_after(lambda: pickle.loads(data)) == draws_after(lambda: None)


def test_failing_fit_leaves_global_random_state_untouched(generators_kept, X, binary):
    def fail(input_shape):
        random.random()
        np.random.uniform()
        raise ZeroDivisionError

    def fit():
        with pytest.raises(ZeroDivisionError):
            KerasClassifier(fail, random_state=0).fit(X, binary)

    assert draws_after(fit) == draws_after(lambda: None)


# --- Batch orders ----------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_random_state")
class Diary(layers.Layer):
    """Notes the first feature of every row that it is trained on."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape):
        self.seen = self.add_weight(shape=(self.size,), initializer="zeros", trainable=False)
        self.n_seen = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        if training:
            here = keras.ops.arange(self.size) == self.n_seen
            self.seen.assign(keras.ops.where(here, inputs[0, 0], self.seen))
            self.n_seen.assign(self.n_seen + 1)
        return inputs

    def get_config(self):
        return {**super().get_config(), "size": self.size}


def with_diary():
    return keras.Sequential([keras.Input((1,)), Diary(36), layers.Dense(1, "sigmoid")])


N_ROWS = 12


@pytest.fixture(scope="module")
def numbered():
    """Rows that tell their number, and labels."""
    return np.arange(1.0, N_ROWS + 1).reshape(-1, 1), np.arange(N_ROWS) % 2


def diarist(random_state=0, **parameters):
    return KerasClassifier(
        with_diary, batch_size=1, epochs=1, random_state=random_state, **parameters
    )


def orders(net):
    """The order of the rows in each epoch so far."""
    seen, n_seen = net.model_.layers[0].get_weights()
    return [tuple(epoch.astype(int)) for epoch in seen[:n_seen].reshape(-1, N_ROWS)]


@pytest.mark.parametrize("engine", ENGINES)
def test_partial_fits_see_different_orders_reproducibly(numbered, engine):
    def three_epochs(random_state):
        net = diarist(random_state, engine=engine)
        for _ in range(3):
            net.partial_fit(*numbered)
        return orders(net)

    seen = three_epochs(0)
    assert all(sorted(order) == list(range(1, N_ROWS + 1)) for order in seen)
    assert len(set(seen)) == 3
    assert three_epochs(0) == seen
    assert set(three_epochs(1)).isdisjoint(seen)


@pytest.mark.parametrize("engine", ENGINES)
def test_partial_fits_do_what_one_fit_of_as_many_epochs_does(numbered, engine):
    whole = diarist(engine=engine).set_params(epochs=2).fit(*numbered)
    parts = diarist(engine=engine).partial_fit(*numbered).partial_fit(*numbered)
    assert orders(parts) == orders(whole)
    assert weights(parts) == weights(whole)


def test_engines_see_the_same_orders(numbered):
    nets = [diarist(engine=engine).set_params(epochs=3).fit(*numbered) for engine in ENGINES]
    assert orders(nets[0]) == orders(nets[1])
    assert len(set(orders(nets[0]))) == 3


def test_order_goes_on_after_a_pickle(numbered):
    net = diarist().partial_fit(*numbered)
    loaded = pickle.loads(pickle.dumps(net))
    assert orders(loaded.partial_fit(*numbered)) == orders(net.partial_fit(*numbered))


def test_warm_start_goes_on_with_new_orders(numbered):
    net = diarist(warm_start=True).fit(*numbered).fit(*numbered)
    assert len(set(orders(net))) == 2


def test_without_warm_start_a_fit_repeats_the_last_one(numbered):
    net = diarist().fit(*numbered)
    first = weights(net)
    assert weights(net.fit(*numbered)) == first


def test_without_shuffling_rows_come_in_their_order(numbered):
    net = diarist(shuffle=False).set_params(epochs=2).fit(*numbered)
    assert orders(net) == [tuple(range(1, N_ROWS + 1))] * 2
