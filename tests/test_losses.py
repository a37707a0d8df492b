"""What a net ends in is seen through layers that keep values, or tried where it isn't known."""

import keras
import numpy as np
import pytest

from skkeras._keras_objects.internals import input_specs, output_shape
from skkeras._losses import ends_in_logits, output_endings

layers = keras.layers
ROWS = np.zeros((2, 4))


def ended(n_units, *last, activation=None):
    """A net whose dense layer is followed by others."""
    dense = layers.Dense(8, "relu"), layers.Dense(n_units, activation)
    return keras.Sequential([keras.Input((4,)), *dense, *last])


def averaged_steps(activation=None):
    steps = layers.Reshape((4, 1)), layers.Conv1D(3, 2, activation=activation)
    return keras.Sequential([keras.Input((4,)), *steps, layers.GlobalAveragePooling1D()])


def combined(combine, activation=None):
    inputs = keras.Input((4,))
    parts = [layers.Dense(3, activation)(inputs) for _ in range(2)]
    return keras.Model(inputs, combine(*parts))


def nested(activation=None):
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation), layers.Flatten()])
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dropout(0.1)(inner(inputs)))


def shared_dropout():
    """One dropout layer behind two others: its first input isn't its last."""
    inputs, dropout = keras.Input((4,)), layers.Dropout(0.1)
    hidden = dropout(layers.Dense(8, "relu")(inputs))
    return keras.Model(inputs, dropout(layers.Dense(3)(hidden)))


class OwnDense(layers.Dense):
    def call(self, inputs):
        return super().call(inputs)


class OwnSoftmax(layers.Dense):
    def call(self, inputs):
        return keras.ops.softmax(super().call(inputs))


class Renamed(layers.Dense):
    """A class of the user's that calls as Keras's does."""


class OwnCall(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return keras.ops.sigmoid(super().call(inputs))


def three_by_one():
    return layers.Reshape((3, 1))


NETS = {
    "reshaped": ("linear", lambda: ended(3, three_by_one(), layers.Flatten())),
    "permuted": ("linear", lambda: ended(3, three_by_one(), layers.Permute((2, 1)))),
    "identity": ("linear", lambda: ended(3, layers.Identity())),
    "dropout": ("linear", lambda: ended(3, layers.Dropout(0.1), layers.AlphaDropout(0.1))),
    "noise": ("linear", lambda: ended(3, layers.GaussianNoise(0.1), layers.GaussianDropout(0.1))),
    "averaged": ("linear", averaged_steps),
    "cropped": ("linear", lambda: ended(3, three_by_one(), layers.Cropping1D((0, 1)))),
    "sliced": ("linear", lambda: combined(lambda a, b: a[:, :2])),
    "squeezed": ("linear", lambda: combined(lambda a, b: keras.ops.squeeze(a[:, :1], 1))),
    "nested": ("linear", nested),
    "batch normalisation": ("linear", lambda: ended(3, layers.BatchNormalization())),
    "layer normalisation": (
        "linear",
        lambda: ended(3, layers.LayerNormalization(), activation="softmax"),
    ),
    "rescaled": ("linear", lambda: ended(3, layers.Rescaling(2.0))),
    "subtracted": ("linear", lambda: combined(lambda a, b: layers.Subtract()([a, b]))),
    "operators": ("linear", lambda: combined(lambda a, b: 2 * a + b)),
    "steps": (
        "linear",
        lambda: ended(3, three_by_one(), layers.TimeDistributed(layers.Dense(1))),
    ),
    "layer as activation": ("relu", lambda: ended(3, activation=layers.ReLU())),
    "relu": ("relu", lambda: ended(3, layers.ReLU(), layers.Flatten())),
    "leaky relu": ("leaky_relu", lambda: ended(3, layers.LeakyReLU())),
    "elu": ("elu", lambda: ended(3, layers.ELU())),
    "prelu": ("prelu", lambda: ended(3, layers.PReLU())),
    "operation": ("leaky_relu", lambda: combined(lambda a, b: keras.ops.leaky_relu(a))),
    "reshaped softmax": ("softmax", lambda: ended(3, three_by_one(), activation="softmax")),
    "softmax layer": ("softmax", lambda: ended(3, layers.Softmax(), layers.Dropout(0.1))),
    "averaged softmax": ("softmax", lambda: averaged_steps("softmax")),
    "nested softmax": ("softmax", lambda: nested("softmax")),
    "sigmoid": ("sigmoid", lambda: ended(3, layers.Dropout(0.1), activation="sigmoid")),
    "class without a call of its own": (
        "sigmoid",
        lambda: keras.Sequential([keras.Input((4,)), Renamed(3, "sigmoid")]),
    ),
}


@pytest.mark.parametrize("net", NETS)
def test_ending_is_seen_through_what_keeps_values(net):
    ending, build = NETS[net]
    assert output_endings(build(), (3,)) == ending
    assert ends_in_logits(build(), ((4,), "float32"), (3,)) == (ending == "linear")


UNKNOWN = {
    "added softmax": (True, lambda: combined(lambda a, b: a + b, "softmax")),
    "subtracted relu": (True, lambda: combined(lambda a, b: a - b, "relu")),
    "own activation": (True, lambda: ended(3, activation=lambda x: 3 * x)),
    "log-softmax": (True, lambda: ended(3, activation="log_softmax")),
    "Lambda": (True, lambda: ended(3, layers.Lambda(lambda x: 1.0 * x))),
    "own layer": (True, lambda: keras.Sequential([keras.Input((4,)), OwnDense(3)])),
    "one layer in two places": (True, shared_dropout),
    "one unit": (True, lambda: ended(1, layers.Lambda(lambda x: 0.01 * x))),
    "numbers of words": (
        True,
        lambda: keras.Sequential(
            [keras.Input((4,)), layers.Embedding(9, 2), layers.Flatten(), OwnDense(1)]
        ),
    ),
    "average of softmax": (
        False,
        lambda: combined(lambda a, b: layers.Average()([a, b]), "softmax"),
    ),
    "weighted softmax": (False, lambda: combined(lambda a, b: 0.3 * a + 0.7 * b, "softmax")),
    "rest of a sigmoid": (False, lambda: combined(lambda a, b: 1 - a, "sigmoid")),
    "rescaled tanh": (False, lambda: ended(3, layers.Rescaling(0.5, 0.5), activation="tanh")),
    "cut relu": (False, lambda: ended(3, layers.ReLU(max_value=1.0))),
    "cropped softmax": (
        False,
        lambda: ended(3, three_by_one(), layers.Cropping1D((0, 2)), activation="softmax"),
    ),
    "own softmax": (False, lambda: ended(3, activation=lambda x: keras.ops.softmax(x))),
    "Lambda of softmax": (False, lambda: ended(3, layers.Lambda(lambda x: keras.ops.softmax(x)))),
    "own layer of softmax": (False, lambda: keras.Sequential([keras.Input((4,)), OwnSoftmax(3)])),
    "own call": (False, lambda: OwnCall([keras.Input((4,)), layers.Dense(3)])),
}


@pytest.mark.parametrize("net", UNKNOWN)
def test_ending_that_is_not_known_is_tried_and_nothing_changes(net):
    in_logits, build = UNKNOWN[net]
    model = build()
    before = [variable.numpy() for variable in model.variables]
    assert output_endings(model, (3,)) is None
    assert ends_in_logits(model, ((4,), "float32"), (3,)) == in_logits
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_ending_is_tried_for_text_and_several_inputs():
    text, table = keras.Input((1,), dtype="string", name="text"), keras.Input((4,), name="table")
    words = layers.TextVectorization(output_sequence_length=2)
    words.adapt(["a b", "c"])
    embedded = layers.Flatten()(layers.Embedding(9, 2)(words(text)))
    both = layers.Concatenate()([embedded, table])
    specs = {"text": ((1,), "string"), "table": ((4,), "float32")}
    for last, in_logits in [(OwnDense(2), True), (OwnSoftmax(2), False)]:
        assert ends_in_logits(keras.Model([text, table], last(both)), specs, (2,)) == in_logits


def test_ending_that_cannot_be_tried_is_taken_for_probabilities():
    class Picky(layers.Dense):
        def call(self, inputs):
            if not isinstance(inputs, keras.KerasTensor):
                raise ValueError("not with these rows")
            return super().call(inputs)

    model = keras.Sequential([keras.Input((4,)), Picky(3)])
    assert ends_in_logits(model, ((4,), "float32"), (3,)) is False


def heads(as_dict):
    inputs = keras.Input((4,))
    made = {
        "z": layers.Flatten(name="z")(layers.Dense(3)(inputs)),
        "c": layers.Dense(1, "sigmoid", name="c")(inputs),
        "a": layers.Lambda(lambda x: x, name="a")(layers.Dense(2)(inputs)),
        "s": layers.Lambda(keras.ops.sigmoid, name="s")(layers.Dense(2)(inputs)),
    }
    return keras.Model(inputs, made if as_dict else [*made.values()])


class OwnHeads(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        logits = self.dense(inputs)
        return {"z": logits, "a": keras.ops.softmax(logits)}


def of_model(function, model, *more):
    specs = input_specs(ROWS)
    return function(model, *more, output_shape(model, specs))


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_outputs_have_an_ending_each(as_dict):
    model = heads(as_dict)
    expected = {"z": "linear", "c": "sigmoid", "a": None, "s": None}
    assert of_model(output_endings, model) == expected
    in_logits = of_model(ends_in_logits, model, input_specs(ROWS))
    assert in_logits == {"z": True, "c": False, "a": True, "s": False}


def test_several_outputs_of_an_own_call_are_tried():
    model = OwnHeads()
    assert of_model(output_endings, model) == {"a": None, "z": None}
    in_logits = of_model(ends_in_logits, model, input_specs(ROWS))
    assert in_logits == {"a": False, "z": True}
