"""Versions of the dependencies: the lowest that are taken, and all that differs between them.

`NEEDED_BEFORE` names the version that makes an entry needless; `tests/test_versions.py` fails once
the lower bounds in `pyproject.toml` have reached it.
"""

import functools
import inspect
import os
import re
import sys
import warnings

import numpy as np
import sklearn

# As in pyproject.toml, for environments that pip didn't check.
LOWEST = {"scikit-learn": "1.6", "tensorflow": "2.19", "keras": "3.8"}
NEEDED_BEFORE = {
    "CallbackSupportMixin": "scikit-learn 1.9",
    "with_callbacks": "scikit-learn 1.9",
    "show_progress": "scikit-learn 1.9",
    "unweighted": "scikit-learn 1.7",
    "signature": "numpy 2.4",
    "is_unique": "pandas 3.0",
    "map_steps": "tensorflow 2.20",
    "take_only_input": "keras 3.10",
    "is_made_by_each_fit": "keras 3.11",
    "optimizer_of_variables": "keras 3.12",
    "arrays_of_logs": "keras 3.12",
    "orbax_checkpoint": "keras 3.13",
    "load_tf_idf": "keras 3.14",
}


def _check_lowest(name, version):
    """Raise ImportError if a dependency is older than any that is taken."""
    lowest = LOWEST[name]
    if _numbers(version) < _numbers(lowest):
        raise ImportError(
            f"Got {name} {version}; expected {lowest} or newer. Install it by "
            f"`python -m pip install '{name}>={lowest}'`."
        )


def _numbers(version):
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


_check_lowest("scikit-learn", sklearn.__version__)  # before its names are imported anywhere

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
    from sklearn.callback import ProgressBar
    from sklearn.callback import with_callbacks as with_callbacks

    def show_progress(search):
        """Have a search print its progress; return it."""
        return search.set_callbacks(ProgressBar(max_propagation_depth=0))

except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in for scikit-learn's mixin: it takes no callbacks."""

        def set_callbacks(self, *callbacks):
            """Raise ImportError: this scikit-learn has no callbacks.

            Parameters
            ----------
            *callbacks : callback instances
                Callbacks of scikit-learn's.
            """
            raise ImportError(
                f"Got set_callbacks with scikit-learn {sklearn.__version__}; expected scikit-learn "
                "1.9 or newer, the first with callbacks. Upgrade it, or give Keras's callbacks as "
                "callbacks=[...]."
            )

        def _init_callback_context(self, **options):
            return _NoContext()

    class _NoContext:
        """Context of a fit that no callback of scikit-learn's hears of."""

        def call_on_fit_task_begin(self, **facts):
            pass

        def call_on_fit_task_end(self, **facts):
            return False

    def with_callbacks(fit):
        """Return the method as it is."""
        return fit

    def show_progress(search):
        """Have a search print what it begins; return it."""
        return search.set_params(verbose=1)


@functools.cache
def check_environment():
    """Raise unless Keras can be imported, runs on TensorFlow, and both are new enough.

    Raises
    ------
    ImportError
        If one of them can't be imported, or is too old.
    RuntimeError
        If Keras runs on another backend.
    """
    if "keras" not in sys.modules:
        _check_backend(os.environ.get("KERAS_BACKEND") or "tensorflow")
    try:
        import keras
        import tensorflow as tf

        backend, versions = keras.config.backend(), {"tensorflow": tf.__version__}
        versions["keras"] = keras.__version__
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ImportError(_unimportable(error)) from error
    _check_backend(backend)
    for name, version in versions.items():
        _check_lowest(name, version)


class CheckedEnvironment:
    """Placeholder in a pickle; unpickling it checks the environment."""

    def __reduce__(self):
        return check_environment, ()


def _check_backend(backend):
    if backend != "tensorflow":
        raise RuntimeError(
            f"Got Keras's backend {backend!r}, by KERAS_BACKEND in the environment or by "
            "keras.json; expected 'tensorflow', the only one that skkeras runs on. Set "
            "KERAS_BACKEND=tensorflow before Keras is imported."
        )


def _unimportable(error):
    """Say what can't be imported, in which versions, and how to mend it."""
    found = ", ".join(f"{name} {_installed(name)}" for name in ("tensorflow", "keras"))
    return (
        f"Got {found}, and they can't be imported ({type(error).__name__}: {error}); expected "
        f"tensorflow {LOWEST['tensorflow']} and keras {LOWEST['keras']}, or newer ones that fit "
        "together, and 'tensorflow' as the backend in keras.json. Install them by "
        "`python -m pip install --upgrade tensorflow keras`."
    )


def _installed(name):
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def warn_of_eager_functions():
    """Warn if TensorFlow runs its functions eagerly: the same results, many times slower."""
    import tensorflow as tf

    if tf.config.functions_run_eagerly():
        warnings.warn(
            "Got tf.config.run_functions_eagerly(True), by which nothing is compiled, and training "
            "is many times slower; expected False. Call tf.config.run_functions_eagerly(False), or "
            "set engine='keras' to debug.",
            RuntimeWarning,
            stacklevel=2,
        )


def check_not_legacy(name, thing):
    """Raise TypeError for an object or a class of tf_keras, which is Keras 2."""
    cls = thing if isinstance(thing, type) else type(thing)
    if any(base.__module__.partition(".")[0] == "tf_keras" for base in cls.__mro__):
        raise TypeError(
            f"Got {thing!r} of tf_keras, which is Keras 2, as {name}; expected Keras 3's. "
            "Write `import keras` and keras... for tf.keras..., which TF_USE_LEGACY_KERAS=1 in the "
            "environment turns into tf_keras, or leave TF_USE_LEGACY_KERAS out."
        )


def unweighted(scoring):
    """Return a scorer that leaves out weights which its metric doesn't take; others as they are.

    scikit-learn does so itself, where it computes several scores:
    https://github.com/scikit-learn/scikit-learn/blob/1.7.0/sklearn/metrics/_scorer.py
    """
    from sklearn.metrics import get_scorer

    if _numbers(sklearn.__version__) >= (1, 7):
        return scoring
    scorer = get_scorer(scoring)
    metric = getattr(scorer, "_score_func", None)
    if metric is None or "sample_weight" in inspect.signature(metric).parameters:
        return scoring
    return lambda estimator, X, y: scorer(estimator, X, y)


def signature(function):
    """Return a function's signature; NumPy's own functions of arrays had none.

    https://numpy.org/doc/stable/release/2.4.0-notes.html
    """
    if isinstance(function, np.ufunc) and not hasattr(function, "__signature__"):
        only = inspect.Parameter.POSITIONAL_ONLY
        return inspect.Signature([inspect.Parameter(f"x{i}", only) for i in range(function.nin)])
    return inspect.signature(function)


def is_unique(index):
    """Tell whether each entry of an index is there once.

    A slice answered what the whole index had answered:
    https://github.com/pandas-dev/pandas/blob/v2.3.3/pandas/_libs/index.pyx
    """
    return index.is_unique or not index.duplicated().any()


def map_steps(layer, windows):
    """Apply a layer to the steps of each channel of windows: (rows, steps, channels).

    TensorFlow turns a transposed matrix and its product into one operation. That of 2.19, by oneDNN
    3.5, is wrong for one channel: all rows but the first thread's read past the weights. Products
    of the same shapes are wrong from then on, too, so that one channel is multiplied in 2 axes.
    """
    import keras

    if windows.shape[2] == 1 and _tensorflow_before("2.20"):
        return keras.layers.Reshape((-1, 1))(layer(keras.layers.Flatten()(windows)))
    flipped = keras.layers.Permute((2, 1))(windows)
    return keras.layers.Permute((2, 1))(layer(flipped))


def take_only_input(model):
    """Let a net whose inputs are a list of one take that one, of which Keras warns.

    https://github.com/keras-team/keras/blob/v3.10.0/keras/src/models/functional.py
    """
    inputs = vars(model).get("_inputs_struct")
    if isinstance(inputs, list | tuple) and len(inputs) == 1 and _keras_before("3.10"):
        model._inputs_struct = inputs[0]


def is_made_by_each_fit(held):
    """Tell a local function that a callback of Keras's makes anew when a fit begins.

    `ReduceLROnPlateau` compares by one, which can be neither pickled nor compared:
    https://github.com/keras-team/keras/blob/v3.10.0/keras/src/callbacks/reduce_lr_on_plateau.py
    """
    module, name = getattr(held, "__module__", None), getattr(held, "__qualname__", "")
    return (module or "").startswith("keras.src.callbacks.") and "<locals>" in name


def optimizer_of_variables(optimizer):
    """Return the optimizer that knows which variables it was built for.

    `LossScaleOptimizer` told only the one that it wraps:
    https://github.com/keras-team/keras/blob/v3.11.3/keras/src/optimizers/loss_scale_optimizer.py
    """
    import keras

    wraps = isinstance(optimizer, keras.optimizers.LossScaleOptimizer) and _keras_before("3.12")
    return optimizer.inner_optimizer if wraps else optimizer


def arrays_of_logs(logs):
    """Return a dict of logs in which metrics of several values are arrays, not tensors.

    https://github.com/keras-team/keras/blob/v3.11.3/keras/src/utils/python_utils.py
    """
    return {k: v.numpy() if hasattr(v, "numpy") else v for k, v in (logs or {}).items()}


def orbax_checkpoint():
    """Return Keras's class of this name, or an empty tuple, of which nothing is an instance."""
    import keras

    return getattr(keras.callbacks, "OrbaxCheckpoint", ())


def load_tf_idf(layer, store, files):
    """Set vocabulary and weights of an adapted TF-IDF lookup; tell whether it was one to set.

    Its own ``load_own_variables`` and ``load_assets`` fail where it is made without a vocabulary:
    https://github.com/keras-team/keras/blob/v3.13.0/keras/src/layers/preprocessing/index_lookup.py
    """
    lookup = getattr(layer, "_lookup_layer", layer)
    is_loaded_by_keras = not _keras_before("3.14") or "vocabulary.txt" not in files
    if "idf_weights" not in store or is_loaded_by_keras:
        return False
    tokens = files["vocabulary.txt"].decode().split("\n")
    if lookup.vocabulary_dtype != "string":
        tokens = [*map(int, tokens)]
    lookup.set_vocabulary(tokens, idf_weights=store["idf_weights"][: len(tokens)])
    return True


def _keras_before(version):
    import keras

    return _numbers(keras.__version__) < _numbers(version)


def _tensorflow_before(version):
    import tensorflow as tf

    return _numbers(tf.__version__) < _numbers(version)
