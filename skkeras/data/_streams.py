"""Streams: data that comes in batches, in an order of its own, with the targets inside.

`tf.data.Dataset`, `keras.utils.PyDataset` and functions that return generators are read from the
beginning for every pass. They can't be indexed, so scikit-learn can't split them. ``workers`` of
a PyDataset are threads here, also with ``use_multiprocessing``.
"""

import collections
import concurrent.futures
import contextlib
import inspect
import itertools

import numpy as np
from scipy.sparse import issparse

from skkeras.data._cancellation import check_stopped

_NO_TARGETS = "X yields inputs without targets; expected batches (x, y), or y beside arrays."
_NOT_ALIKE = (
    "Some of X's batches have targets or weights, and others haven't; expected the same of all."
)
_STOPPED = (
    "X raised StopIteration within a batch; expected batches, and a plain return after the last. "
    "Look in its own code for a next() of something that has come to an end."
)
_RAGGED = (
    "X yields ragged tensors, whose rows have different lengths; expected rows of one shape. Pad "
    "them: .to_tensor() in the dataset's map."
)
_INFINITE = -1  # what `tf.data.Dataset.cardinality` says


def as_stream(X):
    """Wrap X as a stream, if it is something that yields batches.

    Parameters
    ----------
    X : object
        Anything that may be given to an estimator.

    Returns
    -------
    stream : Stream or None
        None for arrays and the like.

    Raises
    ------
    TypeError
        If X is a dataset of ragged tensors, or looks like batches that scikit-learn has picked
        from a `keras.utils.PyDataset`.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data._streams import as_stream
    >>> def batches():
    ...     for i in range(3):
    ...         yield np.full((2, 4), i), np.full(2, i)
    >>> [x.shape for x, y, weight in as_stream(batches).batches()]
    [(2, 4), (2, 4), (2, 4)]
    >>> as_stream(np.zeros((2, 4))) is None
    True
    """
    if isinstance(X, Stream):
        return X
    if hasattr(X, "as_numpy_iterator") and hasattr(X, "element_spec"):
        if _is_ragged(X.element_spec):
            raise TypeError(_RAGGED)
        return Stream(X, X.as_numpy_iterator, _size_of(X), decodes=True)
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

    Those without rows are left out: as steps of training they would move weights by momentum alone.

    Parameters
    ----------
    source : object
        What the user gave.
    begin : callable
        Returns an iterator over the batches of one pass.
    n_batches : int or None
        How many there are, perhaps with those that are left out; None if that isn't known.
    dataset : keras.utils.PyDataset or None, default=None
        It is told when an epoch begins and ends.
    once : bool, default=False
        Whether there is only one pass.
    decodes : bool, default=False
        Whether strings come as bytes, as TensorFlow has them.
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
        """Whether it is known to go on for ever."""
        return self.n_batches is not None and self.n_batches == _INFINITE

    def first(self):
        """Return the first batch, which the next pass still begins with.

        Raises
        ------
        ValueError
            If there are no batches.
        """
        begun = self.batches()
        for batch in begun:
            self._begun = itertools.chain([batch], begun)
            return batch
        raise ValueError(
            "X has no batches, or none with rows; expected some. A generator is spent after one "
            "pass: give the function that returns it, not what it returned."
        )

    def batches(self):
        """Begin a pass, or go on with the one of which `first` was taken."""
        begun, self._begun = self._begun, None
        return begun if begun is not None else self._read(self._begin())

    def _read(self, elements):
        try:
            for element in elements:
                batch = _batch(element, self._decodes)
                if not any(map(len, itertools.chain(*map(_leaves, batch)))):
                    check_stopped()  # nobody else looks while there are only such
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
        """Return the stream of the inputs alone: whatever comes with them isn't looked at."""

        def begin():
            return (_parts(element)[:1] for element in self._begin())

        return Stream(self.source, begin, self.n_batches, once=self.once, decodes=self._decodes)

    def epoch(self):
        """Begin a pass of training, which a PyDataset is told of."""
        if self._dataset is not None and hasattr(self._dataset, "on_epoch_begin"):
            self._begun = None  # it may have another order from here on
            self._dataset.on_epoch_begin()
        yield from self.batches()
        if self._dataset is not None:
            self._dataset.on_epoch_end()

    def endless(self):
        """Begin anew after every pass, for epochs that are told in steps."""
        while True:
            n_read = 0
            for batch in self.epoch():
                n_read += 1
                yield batch
            if not n_read:
                self.first()  # tells what is wrong

    def blocks(self, *, with_targets=False, max_rows=8192, max_bytes=32 * 2**20):
        """Yield the batches of one pass, joined to larger ones.

        Parameters
        ----------
        with_targets : bool, default=False
            Whether there have to be targets; else nothing but the inputs is looked at.
        max_rows, max_bytes : int
            About how large; a single batch may be larger.

        Yields
        ------
        block : tuple
            ``(x, y, weight)``, where ``weight`` may be None; ``(x, None, None)`` without targets.

        Raises
        ------
        ValueError
            If there are no batches, or the stream never ends.
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
            n_bytes += sum(leaf.nbytes for leaf in _leaves(batch[0]))
            if rows >= max_rows or n_bytes >= max_bytes:
                yield joined(gathered)
                gathered, rows, n_bytes = [], 0, 0
        if gathered:
            yield joined(gathered)


def joined(batches):
    """Join batches to one.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data._streams import joined
    >>> joined([(np.zeros((2, 1)), np.zeros(2), None), (np.ones((1, 1)), np.ones(1), None)])[1]
    array([0., 0., 1.])
    """
    if len(batches) == 1:
        return batches[0]
    return tuple(_joined(parts) for parts in zip(*batches, strict=True))


def n_rows(batch):
    """Count the samples of a batch."""
    return len(_leaves(batch[0])[0])


def check_inside(y, sample_weight, name="y"):
    """Raise if targets or weights are given beside a stream, which has them inside."""
    for given, value in ((name, y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"Got {given} beside a dataset or generator; expected None. Let X yield batches "
                "(x, y) or (x, y, sample_weight)."
            )


def check_stream(stream, fit_arguments, epochs):
    """Raise unless a stream can be trained on.

    Parameters
    ----------
    stream : Stream
        Training data.
    fit_arguments : dict
        The ``fit__`` parameters.
    epochs : int
        How many passes are wanted.

    Raises
    ------
    ValueError, TypeError
        If it never ends, can't begin anew, has no targets, or comes with arguments that mean
        nothing to it.
    """
    for name in ("batch_size", "shuffle"):
        if name in fit_arguments:
            raise ValueError(
                f"Got fit__{name} with a dataset or generator, which has batches and an order of "
                "its own; expected none. Set it there."
            )
    steps = fit_arguments.get("steps_per_epoch")
    if stream.is_infinite and steps is None:
        raise ValueError(
            "X is a dataset that repeats for ever; expected an end. Leave .repeat() out, or take "
            "some batches: .take(100). In training fit__steps_per_epoch=100 will do, too."
        )
    if stream.once and epochs > 1 and steps is None:
        raise TypeError(_once_message(stream.source))
    if stream.first()[1] is None:
        raise ValueError(_NO_TARGETS)


def check_no_stream(X, estimator):
    """Raise if X is a stream, which a transformer can't take."""
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


def _joined(parts):
    if parts[0] is None:
        return None
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ValueError(
            f"X's batches have rows of the shapes {sorted(shapes)}; expected one shape. Pad them."
        )
    return np.concatenate(parts)


def _parts(element):
    """Take an element apart as Keras does: ``x``, or a tuple ``(x,)``, ``(x, y)`` or with weights.

    Raises
    ------
    ValueError
        If it has another length.
    """
    parts = element if isinstance(element, tuple) and not _is_sparse(element) else (element,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            f"X yields tuples of length {len(parts)}; expected (x, y) or (x, y, sample_weight)."
        )
    return parts


def _batch(element, decodes):
    """Turn an element into a batch of arrays.

    Raises
    ------
    ValueError, TypeError
        If it is no batch.
    """
    parts = [_arrays(_decoded(part) if decodes else part) for part in _parts(element)]
    parts += [None] * (3 - len(parts))
    lengths = {leaf.shape[:1] for part in parts for leaf in _leaves(part)}
    if () in lengths:
        raise ValueError(
            "X yields single samples; expected batches, whose first axis is the samples. Use "
            ".batch(32) on a tf.data.Dataset, or yield several rows at once."
        )
    if len(lengths) != 1:
        sizes = sorted(length[0] for length in lengths)
        raise ValueError(
            f"X yields a batch whose parts have {sizes} rows; expected as many targets (and "
            "weights) as inputs."
        )
    return tuple(parts)


def _arrays(part):
    if part is None:
        return None
    if isinstance(part, dict):
        return {str(name): _arrays(leaf) for name, leaf in part.items()}
    if issparse(part):
        return part.toarray()
    if _is_sparse(part):
        dense = np.zeros(np.asarray(part.dense_shape), np.asarray(part.values).dtype)
        dense[tuple(np.asarray(part.indices).T)] = part.values
        return dense
    if hasattr(part, "row_splits"):
        raise TypeError(_RAGGED)
    if isinstance(part, list | tuple):
        raise TypeError(
            f"X yields batches with a {type(part).__name__} in them; expected an array, or a dict "
            "of arrays for several inputs or outputs."
        )
    return np.asarray(part)


def _is_sparse(part):
    """Tell whether this is one of TensorFlow's sparse tensors, or the tuple it becomes."""
    return all(hasattr(part, name) for name in ("indices", "values", "dense_shape"))


def _leaves(part):
    if isinstance(part, dict):
        return [*part.values()]
    return [] if part is None else [part]


def _is_batch(item):
    return isinstance(item, tuple) and 2 <= len(item) <= 3 and hasattr(item[0], "shape")


def _is_ragged(spec):
    parts = spec.values() if isinstance(spec, dict) else spec if isinstance(spec, tuple) else ()
    return hasattr(spec, "row_splits_dtype") or any(map(_is_ragged, parts))


def _size_of(dataset):
    size = int(dataset.cardinality())
    return size if size >= _INFINITE else None


def _decoded(part):
    """Turn the bytes that TensorFlow has for strings into strings."""
    if isinstance(part, dict):
        return {name: _decoded(leaf) for name, leaf in part.items()}
    if isinstance(part, np.ndarray) and part.dtype == object:
        return np.array([*map(_text, part.flat)], dtype=object).reshape(part.shape)
    return part


def _text(value):
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise ValueError(
            f"X is a tf.data.Dataset that yields {value[:40]!r} as text; expected UTF-8. Convert "
            "text in its map, by tf.strings.unicode_transcode(text, 'ISO-8859-1', 'UTF-8') if that "
            "is what it is; and turn what is no text, such as an image, into numbers there."
        ) from error


def _items(dataset):
    """Iterate over a PyDataset's batches, in order, read by as many threads as it asks for."""
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
    """Begin a pass over an iterator that can't begin anew."""
    has_begun = False

    def begin():
        nonlocal has_begun
        if has_begun:
            raise TypeError(_once_message(iterator))
        has_begun = True
        return iterator

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
