"""Streams: data in batches, in an order of its own, with the targets inside.

`tf.data.Dataset`, `keras.utils.PyDataset` and functions that return generators are read from the
beginning for every pass. They can't be indexed, so scikit-learn can't split them. ``workers`` of
a PyDataset are threads here, also with ``use_multiprocessing``.
"""

import collections
import concurrent.futures
import contextlib
import inspect
import itertools

from skkeras.data._batches import RAGGED, joined, leaves, n_rows, split, to_batch
from skkeras.data._cancellation import check_stopped

_NO_TARGETS = "X yields inputs without targets; expected batches (x, y), or y beside arrays."
_NOT_ALIKE = (
    "Some of X's batches have targets or weights, and others haven't; expected the same of all."
)
_STOPPED = (
    "X raised StopIteration within a batch; expected batches, and a plain return after the last. "
    "Look in its own code for a next() of something that has come to an end."
)
_ENDLESS = (
    "X_val has yielded {} batches, far more than an epoch of training, and goes on; expected an "
    "end. Set fit__validation_steps to the number of batches to validate on."
)
_FEW_BATCHES, _MANY_BATCHES = 1_000, 100_000
_INFINITE = -1  # `tf.data.Dataset.cardinality` of a dataset that repeats


def as_stream(X):
    """Wrap X as a `Stream` if it yields batches; return None for arrays and the like.

    Raises TypeError for ragged datasets, and for lists of batches that scikit-learn has picked from
    a `keras.utils.PyDataset`.

    >>> import numpy as np
    >>> from skkeras.data._streams import as_stream
    >>> def batches():
    ...     for i in range(3):
    ...         yield np.full((2, 4), i), np.full(2, i)
    >>> [x.shape for x, y, weight in as_stream(batches).batches()]
    [(2, 4), (2, 4), (2, 4)]
    """
    if isinstance(X, Stream):
        return X
    if hasattr(X, "as_numpy_iterator") and hasattr(X, "element_spec"):
        if _is_ragged(X.element_spec):
            raise TypeError(RAGGED)
        size = int(X.cardinality())
        n_batches = size if size >= _INFINITE else None
        return Stream(X, X.as_numpy_iterator, n_batches, decodes=True)
    if hasattr(X, "max_queue_size") and hasattr(X, "__getitem__"):
        return Stream(X, lambda: _items(X), X.num_batches, X)
    if hasattr(X, "__next__"):
        return Stream(X, _once(X), None, once=True)
    if callable(X) and not hasattr(X, "shape") and not hasattr(X, "__len__"):
        return Stream(X, lambda: _called(X), None)
    if isinstance(X, list) and X and all(map(_is_batch, X)):
        raise TypeError(
            "X is a list of batches, (x, y), such as scikit-learn picks from a PyDataset to "
            f"cross-validate; expected rows. {ADVICE}"
        )
    return None


ADVICE = (
    "Data that scikit-learn has to split must be an array, or files opened as a LazyArray of "
    "skkeras.data, which is read a batch at a time, too. Validation data of its own goes to fit as "
    "X_val."
)


class Stream:
    """Batches ``(x, y, weight)`` of NumPy arrays, from the beginning for every pass.

    Batches without rows are left out: as steps of training they would move weights by momentum
    alone.

    Parameters
    ----------
    source : object
        The user's X, for error messages.
    begin : callable
        Returns an iterator over the batches of one pass.
    n_batches : int or None
        Number of batches, perhaps with empty ones; None if unknown, -1 if infinite.
    dataset : keras.utils.PyDataset or None, default=None
        Gets ``on_epoch_begin`` and ``on_epoch_end``.
    once, decodes : bool, default=False
        Whether only one pass is possible; whether strings come as bytes, as TensorFlow has them.
    """

    def __init__(self, source, begin, n_batches, dataset=None, *, once=False, decodes=False):
        self.source = source
        self.n_batches = n_batches
        self.once = once
        self._begin = begin
        self._dataset = dataset
        self._decodes = decodes
        self._kind = self._begun = None

    @property
    def is_infinite(self):
        """Whether the stream is known never to end."""
        return self.n_batches is not None and self.n_batches == _INFINITE

    def first(self):
        """Return the first batch, which the next pass still begins with."""
        begun = self.batches()
        for batch in begun:
            self._begun = itertools.chain([batch], begun)
            return batch
        raise ValueError(
            "X has no batches, or none with rows; expected some. A generator is spent after one "
            "pass: give the function that returns it, not what it returned."
        )

    def batches(self):
        """Begin a pass, or continue the one that `first` has begun."""
        begun, self._begun = self._begun, None
        return begun if begun is not None else self._read(self._begin())

    def _read(self, elements):
        try:
            for element in elements:
                batch = to_batch(element, self._decodes)
                if not any(map(len, itertools.chain(*map(leaves, batch)))):
                    check_stopped()  # nobody else checks while all batches are empty
                    continue
                kind = tuple(part is None for part in batch)
                self._kind = self._kind or kind
                if kind != self._kind:
                    raise ValueError(_NOT_ALIKE)
                yield batch
        except RuntimeError as error:
            if isinstance(error.__cause__, StopIteration):
                raise RuntimeError(_STOPPED) from error
            raise

    def _inputs(self):
        """Return a stream of the inputs alone, without reading targets and weights."""

        def begin():
            return (split(element)[:1] for element in self._begin())

        return Stream(self.source, begin, self.n_batches, once=self.once, decodes=self._decodes)

    def limited(self, training_steps):
        """Return the same stream for validation, whose passes raise if they seem to have no end.

        A generator's end can't be known beforehand: ten epochs of training (None: of unknown
        length) are taken for none.
        """
        if self.n_batches is not None:
            return self
        most = _MANY_BATCHES if training_steps is None else max(_FEW_BATCHES, 10 * training_steps)

        def begin():
            for number, element in enumerate(self._begin()):
                if number == most:
                    raise ValueError(_ENDLESS.format(most))
                yield element

        return Stream(
            self.source, begin, None, self._dataset, once=self.once, decodes=self._decodes
        )

    def epoch(self):
        """Begin a training pass, and notify a PyDataset of its begin and end."""
        if self._dataset is not None and hasattr(self._dataset, "on_epoch_begin"):
            self._begun = None  # it may have another order from here on
            self._dataset.on_epoch_begin()
        yield from self.batches()
        if self._dataset is not None:
            self._dataset.on_epoch_end()

    def endless(self):
        """Repeat passes for ever, for epochs counted in steps."""
        while True:
            n_read = 0
            for batch in self.epoch():
                n_read += 1
                yield batch
            if not n_read:
                self.first()  # raises its error for no batches

    def blocks(self, *, with_targets=False, max_rows=8192, max_bytes=32 * 2**20):
        """Yield the batches of one pass, joined to blocks ``(x, y, weight)`` of about this size.

        A block is larger if a single batch is. Targets are required, or else not read: ``(x, None,
        None)``.
        """
        if self.is_infinite:
            raise ValueError(
                "X is a dataset that repeats for ever; expected an end. Leave .repeat() out, or "
                "say how much of it counts with .take(n)."
            )
        stream = self if with_targets else self._inputs()
        if stream.first()[1] is None and with_targets:
            raise ValueError(_NO_TARGETS)
        gathered, rows, n_bytes = [], 0, 0
        for batch in stream.batches():
            gathered.append(batch)
            rows += n_rows(batch)
            n_bytes += sum(leaf.nbytes for leaf in leaves(batch[0]))
            if rows >= max_rows or n_bytes >= max_bytes:
                yield joined(gathered)
                gathered, rows, n_bytes = [], 0, 0
        if gathered:
            yield joined(gathered)


def check_inside(y, sample_weight, name="y"):
    """Raise if targets or weights are given beside a stream, which contains its own."""
    for given, value in ((name, y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"Got {given} beside a dataset or generator; expected None. Let X yield batches "
                "(x, y) or (x, y, sample_weight)."
            )


def check_stream(stream, fit_arguments, epochs, *, validates=False):
    """Raise unless ``epochs`` passes of training, or validation, on the stream are possible."""
    for name in ("validation_batch_size",) if validates else ("batch_size", "shuffle"):
        if name in fit_arguments:
            raise ValueError(
                f"Got fit__{name} with a dataset or generator, which has batches and an order of "
                "its own; expected none. Set it there."
            )
    argument = "validation_steps" if validates else "steps_per_epoch"
    steps = fit_arguments.get(argument)
    if stream.is_infinite and steps is None:
        when = "In validation" if validates else "In training"
        raise ValueError(
            "X is a dataset that repeats for ever; expected an end. Leave .repeat() out, or take "
            f"some batches: .take(100). {when} fit__{argument}=100 will do, too."
        )
    # Epochs of training go on where the last one ended; each validation begins anew.
    if stream.once and epochs > 1 and (steps is None or validates):
        raise TypeError(_once_message(stream.source))
    if stream.first()[1] is None:
        raise ValueError(_NO_TARGETS)


def check_no_stream(X, estimator):
    """Raise if X is a stream: transformers take arrays only."""
    if as_stream(X) is not None:
        raise TypeError(
            f"X is a {type(X).__name__}, batches that {type(estimator).__name__} can't transform; "
            f"expected an array. {ADVICE}"
        )


def check_sliceable(X, wanted):
    """Raise if X is a stream, and ``wanted`` (a parameter and its value) would split it."""
    if isinstance(X, Stream):
        raise ValueError(
            f"Got {wanted} with a dataset or generator; expected rows that can be picked. {ADVICE}"
        )


def _is_batch(item):
    return isinstance(item, tuple) and 2 <= len(item) <= 3 and hasattr(item[0], "shape")


def _is_ragged(spec):
    parts = spec.values() if isinstance(spec, dict) else spec if isinstance(spec, tuple) else ()
    return hasattr(spec, "row_splits_dtype") or any(map(_is_ragged, parts))


def _items(dataset):
    """Yield a PyDataset's batches in order, read by its number of threads."""
    size = dataset.num_batches
    numbers = range(size) if size is not None else itertools.count()
    if dataset.workers <= 1:
        for number in numbers:  # not map(), which a StopIteration would end quietly
            yield dataset[number]
        return
    with concurrent.futures.ThreadPoolExecutor(dataset.workers) as pool:
        waiting = collections.deque()
        try:
            for number in numbers:
                waiting.append(pool.submit(dataset.__getitem__, number))
                if len(waiting) >= max(dataset.max_queue_size, dataset.workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _once_message(source):
    return (
        f"X is a {type(source).__name__}, which can be read only once, and more passes are needed; "
        "expected something that begins anew for every pass. Give the function that returns it: "
        "fit(make_batches), not fit(make_batches())."
    )


def _once(iterator):
    """Return a function that returns the iterator once, and raises afterwards."""
    unread = [iterator]

    def begin():
        if not unread:
            raise TypeError(_once_message(iterator))
        return unread.pop()

    return begin


def _called(function):
    with contextlib.suppress(ValueError):  # it has no signature, as some functions written in C
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            raise TypeError(
                f"X is {function!r}, which can't be called without arguments ({error}); expected "
                "data, or a function that returns a generator of batches."
            ) from error
    made = function()
    if not hasattr(made, "__iter__"):
        raise TypeError(
            f"X is {function!r}, which returned a {type(made).__name__}; expected a generator of "
            "batches, (x, y)."
        )
    return iter(made)
