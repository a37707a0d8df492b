"""A trained model_ is exported to ONNX, and predicts the same there."""

import numpy as np
import pytest

from skkeras import KerasClassifier

REASON = "the extra tests-clients isn't installed"
pytest.importorskip("tf2onnx", reason=REASON)
onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.filterwarnings("ignore")  # of tf2onnx and NumPy
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_exported_net_predicts_the_same(engine, tmp_path):
    net = KerasClassifier(model__units=4, epochs=2, random_state=0, engine=engine).fit(X, Y)
    net.model_.export(tmp_path / "net.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    [outputs] = session.run(None, {session.get_inputs()[0].name: X})
    assert outputs[:, 0] == pytest.approx(net.predict_proba(X)[:, 1], abs=1e-5)
