"""Stopping: how a thread that reads learns that nobody waits for its rows any more."""

import contextlib
import contextvars

_is_stopped: contextvars.ContextVar = contextvars.ContextVar("skkeras_is_stopped", default=None)


class StoppedError(Exception):
    """Reading ends here: what was read would be thrown away."""


@contextlib.contextmanager
def stoppable(is_stopped):
    """Let `check_stopped` raise in this thread, within this context, once it is wanted.

    Parameters
    ----------
    is_stopped : callable
        Tells whether it is.

    Examples
    --------
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
    """Raise `StoppedError` if this thread's rows aren't wanted any more."""
    is_stopped = _is_stopped.get()
    if is_stopped is not None and is_stopped():
        raise StoppedError
