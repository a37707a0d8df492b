"""Training: what happens between the first and the last epoch of a fit.

It is Keras's training (the same batches give the same weights, logs and callback calls as
`keras.Model.fit`), but the steps run inside compiled programs, many to a call.
"""

import contextlib
import dataclasses
import functools
import math
import time
import warnings
from typing import Any

import numpy as np

from skkeras._engine.epochs import begin_epoch, read_ahead, take_stretches
from skkeras._engine.streaming import EpochsReader, StreamedRows
from skkeras._tree import leaves
from skkeras.exceptions import DivergenceError

# A compiled call holds Ctrl-C and callbacks back, so it is kept about this long.
SECONDS_PER_CALL = 0.25
# The rows of one call are copied into a buffer of at most about this size (one batch at least).
BUFFER_BYTES = 32 * 2**20
# Of lazy rows there are several such buffers at a time: being read, read ahead, and in use.
LAZY_BUFFER_BYTES = 8 * 2**20
# Steps of the first call, before a program's speed is known.
_FIRST_STEPS = 4


@dataclasses.dataclass
class Schedule:
    """How long and in which order to train.

    Parameters
    ----------
    epochs : int
        The epoch to stop before.
    batch_size : int
        Rows in a step; the last step of an epoch takes what is left.
    shuffle : bool, default=True
        Whether every epoch has a new order.
    generator : numpy.random.Generator
        Where the orders come from.
    initial_epoch : int, default=0
        The number of the first epoch.
    augment : callable or None, default=None
        Changes the inputs of every step, see `skkeras._engine.augmentation`.
    """

    epochs: int
    batch_size: int
    generator: Any
    shuffle: bool = True
    initial_epoch: int = 0
    augment: Any = None

    def begin_epoch(self, rows):
        """Draw what is random about the next epoch."""
        epoch = begin_epoch(rows, self.generator if self.shuffle else None)
        if self.augment is not None:
            seed = int(self.generator.integers(2**63))
            epoch.augment_by(self.augment, seed, self.batch_size)
        return epoch


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
):
    """Train a net in compiled programs.

    Parameters
    ----------
    net : Net
        It is changed: its values are those after training.
    rows : Rows or StreamedRows
        Training data.
    schedule : Schedule
        Epochs, batch size, order.
    history : dict of list of float
        It gets a value per epoch for every log, also if training is interrupted.
    validation : Rows, StreamedRows or None, default=None
        Evaluated after every epoch; its logs are prefixed with ``val_``.
    callbacks : sequence of keras.callbacks.Callback, default=()
        They see ``net.model``, with the newest values, as in `keras.Model.fit`; their hooks for
        single batches are not called.
    verbose : int, default=0
        As in `keras.Model.fit`.
    on_divergence : {"raise", "warn"}, default="raise"
        What to do when the weights or the loss stop being finite.

    Raises
    ------
    DivergenceError
        If training diverges and ``on_divergence="raise"``.
    """
    with _program(net, rows, validation) as program:
        run = _Run(net, program, rows, schedule, validation, on_divergence)
        if not callbacks and not verbose:
            net.push(program)
            run.alone(history)
            net.pull(program)
            return
    listeners = _listeners(net, rows, schedule, callbacks, verbose)
    listeners.on_train_begin()
    # They may have changed the net by now, so that another program is needed.
    with _program(net, rows, validation) as program:
        run = _Run(net, program, rows, schedule, validation, on_divergence)
        run.with_callbacks(listeners, history)


@contextlib.contextmanager
def _program(net, rows, validation):
    """Lend a program in which nothing is left to trace: errors come before anything is trained."""
    with net.training_program(rows.take(slice(0, 1))) as program:
        if validation is not None:
            program.trace_test(validation.take(slice(0, 1)))
        yield program


def _listeners(net, rows, schedule, callbacks, verbose):
    import keras

    model = net.expose()
    _build_metrics(net, rows)
    model.stop_training = False
    return keras.callbacks.CallbackList(
        list(callbacks),
        add_history=True,
        add_progbar=bool(verbose),
        model=model,
        verbose=verbose,
        epochs=schedule.epochs,
        steps=_n_steps(rows, schedule.batch_size),
    )


def _build_metrics(net, rows):
    """Let Keras make the metrics that the model was compiled with: callbacks look them up.

    A callback that monitors ``val_accuracy`` learns from the metric which way is up.
    """
    example = rows.only([0])
    x, y, *_ = example.take(slice(None))
    net.model.compute_metrics(x, y, net.predict(example), None)
    net.model.reset_metrics()


class _Run:
    """One fit on one program."""

    def __init__(self, net, program, rows, schedule, validation, on_divergence):
        self.net = net
        self.program = program
        self.rows = rows
        self.schedule = schedule
        self.validation = validation
        self.on_divergence = on_divergence
        self.has_diverged = False
        streamed = isinstance(rows, StreamedRows)
        takes_long = streamed or rows.lazy is not None or schedule.augment is not None
        self._reading = {} if takes_long else None
        self.batch_size = rows.batch_size if streamed else schedule.batch_size

    def alone(self, history):
        """Train with nobody looking: a call may span epochs."""
        first, last = self.schedule.initial_epoch, self.schedule.epochs
        stride = 1 if self.validation is not None else last - first
        with self._kept_if_interrupted():
            for begin in range(first, last, max(stride, 1)):
                with self._epochs(begin, min(begin + stride, last)) as epochs:
                    for logs in epochs:
                        if self.validation is not None:
                            logs |= _prefixed(self._evaluate())
                        for name in sorted(logs):  # as Keras does
                            history.setdefault(name, []).append(logs[name])
        self._finalize()

    def with_callbacks(self, listeners, history):
        """Train an epoch at a time, and let the callbacks see and change the model."""
        model, logs = self.net.model, None
        for epoch in range(self.schedule.initial_epoch, self.schedule.epochs):
            listeners.on_epoch_begin(epoch)
            self.net.push(self.program)
            # Keras looks at stop_training after a batch, so one batch runs in any case.
            max_steps = 1 if model.stop_training else None
            with (
                self._kept_if_interrupted(),
                self._epochs(epoch, epoch + 1, max_steps=max_steps) as epochs,
            ):
                (logs,) = epochs
            self.net.pull(self.program)
            if self.validation is not None:
                listeners.on_test_begin()
                self.net.push(self.program)
                val_logs = self._evaluate()
                listeners.on_test_end(val_logs)
                logs |= _prefixed(val_logs)
            listeners.on_epoch_end(epoch, logs)
            # As Keras's own callback has it: others may have added to the logs.
            history.update(model.history.history)
            if model.stop_training:
                break
        self.net.push(self.program)
        self._finalize()
        self.net.pull(self.program)
        listeners.on_train_end(logs)
        self.net.push(self.program)

    @contextlib.contextmanager
    def _kept_if_interrupted(self):
        """Ctrl-C leaves the net as it is trained by then, as in `keras.Model.fit`."""
        try:
            yield
        except KeyboardInterrupt:
            self.net.pull(self.program)
            raise

    def _finalize(self):
        optimizer = self.program.worker.optimizer
        if optimizer is not None and self.schedule.epochs > 0:
            # Weights kept as moving averages (use_ema) take their place at the end.
            optimizer.finalize_variable_values(self.program.worker.trainable_weights)

    @contextlib.contextmanager
    def _epochs(self, first, last, max_steps=None):
        """Run epochs (only the first steps of each, if so asked); give the logs of each."""
        if isinstance(self.rows, StreamedRows):
            reader = EpochsReader(self.rows, first, last, max_steps)
            with _spans(reader, self._steps_per_call, self._reading) as spans:
                yield (
                    log
                    for batch, segments, sizes in spans
                    for log in self._call(segments, batch, sizes)
                )
            return
        plan = self._calls(first, last, max_steps)
        take = _timed(
            lambda call: take_stretches(call[0]), self._reading, lambda call, _: len(call[2])
        )
        with read_ahead(take, plan, in_thread=self._reading is not None) as calls:
            yield (
                log
                for (_, segments, sizes), batch in calls
                for log in self._call(segments, batch, sizes)
            )

    def _calls(self, first, last, max_steps):
        """Plan the calls: which rows each takes, its segments, and the sizes of its steps."""
        n_rows, batch_size = self.rows.n_rows, self.schedule.batch_size
        n_steps = max_steps or math.ceil(n_rows / batch_size)
        number, step, epoch = first, 0, None
        while number < last:
            budget, segments, stretches, sizes = self._steps_per_call(), [], [], []
            while budget and number < last:
                epoch = self.schedule.begin_epoch(self.rows) if step == 0 else epoch
                taken = min(budget, n_steps - step)
                start, stop = step * batch_size, min((step + taken) * batch_size, n_rows)
                stretches.append((epoch, start, stop))
                sizes += _batch_rows(stop - start, batch_size)
                ends = step + taken == n_steps
                segments.append((taken, step == 0, ends, number))
                budget -= taken
                number, step = (number + 1, 0) if ends else (number, step + taken)
            yield stretches, segments, sizes

    def _call(self, segments, batch, sizes):
        steps, starts = [s[0] for s in segments], [s[1] for s in segments]
        with _paced(self.program, "train", self.batch_size, len(sizes)):
            logs, finite = self.program.train(batch, sizes, steps, starts)
        for (_, _, ends, epoch), log, is_finite in zip(segments, logs, finite, strict=True):
            if ends:
                if not is_finite and not self.has_diverged:
                    self.has_diverged = True
                    diverged(epoch, self.on_divergence)
                yield log

    def _steps_per_call(self):
        return _steps_per_call(self.program, "train", self.rows, self.batch_size, self._reading)

    def _evaluate(self):
        return evaluate(self.program, self.validation, self.schedule.batch_size)


def evaluate(program, rows, batch_size):
    """Return a program's loss and metrics over rows, as `keras.Model.evaluate` does.

    Parameters
    ----------
    program : Program
        The net's values are loaded.
    rows : Rows
        The data.
    batch_size : int
        Rows in a step.

    Returns
    -------
    logs : dict of float
    """
    if isinstance(rows, StreamedRows):
        return _evaluate_stream(program, rows)
    rows, logs, reading = rows.in_storage_order, None, None if rows.lazy is None else {}
    plan = _slices(program, rows, batch_size, reading)
    take = _timed(
        rows.take, reading, lambda where, _: math.ceil((where.stop - where.start) / batch_size)
    )
    with read_ahead(take, plan, in_thread=reading is not None) as calls:
        for where, batch in calls:
            sizes = _batch_rows(where.stop - where.start, batch_size)
            first, last = where.start == 0, where.stop == rows.n_rows
            with _paced(program, "test", batch_size, len(sizes)):
                logs = program.test(batch, sizes, first=first, last=last)
    return logs


def _evaluate_stream(program, rows):
    logs, reading = None, {}
    budget = functools.partial(_steps_per_call, program, "test", rows, rows.batch_size, reading)
    with _spans(EpochsReader(rows, 0, 1), budget, reading) as spans:
        for batch, ((_, first, last, _),), sizes in spans:
            with _paced(program, "test", rows.batch_size, len(sizes)):
                logs = program.test(batch, sizes, first=first, last=last)
    return logs


@contextlib.contextmanager
def _spans(reader, budget, reading):
    """Read a stream ahead, in a thread; ``budget()`` tells how many batches a call should take."""

    def plan():
        while not reader.is_done:
            yield budget()

    take = _timed(reader.take, reading, lambda _, span: len(span[2]) if span else 1)
    with read_ahead(take, plan(), in_thread=True) as calls:
        yield (span for _, span in calls if span is not None)


def _n_steps(rows, batch_size):
    if isinstance(rows, StreamedRows):
        return rows.n_steps
    return math.ceil(rows.n_rows / batch_size)


def _slices(program, rows, batch_size, reading):
    """Plan the calls of an evaluation."""
    start = 0
    while start < rows.n_rows:
        n_steps = _steps_per_call(program, "test", rows, batch_size, reading)
        stop = min(start + n_steps * batch_size, rows.n_rows)
        yield slice(start, stop)
        start = stop


def _steps_per_call(program, kind, rows, batch_size, reading):
    """Tell how many steps take about as long, to run or to read, and as much memory as is meant."""
    paces = [program.seconds_per_step.get((kind, batch_size))]
    if reading is not None:
        paces.append(reading.get("seconds_per_step"))
    steps = _FIRST_STEPS if None in paces else SECONDS_PER_CALL / max(paces)
    buffer_bytes = BUFFER_BYTES if rows.lazy is None else LAZY_BUFFER_BYTES
    buffered = buffer_bytes / (rows.row_bytes * batch_size)
    return max(1, int(min(steps, buffered)))


def _timed(take, reading, count_steps):
    """Let ``take`` note how long it takes to read a step: Ctrl-C waits for a whole call's rows."""
    if reading is None:
        return take

    def timed(call):
        begin = time.perf_counter()
        taken = take(call)
        reading["seconds_per_step"] = (time.perf_counter() - begin) / count_steps(call, taken)
        return taken

    return timed


@contextlib.contextmanager
def _paced(program, kind, batch_size, n_steps):
    """Note how long a step takes."""
    begin = time.perf_counter()
    yield
    program.seconds_per_step[kind, batch_size] = (time.perf_counter() - begin) / n_steps


def evaluate_net(net, rows, batch_size):
    """Return a net's loss and metrics over rows; see `evaluate`."""
    with net.training_program(rows.take(slice(0, 1))) as program:
        net.push(program)
        return evaluate(program, rows, batch_size)


def diverged(epoch, on_divergence):
    """Raise or warn that weights or loss are no longer finite."""
    message = (
        f"Training diverged in epoch {epoch + 1}: the weights or the loss became NaN or infinite; "
        "expected finite values. A smaller optimizer__learning_rate, optimizer__clipnorm=1.0, or "
        "scaling X (StandardScaler) and y usually mends it. "
        'on_divergence="warn" trains on regardless.'
    )
    if on_divergence == "raise":
        raise DivergenceError(message, epoch=epoch + 1)
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def check_not_nan(outputs, on_divergence):
    """Raise or warn if a net's outputs, an array or a structure of arrays, have NaN in them."""
    for part in leaves(outputs):
        rows = np.isnan(part).reshape(len(part), -1).any(axis=1)
        if rows.any():
            message = (
                f"The net's outputs for X have NaN in {rows.sum()} of {len(rows)} rows; expected "
                "numbers. Its weights are NaN, or its layers are not defined for these rows "
                '(logarithms, roots, divisions). on_divergence="warn" returns them nevertheless.'
            )
            if on_divergence == "raise":
                raise ValueError(message)
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def _batch_rows(n_rows, batch_size):
    full, rest = divmod(n_rows, batch_size)
    return [batch_size] * full + [rest] * bool(rest)


def _prefixed(logs):
    return {f"val_{name}": value for name, value in logs.items()}
