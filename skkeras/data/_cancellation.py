"""Cooperative cancellation of the reader thread."""

import contextlib
import contextvars

_is_stopped: contextvars.ContextVar = contextvars.ContextVar("skkeras_is_stopped", default=None)


class StoppedError(Exception):
    """Reading was cancelled: nobody waits for the rows any more."""


@contextlib.contextmanager
def stoppable(is_stopped):
    """Let `check_stopped` raise in this thread and context once ``is_stopped()`` is true.

    >>> from skkeras.data._cancellation import check_stopped, stoppable
    >>> with stoppable(lambda: True):
    ...     check_stopped()
    Traceback (most recent call last):
    ...
    skkeras.data._cancellation.StoppedError
    >>> check_stopped()
    """
    token = _is_stopped.set(is_stopped)
    try:
        yield
    finally:
        _is_stopped.reset(token)


def check_stopped():
    """Raise `StoppedError` if reading in this context was cancelled."""
    is_stopped = _is_stopped.get()
    if is_stopped is not None and is_stopped():
        raise StoppedError
