"""Programs: training and prediction compiled into TensorFlow functions, once per architecture.

A program owns a *worker*, a net of its own that nobody else sees. To train a user's net, its
variables' values are loaded into the worker, whole runs of steps are executed inside one
`tf.function`, and the values are read back. So one traced graph serves every net of the same
architecture, and what a fit leaves behind in a worker can't reach another one.
"""

import collections.abc
import contextlib
import functools
import itertools
import math
import threading

import numpy as np

from skkeras._engine.rows import map_leaves
from skkeras._keras_objects.internals import sublayers

# Recurrent layers over so many time steps are unrolled for training: it takes no longer to trace
# them then, and their steps are 1.7 times faster. Beyond, tracing takes seconds.
_MAX_UNROLLED = 12
# What a traced program takes besides its variables, as measured for small nets.
_GRAPH_BYTES = 4 * 2**20

# Tracing holds the interpreter's lock anyway, and Keras doesn't promise that it is thread-safe.
_tracing = threading.RLock()


class UntraceableError(Exception):
    """TensorFlow can't put the net's steps into a graph; Keras may still be able to run them."""


@contextlib.contextmanager
def tracing():
    """Trace one thing at a time, and tell errors in tracing from those in running."""
    try:
        with _tracing:
            yield
    except Exception as error:
        raise UntraceableError from error


def batch_specs(batch):
    """Describe the rows of a batch as tensor specs with an open first axis."""
    import tensorflow as tf

    return map_leaves(
        lambda array: tf.TensorSpec(
            (None, *array.shape[1:]), tf.string if array.dtype == object else array.dtype
        ),
        batch,
    )


class Program:
    """Compiled training functions of one architecture, and the model they run on.

    It owns ``worker``, which is compiled and has a built optimizer. ``example`` is a batch
    ``(x,)``, ``(x, y)`` or ``(x, y, weight)``; only shapes and dtypes matter.
    """

    def __init__(self, worker, example):
        import tensorflow as tf

        self.worker = worker
        self.specs = batch_specs(example)
        self.state_starts_at_zero = False  # the optimizer's, whatever the weights
        self.seconds_per_step = {}  # by what runs and the batch size, as measured lately
        self.log_names = None
        numbers = tf.TensorSpec((None,), tf.int32)
        flags = tf.TensorSpec((None,), tf.bool)
        with _unrolled(worker):
            self._train = _compiled(self._train_span, self.specs, numbers, numbers, flags)
        self._tests = {}

    @property
    def variables(self):
        """The variables which a fit starts from and changes: the net's, then the optimizer's."""
        return state_variables(self.worker)

    @functools.cached_property
    def n_bytes(self):
        """About how much memory it takes: its variables, and what TensorFlow keeps of a graph."""
        return variable_bytes(self.variables) + _GRAPH_BYTES

    def load(self, values):
        """Set the worker's variables; ``values`` are arrays in the order of `variables`.

        There may be fewer: the last of the variables, which an optimizer that isn't built doesn't
        have, are set to zero.
        """
        import tensorflow as tf

        for variable, value in itertools.zip_longest(self.variables, values):
            value = tf.zeros(variable.shape, variable.dtype) if value is None else value
            variable.value.assign(value, read_value=False)

    def dump(self):
        """Return the values of the worker's variables as tensors that later steps don't change."""
        return [variable.value.value() for variable in self.variables]

    def dump_untrained(self):
        """Return, by index, the values of the variables that evaluation may change: seed states."""
        variables = enumerate(self.worker.variables)
        return {i: variable.value.value() for i, variable in variables if not variable.trainable}

    def metric_values(self):
        """Return the values of the worker's metrics: those of the last epoch or evaluation."""
        return [variable.value.value() for variable in self.worker.metrics_variables]

    def train(self, batch, batch_rows, segment_steps, starts_epoch):
        """Run steps over rows in training order; return logs and finiteness of each segment.

        ``batch_rows`` (n_steps,) are the rows of each step. A segment is an epoch or a part of one,
        of ``segment_steps`` steps; metrics start from zero where ``starts_epoch``.
        """
        import tensorflow as tf

        values = self._train(
            _tensors(batch),
            tf.constant(batch_rows, tf.int32),
            tf.constant(segment_steps, tf.int32),
            tf.constant(starts_epoch, tf.bool),
        )
        values = values.numpy()
        logs = [dict(zip(self.log_names, map(float, row[:-1]), strict=True)) for row in values]
        return logs, values[:, -1].astype(bool)

    def test(self, batch, batch_rows, first, last):
        """Evaluate rows in batches; ``first`` resets the metrics, ``last`` returns them."""
        import tensorflow as tf

        test = self.trace_test(batch)
        if first:
            self.worker.reset_metrics()
        names, values = test(_tensors(batch), tf.constant(batch_rows, tf.int32))
        if not last:
            return None
        names = [name.decode() for name in names.numpy()]
        return dict(zip(names, map(float, values.numpy()), strict=True))

    def trace_test(self, example):
        """Compile the evaluation of batches like ``example``, unless it is, and return it."""
        import tensorflow as tf

        kind = len(example)
        if kind not in self._tests:
            numbers = tf.TensorSpec((None,), tf.int32)
            with tracing():
                self._tests[kind] = _compiled(self._test_span, batch_specs(example), numbers)
        return self._tests[kind]

    def _train_span(self, batch, batch_rows, segment_steps, starts_epoch):
        import tensorflow as tf

        step, log_keys, from_metrics = self._train_step()
        self.log_names = log_keys
        n_segments = tf.shape(segment_steps)[0]

        def run_step(i, row, logs):
            next_row = row + tf.gather(batch_rows, i)
            new_logs = step(_rows_between(batch, row, next_row))
            return i + 1, next_row, logs if from_metrics else tf.stack(_scalars(new_logs, log_keys))

        def run_segment(k, i, row, values):
            starts = tf.gather(starts_epoch, k)
            tf.cond(starts, lambda: _grouped(self.worker.reset_metrics), tf.no_op)
            last = i + tf.gather(segment_steps, k)
            i, row, logs = tf.while_loop(
                lambda i, row, logs: i < last,
                run_step,
                (i, row, tf.zeros((0 if from_metrics else len(log_keys),), tf.float64)),
            )
            if from_metrics:
                logs = _scalars(self.worker.get_metrics_result(), log_keys)
            else:
                logs = tf.unstack(logs, num=len(log_keys))
            # Not the other logs: a metric may be undefined for some data.
            named = zip(log_keys, logs, strict=True)
            checks = [tf.math.is_finite(log) for name, log in named if name == "loss"]
            checks += [
                tf.reduce_all(tf.math.is_finite(v.value))
                for v in self._weights()
                if v.value.dtype.is_floating
            ]
            finite = tf.cast(tf.reduce_all(checks), tf.float64)
            return k + 1, i, row, values.write(k, tf.stack([*logs, finite]))

        _, _, _, values = tf.while_loop(
            lambda k, *_: k < n_segments,
            run_segment,
            (0, 0, 0, tf.TensorArray(tf.float64, n_segments, element_shape=(len(log_keys) + 1,))),
        )
        return values.stack()

    def _test_span(self, batch, batch_rows):
        import tensorflow as tf

        specs = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), batch)
        step, log_keys, from_metrics = self._step(self.worker.test_step, specs)

        def run_step(i, row, _):
            next_row = row + tf.gather(batch_rows, i)
            logs = step(_rows_between(batch, row, next_row))
            return i + 1, next_row, tf.stack(_scalars(logs, log_keys))

        n_steps = tf.shape(batch_rows)[0]
        start = (0, 0, tf.zeros((len(log_keys),), tf.float64))
        _, _, logs = tf.while_loop(lambda i, row, logs: i < n_steps, run_step, start)
        if from_metrics:
            logs = tf.stack(_scalars(self.worker.get_metrics_result(), log_keys))
        return tf.constant(log_keys), logs

    def _train_step(self):
        return self._step(self.worker.train_step, self.specs)

    def _weights(self):
        """Return the variables that have to stay finite: the weights, moving statistics, too."""
        return self.worker.weights

    def _step(self, keras_step, specs):
        """Wrap a Keras step so that it is traced once, and tell the logs it returns."""
        import keras
        import tensorflow as tf

        # This optimizer refuses to work without a replica context.
        scales_loss = isinstance(self.worker.optimizer, keras.optimizers.LossScaleOptimizer)

        @functools.partial(tf.function, autograph=False)
        def step(batch):
            if scales_loss:
                return keras_step(batch)
            # Inside merge_call there is no replica context, so that Keras's optimizer skips the
            # all-reduce over one replica. Its custom gradient would stay in TensorFlow's global
            # registry and keep this graph alive for ever:
            # https://github.com/tensorflow/tensorflow/issues/97697
            context = tf.distribute.get_replica_context()
            return context.merge_call(lambda _, rows: keras_step(rows), args=(batch,))

        logs = step.get_concrete_function(specs).structured_outputs
        metrics = self.worker.get_metrics_result()
        # As Keras does: the metrics' own results, unless a custom step logs something else.
        return step, list(flat_logs(logs)), set(metrics) == set(logs)


class FlatLayout:
    """Where the variables of a flat program are among those of a net.

    ``places`` are, for each variable of the program, its place in the net; of a vector, a list of
    the places of its parts, whose shapes are ``shapes``.
    """

    def __init__(self, variables, trained, untrained, slots):
        place = {id(variable): i for i, variable in enumerate(variables)}
        n = len(variables)
        state = [[n + i for i in slot] if isinstance(slot, list) else n + slot for slot in slots]
        self.places = [[place[id(v)] for v in trained], *(place[id(v)] for v in untrained), *state]
        self.shapes = [v.shape for v in trained]
        self.n_values = n + sum(len(slot) if isinstance(slot, list) else 1 for slot in slots)

    def flattened(self, values):
        """Return the values of the program's variables; None of those that are lacking."""
        if isinstance(values, FlatValues) and vars(values.layout) == vars(self):
            return values.flat
        flat = []
        for places in self.places:
            if np.max(places) >= len(values):
                flat.append(None)
            elif isinstance(places, list):
                flat.append(np.concatenate([np.ravel(values[i]) for i in places]))
            else:
                flat.append(values[places])
        return flat

    def cut(self, vector):
        """Return the parts of a vector, in their shapes."""
        import tensorflow as tf

        sizes = [math.prod(shape) for shape in self.shapes]
        return [*map(tf.reshape, tf.split(vector, sizes), self.shapes)]


class FlatValues(collections.abc.Sequence):
    """Values of a net's variables, cut out of those of a flat program when they are needed."""

    def __init__(self, layout, flat):
        self.layout = layout
        self.flat = flat

    def __len__(self):
        return self.layout.n_values

    def __getitem__(self, place):
        return self._values[place]

    @functools.cached_property
    def _values(self):
        values = [None] * len(self)
        for places, value in zip(self.layout.places, self.flat, strict=True):
            if isinstance(places, list):
                for place, part in zip(places, self.layout.cut(value), strict=True):
                    values[place] = part
            else:
                values[places] = value
        return values


class Predictor:
    """Compiled forward pass that takes the weights as an argument.

    It changes no variable, so any number of threads may use it, for any net of its architecture. Of
    ``x`` only shapes and dtypes matter, of the model its structure. ``moved`` are the indices of
    the variables that the forward pass moves on, such as the seed state of a dropout that is always
    on; ``moves_others`` tells whether it moves variables outside of the model.
    """

    def __init__(self, model, x):
        import keras
        import tensorflow as tf

        variables = model.variables

        def forward(values, rows):
            state = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=state) as scope:
                before = [scope.get_current_value(variable) for variable in variables]
                outputs = model(rows, training=False)
            after = [scope.get_current_value(variable) for variable in variables]
            self.moved = [i for i, value in enumerate(after) if value is not before[i]]
            self.moves_others = len(scope.state_mapping) > len({id(v) for v in variables})
            return outputs, [after[i] for i in self.moved]

        value_specs = [tf.TensorSpec(v.shape, v.value.dtype) for v in variables]
        self._n_values = len(variables)
        self._forward = _compiled(forward, value_specs, batch_specs(x))

    def predict(self, values, x):
        """Return the outputs for rows of the input dtypes; an optimizer's values are ignored.

        The list ``values`` gets the new values of the variables that are moved on.
        """
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(value) for value in values[: self._n_values]]
        outputs, moved = self._forward(tensors, _tensors(x))
        for i, value in zip(self.moved, moved, strict=True):
            values[i] = value
        return map_leaves(lambda out: out.numpy(), outputs)


@contextlib.contextmanager
def _unrolled(model):
    """Let Keras unroll the recurrent layers of a model that see few time steps.

    Their sums are rounded in another order then, and are otherwise the same.
    """
    layers = [layer for layer in _recurrent_layers(model) if not layer.unroll]
    for layer in layers:
        layer.unroll = True
    try:
        yield
    finally:
        for layer in layers:
            layer.unroll = False


def _recurrent_layers(model):
    """Find Keras's own recurrent layers whose number of time steps is known and small."""
    import keras

    kinds = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
    for layer in sublayers(model):
        inner = [layer]
        if type(layer) is keras.layers.Bidirectional:
            inner = [layer.forward_layer, layer.backward_layer]
        try:
            n_steps = layer.input.shape[1]
        except (AttributeError, IndexError, TypeError, ValueError):
            continue  # it was called with no or with several inputs, or from another layer's code
        if n_steps is not None and n_steps <= _MAX_UNROLLED:
            yield from (one for one in inner if type(one) in kinds)


def _compiled(function, *specs):
    """Trace a function for tensors of these specs.

    Calling what this returns takes half the time of calling a `tf.function`.
    """
    import tensorflow as tf

    # There is nothing for autograph to convert, and its looking for it takes a tenth of a second.
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _tensors(batch):
    import tensorflow as tf

    return map_leaves(tf.constant, batch)


def _rows_between(batch, start, stop):
    import tensorflow as tf

    numbers = tf.range(start, stop)  # fewer operations than slices, which compute their strides
    return tf.nest.map_structure(lambda rows: tf.gather(rows, numbers), batch)


def _scalars(logs, names):
    import tensorflow as tf

    logs = flat_logs(logs)
    # As Python's floats, so that a float64 net's logs lose nothing.
    scalars = [tf.cast(logs[name], tf.float64) for name in names]
    return [one if one.shape.rank == 0 else tf.reshape(one, ()) for one in scalars]


def flat_logs(logs):
    """Put the results of metrics that have several, a dict, among the others, as Keras does."""
    flat = {}
    for name, value in logs.items():
        flat |= flat_logs(value) if isinstance(value, dict) else {name: value}
    return flat


def _grouped(function):
    """Call a function that assigns variables, as a branch of `tf.cond`."""
    import tensorflow as tf

    function()
    return tf.no_op()


def state_variables(model):
    """Return the variables which training starts from and changes, the optimizer's at the end."""
    optimizer = model.optimizer
    return [*model.variables, *(optimizer.variables if optimizer is not None else ())]


def variable_bytes(variables):
    """Return how much memory variables take."""
    return sum(v.value.dtype.size * int(np.prod(v.shape)) for v in variables)


def build_metrics(model, x, y, outputs):
    """Let Keras make the metrics that a model was compiled with, from a row of each.

    Of several outputs, the loss of each is a metric, which Keras makes with the whole loss.
    """
    model.compute_metrics(x, y, outputs, None)
    if isinstance(outputs, dict | list | tuple):
        model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=None, training=False)
    model.reset_metrics()


def set_metrics(model, values):
    """Set the variables of a model's metrics; not of one that makes more of them as it trains."""
    variables = model.metrics_variables
    if len(variables) == len(values):
        for variable, value in zip(variables, values, strict=True):
            variable.value.assign(value, read_value=False)
