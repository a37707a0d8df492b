"""Copies and pickles of Keras objects, and of estimators that hold some, are like the original."""

import copy
import functools
import os
import pickle
import random
import subprocess
import sys
import tempfile
import textwrap

import cloudpickle
import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import cross_validate

from skkeras import KerasRegressor
from skkeras._keras_objects.copying import pack, pack_model

keras = pytest.importorskip("keras")
layers, losses, metrics, optimizers = keras.layers, keras.losses, keras.metrics, keras.optimizers

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X.sum(axis=1) * 3
A, B = np.array([[0.0, 1.0]], "float32"), np.array([[4.0, -2.0]], "float32")


def huber(y_true, y_pred):
    """Named as a loss of Keras, but another."""
    return 7 * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


def relu(x):
    """Named as an activation of Keras, but another."""
    return -x


class Scaled(losses.Loss):
    """Not registered with Keras, and without a get_config."""

    def __init__(self, factor=1.0, inner=None):
        super().__init__(name="scaled")
        self.factor = factor
        self.inner = inner or losses.Huber()

    def call(self, y_true, y_pred):
        return self.factor * self.inner(y_true, y_pred)


class Weighted(metrics.Metric):
    """Not registered with Keras, and without a get_config."""

    def __init__(self, weights, name="weighted"):
        super().__init__(name=name)
        self.weights = weights
        self.totals = [self.add_weight(initializer="zeros") for _ in weights]

    def update_state(self, y_true, y_pred, sample_weight=None):
        for weight, total in zip(self.weights, self.totals, strict=True):
            total.assign_add(weight * keras.ops.sum(keras.ops.cast(y_pred, "float32")))

    def result(self):
        return sum(self.totals)


class Momentum(optimizers.SGD):
    """Not registered, and its get_config leaves out its parameter."""

    def __init__(self, extra=0.0, **kwargs):
        super().__init__(**kwargs)
        self.extra = extra


class Secretive(optimizers.SGD):
    def __init__(self, extra=0.0, **kwargs):
        super().__init__(**kwargs)
        self.hidden = 2 * extra


class Schedule(optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate


class Forgetful(layers.Layer):
    """Its configuration leaves its factor out."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs

    def get_config(self):
        return super().get_config()


class Nested(layers.Layer):
    """Has layers where Keras's own saving does not look for them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rows = [[layers.Dense(2), layers.Dense(2)], [layers.Dense(2)]]

    def build(self, input_shape):
        for row in self.rows:
            for dense in row:
                dense.build(input_shape)
                input_shape = (*input_shape[:-1], 2)

    def call(self, inputs):
        for row in self.rows:
            for dense in row:
                inputs = dense(inputs)
        return inputs


class Holder:
    def __init__(self, loss):
        self.parts = {"deep": [(loss, 1)]}

    def method(self):
        pass


class Subclassed(keras.Model):
    def __init__(self, activation):
        super().__init__()
        self.hidden = layers.Dense(4, activation=activation)
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.out(self.hidden(inputs))


class Taped(keras.Model):
    """Trains by its own step, with a setting of its own."""

    factor = 1.0

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.factor * self.compute_loss(y=y, y_pred=self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def by_pickle(value):
    return pickle.loads(pickle.dumps(value))


def by_cloudpickle(value):
    return cloudpickle.loads(cloudpickle.dumps(value))


COPIES = [clone, copy.deepcopy, by_pickle, by_cloudpickle]
PACKED_COPIES = [
    lambda value: copy.deepcopy(pack(value)),
    lambda value: by_pickle(pack(value)),
    lambda value: by_cloudpickle(pack(value)),
]
packed_copies = pytest.mark.parametrize("copied", PACKED_COPIES, ids=["copy", "pickle", "cloud"])
copies = pytest.mark.parametrize("copied", COPIES, ids=lambda function: function.__name__)


def sequential(*parts, shape=(3,), dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


def small(seed=0):
    return sequential(layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed)))


def trained(optimizer):
    """Train a net that is fully determined, and return its weights."""
    net = sequential(layers.Dense(1, kernel_initializer="ones"))
    # Two steps, which take less than to trace one.
    net.compile(optimizer, "mse", run_eagerly=True)
    net.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    return net.get_weights()


def same_values(one, other):
    pairs = zip(one, other, strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def state(estimator):
    model = estimator.model_
    return [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


# Losses, metrics and optimizers


@packed_copies
@pytest.mark.parametrize(
    "loss",
    [
        losses.Huber(delta=3.0),
        losses.CosineSimilarity(axis=0),
        losses.CategoricalCrossentropy(from_logits=True, axis=0, label_smoothing=0.5),
        Scaled(2.0, losses.Huber(delta=3.0)),
    ],
    ids=lambda loss: loss.name,
)
def test_losses_keep_their_settings(loss, copied):
    other = copied(loss)
    assert other is not loss
    assert type(other) is type(loss)
    assert same_values([other(A, B)], [loss(A, B)])


@packed_copies
@pytest.mark.parametrize(
    "metric",
    [
        metrics.CosineSimilarity(axis=0),
        metrics.MeanMetricWrapper(huber, name="huber"),
        metrics.AUC(num_thresholds=7, from_logits=True),
        metrics.BinaryIoU(target_class_ids=[1], threshold=0.25),
        Weighted([2.0, 3.0]),
    ],
    ids=lambda metric: metric.name,
)
def test_metrics_keep_their_settings_and_start_from_zero(metric, copied):
    metric.reset_state()
    expected = metric(A, B)
    for other in (copied(metric), copied(copied(metric))):
        assert len(other.variables) == len(metric.variables)
        assert not np.any(other.variables[0].numpy())
        assert same_values([other(A, B)], [expected])
        # Another's state is not touched, and its own is reset.
        other.reset_state()
        assert same_values([metric.result()], [expected])
        assert same_values([other(A, B)], [expected])


KERAS = tuple(map(int, keras.__version__.split(".")[:2]))


def several_optimizers():
    if not hasattr(optimizers, "MultiOptimizer"):
        pytest.skip(f"Keras {keras.__version__} has no MultiOptimizer")
    return optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(0.125), {".*bias": optimizers.Adam(0.5)})
    )


OPTIMIZERS = {
    "averaging": lambda: optimizers.Adam(
        0.5, clipnorm=0.5, use_ema=True, ema_overwrite_frequency=1
    ),
    "users schedule": lambda: optimizers.SGD(Schedule(0.125)),
    "schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)),
    "function": lambda: optimizers.SGD(quarter),
    "scaling": lambda: optimizers.LossScaleOptimizer(optimizers.SGD(Schedule(0.125), momentum=0.5)),
    "several": lambda: several_optimizers(),
    "users": lambda: Momentum(extra=3.0, learning_rate=0.125, nesterov=True, momentum=0.5),
}


def quarter():
    return 0.25


@packed_copies
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_keep_their_settings_and_start_afresh(name, copied):
    optimizer = OPTIMIZERS[name]()
    other = copied(optimizer)
    expected = trained(optimizer)
    assert same_values(trained(other), expected)
    assert getattr(other, "extra", None) == getattr(optimizer, "extra", None)
    assert same_values(trained(copied(optimizer)), expected)


def test_what_was_excluded_from_weight_decay_stays_so():
    optimizer = optimizers.AdamW(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["kernel"])
    assert same_values(trained(by_pickle(pack(optimizer))), trained(optimizer))


def test_what_hides_its_settings_is_refused_with_what_to_pass_instead():
    with pytest.raises(ValueError, match=r"optimizer=Secretive.*'extra'.*Pass the class instead"):
        pickle.dumps(KerasRegressor(optimizer=Secretive(extra=3.0)))
    with pytest.raises(ValueError, match=r"optimizer=Secretive.*'extra'.*Pass the class instead"):
        clone(KerasRegressor(optimizer=Secretive(extra=3.0)))


def test_local_classes_travel_by_cloudpickle():
    class Local(Scaled):
        pass

    loss = Local(2.0)
    assert same_values([by_cloudpickle(pack(loss))(A, B)], [loss(A, B)])
    assert type(copy.deepcopy(pack(loss))) is Local
    with pytest.raises((pickle.PicklingError, AttributeError), match="Local"):
        pickle.dumps(pack(loss))


def test_values_without_keras_objects_are_left_alone():
    for value in ([1, "adam"], {"a": keras.losses.huber}, keras.optimizers.SGD, np.arange(3)):
        assert pack(value) is value


@packed_copies
def test_objects_are_found_wherever_they_are(copied):
    loss = losses.Huber(delta=3.0)
    for value in (
        {"a": [loss], "b": (loss, "mse")},
        functools.partial(huber, loss, y_pred=[loss]),
        Holder(loss),
        Holder(loss).method,
        keras.callbacks.LambdaCallback(on_epoch_end=functools.partial(huber, loss)),
    ):
        found = _losses_in(copied(value))
        assert found
        assert all(part is not loss and part(A, B) == loss(A, B) for part in found)
    # What was one object is one object again.
    other = copied([loss, {"x": loss}])
    assert other[0] is other[1]["x"]


def _losses_in(value):
    if isinstance(value, losses.Loss):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    elif isinstance(value, functools.partial):
        value = [*value.args, *value.keywords.values()]
    elif hasattr(value, "__self__"):
        value = [value.__self__]
    elif hasattr(value, "__dict__"):
        value = list(vars(value).values())
    return [loss for item in value for loss in _losses_in(item)] if _is_list(value) else []


def _is_list(value):
    return isinstance(value, list | tuple)


def test_originals_are_not_changed():
    optimizer = optimizers.LossScaleOptimizer(optimizers.Adam(0.5))
    loss, metric = Scaled(2.0), Weighted([2.0])
    metric(A, B)
    before = {k: str(v) for k, v in vars(optimizer).items()}, dict(vars(loss)), metric.result()
    for thing in (optimizer, loss, metric):
        by_pickle(pack(thing))
    after = {k: str(v) for k, v in vars(optimizer).items()}, vars(loss), metric.result()
    assert before == after


# Estimators that hold Keras objects


@copies
def test_an_estimators_parameters_keep_their_settings(copied):
    estimator = KerasRegressor(
        loss=losses.Huber(delta=3.0),
        optimizer=optimizers.SGD(Schedule(0.125)),
        metrics=[metrics.CosineSimilarity(axis=0), "mae", huber],
        callbacks={"stop": keras.callbacks.EarlyStopping(patience=3)},
        optimizer__learning_rate=Schedule(0.25),
        compile__weighted_metrics=[metrics.MeanMetricWrapper(huber, name="huber")],
    )
    other = copied(estimator)
    assert other.loss(A, B) == estimator.loss(A, B)
    assert other.optimizer.learning_rate == 0.125
    assert other.metrics[0](A, B) == estimator.metrics[0](A, B)
    assert other.metrics[1:] == ["mae", huber]
    assert other.callbacks["stop"].patience == 3
    assert other.get_params()["optimizer__learning_rate"].rate == 0.25
    assert other.get_params()["compile__weighted_metrics"][0](A, B) == huber(A, B)
    # Nothing is shared.
    for name in ("loss", "optimizer", "metrics", "callbacks"):
        assert getattr(other, name) is not getattr(estimator, name)
    assert other.metrics[0] is not estimator.metrics[0]
    assert other.get_params().keys() == estimator.get_params().keys()


@copies
def test_a_user_function_stays_that_function(copied):
    assert copied(KerasRegressor(loss=huber, metrics=[huber])).loss is huber


def test_clone_checks_the_constructor_as_scikit_learn_does():
    class Meddling(KerasRegressor):
        def __init__(self, model=None, loss=None):
            super().__init__(model, loss=copy.copy(loss) and losses.Huber(2.0))

    with pytest.raises(RuntimeError, match="either does not set or modifies parameter loss"):
        clone(Meddling(loss=losses.Huber(3.0)))


def test_clone_of_a_subclass_and_of_what_scikit_learn_adds():
    class Own(KerasRegressor):
        def __init__(self, delta=losses.Huber(3.0), units=(1, 2)):  # noqa: B008
            super().__init__()
            self.delta = delta
            self.units = units

    with config_context(enable_metadata_routing=True):
        other = clone(Own(losses.Huber(5.0)).set_fit_request(sample_weight=True))
        assert other.get_metadata_routing().fit.requests["sample_weight"] is True
    assert other.delta(A, B) == losses.Huber(5.0)(A, B)
    assert other.units == (1, 2)


def test_a_callbacks_model_of_an_earlier_fit_is_left_behind():
    callback = keras.callbacks.EarlyStopping(patience=5)
    net = small()
    net.compile("sgd", Scaled(2.0))
    net.fit(X, Y, validation_split=0.5, callbacks=[callback], verbose=0)
    for copied in (clone, by_cloudpickle):
        other = copied(KerasRegressor(callbacks=[callback])).callbacks[0]
        assert (other.patience, other.model) == (5, None)
    assert callback.model is net


def run(code, **kwargs):
    return subprocess.run(
        # Imports are faster without.
        [sys.executable, "-c", "import gc\ngc.disable()\n" + textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
        **kwargs,
    ).stdout


def test_copies_of_a_default_estimator_do_not_import_tensorflow():
    run(
        """
        import copy, pickle, sys
        from sklearn.base import clone
        from skkeras import KerasClassifier
        estimator = KerasClassifier("mlp", optimizer="adam", metrics=["accuracy"], model__units=3)
        for other in (clone(estimator), copy.deepcopy(estimator)):
            assert other.get_params() == estimator.get_params()
        pickle.loads(pickle.dumps(estimator))
        assert not {"tensorflow", "keras"} & set(sys.modules)
        """
    )


@pytest.mark.slow
def test_worker_processes_train_with_the_same_loss():
    estimator = KerasRegressor(
        small(),
        loss=losses.Huber(delta=0.125),
        optimizer=optimizers.SGD(Schedule(0.125)),
        metrics=[metrics.CosineSimilarity(axis=0)],
        epochs=2,
        random_state=0,
    )
    results = [
        cross_validate(estimator, X, Y, cv=2, n_jobs=n_jobs, return_estimator=True)["estimator"]
        for n_jobs in (None, 2)
    ]
    for serial, parallel in zip(*results, strict=True):
        assert serial.history_ == parallel.history_
        assert same_values(state(serial), state(parallel))
        assert parallel.history_["loss"][0] < 0.125 * np.abs(Y).max()  # mse's would be larger


# Templates


def adapted(layer, data):
    layer.adapt(data)
    return layer


def frozen(layer):
    layer.trainable = False
    return layer


def with_slices():
    inputs = keras.Input((4, 3))
    attended = layers.MultiHeadAttention(2, 3, dropout=0.25)(inputs, inputs)
    return keras.Model(inputs, layers.Dense(1)((attended + inputs)[:, 0]))


def siamese():
    encode = sequential(layers.Dense(3))
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    out = layers.Dense(1, name="out")(layers.concatenate([encode(a), encode(b)]))
    return keras.Model({"a": a, "b": b}, {"out": out, "code": encode(a)})


def taped():
    inputs = keras.Input((3,))
    net = Taped(inputs, layers.Dense(1)(inputs))
    net.factor = 3.0
    return net


def quantized():
    net = keras.Sequential([layers.Dense(4), layers.Dense(1)])
    net.build((None, 3))
    for dense in net.layers:
        dense.quantize("int8")
    return net


NETS = {
    "sequential": lambda: sequential(layers.Dense(2, "relu"), layers.Dropout(0.5), layers.Dense(1)),
    "unbuilt": lambda: keras.Sequential([layers.Dense(2), layers.BatchNormalization()]),
    "slices": with_slices,
    "siamese": siamese,
    "taped": taped,
    "users activation": lambda: sequential(layers.Dense(2, relu), layers.Dense(1, "relu")),
    "users function": lambda: sequential(layers.Lambda(relu), layers.Dense(1)),
    "forgetful": lambda: sequential(Forgetful(3.0), layers.Dense(1)),
    "nested": lambda: sequential(Nested(), layers.Dense(1)),
    "normalization": lambda: sequential(adapted(layers.Normalization(), X), layers.Dense(1)),
    "discretization": lambda: sequential(
        adapted(layers.Discretization(num_bins=3), X), layers.Dense(1)
    ),
    "text": lambda: sequential(
        adapted(layers.TextVectorization(output_mode="tf_idf"), ["a b", "b c"]),
        layers.Dense(1),
        shape=(),
        dtype="string",
    ),
    "strings": lambda: sequential(
        adapted(layers.StringLookup(output_mode="one_hot"), [["x"], ["y"]]),
        layers.Dense(1),
        shape=(1,),
        dtype="string",
    ),
    "unbuilt with vocabulary": lambda: keras.Sequential(
        [adapted(layers.TextVectorization(output_mode="tf_idf"), ["a b"]), layers.Dense(1)]
    ),
    "partly frozen": lambda: sequential(
        sequential(frozen(layers.Dense(2)), layers.BatchNormalization()), layers.Dense(1)
    ),
    "frozen": lambda: frozen(sequential(sequential(layers.Dense(2)), layers.Dense(1))),
    "recurrent": lambda: sequential(
        layers.Bidirectional(layers.LSTM(2, recurrent_dropout=0.5)), layers.Dense(1), shape=(4, 3)
    ),
    "mixed": lambda: sequential(layers.Dense(2, dtype="mixed_float16"), layers.Dense(1)),
    "quantized": quantized,
}


@packed_copies
@pytest.mark.parametrize("name", NETS)
def test_nets_are_copied_with_all_they_have_learnt(name, copied):
    net = NETS[name]()
    other = copied(net)
    assert other is not net
    assert same_values(other.variables, net.variables)
    assert [v.trainable for v in other.variables] == [v.trainable for v in net.variables]
    assert other.trainable == net.trainable
    assert (other.built, other.compiled) == (net.built, False)
    assert [layer.name for layer in other.layers] == [layer.name for layer in net.layers]
    if net.built:
        x = rows(net)
        assert same_values(*[keras.tree.flatten(n(x)) for n in (net, other)])
    assert getattr(other, "factor", None) == getattr(net, "factor", None)


def rows(net):
    draw = np.random.default_rng(1).normal
    if net.inputs[0].dtype == "string":
        import tensorflow as tf

        return tf.fill((5, *net.input_shape[1:]), "b" if len(net.input_shape) == 1 else "y")
    drawn = {t.name: draw(size=(5, *t.shape[1:])).astype("float32") for t in net.inputs}
    return drawn if len(drawn) > 1 else drawn.popitem()[1]


@copies
def test_templates_are_copied_with_what_they_were_compiled_with(copied):
    net = small()
    net.compile(
        optimizers.SGD(Schedule(0.125)),
        Scaled(2.0, losses.Huber(3.0)),
        metrics=[metrics.CosineSimilarity(axis=0), huber],
        loss_weights=[0.5],
        steps_per_execution=2,
    )
    net.fit(X, Y, verbose=0)
    other = copied(KerasRegressor(net)).model
    assert other is not net
    assert other.loss(A, B) == net.loss(A, B)
    assert other.optimizer.learning_rate == 0.125
    assert int(other.optimizer.iterations) == 0
    assert other.steps_per_execution == 2
    assert other.evaluate(X, Y, verbose=0) == net.evaluate(X, Y, verbose=0)


def test_a_compiled_template_trains_with_its_own_loss():
    net = small()
    net.compile(optimizers.SGD(0.125), losses.Huber(0.125), metrics=[huber])
    estimator = KerasRegressor(net, epochs=2, shuffle=False)
    history = estimator.fit(X, Y).history_
    expected = small()
    expected.compile(optimizers.SGD(0.125), losses.Huber(0.125), metrics=[huber])
    expected = expected.fit(X, Y[:, None], epochs=2, shuffle=False, verbose=0).history
    assert history.keys() == expected.keys()
    assert {k: pytest.approx(v, rel=1e-5) for k, v in expected.items()} == history


def test_a_template_that_cannot_be_copied_is_refused_with_what_to_pass_instead():
    net = Subclassed(relu)  # Keras can't write the function that it was given
    net(X)
    with pytest.raises(ValueError, match=r"Subclassed.*cannot be copied.*Pass a function that"):
        clone(KerasRegressor(net))

    class Own(keras.Sequential):
        def compile(self, own_loss):
            super().compile("sgd", own_loss)

    net = Own([keras.Input((3,)), layers.Dense(1)])
    net.compile(losses.Huber(3.0))
    with pytest.raises(ValueError, match=r"Own has a compile method of its own.*Pass a function"):
        clone(KerasRegressor(net))


def test_vocabularies_that_keras_would_break_are_refused():
    lookup = layers.StringLookup()
    lookup.adapt(["one\ntoken"])
    with pytest.raises(ValueError, match="cannot be copied"):
        pack_model(lookup)


def test_layers_as_hyperparameters_are_copied_with_what_they_have_learnt():
    words = adapted(layers.TextVectorization(output_sequence_length=2), ["a b", "b c"])
    for copied in COPIES:
        other = copied(KerasRegressor(small, model__seed=0, **{"compile__x": words}))
        other = other.get_params()["compile__x"]
        assert other is not words
        assert other.get_vocabulary() == words.get_vocabulary()


@copies
def test_no_global_random_state_is_touched(copied):
    net = sequential(layers.Dense(2), layers.Dropout(0.5), layers.Dense(1))
    estimator = KerasRegressor(net, loss=losses.Huber(3.0), optimizer=optimizers.Adam(0.5))
    if copied is not clone:
        estimator.initialize(X, Y)

    def draws():
        keras.utils.set_random_seed(0)
        if KERAS < (3, 13):  # it seeds no generator that is there
            keras.utils.clear_session(free_memory=False)
        yield
        yield random.random(), np.random.rand(), float(keras.random.uniform(()))
        yield layers.Dense(1).kernel_initializer.seed

    expected = [*draws()]
    found = draws()
    next(found)
    copied(estimator)
    assert [*found] == expected[1:]


# Fitted estimators


def compiled_builder():
    """Compile with what estimators are not told of."""
    net = sequential(layers.Dense(2, relu), layers.Dense(1))
    net.compile(
        optimizers.Adam(Schedule(0.125)),
        Scaled(2.0, losses.Huber(0.125)),
        metrics=[metrics.CosineSimilarity(axis=0), huber],
    )
    return net


def adapting_builder(X):
    net = sequential(adapted(layers.Normalization(), X), layers.Dropout(0.5), layers.Dense(1))
    net.compile(optimizers.SGD(0.125), losses.Huber(0.125), metrics=[huber])
    return net


def subclassed_builder():
    return Subclassed(relu)


def local_builder():
    class Local(layers.Layer):
        def call(self, inputs):
            return inputs * 2

    return sequential(Local(), layers.Dense(1, activation=lambda x: x))


def taped_builder():
    net = taped()
    net.compile("sgd", losses.Huber(0.125))
    return net


def local_layer_builder():
    class Local(layers.Layer):
        def call(self, inputs):
            return inputs * 2

    return sequential(Local(), layers.Dense(1))


def mixed_builder(X):  # asks for X, so it is not run again
    # Of the thread that nets are made in, so nobody else's.
    keras.config.set_dtype_policy("mixed_float16")
    net = sequential(layers.Dense(1))
    net.compile("adam", losses.Huber(0.125))
    assert isinstance(net.optimizer, optimizers.LossScaleOptimizer)
    return net


FITTED = {
    "instances": lambda: KerasRegressor(
        small,
        loss=losses.Huber(0.125),
        optimizer=optimizers.SGD(Schedule(0.125), use_ema=True, ema_overwrite_frequency=2),
        metrics=[metrics.CosineSimilarity(axis=0), "mae"],
    ),
    "users loss": lambda: KerasRegressor(small, loss=huber, metrics=[huber]),
    "routed": lambda: KerasRegressor(
        small, loss="huber", loss__delta=0.125, optimizer__learning_rate=0.125
    ),
    "compiled builder": lambda: KerasRegressor(compiled_builder),
    "adapting builder": lambda: KerasRegressor(adapting_builder),
    "subclassed": lambda: KerasRegressor(subclassed_builder, loss=Scaled(2.0)),
    "local": lambda: KerasRegressor(local_builder, loss=Scaled(2.0)),
    "local layer": lambda: KerasRegressor(local_layer_builder),
    "mixed precision": lambda: KerasRegressor(mixed_builder),
    "own training step": lambda: KerasRegressor(taped_builder),
    "scaled loss": lambda: KerasRegressor(
        small, optimizer=optimizers.LossScaleOptimizer(optimizers.Adam(0.125))
    ),
    "several optimizers": lambda: KerasRegressor(
        small,
        optimizer=several_optimizers(),
    ),
    "template": lambda: KerasRegressor(compiled_builder()),
}


@pytest.mark.parametrize("name", FITTED)
def test_training_goes_on_as_if_it_had_not_been_pickled(name, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    estimator = FITTED[name]().set_params(random_state=0, epochs=2).fit(X, Y)
    before = state(estimator), dict(vars(estimator))
    others = [copied(estimator) for copied in COPIES[1:]]
    assert same_values(state(estimator), before[0])
    assert vars(estimator) == before[1]
    assert not [*tmp_path.iterdir()]
    estimator.partial_fit(X, Y)
    for other in others:
        assert same_values(state(other), before[0])
    other = others[1].partial_fit(X, Y)
    assert same_values(state(other), state(estimator))
    assert other.history_ == estimator.history_
    assert other.evaluate(X, Y) == estimator.evaluate(X, Y)


def test_what_counts_is_what_a_net_was_made_with_not_what_was_set_since():
    estimator = KerasRegressor(small, loss=losses.Huber(0.125), epochs=1, random_state=0).fit(X, Y)
    estimator.set_params(loss="mse", optimizer="adam", model__seed=3)
    other = by_pickle(estimator)
    assert other.evaluate(X, Y) == estimator.evaluate(X, Y)
    assert same_values(state(other), state(estimator))


def test_what_a_user_compiles_model_with_counts():
    estimator = KerasRegressor(small, epochs=1, random_state=0).fit(X, Y)
    estimator.model_.compile(optimizers.SGD(0.125), Scaled(2.0), metrics=[huber])
    other = by_pickle(estimator)
    assert other.model_.loss(A, B) == Scaled(2.0)(A, B)
    assert other.evaluate(X, Y) == estimator.evaluate(X, Y)


def test_layers_frozen_after_compile_leave_the_optimizer_its_state():
    estimator = KerasRegressor(compiled_builder, epochs=1).fit(X, Y)
    estimator.model_.layers[0].trainable = False
    again = pickle.loads(pickle.dumps(estimator))
    states = [[v.numpy() for v in net.model_.optimizer.variables] for net in (estimator, again)]
    assert len(states[0]) > 2
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not again.model_.layers[0].trainable
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


def test_a_net_that_cannot_be_saved_is_an_error_with_what_to_pass_instead():
    net = []

    def unrepeatable():
        net.append(Subclassed(relu))
        net[-1].hidden.units = len(net)
        net[-1].extra = len(net)
        return net[-1]

    estimator = KerasRegressor(unrepeatable, epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match=r"Subclassed.*cannot be copied or saved.*get_config"):
        pickle.dumps(estimator)


MODULE = """
import keras

class Layer(keras.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.scale = self.add_weight(shape=input_shape[-1:], initializer="ones")

    def call(self, inputs):
        return self.factor * self.scale * inputs

class Loss(keras.losses.Loss):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

def relu(x):
    return -x

def huber(y_true, y_pred):
    return keras.ops.mean(y_pred, axis=-1)

def build(X):
    dense = keras.layers.Dense(1, relu)
    return keras.Sequential([keras.Input((3,)), Layer(3.0), dense])
"""


@pytest.mark.slow
def test_users_module_is_all_that_a_fresh_process_needs(tmp_path):
    (tmp_path / "users.py").write_text(MODULE)
    preamble = """
        import joblib, numpy as np, users, keras
        from skkeras import KerasRegressor
        X = np.arange(36, dtype="float32").reshape(12, 3) / 36
        y = X.sum(axis=1)
        def show(estimator):
            estimator.partial_fit(X, y)
            variables = [*estimator.model_.variables, *estimator.model_.optimizer.variables]
            print([v.numpy().tobytes().hex() for v in variables], estimator.evaluate(X, y))
            print(estimator.predict(X).tobytes().hex(), estimator.loss.factor)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    expected = run(
        preamble
        + """
        estimator = KerasRegressor(
            users.build, loss=users.Loss(3.0), metrics=[users.huber], epochs=2, random_state=0
        )
        joblib.dump(estimator.fit(X, y), "fitted.joblib")
        show(estimator)
        """,
        cwd=tmp_path,
        env=environment,
    )
    found = run(
        "import joblib\nestimator = joblib.load('fitted.joblib')\n"
        + textwrap.dedent(preamble)
        + "show(estimator)",
        cwd=tmp_path,
        env=environment,
    )
    assert found == expected
