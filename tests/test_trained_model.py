"""model_ is an ordinary model that was trained: what Keras allows after fit is allowed."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

from skkeras import KerasClassifier, KerasRegressor
from skkeras.saving import dump

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def build(input_shape):
    layers = [keras.layers.Dense(4, activation="relu"), keras.layers.Dropout(0.1)]
    return keras.Sequential(
        [keras.Input(input_shape), *layers, keras.layers.Dense(1, activation="sigmoid")]
    )


def classifier(**parameters):
    settings = {
        "model": build,
        "epochs": 3,
        "metrics": ["accuracy", keras.metrics.AUC()],
        "random_state": 0,
    }
    return KerasClassifier(**{**settings, **parameters})


class Results(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append({k: float(v) for k, v in self.model.get_metrics_result().items()})


@pytest.fixture(scope="module", params=["compiled", "keras", "with callback", "preset"])
def trained(request):
    other = {
        "keras": {"engine": "keras"},
        "with callback": {"callbacks": Results()},
        "preset": {"model": "mlp", "model__units": 4},
    }
    return classifier(**other.get(request.param, {})).fit(X, Y)


def test_metrics_and_history_are_those_of_the_last_epoch(trained):
    model, history = trained.model_, trained.history_
    results = {name: float(value) for name, value in model.get_metrics_result().items()}
    assert results == pytest.approx({name: values[-1] for name, values in history.items()})
    assert model.history.history == history
    assert model.history.epoch == [0, 1, 2]
    assert len(model.metrics_variables) == len(model.metrics[0].variables) + 6
    trained.partial_fit(X, Y)
    results = {name: float(value) for name, value in trained.model_.get_metrics_result().items()}
    assert results == pytest.approx({k: values[-1] for k, values in trained.history_.items()})


def test_metrics_are_those_of_the_validation_where_there_is_one():
    for engine in ("compiled", "keras"):
        fitted = classifier(engine=engine, validation_split=0.25).fit(X, Y)
        results = {k: float(v) for k, v in fitted.model_.get_metrics_result().items()}
        expected = {k: fitted.history_[f"val_{k}"][-1] for k in results}
        assert results == pytest.approx(expected)


def test_callbacks_see_the_metrics_of_each_epoch():
    fitted = classifier(callbacks=Results()).fit(X, Y)
    [results] = fitted.callbacks_
    for name, values in fitted.history_.items():
        assert [seen[name] for seen in results.seen] == pytest.approx(values)


@pytest.mark.parametrize("callbacks", [None, Results()])
def test_metrics_of_several_outputs_are_those_of_the_last_epoch(callbacks):
    def heads(input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, {k: keras.layers.Dense(1, name=k)(inputs) for k in "ab"})

    net = KerasRegressor(heads, metrics={"a": ["mae"]}, epochs=2, callbacks=callbacks)
    net.fit(X, {"a": X[:, 0], "b": X[:, 1]})
    results = {k: float(v) for k, v in net.model_.get_metrics_result().items()}
    assert results == pytest.approx({k: values[-1] for k, values in net.history_.items()})
    assert results.keys() == {"loss", "a_loss", "b_loss", "a_mae"}


def test_looking_at_the_model_changes_nothing():
    class Noisy(keras.layers.Dropout):
        def call(self, inputs, training=None):
            return super().call(inputs, training=True)

    def noisy(input_shape):
        return keras.Sequential([keras.Input(input_shape), Noisy(0.5), keras.layers.Dense(1)])

    fitted = classifier(model=noisy, metrics=None).fit(X, Y)
    before = [variable.numpy() for variable in fitted._net.expose().variables]
    after = [variable.numpy() for variable in fitted.model_.variables]
    assert all(map(np.array_equal, before, after))


def lite(model, folder):
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X[:1])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def saved_model(model, folder):
    model.export(folder / "exported", verbose=False)
    loaded = tf.saved_model.load(folder / "exported")
    return loaded.serve(X[:1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("export", [saved_model, lite])
def test_exported_estimator_is_copied_saved_and_used_as_a_template(export, tmp_path):
    fitted = classifier().fit(X, Y)
    expected = fitted.predict_proba(X)
    exported = export(fitted.model_, tmp_path)
    assert np.asarray(exported).ravel() == pytest.approx(expected[:1, 1], abs=1e-5)
    for other in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        assert np.array_equal(other.predict_proba(X), expected)
    dump(fitted, tmp_path / "net.joblib")
    template = KerasClassifier(fitted.model_, epochs=1, random_state=0).fit(X, Y)
    assert template.model_ is not fitted.model_
    fitted.partial_fit(X, Y)
    assert not np.array_equal(fitted.predict_proba(X), expected)
