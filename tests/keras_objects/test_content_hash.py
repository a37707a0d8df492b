"""Values and functions that share a key do the same; each pair is an attack on one half of that."""

import collections
import contextlib
import dataclasses
import enum
import fractions
import functools
import itertools
import operator
import threading
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from skkeras._keras_objects.content_hash import Contents
from skkeras._keras_objects.fingerprint import fingerprint, is_shareable

FACTOR = 2.0


def closing_over(value):
    return lambda x: x * value


def with_default(value):
    def function(x, *, scale=value):
        return x * scale

    return function


def decorated(value):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(x):
            return value * function(x)

        return wrapper

    @decorate
    def function(x):
        return x

    return function


def managed(value):
    @contextlib.contextmanager
    def manager():
        yield value

    def function(x):
        with manager() as factor:
            return x * factor

    return function


def generating(value):
    def function(x):
        yield x * value

    return function


def named(name):
    def function(x):
        return x

    function.__name__ = name
    return function


def marked(value):
    def function(x):
        return x * function.factor

    function.factor = value
    return function


def deep(value):
    return lambda: lambda: lambda x: x * value


def dispatched(value):
    def method(x):
        return x * value

    class Holder:
        pass

    holder = Holder()
    return types.MethodType(lambda self, x: method(x), holder)


def slotted(value):
    class Base:
        __slots__ = ("factor",)

    class Slotted(Base):
        __slots__ = ("other",)

    made = Slotted()
    made.factor, made.other = value, 1.0
    return made


def frozen_dataclass(value):
    @dataclasses.dataclass(frozen=True)
    class Settings:
        factor: float = value

        def __call__(self, x):
            return x * self.factor

    return Settings()


def field_of_dataclass(value):
    @dataclasses.dataclass
    class Settings:
        factor: float

    return Settings(value)


class Hides:
    """Pickle would not see its factor."""

    def __init__(self, factor):
        self.factor = factor

    def __getstate__(self):
        return {}

    def __reduce__(self):
        return Hides, (0,)


class Says(str):
    """Says something else than it is."""

    def __str__(self):
        return "same"

    __repr__ = __str__


class Vast(int):
    def __int__(self):
        return 0

    __index__ = __int__


class Shuts(list):
    """Gives nothing of what is in it."""

    def __iter__(self):
        return iter([])


def enumerated(value):
    class Kind(enum.Enum):
        one = value
        other = 7.0

    return Kind.other, Kind.one


def flag(value):
    class Flag(enum.IntFlag):
        one = 1
        two = 2

    return Flag(value)


def class_attribute(value):
    class Scaled(layers.Layer):
        def call(self, x):
            return x * self.factor

    Scaled.factor = value
    return Scaled


def inherited(value):
    class Base:
        def factor(self):
            return value

    class Middle(Base):
        pass

    class Leaf(Middle):
        pass

    return Leaf()


def static(value):
    class Holder:
        @staticmethod
        def scale(x):
            return x * value

    return Holder().scale


def class_method(value):
    class Holder:
        factor = value

        @classmethod
        def scale(cls, x):
            return x * cls.factor

    return Holder.scale


def metaclass(value):
    class Meta(type):
        def factor(cls):
            return value

    class Made(metaclass=Meta):
        pass

    return Made


def cached_property(value):
    class Holder:
        @functools.cached_property
        def factor(self):
            return value

    return Holder()


def descriptor(value):
    class Descriptor:
        def __get__(self, instance, owner):
            return value

    class Holder:
        factor = Descriptor()

    return Holder()


def dispatching(value):
    class Holder:
        @property
        def factor(self):
            return 1.0

        @factor.setter
        def factor(self, new):
            self.kept = new * value

    return Holder()


def ring_of_dicts(value):
    ring = {"value": value}
    ring["self"] = [ring]
    return ring


def ring_of_objects(value):
    first, second = types.SimpleNamespace(value=value), types.SimpleNamespace()
    first.other, second.other = second, first
    return first


def masked(*mask):
    return np.ma.MaskedArray([1.0, 2.0], mask=mask)


def default_dict(value):
    made = collections.defaultdict(lambda: value)
    made["a"] = 1
    return made


def record(value):
    Record = collections.namedtuple("Record", "factor", defaults=[value])
    return Record


class Regularizer(keras.regularizers.Regularizer):
    def __init__(self, *strengths):
        self.strengths = {"l1": list(strengths)}

    def __call__(self, weights):
        return sum(self.strengths["l1"]) * keras.ops.sum(weights)


def dense(**options):
    return keras.Sequential([keras.Input((3,)), layers.Dense(2, **options), layers.Dense(1)])


def lambda_layer(function, **options):
    return keras.Sequential([keras.Input((3,)), layers.Lambda(function, **options)])


def trains_in_class(value):
    class Trained(keras.Model):
        weight = value

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return self.weight * keras.ops.mean((y - y_pred) ** 2)

    inputs = keras.Input((3,))
    return Trained(inputs, layers.Dense(1)(inputs))


def piecewise(value):
    return keras.optimizers.SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, value])
    )


def warmup(value):
    return keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=value)
    )


def scheduled_by(value):
    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return self.rate() * step

        @staticmethod
        def rate():
            return value

    return keras.optimizers.SGD(Schedule())


def metric_of(value):
    return keras.metrics.MeanMetricWrapper(lambda y, p: (y - p) * value, name="m")


# Two values for each, which do different things.
ATTACKS = {
    "closure": (closing_over, 2.0, 3.0),
    "closure three functions deep": (deep, 2.0, 3.0),
    "number or truth": (closing_over, 1, True),
    "truth or number": (closing_over, 0.0, False),
    "integer or float": (closing_over, 1, 1.0),
    "NumPy's or Python's": (closing_over, np.float64(1.0), 1.0),
    "width of a scalar": (closing_over, np.int32(1), np.int64(1)),
    "array or scalar": (closing_over, np.array(1.0), np.float64(1.0)),
    "tensor or array": (closing_over, tf.constant([1.0]), np.float32([1.0])),
    "sign of NaN or number": (closing_over, float("nan"), 0.0),
    "infinity": (closing_over, float("inf"), float("-inf")),
    "complex": (closing_over, 1j, 1.0),
    "sign of a zero in a complex": (closing_over, complex(0.0, 0.0), complex(0.0, -0.0)),
    "large integers": (closing_over, 2**80, 2**80 + 1),
    "text or bytes": (closing_over, "a", b"a"),
    "bytes or bytearray": (closing_over, b"a", bytearray(b"a")),
    "nothing or its name": (closing_over, None, "None"),
    "ellipsis or its name": (closing_over, ..., "Ellipsis"),
    "range": (closing_over, range(3), range(4)),
    "slice": (closing_over, slice(1), slice(2)),
    "fraction": (closing_over, fractions.Fraction(1, 2), fractions.Fraction(1, 3)),
    "nesting": (closing_over, [1, [2]], [[1], 2]),
    "one list or two tuples": (closing_over, [(1, 2)], [1, 2]),
    "set or frozen": (closing_over, {1}, frozenset({1})),
    "empty cell or tuple": (closing_over, (), ((),)),
    "what the key itself writes": (closing_over, ("Met", 0), ("Met", 1)),
    "text that looks like a name": (closing_over, "builtins:len", len),
    "default of a keyword": (with_default, 2.0, 3.0),
    "decorator": (decorated, 2.0, 3.0),
    "context manager": (managed, 2.0, 3.0),
    "generator function": (generating, 2.0, 3.0),
    "name of a function": (named, "one", "other"),
    "attribute of a function": (marked, 2.0, 3.0),
    "method put on an instance": (dispatched, 2.0, 3.0),
    "partial": (lambda n: functools.partial(operator.mul, n), 2.0, 3.0),
    "partial of a partial": (
        lambda n: functools.partial(functools.partial(max, key=closing_over(n)), 1),
        2.0,
        3.0,
    ),
    "getter": (operator.itemgetter, 0, 1),
    "slots of a base": (slotted, 2.0, 3.0),
    "default of a frozen dataclass": (frozen_dataclass, 2.0, 3.0),
    "field of a dataclass": (field_of_dataclass, 2.0, 3.0),
    "state that pickle would miss": (Hides, 2.0, 3.0),
    "text that says something else": (Says, "one", "other"),
    "number that says something else": (Vast, 1, 2),
    "list that gives nothing": (lambda n: Shuts([n]), 1, 2),
    "another member of an enum": (enumerated, 2.0, 3.0),
    "flags": (flag, 1, 3),
    "attribute of a class": (class_attribute, 2.0, 3.0),
    "method of a base's base": (inherited, 2.0, 3.0),
    "static method": (static, 2.0, 3.0),
    "class method": (class_method, 2.0, 3.0),
    "metaclass": (metaclass, 2.0, 3.0),
    "cached property": (cached_property, 2.0, 3.0),
    "descriptor": (descriptor, 2.0, 3.0),
    "setter": (dispatching, 2.0, 3.0),
    "dict that contains itself": (ring_of_dicts, 2.0, 3.0),
    "objects that contain each other": (ring_of_objects, 2.0, 3.0),
    "mask of an array": (lambda mask: masked(*mask), (True, False), (False, True)),
    "order of an array": (lambda order: np.arange(4.0).reshape(2, 2, order=order), "C", "F"),
    "fields of an array": (lambda n: np.array([(1, n)], "i4,f4"), 1.0, 2.0),
    "factory of a dict": (default_dict, 2.0, 3.0),
    "default of a named tuple": (record, 2.0, 3.0),
    "list in a regularizer": (lambda n: dense(kernel_regularizer=Regularizer(n)), 2.0, 3.0),
    "arguments of a Lambda": (
        lambda n: lambda_layer(lambda x, k: x * k[0], arguments={"k": [n]}),
        2.0,
        3.0,
    ),
    "mask of a Lambda": (
        lambda n: lambda_layer(keras.ops.abs, mask=lambda x, mask: x > n),
        2.0,
        3.0,
    ),
    "loss of a model's class": (trains_in_class, 2.0, 3.0),
    "piece of a schedule": (piecewise, 2.0, 3.0),
    "warm-up of a schedule": (warmup, 2, 3),
    "user's schedule": (scheduled_by, 2.0, 3.0),
    "metric's function": (metric_of, 2.0, 3.0),
}


@pytest.mark.parametrize("case", ATTACKS)
def test_what_does_something_else_has_another_key(case):
    make, one, other = ATTACKS[case]

    assert fingerprint(make(one)) != fingerprint(make(other))


@pytest.mark.parametrize("case", ATTACKS)
def test_what_does_the_same_has_the_same_key(case):
    make, one, _ = ATTACKS[case]
    digest = fingerprint(make(one))

    assert digest == fingerprint(make(one))
    assert is_shareable(digest)


def two_lists():
    return [1, "a"], [1, "a"]


def one_list_twice():
    return ([1, "a"],) * 2


class Bare:
    pass


def with_attributes(**values):
    made = Bare()
    vars(made).update(values)
    return made


def text_made_anew(text):
    return "".join([*text])


EQUAL = {
    "one list twice": (one_list_twice, two_lists),
    "text that is interned": (
        lambda: {"key": "value", "other": "value"},
        lambda: {"key": text_made_anew("value"), "other": "value"},
    ),
    "one number twice": (lambda: [10**9] * 2, lambda: [int("1" + "0" * 9) for _ in range(2)]),
    "not a number": (lambda: float("nan"), lambda: np.nan),
    "order of attributes": (
        lambda: with_attributes(a=1, b=2),
        lambda: with_attributes(b=2, a=1),
    ),
    "layout of an array": (
        lambda: np.arange(4.0).reshape(2, 2),
        lambda: np.asfortranarray(np.arange(4.0).reshape(2, 2)),
    ),
    "view of an array": (lambda: np.arange(4)[::2], lambda: np.array([0, 2])),
    "lock": (threading.Lock, threading.Lock),
    "library's class by either name": (lambda: keras.Layer, lambda: layers.Layer),
}


@pytest.mark.parametrize("case", EQUAL)
def test_what_differs_as_an_object_only_has_the_same_key(case):
    left, right = EQUAL[case]

    assert fingerprint(left()) == fingerprint(right())
    assert is_shareable(fingerprint(left()))


def test_line_and_file_of_a_function_do_not_count():
    def compiled(source, file):
        found = {"__name__": "users"}
        exec(compile(source, file, "exec"), found)
        return found["function"]

    source = "def function(x):\n    return x + 1"

    assert fingerprint(compiled(source, "one")) == fingerprint(compiled("\n\n" + source, "other"))


def reads_factor(x):
    return (lambda: x * FACTOR)()


def test_a_global_that_only_an_inner_function_reads_counts(monkeypatch):
    before = fingerprint(dense(activation=reads_factor))

    monkeypatch.setitem(globals(), "FACTOR", 3.0)

    assert before != fingerprint(dense(activation=reads_factor))


def test_a_method_that_is_changed_between_two_fits_counts(monkeypatch):
    made = inherited(2.0)
    before = fingerprint(made)

    monkeypatch.setattr(type(made).__mro__[2], "factor", lambda self: 3.0)

    assert before != fingerprint(made)


def test_a_variable_of_nobody_is_itself():
    variable = tf.Variable(1.0)

    assert fingerprint(closing_over(variable)) == fingerprint(closing_over(variable))
    assert fingerprint(closing_over(variable)) != fingerprint(closing_over(tf.Variable(1.0)))


def test_only_values_that_contain_themselves_are_followed(monkeypatch):
    asked = []
    start = Contents.__init__
    monkeypatch.setattr(
        Contents, "__init__", lambda self, follows: (asked.append(follows), start(self, follows))[1]
    )

    fingerprint(dense(), [[1], {"a": [2]}])
    fingerprint(ring_of_dicts(1))

    assert asked == [False, False, True]


@pytest.mark.parametrize(
    "value",
    [
        open,
        iter([1]),
        itertools.count(),
        (x for x in "ab"),
        threading.local(),
        types.ModuleType("users_own"),
        id,
    ],
    ids=[
        "opens files",
        "iterator",
        "counter",
        "generator",
        "of a thread",
        "bare module",
        "identity",
    ],
)
def test_keys_are_never_wrong_for_what_cannot_be_read(value):
    digest = fingerprint(value)

    assert is_shareable(digest) == (digest == fingerprint(value))
