"""Every fit gets an optimizer, loss and metrics of its own, made from whatever users pass."""

import copy
import functools
import threading

import numpy as np
import pytest

from skkeras._building.compile_args import make_loss, make_metrics, make_optimizer
from skkeras.exceptions import ParameterNameError

keras = pytest.importorskip("keras")


class Unregistered(keras.optimizers.SGD):
    """Has a parameter that get_config does not tell, as many hand-written ones."""

    def __init__(self, gamma=1.0, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma


class Secretive(Unregistered):
    """Does not even keep its parameter under its name."""

    def __init__(self, delta=1.0, **kwargs):
        super().__init__(**kwargs)
        self.hidden = 2 * delta


class UnregisteredSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate

    def get_config(self):
        return {"rate": self.rate}


def learning_rate(optimizer):
    rate = optimizer.learning_rate
    return float(rate.numpy() if hasattr(rate, "numpy") else rate)


def huber(y_true, y_pred, delta=1.0):
    """Named as a loss of Keras, but another."""
    return keras.ops.mean(y_true - y_pred, axis=-1) * 0 + 100 * delta


def value_of(loss, y_true=((0.0,),), y_pred=((4.0,),)):
    return float(loss(keras.ops.array(y_true), keras.ops.array(y_pred)).numpy().mean())


def trained(optimizer="sgd", loss="mse", metrics=None, epochs=1):
    """Train a net that is fully determined, and return its history."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    X = np.arange(8, dtype="float32").reshape(-1, 1) / 8
    return model.fit(X, 2 * X, epochs=epochs, shuffle=False, verbose=0).history


@pytest.mark.parametrize(
    "value",
    [
        "sgd",
        "SGD",
        keras.optimizers.SGD,
        keras.optimizers.SGD(0.5),
        functools.partial(keras.optimizers.SGD, momentum=0.5),
        keras.optimizers.serialize(keras.optimizers.SGD(0.5)),
        {"class_name": "sgd", "config": {}},
    ],
    ids=["name", "class name", "class", "instance", "partial", "serialised", "written dict"],
)
def test_optimizer_from_name_class_instance_or_dict(value):
    optimizer = make_optimizer(value, {"learning_rate": 0.25})
    assert type(optimizer) is keras.optimizers.SGD
    assert learning_rate(optimizer) == 0.25
    assert make_optimizer(value, {}) is not make_optimizer(value, {})


@pytest.mark.parametrize("rate", [1, np.float32(1), np.float64(1), np.int64(1), 1.0], ids=repr)
@pytest.mark.parametrize("value", ["adam", keras.optimizers.Adam, keras.optimizers.Adam(0.1)])
def test_learning_rate_of_any_number_type(value, rate):
    assert learning_rate(make_optimizer(value, {"learning_rate": rate})) == 1.0


def test_partial_of_a_class_keeps_what_it_binds():
    value = functools.partial(keras.optimizers.SGD, momentum=np.float32(0.5), learning_rate=1)
    optimizer = make_optimizer(value, {"learning_rate": 0.5})
    assert (optimizer.momentum, learning_rate(optimizer)) == (0.5, 0.5)


def test_optimizer_instance_is_copied_and_unchanged():
    value = keras.optimizers.SGD(0.5, momentum=0.25, clipnorm=1.0, name="mine")
    copied = make_optimizer(value, {"momentum": 0.75})
    assert (copied.momentum, value.momentum) == (0.75, 0.25)
    assert (copied.clipnorm, copied.name, learning_rate(copied)) == (1.0, "mine", 0.5)
    copied = make_optimizer(value, {})
    trained(copied)
    assert copied.built
    assert not value.built
    assert int(value.iterations) == 0


def test_copies_train_as_the_original_would():
    value = keras.optimizers.Adam(0.1)
    first = trained(make_optimizer(value, {}), epochs=3)
    second = trained(make_optimizer(value, {}), epochs=3)
    assert first == second == trained(keras.optimizers.Adam(0.1), epochs=3)


def test_trained_optimizer_starts_afresh():
    value = keras.optimizers.Adam(0.1)
    trained(value)
    copied = make_optimizer(value, {})
    assert int(copied.iterations) == 0
    assert not copied.built
    assert trained(copied) == trained(keras.optimizers.Adam(0.1))


@pytest.mark.parametrize("used", [False, True])
def test_schedule_inside_an_optimizer_is_kept_and_not_shared(used):
    class Local(UnregisteredSchedule):
        pass

    for schedule in (keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9), Local(0.5)):
        value = keras.optimizers.SGD(schedule)
        if used:
            trained(value)
        for routed in ({}, {"momentum": 0.5}):
            copied = make_optimizer(value, routed)
            assert learning_rate(copied) == 0.5
            held = [part for part in vars(copied).values() if isinstance(part, type(schedule))]
            assert len(held) == 1
            assert held[0] is not schedule


def test_routed_schedule_is_copied_and_routed_rate_replaces_one():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 10)
    optimizer = make_optimizer("adam", {"learning_rate": schedule})
    assert learning_rate(optimizer) == 0.5
    assert all(part is not schedule for part in vars(optimizer).values())
    serialised = keras.optimizers.schedules.serialize(schedule)
    assert learning_rate(make_optimizer("adam", {"learning_rate": serialised})) == 0.5
    replaced = make_optimizer(keras.optimizers.SGD(schedule), {"learning_rate": 0.25})
    assert learning_rate(replaced) == 0.25


def test_learning_rate_function_survives_copying():
    def half():
        return 0.5

    assert make_optimizer(keras.optimizers.SGD(half), {}).learning_rate == 0.5
    assert make_optimizer(keras.optimizers.SGD(lambda: 0.5), {}).learning_rate == 0.5


def test_unregistered_optimizer_keeps_what_its_config_leaves_out():
    assert make_optimizer(Unregistered(gamma=3.0), {}).gamma == 3.0
    assert make_optimizer(Unregistered(gamma=3.0), {"momentum": 0.5}).gamma == 3.0
    made = make_optimizer(Unregistered, {"gamma": 2, "learning_rate": 1, "momentum": 0.5})
    assert (made.gamma, learning_rate(made), made.momentum) == (2, 1.0, 0.5)


def test_optimizer_that_hides_its_parameters_is_refused():
    with pytest.raises(ValueError, match=r"fits would share it.*leaves out 'delta'.*the class"):
        make_optimizer(Secretive(delta=3.0), {})
    with pytest.raises(ValueError, match="rebuilt with momentum.*leaves out 'delta'"):
        make_optimizer(Secretive(delta=3.0), {"momentum": 0.5})
    assert make_optimizer(Secretive(delta=3.0), {"delta": 4.0}).hidden == 8.0
    assert make_optimizer(Secretive, {"delta": 4.0}).hidden == 8.0


@pytest.mark.parametrize("used", [False, True])
def test_what_was_set_after_construction_is_kept(used):
    value = keras.optimizers.AdamW(weight_decay=0.5)
    value.exclude_from_weight_decay(var_names=["kernel"])
    expected = trained(copied_before := make_optimizer(value, {}), epochs=2)
    assert copied_before is not value
    if used:
        assert trained(value, epochs=2) == expected
    assert trained(make_optimizer(value, {}), epochs=2) == expected
    assert expected != trained(keras.optimizers.AdamW(weight_decay=0.5), epochs=2)


def test_objects_set_after_construction_are_refused():
    value = keras.optimizers.SGD()
    value.companion = object()
    with pytest.raises(ValueError, match="'companion' was set after it was constructed"):
        make_optimizer(value, {})


def test_wrapped_optimizers_are_copied_whole():
    inner = keras.optimizers.SGD(0.5)
    copied = make_optimizer(keras.optimizers.LossScaleOptimizer(inner), {})
    assert copied.inner_optimizer is not inner
    assert learning_rate(copied.inner_optimizer) == 0.5


def test_uncopyable_instance_is_refused():
    class Stubborn(keras.losses.Loss):
        def __init__(self, lock):
            super().__init__()
            self._lock = lock

    with pytest.raises(ValueError, match=r"loss=Stubborn.*'lock'.*Pass the class"):
        make_loss(Stubborn(threading.Lock()), {})


@pytest.mark.parametrize(
    "make, value, nearest",
    [
        (make_optimizer, "adan", "'adam'"),
        (make_loss, "mean_square_error", "'mean_squared_error'"),
        (make_metrics, ["accuracyy"], "'accuracy'"),
        (make_metrics, {"out": "binary_acuracy"}, "'binary_accuracy'"),
    ],
)
def test_unknown_name_is_an_error_with_the_nearest(make, value, nearest):
    with pytest.raises(ValueError, match=f"Keras does not know. Did you mean {nearest}"):
        make(value, {})


@pytest.mark.parametrize(
    "make, value, routed, nearest",
    [
        (make_optimizer, "adam", "learning_rat", "learning_rate"),
        (make_optimizer, keras.optimizers.Adam, "beta1", "beta_1"),
        (make_optimizer, keras.optimizers.Adam(), "clip_norm", "clipnorm"),
        (make_loss, "huber", "delt", "delta"),
        (make_loss, huber, "del", "delta"),
        (make_metrics, ["mae", "auc"], "num_threshold", "num_thresholds"),
    ],
)
def test_unknown_routed_name_is_an_error_with_the_nearest(make, value, routed, nearest):
    with pytest.raises(ParameterNameError, match=f"__{routed}'.*Did you mean '{nearest}'"):
        make(value, {routed: 1.0})


@pytest.mark.parametrize("make", [make_optimizer, make_loss, make_metrics])
def test_nothing_stays_nothing(make):
    assert make(None, {}) is None
    with pytest.raises(ParameterNameError, match="Nothing is accepted|and no optimizer; expected"):
        make(None, {"name": "x"})


@pytest.mark.parametrize(
    "make, value",
    [
        (make_optimizer, 3),
        (make_optimizer, lambda: None),
        (make_optimizer, dict),
        (make_loss, 3),
        (make_loss, int),
        (make_metrics, [0.5]),
    ],
)
def test_other_types_are_an_error(make, value):
    with pytest.raises(TypeError, match="; expected a"):
        make(value, {})


@pytest.mark.parametrize("name", ["mse", "mean_squared_error", "MeanSquaredError", "crossentropy"])
def test_loss_name_without_routing_stays_a_name(name):
    assert make_loss(name, {}) == name


@pytest.mark.parametrize(
    "value, routed",
    [
        ("huber", {"delta": 2.0}),
        ("Huber", {"delta": 2.0}),
        (keras.losses.Huber, {"delta": 2.0}),
        (keras.losses.huber, {"delta": 2.0}),
        (keras.losses.Huber(), {"delta": 2.0}),
        (functools.partial(keras.losses.Huber, delta=2.0), {}),
        (keras.losses.Huber(delta=2.0), {}),
    ],
    ids=["name", "class name", "class", "function", "instance", "partial", "finished instance"],
)
def test_loss_takes_its_parameters_every_way(value, routed):
    assert value_of(make_loss(value, routed)) == pytest.approx(2 * (4 - 1))


def test_loss_aliases_become_their_class():
    assert type(make_loss("bce", {"from_logits": True})) is keras.losses.BinaryCrossentropy
    assert type(make_loss("kld", {"reduction": "sum"})) is keras.losses.KLDivergence


def test_loss_instance_is_not_shared():
    value = keras.losses.Huber(delta=2.0)
    assert make_loss(value, {}) is not value
    with pytest.raises(ValueError, match="leaves out 'delta'"):
        make_loss(value, {"reduction": "sum"})
    summed = make_loss(value, {"reduction": "sum", "delta": 2.0})
    assert (summed.reduction, value.reduction) == ("sum", "sum_over_batch_size")


def test_serialised_loss_is_made_and_the_dict_left_alone():
    value = keras.losses.serialize(keras.losses.BinaryCrossentropy(from_logits=True))
    before = copy.deepcopy(value)
    assert make_loss(value, {}).get_config()["from_logits"] is True
    assert make_loss(value, {"label_smoothing": 0.5}).get_config()["label_smoothing"] == 0.5
    assert value == before
    with pytest.raises(ValueError, match="Keras cannot deserialise"):
        make_loss({"class_name": "Nonexistent", "config": {}}, {})


def test_loss_functions_pass_through_or_are_bound():
    assert make_loss(huber, {}) is huber
    bound = make_loss(huber, {"delta": 2.0})
    assert value_of(bound) == 200
    assert bound.__name__ == "huber"
    assert trained(loss=bound)["loss"][0] == 200


def test_loss_for_several_outputs():
    assert make_loss({"a": "mse", "b": None}, {}) == {"a": "mse", "b": None}
    made = make_loss({"a": "huber", "b": "huber", "c": "mse"}, {"delta": 2.0, "b__delta": 3.0})
    assert [value_of(made[key]) for key in "ab"] == [6.0, 7.5]
    assert make_loss(["mse", "mae"], {}) == ["mse", "mae"]
    with pytest.raises(ParameterNameError, match="no 'd' in loss.*'a'"):
        make_loss({"a": "huber"}, {"d__delta": 2.0})


def test_registered_custom_names_are_found():
    class Registered(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred

    with keras.saving.custom_object_scope({"my_loss": Registered}):
        assert type(make_loss("my_loss", {})) is Registered


def test_metric_names_stay_names_and_single_ones_become_a_list():
    assert make_metrics("accuracy", {}) == ["accuracy"]
    assert make_metrics(["acc", "mse"], {}) == ["acc", "mse"]
    assert make_metrics(("acc",), {}) == ["acc"]
    assert make_metrics({"a": ["acc", "mse"], "b": "mae"}, {}) == {"a": ["acc", "mse"], "b": "mae"}
    assert type(make_metrics(keras.metrics.AUC, {})[0]) is keras.metrics.AUC
    serialised = keras.metrics.serialize(keras.metrics.Precision(thresholds=0.25))
    assert make_metrics(serialised, {})[0].thresholds == [0.25]


def test_metric_parameters_reach_all_that_take_them():
    made = make_metrics(["mae", "binary_accuracy", keras.metrics.BinaryIoU], {"threshold": 0.25})
    assert made[0] == "mae"
    assert [metric.threshold for metric in made[1:]] == [0.25, 0.25]


def test_metric_parameters_reach_one_by_index_or_key():
    made = make_metrics(["auc", "auc"], {"1__num_thresholds": 7, "num_thresholds": 5})
    assert [metric.num_thresholds for metric in made] == [5, 7]
    made = make_metrics({"a": ["mae", "auc"], "b": "auc"}, {"a__1__num_thresholds": 7})
    assert (made["a"][1].num_thresholds, made["b"]) == (7, "auc")
    made = make_metrics({"a": ["mae", "auc"], "b": "auc"}, {"a__num_thresholds": 7})
    assert (made["a"][1].num_thresholds, made["b"]) == (7, "auc")


def test_named_metric_with_routing_keeps_its_history_key():
    history = trained(metrics=make_metrics(["mse", "top_k_categorical_accuracy"], {"k": 1}))
    assert set(history) == {"loss", "mse", "top_k_categorical_accuracy"}


@pytest.mark.parametrize(
    "value",
    [
        keras.metrics.MeanSquaredError(name="mine"),
        keras.metrics.MeanMetricWrapper(keras.losses.mean_squared_error, name="mine"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_metric_instance_is_copied_without_state(value):
    value.update_state([[0.0]], [[4.0]])
    copied = make_metrics([value], {})[0]
    assert copied is not value
    assert trained(metrics=[copied])["mine"] == trained()["loss"]
    assert float(value.result()) == 16


def test_metric_wrapping_a_users_function_keeps_that_function():
    value = keras.metrics.MeanMetricWrapper(huber, name="mine")
    assert trained(metrics=make_metrics([value], {}))["mine"] == [100]
    assert trained(metrics=make_metrics([value], {"name": "other"}))["other"] == [100]


def test_metric_without_get_config_is_copied():
    class Counter(keras.metrics.Metric):
        def __init__(self, step):
            super().__init__(name="counter")
            self.step = step
            self.count = self.add_weight(initializer="zeros", name="count")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.count.assign_add(self.step)

        def result(self):
            return self.count

        def get_config(self):
            raise NotImplementedError

    value = Counter(3.0)
    assert trained(metrics=make_metrics([value], {}), epochs=2)["counter"] == [3.0, 3.0]
    assert float(value.result()) == 0


def test_loss_instance_as_metric_is_copied():
    value = keras.losses.Huber(delta=2.0, name="mine")
    made = make_metrics([value], {})[0]
    assert made is not value
    assert value_of(made) == 6.0


def test_containers_of_the_caller_are_left_alone():
    value = {"a": ["auc", keras.metrics.AUC()], "b": None}
    before = {"a": list(value["a"]), "b": None}
    routed = {"num_thresholds": 5}
    made = make_metrics({"a": ["auc"], "b": None}, routed)
    assert made["b"] is None
    make_metrics(value, {})
    assert value == before
    assert routed == {"num_thresholds": 5}


def every(module, base):
    found = (getattr(module, name) for name in dir(module))
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, base)]


@pytest.mark.parametrize(
    "cls", every(keras.optimizers, keras.optimizers.Optimizer), ids=lambda cls: cls.__name__
)
def test_every_keras_optimizer_can_be_copied(cls):
    if cls in (
        keras.optimizers.Optimizer,
        keras.optimizers.LossScaleOptimizer,
        getattr(keras.optimizers, "MultiOptimizer", None),
    ):
        return
    value = cls(learning_rate=0.5)
    assert make_optimizer(value, {}).get_config() == value.get_config()
    assert learning_rate(make_optimizer(value, {"learning_rate": 0.25})) == 0.25


class Weighted(keras.losses.Loss):
    def __init__(self, **settings):
        self.factor = settings.pop("factor", 1.0)
        super().__init__(**settings)

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


def test_a_class_with_keywords_of_any_name_takes_parameters():
    made = make_loss(Weighted, {"factor": 3.0, "reduction": "sum"})
    assert (made.factor, made.reduction) == (3.0, "sum")
    with pytest.raises(ParameterNameError, match="'loss__reducton', and 'Weighted'.*'reduction'?"):
        make_loss(Weighted, {"reducton": "sum"})
    # Keras's own pass their keywords on to a parent that takes none.
    with pytest.raises(ParameterNameError, match="nothing in optimizer takes 'learning_rat'"):
        make_optimizer(keras.optimizers.Adam, {"learning_rat": 1.0})
