"""Losses of the user's own: the shape in which one takes targets that aren't shaped as outputs."""

import dataclasses

import numpy as np


def with_y_shape(facts, loss, y_shape, output_shape, dtype="float32"):
    """Add to a loss's facts in which shape it takes targets of rows of ``y_shape``.

    A loss decides: what is written for ``y`` of shape (n_samples,) may compare each row with all
    others where it gets a column, and the other way round, without an error. So it is tried on a
    few rows, both ways.

    Examples
    --------
    >>> import keras
    >>> from skkeras._losses import loss_facts
    >>> from skkeras._own_losses import with_y_shape
    >>> def interval(true, predicted):
    ...     return keras.ops.mean(keras.ops.abs(true - predicted), -1)
    >>> with_y_shape(loss_facts(interval), interval, (), (2,)).y_shape
    (1,)
    >>> def middle(true, predicted):
    ...     return abs(true - predicted[:, 0])
    >>> with_y_shape(loss_facts(middle), middle, (), (2,)).y_shape
    ()
    """
    if loss is not None and y_shape in ((), (1,)):
        y_shape = _row_shape(loss, y_shape, output_shape, dtype)
    return dataclasses.replace(facts, y_shape=y_shape)


def count_axes(loss, y, output_shape):
    """Count the axes of a loss's values, samples first: 0 or 1 for a loss of whole samples.

    ``y`` are a few encoded rows. 1 where the loss doesn't tell.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from skkeras._own_losses import count_axes
    >>> count_axes(keras.losses.mean_squared_error, np.zeros((2, 6, 3)), (6, 3))
    2
    """
    import keras

    outputs = np.full((len(y), *output_shape), 0.5, "float32")
    try:
        with keras.StatelessScope():
            return len(_called(loss, y, outputs).shape)
    except Exception:
        return 1


def _row_shape(loss, y_shape, output_shape, dtype):
    """Choose () or (1,): what compares rows alone, else what can be computed, else ``y_shape``."""
    import keras

    rng = np.random.default_rng(0)
    row = tuple(4 if n is None else n for n in output_shape)
    n_rows = next(n for n in (5, 7, 11, 13, 17) if n not in row)
    outputs = rng.uniform(0.1, 0.9, (n_rows, *row)).astype("float32")
    is_number = np.dtype(dtype).kind == "f"
    y = rng.uniform(0.1, 0.9, n_rows) if is_number else np.arange(n_rows) % 2
    works = []
    for shape in (y_shape, (1,) if y_shape == () else ()):
        try:
            with keras.StatelessScope():  # no variable of the loss changes
                is_by_row = _compares_rows_alone(loss, y.reshape(-1, *shape), outputs)
        except Exception:
            continue  # shapes that it doesn't take
        if is_by_row:
            return shape
        works.append(shape)
    return works[0] if works else y_shape


def _compares_rows_alone(loss, y, outputs):
    """Tell whether the loss of rows is the mean or sum of the loss of each."""
    whole = np.mean(_called(loss, y, outputs))
    parts = [np.mean(_called(loss, y[i : i + 1], outputs[i : i + 1])) for i in range(len(y))]
    return bool(np.isclose(whole, np.mean(parts)) or np.isclose(whole, np.sum(parts)))


def _called(loss, y, outputs):
    import keras

    function = loss.call if isinstance(loss, keras.losses.Loss) else loss
    # Keras casts targets to floats before it calls a loss.
    tensors = (keras.ops.convert_to_tensor(np.asarray(part, "float32")) for part in (y, outputs))
    return keras.ops.convert_to_numpy(function(*tensors))
