"""Stream examples: inputs and targets that come in batches, in an order of their own."""

import collections
import dataclasses
import functools
import itertools

import numpy as np

from skkeras._class_weights import balanced, by_output_name, weigh_labels, weigh_outputs
from skkeras._engine.batches import Batches
from skkeras._examples import Table, encode
from skkeras._keras_objects.internals import input_specs
from skkeras._sample_weights import (
    batch_weights,
    check_outputs,
    fitted_weights,
    output_facts,
    weighed_shape,
)
from skkeras._targets.base import MultiOutput, label_counts
from skkeras.data._streams import check_sliceable


class StreamExamples:
    """Examples that come in batches, in an order of their own; the first shows what they are.

    ``check(x, y, reset)`` checks as the estimator does; an epoch has ``n_steps`` batches, None for
    all; ``counts`` are of `count_labels`, where all labels have to be known before training.
    """

    def can_spare(self, least_rows=None):
        """Tell that none are held out unasked."""
        return False

    def __init__(self, stream, check, *, reset=False, n_steps=None, counts=None):
        self.stream, self.given = stream, (stream.source, None)
        self._check, self._n_steps, self._counts = check, n_steps, counts
        x, y, _ = stream.first()
        self.X, self.y = check(x, y, reset=reset)

    @functools.cached_property
    def specs(self):
        """Shape and dtype of the inputs, see `input_specs`."""
        return input_specs(self.X)

    @property
    def targets(self):
        """What the kind of the targets is learnt from."""
        return one_of_each(self._counts, self.y)

    def split(self, split, wanted, target, groups, seed):
        """Raise: rows that come as they like can't be picked."""
        check_sliceable(self.stream, wanted)

    def moments(self, target, rows):
        """Return the moments of the first batch's targets, see `Table.moments`."""
        return Table(self.X, self.y).moments(target, None)

    def class_weights(self, class_weight, target, rows, facts):
        """Return a function ``(y, weight)`` that weighs a batch by its labels as well."""
        if isinstance(target, MultiOutput):
            weigh = {
                name: _weighing(one, target.targets[name], (self._counts or {}).get(name))
                for name, one in by_output_name(class_weight, target).items()
            }
            return functools.partial(weigh_outputs, weigh)
        return _weighing(class_weight, target, self._counts)

    def sources(self, target, facts, parts=None, class_weights=None):
        """Return the batches as a source, weighed and encoded as they are read; see `Table`."""

        def encode_batch(x, y, weight):
            examples = Table(*self._check(x, y, reset=False))
            weight = _batch_weights(weight, examples, facts)
            if class_weights is not None:
                weight = class_weights(examples.y, weight)
            weight = fitted_weights(weight, examples.y, facts)
            return dataclasses.replace(encode(examples, target, facts), weight=weight)

        return Batches(self.stream, encode_batch, self._n_steps), None


def _weighing(class_weight, target, counts):
    """Return a function that weighs a batch; "balanced" by the counts of a pass."""
    class_weight = balanced(counts) if class_weight == "balanced" else class_weight
    return functools.partial(weigh_labels, class_weight, target)


def _batch_weights(weight, examples, facts):
    """Check the weights of a batch, by output if they are."""
    if not isinstance(weight, dict):
        return batch_weights(weight, examples.X, weighed_shape(examples.y, facts))
    check_outputs(weight, examples.y)
    return {
        name: batch_weights(
            weight.get(name), examples.X, weighed_shape(examples.y[name], output_facts(facts, name))
        )
        for name in examples.y
    }


def count_labels(stream, steps=None):
    """Count the labels of a stream in one pass, ``steps`` batches of it (None: all).

    Returns a dict by label, in order, of the number or the sum of weights; by output if there are
    several. None for rows of numbers, such as one-hot labels, of which any batch shows the classes.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data._streams import as_stream
    >>> from skkeras._stream_examples import count_labels
    >>> batches = [(np.zeros((2, 1)), np.array(["b", "a"])), (np.zeros((1, 1)), np.array(["b"]))]
    >>> count_labels(as_stream(lambda: batches))
    {'a': 1, 'b': 2}
    """
    _, y, _ = stream.first()
    counters = {name: collections.Counter() for name, part in _named(y) if _has_labels(part)}
    if not counters:
        return None
    n_batches = 0
    for x, targets, weight in itertools.islice(stream.batches(), steps):
        n_batches += 1
        for name, part in _named(targets):
            if name in counters:
                own = weight.get(name) if isinstance(weight, dict) else weight
                own = batch_weights(own, x, part.shape)
                counters[name].update(label_counts([part], None if own is None else [own]))
    if steps is None:
        stream.n_batches = n_batches
    counts = {name: {k: counter[k] for k in sorted(counter)} for name, counter in counters.items()}
    return counts if isinstance(y, dict) else counts[None]


def one_of_each(counts, y):
    """Return targets to learn the classes of: the counted labels, or else a batch's own."""
    if counts is None:
        return y
    if isinstance(y, dict):
        return {name: one_of_each(counts.get(name), part) for name, part in y.items()}
    labels = np.array([*counts], y.dtype if y.dtype.kind in "biuf" else None)
    # Many labels that come once each would look like numbers to scikit-learn.
    return np.resize(labels.repeat(5), (5 * len(labels), *(() if _is_column(y) else y.shape[1:])))


def _named(y):
    return y.items() if isinstance(y, dict) else [(None, y)]


def _is_column(y):
    return y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)


def _has_labels(y):
    """Tell whether a batch's targets are labels, of which others may come later."""
    if y.dtype.kind == "f" and (y % 1).any():
        return False
    return _is_column(y) or not bool(((y == 0) | (y == 1)).all())
