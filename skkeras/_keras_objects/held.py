"""Contents of a user's object that copies treat in a way of their own.

Keras objects have no faithful copies of Python's making. Variables that two objects hold have to be
one variable in their copies, too. And handles (open files, queues, connections, trackers of
experiments) stand for something outside, so that a copy would talk to nobody.
"""

import os
import pickle
import sys
import threading
import weakref
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np

from skkeras._keras_objects.content_hash import is_library
from skkeras._keras_objects.internals import (
    compile_arguments,
    is_layer,
    metric_machinery,
    model_of,
    plain,
)
from skkeras._versions import is_made_by_each_fit

# Python's own modules whose instances are streams, queues, connections, processes.
_HANDLE_MODULES = {
    *("io", "_io", "codecs", "mmap", "tempfile", "zipfile", "tarfile", "gzip", "logging"),
    *("queue", "_queue", "multiprocessing", "subprocess", "concurrent", "asyncio", "selectors"),
    *("socket", "_socket", "ssl", "_ssl", "http", "smtplib", "ftplib", "sqlite3", "_sqlite3"),
}
_SYNCHRONISATION = (
    *(type(threading.Lock()), type(threading.RLock()), threading.local, threading.Thread),
    *(threading.Event, threading.Condition, threading.Semaphore, threading.Barrier),
)
ATOMS = (type(None), bool, int, float, complex, str, bytes)
_OWN_PICKLING = ("__getstate__", "__setstate__", "__reduce__", "__reduce_ex__")
_kinds: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class Finder(pickle.Pickler):
    """Finds Keras objects, variables, handles and code wherever pickle and deepcopy go.

    ``found`` are the Keras objects, which it doesn't enter; ``spent`` the models of callbacks'
    earlier fits; ``code`` functions, and classes of instances, that aren't a library's;
    ``made_by_fits`` functions that callbacks of Keras's have until the next fit.
    """

    def __init__(self):
        super().__init__(_Nowhere())
        self.found = []
        self.spent = []
        self.variables = []
        self.handles = []
        self.code = []
        self.made_by_fits = []

    def persistent_id(self, thing):
        """Keep pickle out of Keras objects and of whatever deepcopy doesn't copy."""
        kind = _kind(type(thing))
        if kind is _PLAIN:
            return None
        collected = {_KERAS: self.found, _VARIABLE: self.variables}.get(kind)
        if collected is None and kind is not _CALLBACK and is_handle(thing):
            collected = self.handles
        if collected is not None:
            collected.append(thing)
            return "found"
        if kind is _CALLBACK and (model := model_of(thing)) is not None:
            self.spent.append(model)
        if is_made_by_each_fit(thing):
            self.made_by_fits.append(thing)
        elif isinstance(thing, FunctionType | type):
            self.code.append(thing)
        elif kind in (_CALLBACK, _USERS):
            self.code.append(type(thing))
        return "closed" if _is_closed(thing) else None

    def reducer_override(self, thing):
        """Skip objects that can't be pickled; they may still be deep-copied."""
        return NotImplemented if _is_copyable(thing) else (object, ())


class Held:
    """Variables and code that a value consists of, those of Keras objects in it included.

    Unless ``of_layers``, the variables of layers don't count.
    """

    def __init__(self, value, of_layers=True):
        self._of_layers = of_layers
        self.variables = []
        self.code = []
        self._seen = set()
        if not isinstance(value, ATOMS) and "keras" in sys.modules:
            self._look_into(value)

    def _look_into(self, value):
        finder = Finder()
        finder.dump(value)
        self.variables += finder.variables
        self.code += finder.code
        for thing in finder.found:
            if id(thing) not in self._seen:
                self._seen.add(id(thing))
                self._look_into_keras(thing)

    def _look_into_keras(self, thing):
        self.code.append(type(thing))
        if is_layer(thing):
            if not self._of_layers:
                return
            self.variables += thing.variables
            self._look_into(compile_arguments(thing))
        elif hasattr(thing, "reset_state"):  # a metric
            skip = metric_machinery()
            self._look_into(plain({k: v for k, v in vars(thing).items() if k not in skip}))
        elif not hasattr(thing, "apply_gradients"):  # an optimizer's are its own
            self._look_into(plain(vars(thing)))


def holds_variables(value):
    """True if a value holds Keras's or TensorFlow's variables other than by a layer."""
    return bool(Held(value, of_layers=False).variables)


def check_named(value):
    """Raise TypeError if functions or classes in a value aren't found in their module by name."""
    finder = _CodeFinder()
    finder.dump(value)
    for thing in finder.code:
        module = sys.modules.get(thing.__module__)
        if getattr(module, thing.__name__, None) is not thing:
            raise TypeError(
                f"Got {thing.__qualname__}, a function or class that isn't an attribute of its "
                f"module {thing.__module__!r}; expected one that can be imported, since it is "
                "written by its name (by skops, MLflow's default). Move it to the top of a module, "
                'or save with cloudpickle (in MLflow serialization_format="cloudpickle").'
            )


class _CodeFinder(pickle.Pickler):
    """Collects functions, classes and classes of instances, but for those of Python itself."""

    def __init__(self):
        super().__init__(_Nowhere())
        self.code = []

    def persistent_id(self, thing):
        cls = type(thing)
        if isinstance(thing, FunctionType | type):
            cls = thing
        if cls.__module__ != "builtins":
            self.code.append(cls)
        return "closed" if cls is thing or isinstance(thing, ModuleType) else None

    def reducer_override(self, thing):
        return NotImplemented if _is_copyable(thing) else (object, ())


def is_variable(thing):
    return _kind(type(thing)) is _VARIABLE


def users_attributes(thing):
    """Attributes of an instance of a user's class, or of a loss, metric or callback; else none."""
    kind = _kind(type(thing))
    looks = kind in (_USERS, _CALLBACK) or (kind is _KERAS and not is_layer(thing))
    return getattr(thing, "__dict__", {}) if looks and not _is_closed(thing) else {}


def is_picklable(value):
    """True if pickle itself takes a value; cloudpickle takes local functions, too."""
    try:
        pickle.Pickler(_Nowhere()).dump(value)
    except Exception:
        return False
    return True


def is_handle(thing):
    """True for an object that stands for something outside, which its copy wouldn't reach.

    That are streams, queues, connections and processes; another library's objects that say how they
    are pickled, or can't be; and whatever holds one of these, a lock, or a thread.

    Examples
    --------
    >>> import io, queue
    >>> from skkeras._keras_objects.held import is_handle
    >>> is_handle(io.StringIO()), is_handle(queue.Queue()), is_handle({"text": 1})
    (True, True, False)
    """
    return _is_handle(thing, set())


def _is_handle(thing, seen):
    kind = _kind(type(thing))
    if kind is _HANDLE:
        return True
    if kind is _FOREIGN and not _is_copyable(thing):
        return True
    if kind not in (_FOREIGN, _USERS) or _is_closed(thing) or id(thing) in seen:
        return False
    seen.add(id(thing))
    return any(_has_handle(part, seen) for part in getattr(thing, "__dict__", {}).values())


def _has_handle(part, seen):
    if isinstance(part, _SYNCHRONISATION):
        return True
    if isinstance(part, dict):
        part = [*part.values()]
    if isinstance(part, list | tuple | set):
        return any(_has_handle(item, seen) for item in part)
    return _is_handle(part, seen)


def _is_copyable(thing):
    try:
        thing.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    except Exception:
        return False
    return True


class _Nowhere:
    def write(self, data):
        return len(data)


def _is_closed(thing):
    """True for objects that deepcopy doesn't enter, or that copy themselves, as estimators do."""
    if isinstance(thing, type | FunctionType | BuiltinFunctionType | ModuleType):
        return True
    if isinstance(thing, np.ndarray):
        return thing.dtype != object
    return hasattr(thing, "get_params")


# Kinds of classes
_PLAIN, _KERAS, _VARIABLE, _CALLBACK, _HANDLE, _FOREIGN, _USERS, _OTHERS = range(8)


def _kind(cls):
    kind = _kinds.get(cls)
    if kind is None:
        kind = _kinds[cls] = _find_kind(cls)
    return kind


def _find_kind(cls):
    import keras
    import tensorflow as tf

    if cls.__module__ == "builtins":
        is_code = issubclass(cls, FunctionType | BuiltinFunctionType | ModuleType | type)
        return _OTHERS if is_code else _PLAIN
    if issubclass(cls, type):  # a metaclass, such as that of MLflow's callbacks
        return _OTHERS
    kinds = {
        _VARIABLE: (keras.Variable, tf.Variable),
        _CALLBACK: (keras.callbacks.Callback,),
        _KERAS: (keras.losses.Loss, keras.metrics.Metric, keras.optimizers.Optimizer, keras.Layer),
    }
    for kind, bases in kinds.items():
        if issubclass(cls, bases):
            return kind
    roots = {base.__module__.partition(".")[0] for base in cls.__mro__}
    if not roots.isdisjoint(_HANDLE_MODULES):
        return _HANDLE
    if is_library(cls.__module__) or any(map(is_library, roots - sys.stdlib_module_names)):
        return _OTHERS
    if not _is_installed(cls.__module__):
        return _USERS
    return _HANDLE if _pickles_itself(cls) else _FOREIGN


def _pickles_itself(cls):
    return any(
        getattr(cls, name, None) is not getattr(object, name, None) for name in _OWN_PICKLING
    )


def _is_installed(module):
    """True for modules of packages that are installed, rather than the user's own files."""
    root = sys.modules.get(module.partition(".")[0])
    path = getattr(root, "__file__", None) or next(iter(getattr(root, "__path__", ())), "")
    return not {"site-packages", "dist-packages"}.isdisjoint(path.split(os.sep))
