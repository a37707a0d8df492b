"""What `keras.Model.fit` leaves on a model besides weights: calls, metrics and a history."""

import numpy as np

from skkeras._engine.program import build_metrics, set_metrics


def called(model, x_specs):
    """Call a model on a row, without any effect on its state; None if it takes no such row."""
    import keras

    def row(spec):
        shape, dtype = spec
        shape = (1, *(size or 1 for size in shape))
        zeros = np.full(shape, "", object) if dtype == "string" else np.zeros(shape, dtype)
        return keras.ops.convert_to_tensor(zeros, dtype)

    several = isinstance(x_specs, dict)
    rows = {name: row(spec) for name, spec in x_specs.items()} if several else row(x_specs)
    try:
        with keras.StatelessScope():
            return model(rows, training=False)
    except Exception:  # of a user's layer; where it matters, Keras itself says so
        return None


def leave_training(model, outputs, example, metric_values, history, first_epoch):
    """Give a model the metrics and history of its training; ``outputs`` are for one row, or None.

    ``example`` is a row (x, y, weight) as it was trained on, ``history`` a dict of lists.
    """
    import keras

    if outputs is not None:
        build_metrics(model, *example[:2], outputs)
        set_metrics(model, metric_values)
    model.history = keras.callbacks.History()
    model.history.history = {name: [*values] for name, values in history.items()}
    n_epochs = max(map(len, history.values()), default=0)
    model.history.epoch = [*range(first_epoch, first_epoch + n_epochs)]
    model.history.set_model(model)
