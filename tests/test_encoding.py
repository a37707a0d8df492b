import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array

from skkeras import KerasClassifier, KerasRegressor
from skkeras._losses import LossFacts
from skkeras._targets import base
from skkeras._targets.classification import classification_target
from skkeras._targets.regression import RegressionTarget

X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
CLASSES = np.arange(60) % 3
ONE_HOT = np.eye(3, dtype=int)[CLASSES]
SEVERAL = np.random.default_rng(1).integers(2, size=(60, 4))
N_MANY = 4_000_000


def weights(net):
    return np.concatenate([w.ravel() for w in net.model_.get_weights()])


@pytest.mark.parametrize(
    "make, y",
    [
        (KerasClassifier, CLASSES),
        (KerasClassifier, CLASSES > 0),
        (KerasClassifier, np.array(["red", "green", "blue"])[CLASSES]),
        (KerasClassifier, np.array(["red", "green", "blue"], dtype=object)[CLASSES]),
        (KerasClassifier, ONE_HOT),
        (KerasClassifier, csr_array(ONE_HOT)),
        (KerasClassifier, SEVERAL),
        (KerasClassifier, csr_array(SEVERAL)),
        (KerasRegressor, X[:, 0].astype("float64")),
        (KerasRegressor, SEVERAL),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
@pytest.mark.parametrize("is_weighted", [False, True], ids=["all", "some-weighted"])
def test_many_targets_train_bit_for_bit_like_few(monkeypatch, make, y, is_weighted):
    sample_weight = np.arange(60) % 4 if is_weighted else None
    more = {"validation_split": 0.2} if is_weighted else {}

    def fitted():
        net = make(epochs=2, batch_size=8, random_state=0, **more)
        return net.fit(X, y, sample_weight=sample_weight)

    whole = fitted()
    monkeypatch.setattr(base, "WHOLE_BYTES", 100)
    in_blocks = fitted()
    assert np.array_equal(weights(in_blocks), weights(whole))
    assert in_blocks.history_ == whole.history_
    assert in_blocks.score(X, y) == whole.score(X, y)


@pytest.mark.parametrize(
    "y, class_weight",
    [
        (CLASSES, "balanced"),
        (CLASSES, {1: 2.0}),
        (ONE_HOT, "balanced"),
        (ONE_HOT, {1: 2.0}),
        (np.array(["red", "green", "blue"])[CLASSES], {"red": 2.0}),
    ],
)
def test_many_class_weights_are_those_of_few(monkeypatch, y, class_weight):
    net = KerasClassifier(epochs=1, class_weight=class_weight, random_state=0)
    whole = weights(net.fit(X[7:], y[7:]))
    monkeypatch.setattr(base, "WHOLE_BYTES", 100)
    assert np.array_equal(weights(net.fit(X[7:], y[7:])), whole)
    assert not np.array_equal(weights(net.set_params(class_weight=None).fit(X[7:], y[7:])), whole)


@pytest.mark.parametrize(
    "first, later, message",
    [
        (CLASSES, np.append(CLASSES, 7), r"not seen in training: \[7\]"),
        (ONE_HOT, np.append(ONE_HOT, [[1, 1, 0]], axis=0), r"shape \(61, 3\); expected one-hot"),
        (SEVERAL, np.append(SEVERAL, [[0, 1, 2, 0]], axis=0), "expected 0 and 1"),
    ],
)
def test_last_of_many_targets_is_looked_at_before_training(monkeypatch, first, later, message):
    monkeypatch.setattr(base, "WHOLE_BYTES", 100)
    target = classification_target(first)
    with pytest.raises(ValueError, match=message):
        target.encode(later, (target.n_outputs,), LossFacts())


@pytest.mark.parametrize(
    "y",
    [
        np.arange(N_MANY) % 5,
        np.arange(N_MANY) % 2 == 0,
        np.array(["yes", "no"])[np.arange(N_MANY) % 2],
        np.eye(3, dtype="float32")[np.arange(N_MANY // 3) % 3],
        np.eye(4, dtype="int8")[np.arange(N_MANY) % 4] + np.eye(4, dtype="int8")[3],
        np.arange(N_MANY),
    ],
    ids=["classes", "binary", "strings", "one-hot", "several", "numbers"],
)
def test_memory_for_targets_does_not_grow_with_them(y):
    y = np.minimum(y, 1) if y.dtype == "int8" else y
    tracemalloc.start()
    try:
        target = RegressionTarget(y) if y.dtype == int and y[-1] > 4 else classification_target(y)
        shape = (target.n_outputs,)
        encoded = target.encode(y, shape, LossFacts(target.default_loss(shape)))
        np.asarray(encoded[N_MANY // 4 : N_MANY // 4 + 100])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(encoded) == len(y)
    assert peak < 12 * base.WHOLE_BYTES


def test_memory_for_weights_does_not_grow_with_them():
    X, y = np.zeros((N_MANY, 1), dtype="int8"), np.arange(N_MANY, dtype="int8") % 2
    net = KerasClassifier(class_weight="balanced")
    net.fit(X[:10].astype("float32"), y[:10])
    sample_weight = np.ones(N_MANY, dtype="float32")
    tracemalloc.start()
    try:
        examples = net._examples(X, y, sample_weight, use="evaluate")
        weight = net._sources(examples)[0].weight
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.asarray(weight[:4]).tolist() == [1, 1, 1, 1]
    assert peak < 12 * base.WHOLE_BYTES
