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

from skkeras._class_weights import (
    balanced,
    balanced_indicators,
    by_output_name,
    weigh_indicators,
    weigh_labels,
    weigh_outputs,
)
from skkeras._engine.batches import Batches
from skkeras._engine.rows import Rows
from skkeras._holdout import AUTO_ROWS, split_rows
from skkeras._inputs import (
    batch_weights,
    by_name,
    check_any_weight,
    input_specs,
    leaves,
    map_leaves,
    n_samples,
    training_weights,
    with_axes,
)
from skkeras._targets.base import MultiOutput, blocks, encoded, in_memory, label_counts, spans
from skkeras._targets.regression import moments
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

    @property
    def can_spare(self):
        """Whether it is a table of so many rows that some may be held out unasked."""
        return np.ndim(self.X) == 2 and n_samples(self.X) >= AUTO_ROWS

    def split(self, split, wanted, target, groups, seed):
        """Split the row numbers, see `split_rows`; stratified if there are labels."""
        return split_rows(split, n_samples(self.X), target.strata(self.y), groups, seed)

    def moments(self, target, rows):
        """Return the moments of the targets of some rows (None: all); by output; None of classes.

        See `skkeras._targets.regression.moments`.
        """
        if isinstance(target, MultiOutput):
            every = {n: self._output(n).moments(one, rows) for n, one in target.targets.items()}
            return {name: one for name, one in every.items() if one is not None} or None
        if target.classes is not None:
            return None
        weight = None if self.sample_weight is None else np.asarray(self.sample_weight)
        if weight is not None and weight.shape != self.y.shape[:1]:
            weight = None  # of positions, or unfit, as is told later
        if rows is None:
            return moments(self.y, weight)
        return moments(self.y[rows], None if weight is None else weight[rows])

    def weights(self, rows, facts):
        """Return the weights of all examples, relative to those of ``rows``; or None.

        By output if they are given so, and (n_samples, ...) if positions have weights.
        """
        given = by_name(self.sample_weight)
        if not isinstance(given, dict):
            return training_weights(given, self.X, rows, weighed_shape(self.y, facts))
        check_outputs(given, self.y)
        return {name: self._output(name).weights(rows, _output(facts, name)) for name in self.y}

    def _output(self, name):
        weight = by_name(self.sample_weight)
        weight = weight.get(name) if isinstance(weight, dict) else weight
        return Table(self.X, self.y[name], weight)

    def class_weights(self, class_weight, target, rows, facts):
        """Return a function ``(y, weight)`` that weighs rows by their labels as well."""
        if isinstance(target, MultiOutput):
            weigh = {
                name: self._output(name).class_weights(
                    one, target.targets[name], rows, _output(facts, name)
                )
                for name, one in by_output_name(class_weight, target).items()
            }
            return functools.partial(weigh_outputs, weigh)
        if target.labels(self.y[:1]) is None:
            if class_weight == "balanced":
                class_weight = balanced_indicators(self.y, rows)
            return functools.partial(weigh_indicators, class_weight)
        if class_weight == "balanced":
            class_weight = balanced(self._weight_by_label(target, rows, facts))
        weigh = functools.partial(weigh_labels, class_weight, target)

        def weigh_blocks(y, weight):
            # Weights are in memory, so labels may be, too.
            return encoded(weigh, y) if weight is None else encoded(weigh, in_memory(y), weight)

        return weigh_blocks

    def _weight_by_label(self, target, rows, facts):
        """Sum up the weights of each label, among some rows: one of weight 2 counts twice."""
        parts = [*(spans(self.y.shape[0], 8) if rows is None else blocks(rows))]
        weight = self.weights(rows, facts)
        weights = None if weight is None else (np.asarray(weight[part]) for part in parts)
        return label_counts((target.labels(in_memory(self.y[part])) for part in parts), weights)

    def sources(self, target, facts, parts=None, class_weights=None):
        """Return `Rows` to train on and held-out ones (or None), encoded and weighed.

        ``parts`` are the rows of each. Class weights are those of the rows to train on, and weigh
        the others, too: what is watched is the loss that is trained, on other rows.
        """
        rows = encode(self, target, facts)
        train, held_out = parts or (None, None)
        training = self._weighed(rows, facts, train, class_weights)
        if parts is None:
            return training, None
        validation = self._weighed(rows, facts, held_out, class_weights, "hold out")
        return training.only(train), validation.only(held_out)

    def _weighed(self, source, facts, rows, class_weights, use="train on"):
        weight, name = self.weights(rows, facts), "sample_weight"
        if class_weights is not None:
            weight, name = (
                class_weights(self.y, weight),
                "sample_weight, together with class_weight,",
            )
        for one in leaves(weight):
            check_any_weight(one, rows, name, use)
        return dataclasses.replace(source, weight=fitted_weights(weight, self.y, facts))


def _shown(X, rows):
    X = X if rows is None else X[rows]
    return X.toarray() if issparse(X) else X  # Keras's layers adapt to arrays


class StreamExamples:
    """Examples that come in batches, in an order of their own; the first shows what they are.

    ``check(x, y, reset)`` checks as the estimator does; an epoch has ``n_steps`` batches, None for
    all; ``counts`` are of `count_labels`, where all labels have to be known before training.
    """

    can_spare = False

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
            weight.get(name), examples.X, weighed_shape(examples.y[name], _output(facts, name))
        )
        for name in examples.y
    }


def check_outputs(weight, y):
    """Raise unless weights by name are those of outputs."""
    if not isinstance(y, dict) or not set(weight) <= set(y):
        outputs = [*y] if isinstance(y, dict) else "one output"
        raise ValueError(
            f"sample_weight has the keys {[*weight]}, and y has {outputs}; expected one array, or "
            "a dict of them by the outputs' names."
        )


def _output(facts, name):
    """Return the facts of one output."""
    return dataclasses.replace(facts, output_shape=facts.output_shape[name], loss=facts.loss[name])


def weighed_shape(y, facts):
    """Return the axes of y, samples first, at which a loss has values of their own."""
    return () if isinstance(y, dict) else y.shape[: _n_axes(facts.output_shape, facts.loss)]


def _n_axes(output_shape, loss):
    # Keras's losses go over the last axis.
    return max(1, len(output_shape) if loss.n_value_axes is None else loss.n_value_axes)


def fitted_weights(weight, y, facts):
    """Give weights as many axes as the values of the loss have, for Keras to multiply them."""
    if weight is None:
        return None
    if not isinstance(facts.output_shape, dict):
        return _with_axes(weight, _n_axes(facts.output_shape, facts.loss))
    n_axes = {name: _n_axes(facts.output_shape[name], facts.loss[name]) for name in y}
    if not isinstance(weight, dict) and {*n_axes.values()} == {1}:
        return weight
    ones = np.ones(n_samples(y))
    weights = weight if isinstance(weight, dict) else dict.fromkeys(y, weight)
    # Keras wants a weight for every output.
    fitted = {
        name: _with_axes(ones if weights.get(name) is None else weights[name], n_axes[name])
        for name in facts.output_shape
    }
    return tuple(fitted.values()) if facts.lists_outputs else fitted


def _with_axes(weight, n_axes):
    if len(weight.shape) > n_axes:
        raise ValueError(
            f"Weights have shape {weight.shape}, and the loss has one value for {n_axes} of these "
            "axes; expected a weight for each of its values. Let the net's outputs have a last "
            "axis for the classes, of length 1 where one unit tells."
        )
    if len(weight.shape) == n_axes:
        return weight
    return encoded(functools.partial(with_axes, ndim=n_axes), weight)


def encode(examples, target, facts):
    """Put examples into the form that a net of these `NetFacts` takes, as `Rows` without weights.

    Raises ValueError if they are of other shapes or dtypes than in training.
    """
    if examples.specs != facts.x_specs:
        raise ValueError(
            f"X has rows of shape and dtype {examples.specs}; expected {facts.x_specs}, as in "
            "training."
        )
    inputs = {"x_dtypes": facts.x_dtypes, "are_gathered": examples.are_gathered}
    if examples.y is None:
        return Rows(examples.X, **inputs)
    y = target.encode(examples.y, facts.output_shape, facts.loss)
    y_dtypes = map_leaves(lambda leaf: "int32" if leaf.dtype == np.int32 else facts.float_dtype, y)
    return Rows(examples.X, y, **inputs, y_dtypes=y_dtypes, weight_dtype=facts.float_dtype)


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
