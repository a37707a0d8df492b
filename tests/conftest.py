"""Data that tests share. It can't be written to, so a fit that changes its arguments fails."""

import contextlib
import gc
import signal

import numpy as np
import pytest

with contextlib.suppress(ImportError):  # it isn't among the lowest versions that are tested
    from hypothesis import settings

    # The same examples every time, however slow the machine.
    settings.register_profile("repeatable", deadline=None, derandomize=True)
    settings.load_profile("repeatable")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Import without collecting garbage, and leave what was imported out of later collections.

    TensorFlow's modules are hundreds of thousands of objects that live as long as the process.
    Afterwards old objects are looked through rarely, too: there are graphs of thousands of nets.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(700, 10, 100)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Let Ctrl-C be one: shells have what they run in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sklearn_callbacks():
    """The module `sklearn.callback`."""
    return pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has none")


def _read_only(array):
    array.flags.writeable = False
    return array


@pytest.fixture(scope="session")
def X():
    """A table of shape (60, 4)."""
    return _read_only(np.random.default_rng(0).normal(size=(60, 4)))


@pytest.fixture(scope="session")
def binary(X):
    """Two classes, 0 and 1, that the first column decides."""
    return _read_only((X[:, 0] > 0).astype(int))


@pytest.fixture(scope="session")
def labels(X):
    """Three classes, as strings, that the first column decides."""
    return _read_only(np.array(["high", "low", "mid"])[np.digitize(X[:, 0], [-0.5, 0.5]) - 2])


@pytest.fixture(scope="session")
def values(X):
    """Numbers of shape (60,), linear in X."""
    return _read_only(X @ [1.0, -2.0, 0.5, 3.0])
