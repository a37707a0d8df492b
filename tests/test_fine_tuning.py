"""Layers of a trained net are unfrozen, and training goes on at another rate."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import layers

from skkeras import KerasClassifier, KerasForecaster, KerasRegressor
from skkeras.exceptions import BuilderError, DivergenceError, ParameterNameError

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = [pytest.mark.no_cover, pytest.mark.slow]

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4)).astype("float32")
y = X[:, 0] - X[:, 1]
LABELS = np.digitize(y, [-0.5, 0.5])


def build(input_shape, n_outputs, output_activation="linear", frozen=True):
    base = keras.Sequential([keras.Input(input_shape), layers.Dense(8, "tanh")], name="base")
    base.trainable = not frozen
    inputs = keras.Input(input_shape)
    hidden = layers.Flatten()(base(inputs))
    return keras.Model(inputs, layers.Dense(n_outputs, activation=output_activation)(hidden))


def compiling(input_shape, n_outputs, output_activation="linear"):
    model = build(input_shape, n_outputs, output_activation)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    return model


def regressor(model=build, **options):
    return KerasRegressor(model, **{"epochs": 2, "random_state": 0, **options})


def base_of(net):
    return net.model_.get_layer("base").get_weights()[0]


def unfreeze(net):
    net.model_.get_layer("base").trainable = True
    return base_of(net)


def trains_all(net, train):
    """Assert that a net trains its base once it is unfrozen, and not before."""
    before = base_of(net)
    np.testing.assert_array_equal(base_of(train(net)), before)
    assert unfreeze(net) is not None
    assert np.abs(base_of(train(net)) - before).max() > 0


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", None])
def test_unfrozen_layers_are_trained_by_partial_fit(engine, optimizer):
    net = regressor(engine=engine, optimizer=optimizer).fit(X, y)
    trains_all(net, lambda net: net.partial_fit(X, y))
    assert net.n_iter_ == 4


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": keras.callbacks.Callback()},
        {"compile__auto_scale_loss": False, "optimizer": keras.optimizers.SGD(momentum=0.5)},
        {"model": compiling},
        {"early_stopping": True},
    ],
    ids=["callback", "compile", "compiled", "early stopping"],
)
def test_unfrozen_layers_are_trained_by_a_warm_start(options):
    net = regressor(**options, warm_start=True).fit(X, y)
    trains_all(net, lambda net: net.fit(X, y))
    assert len(net.history_["loss"]) == net.n_iter_ == 6


def test_a_new_rate_goes_with_unfrozen_layers():
    net = regressor(optimizer="sgd", optimizer__learning_rate=0.1).fit(X, y)
    before, start = unfreeze(net), net.model_.get_weights()
    net.set_params(warm_start=True, optimizer__learning_rate=1e-3, epochs=1, shuffle=False)
    net.fit(X, y)
    assert float(net.model_.optimizer.learning_rate) == pytest.approx(1e-3)
    assert 0 < np.abs(base_of(net) - before).max() < 0.05
    # The same, as Keras's own guide on transfer learning does it.
    model = build((4,), 1)
    model.set_weights(start)
    model.get_layer("base").trainable = True
    model.compile(keras.optimizers.SGD(1e-3), "mean_squared_error")
    model.fit(X, y[:, None], epochs=1, shuffle=False, verbose=0)
    for ours, keras_own in zip(net.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-6)


def test_a_rate_that_was_set_in_the_optimizer_is_kept():
    net = regressor().fit(X, y)
    unfreeze(net)
    net.model_.optimizer.learning_rate = 0.25
    assert float(net.partial_fit(X, y).model_.optimizer.learning_rate) == 0.25


def test_an_unfrozen_model_is_a_template_for_another_rate():
    tuned = KerasClassifier(build, epochs=2, random_state=0).fit(X, LABELS)
    before = unfreeze(tuned)
    net = KerasClassifier(tuned.model_, optimizer__learning_rate=1e-4, epochs=1, random_state=0)
    moved = np.abs(base_of(net.fit(X, LABELS)) - before)
    assert 0 < moved.max() < 1e-3
    assert float(net.model_.optimizer.learning_rate) == pytest.approx(1e-4)
    assert float(tuned.model_.optimizer.learning_rate) == pytest.approx(1e-3)
    np.testing.assert_array_equal(base_of(tuned), before)
    saved = net.model_.get_compile_config()["optimizer"]["config"]
    assert saved["learning_rate"] == pytest.approx(1e-4)


def test_parameters_of_a_template_s_optimizer_keep_the_others():
    template = compiling((4,), 1)
    net = regressor(template, optimizer__learning_rate=0.01).fit(X, y)
    optimizer = net.model_.optimizer
    assert (float(optimizer.learning_rate), optimizer.momentum) == (pytest.approx(0.01), 0.9)
    assert "mae" in net.history_
    assert float(template.optimizer.learning_rate) == pytest.approx(0.05)
    with pytest.raises(ParameterNameError, match="takes no 'beta_1'|takes 'beta_1'"):
        regressor(template, optimizer__beta_1=0.5).fit(X, y)
    with pytest.raises(BuilderError, match="takes optimizer__... if optimizer is left out"):
        regressor(template, optimizer="adam").fit(X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_advice_for_a_changed_parameter_can_be_followed(method):
    net = regressor(model__frozen=True, warm_start=True).fit(X, y)
    net.set_params(model__frozen=False)
    with pytest.raises(ValueError, match=r"Set it back to True.*trainable = True"):
        getattr(net, method)(X, y)
    before = unfreeze(net.set_params(model__frozen=True))
    assert np.abs(base_of(getattr(net, method)(X, y)) - before).max() > 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_fine_tuned_net_is_copied(copied):
    net = regressor().fit(X, y)
    unfreeze(net)
    net.partial_fit(X, y)
    twin = copied(net)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    np.testing.assert_array_equal(base_of(twin.partial_fit(X, y)), base_of(net.partial_fit(X, y)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_net_is_copied_between_unfreezing_and_training(copied, optimizer):
    net = regressor(optimizer=optimizer).fit(X, y)
    before = unfreeze(net)
    twin = copied(net)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    np.testing.assert_array_equal(base_of(twin.partial_fit(X, y)), base_of(net.partial_fit(X, y)))
    assert np.abs(base_of(twin) - before).max() > 0


def test_low_rank_weights_that_were_added_are_trained():
    net = regressor(model__frozen=False).fit(X, y)
    layer = net.model_.get_layer("base").layers[0]
    layer.enable_lora(2)
    before, kernel = layer.lora_kernel_b.numpy(), layer.get_weights()[0]
    net.partial_fit(X, y)
    assert np.abs(layer.lora_kernel_b.numpy() - before).max() > 0
    assert np.isfinite(kernel).all()


def test_a_failed_fine_tuning_leaves_the_net_as_it_was():
    net = regressor().fit(X, y)
    unfreeze(net)
    before = net.predict(X)
    with pytest.raises(DivergenceError):
        net.partial_fit(X, y * 1e30)
    np.testing.assert_array_equal(net.predict(X), before)
    assert np.isfinite(net.partial_fit(X, y).predict(X)).all()


def test_layers_that_are_frozen_again_stay_as_they_are():
    net = regressor(model__frozen=False).fit(X, y)
    net.model_.get_layer("base").trainable = False
    before = base_of(net)
    np.testing.assert_array_equal(base_of(net.partial_fit(X, y)), before)
    net.model_.get_layer("base").trainable = True
    assert np.abs(base_of(net.partial_fit(X, y)) - before).max() > 0


def test_a_forecaster_is_fine_tuned():
    series = np.sin(np.arange(80.0)).reshape(-1, 1)
    net = KerasForecaster(build, look_back=4, epochs=1, random_state=0).fit(series)
    before = unfreeze(net)
    net.set_params(warm_start=True, optimizer__learning_rate=1e-3).fit(series)
    assert np.abs(base_of(net) - before).max() > 0


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("optimizer", ["adam", keras.optimizers.SGD(0.01, momentum=0.9)])
def test_layers_frozen_after_training_stay_as_they_are_in_copies_too(engine, optimizer):
    net = regressor(engine=engine, optimizer=optimizer, model__frozen=False).fit(X, y)
    before = base_of(net)
    net.model_.get_layer("base").trainable = False
    copies = [net.partial_fit(X, y), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)]
    for one in copies:
        one.partial_fit(X, y)
        np.testing.assert_array_equal(base_of(one), before)
        np.testing.assert_array_equal(one.predict(X), net.predict(X))
        assert one.model_.optimizer.iterations == net.model_.optimizer.iterations
    for one in copies:
        unfreeze(one)
        assert np.abs(base_of(one.partial_fit(X, y)) - before).max() > 0
        np.testing.assert_array_equal(one.predict(X), net.predict(X))
