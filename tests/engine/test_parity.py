"""The engine's training is Keras's: the same bits as `keras.Model.fit` from the same start.

The other side is `skkeras._engine.keras_loop`, which is `keras.Model.fit` on a `PyDataset` in the
engine's row order; a sample of cases shows that it equals ``model.fit(X, y, shuffle=False)``.
Everything is compared bit for bit, except for `test_rounding`, which says why.
"""

import functools
import inspect
import itertools

import numpy as np
import pytest
from sklearn.base import clone
from versions import is_older

import skkeras
from skkeras import KerasClassifier, KerasRegressor
from skkeras._engine import compiled_loop, keras_loop
from skkeras._engine.compiled_loop import Schedule
from skkeras._engine.net import Net
from skkeras._engine.program import state_variables
from skkeras._engine.rows import Rows
from skkeras._keras_objects.internals import make_seeded

# Measuring coverage takes a fifth of the time, and other tests reach the same lines.
pytestmark = pytest.mark.no_cover

keras = pytest.importorskip("keras")
layers, optimizers = keras.layers, keras.optimizers
schedules = optimizers.schedules

N_ROWS, N_VALIDATION, BATCH_SIZE, EPOCHS = 53, 21, 16, 3  # four steps, the last of five rows
N_STEPS = 4

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(N_ROWS, 6)).astype("float32")
SEQUENCES = rng.normal(size=(N_ROWS, 4, 3)).astype("float32")
LONG_SEQUENCES = rng.normal(size=(N_ROWS, 14, 3)).astype("float32")
IMAGES = rng.normal(size=(N_ROWS, 6, 6, 2)).astype("float32")
TOKENS = rng.integers(0, 11, size=(N_ROWS, 4)).astype("int32")
WEIGHT = rng.uniform(0.2, 2, size=N_ROWS).astype("float32")
LEVEL = (TABLE @ rng.normal(size=6)).astype("float32")
CODES = np.digitize(LEVEL, np.quantile(LEVEL, [0.3, 0.6])).astype("int32")

# What a loss wants: units and activation of the output layer, targets, a metric.
LOSSES = {
    "mse": (1, None, LEVEL[:, None], "mae"),
    "mae": (1, None, LEVEL[:, None], "r2_score"),
    "huber": (1, None, LEVEL[:, None], "mse"),
    "binary_crossentropy": (1, "sigmoid", (CODES > 0)[:, None].astype("float32"), "AUC"),
    "categorical_crossentropy": (3, "softmax", np.eye(3, dtype="float32")[CODES], "accuracy"),
    "sparse_categorical_crossentropy": (3, "softmax", CODES, "accuracy"),
}


class ActivityLoss(layers.Layer):
    """Adds a loss in ``call``, as user-written layers do."""

    def call(self, x):
        self.add_loss(0.1 * keras.ops.mean(x**2))
        return x


def shared(x):
    layer = layers.Dense(6, activation="tanh")
    return layer(layer(x))


def frozen(x):
    dense, normalization = layers.Dense(6, activation="tanh"), layers.BatchNormalization()
    dense.trainable = normalization.trainable = False
    return layers.Dense(4)(normalization(dense(x)))


def nested(x):
    inner = [keras.Input(x.shape[1:]), layers.Dense(5, activation="relu"), layers.Dropout(0.2)]
    return keras.Sequential(inner)(x)


def regularized(x):
    options = {"kernel_regularizer": "l2", "bias_regularizer": "l1", "activity_regularizer": "l2"}
    return layers.Dense(8, kernel_constraint="max_norm", **options)(x)


# The inputs of a net, and its layers up to the output layer. Recurrent layers over few steps are
# unrolled by the engine, so here they are for Keras, too; `test_rounding` has them as they come.
NETS = {
    "dense": (TABLE, lambda x: layers.Dense(8, activation="tanh")(x)),
    "dropout": (TABLE, lambda x: layers.Dropout(0.4, seed=3)(layers.Dense(8)(x))),
    "noise": (TABLE, lambda x: layers.GaussianNoise(0.3)(layers.Dense(8)(x))),
    "batch normalization": (TABLE, lambda x: layers.BatchNormalization()(layers.Dense(8)(x))),
    "layer normalization": (TABLE, lambda x: layers.LayerNormalization()(layers.Dense(8)(x))),
    "conv1d": (SEQUENCES, lambda x: layers.GlobalMaxPooling1D()(layers.Conv1D(4, 2)(x))),
    "conv2d": (IMAGES, lambda x: layers.Flatten()(layers.MaxPooling2D()(layers.Conv2D(4, 3)(x)))),
    "lstm": (SEQUENCES, lambda x: layers.LSTM(3, dropout=0.2, unroll=True)(x)),
    "gru": (LONG_SEQUENCES, lambda x: layers.GRU(3, use_bias=False)(x)),
    "bidirectional": (
        SEQUENCES,
        lambda x: layers.Bidirectional(layers.SimpleRNN(3, unroll=True))(x),
    ),
    "embedding": (
        TOKENS,
        lambda x: layers.SimpleRNN(3, unroll=True)(layers.Embedding(11, 4, mask_zero=True)(x)),
    ),
    "attention": (SEQUENCES, lambda x: layers.Flatten()(layers.Attention()([x, x]))),
    "regularizers": (TABLE, regularized),
    "add_loss": (TABLE, lambda x: ActivityLoss()(layers.Dense(4)(x))),
    "shared layer": (TABLE, shared),
    "frozen layers": (TABLE, frozen),
    "nested model": (TABLE, nested),
}

COSINE = schedules.CosineDecay(0.01, 7, alpha=0.1, warmup_target=0.03, warmup_steps=3)
# Beyond these: further arguments of any optimizer, dtype policies, arguments of compile.
OPTIONS = {
    "clipnorm": {"clipnorm": 0.05},
    "clipvalue": {"clipvalue": 0.01},
    "global_clipnorm": {"global_clipnorm": 0.05},
    "weight_decay": {"weight_decay": 0.1},
    "ema": {"use_ema": True, "ema_momentum": 0.8},
    "ema overwriting": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    "exponential decay": {"learning_rate": schedules.ExponentialDecay(0.02, 4, 0.7)},
    "cosine decay": {"learning_rate": COSINE},
    "accumulation": {"gradient_accumulation_steps": 3},
    "accumulated ema": {"gradient_accumulation_steps": 2, "use_ema": True},
    "mixed_float16": {"policy": "mixed_float16"},
    "mixed_bfloat16": {"policy": "mixed_bfloat16"},
    "loss_weights": {"loss_weights": [0.3], "weighted_metrics": ["mse"]},
    "steps_per_execution": {"steps_per_execution": 3},
}
NEEDS_MORE = {"LossScaleOptimizer", "MultiOptimizer", "Optimizer"}
OPTIMIZERS = {
    name: cls
    for name, cls in inspect.getmembers(optimizers, inspect.isclass)
    if issubclass(cls, optimizers.Optimizer) and name not in NEEDS_MORE
} | {
    "SGD momentum": functools.partial(optimizers.SGD, momentum=0.9),
    "SGD nesterov": functools.partial(optimizers.SGD, momentum=0.9, nesterov=True),
    "RMSprop centered": functools.partial(optimizers.RMSprop, centered=True, momentum=0.5),
    "Adam amsgrad": functools.partial(optimizers.Adam, amsgrad=True),
}
# Sample weights and validation data, or not.
DATA = [(False, False), (True, True), (True, False), (False, True)]


def compiled(model, loss="mse", optimizer="adam", metrics=None, **options):
    model.compile(optimizer, loss, metrics=metrics, **options)
    model.optimizer.build(model.trainable_variables)
    return model


def make_maker(net, loss, optimizer, policy="float32", **options):
    """Return a function that makes the net of a case, compiled, and with a built optimizer."""
    x, body = NETS[net]
    units, activation, _, metric = LOSSES[loss]
    of_compile = {"loss_weights", "weighted_metrics", "steps_per_execution", "jit_compile"}
    compile_options = {k: options.pop(k) for k in of_compile & options.keys()}

    def make():
        keras.config.set_dtype_policy(policy)  # nets are made in a thread of their own
        inputs = keras.Input(x.shape[1:], dtype=x.dtype.name)
        outputs = layers.Dense(units, activation=activation)(body(inputs))
        model = keras.Model(inputs, outputs)
        return compiled(model, loss, OPTIMIZERS[optimizer](**options), [metric], **compile_options)

    return make


def rows_of(x, y, weight=None, n_rows=N_ROWS, dtype="float32"):
    integer = y.dtype.kind == "i"
    return Rows(
        x[:n_rows],
        y[:n_rows],
        None if weight is None else weight[:n_rows],
        x_dtypes=x.dtype.name,
        y_dtypes="int32" if integer else dtype,
        weight_dtype=dtype,
    )


def schedule_of(shuffle=True):
    return Schedule(EPOCHS, BATCH_SIZE, np.random.default_rng(5), shuffle=shuffle)


def fit(train, make, rows, validation=None, callbacks=()):
    """Train a new net; return the net and its history."""
    net = Net(make_seeded(make, seed=7), make)
    history = {}
    train(net, rows, schedule_of(), history, validation=validation, callbacks=callbacks)
    return net, history


def state_of(net):
    """Everything that training changes in a net: weights, seeds, the optimizer's variables."""
    return [variable.numpy() for variable in state_variables(net.model)]


def assert_same(one, other):
    """Assert that two outcomes, nets and histories, have the same bits."""
    (net, history), (expected_net, expected) = one, other
    assert list(history) == list(expected)
    assert history == expected
    variables = state_variables(expected_net.model)
    for variable, got, want in zip(variables, state_of(net), state_of(expected_net), strict=True):
        np.testing.assert_array_equal(got, want, strict=True, err_msg=variable.path)


def assert_parity(make, rows, validation=None, callbacks=list):
    """Assert that engine and `keras.Model.fit` agree, and that the program serves a second fit."""
    expected = fit(keras_loop.train, make, rows, validation, callbacks())
    moved = zip(state_of(expected[0]), state_of(Net(make_seeded(make, 7), make)), strict=True)
    assert any((after != before).any() for after, before in moved)
    for _ in range(2):
        assert_same(fit(compiled_loop.train, make, rows, validation, callbacks()), expected)


@pytest.fixture(scope="module", autouse=True)
def _no_programs_left():
    yield
    skkeras.clear_cache()


def cases():
    """Yield combinations, three for every net; losses, optimizers and options take turns."""
    optimizer_names = itertools.cycle(OPTIMIZERS)
    turns = [itertools.cycle(names) for names in (NETS, OPTIONS, LOSSES)]
    for number in range(3 * len(NETS)):
        net, option, loss = (next(turn) for turn in turns)
        if number % 6 == 5:
            next(turns[2])  # six losses and four kinds of data would always pair up
        data = DATA[number % 4]
        yield net, loss, next(optimizer_names), option, *data


def case_id(case):
    net, loss, optimizer, option, weighted, validated = case
    marks = [name for name, is_on in (("weighted", weighted), ("validated", validated)) if is_on]
    return " ".join([f"{net}, {loss}, {optimizer}, {option}", *marks])


@pytest.mark.parametrize("case", [*cases()], ids=case_id)
def test_training_is_that_of_keras_bit_for_bit(case):
    net, loss, optimizer, option, weighted, validated = case
    if optimizer == "Muon" and is_older("keras", "3.13"):
        pytest.skip(f"Muon of Keras {keras.__version__} fails with TensorFlow, by itself, too")
    options = OPTIONS[option]
    dtype = "float64" if option == "float64" else "float32"
    x, y = NETS[net][0], LOSSES[loss][2]
    rows = rows_of(x, y, WEIGHT if weighted else None, dtype=dtype)
    validation = rows_of(x, y, n_rows=N_VALIDATION, dtype=dtype) if validated else None
    assert_parity(make_maker(net, loss, optimizer, **options), rows, validation)


def test_every_optimizer_loss_and_option_has_several_cases():
    for position, names in enumerate((NETS, LOSSES, OPTIMIZERS, OPTIONS)):
        met = [case[position] for case in cases()]
        assert min(met.count(name) for name in names) >= 2
    assert len({*cases()}) == len([*cases()])


class OwnStep(keras.Model):
    """A training loop of the user's own."""

    def train_step(self, data):
        import tensorflow as tf

        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True), weight)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        largest = max(keras.ops.max(keras.ops.abs(gradient)) for gradient in gradients[:1])
        return {"loss": loss, "largest_gradient": largest}


def multiple_inputs_and_outputs():
    table, sequence = keras.Input((6,), name="table"), keras.Input((4, 3), name="sequence")
    features = layers.Concatenate()([layers.Dense(4)(table), layers.Flatten()(sequence)])
    outputs = {
        "level": layers.Dense(1, name="level")(features),
        "code": layers.Dense(3, activation="softmax", name="code")(features),
    }
    return compiled(
        keras.Model([table, sequence], outputs),
        {"level": "huber", "code": "sparse_categorical_crossentropy"},
        loss_weights={"level": 1.0, "code": 0.3},
        metrics={"level": ["mae", "mse"], "code": ["accuracy"]},
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_several_inputs_and_outputs_are_trained_as_keras_does(weighted):
    def rows(n_rows, weight=None):
        return Rows(
            {"table": TABLE[:n_rows], "sequence": SEQUENCES[:n_rows]},
            {"level": LEVEL[:n_rows, None], "code": CODES[:n_rows]},
            weight,
            x_dtypes={"table": "float32", "sequence": "float32"},
            y_dtypes={"level": "float32", "code": "int32"},
        )

    weight = {"level": WEIGHT, "code": WEIGHT[::-1]} if weighted else None
    assert_parity(multiple_inputs_and_outputs, rows(N_ROWS, weight), rows(N_VALIDATION))


def small_net(**options):
    def make():
        inputs = keras.Input((6,))
        outputs = layers.Dense(1)(layers.Dense(4, activation="tanh")(inputs))
        return compiled(keras.Model(inputs, outputs), metrics=["mae"], **options)

    return make


ROWS = rows_of(TABLE, LEVEL[:, None])
VALIDATION = rows_of(TABLE, LEVEL[:, None], n_rows=N_VALIDATION)


def own_step():
    inputs = keras.Input((6,))
    return compiled(OwnStep(inputs, layers.Dense(1)(layers.Dropout(0.3)(inputs))))


def float64():
    inputs = keras.Input((6,), dtype="float64")
    outputs = layers.Dense(1, dtype="float64")(layers.Dense(4, dtype="float64")(inputs))
    return compiled(keras.Model(inputs, outputs), metrics=["mae"])


def float16_with_scaled_loss():
    inner = optimizers.Adam(use_ema=True, ema_momentum=0.9, clipnorm=0.1)
    scaling = optimizers.LossScaleOptimizer(inner, initial_scale=2.0**10, dynamic_growth_steps=2)
    half = {"dtype": "mixed_float16"}
    inputs = keras.Input((6,))
    features = layers.BatchNormalization(**half)(layers.Dense(8, **half)(inputs))
    outputs = layers.Dense(1, dtype="float32")(features)
    return compiled(keras.Model(inputs, outputs), optimizer=scaling)


def float16_that_overflows():
    scaling = optimizers.LossScaleOptimizer(optimizers.SGD(), initial_scale=2.0**30)
    half = {"dtype": "mixed_float16"}
    inputs = keras.Input((6,))
    outputs = layers.Dense(1, dtype="float32")(layers.Dense(8, **half)(inputs))
    return compiled(keras.Model(inputs, outputs), optimizer=scaling)


def several_optimizers():
    inputs = keras.Input((6,))
    hidden, output = layers.Dense(4), layers.Dense(1)
    model = keras.Model(inputs, output(hidden(inputs)))
    adam, sgd = optimizers.Adam(0.01), optimizers.SGD(0.1)
    choice = optimizers.MultiOptimizer(lambda variable: adam if variable.shape[-1] == 4 else sgd)
    return compiled(model, optimizer=choice)


OTHER_NETS = [own_step, float64, float16_with_scaled_loss, float16_that_overflows]
if hasattr(optimizers, "MultiOptimizer"):  # Keras 3.10 has none
    OTHER_NETS.append(several_optimizers)


@pytest.mark.parametrize("make", OTHER_NETS, ids=lambda make: make.__name__)
def test_other_nets_are_trained_as_keras_does(make):
    dtype = "float64" if make is float64 else "float32"
    rows = rows_of(TABLE.astype(dtype), LEVEL[:, None].astype(dtype), WEIGHT, dtype=dtype)
    validation = rows_of(TABLE.astype(dtype), LEVEL[:, None].astype(dtype), n_rows=9, dtype=dtype)
    assert_parity(make, rows, validation)


def synchronized():
    inputs = keras.Input((6,))
    features = layers.BatchNormalization(synchronized=True)(layers.Dense(4)(inputs))
    return compiled(keras.Model(inputs, layers.Dense(1)(features)), optimizer="sgd")


def recurrent():
    inputs = keras.Input((4, 3))
    features = layers.Bidirectional(layers.LSTM(3, return_sequences=True, dropout=0.2))(inputs)
    features = layers.SimpleRNN(5, go_backwards=True)(
        layers.GRU(4, return_sequences=True)(features)
    )
    return compiled(keras.Model(inputs, layers.Dense(1)(features)))


# XLA, the moments that are summed over replicas, and the gradients of recurrent layers that the
# engine unrolls, are rounded differently in the two graphs.
@pytest.mark.parametrize(
    "make, x",
    [(small_net(jit_compile=True), TABLE), (synchronized, TABLE), (recurrent, SEQUENCES)],
    ids=["jit_compile", "synchronized batch normalization", "unrolled"],
)
def test_rounding(make, x):
    rows, validation = rows_of(x, LEVEL[:, None]), rows_of(x, LEVEL[:, None], n_rows=N_VALIDATION)
    (net, history), (expected_net, expected) = (
        fit(train, make, rows, validation) for train in (compiled_loop.train, keras_loop.train)
    )
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5)
    for got, want in zip(state_of(net), state_of(expected_net), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "net, loss, options",
    [
        ("dense", "huber", {"clipnorm": 0.05}),
        ("conv2d", "sparse_categorical_crossentropy", {}),
        ("batch normalization", "mse", {"use_ema": True}),
    ],
)
def test_the_other_side_is_fit_on_arrays_without_shuffling(net, loss, options):
    make = make_maker(net, loss, "Adam", **options)
    x, y = NETS[net][0], LOSSES[loss][2]
    ours, theirs = (Net(make_seeded(make, 7)) for _ in range(2))
    history = {}
    keras_loop.train(
        ours,
        rows_of(x, y, WEIGHT),
        schedule_of(shuffle=False),
        history,
        validation=rows_of(x, y, n_rows=N_VALIDATION),
    )
    expected = theirs.model.fit(
        x,
        y,
        sample_weight=WEIGHT,
        validation_data=(x[:N_VALIDATION], y[:N_VALIDATION]),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        shuffle=False,
        verbose=0,
    )
    assert_same((ours, history), (theirs, expected.history))


# Callbacks


class Recorder(keras.callbacks.Callback):
    """Writes down every call, and what there is to see in it."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def note(self, hook, *arguments):
        optimizer = self.model.optimizer
        seen = [*self.model.get_weights(), optimizer.iterations.numpy()]
        parameters = {k: v for k, v in self.params.items() if k != "verbose"}
        self.calls.append((hook, arguments, parameters, [value.tolist() for value in seen]))

    def on_train_begin(self, logs=None):
        self.note("train begin", logs)

    def on_train_end(self, logs=None):
        self.note("train end", logs)

    def on_epoch_begin(self, epoch, logs=None):
        self.note("epoch begin", epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self.note("epoch end", epoch, logs)

    def on_test_begin(self, logs=None):
        self.note("test begin", logs)

    def on_test_end(self, logs=None):
        self.note("test end", logs)


class BatchRecorder(Recorder):
    """Watches the batches, too."""

    def on_train_batch_begin(self, batch, logs=None):
        self.note("batch begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self.note("batch end", batch, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self.note("test batch begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self.note("test batch end", batch, logs)


@pytest.mark.parametrize("validation", [None, VALIDATION], ids=["alone", "validated"])
def test_callbacks_see_the_same_calls_logs_and_weights(validation):
    ours, theirs = Recorder(), Recorder()
    one = fit(compiled_loop.train, small_net(), ROWS, validation, [ours])
    other = fit(keras_loop.train, small_net(), ROWS, validation, [theirs])
    assert_same(one, other)
    assert len(ours.calls) == 2 + EPOCHS * (2 + 2 * (validation is not None))
    for call, expected in zip(ours.calls, theirs.calls, strict=True):
        assert call == expected
        assert list(call[1][-1] or ()) == list(expected[1][-1] or ())


def test_batch_hooks_are_called_for_every_batch():
    options = {"epochs": 2, "batch_size": BATCH_SIZE, "random_state": 0, "callbacks": BatchRecorder}
    split = {"X_val": TABLE[:N_VALIDATION], "y_val": LEVEL[:N_VALIDATION]}
    calls = []
    for engine in ("compiled", "keras"):
        estimator = KerasRegressor(engine=engine, **options).fit(TABLE, LEVEL, **split)
        calls.append(estimator.callbacks_[0].calls)
    assert calls[0] == calls[1]
    hooks = [hook for hook, *_ in calls[0]]
    one_epoch = [
        *("epoch begin", *["batch begin", "batch end"] * N_STEPS),
        *("test begin", *["test batch begin", "test batch end"] * 2, "test end", "epoch end"),
    ]
    assert hooks == ["train begin", *one_epoch * 2, "train end"]
    steps = [seen[-1] for hook, _, _, seen in calls[0] if hook == "batch end"]
    assert steps == [*range(1, 2 * N_STEPS + 1)]


def stopper(hook, when=lambda *arguments: True):
    """Make a callback that stops training in one of its hooks."""

    def stop(self, *arguments, **named):
        if when(*arguments):
            self.model.stop_training = True

    return type("Stopper", (keras.callbacks.Callback,), {hook: stop})


@pytest.mark.parametrize(
    "hook, steps",
    [
        ("on_train_begin", 1),
        ("on_epoch_begin", 1),
        ("on_epoch_end", N_STEPS),
        ("on_test_begin", N_STEPS),
        ("on_test_end", N_STEPS),
        ("on_train_end", EPOCHS * N_STEPS),
    ],
)
def test_stopping_in_any_hook_stops_where_keras_stops(hook, steps):
    Stopper = stopper(hook)
    one, other = (
        fit(train, small_net(), ROWS, VALIDATION, [Stopper()])
        for train in (compiled_loop.train, keras_loop.train)
    )
    assert_same(one, other)
    assert one[0].model.optimizer.iterations.numpy() == steps


@pytest.mark.parametrize(
    "hook, steps",
    [
        ("on_train_batch_begin", 3),
        ("on_train_batch_end", 3),
        ("on_test_batch_begin", N_STEPS),
        ("on_test_batch_end", N_STEPS),
    ],
)
def test_stopping_at_a_batch_stops_where_keras_stops(hook, steps):
    is_train = "train" in hook
    Stopper = stopper(hook, when=lambda batch, *_: batch == 2 or not is_train)
    estimator = KerasRegressor(
        small_net_for_estimators, epochs=EPOCHS, batch_size=BATCH_SIZE, callbacks=Stopper
    )
    estimator.fit(TABLE, LEVEL, X_val=TABLE[:N_VALIDATION], y_val=LEVEL[:N_VALIDATION])
    assert estimator.model_.optimizer.iterations.numpy() == steps
    assert estimator.n_iter_ == 1


def small_net_for_estimators(input_shape, n_outputs, output_activation):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(4, activation="tanh"),
            layers.Dense(n_outputs, activation=output_activation),
        ]
    )


class HalveWeights(keras.callbacks.Callback):
    """Changes the weights in the hook it is told."""

    def __init__(self, hook):
        super().__init__()
        setattr(self, hook, self.halve)

    def halve(self, *arguments, **named):
        self.model.set_weights([value / 2 for value in self.model.get_weights()])


HALVING_HOOKS = (
    *("on_train_begin", "on_epoch_begin", "on_test_begin"),
    *("on_test_end", "on_epoch_end", "on_train_end"),
)
CALLBACKS = {
    "SwapEMAWeights": lambda: keras.callbacks.SwapEMAWeights(),
    "SwapEMAWeights at epochs": lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
    "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(
        lambda _, rate: rate / 2
    ),
    "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau(patience=0, min_delta=10.0),
    "EarlyStopping": lambda: keras.callbacks.EarlyStopping(
        patience=0, min_delta=10.0, restore_best_weights=True
    ),
} | {f"halving in {hook}": functools.partial(HalveWeights, hook) for hook in HALVING_HOOKS}


def net_with_averages():
    optimizer = optimizers.Adam(0.01, use_ema=True, ema_momentum=0.8)
    return small_net(optimizer=optimizer)()


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_change_the_net_as_in_keras(name):
    make = net_with_averages if "EMA" in name else small_net()
    assert_same(
        *[
            fit(train, make, ROWS, VALIDATION, [CALLBACKS[name]()])
            for train in (compiled_loop.train, keras_loop.train)
        ]
    )


# Estimators


@pytest.mark.parametrize(
    "n_classes, options",
    [
        (2, {"class_weight": "balanced", "validation_split": 0.2, "metrics": ["accuracy"]}),
        (3, {"early_stopping": True, "callbacks": keras.callbacks.EarlyStopping("loss", 9.0)}),
        (3, {"shuffle": False, "optimizer__clipnorm": 0.1, "fit__initial_epoch": 1}),
    ],
    ids=["weighted", "stopping early", "in order"],
)
def test_estimators_learn_the_same_with_either_engine(n_classes, options):
    fixed = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "random_state": 0}
    one = KerasClassifier(small_net_for_estimators, **fixed, **options)
    other = clone(one).set_params(engine="keras")
    for estimator in (one, other):
        estimator.fit(TABLE, np.minimum(CODES, n_classes - 1), sample_weight=WEIGHT)
        estimator.partial_fit(TABLE, np.minimum(CODES, n_classes - 1))
    assert one.history_ == other.history_
    assert one.n_iter_ == other.n_iter_
    states = [state_variables(estimator.model_) for estimator in (one, other)]
    for got, want in zip(*states, strict=True):
        np.testing.assert_array_equal(got.numpy(), want.numpy(), err_msg=want.path)


def test_a_metric_that_is_an_array_goes_by_keras():
    options = {"metrics": [keras.metrics.F1Score()], "epochs": 1, "random_state": 0}
    histories = [
        KerasClassifier(
            small_net_for_estimators, loss="categorical_crossentropy", engine=engine, **options
        )
        .fit(TABLE, CODES)
        .history_
        for engine in ("compiled", "keras")
    ]
    np.testing.assert_equal(*histories)
    assert np.shape(histories[0]["f1_score"]) == (1, 3)
