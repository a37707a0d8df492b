"""Programs are shared by those nets that agree, and only by them."""

import collections
import dataclasses
import enum
import functools
import pickle
import random
import re
import subprocess
import sys
import textwrap
import threading
import types

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers

from skkeras import models
from skkeras._keras_objects.fingerprint import fingerprint, is_shareable

SCALE = 2.0
TABLE = {"scale": 2.0}


def net(*stack, shape=(6,)):
    return keras.Sequential([keras.Input(shape), *stack])


def dense(**options):
    return net(layers.Dense(4, **options), layers.Dense(1))


def functional(wire, *shapes, names=None):
    names = names or [None] * len(shapes or [1])
    inputs = [keras.Input(s, name=n) for s, n in zip(shapes or [(6,)], names, strict=True)]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], wire(*inputs))


def relu():
    return keras.activations.relu


def power(exponent):
    return lambda x: x**exponent


def nested_power(exponent):
    def outer(x):
        def inner(y):
            return y**exponent

        return inner(x)

    return outer


def reads_global(x):
    return x * SCALE


def reads_global_through_another(x):
    return reads_global(x)


def reads_table(x):
    return x * TABLE["scale"]


def scale_layer(factor, name="Scale", where="closure", body=0):
    """Make a class anew: what distinguishes it is in different places."""

    class Scale(layers.Layer):
        constant = factor if where == "class" else 0.0

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.value = factor if where == "instance" else 0.0

        def call(self, x):
            return x * (factor if where == "closure" else self.value + self.constant)

    class Other(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.value = 0.0

        def call(self, x):
            return x + factor

    cls = Other if body else Scale
    cls.__name__ = cls.__qualname__ = name
    return cls


class Standalone(keras.Model):
    def __init__(self, units=3, rate=0.1, hidden=1):
        super().__init__()
        self.hidden = [layers.Dense(units) for _ in range(hidden)]
        self.dropout = layers.Dropout(rate)
        self.out = {"head": layers.Dense(1)}

    def call(self, x, training=False):
        for layer in self.hidden:
            x = layer(x)
        return self.out["head"](self.dropout(x, training=training))


def built(model, shape=(2, 6)):
    model(np.zeros(shape, "float32"))
    return model


def built_later(model):
    model.build((None, 6))
    return model


def with_train_step(weight):
    class Weighted(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = weight * keras.ops.mean((self(x, training=True) - y) ** 2)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    inputs = keras.Input((6,))
    return Weighted(inputs, layers.Dense(1)(inputs))


def normalized(rows):
    layer = layers.Normalization()
    layer.adapt(np.asarray(rows, "float32"))
    return net(layer, layers.Dense(1), shape=(2,))


def discretized(bins):
    return net(layers.Discretization(bin_boundaries=bins), layers.Dense(1), shape=(2,))


def text(words, **options):
    layer = layers.TextVectorization(output_sequence_length=3, **options)
    layer.adapt(words)
    return net(layer, layers.Embedding(9, 2), layers.Flatten(), layers.Dense(1), shape=())


def looked_up(cls, vocabulary, **options):
    layer = cls(vocabulary=vocabulary, output_mode="multi_hot", **options)
    dtype = "string" if cls is layers.StringLookup else "int64"
    inputs = keras.Input((2,), dtype=dtype)
    return keras.Model(inputs, layers.Dense(1)(layer(inputs)))


def sequence(layer):
    return net(layer, layers.Dense(1), shape=(5, 2))


def frozen(index):
    model = net(layers.Dense(4), layers.Dense(4), layers.Dense(1))
    if index is not None:
        model.layers[index].trainable = False
    return model


def shared(is_shared):
    first = layers.Dense(4)
    second = first if is_shared else layers.Dense(4)
    return functional(lambda a, b: layers.Add()([first(a), second(b)]), (6,), (6,))


def tower(*joins):
    """Three layers of equal shape; `joins` are the pairs that a sum connects."""

    def wire(x):
        states = [x]
        for _ in range(3):
            states.append(layers.Dense(6)(states[-1]))
        for left, right in joins:
            states.append(layers.Add()([states[left], states[right]]))
        return layers.Dense(1)(states[-1])

    return functional(wire)


def heads(*names, structure=lambda *outputs: list(outputs)):
    return functional(lambda x: structure(*[layers.Dense(1, name=name)(x) for name in names]))


def compiled(model, **arguments):
    model.compile(**arguments)
    return model


def trained(model):
    model = compiled(model, optimizer="adam", loss="mse")
    model.fit(np.zeros((8, 6)), np.zeros((8, 1)), epochs=2, verbose=0, validation_split=0.5)
    model.predict(np.zeros((3, 6)), verbose=0)
    return model


def with_regularizer(make):
    return dense(kernel_regularizer=make)


def penalty(strength):
    return lambda weights: strength * keras.ops.sum(weights**2)


class Penalty(keras.regularizers.Regularizer):
    def __init__(self, strength):
        self.strength = strength

    def __call__(self, weights):
        return self.strength * keras.ops.sum(weights**2)


class KeepsInitializer(layers.Layer):
    """The initializer is spent once the layer is built."""

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.GlorotUniform(seed)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 1), initializer=self.initializer)

    def call(self, x):
        return x @ self.kernel


class UsesInitializer(KeepsInitializer):
    def call(self, x):
        return x @ self.kernel + self.initializer((1,))


class UsesInnerNames(keras.Model):
    def __init__(self, factor):
        super().__init__()
        self._inputs = factor
        self.out = layers.Dense(1)

    def call(self, x):
        return self.out(x) * self._inputs


class KeepsHistory(layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.history = self._built = self.optimizer = factor

    def call(self, x):
        return x * self.history


def decorated_layer(factor):
    class Decorated(layers.Layer):
        @tf.function
        def call(self, x):
            return x * factor

    return Decorated


def property_layer(factor):
    class WithProperty(layers.Layer):
        @property
        def factor(self):
            return factor

        def call(self, x):
            return x * self.factor

    return WithProperty


def scaled_dense(factor):
    class ScaledDense(layers.Dense):
        def call(self, x):
            return factor * super().call(x)

    return ScaledDense


@dataclasses.dataclass
class Settings:
    factor: float
    names: list = dataclasses.field(default_factory=list)

    def __call__(self, x):
        return x * self.factor


class Slots:
    __slots__ = ("factor", "unset")

    def __init__(self, factor):
        self.factor = factor


class Table(dict):
    pass


class Power(enum.Enum):
    two = 2
    three = 3


Pair = collections.namedtuple("Pair", "first second")


def attention(use_causal_mask=False, **options):
    inputs = keras.Input((5, 3))
    layer = layers.MultiHeadAttention(**options)
    return keras.Model(inputs, layer(inputs, inputs, use_causal_mask=use_causal_mask))


class NamesLayers(keras.Model):
    """Which layer it calls depends on the generated names."""

    def __init__(self, wanted, *names):
        super().__init__()
        self.wanted = wanted
        self.a, self.b = [layers.Dense(1, name=name) for name in names]

    def call(self, x):
        a, b = self.a(x), self.b(x)
        return a if self.a.name.endswith(self.wanted) else b


def policy(name):
    return dense(dtype=name)


def add_layer_attribute(value):
    model = dense()
    model.layers[0].extra = value
    return model


def variable_constraint(constraint):
    model = dense()
    model.layers[0].kernel.constraint = constraint
    return model


def cached_power(exponent):
    return functools.lru_cache(power(exponent))


DIFFERENT_NETS = {
    "units": (lambda: net(layers.Dense(4)), lambda: net(layers.Dense(5))),
    "input shape": (lambda: net(layers.Flatten(), shape=(6, 1)), lambda: net(layers.Flatten())),
    "batch shape": (
        lambda: keras.Sequential([keras.Input(batch_shape=(2, 6)), layers.Dense(1)]),
        lambda: keras.Sequential([keras.Input(batch_shape=(3, 6)), layers.Dense(1)]),
    ),
    "input dtype": (
        lambda: keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(3, 2)]),
        lambda: keras.Sequential([keras.Input((6,), dtype="uint8"), layers.Embedding(3, 2)]),
    ),
    "activation": (lambda: dense(activation="relu"), lambda: dense(activation="tanh")),
    "bias": (dense, lambda: dense(use_bias=False)),
    "activation closure": (
        lambda: dense(activation=power(2)),
        lambda: dense(activation=power(3)),
    ),
    "activation, nested closure": (
        lambda: dense(activation=nested_power(2)),
        lambda: dense(activation=nested_power(3)),
    ),
    "activation, partial": (
        lambda: dense(activation=functools.partial(keras.activations.leaky_relu)),
        lambda: dense(
            activation=functools.partial(keras.activations.leaky_relu, negative_slope=0.5)
        ),
    ),
    "activation, int or float": (
        lambda: dense(activation=power(2)),
        lambda: dense(activation=power(2.0)),
    ),
    "activation, sign of zero": (
        lambda: dense(activation=power(0.0)),
        lambda: dense(activation=power(-0.0)),
    ),
    "activation, array in a closure": (
        lambda: dense(activation=power(np.float32([1, 2, 3, 4]))),
        lambda: dense(activation=power(np.float32([1, 2, 3, 5]))),
    ),
    "activation, tensor in a closure": (
        lambda: dense(activation=power(tf.constant([1.0]))),
        lambda: dense(activation=power(tf.constant([2.0]))),
    ),
    "activation, cached function": (
        lambda: dense(activation=cached_power(2)),
        lambda: dense(activation=cached_power(3)),
    ),
    "activation, default value": (
        lambda: dense(activation=lambda x, k=2: x * k),
        lambda: dense(activation=lambda x, k=3: x * k),
    ),
    "activation, constant": (
        lambda: dense(activation=lambda x: x * 2),
        lambda: dense(activation=lambda x: x * 3),
    ),
    "activation, library function": (
        lambda: dense(activation=lambda x: keras.ops.sin(x)),
        lambda: dense(activation=lambda x: keras.ops.cos(x)),
    ),
    "lambda layer": (
        lambda: net(layers.Lambda(power(2))),
        lambda: net(layers.Lambda(power(3))),
    ),
    "lambda layer arguments": (
        lambda: net(layers.Lambda(lambda x, k: x * k, arguments={"k": 2})),
        lambda: net(layers.Lambda(lambda x, k: x * k, arguments={"k": 3})),
    ),
    "custom layer body": (
        lambda: net(scale_layer(2.0)()),
        lambda: net(scale_layer(2.0, body=1)()),
    ),
    **{
        f"custom layer {where}": (
            lambda where=where: net(scale_layer(2.0, where=where)()),
            lambda where=where: net(scale_layer(3.0, where=where)()),
        )
        for where in ("closure", "class", "instance")
    },
    "attribute on a library's layer": (
        lambda: add_layer_attribute(1),
        lambda: add_layer_attribute(2),
    ),
    "dropout rate": (lambda: net(layers.Dropout(0.1)), lambda: net(layers.Dropout(0.2))),
    "batch norm momentum": (
        lambda: net(layers.BatchNormalization(momentum=0.9)),
        lambda: net(layers.BatchNormalization(momentum=0.8)),
    ),
    "regularizer kind": (lambda: with_regularizer("l1"), lambda: with_regularizer("l2")),
    "regularizer strength": (
        lambda: with_regularizer(keras.regularizers.L2(0.1)),
        lambda: with_regularizer(keras.regularizers.L2(0.2)),
    ),
    "regularizer function": (
        lambda: dense(activity_regularizer=penalty(1)),
        lambda: dense(activity_regularizer=penalty(2)),
    ),
    "regularizer class": (
        lambda: with_regularizer(Penalty(1)),
        lambda: with_regularizer(Penalty(2)),
    ),
    "activity regularizer": (
        lambda: dense(activity_regularizer="l2"),
        lambda: dense(activity_regularizer="l1"),
    ),
    "constraint": (dense, lambda: dense(kernel_constraint="non_neg")),
    "constraint of the variable": (
        dense,
        lambda: variable_constraint(keras.constraints.NonNeg()),
    ),
    "frozen layer": (lambda: frozen(None), lambda: frozen(1)),
    "which layer is frozen": (lambda: frozen(0), lambda: frozen(1)),
    "dtype policy": (lambda: policy("float32"), lambda: policy("mixed_float16")),
    "autocast": (dense, lambda: dense(autocast=False)),
    "layer order": (
        lambda: net(layers.ReLU(), layers.Softmax()),
        lambda: net(layers.Softmax(), layers.ReLU()),
    ),
    "shared layer": (lambda: shared(True), lambda: shared(False)),
    "skip connection": (lambda: tower((1, 3)), lambda: tower((2, 3))),
    "skip connections": (lambda: tower((1, 3), (2, 4)), lambda: tower((1, 3), (1, 4))),
    "order of a difference": (
        lambda: functional(lambda a, b: layers.Subtract()([a, b]), (6,), (6,)),
        lambda: functional(lambda a, b: layers.Subtract()([b, a]), (6,), (6,)),
    ),
    "order of the inputs": (
        lambda: functional(lambda a, b: a - 2 * b, (6,), (6,), names=["a", "b"]),
        lambda: functional(lambda a, b: a - 2 * b, (6,), (6,), names=["b", "a"]),
    ),
    "nested net": (
        lambda: net(net(layers.Dense(4, activation="relu"))),
        lambda: net(net(layers.Dense(4, activation="tanh"))),
    ),
    "net nested deeper": (
        lambda: net(net(layers.Dense(4)), layers.Dense(1)),
        lambda: net(net(layers.Dense(4), layers.Dense(1))),
    ),
    "training flag of a call": (
        lambda: functional(lambda x: layers.Dropout(0.5)(x, training=True)),
        lambda: functional(lambda x: layers.Dropout(0.5)(x)),
    ),
    "constant of an operation": (
        lambda: functional(lambda x: x * 2),
        lambda: functional(lambda x: x * 3),
    ),
    "array of an operation": (
        lambda: functional(lambda x: x + np.ones(6, "float32")),
        lambda: functional(lambda x: x + np.zeros(6, "float32")),
    ),
    "slice of an operation": (
        lambda: functional(lambda x: x[:, :2]),
        lambda: functional(lambda x: x[:, 2:4]),
    ),
    "setting of an operation": (
        lambda: functional(lambda x: keras.ops.mean(x, axis=0, keepdims=True)),
        lambda: functional(lambda x: keras.ops.mean(x, axis=1, keepdims=True)),
    ),
    "operation": (
        lambda: functional(lambda x: keras.ops.sin(x)),
        lambda: functional(lambda x: keras.ops.cos(x)),
    ),
    "structure of the outputs": (
        lambda: heads("a", "b"),
        lambda: heads("a", "b", structure=lambda a, b: {"a": a, "b": b}),
    ),
    "order of the outputs": (
        lambda: heads("a", "b"),
        lambda: heads("a", "b", structure=lambda a, b: [b, a]),
    ),
    "names of several outputs": (lambda: heads("a", "b"), lambda: heads("a", "c")),
    "rows that were adapted to": (
        lambda: normalized([[1, 2], [3, 4]]),
        lambda: normalized([[1, 2], [3, 5]]),
    ),
    "normalization given": (
        lambda: net(layers.Normalization(mean=1.0, variance=1.0)),
        lambda: net(layers.Normalization(mean=1.0, variance=2.0)),
    ),
    "bins": (lambda: discretized([0.0, 1.0]), lambda: discretized([0.0, 2.0])),
    "vocabulary of texts": (lambda: text(["a b", "b"]), lambda: text(["a c", "c"])),
    "tf-idf of the same words": (
        lambda: text(["a b", "b"], output_mode="int"),
        lambda: text(["a b", "a"], output_mode="int"),
    ),
    "standardization of texts": (
        lambda: text(["a b"], standardize=None),
        lambda: text(["a b"], standardize=lambda words: tf.strings.lower(words)),
    ),
    "vocabulary of strings": (
        lambda: looked_up(layers.StringLookup, ["a", "b"]),
        lambda: looked_up(layers.StringLookup, ["a", "c"]),
    ),
    "order of a vocabulary": (
        lambda: looked_up(layers.StringLookup, ["a", "b"]),
        lambda: looked_up(layers.StringLookup, ["b", "a"]),
    ),
    "vocabulary of integers": (
        lambda: looked_up(layers.IntegerLookup, [1, 2]),
        lambda: looked_up(layers.IntegerLookup, [1, 3]),
    ),
    "embedding mask": (
        lambda: net(layers.Embedding(5, 2), layers.LSTM(2), shape=(5,)),
        lambda: net(layers.Embedding(5, 2, mask_zero=True), layers.LSTM(2), shape=(5,)),
    ),
    "lstm sequences": (
        lambda: sequence(layers.LSTM(3)),
        lambda: sequence(layers.LSTM(3, return_sequences=True)),
    ),
    "lstm unrolled": (
        lambda: sequence(layers.LSTM(3)),
        lambda: sequence(layers.LSTM(3, unroll=True)),
    ),
    "lstm direction": (
        lambda: sequence(layers.LSTM(3)),
        lambda: sequence(layers.LSTM(3, go_backwards=True)),
    ),
    "lstm dropout": (
        lambda: sequence(layers.LSTM(3, dropout=0.1)),
        lambda: sequence(layers.LSTM(3, dropout=0.2)),
    ),
    "recurrent layer": (
        lambda: sequence(layers.LSTM(3)),
        lambda: sequence(layers.GRU(4)),
    ),
    "bidirectional merge": (
        lambda: sequence(layers.Bidirectional(layers.LSTM(3), merge_mode="sum")),
        lambda: sequence(layers.Bidirectional(layers.LSTM(3), merge_mode="ave")),
    ),
    "bidirectional inside": (
        lambda: sequence(layers.Bidirectional(layers.LSTM(3, activation="tanh"))),
        lambda: sequence(layers.Bidirectional(layers.LSTM(3, activation="relu"))),
    ),
    "time distributed inside": (
        lambda: sequence(layers.TimeDistributed(layers.Dense(3, activation="tanh"))),
        lambda: sequence(layers.TimeDistributed(layers.Dense(3, activation="relu"))),
    ),
    "convolution strides": (
        lambda: sequence(layers.Conv1D(2, 2, strides=1, padding="same")),
        lambda: sequence(layers.Conv1D(2, 2, dilation_rate=2, padding="same")),
    ),
    "subclassed net": (lambda: built(Standalone()), lambda: built(Standalone(hidden=2))),
    "subclassed net's inside": (
        lambda: built(Standalone()),
        lambda: built(Standalone(rate=0.2)),
    ),
    "train_step closure": (lambda: with_train_step(1.0), lambda: with_train_step(2.0)),
    "initializer used in call": (
        lambda: net(UsesInitializer(seed=1)),
        lambda: net(UsesInitializer(seed=2)),
    ),
    "initializer drawn anew, used in call": (
        lambda: net(UsesInitializer()),
        lambda: net(UsesInitializer()),
    ),
    "a variable of nobody": (
        lambda: net(layers.Lambda(power(keras.Variable(2.0)))),
        lambda: net(layers.Lambda(power(keras.Variable(2.0)))),
    ),
    "a seed generator of nobody": (
        lambda: net(layers.Lambda(power(keras.random.SeedGenerator(2)))),
        lambda: net(layers.Lambda(power(keras.random.SeedGenerator(2)))),
    ),
    "attribute with a name that functional nets use": (
        lambda: built(UsesInnerNames(1.0)),
        lambda: built(UsesInnerNames(2.0)),
    ),
    "attribute called history": (
        lambda: net(KeepsHistory(1.0)),
        lambda: net(KeepsHistory(2.0)),
    ),
    "decorated call": (
        lambda: net(decorated_layer(2.0)()),
        lambda: net(decorated_layer(3.0)()),
    ),
    "settings in a dataclass": (
        lambda: net(layers.Lambda(power(Settings(2.0)))),
        lambda: net(layers.Lambda(power(Settings(3.0)))),
    ),
    "settings in slots": (
        lambda: net(layers.Lambda(power(Slots(2.0)))),
        lambda: net(layers.Lambda(power(Slots(3.0)))),
    ),
    "settings in a named tuple": (
        lambda: net(layers.Lambda(power(Pair(2.0, 1.0)))),
        lambda: net(layers.Lambda(power(Pair(3.0, 1.0)))),
    ),
    "settings in an enum": (
        lambda: net(layers.Lambda(power(Power.two))),
        lambda: net(layers.Lambda(power(Power.three))),
    ),
    "settings in a subclass of dict": (
        lambda: net(layers.Lambda(power(Table(a=2.0)))),
        lambda: net(layers.Lambda(power(Table(a=3.0)))),
    ),
    "callable object": (
        lambda: net(layers.Lambda(Settings(2.0).__call__)),
        lambda: net(layers.Lambda(Settings(3.0).__call__)),
    ),
    "property of a class": (
        lambda: net(property_layer(2.0)()),
        lambda: net(property_layer(3.0)()),
    ),
    "a subclass of a library's layer": (
        lambda: net(scaled_dense(2.0)(3, activation="relu")),
        lambda: net(scaled_dense(3.0)(3, activation="relu")),
    ),
    "a cell of a recurrent layer": (
        lambda: sequence(layers.RNN(layers.StackedRNNCells([layers.GRUCell(2)]))),
        lambda: sequence(
            layers.RNN(layers.StackedRNNCells([layers.GRUCell(2, activation="relu")]))
        ),
    ),
    "heads of an attention": (
        lambda: attention(num_heads=2, key_dim=4),
        lambda: attention(num_heads=4, key_dim=2),
    ),
    "causal attention": (
        lambda: attention(num_heads=2, key_dim=4),
        lambda: attention(num_heads=2, key_dim=4, use_causal_mask=True),
    ),
    "presets": (
        lambda: models.mlp((6,), 1, "linear"),
        lambda: models.mlp((6,), 1, "sigmoid"),
    ),
}


@pytest.mark.parametrize("case", DIFFERENT_NETS)
def test_nets_that_differ_never_share(case):
    left, right = DIFFERENT_NETS[case]

    assert fingerprint(left()) != fingerprint(right())


# Every net of these builders is another one.
NEVER_EQUAL = {
    "initializer drawn anew, used in call",
    "a variable of nobody",
    "a seed generator of nobody",
}
SIDES = [(case, side) for case in DIFFERENT_NETS if case not in NEVER_EQUAL for side in (0, 1)]


@pytest.mark.parametrize("case, side", SIDES)
def test_nets_made_by_one_builder_share(case, side):
    make = DIFFERENT_NETS[case][side]
    first = make()
    layers.Dense(1), layers.Dropout(0.1)  # generated names move on

    digest = fingerprint(first)

    assert digest == fingerprint(make())
    assert is_shareable(digest)


EQUAL_NETS = {
    "activation by name or as function": (
        lambda: dense(activation="relu"),
        lambda: dense(activation=keras.activations.relu),
    ),
    "the same activation once or twice": (
        lambda: net(layers.Dense(2, activation=relu()), layers.Dense(2, activation=relu())),
        lambda: net(layers.Dense(2, activation="relu"), layers.Dense(2, activation="relu")),
    ),
    "dropout seed": (
        lambda: net(layers.Dropout(0.1, seed=1)),
        lambda: net(layers.Dropout(0.1, seed=2)),
    ),
    "seed of a recurrent layer": (
        lambda: sequence(layers.LSTM(3, dropout=0.1, seed=1)),
        lambda: sequence(layers.LSTM(3, dropout=0.1, seed=2)),
    ),
    "seed of an augmentation": (
        lambda: net(layers.RandomFlip(seed=1), shape=(4, 4, 1)),
        lambda: net(layers.RandomFlip(seed=2), shape=(4, 4, 1)),
    ),
    "initializer seed": (
        lambda: dense(kernel_initializer=keras.initializers.GlorotUniform(1)),
        lambda: dense(kernel_initializer=keras.initializers.GlorotUniform(2)),
    ),
    "initializer": (
        lambda: dense(kernel_initializer="zeros", bias_initializer=keras.initializers.Zeros()),
        lambda: dense(kernel_initializer=lambda shape, dtype: keras.ops.ones(shape, dtype)),
    ),
    "initializer a user's layer has done with": (
        lambda: net(KeepsInitializer(seed=1)),
        lambda: net(KeepsInitializer()),
    ),
    "layer names": (
        lambda: net(layers.Dense(2, name="first")),
        lambda: net(layers.Dense(2, name="other")),
    ),
    "net names": (
        lambda: keras.Sequential([keras.Input((2,)), layers.Dense(2)], name="first"),
        lambda: keras.Sequential([keras.Input((2,)), layers.Dense(2)], name="other"),
    ),
    "weights": (lambda: dense(), lambda: dense(kernel_initializer="ones")),
    "compiled": (dense, lambda: compiled(dense(), optimizer="sgd", loss="mae", metrics=["mse"])),
    "trained": (dense, lambda: trained(dense())),
    "trained, functional": (
        lambda: functional(lambda x: layers.Dense(1)(x + 1)),
        lambda: trained(functional(lambda x: layers.Dense(1)(x + 1))),
    ),
    "trained, subclassed": (lambda: built(Standalone()), lambda: trained(Standalone())),
    "cloned": (dense, lambda: keras.models.clone_model(dense(activation="linear"))),
    "input given or inferred": (
        dense,
        lambda: built_later(keras.Sequential([layers.Dense(4), layers.Dense(1)])),
    ),
    "class made anew": (
        lambda: net(scale_layer(2.0)()),
        lambda: net(scale_layer(1.0 + 1.0)()),
    ),
    "global dtype policy or argument": (
        lambda: dense(),
        lambda: dense(dtype=keras.DTypePolicy("float32")),
    ),
}


@pytest.mark.parametrize("case", EQUAL_NETS)
def test_nets_that_agree_share(case):
    left, right = EQUAL_NETS[case]

    assert fingerprint(left()) == fingerprint(right())


def decay(rate, **options):
    return keras.optimizers.schedules.ExponentialDecay(0.1, 10, rate, **options)


class UserSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate / (1 + step)


class UserOptimizer(keras.optimizers.SGD):
    def __init__(self, power=1.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient**self.power, variable, learning_rate)


def excluding(*names):
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=list(names))
    return optimizer


def custom_loss(weight):
    def loss(y_true, y_pred):
        return weight * keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    return loss


class UserLoss(keras.losses.Loss):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * keras.ops.abs(y_true - y_pred)


def numbered_metric(index):
    def metric(y_true, y_pred):
        return keras.ops.mean(y_pred[:, index])

    return metric


adam, sgd, losses, metrics = (
    keras.optimizers.Adam,
    keras.optimizers.SGD,
    keras.losses,
    keras.metrics,
)
DIFFERENT_VALUES = {
    "optimizer": (adam, keras.optimizers.Nadam),
    "momentum": (lambda: sgd(momentum=0.9), lambda: sgd(momentum=0.8)),
    "nesterov": (lambda: sgd(momentum=0.9), lambda: sgd(momentum=0.9, nesterov=True)),
    "beta": (adam, lambda: adam(beta_1=0.8)),
    "epsilon": (adam, lambda: adam(epsilon=1e-3)),
    "amsgrad": (adam, lambda: adam(amsgrad=True)),
    "clipnorm": (adam, lambda: adam(clipnorm=1.0)),
    "clip": (lambda: adam(clipvalue=1.0), lambda: adam(global_clipnorm=1.0)),
    "weight decay": (adam, lambda: adam(weight_decay=0.1)),
    "average": (adam, lambda: adam(use_ema=True)),
    "average's momentum": (
        lambda: adam(use_ema=True, ema_momentum=0.9),
        lambda: adam(use_ema=True),
    ),
    "gradient accumulation": (adam, lambda: adam(gradient_accumulation_steps=2)),
    "loss scale": (adam, lambda: adam(loss_scale_factor=2.0)),
    "excluded from decay": (lambda: excluding("bias"), lambda: excluding("kernel")),
    "schedule or number": (adam, lambda: adam(decay(0.9))),
    "schedule": (lambda: adam(decay(0.9)), lambda: adam(decay(0.8))),
    "staircase": (lambda: adam(decay(0.9)), lambda: adam(decay(0.9, staircase=True))),
    "user's schedule": (lambda: adam(UserSchedule(0.1)), lambda: adam(UserSchedule(0.2))),
    "user's optimizer": (lambda: UserOptimizer(1.0), lambda: UserOptimizer(2.0)),
    "scaled optimizer": (
        lambda: keras.optimizers.LossScaleOptimizer(adam(beta_1=0.8)),
        lambda: keras.optimizers.LossScaleOptimizer(adam()),
    ),
    "from_logits": (
        lambda: losses.BinaryCrossentropy(from_logits=True),
        losses.BinaryCrossentropy,
    ),
    "delta": (lambda: losses.Huber(delta=1.0), lambda: losses.Huber(delta=2.0)),
    "reduction": (lambda: losses.Huber(reduction="sum"), losses.Huber),
    "loss dtype": (lambda: losses.Huber(dtype="float64"), losses.Huber),
    "loss closure": (lambda: custom_loss(1.0), lambda: custom_loss(2.0)),
    "loss class": (lambda: UserLoss(1.0), lambda: UserLoss(2.0)),
    "loss function": (lambda: losses.mean_squared_error, lambda: losses.mean_absolute_error),
    "losses by output": (lambda: {"a": "mse", "b": "mae"}, lambda: {"a": "mae", "b": "mse"}),
    "metric name": (lambda: metrics.AUC(name="a"), lambda: metrics.AUC(name="b")),
    "metric threshold": (
        lambda: metrics.Precision(thresholds=0.5, name="a"),
        lambda: metrics.Precision(thresholds=0.6, name="a"),
    ),
    "metric closure": (lambda: numbered_metric(0), lambda: numbered_metric(1)),
    "number type": (lambda: 1, lambda: 1.0),
    "truth": (lambda: 1, lambda: True),
    "text or bytes": (lambda: "a", lambda: b"a"),
    "list or tuple": (lambda: [1], lambda: (1,)),
    "nesting": (lambda: [[1], 2], lambda: [[1, 2]]),
    "order of a dict": (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
    "set": (lambda: {1, 2}, lambda: {1, 3}),
    "array dtype": (lambda: np.zeros(2, "f4"), lambda: np.zeros(2, "i4")),
    "array shape": (lambda: np.zeros((2, 1)), lambda: np.zeros((1, 2))),
    "array of objects": (
        lambda: np.array(["a", None], dtype=object),
        lambda: np.array(["b", None], dtype=object),
    ),
    "numpy scalar": (lambda: np.float32(1), lambda: np.float64(1)),
    "state of a generator": (
        lambda: np.random.default_rng(0),
        lambda: np.random.default_rng(1),
    ),
    "pattern": (lambda: re.compile("a"), lambda: re.compile("a", re.I)),
    "bound method": (lambda: "a".upper, lambda: "b".upper),
    "builtin": (lambda: len, lambda: sum),
    "ufunc": (lambda: np.sin, lambda: np.cos),
    "numpy function": (lambda: np.mean, lambda: np.median),
    "tf function": (
        lambda: tf.function(power(2)),
        lambda: tf.function(power(3)),
    ),
    "tf function's option": (
        lambda: tf.function(power(2), jit_compile=True),
        lambda: tf.function(power(2)),
    ),
    "table": (
        lambda: tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["a"], [1]), default_value=0
        ),
        lambda: tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["a"], [1]), default_value=2
        ),
    ),
    "dates": (lambda: np.datetime64("2020-01-01"), lambda: np.datetime64("2020-01-02")),
    "wrapped function": (
        lambda: functools.wraps(losses.mean_squared_error)(custom_loss(1.0)),
        lambda: losses.mean_squared_error,
    ),
}


@pytest.mark.parametrize("case", DIFFERENT_VALUES)
def test_values_that_differ_never_share(case):
    left, right = DIFFERENT_VALUES[case]

    assert fingerprint(left()) != fingerprint(right())


@pytest.mark.parametrize(
    "case, side", [(case, side) for case in DIFFERENT_VALUES for side in (0, 1)]
)
def test_values_made_twice_share(case, side):
    make = DIFFERENT_VALUES[case][side]
    digest = fingerprint(make())

    assert digest == fingerprint(make())
    assert is_shareable(digest)


OPTIMIZERS = {
    "adam": lambda: adam(1e-3),
    "adamw": lambda: keras.optimizers.AdamW(1e-3),
    "adafactor": lambda: keras.optimizers.Adafactor(1e-3),
    "lion": lambda: keras.optimizers.Lion(1e-3),
    "ftrl": lambda: keras.optimizers.Ftrl(1e-3),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(adam(1e-3)),
    "user's": lambda: UserOptimizer(2.0),
    "averaging": lambda: adam(1e-3, use_ema=True, gradient_accumulation_steps=2),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizers_rate_and_state_are_data(make):
    fresh, used = make(), make()
    model = compiled(dense(), optimizer=used, loss="mse")
    expected = fingerprint(dense(), fresh)
    used.learning_rate = 0.5
    assert fingerprint(model, used) == expected

    model.fit(np.zeros((8, 6)), np.zeros((8, 1)), epochs=2, verbose=0)

    assert fingerprint(model, used) == expected


def test_a_generated_metric_name_counts_since_it_is_in_the_logs():
    assert fingerprint(metrics.AUC()) != fingerprint(metrics.AUC())


def test_a_metrics_state_is_data():
    used, fresh = metrics.F1Score(name="f1"), metrics.F1Score(name="f1")
    used.update_state([[1.0, 0.0]], [[0.4, 0.6]])

    assert fingerprint(used) == fingerprint(fresh)


def test_a_loss_that_reads_a_layer_of_the_net_is_understood():
    def make(index):
        model = net(layers.Dense(4), layers.Dense(4), layers.Dense(1))
        kernel = model.layers[index].kernel
        return model, lambda y, p: losses.mean_squared_error(y, p) + keras.ops.sum(kernel**2)

    assert fingerprint(*make(0)) == fingerprint(*make(0))
    assert is_shareable(fingerprint(*make(0)))
    assert fingerprint(*make(0)) != fingerprint(*make(1))


def test_a_loss_that_reads_the_optimizers_state_is_understood():
    def make(index):
        optimizer = adam()
        variable = optimizer.variables[index]
        return optimizer, lambda y, p: keras.ops.cast(variable, "float32") * y

    assert fingerprint(*make(0)) == fingerprint(*make(0))
    assert is_shareable(fingerprint(*make(0)))
    assert fingerprint(*make(0)) != fingerprint(*make(1))


def test_a_metric_that_reads_a_layer_of_the_net_is_understood():
    class KernelNorm(metrics.Mean):
        def __init__(self, kernel):
            super().__init__(name="norm")
            self.kernel = kernel

        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(keras.ops.norm(self.kernel))

    def make(index):
        model = net(layers.Dense(4), layers.Dense(4), layers.Dense(1))
        return model, KernelNorm(model.layers[index].kernel)

    assert fingerprint(*make(0)) == fingerprint(*make(0))
    assert is_shareable(fingerprint(*make(0)))
    assert fingerprint(*make(0)) != fingerprint(*make(1))


def test_a_teacher_in_a_closure_is_that_teacher():
    teacher, other = dense(), dense()

    def student(of):
        return dense(), lambda y, p: losses.mean_squared_error(of(y), p)

    assert fingerprint(*student(teacher)) == fingerprint(*student(teacher))
    assert fingerprint(*student(teacher)) != fingerprint(*student(other))


@pytest.mark.parametrize("function", [reads_global, reads_global_through_another])
def test_a_global_that_a_function_reads_counts(function, monkeypatch):
    before = fingerprint(dense(activation=function))
    assert before == fingerprint(dense(activation=function))

    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)

    assert before != fingerprint(dense(activation=function))


def test_a_global_that_is_written_into_counts(monkeypatch):
    before = fingerprint(reads_table)

    monkeypatch.setitem(TABLE, "scale", 3.0)

    assert before != fingerprint(reads_table)


def test_a_global_that_no_function_reads_does_not_count(monkeypatch):
    before = fingerprint(reads_table)

    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)

    assert before == fingerprint(reads_table)


def user_function(source, **modules):
    variables = {"keras": keras, "np": np, "__name__": "users", **modules}
    exec(textwrap.dedent(source), variables)
    return variables["function"]


def test_an_attribute_of_a_users_module_counts(monkeypatch):
    settings = types.ModuleType("settings")
    settings.inner = types.ModuleType("settings.inner")
    settings.inner.alpha, settings.other = 1.0, 1.0
    function = user_function("def function(x): return x * settings.inner.alpha", settings=settings)
    before = fingerprint(function)

    settings.other = 2.0
    assert before == fingerprint(function)

    settings.inner.alpha = 2.0
    assert before != fingerprint(function)


def test_a_users_module_imported_inside_a_function_counts(monkeypatch):
    settings = types.ModuleType("users_settings")
    settings.alpha = 1.0
    monkeypatch.setitem(sys.modules, "users_settings", settings)
    function = user_function("""
        def function(x):
            from users_settings import alpha
            return x * alpha
        """)
    before = fingerprint(function)
    assert before == fingerprint(function)

    settings.alpha = 2.0

    assert before != fingerprint(function)


@pytest.mark.parametrize(
    "source",
    [
        "def function(x): return x * np.random.rand()",
        "import random\ndef function(x): return x * random.random()",
        "from random import random\ndef function(x): return x * random()",
        "def function(x):\n    import time\n    return x * time.time()",
        "import os\ndef function(x): return x * float(os.environ['X'])",
        "def function(x): return eval('x')",
        "def function(x): return x * globals()['y']",
        "import numpy.random as r\ndef function(x): return x * r.rand()",
        "from numpy.random import rand\ndef function(x): return x * rand()",
        "from time import time\ndef function(x): return x * time()",
        "from uuid import uuid4\ndef function(x): return str(uuid4())",
        "import tensorflow as tf\ndef function(x): return tf.py_function(print, [x], 'f4')",
    ],
)
def test_code_that_may_read_something_else_each_time_is_never_shared(source):
    function = user_function(source)
    before = fingerprint(function)
    random.random()

    assert before != fingerprint(function)


@pytest.mark.parametrize(
    "source",
    [
        "import tensorflow as tf\ndef function(x): return tf.keras.ops.sin(x)",
        "import tensorflow as tf\ndef function(x): return tf.math.reduce_sum(tf.nn.relu(x))",
        "import tensorflow as tf\ndef function(x): return tf.cast(x, tf.float32)",
        "from keras import ops as K\ndef function(x): return K.sin(x) * np.pi + np.sqrt(2)",
        "from keras import layers\ndef function(x): return layers.Dense(1)(x)",
        "import keras.ops\ndef function(x): return keras.ops.sin(x)",
        "import math, logging\nlog = logging.getLogger('a')\n"
        "def function(x): log.info('a'); return x * math.pi",
        "import functools, itertools\n"
        "def function(x): return functools.reduce(max, itertools.chain(x, x))",
        "def function(x):\n    from keras import ops\n    return ops.sin(x)",
        "def function(x):\n    import tensorflow as tf\n    return tf.sin(x)",
        "def function(x): print(x, len(x)); return sorted(x, key=abs)",
        "from keras import backend as K\ndef function(x): return K.epsilon() * x",
    ],
)
def test_code_that_uses_libraries_is_shared(source):
    digest = fingerprint(user_function(source))

    assert digest == fingerprint(user_function(source))
    assert is_shareable(digest)


def test_a_function_that_was_put_into_a_library_counts(monkeypatch):
    function = user_function("def function(x): return keras.ops.sin(x)")
    before = fingerprint(function)

    monkeypatch.setattr(keras.ops, "sin", lambda x: x)

    assert before != fingerprint(function)


def test_a_property_that_raises_keeps_a_net_from_being_shared():
    class Unfinished(keras.Model):
        @property
        def metrics(self):
            return self.not_set_yet

    assert not is_shareable(fingerprint(Unfinished()))


def test_keras_random_is_not_pythons():
    function = user_function("def function(x): return keras.random.normal((2,), seed=x)")

    assert fingerprint(function) == fingerprint(function)
    assert is_shareable(fingerprint(function))


@pytest.mark.parametrize(
    "value",
    [
        type("FromC", (threading.local,), {})(),
        (number for number in range(3)),
        memoryview(b"abc"),
        pd.DataFrame({"a": [1.0]}),
        np.zeros(2**26 + 1, "u1"),
    ],
    ids=["state in C", "generator", "memory", "table", "large array"],
)
def test_what_cannot_be_read_is_never_shared(value):
    assert fingerprint(value) != fingerprint(value)
    assert not is_shareable(fingerprint([value]))


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras doesn't have it yet"
)
def test_an_optimizer_that_picks_one_for_each_variable_is_never_shared():
    picking = keras.optimizers.MultiOptimizer(lambda variable: adam())

    assert not is_shareable(fingerprint(picking))


def test_values_that_contain_themselves_are_read():
    def ring(size):
        values = [0] * size
        values.append(values)
        return values

    assert fingerprint(ring(2)) == fingerprint(ring(2)) != fingerprint(ring(3))


def test_functions_that_call_each_other_are_read():
    def pair(constant):
        def first(x):
            return second(x) if x else constant

        def second(x):
            return first(x - 1)

        return first

    assert fingerprint(pair(1)) == fingerprint(pair(1)) != fingerprint(pair(2))


def test_many_classes_that_name_each_other_take_no_long_time():
    names = [f"C{i}" for i in range(30)]
    source = "\n".join(
        f"class {name}:\n    def go(self): return {', '.join(names)}" for name in names
    )
    function = user_function(source + "\ndef function(x): return C0().go()")

    assert fingerprint(function) == fingerprint(function)


def test_endless_nesting_is_not_shared():
    values = []
    for _ in range(100_000):
        values = [values]

    assert not is_shareable(fingerprint(values))


def test_generated_names_count_where_code_looks_for_them():
    def make(*numbers):
        return built(NamesLayers("_1001", *[f"dense_{number}" for number in numbers]))

    assert fingerprint(make(1001, 1002)) != fingerprint(make(1002, 1001))
    assert fingerprint(make(1003, 1004)) == fingerprint(make(1005, 1006))


@pytest.mark.parametrize(
    "get, setting, value",
    [
        (keras.config.floatx, keras.config.set_floatx, "float64"),
        (keras.config.epsilon, keras.config.set_epsilon, 1e-3),
        (
            keras.config.image_data_format,
            keras.config.set_image_data_format,
            "channels_first",
        ),
    ],
)
def test_keras_settings_count(get, setting, value):
    model, old = dense(), get()
    before = fingerprint(model)
    try:
        setting(value)
        assert before != fingerprint(model)
    finally:
        setting(old)
    assert before == fingerprint(model)


def test_nothing_is_drawn_or_named_or_changed():
    model = dense()
    optimizer = adam()
    fingerprint(model)
    before = {name: repr(value) for name, value in vars(model.layers[0]).items()}
    number = layers.Dense(1).name
    python, numpy = random.getstate(), np.random.get_state()[1].copy()

    fingerprint(model, optimizer, losses.Huber())

    assert random.getstate() == python
    assert (np.random.get_state()[1] == numpy).all()
    follows = layers.Dense(1).name
    assert int(follows.split("_")[1]) == int(number.split("_")[1]) + 1
    assert {name: repr(value) for name, value in vars(model.layers[0]).items()} == before


def test_the_first_call_in_a_process_draws_nothing():
    code = """
        import gc
        gc.disable()  # imports are faster
        import random, numpy, keras
        from skkeras._keras_objects.fingerprint import fingerprint
        {call}
        print(random.random(), numpy.random.rand(), keras.random.normal(()).numpy())
        names = [make().name for make in (keras.Layer, keras.Model, keras.Sequential)]
        print(names, keras.Input((1,)).name, keras.optimizers.SGD().name)
        """
    seeds = "random.seed(0); numpy.random.seed(0); "
    printed = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code.format(call=seeds + call))],
            check=True,
            capture_output=True,
        ).stdout
        for call in ("pass", "fingerprint(keras.optimizers.SGD(name='sgd'))")
    ]

    assert printed[0] == printed[1] != b""


def test_threads_agree():
    expected = fingerprint(dense(activation=power(2)), adam(), custom_loss(2.0))
    found = []

    def work():
        for _ in range(5):
            found.append(fingerprint(dense(activation=power(2)), adam(), custom_loss(2.0)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [expected] * 20


def test_a_copied_function_agrees():
    function = reads_global_through_another

    assert fingerprint(pickle.loads(pickle.dumps(function))) == fingerprint(function)
