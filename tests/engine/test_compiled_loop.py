"""Training in compiled programs: order, pace, threads, failures, memory, and the result."""

import concurrent.futures
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import skkeras
from skkeras import KerasClassifier, KerasRegressor
from skkeras._engine import compiled_functions, compiled_loop, keras_loop, program
from skkeras._engine.compiled_loop import Schedule
from skkeras._engine.net import Net
from skkeras._engine.rows import Rows
from skkeras._keras_objects.internals import make_seeded
from skkeras.exceptions import DivergenceError

# Coverage is measured elsewhere, as in test_parity.py.
pytestmark = pytest.mark.no_cover

keras = pytest.importorskip("keras")
layers = keras.layers

rng = np.random.default_rng(0)
X = rng.normal(size=(53, 6)).astype("float32")
y = (X @ rng.normal(size=6)).astype("float32")
ENGINES = {"compiled": compiled_loop.train, "keras": keras_loop.train}


@pytest.fixture(autouse=True)
def _empty_cache():
    skkeras.clear_cache()
    yield
    skkeras.clear_cache()


def build(input_shape, n_outputs, units=8, rate=0.2):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(units, activation="relu"),
            layers.Dropout(rate),
            layers.Dense(n_outputs),
        ]
    )


def regressor(**options):
    fixed = {"epochs": 3, "batch_size": 16, "random_state": 0}
    return KerasRegressor(build, **{**fixed, **options})


def weights_of(estimator):
    return estimator.model_.get_weights()


def assert_same(one, other):
    for got, want in zip(one, other, strict=True):
        np.testing.assert_array_equal(got, want, strict=True)


# Order


class Counts(keras.metrics.Metric):
    """Counts how often each sample was seen; the targets are the samples' numbers."""

    def __init__(self, n_rows):
        super().__init__(name="counts")
        self.counts = self.add_weight(shape=(n_rows,), initializer="zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        numbers = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32")
        seen = keras.ops.one_hot(numbers, self.counts.shape[0])
        self.counts.assign_add(keras.ops.sum(seen, axis=0))

    def result(self):
        return {"least": keras.ops.min(self.counts), "most": keras.ops.max(self.counts)}


class Watched(Rows):
    """Rows that write down which of them were taken."""

    def take(self, indices):
        self.taken.append(indices)
        return super().take(indices)


def watched(n_rows):
    numbers = np.arange(n_rows, dtype="float32")[:, None]
    rows = Watched(numbers, numbers)
    object.__setattr__(rows, "taken", [])  # rows are frozen
    return rows


def counting_net(n_rows):
    def make():
        model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[Counts(n_rows)])
        model.optimizer.build(model.trainable_variables)
        return model

    return Net(make_seeded(make, 0), make)


@pytest.mark.parametrize("seconds", [1e-9, compiled_loop.SECONDS_PER_CALL], ids=["slices", "spans"])
@pytest.mark.parametrize("n_rows, batch_size", [(53, 16), (64, 16), (5, 32), (7, 1)])
def test_every_sample_is_seen_once_per_epoch(monkeypatch, n_rows, batch_size, seconds):
    monkeypatch.setattr(compiled_loop, "SECONDS_PER_CALL", seconds)
    schedule = Schedule(4, batch_size, np.random.default_rng(0))
    rows = watched(n_rows)
    history = {}
    compiled_loop.train(counting_net(n_rows), rows, schedule, history)
    assert history["least"] == history["most"] == [1.0] * 4
    assert sum(len(taken) for taken in rows.taken[1:]) == 4 * n_rows  # first, an example


def test_orders_follow_the_generator_and_differ_between_epochs():
    rows = watched(53)
    compiled_loop.train(counting_net(53), rows, Schedule(3, 16, np.random.default_rng(5)), {})
    orders = np.concatenate(rows.taken[1:]).reshape(3, 53)
    generator = np.random.default_rng(5)
    assert_same(orders, [generator.permutation(53) for _ in range(3)])
    assert not (orders[0] == orders[1]).all()


def test_without_shuffling_the_order_is_that_of_the_rows():
    rows = watched(53)
    schedule = Schedule(2, 16, np.random.default_rng(5), shuffle=False)
    compiled_loop.train(counting_net(53), rows, schedule, {})
    np.testing.assert_array_equal(np.concatenate(rows.taken[1:]), [*range(53)] * 2)


def test_orders_follow_random_state():
    weights = [weights_of(regressor(random_state=seed).fit(X, y)) for seed in (0, 0, 1)]
    assert_same(weights[0], weights[1])
    assert (weights[0][0] != weights[2][0]).any()


# Pace


class Clock:
    """Time as it would pass if a step took so many seconds."""

    def __init__(self, monkeypatch, seconds_per_step):
        self.now, self.longest, self.n_calls = 0.0, 0.0, 0
        self.seconds_per_step = seconds_per_step
        monkeypatch.setattr(compiled_loop.time, "perf_counter", lambda: self.now)
        for name in ("train", "test"):
            monkeypatch.setattr(program.Program, name, self._timed(getattr(program.Program, name)))

    def _timed(self, method):
        def run(program_, batch, batch_rows, *arguments, **options):
            outcome = method(program_, batch, batch_rows, *arguments, **options)
            seconds = len(batch_rows) * self.seconds_per_step
            self.now += seconds
            self.longest = max(self.longest, seconds)
            self.n_calls += 1
            return outcome

        return run


@pytest.mark.parametrize("seconds_per_step", [1e-4, 2e-3, 0.03, 0.1])
def test_control_returns_within_half_a_second(monkeypatch, seconds_per_step):
    clock = Clock(monkeypatch, seconds_per_step)
    regressor(batch_size=1, epochs=60, validation_split=0.2).fit(X, y)
    assert clock.longest <= 0.5
    # Nor is it so often that it costs: mostly, a call takes as long as it may.
    if seconds_per_step >= 2e-3:
        one_epoch = 42 * seconds_per_step  # with validation data every epoch is a call at least
        assert clock.now / clock.n_calls > min(0.1, one_epoch / 4)


def test_a_step_slower_than_that_is_a_call_of_its_own(monkeypatch):
    clock = Clock(monkeypatch, 0.7)
    estimator = regressor(batch_size=16, epochs=4).fit(X, y)
    assert clock.n_calls == 1 + 3 * 4  # the very first call has several
    assert estimator.model_.optimizer.iterations.numpy() == 4 * 4


def test_the_pace_of_one_batch_size_is_not_taken_for_another(monkeypatch):
    clock = Clock(monkeypatch, 1e-4)
    regressor(batch_size=1, epochs=100).fit(X, y)
    clock.seconds_per_step, clock.longest = 0.1, 0.0
    regressor(batch_size=8, epochs=10).fit(X, y)
    assert clock.longest <= 0.5


@pytest.mark.slow
def test_control_returns_in_a_long_epoch_indeed(monkeypatch):
    seconds, train = [], program.Program.train

    def timed(*arguments):
        begin = time.perf_counter()
        outcome = train(*arguments)
        seconds.append(time.perf_counter() - begin)
        return outcome

    monkeypatch.setattr(program.Program, "train", timed)
    big = rng.normal(size=(150_000, 64)).astype("float32")
    KerasRegressor(build, model__units=512, epochs=1, batch_size=32).fit(big, big[:, 0])
    assert sum(seconds) > 1.0  # or it was no long epoch
    assert np.median(seconds) < 0.5
    assert max(seconds) < 1.5  # three times that, for machines that are busy with other things


def test_slices_change_nothing(monkeypatch):
    options = {"validation_split": 0.3, "metrics": ["mae"]}
    spans = regressor(**options).fit(X, y)
    monkeypatch.setattr(compiled_loop, "BUFFER_BYTES", 1)
    slices = regressor(**options).fit(X, y)
    assert slices.history_ == spans.history_
    assert_same(weights_of(slices), weights_of(spans))
    assert slices.evaluate(X, y) == spans.evaluate(X, y)


# Threads


@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "cold"])
def test_threads_give_the_serial_results(is_warm):
    jobs = [
        regressor(random_state=seed, epochs=4, model__units=8 + seed % 2, validation_split=0.2)
        for seed in range(8)
    ]
    serial = [clone(job).fit(X, y) for job in jobs]
    if not is_warm:
        skkeras.clear_cache()
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        threaded = [*threads.map(lambda job: clone(job).fit(X, y), jobs)]
        outputs = [*threads.map(lambda estimator: estimator.predict(X), threaded)]
    for one, other, output in zip(threaded, serial, outputs, strict=True):
        assert one.history_ == other.history_
        assert_same(weights_of(one), weights_of(other))
        np.testing.assert_array_equal(output, other.predict(X))


# Failures


class Raising(keras.callbacks.Callback):
    def __init__(self, error, hook):
        super().__init__()
        self.error, self.hook = error, hook

    def _raise_at(self, hook, epoch):
        if hook == self.hook and epoch == 1:
            raise self.error

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._raise_at("epoch begin", epoch)

    def on_epoch_end(self, epoch, logs=None):
        self._raise_at("epoch end", epoch)

    def on_test_end(self, logs=None):
        self._raise_at("test end", self.epoch)


@pytest.mark.parametrize("hook", ["epoch begin", "epoch end", "test end"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_callback_that_raises_leaves_the_cache_sound(error, hook):
    options = {"validation_split": 0.2, "metrics": ["mae"]}
    expected = regressor(**options).fit(X, y)
    with pytest.raises(error):
        regressor(random_state=5, callbacks=Raising(error(), hook), **options).fit(X, y)
    assert len(compiled_functions.programs) == 1
    again = regressor(**options).fit(X, y)
    assert again.history_ == expected.history_
    assert_same(weights_of(again), weights_of(expected))


def test_an_interrupted_call_leaves_the_cache_sound(monkeypatch):
    expected = regressor().fit(X, y)
    train = program.Program.train

    def interrupted(*arguments):
        train(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(program.Program, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            regressor(random_state=5).fit(X, y)
    assert len(compiled_functions.programs) == 1
    assert_same(weights_of(regressor().fit(X, y)), weights_of(expected))


def test_divergence_leaves_the_cache_sound():
    expected = regressor(optimizer="sgd", optimizer__learning_rate=0.01).fit(X, y)
    with pytest.raises(DivergenceError):
        regressor(optimizer="sgd", optimizer__learning_rate=1e9).fit(X, y)
    assert len(compiled_functions.programs) == 1
    again = regressor(optimizer="sgd", optimizer__learning_rate=0.01).fit(X, y)
    assert_same(weights_of(again), weights_of(expected))


def test_what_diverged_does_not_predict():
    estimator = regressor(optimizer="sgd", optimizer__learning_rate=1e9)
    with pytest.raises(DivergenceError):
        estimator.fit(X, y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_the_epoch_of_divergence_is_told():
    errors = []
    for engine in ENGINES:
        with pytest.raises(DivergenceError, match="optimizer__learning_rate") as caught:
            KerasRegressor(
                lambda input_shape: keras.Sequential([keras.Input(input_shape), layers.Dense(1)]),
                optimizer="sgd",
                optimizer__learning_rate=30.0,
                epochs=60,
                random_state=0,
                engine=engine,
            ).fit(X, y)
        errors.append(caught.value.epoch)
    assert errors[0] == errors[1] > 1


def net_behind_relu(input_layers):
    def make():
        # Whatever is large and positive leaves this layer as 0.
        hidden = layers.Dense(4, "relu", kernel_initializer=keras.initializers.Constant(-1.0))
        model = keras.Sequential([keras.Input((6,)), *input_layers(), hidden, layers.Dense(1)])
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    return Net(make_seeded(make, 0), make)


def moving_statistics():
    return [layers.ReLU(), layers.BatchNormalization(center=False, scale=False)]


@pytest.mark.parametrize(
    "input_layers, value", [(list, np.inf), (moving_statistics, 3e30)], ids=["weights", "moving"]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_nan_behind_a_finite_loss_is_found(engine, input_layers, value):
    spoilt = X.copy()
    spoilt[-1, 2] = value
    rows, schedule = Rows(spoilt, y[:, None]), Schedule(1, 16, np.random.default_rng(0), False)
    with pytest.raises(DivergenceError, match="epoch 1") as caught:
        ENGINES[engine](net_behind_relu(input_layers), rows, schedule, {})
    assert caught.value.epoch == 1
    net, history = net_behind_relu(input_layers), {}
    with pytest.warns(RuntimeWarning, match="diverged in epoch 1"):
        ENGINES[engine](net, rows, schedule, history, on_divergence="warn")
    assert np.isfinite(history["loss"]).all()
    assert not all(np.isfinite(weight).all() for weight in net.model.get_weights())


# Cache


def test_clear_cache_empties_it_and_estimators_go_on():
    estimator = regressor().fit(X, y)
    expected = estimator.predict(X)
    assert len(compiled_functions.programs) == 1
    skkeras.clear_cache()
    assert len(compiled_functions.programs) == 0
    np.testing.assert_array_equal(estimator.predict(X), expected)
    estimator.partial_fit(X, y)
    assert estimator.n_iter_ == 4
    fresh = regressor().fit(X, y).partial_fit(X, y)
    assert_same(weights_of(estimator), weights_of(fresh))


def test_a_program_in_use_does_not_come_back_to_a_cleared_cache():
    clearing = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: skkeras.clear_cache())
    regressor(callbacks=lambda: clearing).fit(X, y)
    assert len(compiled_functions.programs) == 0


# Memory


BIG_FIT = """
    import resource
    import numpy as np
    from skkeras import KerasRegressor

    def build(input_shape):
        import keras

        return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1)])

    def estimator():
        return KerasRegressor(build, epochs=1, batch_size=1024, validation_split=0.1)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    rng = np.random.default_rng(0)
    X = rng.random((500_000, 270))  # 1 GiB of float64
    y = X[:, 0].copy()
    estimator().fit(X[:50_000], y[:50_000]).predict(X[:50_000])
    before = peak()
    fitted = estimator().fit(X, y)
    after_fit = peak()
    fitted.predict(X)
    print(X.nbytes, after_fit - before, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no module resource")
def test_a_large_array_is_not_copied_whole():
    run = [sys.executable, "-c", textwrap.dedent(BIG_FIT)]
    outcome = subprocess.run(run, capture_output=True, text=True, check=True)
    size, by_fit, by_predict = map(int, outcome.stdout.split()[-3:])
    assert size >= 1e9
    # Some buffers of 32 MiB, and some numbers for each of the 500,000 rows.
    assert by_fit < 128 * 2**20
    assert by_predict < 192 * 2**20


def test_wide_targets_count_for_the_buffer():
    rows = Rows(X, np.zeros((53, 1000), "float32"))
    assert rows.row_bytes >= 4 * 1006


# The model


def test_model_works_as_any_keras_model(tmp_path, capsys):
    estimator = regressor(metrics=["mae"]).fit(X, y)
    model = estimator.model_
    model.summary()
    assert "Total params" in capsys.readouterr().out
    np.testing.assert_allclose(
        model.predict(X, verbose=0).ravel(), estimator.predict(X), rtol=1e-5, atol=1e-6
    )
    assert model.evaluate(X, y[:, None], verbose=0, return_dict=True) == estimator.evaluate(X, y)
    assert model.optimizer.iterations.numpy() == 3 * 4
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(loaded.get_weights(), model.get_weights())
    assert loaded.optimizer.iterations.numpy() == 3 * 4
    history = model.fit(X, y[:, None], epochs=2, verbose=0).history
    assert len(history["mae"]) == 2
    assert model.optimizer.iterations.numpy() == 3 * 4 + 2 * 2  # Keras's batches are of 32


def test_changing_the_model_changes_its_estimator_and_no_other():
    one, other = regressor().fit(X, y), regressor().fit(X, y)
    untouched = other.predict(X)
    one.model_.set_weights([np.zeros_like(weight) for weight in weights_of(one)])
    np.testing.assert_array_equal(one.predict(X), np.zeros(53))
    np.testing.assert_array_equal(other.predict(X), untouched)
    np.testing.assert_array_equal(regressor().fit(X, y).predict(X), untouched)


def test_training_the_model_by_keras_is_training_the_estimator():
    estimator = regressor().fit(X, y)
    estimator.model_.fit(X, y[:, None], verbose=0)
    np.testing.assert_allclose(
        estimator.predict(X), estimator.model_.predict(X, verbose=0).ravel(), rtol=1e-5, atol=1e-6
    )
    before = weights_of(estimator)
    estimator.set_params(optimizer__learning_rate=0.001).partial_fit(X, y)
    steps = np.max(np.abs(weights_of(estimator)[0] - before[0]))
    assert 0 < steps < 0.1  # from there, and not from elsewhere
    assert estimator.model_.optimizer.iterations.numpy() == 3 * 4 + 2 + 4


def test_a_model_that_is_held_follows_partial_fit():
    estimator = regressor().fit(X, y)
    model = estimator.model_
    before = model.get_weights()
    estimator.partial_fit(X, y)
    assert model is estimator.model_
    assert (model.get_weights()[0] != before[0]).any()
    model.set_weights([np.zeros_like(weight) for weight in before])
    np.testing.assert_array_equal(estimator.predict(X), np.zeros(53))


def test_a_model_of_an_earlier_fit_stays_as_it_was():
    estimator = regressor().fit(X, y)
    model, weights = estimator.model_, weights_of(estimator)
    estimator.set_params(random_state=1).fit(X, y)
    assert estimator.model_ is not model
    assert_same(model.get_weights(), weights)


def test_a_model_that_is_compiled_anew_trains_as_it_was_told():
    estimator = regressor().fit(X, y)
    estimator.model_.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mae")
    expected = keras.models.clone_model(estimator.model_)
    expected.set_weights(weights_of(estimator))
    estimator.partial_fit(X, y)
    assert type(estimator.model_.optimizer) is keras.optimizers.SGD
    assert estimator.model_.optimizer.iterations.numpy() == 4
    again = regressor().fit(X, y)  # the program of the others is as it was
    assert again.model_.optimizer.iterations.numpy() == 3 * 4
    assert type(again.model_.optimizer) is keras.optimizers.Adam


def test_layers_frozen_after_the_fit_stay_as_they_are():
    estimator = regressor().fit(X, y)
    estimator.model_.layers[0].trainable = False
    estimator.model_.compile("adam", "mse")
    before = weights_of(estimator)
    estimator.partial_fit(X, y)
    frozen, _, output, _ = zip(before, weights_of(estimator), strict=True)
    np.testing.assert_array_equal(*frozen)
    assert (output[0] != output[1]).any()


def test_an_interrupted_fit_keeps_what_was_trained():
    net = Net(make_seeded(lambda: _compiled(build((6,), 1)), 0), lambda: _compiled(build((6,), 1)))
    before = net.model.get_weights()
    interrupting = Raising(KeyboardInterrupt(), "epoch end")
    with pytest.raises(KeyboardInterrupt):
        compiled_loop.train(
            net,
            Rows(X, y[:, None]),
            Schedule(3, 16, np.random.default_rng(0)),
            {},
            callbacks=[interrupting],
        )
    assert net.model.optimizer.iterations.numpy() == 2 * 4
    assert (net.model.get_weights()[0] != before[0]).any()


def _compiled(model):
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_classifiers_evaluate_as_their_model_does():
    estimator = KerasClassifier(epochs=1, random_state=0, metrics=["accuracy"]).fit(X, y > 0)
    expected = estimator.model_.evaluate(X, (y > 0)[:, None], verbose=0, return_dict=True)
    assert estimator.evaluate(X, y > 0) == pytest.approx(expected)


def test_epochs_that_end_within_a_pass_are_the_same_every_time(monkeypatch):
    passes, begin = [], Schedule.begin_epoch

    def counted(schedule, rows):
        passes.append(begin(schedule, rows))
        return passes[-1]

    monkeypatch.setattr(Schedule, "begin_epoch", counted)
    options = {"batch_size": 5, "epochs": 4, "fit__steps_per_epoch": 4, "random_state": 0}
    nets = [KerasRegressor("linear", **options).fit(X[:40], y[:40]) for _ in range(5)]
    for net in nets:
        assert_same(net.model_.get_weights(), nets[0].model_.get_weights())
        assert net.history_ == nets[0].history_
    assert all(sorted(epoch.order) == list(range(40)) for epoch in passes)
