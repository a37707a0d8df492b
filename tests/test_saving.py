"""Saved estimators predict the same in a fresh process, and train on as if nothing had been."""

import contextlib
import copy
import importlib
import os
import pickle
import subprocess
import sys

import cloudpickle
import joblib
import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier, KerasRegressor, saving

layers = keras.layers

# What a user's own file may hold. Nothing in it is registered with Keras.
USERS_MODULE = """
import keras
import numpy as np
import tensorflow as tf

class Scale(keras.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.scale = self.add_weight(shape=input_shape[1:], initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

def scaled(input_shape, n_outputs, output_activation, factor=1.0):
    return keras.Sequential([
        keras.Input(input_shape),
        Scale(factor),
        keras.layers.Dense(8, activation=squashed),
        keras.layers.Dense(n_outputs, output_activation),
    ])

def squashed(x):
    return keras.ops.tanh(x) * 0.9

class Subclassed(keras.Model):
    def __init__(self, n_outputs, output_activation, units=8):
        super().__init__()
        self.hidden = keras.layers.Dense(units, "relu")
        self.dropout = keras.layers.Dropout(0.3)
        self.last = keras.layers.Dense(n_outputs, output_activation)

    def call(self, inputs, training=False):
        return self.last(self.dropout(self.hidden(inputs), training=training))

class OwnStep(Subclassed):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": loss}

def text(X, n_outputs, output_activation):
    words = keras.layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    words.adapt(X)
    return keras.Sequential([
        keras.Input((), dtype="string"),
        words,
        keras.layers.Embedding(20, 4),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(n_outputs, output_activation),
    ])

def learning_rate(epoch, rate):
    return rate * 0.9
"""

# Loads every file in a folder, and tells what each predicts and how those named train on.
FRESH_PROCESS = """
import gc, pathlib, pickle, sys
gc.disable()  # imports are faster
import joblib

folder = pathlib.Path(sys.argv[1])
load = {".joblib": joblib.load}
predicted, trained = {}, {}
data = pickle.loads((folder / "data").read_bytes())
for path in sorted(folder.glob("*.*")):
    with open(path, "rb") as file:
        net = load.get(path.suffix, pickle.load)(file)
    X, y = data[path.stem]
    predicted[path.name] = net.predict(X), getattr(net, "history_", None)
    if path.suffix == ".pickle":
        net.partial_fit(X, y)
        optimizer = net.model_.optimizer
        state = [*net.model_.get_weights(), *(v.numpy() for v in optimizer.variables)]
        trained[path.name] = [array.tobytes() for array in state], net.history_
(folder / "results").write_bytes(pickle.dumps((predicted, trained)))
"""

DUMPS = {"pickle": pickle.dump, "joblib": joblib.dump, "cloudpickle": cloudpickle.dump}
KINDS = (
    "preset",
    "dropout",
    "regressor",
    "template",
    "own layer",
    "subclassed",
    "own step",
    "text",
    "early stopping",
)


def build_here(input_shape, n_outputs, output_activation):
    """A builder that a fresh process can't import."""

    class Local(layers.Layer):
        def call(self, inputs):
            return inputs * 2

    return keras.Sequential(
        [
            keras.Input(input_shape),
            Local(),
            layers.Dense(4, "relu"),
            layers.Dense(n_outputs, output_activation),
        ]
    )


def make_local_builder():
    return lambda input_shape, n_outputs, output_activation: build_here(
        input_shape, n_outputs, output_activation
    )


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    """The user's module, imported from a file."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "users_nets.py").write_text(USERS_MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("users_nets")
        sys.modules.pop("users_nets", None)


def make(kind, users):
    settings = {"epochs": 2, "batch_size": 20, "random_state": 0}
    template = keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax")])
    template.compile("rmsprop", "sparse_categorical_crossentropy")
    classifiers = {
        "preset": {"model": "mlp", "model__units": 8, "metrics": ["accuracy"]},
        "dropout": {"model": "mlp", "model__units": 8, "model__dropout": 0.5},
        "template": {"model": template},
        "own layer": {"model": users.scaled, "model__factor": 0.5},
        "subclassed": {"model": users.Subclassed, "model__units": 5},
        "own step": {"model": users.OwnStep},
        "text": {"model": users.text},
        "early stopping": {
            "model": "mlp",
            "model__units": 8,
            "early_stopping": True,
            "callbacks": keras.callbacks.LearningRateScheduler(users.learning_rate),
        },
    }
    if kind in classifiers:
        return KerasClassifier(**settings, **classifiers[kind])
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
    return KerasRegressor("mlp", model__units=8, optimizer=optimizer, **settings)


@pytest.fixture(scope="module")
def data(X, labels, values):
    """Rows and targets for every kind."""
    words = np.array(["red green", "blue", "blue red red", "green"] * 15, dtype=object)
    tables = dict.fromkeys((*KINDS, "local"), (X, labels))
    return {**tables, "regressor": (X, values), "text": (words, labels)}


@pytest.fixture(scope="module")
def fitted(users, data):
    return {kind: make(kind, users).fit(*data[kind]) for kind in KINDS}


@pytest.fixture(scope="module")
def local(data):
    """A pipeline with a net that a fresh process can't import."""
    net = KerasClassifier(make_local_builder(), epochs=1, random_state=0)
    return make_pipeline(StandardScaler(), net).fit(*data["local"])


@pytest.fixture(scope="module")
def fresh(fitted, local, data, users, tmp_path_factory):
    """What a process that has seen none of this finds in the files."""
    folder = tmp_path_factory.mktemp("saved")
    for kind, net in fitted.items():
        for suffix, dump in DUMPS.items():
            with open(folder / f"{kind}.{suffix}", "wb") as file:
                dump(net, file)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    (folder / "local.cloudpickle").write_bytes(cloudpickle.dumps(local))
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    (folder / "data").write_bytes(pickle.dumps(data))
    path = os.pathsep.join([os.path.dirname(users.__file__), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", FRESH_PROCESS, str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return pickle.loads((folder / "results").read_bytes())


def state(net):
    """All numbers of a net, to the bit: weights, then the optimizer's."""
    optimizer = net.model_.optimizer
    arrays = [*net.model_.get_weights(), *(variable.numpy() for variable in optimizer.variables)]
    return [array.tobytes() for array in arrays]


# --- In a fresh process ----------------------------------------------------------------------


@pytest.mark.parametrize("how", DUMPS)
@pytest.mark.parametrize("kind", KINDS)
def test_fresh_process_predicts_the_same(fresh, fitted, data, kind, how):
    predicted, history = fresh[0][f"{kind}.{how}"]
    assert np.array_equal(predicted, fitted[kind].predict(data[kind][0]))
    assert history == fitted[kind].history_


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_process_trains_on_with_the_same_optimizer_state(fresh, fitted, data, kind):
    trained, history = fresh[1][f"{kind}.pickle"]
    here = copy.deepcopy(fitted[kind]).partial_fit(*data[kind])
    np.testing.assert_equal(history, here.history_)  # early stopping leaves NaN in it
    assert trained == state(here)
    assert trained != state(fitted[kind])


def test_cloudpickle_takes_along_what_a_fresh_process_cannot_import(fresh, local, data):
    predicted, _ = fresh[0]["local.cloudpickle"]
    assert np.array_equal(predicted, local.predict(data["local"][0]))


# --- Here ------------------------------------------------------------------------------------

COPIES = {
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "cloudpickle": lambda net: pickle.loads(cloudpickle.dumps(net)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize(
    "kind, how",
    [("dropout", "pickle"), ("subclassed", "cloudpickle"), ("own layer", "deepcopy")],
)
def test_copy_is_the_same_net_and_shares_nothing(fitted, data, kind, how):
    X, y = data[kind]
    net = copy.deepcopy(fitted[kind])
    before, predicted = state(net), net.predict_proba(X)
    copied = COPIES[how](net)
    assert state(copied) == before
    assert np.array_equal(copied.predict_proba(X), predicted)
    assert copied.classes_.tolist() == net.classes_.tolist()
    assert copied.evaluate(X, y) == net.evaluate(X, y)
    copied.partial_fit(X, y)
    assert state(net) == before
    assert np.array_equal(net.predict_proba(X), predicted)
    net.partial_fit(X, y)
    assert state(net) == state(copied)


def test_shallow_copy_shares_the_net(fitted, data):
    net = fitted["preset"]
    assert copy.copy(net).model_ is net.model_


def test_copy_of_a_copy_is_the_same_net(fitted, data):
    net = fitted["dropout"]
    copied = net
    for _ in range(3):
        copied = pickle.loads(pickle.dumps(copied))
    assert state(copied) == state(net)
    assert pickle.dumps(copied) == pickle.dumps(pickle.loads(pickle.dumps(copied)))


@pytest.mark.parametrize("kind", KINDS)
def test_saving_changes_nothing(fitted, data, kind):
    net = fitted[kind]
    before, attributes = state(net), set(vars(net))
    pickle.dumps(net)
    assert state(net) == before
    assert set(vars(net)) == attributes


def test_unfitted_estimators_are_saved_too(users, data):
    for kind in ("preset", "own layer", "template"):
        net = make(kind, users)
        loaded = pickle.loads(pickle.dumps(net))
        assert not hasattr(loaded, "model_")
        assert state(loaded.fit(*data[kind])) == state(net.fit(*data[kind]))


def test_initialized_net_is_saved_before_any_training(data, users):
    net = make("preset", users).initialize(*data["preset"])
    loaded = pickle.loads(pickle.dumps(net))
    assert state(loaded) == state(net)
    assert loaded.n_iter_ == 0


def test_loaded_estimator_can_be_cloned_and_fitted_anew(fitted, data):
    loaded = pickle.loads(pickle.dumps(fitted["preset"]))
    anew = clone(loaded).fit(*data["preset"])
    assert state(anew) == state(fitted["preset"])
    assert state(loaded.fit(*data["preset"])) == state(fitted["preset"])


def test_pickle_leaves_training_data_behind(users, data):
    big = np.tile(data["preset"][0], (2000, 1)), np.tile(data["preset"][1], 2000)
    net = make("preset", users).set_params(epochs=1, batch_size=10**6).fit(*big)
    assert len(pickle.dumps(net)) < 100_000 < big[0].nbytes


# --- A full disk -----------------------------------------------------------------------------

full_disk = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="only Linux has a device that is always full"
)


@full_disk
@pytest.mark.parametrize("how", DUMPS)
def test_saving_to_a_full_disk_is_an_error_and_the_estimator_stays_usable(fitted, data, how):
    net = fitted["preset"]
    before = state(net)
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        DUMPS[how](net, file)
    assert state(net) == before
    assert state(pickle.loads(pickle.dumps(net))) == before


@pytest.fixture
def no_room_for_temporary_files(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "text"])
def test_saving_needs_no_room_for_temporary_files(no_room_for_temporary_files, fitted, kind):
    assert state(pickle.loads(pickle.dumps(fitted[kind]))) == state(fitted[kind])


def test_vocabularies_that_find_no_room_are_an_error_and_the_estimator_stays_usable(
    no_room_for_temporary_files, fitted, data
):
    net, (X, _) = fitted["text"], data["text"]
    before, predicted = state(net), net.predict_proba(X)
    with pytest.raises(OSError, match="gone"):
        pickle.dumps(net)
    assert state(net) == before
    assert np.array_equal(net.predict_proba(X), predicted)


@full_disk
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_checkpoint_on_a_full_disk_leaves_the_earlier_ones_and_the_earlier_fit(
    tmp_path, X, values, engine
):
    net = KerasRegressor("linear", epochs=4, random_state=0, engine=engine).fit(X, values)
    before = state(net)
    (tmp_path / "epoch3.keras").symlink_to("/dev/full")
    net.set_params(callbacks=keras.callbacks.ModelCheckpoint(tmp_path / "epoch{epoch}.keras"))
    with pytest.raises(OSError, match="No space"):
        net.fit(X, values)
    assert state(net) == before
    for epoch in (1, 2):
        saved = keras.saving.load_model(tmp_path / f"epoch{epoch}.keras")
        expected = KerasRegressor("linear", epochs=epoch, random_state=0).fit(X, values)
        predicted = saved.predict(X.astype("float32"), verbose=0).ravel()
        np.testing.assert_allclose(predicted, expected.predict(X), rtol=1e-5, atol=1e-6)
    assert not (tmp_path / "epoch4.keras").exists()


def test_damaged_file_is_an_error(fitted, tmp_path):
    path = tmp_path / "net.joblib"
    joblib.dump(fitted["preset"], path)
    path.write_bytes(path.read_bytes()[:-5000])
    # By what the cut went through.
    with pytest.raises((EOFError, ValueError, pickle.UnpicklingError)):
        joblib.load(path)


# A full disk


@contextlib.contextmanager
def room_for(n_bytes):
    """Let no file grow beyond a size, as a full disk does."""
    resource = pytest.importorskip("resource", reason="only POSIX systems limit file sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name, options", [("net.joblib", {}), ("net.joblib.gz", {"compress": 3})])
def test_full_disk_leaves_the_previous_file(fitted, data, tmp_path, name, options):
    path = tmp_path / name
    saving.dump(fitted["preset"], path, **options)
    path.chmod(0o640)
    before = path.read_bytes()
    with room_for(2000), pytest.raises(OSError, match="File too large"):
        saving.dump(fitted["preset"], path, **options)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]
    saving.dump(fitted["preset"], path, **options)
    assert path.stat().st_mode & 0o777 == 0o640
    X = data["preset"][0]
    assert np.array_equal(joblib.load(path).predict(X), fitted["preset"].predict(X))


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.joblib").symlink_to(tmp_path / "net.joblib")
    saving.dump({"a": 1}, tmp_path / "link.joblib")
    assert (tmp_path / "link.joblib").is_symlink()
    assert joblib.load(tmp_path / "net.joblib") == {"a": 1}
