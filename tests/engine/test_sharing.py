"""Which estimators share a program: those that agree in everything that matters, and no others."""

import functools
import gc
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest
from sklearn.base import clone

import skkeras
from skkeras import KerasClassifier, KerasRegressor
from skkeras._engine import compiled_functions

# Coverage is measured elsewhere, as in test_parity.py.
pytestmark = pytest.mark.no_cover

keras = pytest.importorskip("keras")
layers, losses, metrics, optimizers = keras.layers, keras.losses, keras.metrics, keras.optimizers

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 5)).astype("float32")
y = (X @ rng.normal(size=5)).astype("float32")
SEQUENCES = rng.normal(size=(40, 4, 2)).astype("float32")
FACTOR = 1.0


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """Count the programs that are made, from an empty cache on."""
    skkeras.clear_cache()
    made = []

    def counted(make):
        def make_and_count(worker, example):
            program = make(worker, example)
            made.append(weakref.ref(worker))
            return program

        return make_and_count

    for name in ("Program", "FlatProgram"):
        make = getattr(compiled_functions, name)
        monkeypatch.setattr(compiled_functions, name, counted(make))
    yield made
    skkeras.clear_cache()


def stack(*hidden, shape=(5,), output=None):
    return keras.Sequential([keras.Input(shape), *hidden, output or layers.Dense(1)])


def regressor(model, **options):
    fixed = {"optimizer": "sgd", "epochs": 2, "batch_size": 16, "random_state": 0}
    return KerasRegressor(model, **{**fixed, **options})


def dense(**options):
    """Estimators with the same net but other parameters."""
    return regressor(lambda: stack(layers.Dense(3)), **options)


def of_layer(make_layer, **options):
    """Estimators whose builders close over what makes a layer."""
    return regressor(lambda: stack(layers.Dense(3), make_layer()), **options)


# Ways to be another net. Each makes an estimator from one of two values.


def layer_scaling_by(factor):
    class Scaled(layers.Layer):
        def call(self, x):
            return x * factor

    return Scaled


class ByGlobal(layers.Layer):
    def call(self, x):
        return x * FACTOR


class ByAttribute(layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


def doubling():
    class Scaled(layers.Layer):
        def call(self, x):
            return x * 2.0

    return Scaled


def tripling():
    class Scaled(layers.Layer):
        def call(self, x):
            return x * 3.0

    return Scaled


def training_with(sign):
    class Trained(keras.Model):
        def train_step(self, data):
            x, y = data
            return super().train_step((x, y * sign))

    def build(input_shape):
        inputs = keras.Input(input_shape)
        return Trained(inputs, layers.Dense(1)(inputs))

    return build


def joined_by(join):
    def build(input_shape):
        inputs = keras.Input(input_shape)
        one, other = layers.Dense(3)(inputs), layers.Dense(3)(inputs)
        return keras.Model(inputs, layers.Dense(1)(join()([one, other])))

    return build


def compiled_by_builder(**options):
    def build():
        model = stack(layers.Dense(3))
        model.compile("sgd", **{"loss": "mse", **options})
        return model

    return regressor(build, optimizer=None)


def loss_with(power):
    def loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** power, axis=-1)

    return loss


def frozen(trainable):
    def build():
        hidden = layers.Dense(3)
        hidden.trainable = trainable
        return stack(hidden)

    return build


def activation_with(slope):
    def activation(x):
        return slope * x

    return activation


DIFFERENCES = {
    "units in a closure": (lambda n: regressor(lambda: stack(layers.Dense(n))), 3, 4),
    "activation": (lambda name: of_layer(lambda: layers.Dense(3, name)), "relu", "tanh"),
    "own activation": (
        lambda slope: of_layer(lambda: layers.Dense(3, activation_with(slope))),
        1.0,
        2.0,
    ),
    "dropout rate": (lambda rate: of_layer(lambda: layers.Dropout(rate, seed=1)), 0.1, 0.5),
    "bias": (lambda used: of_layer(lambda: layers.Dense(3, use_bias=used)), True, False),
    "regularizer": (
        lambda value: of_layer(
            lambda: layers.Dense(3, kernel_regularizer=keras.regularizers.L2(value))
        ),
        0.01,
        0.5,
    ),
    "constraint": (
        lambda value: of_layer(
            lambda: layers.Dense(3, kernel_constraint=keras.constraints.MaxNorm(value))
        ),
        0.1,
        0.5,
    ),
    "momentum": (
        lambda value: of_layer(lambda: layers.BatchNormalization(momentum=value)),
        0.5,
        0.9,
    ),
    "epsilon": (lambda value: of_layer(lambda: layers.LayerNormalization(epsilon=value)), 0.1, 1.0),
    "frozen layer": (lambda trainable: regressor(frozen(trainable)), True, False),
    "wiring": (lambda join: regressor(joined_by(join)), layers.Add, layers.Multiply),
    "hyperparameter": (
        lambda rate: regressor(
            lambda rate: stack(layers.Dense(3), layers.Dropout(rate, seed=1)), model__rate=rate
        ),
        0.1,
        0.5,
    ),
    "loss": (lambda loss: dense(loss=loss), "mse", "mae"),
    "loss argument": (lambda delta: dense(loss="huber", loss__delta=delta), 0.1, 2.0),
    "loss instance": (lambda delta: dense(loss=losses.Huber(delta)), 0.1, 2.0),
    "loss closure": (lambda power: dense(loss=loss_with(power)), 1, 3),
    "loss reduction": (lambda how: dense(loss=losses.MeanSquaredError(how)), "sum", "mean"),
    "metric": (lambda name: dense(metrics=[name]), "mae", "mse"),
    "metric argument": (
        lambda amount: dense(metrics=[metrics.BinaryCrossentropy(label_smoothing=amount)]),
        0.0,
        0.5,
    ),
    "metric weighted": (lambda name: dense(compile__weighted_metrics=[name]), "mae", "mse"),
    "optimizer": (lambda name: dense(optimizer=name), "sgd", "adam"),
    "optimizer argument": (lambda beta: dense(optimizer="adam", optimizer__beta_1=beta), 0.1, 0.9),
    "clipping": (lambda norm: dense(optimizer__clipnorm=norm), 0.01, 0.1),
    "schedule": (
        lambda decay: dense(
            optimizer__learning_rate=optimizers.schedules.ExponentialDecay(0.1, 1, decay)
        ),
        0.5,
        0.9,
    ),
    "loss weights in the builder": (lambda w: compiled_by_builder(loss_weights=[w]), 0.1, 1.0),
    "metrics in the builder": (lambda name: compiled_by_builder(metrics=[name]), "mae", "mse"),
    "weighted metrics in the builder": (
        lambda name: compiled_by_builder(weighted_metrics=[name]),
        "mae",
        "mse",
    ),
    "loss in the builder": (lambda loss: compiled_by_builder(loss=loss), "mae", "mse"),
    "dtype of a layer": (
        lambda dtype: of_layer(lambda: layers.Dense(3, dtype=dtype)),
        "float32",
        "mixed_bfloat16",
    ),
    "class of the same name": (lambda make: of_layer(lambda: make()()), doubling, tripling),
    "closure of a class": (lambda factor: of_layer(layer_scaling_by(factor)), 2.0, 3.0),
    "attribute of a layer": (lambda factor: of_layer(lambda: ByAttribute(factor)), 2.0, 3.0),
    "Lambda": (
        lambda factor: of_layer(lambda: layers.Lambda(lambda x: x * factor, output_shape=(3,))),
        2.0,
        3.0,
    ),
    "train_step": (lambda sign: regressor(training_with(sign)), 1.0, -1.0),
}


def outcome(estimator, X=X, **fit_arguments):
    estimator.fit(X, y, **fit_arguments)
    return estimator.history_, estimator.model_.get_weights()


def assert_same(one, other):
    assert one[0] == other[0]
    for got, want in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(got, want, strict=True)


def by_keras(estimator):
    return clone(estimator).set_params(engine="keras")


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_what_differs_shares_no_program(made, difference):
    make, one, other = DIFFERENCES[difference]
    first = outcome(make(one))
    assert len(made) == 1
    second = outcome(make(other))
    assert len(made) == 2
    assert_same(second, outcome(by_keras(make(other))))
    with pytest.raises(AssertionError):  # or the difference made none
        assert_same(first, second)
    outcome(make(one))
    assert len(made) == 2


def test_another_value_of_a_global_is_another_program(made, monkeypatch):
    estimator = of_layer(ByGlobal)
    outcome(clone(estimator))
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    changed = outcome(clone(estimator))
    assert len(made) == 2
    assert_same(changed, outcome(by_keras(estimator)))


def test_another_dtype_policy_is_another_program(made):
    policy = keras.config.dtype_policy()
    try:
        outcome(dense())
        keras.config.set_dtype_policy("mixed_bfloat16")
        changed = outcome(dense())
        assert len(made) == 2
        assert_same(changed, outcome(by_keras(dense())))
    finally:
        keras.config.set_dtype_policy(policy)


def test_rows_of_another_shape_are_another_program(made):
    def build(input_shape):
        return stack(layers.Dense(3), shape=input_shape)

    outcome(regressor(build))
    outcome(regressor(build), X[:, :3])
    assert len(made) == 2


def test_sample_weights_are_another_program(made):
    outcome(dense())
    weighted = outcome(dense(), sample_weight=np.arange(40.0))
    assert len(made) == 2
    assert_same(weighted, outcome(by_keras(dense()), sample_weight=np.arange(40.0)))


def another_function_for_the_same_net():
    layers.Dense(7)  # advances the numbers in the names of layers
    hidden = layers.Dense(units=3)
    inputs = keras.Input((5,))
    return keras.Sequential([inputs, hidden, layers.Dense(1)])


def one_in_a_closure(units):
    return lambda: stack(layers.Dense(units))


AGREEMENTS = {
    "clones": (dense(), clone(dense())),
    "random_state": (dense(), dense(random_state=1)),
    "epochs and batch size": (dense(), dense(epochs=1, batch_size=7)),
    "learning rate": (
        dense(optimizer__learning_rate=0.1),
        dense(optimizer__learning_rate=0.001),
    ),
    "optimizer by name or class": (dense(optimizer="sgd"), dense(optimizer=optimizers.SGD)),
    "optimizer by name or instance": (dense(), dense(optimizer=optimizers.SGD(0.05))),
    "equal functions": (dense(), regressor(another_function_for_the_same_net)),
    "equal values in closures": (regressor(one_in_a_closure(3)), regressor(one_in_a_closure(3))),
    "closure and hyperparameter": (
        regressor(one_in_a_closure(3)),
        regressor(lambda units: stack(layers.Dense(units)), model__units=3),
    ),
    "partials": (
        regressor(functools.partial(lambda units: stack(layers.Dense(units)), 3)),
        dense(),
    ),
    "seeds": (
        of_layer(lambda: layers.Dropout(0.3, seed=1)),
        of_layer(lambda: layers.Dropout(0.3, seed=2)),
    ),
    "initializers": (
        of_layer(lambda: layers.Dense(3, kernel_initializer="zeros")),
        of_layer(lambda: layers.Dense(3, kernel_initializer="he_normal")),
    ),
    "metric instances": (
        dense(metrics=[metrics.BinaryAccuracy(threshold=0.3)]),
        dense(metrics=[metrics.BinaryAccuracy(threshold=0.3)]),
    ),
    "loss instances": (dense(loss=losses.Huber(0.3)), dense(loss=losses.Huber(0.3))),
    "closures of losses": (dense(loss=loss_with(3)), dense(loss=loss_with(3))),
    "classes with equal closures": (
        of_layer(layer_scaling_by(2.0)),
        of_layer(layer_scaling_by(2.0)),
    ),
    "callbacks": (dense(), dense(callbacks=keras.callbacks.EarlyStopping("loss", patience=9))),
    "compiled by builders": (
        compiled_by_builder(metrics=["mae"], loss_weights=[0.3]),
        compiled_by_builder(metrics=["mae"], loss_weights=[0.3]),
    ),
}


@pytest.mark.parametrize("agreement", AGREEMENTS)
def test_what_agrees_shares_a_program(made, agreement):
    one, other = (clone(estimator) for estimator in AGREEMENTS[agreement])
    outcome(one)
    shared = outcome(other)
    assert len(made) == 1
    assert len(compiled_functions.programs) == 1
    assert_same(shared, outcome(by_keras(other)))


def test_a_template_shares_with_its_clones(made):
    template = stack(layers.Dense(3))
    for _ in range(2):
        outcome(regressor(template))
    assert len(made) == 1


def test_classifiers_share_over_the_labels(made):
    def fit(labels):
        return KerasClassifier(epochs=1, random_state=0).fit(X, labels)

    fit(y > 0)
    fit(np.where(y > 0, "yes", "no"))
    assert len(made) == 1
    fit(np.digitize(y, [-1, 1]))
    assert len(made) == 2


# Memory


def lstm():
    return keras.Sequential([keras.Input((4, 2)), layers.LSTM(3), layers.Dense(1)])


@pytest.mark.parametrize(
    "estimator, data",
    [
        (dense(validation_split=0.2), X),
        (of_layer(layers.BatchNormalization, callbacks=keras.callbacks.EarlyStopping("loss")), X),
        (regressor(lstm, optimizer="adam"), SEQUENCES),
    ],
    ids=["validated", "with callbacks", "recurrent"],
)
def test_clearing_the_cache_frees_programs_and_workers(made, estimator, data):
    fitted = clone(estimator).fit(data, y)
    fitted.predict(data)
    assert made[0]() is not None
    skkeras.clear_cache()
    gc.collect()
    assert made[0]() is None
    assert fitted.predict(data).shape == (40,)


@pytest.mark.parametrize("bound, value", [("max_entries", 2), ("max_bytes", 9 * 2**20)])
def test_the_least_recently_used_program_is_dropped_and_freed(made, monkeypatch, bound, value):
    monkeypatch.setattr(compiled_functions.programs, bound, value)
    for units in (2, 3, 2, 4):  # at the end, 3 is what was not used for longest
        regressor(one_in_a_closure(units)).fit(X, y).predict(X)
    gc.collect()
    assert len(compiled_functions.programs) == 2
    assert [worker() is None for worker in made] == [False, True, False]


def test_estimators_keep_no_program_alive(made):
    fitted = [dense(random_state=seed).fit(X, y) for seed in range(3)]
    skkeras.clear_cache()
    gc.collect()
    assert [worker() for worker in made] == [None]
    assert len(fitted) == 3


MANY_FITS = """
    import gc, os
    import numpy as np
    from skkeras import KerasRegressor

    def build(input_shape, kind):
        import keras

        layers = keras.layers
        body = {
            "dense": lambda: [layers.Dense(8, activation="relu")],
            "dropout": lambda: [layers.Dense(8), layers.Dropout(0.2)],
            "norm": lambda: [layers.Dense(8), layers.BatchNormalization()],
            "lstm": lambda: [layers.Reshape((5, 1)), layers.LSTM(4)],
        }[kind]()
        return keras.Sequential([keras.Input(input_shape), *body, layers.Dense(1)])

    def resident():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    X = np.random.default_rng(0).random((100, 5))
    for number in range(200):
        kind = ["dense", "dropout", "norm", "lstm"][number % 4]
        estimator = KerasRegressor(build, model__kind=kind, epochs=2, validation_split=0.2)
        estimator.fit(X, X[:, 0]).predict(X)
        estimator.model_
        if number == 19:
            before = resident()
    print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_many_fits_is_bounded():
    run = [sys.executable, "-c", textwrap.dedent(MANY_FITS)]
    outcome = subprocess.run(run, capture_output=True, text=True, check=True)
    assert int(outcome.stdout.split()[-1]) < 60 * 2**20
