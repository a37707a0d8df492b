"""Callbacks of Keras's and of scikit-learn's act in a fit as they do at home."""

import csv
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from skkeras import KerasClassifier, KerasRegressor, models

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

callbacks = keras.callbacks
ENGINES = ("compiled", "keras")
EPOCHS = 6
BATCH_SIZE = 20


def linear(input_shape, n_outputs):
    """A net that doesn't scale its outputs, as the preset does."""
    return models.linear(input_shape, n_outputs, "linear")


def regressor(engine="compiled", **parameters):
    """A linear net whose training plain Keras can repeat: rows in their order."""
    return KerasRegressor(
        linear,
        optimizer="sgd",
        optimizer__learning_rate=0.01,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        shuffle=False,
        random_state=0,
        engine=engine,
        **parameters,
    )


def classifier(**parameters):
    settings = {"model__units": 8, "epochs": 3, "random_state": 0}
    return KerasClassifier("mlp", **{**settings, **parameters})


@pytest.fixture(scope="module")
def fit_plain_keras(X, values):
    """What `keras.Model.fit` makes of the same net, data and callback: model and history."""
    start = regressor().initialize(X, values).model_.get_weights()
    data = X.astype("float32"), values.astype("float32").reshape(-1, 1)

    def fit(callback, validation):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mean_squared_error")
        model.set_weights(start)
        history = model.fit(
            *data,
            epochs=EPOCHS,
            batch_size=BATCH_SIZE,
            shuffle=False,
            verbose=0,
            callbacks=[callback],
            validation_data=data if validation else None,
        )
        return model, history.history

    return fit


def halve(epoch, learning_rate):
    return learning_rate / 2


def halves(n):
    """The learning rates that `halve` makes."""
    return [0.01 / 2**i for i in range(1, n + 1)]


def early_stopping(folder):
    # The loss falls by less than this from the second epoch on, or the third.
    return callbacks.EarlyStopping("loss", min_delta=4.0, restore_best_weights=True)


def early_stopping_on_validation(folder):
    return callbacks.EarlyStopping("val_loss", min_delta=4.0, patience=1)


def reduced_rate(folder):
    return callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e6)


def scheduled_rate(folder):
    return callbacks.LearningRateScheduler(halve)


def checkpoint_of_each_epoch(folder):
    return callbacks.ModelCheckpoint(folder / "epoch{epoch}.keras")


def checkpoint_of_the_best_weights(folder):
    return callbacks.ModelCheckpoint(
        folder / "best.weights.h5", "val_loss", save_best_only=True, save_weights_only=True
    )


def csv_log(folder):
    return callbacks.CSVLogger(folder / "log.csv")


def tensorboard(folder):
    return callbacks.TensorBoard(folder / "logs")


def tensorboard_with_histograms(folder):
    return callbacks.TensorBoard(folder / "logs", histogram_freq=1)


def tensorboard_of_batches(folder):
    return callbacks.TensorBoard(folder / "logs", update_freq="batch")


def nan_guard(folder):
    return callbacks.TerminateOnNaN()


MAKERS = [
    early_stopping,
    early_stopping_on_validation,
    reduced_rate,
    scheduled_rate,
    checkpoint_of_each_epoch,
    checkpoint_of_the_best_weights,
    csv_log,
    tensorboard,
    tensorboard_with_histograms,
    tensorboard_of_batches,
    nan_guard,
]
every_callback = pytest.mark.parametrize("make", MAKERS, ids=[make.__name__ for make in MAKERS])


# --- As in keras.Model.fit -------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, engine",
    [
        *((make, "compiled") for make in MAKERS),
        *((make, "keras") for make in (early_stopping, reduced_rate, csv_log)),
    ],
)
def test_fit_with_a_callback_is_that_of_plain_keras(
    tmp_path, fit_plain_keras, X, values, make, engine
):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    validated = make in (early_stopping_on_validation, checkpoint_of_the_best_weights)
    validation = {"X_val": X, "y_val": values} if validated else {}
    net = regressor(engine, callbacks=make(ours)).fit(X, values, **validation)
    model, history = fit_plain_keras(make(theirs), validated)

    assert net.history_.keys() == history.keys()
    for name, logged in history.items():
        assert net.history_[name] == pytest.approx(logged, rel=1e-5)
    for weights, expected in zip(net.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-6)
    rate = float(net.model_.optimizer.learning_rate)
    assert rate == pytest.approx(float(model.optimizer.learning_rate))
    assert list_files(ours) == list_files(theirs)


def list_files(folder):
    """List what was written, without what differs from run to run: times and hosts."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path).split(".out.")[0] for path in files)


@every_callback
def test_estimator_can_be_pickled_afterwards(tmp_path, X, values, make):
    net = regressor(callbacks=make(tmp_path), validation_split=0.2).fit(X, values)
    loaded = pickle.loads(pickle.dumps(net))
    assert np.array_equal(loaded.predict(X), net.predict(X))
    assert loaded.history_ == net.history_
    loaded.fit(X, values)
    assert loaded.history_ == net.history_


# --- Each does what it is for ----------------------------------------------------------------


@pytest.fixture
def fit(tmp_path, X, values):
    def fit(make, **parameters):
        parameters = {"validation_split": 0.2, **parameters}
        return regressor(callbacks=make(tmp_path), **parameters).fit(X, values)

    return fit


def test_early_stopping_stops_and_restores_the_best_weights(fit, X, values):
    whole = regressor(validation_split=0.2).fit(X, values)
    net = fit(early_stopping)
    n_epochs = len(net.history_["loss"])
    assert 1 < n_epochs < EPOCHS
    assert net.n_iter_ == n_epochs
    assert net.history_["loss"] == whole.history_["loss"][:n_epochs]
    # What was best is the epoch before the one that gained too little.
    best = regressor(validation_split=0.2, fit__epochs=n_epochs - 1).fit(X, values)
    assert np.array_equal(net.predict(X), best.predict(X))


def test_learning_rate_is_reduced_on_a_plateau(fit):
    net = fit(reduced_rate)
    rates = net.history_["learning_rate"]
    assert rates[0] == pytest.approx(0.01)
    assert float(net.model_.optimizer.learning_rate) < rates[-1] < rates[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_learning_rate_follows_its_schedule(fit, engine):
    net = fit(scheduled_rate, engine=engine)
    assert net.history_["learning_rate"] == pytest.approx(halves(EPOCHS))
    assert float(net.model_.optimizer.learning_rate) == pytest.approx(0.01 / 2**EPOCHS)
    assert net.get_params()["optimizer__learning_rate"] == 0.01


def test_schedule_of_one_fit_does_not_reach_the_next(fit, X, values):
    before = regressor().fit(X, values)
    fit(scheduled_rate)
    after = regressor().fit(X, values)
    assert after.history_ == before.history_
    assert float(after.model_.optimizer.learning_rate) == pytest.approx(0.01)


def test_checkpoints_hold_the_net_of_their_epoch(tmp_path, fit, X, values):
    net = fit(checkpoint_of_each_epoch)
    rows = X.astype("float32")
    for epoch in range(1, EPOCHS + 1):
        saved = keras.saving.load_model(tmp_path / f"epoch{epoch}.keras")
        expected = regressor(validation_split=0.2, fit__epochs=epoch).fit(X, values)
        predicted = saved.predict(rows, verbose=0).ravel()
        np.testing.assert_allclose(predicted, expected.predict(X), rtol=1e-5, atol=1e-5)
        assert int(saved.optimizer.iterations) == int(expected.model_.optimizer.iterations)
    np.testing.assert_allclose(predicted, net.predict(X), rtol=1e-5, atol=1e-5)


def test_checkpoint_of_the_best_weights_is_loaded_back(tmp_path, fit, X):
    net = fit(checkpoint_of_the_best_weights)
    assert np.argmin(net.history_["val_loss"]) == EPOCHS - 1
    expected = net.predict(X)
    net.model_.set_weights([np.zeros_like(w) for w in net.model_.get_weights()])
    assert not np.allclose(net.predict(X), expected)
    net.model_.load_weights(tmp_path / "best.weights.h5")
    assert np.array_equal(net.predict(X), expected)


def test_csv_file_has_the_history(tmp_path, fit):
    net = fit(csv_log)
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(EPOCHS))
    for name, logged in net.history_.items():
        assert [float(row[name]) for row in rows] == pytest.approx(logged)


@pytest.mark.parametrize("make", [tensorboard, tensorboard_with_histograms])
def test_tensorboard_shows_the_history(tmp_path, fit, make):
    net = fit(make)
    for part, name in [("train", "loss"), ("validation", "val_loss")]:
        events = EventAccumulator(str(tmp_path / "logs" / part)).Reload()
        logged = events.Tensors("epoch_loss")
        assert [event.step for event in logged] == list(range(EPOCHS))
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in logged]
        assert values == pytest.approx(net.history_[name], rel=1e-5)
        has_histograms = any("kernel" in tag for tag in events.Tags()["tensors"])
        assert has_histograms == (part == "train" and make is tensorboard_with_histograms)


def test_several_callbacks_act_together(tmp_path, X, values):
    together = {
        "log": csv_log(tmp_path),
        "rates": [scheduled_rate(tmp_path), early_stopping(tmp_path)],
    }
    net = regressor(callbacks=together).fit(X, values)
    n_epochs = len((tmp_path / "log.csv").read_text().splitlines()) - 1
    assert n_epochs == net.n_iter_ < EPOCHS
    assert net.history_["learning_rate"] == pytest.approx(
        [0.01 / 2**n for n in range(1, n_epochs + 1)]
    )
    assert [type(one).__name__ for one in net.callbacks_] == [
        "CSVLogger",
        "LearningRateScheduler",
        "EarlyStopping",
    ]


def test_callback_goes_on_over_partial_fits(X, values):
    net = regressor(callbacks=callbacks.LearningRateScheduler(halve))
    for _ in range(3):
        net.partial_fit(X, values)
    assert net.history_["learning_rate"] == pytest.approx(halves(3))


class Notes(callbacks.Callback):
    """Notes what it is told."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def on_train_begin(self, logs=None):
        self.heard.append("train begins")

    def on_epoch_begin(self, epoch, logs=None):
        self.heard.append(f"epoch {epoch} begins")

    def on_test_end(self, logs=None):
        self.heard.append("test ends")

    def on_epoch_end(self, epoch, logs=None):
        self.heard.append(f"epoch {epoch} ends with {', '.join(sorted(logs))}")

    def on_train_end(self, logs=None):
        self.heard.append("train ends")


class BatchNotes(Notes):
    def on_train_batch_end(self, batch, logs=None):
        self.heard.append(f"batch {batch} ends")


@pytest.mark.parametrize("notes", [Notes, BatchNotes])
def test_hooks_are_called_as_plain_keras_calls_them(fit_plain_keras, X, values, notes):
    theirs, ours = notes(), notes()
    fit_plain_keras(theirs, True)
    net = regressor(callbacks=ours).fit(X, values, X_val=X, y_val=values)
    assert net.callbacks_[0].heard == theirs.heard
    assert ours.heard == []


# --- Shared instances ------------------------------------------------------------------------


class Drift(callbacks.Callback):
    """Remembers losses over fits if it is shared, and stops early then."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
        if len(self.losses) >= 3 and self.losses[-1] > 0.98 * self.losses[-2]:
            self.model.stop_training = True


def test_shared_instance_does_the_same_with_one_and_two_jobs(X, binary):
    drift = Drift()
    stopping = callbacks.EarlyStopping("loss", min_delta=0.02, restore_best_weights=True)
    rate = callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.1)
    grid = {"model__units": [4, 8], "optimizer__learning_rate": [0.01, 0.1]}
    before = [dict(vars(callback)) for callback in (drift, stopping, rate)]

    def search(**jobs):
        net = classifier(epochs=8, callbacks=[drift, stopping, rate])
        return GridSearchCV(net, grid, cv=2, return_train_score=True, **jobs).fit(X, binary)

    alone, jobs = search(n_jobs=1), search(n_jobs=2)
    for name, column in alone.cv_results_.items():
        if "time" not in name:
            assert np.array_equal(jobs.cv_results_[name], column), name
    assert jobs.best_estimator_.history_ == alone.best_estimator_.history_
    assert np.array_equal(jobs.predict_proba(X), alone.predict_proba(X))
    assert [vars(callback) for callback in (drift, stopping, rate)] == before
    assert drift.losses == []


def test_each_fit_has_callbacks_of_its_own(X, binary):
    net = classifier(callbacks=Drift())
    first = net.fit(X, binary).callbacks_[0]
    second = net.fit(X, binary).callbacks_[0]
    assert first is not second
    assert first.losses == second.losses == net.history_["loss"]


# --- Callbacks of scikit-learn's -------------------------------------------------------------


def scores(monitor):
    """The logged scores by the path of the task that they are of."""
    return {row["task_id_path"]: row["accuracy"] for row in monitor.get_logs().data}


def scores_by_epoch(X, y, units=8):
    """What a net scores after one, two and three epochs."""
    nets = [classifier(model__units=units, epochs=n).fit(X, y) for n in (1, 2, 3)]
    return [accuracy_score(y, net.predict(X)) for net in nets]


def test_scoring_monitor_sees_every_epoch(X, binary, sklearn_callbacks):
    monitor = sklearn_callbacks.ScoringMonitor(scoring="accuracy")
    net = classifier().set_callbacks(monitor).fit(X, binary)
    assert list(scores(monitor).values()) == scores_by_epoch(X, binary)
    assert monitor.get_logs().estimator_name == "KerasClassifier"
    assert net.history_ == classifier().fit(X, binary).history_


def test_scoring_monitor_in_a_pipeline(X, binary, sklearn_callbacks):
    monitor = sklearn_callbacks.ScoringMonitor(scoring="accuracy")
    make_pipeline(StandardScaler(), classifier().set_callbacks(monitor)).fit(X, binary)
    expected = scores_by_epoch(StandardScaler().fit_transform(X), binary)
    assert list(scores(monitor).values()) == expected
    assert monitor.get_logs().estimator_name == "Pipeline"


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scoring_monitor_in_a_grid_search(X, binary, n_jobs, sklearn_callbacks):
    monitor = sklearn_callbacks.ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), classifier().set_callbacks(monitor))
    grid = {"kerasclassifier__model__units": [4, 8]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs).fit(X, binary)
    by_fit = {}
    for path, score in scores(monitor).items():
        by_fit.setdefault(path[:-1], []).append(score)
    assert len(by_fit) == 5  # two candidates on two splits, and the refit
    assert {len(fit) for fit in by_fit.values()} == {3}
    refit = scores_by_epoch(
        StandardScaler().fit_transform(X), binary, search.best_params_.popitem()[1]
    )
    assert refit in by_fit.values()


def test_progress_bar_shows_the_fit(X, binary, capsys, sklearn_callbacks):
    net = classifier().set_callbacks(sklearn_callbacks.ProgressBar()).fit(X, binary)
    shown = capsys.readouterr().out
    assert "KerasClassifier - fit" in shown
    assert "100%" in shown
    assert net.history_ == classifier().fit(X, binary).history_


def test_progress_bar_of_a_fit_that_stops_early_is_complete(X, binary, capsys, sklearn_callbacks):
    stopping = callbacks.EarlyStopping("loss", min_delta=1e6)
    bar = sklearn_callbacks.ProgressBar()
    net = classifier(callbacks=stopping).set_callbacks(bar).fit(X, binary)
    assert net.n_iter_ < 3
    assert "100%" in capsys.readouterr().out


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_progress_bar_in_pipeline_and_grid_search(X, binary, capsys, n_jobs, sklearn_callbacks):
    pipeline = make_pipeline(StandardScaler(), classifier())
    grid = {"kerasclassifier__model__units": [4, 8]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
    search.set_callbacks(sklearn_callbacks.ProgressBar(max_propagation_depth=None)).fit(X, binary)
    shown = capsys.readouterr().out
    assert "GridSearchCV - fit" in shown
    # Two candidates on two splits, and the refit.
    assert shown.count("KerasClassifier - fit") >= 5
    assert shown.count("StandardScaler - fit") >= 5


def test_both_kinds_of_callbacks_act_in_one_fit(X, binary, sklearn_callbacks):
    monitor = sklearn_callbacks.ScoringMonitor(scoring="accuracy")
    stopping = callbacks.EarlyStopping("loss", min_delta=1e6)
    net = classifier(callbacks=stopping).set_callbacks(monitor).fit(X, binary)
    assert len(scores(monitor)) == net.n_iter_ == 1 + stopping.patience + 1
    loaded = pickle.loads(pickle.dumps(net))
    assert np.array_equal(loaded.predict(X), net.predict(X))


def test_scoring_monitor_hears_of_partial_fits(X, binary, sklearn_callbacks):
    monitor = sklearn_callbacks.ScoringMonitor(scoring="accuracy")
    net = classifier().set_callbacks(monitor)
    net.partial_fit(X, binary)
    assert list(scores(monitor).values()) == scores_by_epoch(X, binary)[:1]


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.EarlyStopping(monitor="val_f1_score", mode="max"),
        keras.callbacks.ReduceLROnPlateau(monitor="f1_score", mode="max"),
    ],
)
def test_a_metric_with_a_value_for_each_class_is_no_monitor(X, labels, callback):
    options = {"validation_split": 0.2, "epochs": 2, "random_state": 0}
    net = KerasClassifier(metrics=[keras.metrics.F1Score()], callbacks=callback, **options)
    with pytest.raises(ValueError, match=r"has 3 values.*F1Score\(average='macro'\)"):
        net.fit(X, labels)
    assert not hasattr(net, "history_")


def test_values_for_each_class_are_in_the_history(X, labels):
    net = KerasClassifier(metrics=[keras.metrics.F1Score()], epochs=2, early_stopping=True)
    history = net.fit(X, labels).history_
    assert np.shape(history["val_f1_score"]) == np.shape(history["f1_score"]) == (2, 3)
    expected = f1_score(labels, net.predict(X), average=None)
    np.testing.assert_allclose(net.evaluate(X, labels)["f1_score"], expected, rtol=1e-4)


class Sentinel(callbacks.Callback):
    """Doesn't call its parent's constructor: that of SciKeras's tutorial."""

    def __init__(self, start_at=0):
        self.n_epochs = start_at

    def on_epoch_begin(self, epoch, logs=None):
        self.n_epochs += 1


@pytest.mark.parametrize("engine", ENGINES)
def test_callback_that_does_not_call_its_parents_constructor_is_cloned_trained_and_pickled(
    X, values, engine
):
    net = regressor(engine, callbacks=[Sentinel(start_at=2)])
    found = cross_validate(net, X, values, cv=2, return_estimator=True)
    assert [fitted.callbacks_[0].n_epochs for fitted in found["estimator"]] == [EPOCHS + 2] * 2
    assert net.callbacks[0].n_epochs == 2
    loaded = pickle.loads(pickle.dumps(found["estimator"][0]))
    assert loaded.fit(X, values).callbacks_[0].n_epochs == EPOCHS + 2
