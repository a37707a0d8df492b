"""Training: what happens between the first and the last epoch of a fit.

It is Keras's training (the same batches give the same weights, logs and callback calls as
`keras.Model.fit`), but the steps run inside compiled programs, many to a call.
"""

import concurrent.futures
import contextlib
import dataclasses
import threading
import time
import warnings
from typing import Any

from skkeras._engine.compiled_functions import SECONDS_BETWEEN_LOOKS
from skkeras._engine.program import build_metrics, set_metrics
from skkeras._engine.rows import begin_epoch
from skkeras.data._cancellation import stoppable
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
    """Length and order of a training.

    Training stops before the epoch ``epochs``; the last step of an epoch takes the rows left;
    ``generator`` draws the orders; ``augment`` is as `skkeras._engine.augmentation` makes it.
    """

    epochs: int
    batch_size: int
    generator: Any
    shuffle: bool = True
    initial_epoch: int = 0
    augment: Any = None

    def begin_epoch(self, rows):
        """Draw the order and the seed of the next epoch of `Rows`."""
        epoch = begin_epoch(rows, self.generator if self.shuffle else None)
        if (seed := self.augmentation_seed()) is not None:
            epoch.augment_by(self.augment, seed, self.batch_size)
        return epoch

    def augmentation_seed(self):
        """Draw the seed of an epoch's augmentation; None if there is none."""
        return None if self.augment is None else int(self.generator.integers(2**63))


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

    ``history`` gets a value per epoch for every log, also if training is interrupted. Callbacks see
    ``net.model`` with the newest values; their hooks for single batches are not called. Logs of
    ``validation`` are prefixed with ``val_``. ``on_divergence`` is about weights or loss not
    finite.
    """
    example = rows.example  # read once: rows may be in files
    with _program(net, example, validation) as program:
        run = _Run(net, program, rows, schedule, validation, on_divergence)
        if not callbacks and not verbose:
            net.push(program)
            run.alone(history)
            net.pull(program)
            net.trained(program, example, history, schedule.initial_epoch)
            return
    listeners = _listeners(net, rows, schedule, callbacks, verbose)
    listeners.on_train_begin()
    # They may have changed the net by now, so that another program is needed.
    with _program(net, example, validation) as program:
        run = _Run(net, program, rows, schedule, validation, on_divergence)
        run.with_callbacks(listeners, history)


@contextlib.contextmanager
def _program(net, example, validation):
    """Borrow a fully traced program, so that errors come before anything is trained."""
    with net.training_program(example) as program:
        if validation is not None:
            program.trace_test(validation.example)
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
        steps=rows.steps_per_epoch(schedule.batch_size),
    )


def _build_metrics(net, rows):
    """Let Keras make the metrics that the model was compiled with: callbacks look them up.

    A callback that monitors ``val_accuracy`` learns from the metric which way is up.
    """
    x, y, *_ = rows.example
    build_metrics(net.model, x, y, net.outputs(rows.first))


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
        takes_long = rows.takes_long or schedule.augment is not None
        self._pace = _Pace(program, "train", rows, schedule.batch_size, takes_long=takes_long)

    def alone(self, history):
        """Train without callbacks: a call may span epochs."""
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
            self._show_metrics()
            if self.validation is not None:
                listeners.on_test_begin()
                self.net.push(self.program)
                with self.net.moved_on(self.program):
                    val_logs = self._evaluate()
                self._show_metrics()
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

    def _show_metrics(self):
        """Set the metrics of the model, at which callbacks may look, to those of the program."""
        if self.program.worker is not self.net.structure:
            set_metrics(self.net.structure, self.program.metric_values())

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
        reader = self.rows.reader(self.schedule, first, last, max_steps)
        with self._pace.calls(reader) as calls:
            yield (log for call in calls for log in self._call(*call))

    def _call(self, batch, segments, sizes):
        steps, starts = [s[0] for s in segments], [s[1] for s in segments]
        with self._pace.measured(len(sizes)):
            logs, finite = self.program.train(batch, sizes, steps, starts)
        for (_, _, ends, epoch), log, is_finite in zip(segments, logs, finite, strict=True):
            if ends:
                if not is_finite and not self.has_diverged:
                    self.has_diverged = True
                    diverged(epoch, self.on_divergence)
                yield log

    def _evaluate(self):
        return evaluate(self.program, self.validation, self.schedule.batch_size)


def evaluate(program, rows, batch_size):
    """Return a program's loss and metrics over rows, as `keras.Model.evaluate` does.

    The net's values are loaded.
    """
    pace, logs = _Pace(program, "test", rows, batch_size, takes_long=rows.takes_long), None
    with pace.calls(rows.evaluation_reader(batch_size)) as calls:
        for batch, ((_, first, last, _),), sizes in calls:
            with pace.measured(len(sizes)):
                logs = program.test(batch, sizes, first=first, last=last)
    return logs


class _Pace:
    """Steps for a call to take, from the time that steps took to read and to run.

    The program keeps those times, for later fits too. ``kind`` is "train" or "test".
    """

    def __init__(self, program, kind, rows, batch_size, *, takes_long):
        self._times = program.seconds_per_step
        self._batch_size = rows.rows_per_step(batch_size)
        self._key = kind, self._batch_size
        self._rows = rows
        self._takes_long = takes_long
        self._seconds_to_read = None

    def budget(self):
        """Return the number of steps that fill the time and the memory of a call."""
        paces = [self._times.get(self._key)]
        if self._takes_long:
            paces.append(self._seconds_to_read)
        steps = _FIRST_STEPS if None in paces else SECONDS_PER_CALL / max(paces)
        buffer_bytes = LAZY_BUFFER_BYTES if self._rows.wants_small_buffers else BUFFER_BYTES
        buffered = buffer_bytes / (self._rows.row_bytes * self._batch_size)
        return max(1, int(min(steps, buffered)))

    @contextlib.contextmanager
    def measured(self, n_steps):
        """Measure the run time of a step."""
        begin = time.perf_counter()
        yield
        self._times[self._key] = (time.perf_counter() - begin) / n_steps

    @contextlib.contextmanager
    def calls(self, reader):
        """Read the rows of one call after the other; in a thread, those of the next meanwhile."""

        def budgets():
            while not reader.is_done:
                yield self.budget()

        take = self._timed(reader.take) if self._takes_long else reader.take
        with read_ahead(take, budgets(), in_thread=self._takes_long) as calls:
            yield (call for call in calls if call is not None)

    def _timed(self, take):
        """Measure the reading time of a step, too: Ctrl-C waits for a whole call's rows."""

        def timed(budget):
            begin = time.perf_counter()
            call = take(budget)
            self._seconds_to_read = (time.perf_counter() - begin) / (len(call[2]) if call else 1)
            return call

        return timed


def evaluate_net(net, rows, batch_size):
    """Return a net's loss and metrics over rows; see `evaluate`."""
    with net.training_program(rows.example) as program:
        net.push(program)
        with net.moved_on(program):
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


def _prefixed(logs):
    return {f"val_{name}": value for name, value in logs.items()}


@contextlib.contextmanager
def read_ahead(take, budgets, *, in_thread):
    """Yield an iterator of ``take(budget)``; in a thread, the next call is read during this one.

    A budget is asked for when the call before the one before is done. Errors in the thread come out
    of the iterator. When the context ends so does the thread, after the block that it is reading.
    """
    if not in_thread:
        yield map(take, budgets)
        return
    stop = threading.Event()

    def taken(budget):
        with stoppable(stop.is_set):
            return take(budget)

    with concurrent.futures.ThreadPoolExecutor(1, "skkeras-reader") as pool:
        calls = _ahead(pool, taken, budgets)
        try:
            yield calls
        finally:
            stop.set()
            calls.close()
            pool.shutdown(wait=True, cancel_futures=True)


def _ahead(pool, take, budgets):
    waiting = None
    for budget in budgets:
        following = pool.submit(take, budget)
        if waiting is not None:
            yield _result(waiting)
        waiting = following
    if waiting is not None:
        yield _result(waiting)


def _result(future):
    """Wait for a result, and for Ctrl-C.

    Python notices a signal when a wait ends, and it doesn't end by itself once somebody has called
    `signal.siginterrupt`, as asyncio does.
    """
    while not future.done():
        concurrent.futures.wait([future], timeout=SECONDS_BETWEEN_LOOKS)
    return future.result()
