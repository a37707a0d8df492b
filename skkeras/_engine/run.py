"""Running: in compiled programs where that is possible, by Keras's own loops where it isn't.

What can't be put into a graph (a `train_step` with Python in it, a model that runs eagerly) and
what brings a loop of its own runs as Keras runs it, and is still correct.
"""

import numpy as np

from skkeras._engine import compiled_loop, keras_loop
from skkeras._engine.program import UntraceableError
from skkeras._tree import map_leaves


def train(net, rows, schedule, history, *, compiled, fit_arguments=None, **options):
    """Train a net; see `skkeras._engine.compiled_loop.train` for ``options``.

    ``compiled`` says whether programs may be used: not if a callback wants every batch. With
    ``fit_arguments``, `keras.Model.fit` runs.
    """
    if compiled and not fit_arguments and not net.wants_keras:
        try:
            compiled_loop.train(net, rows, schedule, history, **options)
            return
        except UntraceableError:
            pass
    keras_loop.train(net, rows, schedule, history, **options, **(fit_arguments or {}))


def evaluate(net, rows, batch_size):
    """Return the loss and the metrics of a net over rows, as a dict of floats."""
    if not net.wants_keras:
        try:
            return compiled_loop.evaluate_net(net, rows, batch_size)
        except UntraceableError:
            pass
    return keras_loop.evaluate(net, rows, batch_size)


def predict(net, rows, arguments):
    """Return a net's outputs for rows; ``arguments`` are those of `keras.Model.predict`."""
    stored = rows.in_storage_order
    outputs = _predict(net, stored, arguments)
    if stored is rows:
        return outputs
    return map_leaves(lambda part: _put_back(part, stored.subset), outputs)


def _predict(net, rows, arguments):
    if arguments.keys() <= {"batch_size", "verbose"} and not net.needs_keras_to_predict:
        try:
            return net.predict(rows, arguments.get("batch_size"))
        except UntraceableError:
            pass
    return keras_loop.predict(net, rows, **arguments)


def _put_back(part, order):
    """Put outputs for rows in storage order into the order of the rows that were asked for."""
    outputs = np.empty_like(part)
    outputs[order] = part
    return outputs
