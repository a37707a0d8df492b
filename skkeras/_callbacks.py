"""Keras callbacks, a fit's own copies of them."""

import copy
import functools
import inspect
import io
from types import ModuleType

import numpy as np

from skkeras._hints import suggestion
from skkeras._keras_objects.copying import Copies
from skkeras._keras_objects.internals import construct, constructor_names, model_of
from skkeras._params import (
    ANY,
    assign_routed,
    builder_parameters,
    declared_signature,
    describe,
    members_of,
)
from skkeras._versions import is_made_by_each_fit, orbax_checkpoint

BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)


def make_callbacks(value, routed, copies=None):
    """Make the callbacks of a fit's own.

    The copies, an estimator's ``callbacks_``, hold the collected results.

    Parameters
    ----------
    value : keras.callbacks.Callback, type, callable, list, tuple, dict or None
        Instance, class, partial of a class, factory (a function without required parameters that
        returns any of these), or lists and dicts of these. Instances are copied; what a factory
        returns is not.
    routed : dict
        Values by name, without the ``callbacks__``, for all callbacks that take them; or by index
        or key and name, as in ``0__patience``, for one.
    copies : Copies, default=None
        What the fit's net was copied by, so that callbacks share with it what the originals shared.

    Returns
    -------
    callbacks : list of keras.callbacks.Callback
        Ready for one fit.

    Raises
    ------
    ParameterNameError
        If no callback takes such a parameter.
    ValueError
        If an instance cannot be copied.
    TypeError
        If the value is none of the above.

    Examples
    --------
    >>> import keras
    >>> from skkeras._callbacks import make_callbacks
    >>> stopping = keras.callbacks.EarlyStopping(patience=3)
    >>> [copied] = make_callbacks(stopping, {"patience": 9})
    >>> copied.patience, stopping.patience
    (9, 3)
    """
    members = {address: member for address, member in members_of(value) if member is not None}
    accepted = {address: _accepted(member) for address, member in members.items()}
    assigned = assign_routed("callbacks", accepted, routed)
    copies = copies or Copies()
    instances = {a: m for a, m in members.items() if _is_instance(m) and not assigned[a]}
    copied = _copied(instances, copies)
    made = [
        [copied[address]] if address in copied else _make(member, assigned[address], copies)
        for address, member in members.items()
    ]
    return [callback for callbacks in made for callback in callbacks]


def check_copyable(value):
    """Raise ValueError if an instance among callbacks can't be copied.

    Parameters
    ----------
    value : as ``callbacks``
        The estimator's parameter.
    """
    for _, member in members_of(value):
        try:
            if _is_instance(member):
                Copies().callbacks(member)
        except Exception as error:
            raise ValueError(
                f"Got callbacks={describe(member)}(...), an instance that cannot be copied "
                f"({error}), so fits would share it. Pass the class, with its parameters as "
                "callbacks__name=..., or a function that returns a new instance."
            ) from error


def release(callbacks):
    """Let go of the model and of what keeps a callback from being pickled; for after a fit.

    Parameters
    ----------
    callbacks : iterable of keras.callbacks.Callback
        The fit's own callbacks. What they have recorded stays.
    """
    import keras

    for callback in callbacks:
        model = model_of(callback)
        # Not `callback.set_model(None)`: TensorBoard's opens a new file.
        keras.callbacks.Callback.set_model(callback, None)
        if isinstance(callback, keras.callbacks.EarlyStopping):
            # The model has these, if they were the best; as large as the model.
            callback.best_weights = None
        attributes = vars(callback)
        for name, held in attributes.items():
            if (held is model and model is not None) or _is_spent(held):
                attributes[name] = None
            elif isinstance(held, dict) and any(map(_is_writer, held.values())):
                attributes[name] = {k: v for k, v in held.items() if not _is_writer(v)}


def needs_batches(callback):
    """Tell whether a callback does anything between the batches of a fit.

    Parameters
    ----------
    callback : keras.callbacks.Callback
        Any callback, before the fit.

    Returns
    -------
    needed : bool
        Whether one of its batch hooks is its own. False for those of Keras's that have such hooks,
        but idle ones with their settings, as ``ModelCheckpoint`` with ``save_freq="epoch"``.

    Examples
    --------
    >>> import keras
    >>> from skkeras._callbacks import needs_batches
    >>> needs_batches(keras.callbacks.ModelCheckpoint("best.keras"))
    False
    >>> needs_batches(keras.callbacks.ModelCheckpoint("best.keras", save_freq=10))
    True
    """
    import keras

    default = keras.callbacks.Callback
    for hook in BATCH_HOOKS:
        method = _function(getattr(callback, hook))
        if method is _function(getattr(default, hook)):
            continue
        owners = [owner for owner in _idle_tests(keras) if isinstance(callback, owner)]
        # A subclass that has its own hook is not excused by what Keras's would do.
        if not any(
            method is _function(getattr(owner, hook)) and _idle_tests(keras)[owner](callback)
            for owner in owners
        ):
            return True
    return False


def check_monitors(callbacks, logs):
    """Raise ValueError if a callback compares epochs by a log that is an array.

    Parameters
    ----------
    callbacks : iterable of keras.callbacks.Callback
        Those of a fit; ``monitor`` is the name of the log by which some compare epochs.
    logs : dict
        Logs of an epoch. Of some metrics, such as ``F1Score()``, they have a value for each class.
    """
    for callback in callbacks:
        name = getattr(callback, "monitor", None)
        shape = np.shape(logs.get(name, 0.0)) if isinstance(name, str) else ()
        if shape and getattr(callback, "save_best_only", True):
            raise ValueError(
                f"{describe(callback)} compares epochs by monitor={name!r}, which has {shape[0]} "
                "values, such as one for each class; expected one. Let the metric average them, as "
                "keras.metrics.F1Score(average='macro') does, or monitor another."
            )


def early_stopping_callback(monitor="val_loss", mode="auto", **settings):
    """Make the callback of ``early_stopping=True``.

    Parameters
    ----------
    monitor, mode : str
        The log to watch, and whether its best is the least ("min"), the largest ("max") or as
        Keras knows it ("auto").
    **settings : dict
        Others of `keras.callbacks.EarlyStopping`.

    Returns
    -------
    callback : keras.callbacks.EarlyStopping
        Restores the best weights, after 10 epochs without better ones. Raises ValueError for a log
        that there isn't, of which Keras only warns.
    """
    import keras

    class EarlyStopping(keras.callbacks.EarlyStopping):
        def on_epoch_end(self, epoch, logs=None):
            # Not every epoch is validated.
            has_all = any(name.startswith("val_") for name in logs)
            if monitor not in logs and (has_all or not monitor.startswith("val_")):
                raise ValueError(
                    f"Got early_stopping__monitor={monitor!r}, and an epoch has the logs "
                    f"{sorted(logs)}; expected one of them. {suggestion(monitor, logs)}"
                )
            super().on_epoch_end(epoch, logs)

    defaults = {"patience": 10, "restore_best_weights": True}
    return EarlyStopping(monitor=monitor, mode=mode, **{**defaults, **settings})


def score_callback(score):
    """Make the callback that puts scores into the logs of an epoch; callbacks after it see them.

    Parameters
    ----------
    score : callable
        Returns a dict of floats, at the end of an epoch.

    Returns
    -------
    callback : keras.callbacks.Callback
        Prefixes names with ``val_``.
    """
    import keras

    class EpochScores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs.update({f"val_{name}": value for name, value in score().items()})

    return EpochScores()


def task_callback(estimator, context, X, y):
    """Make a Keras callback that tells scikit-learn's callbacks about every epoch.

    Parameters
    ----------
    estimator : estimator
        The one being fitted. At the end of an epoch it has to be able to predict.
    context : sklearn.callback.CallbackContext
        That of the fit; every epoch becomes a task below it.
    X, y : array-like
        What the fit was given.

    Returns
    -------
    callback : keras.callbacks.Callback
        Stops the training when a callback of scikit-learn's asks for it.
    """
    import keras

    class EpochTasks(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.task = context.subcontext(task_name="epoch")
            self.task.call_on_fit_task_begin(estimator=estimator, X=X, y=y)

        def on_epoch_end(self, epoch, logs=None):
            # Nothing to reconstruct: the estimator already has the net as it is by now.
            if self.task.call_on_fit_task_end(
                estimator=estimator, X=X, y=y, reconstruction_attributes={}
            ):
                self.model.stop_training = True

    return EpochTasks()


def _idle_tests(keras):
    """Tell by Keras's classes how to see that their batch hooks do nothing.

    `BackupAndRestore` isn't among them: only Keras's own loop learns from it which epoch to begin
    with.
    """
    return {
        keras.callbacks.ModelCheckpoint: _saves_by_epoch,
        keras.callbacks.TensorBoard: _writes_by_epoch,
        orbax_checkpoint(): _saves_by_epoch,
    }


def _saves_by_epoch(callback):
    return callback.save_freq == "epoch"


def _writes_by_epoch(callback):
    """Tell a TensorBoard that neither writes at batches nor profiles."""
    if callback.update_freq != "epoch" or callback.write_steps_per_second:
        return False
    # Keras keeps `profile_batch` under no public name, so compare with one that does not profile.
    plain = vars(type(callback)(callback.log_dir, profile_batch=0))
    return all(
        vars(callback).get(name) == setting
        for name, setting in plain.items()
        if name.startswith("_") and isinstance(setting, int)
    )


def _function(method):
    return getattr(method, "__func__", method)


def _is_spent(held):
    """Tell a closed file or a module, as CSVLogger and TensorBoard leave behind."""
    is_closed = isinstance(held, io.IOBase) and held.closed
    return isinstance(held, ModuleType) or is_closed or is_made_by_each_fit(held)


def _is_writer(held):
    return hasattr(held, "as_default") and hasattr(held, "flush")


def _is_class(member):
    return inspect.isclass(member) or (
        isinstance(member, functools.partial) and inspect.isclass(member.func)
    )


def _accepted(member):
    import keras

    if _is_class(member):
        cls = member.func if isinstance(member, functools.partial) else member
        return constructor_names(cls)
    if isinstance(member, keras.callbacks.Callback):
        return constructor_names(type(member))
    if callable(member):
        names, takes_any = builder_parameters(member)
        return {*names, ANY} if takes_any else names.keys()
    raise TypeError(
        f"Got callbacks={member!r} of type {type(member).__name__}; expected an instance or a "
        "class of keras.callbacks, a function that returns some, or a list or dict of these."
    )


def _is_instance(member):
    import keras

    return isinstance(member, keras.callbacks.Callback)


def _make(member, values, copies):
    """Make the callbacks that one member stands for."""
    import keras

    values = {name: copies.given(value) for name, value in values.items()}
    if _is_instance(member):
        return [_replaced(member, values)]
    if _is_class(member):
        made = [construct("callbacks", copies.given(member), values)]
    else:
        made = [callback for _, callback in members_of(_call_factory(member, values))]
    for callback in made:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                f"Got callbacks={describe(member)}, which makes {callback!r} of type "
                f"{type(callback).__name__}; expected an instance of keras.callbacks.Callback."
            )
    return made


def _call_factory(factory, values):
    try:
        inspect.signature(factory).bind(**values)
    except TypeError as error:
        raise TypeError(
            f"Got callbacks={describe(factory)}, a function that cannot be called without "
            f"arguments ({error}); expected a factory, which returns callbacks. To have a function "
            "called in every epoch, use keras.callbacks.LambdaCallback(on_epoch_end=function)."
        ) from error
    return factory(**values)


def _copied(callbacks, copies):
    """Copy callbacks together, so that copies share with each other what the originals shared."""
    try:
        return copies.callbacks(callbacks)
    except Exception:
        check_copyable(callbacks)
        raise


def _replaced(callback, values):
    """Construct a callback anew with other values, if its attributes tell how it was constructed.

    Setting attributes on a copy would not do: constructors derive others from them.
    """
    cls = type(callback)
    parameters = declared_signature(cls).parameters
    settings = {name: vars(callback)[name] for name in parameters if name in vars(callback)}
    try:
        faithful = _equal(vars(cls(**settings)), vars(callback))
        if faithful:
            return cls(**copy.deepcopy({**settings, **values}))
    except Exception as error:
        obstacle = f"it cannot be constructed anew ({error})"
    else:
        obstacle = "its attributes do not tell all of how it was constructed, or it has been used"
    raise ValueError(
        f"Got callbacks__{next(iter(values))} for callbacks={describe(callback)}(...), an instance "
        f"in which it cannot be replaced: {obstacle}. Pass the class, with all its parameters as "
        "callbacks__name=..., or set it in the instance."
    )


def _equal(one, other):
    if one is other or (is_made_by_each_fit(one) and is_made_by_each_fit(other)):
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return False
