"""Plain Keras: the same training by `keras.Model.fit`, for what programs can't run.

Callbacks that want every batch, and ``engine="keras"``, which is the other side in the tests.
"""

import contextlib
import math

import numpy as np

from skkeras._engine.compiled_loop import diverged
from skkeras._engine.epochs import begin_epoch, take_stretches
from skkeras._engine.rows import Rows
from skkeras._engine.streaming import StreamedRows, as_dataset
from skkeras._tree import map_leaves


def train(
    net,
    rows,
    schedule,
    history,
    *,
    validation=None,
    callbacks=(),
    verbose=0,
    on_divergence="raise",
    **fit_arguments,
):
    """Train a net by `keras.Model.fit`, in the same row order as the compiled loop.

    Parameters are those of `skkeras._engine.compiled_loop.train`; batch-level hooks are called,
    and further arguments go to `keras.Model.fit`.
    """
    import keras

    model = net.model
    # Epochs that end within a pass go on with it, as in Keras: an order is drawn for each pass.
    by_pass = "steps_per_epoch" in fit_arguments and not isinstance(rows, StreamedRows)
    batches = _batches(rows, schedule.batch_size, schedule.begin_epoch if by_pass else None)

    class Notes(keras.callbacks.History):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            history.update(self.history)

    held_out_size = fit_arguments.pop("validation_batch_size", None) or schedule.batch_size
    held_out = validation and _batches(validation.in_storage_order, held_out_size)
    with _own_errors(batches, held_out, rows, validation):
        model.fit(
            batches,
            epochs=schedule.epochs,
            initial_epoch=schedule.initial_epoch,
            validation_data=held_out,
            callbacks=[
                _epochs(batches, None if by_pass else rows, schedule, on_divergence),
                *callbacks,
                Notes(),
            ],
            verbose=verbose,
            shuffle=False,
            **fit_arguments,
        )


def evaluate(net, rows, batch_size):
    """Return a net's loss and metrics over rows by `keras.Model.evaluate`."""
    batches = _batches(rows.in_storage_order, batch_size)
    with _own_errors(batches, rows):
        return net.model.evaluate(batches, verbose=0, return_dict=True)


def predict(net, rows, **predict_arguments):
    """Return a net's outputs by `keras.Model.predict`, which gets further arguments."""
    arguments = {"verbose": 0, **predict_arguments}
    if rows.lazy is None:
        return net.model.predict(rows.take(slice(None))[0], **arguments)
    batches = _batches(rows, arguments.pop("batch_size", None) or 32)
    with _own_errors(batches, rows):
        return net.model.predict(batches, **arguments)


@contextlib.contextmanager
def _own_errors(*sources):
    """Raise what happened when rows were taken, and not what TensorFlow makes of it."""
    try:
        yield
    except Exception:
        for source in sources:
            if (error := getattr(source, "error", None)) is not None:
                raise error from None
        raise


def _batches(rows, batch_size, begin_pass=None):
    """Wrap rows as a `keras.utils.PyDataset` that yields them in the order of its epoch.

    Its ``epoch`` is set before each, or ``begin_pass(rows)`` draws one whenever a pass begins.
    """
    import keras

    if isinstance(rows, StreamedRows):
        return as_dataset(rows)

    class Batches(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.epoch = begin_epoch(rows, None)
            self.error = None

        def __len__(self):
            return math.ceil(rows.n_rows / batch_size)

        def __getitem__(self, index):
            if index == 0 and begin_pass is not None:
                self.epoch = begin_pass(rows)
            start, stop = index * batch_size, min((index + 1) * batch_size, rows.n_rows)
            try:
                x, *rest = take_stretches([(self.epoch, start, stop)])
            except BaseException as error:
                self.error = error
                raise
            return map_leaves(_text_as_tensor, x), *rest

    return Batches()


def _text_as_tensor(array):
    """Turn strings into a tensor: Keras looks a batch's dtype up by name, and has none for them."""
    import keras

    return keras.ops.convert_to_tensor(array) if array.dtype == object else array


def _epochs(batches, rows, schedule, on_divergence):
    """Make the callback that draws each epoch's order, and looks for NaN after it.

    `PyDataset.on_epoch_end` is no place for the order: Keras calls it before the first epoch too.
    """
    import keras

    class Epochs(keras.callbacks.Callback):
        has_diverged = False

        def on_epoch_begin(self, epoch, logs=None):
            if isinstance(rows, Rows):
                batches.epoch = schedule.begin_epoch(rows)

        def on_epoch_end(self, epoch, logs=None):
            if self.has_diverged:
                return
            # Not the other logs: a metric may be undefined for some data.
            values = [*self.model.get_weights(), (logs or {}).get("loss", 0.0)]
            if not all(np.isfinite(np.asarray(value, "float64")).all() for value in values):
                self.has_diverged = True
                diverged(epoch, on_divergence)

    return Epochs()
