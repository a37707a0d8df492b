"""Which internal paths pickles contain: they are listed in CONTRIBUTING.md, and have to stay."""

import contextlib
import io
import pickle
import re
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error
from sklearn.preprocessing import StandardScaler

from skkeras import (
    DummyForecaster,
    KerasClassifier,
    KerasForecaster,
    KerasRegressor,
    _pickling,
    data,
    forecast_scorer,
)

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4))


def fitted(estimator, y=None):
    return estimator.set_params(epochs=1, random_state=0).fit(X, y)


def frame():
    return pd.DataFrame(X, index=pd.date_range("2020", periods=len(X)))


def heads(y):
    def build(input_shape):
        inputs = keras.Input(input_shape)
        outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in y}
        return keras.Model(inputs, outputs)

    return KerasRegressor(build, epochs=1).fit(X, y)


def opened(name):
    """A file's array: its pickle holds the path, and nothing is read."""
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if name.endswith(".npy"):
            np.save(path, X)
            return dumped(data.open_npy(path))
        with h5py.File(path, "w") as file:
            return dumped(data.lazy(file.create_dataset("x", data=X)))


def watching():
    """An estimator whose callbacks hold a layer of its template, and a stream."""
    template = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    watch = keras.callbacks.Callback()
    watch.layer, watch.stream = template.layers[0], io.StringIO()
    return KerasRegressor(template, callbacks=watch)


MAKERS = {
    "labels": lambda: fitted(KerasClassifier(metrics=["accuracy"]), X[:, 0] > 0),
    "one-hot": lambda: fitted(KerasClassifier(), np.eye(3)[RNG.integers(0, 3, 40)]),
    "multilabel": lambda: fitted(KerasClassifier(), (X > 0).astype(int)),
    "numbers": lambda: fitted(
        KerasRegressor(
            loss=keras.losses.Huber(),
            optimizer=keras.optimizers.SGD(),
            metrics=[keras.metrics.MeanAbsoluteError()],
            callbacks=keras.callbacks.EarlyStopping("loss"),
        ),
        X[:, 0],
    ),
    "steps": lambda: fitted(
        KerasClassifier(
            lambda: keras.Sequential(
                [keras.layers.Reshape((4, 1)), keras.layers.Dense(1, "sigmoid")]
            )
        ),
        (X > 0).astype(int)[..., None],
    ),
    "parts and handles": watching,
    "several outputs": lambda: heads({"a": X[:, 0], "b": X[:, 1]}),
    "series": lambda: KerasForecaster(look_back=4, epochs=1, validation_split=0.2).fit(frame()),
    "baseline": lambda: DummyForecaster(look_back=4).fit(frame()),
    "scorer": lambda: forecast_scorer(mean_absolute_error),
    "scorer by name": lambda: forecast_scorer("mase", season=2),
    "scaler": lambda: data.ArrayScaler(StandardScaler()).fit(X),
    "reshaper": lambda: data.ArrayReshaper(4).fit(X),
    "columns": lambda: data.ColumnsToInputs({"a": [0]}).fit(X),
    "arrays": lambda: data.NamedArrays({"a": X}),
    "lazy": lambda: data.lazy(X).map(np.abs)[3:, :2],
    "folds": lambda: data.LazyKFold(3),
}
FILES = ["x.npy", "x.h5"]


class Noting(pickle.Unpickler):
    """Notes which classes and functions of this package a pickle names."""

    def __init__(self, octets):
        super().__init__(io.BytesIO(octets))
        self.paths = set()

    def find_class(self, module, name):
        if module.split(".")[0] == "skkeras":
            self.paths.add(f"{module}.{name}")
        return super().find_class(module, name)


def paths_in(octets):
    reader = Noting(octets)
    with contextlib.suppress(OSError):  # the file is gone, and its path was noted
        reader.load()
    return reader.paths


def dumped(value):
    import cloudpickle  # builders of these tests are local functions

    return cloudpickle.dumps(value)


def listed():
    """The paths in CONTRIBUTING.md's list."""
    section = CONTRIBUTING.read_text().split("## What pickles contain")[1].split("\n## ")[0]
    found = set()
    for module, names in re.findall(r"^- `([\w.]+)`: (.*)$", section, re.M):
        found |= {f"{module}.{name}" for name in re.findall(r"`(\w+)`", names)}
    return found


@pytest.mark.parametrize("kind", MAKERS)
def test_pickles_name_what_contributing_lists(kind):
    assert paths_in(dumped(MAKERS[kind]())) <= listed()


@pytest.mark.parametrize("name", FILES)
def test_pickles_of_files_name_what_contributing_lists(name):
    assert paths_in(opened(name)) <= listed()


def test_contributing_lists_nothing_else():
    found = [paths_in(dumped(make())) for make in MAKERS.values()]
    assert set().union(*found, *(paths_in(opened(name)) for name in FILES)) == listed()


@pytest.mark.parametrize("name", _pickling._MODULES)
def test_names_in_pickles_are_found_where_the_table_says(name):
    found = _pickling._found(name)
    assert (found.__name__, found.__module__) == (name, f"skkeras.{_pickling._MODULES[name]}")


def test_a_pickle_of_a_later_version_says_so():
    octets = pickle.dumps(KerasRegressor(epochs=1).fit(X, X[:, 0]))
    later = octets.replace(b"RegressionTarget", b"RegressionTargeT")
    with pytest.raises(ValueError, match="Load it with the version that wrote it"):
        pickle.loads(later)


def test_objects_pickled_by_name_come_back_with_their_attributes():
    array = data.lazy(X).map(np.abs)[3:, :2]
    again = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(again, np.abs(X)[3:, :2])
    assert pickle.dumps(again) == pickle.dumps(array)
