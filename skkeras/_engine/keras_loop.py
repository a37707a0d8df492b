"""Plain Keras: the same training by `keras.Model.fit`, for what programs can't run.

Callbacks that want every batch, and ``engine="keras"``, which is the other side in the tests.
"""

import contextlib

import numpy as np

from skkeras._callbacks import check_monitors
from skkeras._engine.compiled_loop import diverged
from skkeras._versions import arrays_of_logs


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

    class Notes(keras.callbacks.Callback):
        """Not Keras's `History`, which stays with the model and so has to be picklable."""

        def on_epoch_end(self, epoch, logs=None):
            for name, value in arrays_of_logs(logs).items():
                history.setdefault(name, []).append(value)

    held_out_size = fit_arguments.pop("validation_batch_size", None) or schedule.batch_size
    with _own_errors() as errors:
        # Epochs that end within a pass go on with it, as in Keras: an order is drawn for each pass.
        by_pass = "steps_per_epoch" in fit_arguments
        batches, begin_epoch = rows.keras_training(schedule, errors, by_pass=by_pass)
        held_out = validation and validation.keras_batches(held_out_size, errors)
        _trace_anew_if_frozen(net, model)
        model.fit(
            batches,
            epochs=schedule.epochs,
            initial_epoch=schedule.initial_epoch,
            validation_data=held_out,
            callbacks=[_epochs(begin_epoch, on_divergence, callbacks), *callbacks, Notes()],
            verbose=verbose,
            shuffle=False,
            **fit_arguments,
        )


def _trace_anew_if_frozen(net, model):
    """Make Keras look again at which variables are trained, if others are since its last fit."""
    trained = [id(variable) for variable in model.trainable_variables]
    if net.trained_by_keras not in (None, trained):
        model.make_train_function(force=True)
    net.trained_by_keras = trained


def evaluate(net, rows, batch_size):
    """Return a net's loss and metrics over rows by `keras.Model.evaluate`."""
    with _own_errors() as errors:
        batches = rows.keras_batches(batch_size, errors)
        return arrays_of_logs(net.model.evaluate(batches, verbose=0, return_dict=True))


def predict(net, rows, **predict_arguments):
    """Return a net's outputs by `keras.Model.predict`, which gets further arguments."""
    arguments = {"verbose": 0, **predict_arguments}
    if rows.lazy is None:
        return net.model.predict(rows.take(slice(None))[0], **arguments)
    with _own_errors() as errors:
        batches = rows.keras_batches(arguments.pop("batch_size", None) or 32, errors)
        return net.model.predict(batches, **arguments)


@contextlib.contextmanager
def _own_errors():
    """Raise what happened when rows were read, and not what TensorFlow makes of it."""
    errors = []
    try:
        yield errors
    except Exception:
        if errors:
            raise errors[-1] from None
        raise


def _epochs(begin_epoch, on_divergence, others):
    """Make the callback that draws each epoch's order, and looks at its logs before the others do.

    `PyDataset.on_epoch_end` is no place for the order: Keras calls it before the first epoch too.
    """
    import keras

    class Epochs(keras.callbacks.Callback):
        has_diverged = False

        def on_epoch_begin(self, epoch, logs=None):
            begin_epoch()

        def on_epoch_end(self, epoch, logs=None):
            check_monitors(others, logs or {})
            if self.has_diverged:
                return
            # Not the other logs: a metric may be undefined for some data.
            values = [*self.model.get_weights(), (logs or {}).get("loss", 0.0)]
            if not all(np.isfinite(np.asarray(value, "float64")).all() for value in values):
                self.has_diverged = True
                diverged(epoch, on_divergence)

    return Epochs()
