"""Examples: checked inputs and targets, on their way from X and y to the engine.

Three kinds have the same methods: `Table`, `StreamExamples` and the forecaster's `WindowExamples`.
Each is made once, where data come in; it is learnt from, split, weighed and encoded.
"""

import collections
import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
from scipy.sparse import issparse

from skkeras._class_weights import balanced, weigh_indicators, weigh_labels
from skkeras._encoding import blocks, encoded, in_memory, label_counts, spans
from skkeras._engine.batches import Batches
from skkeras._holdout import split_rows
from skkeras._inputs import batch_weights, check_any_weight, n_samples, training_weights
from skkeras._keras_objects.specs import input_specs
from skkeras._tree import map_leaves
from skkeras.data._streams import check_sliceable


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Checked inputs and targets that can be indexed; ``given`` are the user's own."""

    X: Any
    y: Any = None
    sample_weight: Any = None
    given: tuple = (None, None)

    are_gathered = False  # from a smaller array, see `Rows`

    @functools.cached_property
    def specs(self):
        """Shape and dtype of the inputs, see `input_specs`."""
        return input_specs(self.X)

    @property
    def targets(self):
        """What the kind of the targets is learnt from."""
        return self.y

    def shown(self, rows):
        """Return the inputs of some rows (all for None) to a builder that asks for them."""
        return map_leaves(functools.partial(_shown, rows=rows), self.X)

    def split(self, split, wanted, target, groups, seed):
        """Split the row numbers, see `split_rows`; stratified if there are labels."""
        return split_rows(split, n_samples(self.X), target.strata(self.y), groups, seed)

    def weights(self, rows):
        """Return the weights of all examples, relative to those of ``rows``; or None."""
        return training_weights(self.sample_weight, self.X, rows)

    def class_weights(self, class_weight, target, rows):
        """Return a function ``(y, weight)`` that weighs rows by their labels as well."""
        if target.strata(self.y[:1]) is None:
            rows = rows if class_weight == "balanced" else None
            return functools.partial(weigh_indicators, class_weight, rows)
        if class_weight == "balanced":
            class_weight = balanced(self._weight_by_label(target, rows))
        weigh = functools.partial(weigh_labels, class_weight, target)

        def weigh_blocks(y, weight):
            # Weights are in memory, so labels may be, too.
            return encoded(weigh, y) if weight is None else encoded(weigh, in_memory(y), weight)

        return weigh_blocks

    def _weight_by_label(self, target, rows):
        """Sum up the weights of each label, among some rows: one of weight 2 counts twice."""
        parts = [*(spans(self.y.shape[0], 8) if rows is None else blocks(rows))]
        weight = self.weights(rows)
        weights = None if weight is None else (weight[part] for part in parts)
        return label_counts((target.strata(in_memory(self.y[part])) for part in parts), weights)

    def sources(self, encode, parts=None, class_weights=None):
        """Return `Rows` to train on and held-out ones (or None), encoded by ``encode`` and weighed.

        ``parts`` are the rows of each; held-out rows count without class weights, as in Keras.
        """
        rows = encode(self)
        train, held_out = parts or (None, None)
        weight, name = self.weights(train), "sample_weight"
        if class_weights is not None:
            weight, name = (
                class_weights(self.y, weight),
                "sample_weight, together with class_weight,",
            )
        check_any_weight(weight, train, name)
        training = dataclasses.replace(rows, weight=weight)
        if parts is None:
            return training, None
        weight = self.weights(held_out)
        check_any_weight(weight, held_out, "sample_weight", "hold out")
        validation = dataclasses.replace(rows, weight=weight)
        return training.only(train), validation.only(held_out)


def _shown(X, rows):
    X = X if rows is None else X[rows]
    return X.toarray() if issparse(X) else X  # Keras's layers adapt to arrays


class StreamExamples:
    """Examples that come in batches, in an order of their own; the first shows what they are.

    ``check(x, y, reset)`` checks as the estimator does; an epoch has ``n_steps`` batches, None for
    all; ``counts`` are of `count_labels`, where all labels have to be known before training.
    """

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

    def class_weights(self, class_weight, target, rows):
        """Return a function ``(y, weight)`` that weighs a batch by its labels as well."""
        if class_weight == "balanced":
            class_weight = balanced(self._counts)
        return functools.partial(weigh_labels, class_weight, target)

    def sources(self, encode, parts=None, class_weights=None):
        """Return the batches as a source, weighed and encoded as they are read; see `Table`."""

        def encode_batch(x, y, weight):
            examples = Table(*self._check(x, y, reset=False))
            weight = batch_weights(weight, examples.X)
            if class_weights is not None:
                weight = class_weights(examples.y, weight)
            return dataclasses.replace(encode(examples), weight=weight)

        return Batches(self.stream, encode_batch, self._n_steps), None


def count_labels(stream, steps=None):
    """Count the labels of a stream in one pass, ``steps`` batches of it (None: all).

    Returns a dict by label, in order, of the number or the sum of weights; by output if there are
    several. None for rows of numbers, such as one-hot labels, of which any batch shows the classes.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data._streams import as_stream
    >>> from skkeras._examples import count_labels
    >>> batches = [(np.zeros((2, 1)), np.array(["b", "a"])), (np.zeros((1, 1)), np.array(["b"]))]
    >>> count_labels(as_stream(lambda: batches))
    {'a': 1, 'b': 2}
    """
    _, y, _ = stream.first()
    counters = {name: collections.Counter() for name, part in _named(y) if _is_column(part)}
    if not counters:
        return None
    n_batches = 0
    for x, targets, weight in itertools.islice(stream.batches(), steps):
        n_batches += 1
        weight = batch_weights(weight, x)
        for name, part in _named(targets):
            if name in counters:
                counters[name].update(label_counts([part], weight if weight is None else [weight]))
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
    # Many labels that come once each would look like numbers to scikit-learn.
    return np.repeat(np.array([*counts], y.dtype if y.dtype.kind in "biuf" else None), 5)


def _named(y):
    return y.items() if isinstance(y, dict) else [(None, y)]


def _is_column(y):
    return y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)
