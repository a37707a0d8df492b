"""Base of targets: what all kinds of y share, several outputs, and the encoding of rows.

A target learns from y once, encodes any y of its kind for Keras, and decodes the net's outputs
into predictions as scikit-learn expects. Output shapes are without the first axis.

Small targets are encoded at once. Many rows are validated block by block, and encoded when a batch
of them is taken; lazy arrays when they are read. So training takes no more memory for more rows.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools

import numpy as np

from skkeras._losses import LossFacts
from skkeras._own_losses import count_axes, with_y_shape
from skkeras._pickling import PickledByName
from skkeras.data._arrays import LazyArray
from skkeras.data._named import NamedOutputs


class Target(PickledByName):
    """Base class of the targets of one output: rows are encoded at once, or when they are taken."""

    takes_any_shape = True  # if the loss does
    others = ()  # other readings of the same y, for nets with other outputs

    def reading(self, output_shape):
        """Return the target that y is for a net with such outputs; itself where none fits."""
        fitting = (target for target in self.others if target.has_shape(output_shape))
        return self if self.has_shape(output_shape) else next(fitting, self)

    def encode(self, y, output_shape, loss):
        """Encode targets for the loss, with the shape and dtype of `encode_rows`.

        Raises ValueError if they are of another kind than in the first fit, or unfit for the loss.
        """
        y = as_array(y)
        self.check(y, loss)
        encode = functools.partial(self.encode_rows, output_shape=output_shape, loss=loss)
        return encoded(encode, y)

    def ending(self, loss):
        """Name the activation of the output layer that a builder is asked for."""
        return self.output_activation

    def strata(self, y):
        """Class of each sample, to stratify splits by; None where it has none or several."""
        return None

    def metric_targets(self, output_shape, loss):
        """Name what metrics get: class "numbers", one-hot "rows", a 0/1 "column"; else None."""
        return None

    def labels(self, y):
        """Label of each sample, or of each position in it; None where it has several."""
        return self.strata(y)

    def has_any_shape(self, loss):
        """Tell whether outputs may have another shape than y, as losses of the user's own let."""
        return self.takes_any_shape and loss.takes_any_shape

    def with_y_shape(self, facts, loss, output_shape):
        """Add to the facts of a loss of the user's own which shapes it takes and returns."""
        if self.has_any_shape(facts) and not self.has_shape(output_shape):
            facts = with_y_shape(facts, loss, self.row_shape, output_shape, self.row_dtype)
        if loss is None or facts.is_builtin or len(output_shape) < 2:
            return facts
        n_axes = len(self.row_shape)
        shape = self.row_shape + output_shape[n_axes:] if None in output_shape else output_shape
        y = self.encode_rows(self.some_rows(), shape, facts)
        return dataclasses.replace(facts, n_value_axes=count_axes(loss, y, shape))


class MultiOutput(PickledByName):
    """Targets of several outputs, a dict by the outputs' names; errors name the output."""

    kind = "multioutput"

    def __init__(self, targets):
        self.targets = targets

    @property
    def classes(self):
        """The classes of each output, or None for numbers."""
        return self._each("classes")

    @property
    def n_classes(self):
        """Number of classes of each output, or None for numbers."""
        return self._each("n_classes")

    def _each(self, name):
        values = {key: getattr(target, name) for key, target in self.targets.items()}
        return None if any(value is None for value in values.values()) else values

    @property
    def n_outputs(self):
        """Units of each output layer that a builder is asked for."""
        return self._each("n_outputs")

    @property
    def output_activation(self):
        """Activation of each output layer that a builder is asked for."""
        return self._each("output_activation")

    def reading(self, output_shape):
        """Return the targets that y is for a net with such outputs."""
        if not isinstance(output_shape, dict) or set(output_shape) != set(self.targets):
            return self
        return MultiOutput(
            {name: target.reading(output_shape[name]) for name, target in self.targets.items()}
        )

    def default_loss(self, output_shape):
        """Name the loss of each output."""
        self._check_outputs(output_shape)
        return self._map("default_loss", output_shape)

    def check_net(self, output_shape, loss):
        """Raise if the net lacks an output, or one can't learn its target."""
        self._check_outputs(output_shape)
        self._map("check_net", output_shape, loss)

    def with_y_shape(self, facts, losses, output_shape):
        """Add to the facts of each loss in which shape it takes targets; see `Target`."""
        return self._map("with_y_shape", facts, losses, output_shape)

    def _map(self, method, *structures):
        """Call a method of each target with its parts of dicts."""
        results = {}
        for name, target in self.targets.items():
            with naming(name):
                results[name] = getattr(target, method)(*(each[name] for each in structures))
        return results

    def _check_outputs(self, output_shape):
        if not isinstance(output_shape, dict) or set(output_shape) != set(self.targets):
            names = list(output_shape) if isinstance(output_shape, dict) else output_shape
            raise ValueError(
                f"The net's outputs are {names}; y has {list(self.targets)}. Let the net return a "
                "dict with these keys, or name its output layers so."
            )

    def check_names(self, y):
        """Raise unless y has targets for the outputs of the first fit."""
        if not isinstance(y, dict) or set(y) != set(self.targets):
            raise ValueError(
                f"y has {list(y) if isinstance(y, dict) else type(y).__name__}; expected a dict "
                f"with the keys {list(self.targets)}, as in the first fit."
            )

    def encode(self, y, output_shape, loss):
        """Encode the target of each output."""
        self.check_names(y)
        return self._map("encode", y, output_shape, loss)

    def strata(self, y):
        """None: there is no one label to stratify by."""
        return None

    labels = strata

    def of_classes(self):
        """Return the targets of the outputs that tell classes apart, by name."""
        return MultiOutput({k: one for k, one in self.targets.items() if one.classes is not None})

    def probabilities(self, outputs, loss):
        """Turn each output into probabilities."""
        return NamedOutputs(self._map("probabilities", outputs, loss))

    def margins(self, outputs, loss):
        """Turn each output into margins."""
        return NamedOutputs(self._map("margins", outputs, loss))

    def predictions(self, outputs, loss):
        """Turn each output into predictions."""
        return NamedOutputs(self._map("predictions", outputs, loss))


@contextlib.contextmanager
def naming(output):
    """Name the output in the message of an error of its target."""
    try:
        yield
    except (ValueError, TypeError) as error:
        try:
            named = type(error)(f"Output {output!r}: {error}")
        except TypeError:  # its class takes other arguments
            raise error from None
        raise named from error


def output_activation(target, loss):
    """Choose the activation of the output layer that a builder is asked for; by name for several.

    Examples
    --------
    >>> from skkeras._losses import LossFacts
    >>> from skkeras._targets.classification import classification_target
    >>> from skkeras._targets.base import output_activation
    >>> target = classification_target([0, 1])
    >>> output_activation(target, LossFacts("binary_crossentropy"))
    'sigmoid'
    >>> output_activation(target, LossFacts("binary_crossentropy", from_logits=True))
    'linear'
    """
    if isinstance(target, MultiOutput):
        losses = loss if isinstance(loss, dict) else {}
        return {
            name: output_activation(part, losses.get(name, LossFacts()))
            for name, part in target.targets.items()
        }
    if loss.from_logits or loss.gives_margins:
        return "linear"
    return target.ending(loss)


def as_array(y):
    return y if hasattr(y, "toarray") or isinstance(y, LazyArray) else np.asarray(y)


def dense(y):
    return y.toarray() if hasattr(y, "toarray") else y


def fits(shape, output_shape):
    """Tell whether outputs have a shape; axes of theirs that are None have any length."""
    return len(shape) == len(output_shape) and all(
        n in (None, expected) for expected, n in zip(shape, output_shape, strict=True)
    )


def units_advice(row_shape, output_shape):
    """Say how to mend the outputs of a net that don't fit y; for steps, in the net or in y."""
    advice = "Let the builder take n_outputs and give its last layer that many units."
    if len(row_shape) > 1:
        return (
            f"n_outputs counts all values of a row: let Reshape({row_shape}) follow "
            f"Dense(n_outputs), or give each position a last layer of units={row_shape[-1]}."
        )
    if len(output_shape) < 2:
        return advice
    if row_shape and fits(row_shape, output_shape[:1]):
        return (
            f"{advice} If y has a value for each of {row_shape[0]} steps, pass y[..., None], and "
            "let the last layer have one unit at each step."
        )
    return (
        f"{advice} The outputs of many steps become one row by return_sequences=False, a pooling "
        "layer or Flatten."
    )


def shape_text(shape, first="None"):
    return f"({', '.join([first, *map(str, shape)])}{',' if not shape else ''})"


# Up to this size encoding all rows at once is faster than some of them for every call; above it,
# the work for a call is lost among its steps. It is also about what a block takes.
WHOLE_BYTES = 2**22
# More labels than these are not looked for block by block.
_MAX_LABELS = 2**16


class Encoded:
    """Array that is encoded when rows of it are taken.

    ``encode`` maps rows of each array to an array of as many, row by row; ``example`` is one row of
    it.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._targets.base import Encoded
    >>> doubled = Encoded(lambda rows: rows * 2.0, (np.arange(4),), np.zeros(1))
    >>> doubled.shape, np.asarray(doubled[[3, 0]])
    ((4,), array([6., 0.]))
    """

    def __init__(self, encode, arrays, example):
        self._encode, self._arrays, self._example = encode, arrays, example

    @property
    def shape(self):
        """Shape once encoded, samples first."""
        return self._arrays[0].shape[0], *self._example.shape[1:]

    @property
    def dtype(self):
        """The dtype once encoded."""
        return self._example.dtype

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, indices):
        """Choose rows, which are encoded when they are wanted as an array."""
        return Encoded(self._encode, _picked(self._arrays, indices), self._example)

    def __array__(self, dtype=None, copy=None):
        """Encode all rows."""
        return np.asarray(_called(self._encode, self._arrays), dtype=dtype)


def encoded(encode, *arrays):
    """Encode small arrays eagerly; validate large ones in blocks and encode them batch by batch.

    ``encode`` is as in `Encoded`, and raises for rows that can't be encoded. A LazyArray, alone, is
    encoded when it is read.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._targets.base import encoded
    >>> encoded(np.sqrt, np.arange(3))
    array([0.        , 1.        , 1.41421356])
    >>> encoded(np.sqrt, np.arange(2_000_000))
    <skkeras._targets.base.Encoded object at ...>
    """
    example = _called(encode, _picked(arrays, slice(1)))
    if isinstance(arrays[0], LazyArray):
        return arrays[0].map(encode, example.shape[1:], example.dtype)
    if example.nbytes * arrays[0].shape[0] <= WHOLE_BYTES:
        return _called(encode, arrays)
    for rows in spans(arrays[0].shape[0], example.nbytes):
        _called(encode, _picked(arrays, rows))  # raises for rows that can't be encoded
    return Encoded(encode, arrays, example)


def _picked(arrays, indices):
    return tuple(array[indices] for array in arrays)


def _called(encode, arrays):
    return encode(*map(in_memory, arrays))


def in_memory(array):
    """Return Encoded and LazyArray as an array, and all else as it is."""
    return np.asarray(array) if isinstance(array, Encoded | LazyArray) else array


def spans(n_rows, row_bytes):
    """Yield slices, one after the other, of about as many rows as are encoded whole."""
    step = max(1, WHOLE_BYTES // max(row_bytes, 8))
    for start in range(0, n_rows, step):
        yield slice(start, start + step)


def blocks(array):
    """Yield neighbouring rows of an array, some MB at a time, as views where possible."""
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    for rows in spans(array.shape[0], row_bytes):
        yield in_memory(array[rows])


def few_rows(y):
    """Find a few rows with the same labels as y, to sort and to compare as a whole.

    y itself, if it is small, or most of its values come once, or it isn't an array.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._targets.base import few_rows
    >>> few_rows(np.arange(2_000_000) % 2)
    array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
    """
    if not isinstance(y, np.ndarray | LazyArray):
        return y
    if y.nbytes <= WHOLE_BYTES or y.ndim > 2:
        return in_memory(y)
    try:
        labels = few_labels(y)
    except TypeError:  # they have no order, as others will say
        return y
    # scikit-learn warns where there are half as many labels as rows: they may be numbers.
    if labels is None or len(labels) * 2 > len(y):
        return y
    return np.resize(labels, (5 * len(labels), *y.shape[1:]))


def few_labels(y):
    """List the different values of an array, read block by block; None if they are many."""
    labels = np.zeros(0, y.dtype)
    for block in blocks(y):
        labels = np.union1d(labels, np.unique(block))
        if len(labels) > _MAX_LABELS:
            return None
    return labels


def label_counts(parts, weights=None):
    """Count labels in blocks, or sum up their weights; a dict in the labels' order.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._targets.base import label_counts
    >>> label_counts([np.array(["b", "a"]), np.array(["b"])])
    {'a': 1, 'b': 2}
    """
    counter = collections.Counter()
    if weights is None:
        weights = itertools.repeat(None)
    for part, weight in zip(parts, weights, strict=False):
        if weight is None:
            labels, counts = np.unique(part, return_counts=True)
        else:
            labels, numbers = np.unique(part, return_inverse=True)
            weight = np.asarray(weight)
            weight = weight.reshape(weight.shape + (1,) * (part.ndim - weight.ndim))
            counts = np.bincount(numbers.ravel(), np.broadcast_to(weight, part.shape).ravel())
        # Python's objects, but for times: those are other numbers than the labels they stand for.
        keys = list(labels) if labels.dtype.kind in "mM" else labels.tolist()
        counter.update(dict(zip(keys, counts.tolist(), strict=True)))
    return {label: counter[label] for label in sorted(counter)}
