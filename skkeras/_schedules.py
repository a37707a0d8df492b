"""Learning-rate schedules: the rate of each epoch as a factor of the optimizer's own."""

import contextlib
import math
from numbers import Real

from skkeras._hints import suggestion


def coslog4(progress):
    """Four waves, each twice as long as the one before, down to 0 at the end.

    After Holzmüller et al. (2024), "Better by Default", who begin anew at each wave: the best
    epoch may be at the end of any.
    """
    return (1 - math.cos(2 * math.pi * math.log2(1 + 15 * progress))) / 2


def cosine(progress):
    """Half a wave from 1 down to 0."""
    return (1 + math.cos(math.pi * progress)) / 2


def linear(progress):
    """Straight down from 1 to 0."""
    return 1 - progress


SCHEDULES = {one.__name__: one for one in (coslog4, cosine, linear)}


def check_schedule(schedule):
    """Raise ValueError unless a value names a schedule or is a function.

    Examples
    --------
    >>> from skkeras._schedules import check_schedule
    >>> check_schedule("cosinus")
    Traceback (most recent call last):
    ...
    ValueError: Got optimizer__schedule='cosinus'; expected the name of a schedule, a function of \
the share of epochs that are done, or None. Did you mean 'cosine'? Accepted: 'cosine', 'coslog4', \
'linear'.
    """
    if not (callable(schedule) or schedule in SCHEDULES):
        raise ValueError(
            f"Got optimizer__schedule={schedule!r}; expected the name of a schedule, a function of "
            f"the share of epochs that are done, or None. {suggestion(str(schedule), SCHEDULES)}"
        )


@contextlib.contextmanager
def scheduled(net, schedule, epochs):
    """Yield callbacks that follow a schedule in these epochs; the optimizer keeps its own rate."""
    import keras

    factor = SCHEDULES.get(schedule, schedule) if isinstance(schedule, str) else schedule
    model = net.model
    rate = _constant_rate(model.optimizer)

    # Keras's LearningRateScheduler reads the rate first, by a way that NumPy 2 warns of.
    class Schedule(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            progress = (epoch - epochs.start + 0.5) / len(epochs)
            self.model.optimizer.learning_rate = rate * _checked(factor(progress), progress)

        def on_epoch_end(self, epoch, logs=None):
            logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())

    try:
        yield [Schedule()]
    finally:  # also if Ctrl-C ends it: the next fit begins with the same rate
        net.model.optimizer.learning_rate = rate


def _checked(factor, progress):
    if not (isinstance(factor, Real) and 0 <= factor < math.inf):
        raise ValueError(
            f"Got optimizer__schedule={factor!r} after {progress:.3f} of the epochs; expected a "
            "function that returns a number of at least 0, by which the learning rate is "
            "multiplied."
        )
    return float(factor)


def _constant_rate(optimizer):
    """Return the learning rate; raise ValueError if Keras changes it by itself."""
    own = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    if isinstance(own.get_config()["learning_rate"], dict):
        raise ValueError(
            "Got optimizer__schedule, and an optimizer whose learning_rate is a "
            "LearningRateSchedule; expected one of them. Set optimizer__schedule=None."
        )
    return float(optimizer.learning_rate.numpy())
