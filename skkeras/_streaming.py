"""Streams in estimators: how they learn from batches that come in an order of their own."""

import collections
import itertools

import numpy as np

from skkeras._building.recipe import check_asks_for_no_data
from skkeras._encoding import label_counts
from skkeras._engine.batches import Batches
from skkeras._inputs import batch_weights
from skkeras._params import split_routed
from skkeras.data._streams import as_stream, check_inside, check_stream, joined


def count_labels(stream, steps=None):
    """Count the labels of a stream in one pass, of which nothing else is kept.

    Parameters
    ----------
    stream : Stream
        With targets.
    steps : int or None, default=None
        Batches to read; None for all.

    Returns
    -------
    counts : dict, dict of dict or None
        How often each label comes, in their order, or the sum of its weights if there are any; by
        output if there are several. None for rows of numbers, such as one-hot labels, of which
        any batch shows the classes.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data._streams import as_stream
    >>> from skkeras._streaming import count_labels
    >>> batches = [(np.zeros((2, 1)), np.array(["b", "a"])), (np.zeros((1, 1)), np.array(["b"]))]
    >>> count_labels(as_stream(lambda: batches))
    {'a': 1, 'b': 2}
    """
    _, y, _ = stream.first()
    counters = {name: collections.Counter() for name, part in _by_name(y) if _is_column(part)}
    if not counters:
        return None
    n_batches = 0
    for x, targets, weight in itertools.islice(stream.batches(), steps):
        n_batches += 1
        weight = batch_weights(weight, x)
        for name, part in _by_name(targets):
            if name in counters:
                counters[name].update(label_counts([part], weight if weight is None else [weight]))
    if steps is None:
        stream.n_batches = n_batches
    counts = {name: {k: counter[k] for k in sorted(counter)} for name, counter in counters.items()}
    return counts if isinstance(y, dict) else counts[None]


def one_of_each(counts, y):
    """Return targets to learn the classes of: what was counted, or else a batch's own.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._streaming import one_of_each
    >>> np.unique(one_of_each({0: 7, 1: 2}, np.array([1, 1], "uint8")))
    array([0, 1], dtype=uint8)
    """
    if counts is None:
        return y
    if isinstance(y, dict):
        return {name: one_of_each(counts.get(name), part) for name, part in y.items()}
    # Many labels that come once each would look like numbers to scikit-learn.
    return np.repeat(np.array([*counts], y.dtype if y.dtype.kind in "biuf" else None), 5)


def _by_name(y):
    return y.items() if isinstance(y, dict) else [(None, y)]


def _is_column(y):
    return y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)


class StreamsMixin:
    """What `BaseKerasEstimator` does otherwise where X is a stream, see `skkeras.data._streams`."""

    def _begin_stream(self, stream, *, go_on, hold_out):
        """Do what `_begin` does for data that comes in batches; a net is made for the first."""
        arguments = split_routed(self._routed)["fit"]
        check_stream(stream, arguments, 1 if hold_out is None else self._fit_argument("epochs"))
        check_asks_for_no_data(self._source(self.model))
        counts = self._count_labels(stream, go_on=go_on)
        X, y, _ = stream.first()
        X, y = self._check_data(X, y, reset=not go_on)
        if go_on:
            self._adopt_learning_rate()
        else:
            build_seed = self._learn(one_of_each(counts, y))
        if hold_out is not None:
            hold_out(stream, None)  # it raises if anything is to be held out
        if not go_on:
            self._make_net(X, y, build_seed, seen=None)
        steps = arguments.get("steps_per_epoch")
        rows = self._stream_rows(stream, steps, self._class_weights(counts))
        return rows, None, stream.source, None

    def _stream_rows(self, stream, steps=None, class_weights=None, *, trains=True):
        """Put a stream into the form the net takes, a batch at a time."""

        def as_rows(x, y, weight):
            x, y = self._check_data(x, y, reset=False)
            weight = batch_weights(weight, x)
            return self._rows(x, y, self._times_class_weights(weight, y, class_weights))

        return Batches(stream, as_rows, steps)

    def _count_labels(self, stream, *, go_on):
        """Count the labels of a stream, where they have to be known before training."""
        return None

    def _class_weights(self, counts):
        return None

    def _times_class_weights(self, weight, y, class_weights):
        return weight

    def _predicted(self, X, y, sample_weight):
        """Predict X, and return y and weights along with it: a stream has them inside."""
        if (stream := as_stream(X)) is None:
            return self.predict(X), y, sample_weight
        check_inside(y, sample_weight)
        return joined([(self.predict(x), *rest) for x, *rest in stream.blocks(with_targets=True)])
