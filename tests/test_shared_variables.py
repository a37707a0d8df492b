"""Variables that objects of a fit share stay shared in its copies, and no two fits share them."""

import copy
import functools
import pickle

import cloudpickle
import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_validate

from skkeras import KerasRegressor

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

X = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
Y = X[:, 0] / np.sqrt(np.mean(X[:, 0] ** 2))
STILL = {"epochs": 3, "optimizer": "sgd", "optimizer__learning_rate": 1e-6, "random_state": 0}
IN_CODE = keras.Variable(1.0, trainable=False)


class Raise(keras.callbacks.Callback):
    """Adds 1 to a variable after each epoch, so that a fit's losses tell where it began."""

    def __init__(self, variable):
        super().__init__()
        self.variable = variable

    def on_epoch_end(self, epoch, logs=None):
        self.variable.assign_add(1.0)


class Weighted(keras.losses.Loss):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def call(self, y_true, y_pred):
        return weighted(y_true, y_pred, self.weight)


class Penalty(keras.layers.Layer):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def call(self, inputs):
        self.add_loss(self.weight - 1.0)
        return inputs


class CodeRaises(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        IN_CODE.assign_add(1.0)


def weighted(y_true, y_pred, weight):
    return weight * keras.ops.mean(keras.ops.square(y_true - y_pred), -1)


def weighted_in_code(y_true, y_pred):
    return weighted(y_true, y_pred, IN_CODE)


def zeros(weight=None):
    layers = [keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")]
    return keras.Sequential(layers if weight is None else [*layers, Penalty(weight)])


def variable():
    return keras.Variable(1.0, trainable=False, name="weight")


def losses(estimator):
    return np.round(estimator.history_["loss"], 2).tolist()


def holders(weight):
    """What may hold a variable besides a callback, by name."""
    return {
        "loss instance": {"loss": Weighted(weight)},
        "loss class": {"loss": Weighted, "loss__weight": weight},
        "loss parameter": {"loss": weighted, "loss__weight": weight},
        "loss partial": {"loss": functools.partial(weighted, weight=weight)},
        "layer": {"model__weight": weight},
        "builder partial": {"model": functools.partial(zeros, weight)},
    }


@pytest.mark.parametrize("name", holders(None))
def test_every_fit_has_its_own_variable_in_all_that_shared_it(name):
    weight = variable()
    net = KerasRegressor(
        **{"model": zeros, "callbacks": Raise(weight)} | holders(weight)[name], **STILL
    )
    expected = [1.0, 2.0, 3.0]
    for other in (net, net, clone(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert losses(other.fit(X, Y)) == expected
    assert float(weight.numpy()) == 1.0


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_training_on_goes_on_with_the_fits_variable(engine):
    weight = keras.Variable(1.0)
    net = KerasRegressor(
        zeros,
        loss=Weighted(weight),
        callbacks=Raise(weight),
        engine=engine,
        warm_start=True,
        **STILL,
    ).fit(X, Y)
    for other in (copy.deepcopy(net), cloudpickle.loads(cloudpickle.dumps(net)), net):
        assert losses(other.fit(X, Y)) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_folds_do_not_share_a_variable(n_jobs):
    weight = variable()
    net = KerasRegressor(zeros, loss=Weighted(weight), callbacks=Raise(weight), **STILL)
    found = cross_validate(net, X, Y, cv=2, n_jobs=n_jobs, return_estimator=True)
    for fitted in found["estimator"]:
        first, second, third = fitted.history_["loss"]
        assert [second / first, third / first] == pytest.approx([2.0, 3.0], rel=1e-3)


def test_callbacks_watch_the_fits_own_layers_and_optimizer():
    template = zeros()

    class Watch(keras.callbacks.Callback):
        def __init__(self, *watched):
            super().__init__()
            self.bias, self.layer, self.optimizer = watched

        def on_epoch_end(self, epoch, logs=None):
            self.seen = float(self.bias.numpy()[0]), float(self.layer.bias.numpy()[0])
            self.optimizer.learning_rate.assign(0.0)

    [layer], optimizer = template.layers, keras.optimizers.SGD(0.1)
    watch = Watch(layer.bias, layer, optimizer)
    net = KerasRegressor(template, optimizer=optimizer, callbacks=watch, epochs=2, random_state=0)
    for other in (net, clone(net), copy.deepcopy(net)):
        bias = other.fit(X, Y + 3).model_.layers[0].bias.numpy()[0]
        assert other.callbacks_[0].seen == (bias, bias)
        assert bias > 0
        assert float(other.model_.optimizer.learning_rate.numpy()) == 0.0
    assert float(optimizer.learning_rate.numpy()) == pytest.approx(0.1)
    assert layer.bias.numpy()[0] == 0


@pytest.mark.parametrize(
    "parameters",
    [
        {"loss": weighted_in_code, "callbacks": Raise(IN_CODE)},
        {"loss": weighted_in_code, "callbacks": CodeRaises()},
        {"loss": weighted_in_code, "callbacks": CodeRaises},
        {"loss": Weighted(IN_CODE), "callbacks": lambda: Raise(IN_CODE)},
        {"model": lambda: zeros(IN_CODE), "callbacks": Raise(IN_CODE)},
        {
            "loss": weighted_in_code,
            "callbacks": keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: IN_CODE.assign(epoch)
            ),
        },
    ],
    ids=["held", "instance", "class", "factory", "builder", "hook"],
)
def test_variable_that_code_refers_to_by_name_is_refused_with_what_to_pass_instead(parameters):
    net = KerasRegressor(**{"model": zeros} | parameters, **STILL)
    message = "share the variable 'IN_CODE'.*refers to it by its name.*parameter"
    for refused in (lambda: net.fit(X, Y), lambda: clone(net), lambda: pickle.dumps(net)):
        with pytest.raises(ValueError, match=message):
            refused()


def test_variable_that_only_one_object_knows_is_no_error():
    net = KerasRegressor(zeros, loss=weighted_in_code, metrics=[weighted_in_code], **STILL)
    assert losses(clone(net).fit(X, Y)) == [1.0, 1.0, 1.0]


def test_callbacks_that_come_to_share_a_variable_later_are_an_error():
    weight = variable()
    net = KerasRegressor(zeros, loss=Weighted(weight), warm_start=True, **STILL).fit(X, Y)
    with pytest.raises(ValueError, match="made before.*warm_start=False"):
        net.set_params(callbacks=Raise(weight)).fit(X, Y)
    assert losses(net.set_params(warm_start=False).fit(X, Y)) == [1.0, 2.0, 3.0]
