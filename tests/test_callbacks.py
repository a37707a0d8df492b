"""Every fit gets callbacks of its own, and knows which of them want to see the batches."""

import copy
import functools
import pickle
import re
import threading

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from skkeras._callbacks import (
    early_stopping_callback,
    make_callbacks,
    needs_batches,
    release,
    task_callback,
)
from skkeras._versions import CallbackSupportMixin, with_callbacks
from skkeras.exceptions import ParameterNameError

keras = pytest.importorskip("keras")
EarlyStopping = keras.callbacks.EarlyStopping
ReduceLROnPlateau = keras.callbacks.ReduceLROnPlateau


class Recorder(keras.callbacks.Callback):
    """Collects, and derives one attribute from another."""

    def __init__(self, every=1):
        super().__init__()
        self.every = every
        self.label = f"every {every}"
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])


class Locked(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Careless(keras.callbacks.Callback):
    """Doesn't call its parent's constructor, as MLflow's and SciKeras's tutorial's don't."""

    def __init__(self, start=0):
        self.count = start

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1


class CarelessStopping(EarlyStopping):
    def __init__(self):
        self.monitor, self.seen = "loss", []

    def on_train_begin(self, logs=None):
        pass

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(logs[self.monitor])

    def on_train_end(self, logs=None):
        pass


def fit(*callbacks):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)  # nothing to trace
    data = np.ones((4, 1), "float32")
    model.fit(data, data, validation_split=0.5, epochs=3, verbose=0, callbacks=list(callbacks))
    return model


def test_none_makes_none():
    assert make_callbacks(None, {}) == []
    assert make_callbacks([], {}) == []
    with pytest.raises(ParameterNameError, match="no callbacks; expected callbacks="):
        make_callbacks(None, {"patience": 3})


@pytest.mark.parametrize(
    "value",
    [
        EarlyStopping(patience=3),
        functools.partial(EarlyStopping, patience=3),
        lambda: EarlyStopping(patience=3),
        lambda: [EarlyStopping(patience=3)],
        [EarlyStopping(patience=3)],
        (EarlyStopping(patience=3), None),
        {"stop": EarlyStopping(patience=3)},
        {"stop": [lambda: EarlyStopping(patience=3)]},
    ],
    ids=["instance", "partial", "factory", "list factory", "list", "tuple", "dict", "nested"],
)
def test_callbacks_are_made_of_whatever_users_pass(value):
    first, second = make_callbacks(value, {}), make_callbacks(value, {})
    assert [type(callback) for callback in first] == [EarlyStopping]
    assert first[0].patience == 3
    assert first[0] is not second[0]


def test_class_is_constructed_with_routed_values():
    assert make_callbacks(EarlyStopping, {"patience": 7})[0].patience == 7
    [made] = make_callbacks(functools.partial(EarlyStopping, patience=1), {"patience": 7})
    assert made.patience == 7


def test_routed_values_reach_all_that_take_them():
    value = [EarlyStopping, ReduceLROnPlateau(patience=2), keras.callbacks.TerminateOnNaN]
    made = make_callbacks(value, {"patience": 7, "factor": 0.5})
    assert [callback.patience for callback in made[:2]] == [7, 7]
    assert made[1].factor == 0.5
    assert value[1].patience == 2


def test_routed_values_reach_one_by_index_or_key():
    made = make_callbacks([EarlyStopping, EarlyStopping], {"1__patience": 7, "patience": 5})
    assert [callback.patience for callback in made] == [5, 7]
    value = {"stop": EarlyStopping(), "slow": ReduceLROnPlateau}
    made = make_callbacks(value, {"stop__patience": 7})
    assert [callback.patience for callback in made] == [7, 10]


def test_routed_values_reach_factories():
    def factory(patience=3):
        return EarlyStopping(patience=patience)

    assert make_callbacks([factory], {"patience": 7})[0].patience == 7


@pytest.mark.parametrize(
    "routed, message",
    [
        ({"patienc": 3}, "nothing in callbacks takes 'patienc'. Did you mean 'patience'"),
        ({"0__factr": 3}, "takes 'factr'"),
        ({"1__factr": 3}, "Did you mean 'factor'"),
        ({"2__patience": 3}, "no '2' in callbacks"),
    ],
)
def test_unknown_routed_names_are_errors(routed, message):
    with pytest.raises(ParameterNameError, match=message):
        make_callbacks([EarlyStopping, ReduceLROnPlateau()], routed)


def test_replacing_a_value_of_an_instance_derives_the_rest_anew():
    value = Recorder(every=2)
    [made] = make_callbacks(value, {"every": 5})
    assert (made.every, made.label) == (5, "every 5")
    assert value.label == "every 2"


def test_replacing_a_value_keeps_the_others():
    value = EarlyStopping(monitor="loss", min_delta=0.5, mode="max", restore_best_weights=True)
    [made] = make_callbacks(value, {"patience": 9})
    expected = EarlyStopping("loss", 0.5, 9, mode="max", restore_best_weights=True)
    assert vars(made) == vars(expected)


@pytest.mark.parametrize(
    "value, routed",
    [
        (keras.callbacks.CSVLogger("log.csv", separator=";"), {"append": True}),
        (
            keras.callbacks.ModelCheckpoint("m.keras", initial_value_threshold=0.5),
            {"verbose": 1},
        ),
    ],
    ids=["CSVLogger", "ModelCheckpoint"],
)
def test_replacing_is_refused_where_another_value_would_be_lost(value, routed):
    with pytest.raises(ValueError, match="do not tell all of how it was constructed"):
        make_callbacks(value, routed)


def test_caller_keeps_list_and_instances():
    value = [Recorder(), EarlyStopping]
    before = list(value)
    made = make_callbacks(value, {"patience": 3})
    fit(*made)
    assert value == before
    assert value[0].losses == []
    assert value[0].model is None
    assert len(made[0].losses) == 3


def test_used_instance_is_copied_without_its_model():
    value = Recorder()
    model = fit(value)
    [made] = make_callbacks(value, {})
    assert value.model is model
    fit(made)
    assert value.model is model
    assert made.model is not model


def test_copies_share_what_the_originals_shared():
    recorder = Recorder()
    listener = keras.callbacks.Callback()
    listener.source = recorder
    first, second = make_callbacks([recorder, listener], {})
    assert second.source is first
    assert first is not recorder


def test_callbacks_that_do_not_call_their_parents_constructor_work():
    listener = Recorder()
    listener.source = Careless(start=1)
    made = make_callbacks(
        [Careless, CarelessStopping(), listener, listener.source], {"0__start": 5}
    )
    fit(*made)
    assert [made[0].count, made[3].count, len(made[1].seen)] == [8, 4, 3]
    assert made[2].source is made[3]
    release(made)
    assert [callback.model for callback in made] == [None] * 4
    [again] = make_callbacks(pickle.loads(pickle.dumps(Careless(start=2))), {})
    assert again.count == 2


def test_uncopyable_instance_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"callbacks=Locked.*Pass the class.*or a function"):
        make_callbacks([Locked()], {})
    assert isinstance(make_callbacks(Locked, {})[0], Locked)
    assert isinstance(make_callbacks(lambda: Locked(), {})[0], Locked)


@pytest.mark.parametrize(
    "value, message",
    [
        (3, "expected an instance or a class"),
        (["early"], "expected an instance or a class"),
        (dict, "expected an instance of keras.callbacks.Callback"),
        (lambda: None, "expected an instance of keras.callbacks.Callback"),
        (lambda epoch, logs: None, "LambdaCallback"),
    ],
    ids=["number", "name", "other class", "other factory", "hook"],
)
def test_other_values_are_errors(value, message):
    with pytest.raises(TypeError, match=message):
        make_callbacks(value, {})


def test_lambda_callbacks_work_as_instances():
    seen = []
    value = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    fit(*make_callbacks(value, {}))
    assert seen == [0, 1, 2]


def keras_callbacks(folder):
    made = {
        "BackupAndRestore": keras.callbacks.BackupAndRestore(folder / "backup"),
        "CSVLogger": keras.callbacks.CSVLogger(folder / "log.csv"),
        "EarlyStopping": EarlyStopping(restore_best_weights=True),
        "History": keras.callbacks.History(),
        "LearningRateScheduler": keras.callbacks.LearningRateScheduler(halve),
        "ModelCheckpoint": keras.callbacks.ModelCheckpoint(folder / "model.keras"),
        "ReduceLROnPlateau": ReduceLROnPlateau(),
        "TerminateOnNaN": keras.callbacks.TerminateOnNaN(),
    }
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        return made
    return {**made, "TensorBoard": keras.callbacks.TensorBoard(folder / "board")}


def halve(epoch, rate):
    return rate / 2


# Keras 3.15 reads TensorFlow's variables in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_released_callbacks_have_no_model_and_can_be_pickled(tmp_path):
    values = keras_callbacks(tmp_path)
    for name, value in values.items():
        made = make_callbacks(value, {})
        fit(*made)
        files = sorted(tmp_path.rglob("*"))
        release(made)
        assert made[0].model is None, name
        assert sorted(tmp_path.rglob("*")) == files, name
        loaded = pickle.loads(pickle.dumps(made))
        copy.deepcopy(made)
        fit(*make_callbacks(loaded, {}))
        release(loaded)
    assert values.keys() >= {"CSVLogger", "ModelCheckpoint"}


def test_release_keeps_what_callbacks_recorded():
    class Keeper(Recorder):
        def set_model(self, model):
            super().set_model(model)
            self.network = model
            self.kind = model.name

    made = make_callbacks([Recorder, Keeper, lambda: EarlyStopping(restore_best_weights=True)], {})
    model = fit(*made)
    release(made)
    assert [len(callback.losses) for callback in made[:2]] == [3, 3]
    assert made[1].network is None
    assert made[1].kind == model.name
    assert made[2].best_weights is None
    assert made[2].best is not None


@pytest.mark.parametrize(
    "name, arguments, needed",
    [
        ("Callback", {}, False),
        ("EarlyStopping", {}, False),
        ("ReduceLROnPlateau", {}, False),
        ("History", {}, False),
        ("CSVLogger", {"filename": "log.csv"}, False),
        ("SwapEMAWeights", {}, False),
        ("LearningRateScheduler", {"schedule": halve}, False),
        ("TerminateOnNaN", {}, True),
        ("ProgbarLogger", {}, True),
        ("ModelCheckpoint", {"filepath": "m.keras"}, False),
        ("ModelCheckpoint", {"filepath": "m.keras", "save_freq": 2}, True),
        ("BackupAndRestore", {"backup_dir": "folder"}, True),
        ("BackupAndRestore", {"backup_dir": "folder", "save_freq": 2}, True),
        ("TensorBoard", {}, False),
        ("TensorBoard", {"histogram_freq": 1}, False),
        ("TensorBoard", {"update_freq": "batch"}, True),
        ("TensorBoard", {"update_freq": 5}, True),
        ("TensorBoard", {"write_steps_per_second": True}, True),
        ("LambdaCallback", {"on_epoch_end": print}, False),
        ("LambdaCallback", {"on_train_batch_end": print}, True),
        ("LambdaCallback", {"on_test_batch_begin": print}, True),
        ("LambdaCallback", {"on_predict_batch_end": print}, False),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)),
)
def test_batches_are_needed_where_a_hook_does_something(name, arguments, needed):
    assert needs_batches(getattr(keras.callbacks, name)(**arguments)) is needed


@pytest.mark.parametrize(
    "hook",
    [f"on_{part}batch_{end}" for part in ("", "train_", "test_") for end in ("begin", "end")],
)
@pytest.mark.parametrize("base", ["Callback", "EarlyStopping", "ModelCheckpoint"])
def test_subclass_with_a_batch_hook_needs_batches(base, hook):
    parent = getattr(keras.callbacks, base)
    plain = type("Plain", (parent,), {"on_epoch_end": lambda self, epoch, logs=None: None})
    hooked = type("Hooked", (parent,), {hook: lambda self, batch, logs=None: None})
    arguments = ["m.keras"] if base == "ModelCheckpoint" else []
    assert not needs_batches(plain(*arguments))
    assert needs_batches(hooked(*arguments))


def test_profiling_needs_batches(tmp_path):
    assert needs_batches(keras.callbacks.TensorBoard(tmp_path, profile_batch=(2, 4)))
    assert needs_batches(keras.callbacks.TensorBoard(tmp_path, profile_batch=1))


def test_asking_leaves_no_file(tmp_path):
    needs_batches(keras.callbacks.TensorBoard(tmp_path / "board"))
    assert list(tmp_path.iterdir()) == []


def test_early_stopping_restores_the_best_weights():
    callback = early_stopping_callback()
    assert (callback.monitor, callback.restore_best_weights) == ("val_loss", True)
    assert not needs_batches(callback)


class Iterative(CallbackSupportMixin, BaseEstimator):
    """Trains as an estimator would, by telling scikit-learn's callbacks of every epoch."""

    @with_callbacks
    def fit(self, X, y):
        context = self._init_callback_context(max_subtasks=3)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        self.n_epochs_ = fit(task_callback(self, context, X, y)).history.epoch
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self


class Listener:
    """A callback of scikit-learn's that asks to stop after some epochs."""

    def __init__(self, stop_after):
        self.stop_after = stop_after
        self.events = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name == "epoch":
            assert isinstance(fitted_estimator, Iterative)
            assert fitted_estimator is not estimator
        self.events.append(("end", context.task_name, context.task_id))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


@pytest.mark.parametrize("stop_after, epochs", [(None, [0, 1, 2]), (2, [0, 1])])
def test_callbacks_of_scikit_learn_hear_of_every_epoch_and_can_stop(
    stop_after, epochs, sklearn_callbacks
):
    listener = Listener(stop_after)
    fitted = Iterative().set_callbacks(listener).fit(np.zeros((2, 1)), np.zeros(2))
    assert fitted.n_epochs_ == epochs
    told = [(when, "epoch", epoch) for epoch in epochs for when in ("begin", "end")]
    assert listener.events == [("begin", "fit", 0), *told, ("end", "fit", 0)]


class Takes(keras.callbacks.Callback):
    """Takes whatever it is given."""

    def __init__(self, **settings):
        super().__init__()
        self.settings = settings


class Deep(keras.callbacks.EarlyStopping):
    """Takes a parameter out of those for its parent."""

    def __init__(self, **settings):
        self.depth = settings.pop("depth", 3)
        super().__init__(**settings)


def test_a_class_with_keywords_of_any_name_takes_parameters():
    for one in (Takes, functools.partial(Takes, width=2), lambda **settings: Takes(**settings)):
        [made] = make_callbacks(one, {"depth": 5})
        assert made.settings["depth"] == 5
    [made] = make_callbacks([Takes], {"0__depth": 5, "0__kwargs": 6})
    assert made.settings == {"depth": 5, "kwargs": 6}
    [made] = make_callbacks(Deep, {"depth": 5, "patience": 7})
    assert (made.depth, made.patience) == (5, 7)


def test_a_parameter_goes_to_those_that_name_it_before_those_that_take_any():
    taking, stopping = make_callbacks(
        [Takes, keras.callbacks.EarlyStopping], {"patience": 7, "other": 1}
    )
    assert (taking.settings, stopping.patience) == ({"other": 1}, 7)


def test_a_name_that_a_parent_refuses_is_an_error_with_a_suggestion():
    message = "'callbacks__patienc', and 'Deep' can't be made with it.*Did you mean 'patience'?"
    with pytest.raises(ParameterNameError, match=message):
        make_callbacks(Deep, {"patienc": 7})
    with pytest.raises(ParameterNameError, match="nothing in callbacks takes '0'"):
        make_callbacks(Takes, {"0": 7})
    with pytest.raises(ValueError, match="callbacks=Deep.*Pass the class, with all its parameters"):
        make_callbacks(Deep(depth=1), {"depth": 2})
