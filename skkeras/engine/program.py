"""Programs: training and prediction compiled into TensorFlow functions, once per architecture.

A program owns a *worker*, a net of its own that nobody else sees. To train a user's net, its
variables' values are loaded into the worker, whole runs of steps are executed inside one
`tf.function`, and the values are read back. So one traced graph serves every net of the same
architecture, and what a fit leaves behind in a worker can't reach another one.
"""

import contextlib
import functools
import threading

import numpy as np

from skkeras.engine.rows import map_leaves

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

    def spec(array):
        dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
        return tf.TensorSpec((None, *array.shape[1:]), dtype)

    return map_leaves(spec, batch)


class Program:
    """The compiled training functions of one architecture, and the net they run on.

    Parameters
    ----------
    worker : keras.Model
        Built and compiled, with a built optimizer. It belongs to the program from here on.
    example : tuple
        A batch ``(x,)``, ``(x, y)`` or ``(x, y, weight)``; only shapes and dtypes matter.
    """

    def __init__(self, worker, example):
        import tensorflow as tf

        self.worker = worker
        self.specs = batch_specs(example)
        self.seconds_per_step = {}  # by what runs and the batch size, as measured lately
        self.log_names = None
        self._train = tf.function(
            self._train_span,
            autograph=False,  # nothing to convert, and looking for it costs a tenth of a second
            input_signature=[
                self.specs,
                tf.TensorSpec((None,), tf.int32),
                tf.TensorSpec((None,), tf.int32),
                tf.TensorSpec((None,), tf.bool),
            ],
        )
        self._train.get_concrete_function()
        self._tests = {}

    @property
    def variables(self):
        """The variables which a fit starts from and changes: the net's, then the optimizer's."""
        optimizer = self.worker.optimizer
        return [*self.worker.variables, *(optimizer.variables if optimizer is not None else ())]

    def load(self, values):
        """Set the worker's variables; ``values`` are arrays in the order of `variables`."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.value.assign(value, read_value=False)

    def dump(self):
        """Return the values of the worker's variables as tensors that later steps don't change."""
        import tensorflow as tf

        return [tf.identity(variable.value) for variable in self.variables]

    def train(self, batch, batch_rows, segment_steps, starts_epoch):
        """Run steps over rows which lie in training order.

        Parameters
        ----------
        batch : tuple of arrays
            The rows of all the steps, in order.
        batch_rows : int array of shape (n_steps,)
            How many rows each step takes.
        segment_steps : int array of shape (n_segments,)
            How many steps each segment has; a segment is an epoch or a part of one.
        starts_epoch : bool array of shape (n_segments,)
            Where metrics start from zero.

        Returns
        -------
        logs : list of dict
            The metrics at the end of every segment.
        finite : bool array of shape (n_segments,)
            Whether all weights and logs were finite there.
        """
        values, finite = self._train(
            batch,
            np.asarray(batch_rows, "int32"),
            np.asarray(segment_steps, "int32"),
            np.asarray(starts_epoch, bool),
        )
        values = values.numpy()
        logs = [dict(zip(self.log_names, map(float, row), strict=True)) for row in values]
        return logs, finite.numpy()

    def test(self, batch, batch_rows, first, last):
        """Evaluate rows in batches; ``first`` resets the metrics, ``last`` returns them."""
        test = self.trace_test(batch)
        if first:
            self.worker.reset_metrics()
        names, values = test(batch, np.asarray(batch_rows, "int32"))
        if not last:
            return None
        names = [name.decode() for name in names.numpy()]
        return dict(zip(names, map(float, values.numpy()), strict=True))

    def trace_test(self, example):
        """Compile the evaluation of batches like ``example``, unless it is, and return it."""
        import tensorflow as tf

        kind = len(example)
        if kind not in self._tests:
            signature = [batch_specs(example), tf.TensorSpec((None,), tf.int32)]
            test = tf.function(self._test_span, autograph=False, input_signature=signature)
            with tracing():
                test.get_concrete_function()
            self._tests[kind] = test
        return self._tests[kind]

    def _train_span(self, batch, batch_rows, segment_steps, starts_epoch):
        import tensorflow as tf

        step, log_keys, from_metrics = self._step(self.worker.train_step, self.specs)
        self.log_names = log_keys
        n_segments = tf.shape(segment_steps)[0]

        def run_step(i, row, _):
            rows = tf.nest.map_structure(lambda t: t[row : row + batch_rows[i]], batch)
            logs = step(rows)
            return i + 1, row + batch_rows[i], _stack(logs, log_keys)

        def run_segment(k, i, row, values, finite):
            tf.cond(starts_epoch[k], lambda: _grouped(self.worker.reset_metrics), tf.no_op)
            last = i + segment_steps[k]
            i, row, logs = tf.while_loop(
                lambda i, row, logs: i < last,
                run_step,
                (i, row, tf.zeros((len(log_keys),), tf.float64)),
                maximum_iterations=segment_steps[k],
            )
            if from_metrics:
                logs = _stack(self.worker.get_metrics_result(), log_keys)
            checks = [tf.reduce_all(tf.math.is_finite(logs))]
            checks += [
                tf.reduce_all(tf.math.is_finite(v.value))
                for v in self.worker.weights  # moving statistics, too
                if v.value.dtype.is_floating
            ]
            return (
                k + 1,
                i,
                row,
                values.write(k, logs),
                finite.write(k, tf.reduce_all(tf.stack(checks))),
            )

        _, _, _, values, finite = tf.while_loop(
            lambda k, *_: k < n_segments,
            run_segment,
            (
                0,
                0,
                0,
                tf.TensorArray(tf.float64, n_segments, element_shape=(len(log_keys),)),
                tf.TensorArray(tf.bool, n_segments, element_shape=()),
            ),
        )
        return values.stack(), finite.stack()

    def _test_span(self, batch, batch_rows):
        import tensorflow as tf

        specs = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), batch)
        step, log_keys, from_metrics = self._step(self.worker.test_step, specs)

        def run_step(i, row, _):
            rows = tf.nest.map_structure(lambda t: t[row : row + batch_rows[i]], batch)
            logs = step(rows)
            return i + 1, row + batch_rows[i], _stack(logs, log_keys)

        n_steps = tf.shape(batch_rows)[0]
        start = (0, 0, tf.zeros((len(log_keys),), tf.float64))
        _, _, logs = tf.while_loop(lambda i, row, logs: i < n_steps, run_step, start)
        if from_metrics:
            logs = _stack(self.worker.get_metrics_result(), log_keys)
        return tf.constant(log_keys), logs

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
        return step, list(_flat(logs)), set(metrics) == set(logs)


class Predictor:
    """A compiled forward pass that takes the weights as an argument.

    It changes nothing, so any number of threads may use it, for any net of its architecture.

    Parameters
    ----------
    model : keras.Model
        Built; only its structure matters.
    x : array or structure of arrays
        Rows as they will come; only shapes and dtypes matter.
    """

    def __init__(self, model, x):
        import keras
        import tensorflow as tf

        variables = model.variables

        @functools.partial(tf.function, autograph=False)
        def forward(values, rows):
            state = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=state):
                return model(rows, training=False)

        def forward_blocks(values, x, block):
            n_rows = tf.shape(tf.nest.flatten(x)[0])[0]
            n_blocks = (n_rows + block - 1) // block
            forward_one = forward.get_concrete_function(value_specs, x_specs)
            outputs = tf.nest.map_structure(
                lambda out: tf.TensorArray(
                    out.dtype, n_blocks, infer_shape=False, element_shape=out.shape
                ),
                forward_one.structured_outputs,
            )

            def body(i, outputs):
                rows = tf.nest.map_structure(lambda t: t[i * block : (i + 1) * block], x)
                results = forward(values, rows)
                return i + 1, tf.nest.map_structure(lambda a, r: a.write(i, r), outputs, results)

            _, outputs = tf.while_loop(lambda i, _: i < n_blocks, body, (0, outputs))
            return tf.nest.map_structure(lambda a: a.concat(), outputs)

        value_specs = [tf.TensorSpec(v.shape, v.value.dtype) for v in variables]
        x_specs = batch_specs(x)
        self._forward = tf.function(
            forward_blocks,
            autograph=False,
            input_signature=[value_specs, x_specs, tf.TensorSpec((), tf.int32)],
        )
        self._forward.get_concrete_function()

    def predict(self, values, x, block):
        """Return the net's outputs for rows, ``block`` rows at a time.

        Parameters
        ----------
        values : list of tensors or arrays
            The net's variables.
        x : array or structure of arrays
            The rows, cast to the net's input dtypes.
        block : int
            Rows in a block.

        Returns
        -------
        outputs : ndarray or structure of ndarrays
        """
        return map_leaves(lambda out: out.numpy(), self._forward(values, x, np.int32(block)))


def _stack(logs, names):
    import tensorflow as tf

    logs = _flat(logs)
    # As Python's floats, so that a float64 net's logs lose nothing.
    return tf.stack([tf.cast(tf.reshape(logs[name], ()), tf.float64) for name in names])


def _flat(logs):
    """Put the results of metrics that have several, a dict, among the others, as Keras does."""
    flat = {}
    for name, value in logs.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


def _grouped(function):
    """Call a function that assigns variables, as a branch of `tf.cond`."""
    import tensorflow as tf

    function()
    return tf.no_op()
