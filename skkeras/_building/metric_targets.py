"""Targets that metrics read: class numbers, or one-hot rows.

Keras's metrics get what the loss gets. From class numbers most of them compute something else, or
nothing: ``"categorical_accuracy"`` compares the number of a row with a class.
"""

import inspect

import numpy as np

from skkeras._keras_objects.copying import Copies
from skkeras._keras_objects.internals import is_keras, make_apart
from skkeras._losses import CATEGORICAL_LOSSES, ROW_LOSSES, loss_name
from skkeras._params import describe, members_of
from skkeras.exceptions import BuilderError

# Names for which Keras chooses a metric by the shapes of targets and outputs.
_DEFERRED = {"accuracy", "acc", "crossentropy", "ce"}
# Classes that say nothing of what a subclass or a function in them reads.
_GENERAL = {"metric", "mean", "sum", "mean_metric_wrapper"}
# Metrics over all units of a row together: of one unit they tell nothing.
_ROW_METRICS = CATEGORICAL_LOSSES | ROW_LOSSES
_ROW_METRICS |= {f"{kind}categorical_accuracy" for kind in ("", "sparse_", "top_k_")}
_ROW_METRICS |= {"sparse_top_k_categorical_accuracy", "one_hot_io_u", "one_hot_mean_io_u"}
_F_SCORES = {"f1score", "f1_score", "f_beta_score"}


def reads_any(metrics):
    """Tell whether metrics, as users give them, are chosen by what they get, or there are none."""
    return all(map(_is_deferred, (metric for _, metric in members_of(metrics))))


def outputs_read_as_rows(make, n_classes):
    """Return the names of the outputs of which a metric reads one-hot rows.

    ``make()`` makes the metrics; ``n_classes`` is by name, None for the only output.
    """

    def names():
        made = make()
        return {name for name, n in n_classes.items() if n and any_reads_rows(made, name, n)}

    def any_reads_rows(made, name, n):
        metrics = (metric for part in made for metric in _of_output(part, name))
        return any(_reads(metric, n) == "rows" for metric in metrics)

    return make_apart(names, seed=0)  # apart, so that names of metrics made later stay the same


def check_metrics(given, target, loss, shape):
    """Raise BuilderError if a metric of a compiled net reads other targets than it gets.

    ``given`` are its metrics and weighted metrics; ``target``, ``loss`` and ``shape`` of the
    outputs are dicts by name if there are several.
    """
    outputs = shape if isinstance(shape, dict) else {None: shape}
    for position, name in enumerate(outputs):
        one = [part if name is None else part[name] for part in (target, shape, loss)]
        for metric in (m for part in given for m in _of_output(part, name, position, len(outputs))):
            if not _is_deferred(metric):
                make_apart(lambda metric=metric, one=one: _check(metric, *one), seed=0)


def _is_deferred(metric):
    return metric is None or (isinstance(metric, str) and metric.lower() in _DEFERRED)


def _of_output(metrics, name, position=None, n_outputs=None):
    """List the metrics of an output, among those that Keras's ``compile`` takes."""
    if name is not None and isinstance(metrics, dict):
        metrics = metrics.get(name)
    elif position is not None and isinstance(metrics, list | tuple) and len(metrics) == n_outputs:
        metrics = metrics[position] if n_outputs > 1 else metrics
    return [metric for _, metric in members_of(metrics) if metric is not None]


def _check(metric, target, shape, loss):
    if loss.y_shape is not None:  # a loss of the user's decides what it and the metrics get
        return
    kind = target.metric_targets(shape, loss)
    if kind is None:
        return
    if kind == "column":
        _check_one_unit(metric)
        return
    if getattr(metric, "sparse_y_pred", False) and hasattr(metric, "sparse_y_true"):
        raise BuilderError(
            f"metrics has {_said(metric)}, which reads a class number as the net's output, and the "
            f"net puts out {shape[-1]} units; expected sparse_y_pred=False."
        )
    if _keras_name(metric) == "accuracy":
        raise BuilderError(
            f"metrics has {_said(metric)}, which compares labels with the net's outputs one to "
            "one; expected a metric of probabilities. Set metrics=['accuracy']."
        )
    reads = _reads(metric, shape[-1])
    if reads == "rows" and kind == "numbers":
        raise BuilderError(
            f"metrics has {_said(metric)}, which reads one-hot rows, and with loss={loss.name!r} "
            f"it gets class numbers; expected metrics that read those. {_way_to_rows(loss)}"
        )
    if reads == "numbers" and kind == "rows":
        raise BuilderError(
            f"metrics has {_said(metric)}, which reads class numbers, and with loss={loss.name!r} "
            "it gets one-hot rows; expected metrics that read those. Take the one without 'sparse' "
            "in its name, or loss='sparse_categorical_crossentropy' without metrics of one-hot "
            "rows."
        )


def _way_to_rows(loss):
    if loss.is_builtin and loss.name is not None:
        return (
            "Set loss='categorical_crossentropy', for which labels become one-hot rows: y stays "
            "as it is."
        )
    return (
        "Give y as one-hot rows (sklearn.preprocessing.LabelBinarizer().fit_transform(y)), which "
        "the loss gets, too."
    )


def _check_one_unit(metric):
    name = _keras_name(metric)
    if name in _ROW_METRICS:
        raise BuilderError(
            f"metrics has {_said(metric)}, which compares the units of a row, and the net has one; "
            "expected a metric of one unit. Set metrics=['accuracy'], or a binary one such as "
            "'binary_crossentropy' or keras.metrics.AUC()."
        )
    if name in _F_SCORES and getattr(_resolved(metric), "threshold", None) is None:
        raise BuilderError(
            f"metrics has {_said(metric)} without threshold, which takes the largest unit of a "
            "row, and the net has one; expected a threshold. Set threshold=0.5 in it, or "
            "metrics__threshold=0.5."
        )


def _said(metric):
    return repr(metric) if isinstance(metric, str) else describe(metric)


def _reads(metric, n_classes):
    """Tell what a metric reads: "numbers" of classes, one-hot "rows", or None for either."""
    if _is_deferred(metric):
        return None
    metric, name = _resolved(metric), _keras_name(metric)
    if name is None:
        return _reads_when_tried(metric, n_classes)
    if hasattr(metric, "sparse_y_true"):
        return "numbers" if metric.sparse_y_true else "rows"
    return "numbers" if name.startswith("sparse_") else "rows"


def _resolved(metric):
    """Return the object that a name stands for, or an instance of a class."""
    import keras

    if isinstance(metric, str):
        try:
            metric = keras.metrics.get(metric)
        except ValueError:  # Keras says so itself
            return None
    return metric() if inspect.isclass(metric) else metric


def _keras_name(metric):
    """Name a metric of Keras's as a function is named; None for what users have written."""
    import keras

    metric = _resolved(metric)
    if isinstance(metric, keras.metrics.Metric):
        if not is_keras(type(metric).update_state):
            return None
        cls = next(filter(is_keras, type(metric).__mro__))
        if loss_name(cls) not in _GENERAL:
            return loss_name(cls)
        # A wrapper of a function.
        metric = next((part for part in vars(metric).values() if callable(part)), None)
    if isinstance(metric, keras.losses.Loss):
        return loss_name(metric) if is_keras(type(metric)) else None
    return loss_name(metric) if metric is not None and is_keras(metric) else None


def _reads_when_tried(metric, n_classes):
    """Try a metric of the user's on both kinds of targets; None where that doesn't tell.

    A metric that reads the other kind fails, or depends on the order of the rows.
    """
    with_numbers, with_rows = (_tries(metric, n_classes, as_rows) for as_rows in (False, True))
    if with_numbers == with_rows:
        return None
    return "numbers" if with_numbers else "rows"


def _tries(metric, n_classes, as_rows):
    # The last class comes once, at first in row 0 and then in row 1: to `argmax` over class
    # numbers it is class 0, and then 1, which are predicted 4 times and twice.
    predicted = np.array([n_classes - 1, 0, 0, 0, 0, 1, 1, *range(2, n_classes)])
    true = np.array([n_classes - 1] + [i % (n_classes - 1) for i in range(len(predicted) - 1)])
    outputs = np.full((len(predicted), n_classes), 0.1 / n_classes, "float32")
    outputs[np.arange(len(predicted)), predicted] += 0.9
    targets = np.eye(n_classes, dtype="float32")[true] if as_rows else true.astype("int32")
    try:
        values = [_value(metric, np.roll(targets, i, 0), np.roll(outputs, i, 0)) for i in (0, 1)]
    except Exception:
        return False
    return bool(np.allclose(*values, rtol=1e-3, equal_nan=True))


def _value(metric, targets, outputs):
    import keras

    targets, outputs = map(keras.ops.convert_to_tensor, (targets, outputs))
    if not isinstance(metric, keras.metrics.Metric):
        return np.mean(metric(targets, outputs))
    metric = Copies().instance(metric, {}, "metrics")
    metric.update_state(targets, outputs)
    return np.asarray(metric.result())
