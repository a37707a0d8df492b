"""Programs that train small nets with fewer operations: one flat vector holds all that is trained.

A step of Keras's optimizers takes a dozen operations for every variable, most of a small net's
graph. Where each element is updated by itself, whatever it belongs to, Keras's own optimizer may as
well update a single variable that holds all of them: the same bits for a third fewer operations.
"""

import math

import numpy as np

from skkeras._engine.program import (
    FlatLayout,
    FlatValues,
    Program,
    build_metrics,
    flat_logs,
    tracing,
)
from skkeras._engine.rows import leaves
from skkeras._keras_objects.internals import make_apart, sublayers

# Keras's optimizers that give the same bits for a flat variable. RMSprop, Adagrad and Adadelta are
# off by some 3e-8: TensorFlow rounds the last elements of a vector otherwise.
_ELEMENTWISE = ("Adam", "Adamax", "Ftrl", "Lion", "Nadam", "SGD")
# Layers of Keras that the tests have found to give the same bits. Batch normalization is off by
# some 1e-8: TensorFlow's graph optimiser puts its sums into another order.
_LAYERS = (
    *("Activation", "Add", "AveragePooling1D", "AveragePooling2D", "Bidirectional", "Concatenate"),
    *("Conv1D", "Conv2D", "Dense", "Dropout", "Flatten", "GRU", "GRUCell", "GaussianNoise"),
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "InputLayer"),
    *("LSTM", "LSTMCell", "LeakyReLU", "MaxPooling1D", "MaxPooling2D", "Normalization", "Permute"),
    *("ReLU", "Rescaling", "Reshape", "SimpleRNN", "SimpleRNNCell", "Softmax", "Subtract"),
)
# Above so many trained numbers, putting them together takes longer than it saves.
_MAX_TRAINED = 2**16
# Settings of an optimizer by which an element's update depends on others, or on the variable.
_NOT_ELEMENTWISE = (
    *("clipnorm", "global_clipnorm", "weight_decay", "use_ema"),
    *("gradient_accumulation_steps", "loss_scale_factor"),
)
# Methods of `keras.Model` that `FlatProgram` calls in its own order, or not at all.
_OF_A_STEP = ("train_step", "compute_loss", "compute_metrics", "get_metrics_result", "metrics")


class NotFlatError(Exception):
    """A net's step, as it shows while it is traced, isn't one for a flat variable."""


def is_flat(model):
    """Tell whether a flat program can train a compiled model with the bits of Keras's own step."""
    import keras

    optimizer, trained = model.optimizer, model.trainable_variables
    if type(optimizer) not in [getattr(keras.optimizers, name) for name in _ELEMENTWISE]:
        return False
    settings = optimizer.get_config()
    known = [getattr(keras.layers, name) for name in _LAYERS]
    return (
        len({v.dtype for v in trained}) == 1
        and _n_numbers(trained) <= _MAX_TRAINED
        and not any(settings.get(name) for name in _NOT_ELEMENTWISE)
        and not any(v.constraint is not None or v.overwrite_with_gradient for v in trained)
        and all(getattr(type(model), name) is getattr(keras.Model, name) for name in _OF_A_STEP)
        and all(
            type(layer) in known or isinstance(layer, keras.Model) or _is_own(layer)
            for layer in sublayers(model)
        )
    )


def _is_own(layer):
    """Tell whether a layer is this library's; they leave each element to itself."""
    return type(layer).__module__.partition(".")[0] == "skkeras"


class FlatProgram(Program):
    """Program for a model that `is_flat`; see `Program` for what it does.

    Its worker lends structure and untrained state; the optimizer of the worker is never built.
    Raises NotFlatError if gradients are lacking, or a variable of somebody else changes.
    """

    def __init__(self, worker, example):
        self.worker = worker
        self._trained = worker.trainable_variables
        self._untrained = worker.non_trainable_variables
        self._vector, self._optimizer, starts_at_zero = make_apart(self._make_flat, seed=0)
        slots = _slots(worker.optimizer, len(self._trained), self._optimizer)
        self._layout = FlatLayout(worker.variables, self._trained, self._untrained, slots)
        # Only now: who holds the lock of tracing must not wait for the making of another net.
        with tracing():
            x, y, *_ = example
            build_metrics(worker, x, y, worker(x, training=False))
            super().__init__(worker, example)
        self.state_starts_at_zero = starts_at_zero

    @property
    def variables(self):
        """All variables that it trains with."""
        return [self._vector, *self._untrained, *self._optimizer.variables]

    def load(self, values):
        """Set its variables to the values of a net's; see `Program.load`."""
        for variable, value in zip(self.variables, self._layout.flattened(values), strict=True):
            value = np.zeros(variable.shape, variable.dtype) if value is None else value
            _assign(variable, value)

    def dump(self):
        """Return the values of a net's variables, in their order, that later steps don't change."""
        return FlatValues(self._layout, [variable.value.value() for variable in self.variables])

    def _make_flat(self):
        """Make the vector, its optimizer, and tell whether the state of that starts at zero."""
        import keras

        # On ones, so that a state which starts from the weights shows.
        vector = keras.Variable(np.ones(_n_numbers(self._trained)), dtype=self._trained[0].dtype)
        optimizer = _unbuilt(self.worker.optimizer)
        n_before = len(optimizer.variables)
        optimizer.build([vector])
        added = optimizer.variables[n_before:]
        return vector, optimizer, not any(np.any(v.numpy()) for v in added)

    def _train_step(self):
        import keras
        import tensorflow as tf

        model = self.worker
        known = {id(v) for v in (*model.variables, *model.metrics_variables)}
        loss_tracker = next(metric for metric in model.metrics if metric.name == "loss")
        changing = [*self._untrained, *model.metrics_variables]

        def step(batch):
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            parts = self._parts()
            state = list(zip(self._trained, parts, strict=True))
            with keras.StatelessScope(state_mapping=state, collect_losses=True) as scope:
                with tf.GradientTape() as tape:
                    tape.watch(parts)
                    y_pred = model(x, training=True)
                    loss = model.compute_loss(x, y, y_pred, weight, training=True)
                loss_tracker.update_state(loss, sample_weight=tf.shape(leaves(x)[0])[0])
                if len(model.metrics) > 1:
                    model.compute_metrics(x, y, y_pred, weight)
                if not known.issuperset(scope.state_mapping):
                    raise NotFlatError("A variable that isn't the net's changes.")
                after = [scope.get_current_value(variable) for variable in changing]
            gradients = tape.gradient(loss, parts)
            if not all(isinstance(gradient, tf.Tensor) for gradient in gradients):
                raise NotFlatError("There is no gradient.")
            for variable, value in zip(changing, after, strict=True):
                if value is not None:
                    _assign(variable, value)
            vector = tf.concat([tf.reshape(one, [-1]) for one in gradients], 0)
            # Without a replica context nothing is reduced over replicas; see `Program._step`.
            context = tf.distribute.get_replica_context()
            context.merge_call(lambda _, v: self._optimizer.apply([v], [self._vector]), (vector,))

        return step, list(flat_logs(model.get_metrics_result())), True

    def _weights(self):
        return [self._vector, *self._untrained]

    def _test_span(self, batch, batch_rows):
        for variable, value in zip(self._trained, self._parts(), strict=True):
            _assign(variable, value)
        return super()._test_span(batch, batch_rows)

    def _parts(self):
        """Return the values of the trained variables, as parts of the vector."""
        return self._layout.cut(self._vector.value)


def _n_numbers(variables):
    return sum(math.prod(variable.shape) for variable in variables)


def _unbuilt(optimizer):
    """Copy an optimizer of Keras's own, without its state."""
    return type(optimizer).from_config(optimizer.get_config())


def _assign(variable, value):
    variable.value.assign(value, read_value=False)


_known_slots: dict = {}


def _slots(optimizer, n_trained, flat):
    """Return where each variable of a flat optimizer has its parts in the state of the model's.

    That of the model isn't built, which takes longer than a short training. Another one is, once,
    on vectors that tell by their lengths whose slots are whose.
    """
    key = type(optimizer), n_trained, *(len(variable.shape) for variable in flat.variables)
    if key not in _known_slots:
        _known_slots[key] = make_apart(lambda: _probed(optimizer, n_trained, flat), seed=0)
    return _known_slots[key]


def _probed(optimizer, n_trained, flat):
    import keras

    probe = _unbuilt(optimizer)
    probe.build([keras.Variable(np.ones(1 + i)) for i in range(n_trained)])
    places = [
        [i for i, v in enumerate(probe.variables) if v.shape == (1 + n,)] for n in range(n_trained)
    ]
    scalars = (i for i, v in enumerate(probe.variables) if not len(v.shape))
    slots = map(list, zip(*places, strict=True))
    return [next(slots if len(variable.shape) else scalars) for variable in flat.variables]
