"""Seeding: reproducible Keras objects that leave the user's random state untouched.

Keras draws the seeds of initializers and dropout layers from Python's global `random`, numbers
the names of layers by a counter of the thread, and keeps its own global seed generator per
thread. So nets are made in a thread of their own, with Python's and NumPy's global generators
seeded meanwhile and restored afterwards: the same seed gives the same net (names included),
whatever the caller's thread did before, and the caller notices nothing.
"""

import contextlib
import contextvars
import random
import threading

import numpy as np

# Python's and NumPy's global generators are shared by all threads: one net is made at a time.
_lock = threading.RLock()
_making = threading.local()


def is_in_builder():
    """True inside a builder, which may itself fit or inspect an estimator."""
    return getattr(_making, "active", False)


def one_at_a_time():
    """Keep other threads from making nets for a block; a builder's thread has done so."""
    return contextlib.nullcontext() if is_in_builder() else _lock


@contextlib.contextmanager
def _seeded(seed):
    """Seed Python's and NumPy's global generators for a block, and restore them after it."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def make_seeded(make, seed):
    """Return ``make()``, whose randomness comes from a seed and leaves no trace.

    It runs in a thread of its own; its exceptions are raised here. ``seed`` is an int between 0 and
    2**32 - 1.

    Examples
    --------
    >>> import random
    >>> from skkeras._keras_objects.seeding import make_seeded
    >>> before = random.getstate()
    >>> first = make_seeded(random.random, seed=7)
    >>> first == make_seeded(random.random, seed=7), random.getstate() == before
    (True, True)
    """
    if not is_in_builder():
        return make_apart(make, seed)
    with _seeded(seed):  # in the same thread: nets that a builder combines need different names
        return make()


def make_apart(make, seed):
    """Do what `make_seeded` does, but inside a builder, too, in a new thread: names begin anew."""
    import keras

    dtype_policy = keras.config.dtype_policy()  # set per thread
    outcome, done = {}, threading.Event()

    def run():
        _making.active = True
        try:
            keras.config.set_dtype_policy(dtype_policy)
            outcome["made"] = make()
        except BaseException as error:  # it is raised again in the caller's thread
            outcome["error"] = error
        finally:
            done.set()

    with one_at_a_time(), _seeded(seed):
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(run,), name="skkeras-build", daemon=True
        )
        thread.start()
        _wait_for(done)
    if "error" in outcome:
        raise outcome["error"]
    return outcome["made"]


def _wait_for(done):
    """Wait for a thread's event even through Ctrl-C: it still uses the state to be restored.

    `threading.Thread.join` takes a thread for ended when Ctrl-C ends the wait (CPython 3.11,
    https://github.com/python/cpython/issues/90882).
    """
    interruption = None
    while not done.is_set():
        try:
            done.wait()
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


def build_optimizer(model):
    """Make the variables of a model's optimizer, unless it has them; return the model.

    The counters by which Keras names the user's objects don't advance.
    """
    optimizer = model.optimizer
    if optimizer is not None and not optimizer.built:
        make_seeded(lambda: optimizer.build(model.trainable_variables), seed=0)
    return model
