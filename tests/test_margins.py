"""Hinge losses: margins instead of probabilities, as scikit-learn's LinearSVC has them."""

import keras
import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skkeras import KerasClassifier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
BINARY = np.where(X[:, 0] > 0, "yes", "no")
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
COLUMNS = (X[:, :3] > 0).astype(int)


def classifier(loss="hinge", **parameters):
    return KerasClassifier(
        "linear",
        loss=loss,
        **{"epochs": 10, "optimizer__learning_rate": 0.05, "random_state": 0, **parameters},
    )


def methods(net):
    names = ("predict_proba", "predict_log_proba", "decision_function")
    return [name for name in names if hasattr(net, name)]


@pytest.mark.parametrize(
    "loss, y, shape",
    [
        ("hinge", BINARY, (120,)),
        (keras.losses.SquaredHinge(), BINARY, (120,)),
        ("squared_hinge", THREE, (120, 3)),
        ("categorical_hinge", THREE, (120, 3)),
        (keras.losses.CategoricalHinge, np.eye(3)[THREE], (120, 3)),
        ("hinge", COLUMNS, (120, 3)),
    ],
)
def test_margins_decide_and_there_are_no_probabilities(loss, y, shape):
    net = classifier(loss)
    assert methods(net) == ["decision_function"]
    assert methods(net.fit(X, y)) == ["decision_function"]
    margins = net.decision_function(X)
    assert margins.shape == shape
    predicted = net.predict(X)
    if shape == (120,):
        assert np.array_equal(predicted, net.classes_[(margins > 0).astype(int)])
    elif y is COLUMNS:
        assert np.array_equal(predicted, margins > 0)
    else:
        decided = predicted if predicted.ndim == 1 else predicted.argmax(axis=1)
        assert np.array_equal(decided, margins.argmax(axis=1))
    assert net.score(X, y) > 0.6


def test_two_units_have_one_margin():
    net = classifier("hinge").set_params(
        model=lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    )
    outputs = net.fit(X, BINARY)._outputs(X)
    np.testing.assert_array_equal(net.decision_function(X), outputs[:, 1] - outputs[:, 0])
    assert np.array_equal(net.predict(X) == "yes", net.decision_function(X) > 0)


def test_other_losses_give_probabilities_and_no_margins():
    net = KerasClassifier(epochs=1)
    assert methods(net) == methods(net.fit(X, THREE)) == ["predict_proba", "predict_log_proba"]
    np.testing.assert_array_equal(net.predict_log_proba(X), np.log(net.predict_proba(X)))


def test_compiled_templates_and_builders_tell_too():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "hinge")
    assert methods(KerasClassifier(model)) == ["decision_function"]
    assert methods(KerasClassifier(model, epochs=1).fit(X, BINARY)) == ["decision_function"]


def test_the_reason_why_a_method_is_missing_is_told():
    with pytest.raises(AttributeError, match="no attribute 'predict_proba'") as caught:
        classifier().fit(X, BINARY).predict_proba(X)
    assert "loss='hinge' gives margins" in str(caught.value.__cause__)
    with pytest.raises(AttributeError, match="no attribute 'decision_function'"):
        KerasClassifier(epochs=1).fit(X, BINARY).decision_function(X)


def test_log_of_no_chance_is_no_warning():
    net = KerasClassifier("linear", epochs=1, random_state=0).fit(X, BINARY)
    logs = net.predict_log_proba(X * 1e6)
    assert logs.min() == -np.inf
    assert cross_val_predict(net, X, THREE, cv=2, method="predict_log_proba").shape == (120, 3)


META = {
    "calibrated": (lambda net: CalibratedClassifierCV(net, cv=2), BINARY),
    "calibrated of three": (lambda net: CalibratedClassifierCV(net, cv=2), THREE),
    "stacking": (lambda net: StackingClassifier([("a", net), ("b", net)], cv=2), BINARY),
    "bagging": (lambda net: BaggingClassifier(net, n_estimators=2, random_state=0), THREE),
    "boosting": (lambda net: AdaBoostClassifier(net, n_estimators=2, random_state=0), BINARY),
    "one-vs-rest": (OneVsRestClassifier, THREE),
    "one-vs-one": (OneVsOneClassifier, THREE),
    "codes": (lambda net: OutputCodeClassifier(net, random_state=6), THREE),
    "tuned": (lambda net: TunedThresholdClassifierCV(net, cv=2, thresholds=20), COLUMNS[:, 0]),
    "fixed": (lambda net: FixedThresholdClassifier(net, threshold=0.1), COLUMNS[:, 0]),
    "chain": (ClassifierChain, COLUMNS[:, :2]),
    "columns": (MultiOutputClassifier, COLUMNS[:, :2]),
    "pipeline": (lambda net: make_pipeline(StandardScaler(), net), BINARY),
    "final": (
        lambda net: StackingClassifier([("lr", LogisticRegression())], net, cv=2),
        BINARY,
    ),
}


@pytest.mark.parametrize("meta", META)
def test_meta_estimators_take_it_as_they_take_a_linear_svc(meta):
    make, y = META[meta]
    ours, theirs = make(classifier()).fit(X, y), make(LinearSVC()).fit(X, y)
    assert methods(ours) == methods(theirs)
    for name in {*methods(theirs)} - {"predict_log_proba"}:  # bagging and chains warn, or lack it
        assert getattr(ours, name)(X).shape == getattr(theirs, name)(X).shape
    assert ours.score(X, y) > 0.7


def test_scorers_rank_by_margins():
    scores = cross_val_score(classifier(), X, BINARY, cv=3, scoring="roc_auc")
    margins = cross_val_predict(classifier(), X, BINARY, cv=3, method="decision_function")
    assert scores.min() > 0.9
    assert roc_auc_score(BINARY == "yes", margins) > 0.9
