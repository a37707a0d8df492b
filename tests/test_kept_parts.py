"""Parts of a net that its builder keeps, such as an encoder, follow model_."""

import copy
import pickle

import keras
import numpy as np
import pytest

from skkeras import KerasRegressor
from skkeras.exceptions import DivergenceError

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
KEPT = {}


def parts(input_shape):
    inputs = keras.Input(input_shape)
    code = keras.layers.Dense(2, name="code")(inputs)
    return keras.Model(inputs, keras.layers.Dense(input_shape[0])(code)), keras.Model(inputs, code)


class AutoEncoder(KerasRegressor):
    def build_model(self, input_shape):
        model, self.encoder_ = parts(input_shape)
        return model


class KeepsLayer(KerasRegressor):
    def build_model(self, input_shape):
        model, _ = parts(input_shape)
        self.kept_ = [{"code": model.get_layer("code")}]
        return model

    @property
    def encoder_(self):
        return keras.Sequential([keras.Input((3,)), self.kept_[0]["code"]])


class Factory:
    def build(self, input_shape):
        model, self.encoder = parts(input_shape)
        return model


def keeps_in_a_global(input_shape):
    model, KEPT["encoder"] = parts(input_shape)
    return model


def codes(model):
    """What the layer in a model makes of X."""
    kernel, bias = model.get_layer("code").get_weights()
    return X @ kernel + bias


def assert_follows(encoder, estimator):
    # The encoder first: to look at model_ writes the newest weights into it.
    found = np.asarray(encoder(X))
    np.testing.assert_allclose(found, codes(estimator.model_), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [AutoEncoder, KeepsLayer])
def test_kept_part_follows_the_net_whatever_else_is_trained(cls):
    first = cls(epochs=2, random_state=0).fit(X, X)
    start = np.asarray(first.encoder_(X))
    second = cls(epochs=2, random_state=1).fit(X, X)
    assert np.array_equal(first.encoder_(X), start)
    assert_follows(first.encoder_, first)
    assert_follows(second.encoder_, second)
    first.partial_fit(X, X)
    assert not np.array_equal(first.encoder_(X), start)
    assert_follows(first.encoder_, first)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_keep_parts_of_their_own_nets(copied):
    fitted = AutoEncoder(epochs=2, random_state=0).fit(X, X)
    encoder, before = fitted.encoder_, fitted.encoder_(X)
    other = copied(fitted)
    assert fitted.encoder_ is encoder
    assert np.array_equal(other.encoder_(X), before)
    assert np.array_equal(other.predict(X), fitted.predict(X))
    other.partial_fit(X, X)
    assert_follows(other.encoder_, other)
    assert np.array_equal(encoder(X), before)


def test_failed_fit_leaves_the_kept_part_with_its_net():
    fitted = AutoEncoder(epochs=2, random_state=0).fit(X, X)
    encoder = fitted.encoder_
    with pytest.raises(ValueError, match="huberr"):
        fitted.set_params(loss="huberr").fit(X, X)
    assert fitted.encoder_ is encoder
    assert_follows(encoder, fitted)
    failed = AutoEncoder(epochs=1, optimizer__learning_rate=1e30)
    with pytest.raises(DivergenceError):
        failed.fit(X, X * 1e20)
    assert not hasattr(failed, "encoder_")


def test_objects_and_globals_keep_parts_of_the_newest_net():
    factory = Factory()
    for builder, encoder in (
        (factory.build, lambda: factory.encoder),
        (keeps_in_a_global, lambda: KEPT["encoder"]),
    ):
        first = KerasRegressor(builder, epochs=2, random_state=0).fit(X, X)
        kept = encoder()
        assert_follows(kept, first)
        second = KerasRegressor(builder, epochs=2, random_state=1).fit(X, X)
        assert_follows(encoder(), second)
        assert_follows(kept, first)
