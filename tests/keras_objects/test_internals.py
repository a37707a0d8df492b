"""What is known of Keras's insides: each of these fails when a new Keras changes it."""

import keras
import numpy as np
import pytest
from keras import layers

from skkeras._keras_objects.internals import (
    calls_in_order,
    compile_arguments,
    configuration,
    history_of,
    is_generated,
    is_keras,
    is_layer,
    layer_machinery,
    layer_settings,
    machinery,
    metric_machinery,
    optimizes,
    plain,
    sublayers,
)


class Own(layers.Layer):
    def __init__(self, parts=(), **options):
        super().__init__(**options)
        self.parts, self.note = [*parts], {"rate": 3}

    def call(self, x):
        return x


def functional():
    inputs = keras.Input((3,), name="x")
    hidden = layers.Dense(4, name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(1, name="out")(hidden))


def test_classes_and_functions_of_keras_are_told_by_their_module():
    assert all(map(is_keras, (layers.Dense, keras.losses.mean_squared_error, keras.Model.fit)))
    assert not any(map(is_keras, (Own, Own.call, np.mean, None)))


def test_layers_are_told_from_classes_and_functions():
    assert is_layer(Own())
    assert is_layer(functional())
    assert not is_layer(Own.call)
    assert not is_layer(layers.Dense)


def test_settings_are_what_a_layer_was_given():
    dense = layers.Dense(4, activation="relu", use_bias=False)
    settings = layer_settings(dense)
    assert (settings["units"], settings["use_bias"]) == (4, False)
    before = set(settings)
    functional_of = keras.Sequential([keras.Input((3,)), dense])
    functional_of(np.zeros((1, 3)))
    assert set(layer_settings(dense)) - before <= {"input_spec", "_kernel", "bias"}


@pytest.mark.parametrize("make", [functional, lambda: keras.Sequential([layers.Dense(1)])])
def test_compiling_and_training_leave_a_models_settings_alone(make):
    model = make()
    model.build((None, 3))
    before = set(layer_settings(model))
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0)
    assert set(layer_settings(model)) - before <= {"history"}


def test_an_optimizers_machinery_has_none_of_its_settings():
    adam = keras.optimizers.Adam(0.1, beta_1=0.5, clipnorm=2.0)
    assert not machinery().of_optimizers & {"beta_1", "clipnorm", "weight_decay", "_learning_rate"}
    assert machinery().of_optimizers & vars(adam).keys()


def test_a_metrics_and_a_layers_machinery_is_found():
    metric = keras.metrics.BinaryAccuracy(threshold=0.3)
    assert "threshold" not in metric_machinery()
    assert {"_dtype_policy", "_variables"} <= metric_machinery() & vars(metric).keys()
    assert {"_trainable_variables", "_layers"} <= layer_machinery() & vars(layers.Dense(1)).keys()
    assert "units" not in layer_machinery()


def test_a_model_keeps_what_it_was_compiled_with():
    model = functional()
    assert compile_arguments(model) is None
    loss = keras.losses.Huber(2.0)
    model.compile("sgd", loss, metrics=["mae"], loss_weights=[2.0])
    arguments = compile_arguments(model)
    assert arguments["loss"] is loss
    assert (arguments["metrics"], arguments["loss_weights"]) == (["mae"], [2.0])
    assert "optimizer" not in arguments


def test_a_configuration_leaves_out_what_was_compiled():
    model = functional()
    before = configuration(model)
    model.compile("sgd", "mse")
    assert configuration(model) == before
    assert model.compiled


def test_containers_that_keras_tracks_become_pythons():
    layer = Own([layers.Dense(1)])
    assert type(layer.note) is not dict
    assert type(plain(layer.note)) is dict
    assert type(plain(layer.parts)) is list


def test_layers_in_lists_are_found_each_once():
    inner = layers.Dense(1)
    found = sublayers(layer := Own([inner, inner]))
    assert found == [layer, inner]


def test_symbolic_tensors_know_the_calls_that_made_them():
    model = functional()
    operation, _ = history_of(model.outputs[0])
    assert operation.name == "out"
    assert [one.name for one, _ in calls_in_order(model)] == ["hidden", "out"]


def test_generated_names_are_told_from_given_ones():
    assert is_generated(layers.Dense(1).name, layers.Dense(1))
    assert not is_generated("encoder", layers.Dense(1))


@pytest.mark.parametrize("wrap", [lambda inner: inner, keras.optimizers.LossScaleOptimizer])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adafactor"])
def test_an_optimizer_tells_which_variables_it_was_built_for(optimizer, wrap):
    optimizer = wrap(keras.optimizers.get(optimizer))
    variables = [keras.Variable(np.zeros((2, 3))) for _ in range(3)]
    optimizer.build(variables[:2])
    assert optimizes(optimizer, variables[:2])
    assert optimizes(optimizer, variables[1:2])
    assert not optimizes(optimizer, variables[1:])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply([np.ones((2, 3), "float32")], variables[2:])
