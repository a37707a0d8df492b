"""MLflow's callback logs to the active run; its scikit-learn flavour saves and loads nets."""

import copy

import keras
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier

REASON = "the extra tests-clients isn't installed"
mlflow = pytest.importorskip("mlflow", reason=REASON)
skops_io = pytest.importorskip("skops.io", reason=REASON)

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of many kinds

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = np.where(X[:, 0] > 0, "yes", "no")


@pytest.fixture(scope="module")
def fitted():
    net = KerasClassifier(model__units=4, epochs=2, random_state=0)
    return make_pipeline(StandardScaler(), net).fit(X, Y)


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield
    mlflow.set_tracking_uri(None)


def test_callback_logs_each_epoch_to_the_active_run(tracked, tmp_path):
    from mlflow.keras import MlflowCallback

    net = KerasClassifier(model__units=4, epochs=3, random_state=0, callbacks=MlflowCallback())
    experiment = mlflow.create_experiment("nets", (tmp_path / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment) as run:
        net.fit(X, Y)
    mlflow.flush_async_logging()
    logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    values = [metric.value for metric in sorted(logged, key=lambda metric: metric.step)]
    assert values == pytest.approx(net.history_["loss"])


@pytest.mark.parametrize("serialization_format", ["skops", "cloudpickle"])
def test_scikit_learn_flavour_saves_and_loads(fitted, tracked, tmp_path, serialization_format):
    options = {"serialization_format": serialization_format, "pip_requirements": []}
    if serialization_format == "skops":
        content = skops_io.dumps(fitted)
        options["skops_trusted_types"] = skops_io.get_untrusted_types(data=content)
    mlflow.sklearn.save_model(fitted, tmp_path / "model", **options)
    loaded = mlflow.sklearn.load_model(str(tmp_path / "model"))
    assert np.array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_skops_keeps_keras_objects_and_training_goes_on(fitted):
    content = skops_io.dumps(fitted)
    loaded = skops_io.loads(content, trusted=skops_io.get_untrusted_types(data=content))
    assert np.array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    expected = copy.deepcopy(fitted[-1]).partial_fit(X, Y).predict_proba(X)
    assert np.array_equal(loaded[-1].partial_fit(X, Y).predict_proba(X), expected)
    net = KerasClassifier(loss=keras.losses.BinaryFocalCrossentropy(gamma=3.0))
    content = skops_io.dumps(net)
    loaded = skops_io.loads(content, trusted=skops_io.get_untrusted_types(data=content))
    assert loaded.loss([[1.0]], [[0.2]]) == net.loss([[1.0]], [[0.2]])


def test_skops_refuses_at_dump_what_it_could_not_load():
    def local():
        return keras.Sequential([keras.layers.Dense(1)])

    for model in (local, lambda: None):
        with pytest.raises(TypeError, match="written by its name.*cloudpickle"):
            skops_io.dumps(KerasClassifier(model))
