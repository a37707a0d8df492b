"""Old versions of the dependencies, and environments in which nothing can be trained."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import tomllib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import joblib
import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone

from skkeras import KerasClassifier, KerasForecaster, KerasRegressor, _versions, models
from skkeras._keras_objects.fingerprint import fingerprint

ROOT = Path(__file__).parents[1]


def numbers(version):
    return tuple(map(int, version.split(".")[:2]))


def lowest_taken():
    """The lower bounds in pyproject.toml, by name."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    dependencies = [*project["dependencies"], *project["optional-dependencies"]["tests"]]
    bounds = dict(one.split(">=") for one in dependencies)
    return {**bounds, "Python": project["requires-python"].removeprefix(">=")}


def test_every_entry_is_needed_by_the_lowest_versions():
    lowest = lowest_taken()
    for entry, needed in _versions.NEEDED_BEFORE.items():
        name, version = needed.split()
        assert hasattr(_versions, entry)
        assert numbers(lowest[name]) < numbers(version), f"{entry} is needed no more"


def test_the_lowest_versions_are_those_of_the_package():
    lowest = lowest_taken()
    for name, version in _versions.LOWEST.items():
        assert numbers(lowest[name]) == numbers(version)


def test_setting_callbacks_names_the_version_that_has_them():
    if KerasClassifier.set_callbacks.__module__ != "skkeras._versions":
        pytest.skip("scikit-learn 1.9 and newer take callbacks")
    with pytest.raises(ImportError, match="set_callbacks with scikit-learn 1.*1.9 or newer"):
        KerasClassifier().set_callbacks(print)


@pytest.mark.parametrize(
    "name, version", [("scikit-learn", "1.5.2"), ("tensorflow", "2.18.1"), ("keras", "3.7.0")]
)
def test_a_dependency_that_is_too_old_is_named(name, version):
    with pytest.raises(ImportError, match=f"Got {name} {version}; expected .* or newer"):
        _versions._check_lowest(name, version)


@pytest.mark.parametrize("version", ["1.6", "1.6.1", "1.10.dev0", "2.0rc1"])
def test_newer_versions_and_pre_releases_are_taken(version):
    _versions._check_lowest("scikit-learn", version)


def run(code, **environment):
    """Run code in a process of its own; return the last lines of its stdout and its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return [text.strip().rpartition("\n")[2] for text in (done.stdout, done.stderr)]


FIT = """
    import numpy as np
    from skkeras import KerasRegressor
    net = KerasRegressor("linear", epochs=1).fit(np.ones((4, 2)), np.ones(4))
    print(net.predict(np.ones((3, 2))).shape)
"""


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_is_named_before_keras_is_imported(monkeypatch, backend):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", backend)
    told = f"Got Keras's backend {backend!r}, by KERAS_BACKEND .*; expected 'tensorflow'"
    with pytest.raises(RuntimeError, match=told):
        _versions.check_environment.__wrapped__()


def test_another_backend_is_named_by_fits_and_by_files_of_nets(X, values, tmp_path):
    path = str(tmp_path / "net.joblib")
    joblib.dump(KerasRegressor("linear", epochs=1).fit(X, values), path)
    load = f"""
    import joblib
    try:
        joblib.load({path!r})
    except RuntimeError as error:
        print(error)
    """
    loaded, fitted = run(load + FIT, KERAS_BACKEND="numpy")
    assert loaded.startswith("Got Keras's backend 'numpy', by KERAS_BACKEND")
    assert fitted == f"RuntimeError: {loaded}"


def test_another_backend_is_named_by_clones_that_look_for_what_is_shared():
    _, cloned = run(
        """
        from sklearn.base import clone
        from skkeras import KerasRegressor
        clone(KerasRegressor(lambda input_shape: None, loss=lambda y_true, y_pred: y_pred))
        """,
        KERAS_BACKEND="jax",
    )
    assert cloned.startswith("RuntimeError: Got Keras's backend 'jax', by KERAS_BACKEND")


def test_another_backend_by_kerass_file_is_named(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "numpy"}')
    _, said = run(FIT, KERAS_HOME=str(tmp_path), KERAS_BACKEND="")
    assert "keras.json" in said


def test_packages_that_cannot_be_imported_together_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    told = f"Got tensorflow [0-9.]+.*, keras {keras.__version__}, and they can't be imported"
    with pytest.raises(ImportError, match=told):
        _versions.check_environment.__wrapped__()


def test_a_home_that_cannot_be_written_to_is_none_of_its_business(tmp_path):
    file = tmp_path / "file"
    file.touch()
    printed, _ = run(FIT, HOME=str(file / "home"), MPLCONFIGDIR=str(tmp_path))
    assert printed == "(3,)"


def refit(net, X, y):
    """What another process makes of a fitted net: its predictions, and those of a new fit."""
    return net.predict(X), clone(net).fit(X, y).predict(X)


def test_processes_that_are_spawned_predict_and_fit_the_same(X, values):
    # As all are on Windows and macOS.
    net = KerasRegressor("linear", epochs=2, random_state=0).fit(X, values)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        predicted, fitted_anew = pool.submit(refit, net, X, values).result()
    assert np.array_equal(predicted, net.predict(X))
    assert np.array_equal(fitted_anew, net.predict(X))


class LegacyModel:
    """Stands for a model, or any object, of tf_keras."""

    __module__ = "tf_keras.src.engine.training"

    def __call__(self):
        raise AssertionError("It is no builder.")


@pytest.mark.parametrize("name", ["model", "optimizer", "loss", "metrics", "callbacks"])
@pytest.mark.parametrize("thing", [LegacyModel(), LegacyModel, [LegacyModel()]], ids=type)
def test_objects_of_keras_2_are_told_from_those_of_keras_3(X, values, name, thing):
    with pytest.raises(TypeError, match=rf"tf_keras.*as {name}; .*TF_USE_LEGACY_KERAS"):
        KerasRegressor(**{name: thing}).fit(X, values)


def test_a_builder_that_returns_a_net_of_keras_2_is_told(X, values):
    with pytest.raises(TypeError, match="tf_keras.*as the net of a builder; "):
        KerasRegressor(lambda: LegacyModel()).fit(X, values)


def test_functions_that_run_eagerly_are_told_and_learn_the_same(X, values):
    def net(engine):
        return KerasRegressor("linear", epochs=2, random_state=0, engine=engine)

    expected = net("compiled").fit(X, values).history_["loss"]
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.warns(RuntimeWarning, match=r"tf.config.run_functions_eagerly\(True\)"):
            fitted = net("compiled").fit(X, values)
        predicted = fitted.predict(X)
    finally:
        tf.config.run_functions_eagerly(False)
    assert np.allclose(fitted.history_["loss"], expected)
    assert np.array_equal(predicted, fitted.predict(X))


def test_the_only_input_in_a_list_is_taken_without_a_warning(X, values):
    def heads(input_shape):
        inputs = keras.Input(input_shape)
        outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("one", "two")}
        return keras.Model([inputs], outputs)

    net = KerasRegressor(heads, epochs=1, random_state=0).fit(X, {"one": values, "two": values})
    assert net.predict(X)["two"].shape == (60,)


@pytest.mark.parametrize("n_outputs", [1, 24])
@pytest.mark.parametrize("meta", [None, {"target_columns_": [1]}], ids=["only", "one_of_3"])
@pytest.mark.parametrize("name", ["nlinear", "dlinear", "nlinear_mlp"])
def test_one_channel_is_multiplied_right_in_every_row(name, meta, n_outputs):
    shape = (14, 1 if meta is None else 3)
    windows = np.random.default_rng(0).normal(size=(100, *shape)).astype("float32")
    net = models.PRESETS[name](shape, n_outputs, "linear", meta=meta)
    expected = [net(window[None])[0] for window in windows]
    np.testing.assert_allclose(net.predict_on_batch(windows), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_a_forecaster_of_one_series_goes_down_by_its_gradient(engine):
    series = np.random.default_rng(0).normal(size=(114, 1)).astype("float32")
    net = KerasForecaster("nlinear", look_back=14, optimizer="sgd", epochs=1, engine=engine)
    net.set_params(
        normalize=False, batch_size=100, target=0, random_state=0, optimizer__learning_rate=0.1
    )
    before = net.fit(series).model_
    net.set_params(optimizer__learning_rate=0.0)
    kernel, bias = net.fit(series).model_.get_weights()
    windows = np.lib.stride_tricks.sliding_window_view(series[:, 0], 14)[:-1]
    changes, last = windows - windows[:, -1:], windows[:, -1:]
    errors = changes @ kernel + bias + last - series[14:]
    stepped = kernel - 0.1 * 2 / 100 * changes.T @ errors, bias - 0.1 * 2 * errors.mean(axis=0)
    for weights, expected in zip(before.get_weights(), stepped, strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)


def test_a_plateau_callback_can_be_reset_and_pickled(X, values):
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=1e6)
    net = KerasRegressor("linear", epochs=4, callbacks=plateau, callbacks__patience=2, verbose=0)
    [used] = net.fit(X, values).callbacks_
    assert (used.patience, plateau.patience) == (2, 1)
    assert pickle.loads(pickle.dumps(used)).best == used.best
    loaded = pickle.loads(pickle.dumps(net)).set_params(callbacks__patience=3)
    assert loaded.fit(X, values).callbacks_[0].patience == 3


def test_weights_of_tf_idf_go_with_a_copy():
    words = keras.layers.TextVectorization(output_mode="tf_idf")
    words.adapt(["a b", "b c"])
    net = keras.Sequential([keras.Input((), dtype="string"), words, keras.layers.Dense(1)])
    texts = np.array([["a b"], ["b b c"]] * 4, dtype=object)[:, 0]
    fitted = KerasRegressor(net, epochs=1, random_state=0).fit(texts, np.arange(8.0))
    learnt = fitted.model_.layers[0]
    rows = tf.constant(["a", "b"])
    assert np.array_equal(learnt(rows), words(rows))


@pytest.mark.parametrize("generator", [np.random, np.random.default_rng(0)], ids=["global", "own"])
def test_functions_that_draw_are_never_shared(generator):
    draw = generator.random

    def function(x):
        return x * draw()

    assert fingerprint(function) != fingerprint(function)
