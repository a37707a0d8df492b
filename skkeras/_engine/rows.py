"""Rows: a source of data that can be picked by number, in memory or in files.

Nothing is converted as a whole: only the rows of one call to a compiled function are read, cast,
densified or copied.
"""

import dataclasses
import functools
import math
from typing import Any, ClassVar

import numpy as np

from skkeras.data._arrays import LazyArray, load_together
from skkeras.data._batches import joined
from skkeras.data._cancellation import check_stopped
from skkeras.data._parts import n_bytes
from skkeras.data._shuffling import block_order


@dataclasses.dataclass(frozen=True)
class Rows:
    """Inputs, targets and weights, cast (and read, where inputs are lazy) as they are taken.

    ``x``, ``y`` and ``weight`` are arrays with samples first, or (nested) dicts or lists of them; y
    and weights may be `Encoded`, and lazy only if inputs are. Their dtypes are structures alike,
    "string" for text. ``subset`` tells which samples count, in which order; None is all.
    ``are_gathered`` is for inputs from a far smaller array, as overlapping windows are: a large
    buffer of them would be most of the memory of a fit, and no faster.
    """

    x: Any
    y: Any = None
    weight: Any = None
    x_dtypes: Any = "float32"
    y_dtypes: Any = "float32"
    weight_dtype: str = "float32"
    subset: Any = None
    are_gathered: bool = False

    # Arguments of `keras.Model.fit` that a source knows, besides those of `Schedule`.
    known_arguments: ClassVar[frozenset] = frozenset()
    known_validation_arguments: ClassVar[frozenset] = frozenset()

    @property
    def n_rows(self):
        """Number of samples."""
        return leaves(self.x)[0].shape[0] if self.subset is None else len(self.subset)

    def only(self, subset):
        """Return a view of some of the samples."""
        return dataclasses.replace(self, subset=np.asarray(subset))

    @property
    def first(self):
        """The first sample alone."""
        return self.only([0])

    @property
    def example(self):
        """The first sample as a batch: programs are compiled for its shapes and dtypes."""
        return self.take(slice(0, 1))

    def rows_per_step(self, batch_size):
        """Count the rows of a full step."""
        return batch_size

    def steps_per_epoch(self, batch_size):
        """Count the steps of an epoch."""
        return math.ceil(self.n_rows / batch_size)

    @property
    def takes_long(self):
        """Whether to read ahead, in a thread."""
        return self.lazy is not None

    @property
    def wants_small_buffers(self):
        """Whether the rows of a call have to take less memory than usual."""
        return self.lazy is not None or self.are_gathered

    @property
    def is_table(self):
        """Whether the inputs are one numeric table of shape (n_samples, n_features)."""
        return self.x_dtypes != "string" and len(getattr(self.x, "shape", ())) == 2

    @property
    def row_bytes(self):
        """About how many bytes one sample takes once it is dense and cast."""
        sizes = []
        map_leaves(lambda x, dtype: sizes.append(_row_bytes(x, dtype)), self.x, self.x_dtypes)
        if self.y is not None:
            map_leaves(lambda y, dtype: sizes.append(_row_bytes(y, dtype)), self.y, self.y_dtypes)
        return max(sum(sizes), 1)

    @property
    def shuffle_rows(self):
        """How many rows, all of their inputs and targets, the buffer of lazy inputs holds."""
        stored = leaves([part for part in (self.x, self.y, self.weight) if part is not None])
        row_bytes = sum(n_bytes(leaf) for leaf in stored) / leaves(self.x)[0].shape[0]
        return max(1, int(self.lazy.shuffle_bytes / row_bytes))

    @functools.cached_property
    def lazy(self):
        """Of the inputs that are read when they are needed, the one of most bytes; or None."""
        lazy = (leaf for leaf in leaves(self.x) if isinstance(leaf, LazyArray))
        return max(lazy, key=n_bytes, default=None)

    @functools.cached_property
    def in_storage_order(self):
        """The same samples in the order in which they are stored, if inputs are read."""
        if self.lazy is None:
            return self
        subset = self.lazy.storage_order(self.subset)
        return self if subset is self.subset else self.only(subset)

    @functools.cached_property
    def block_ends(self):
        """How many of the samples, in storage order, come before the end of each block."""
        return self.lazy.block_ends(self.subset)

    def loaded(self, indices):
        """Return some of the samples with all their inputs in memory."""
        if self.subset is not None:
            indices = self.subset[indices]
        picked = [
            None if structure is None else map_leaves(lambda leaf: leaf[indices], structure)
            for structure in (self.x, self.y, self.weight)
        ]
        views = [leaf for leaf in leaves(picked) if isinstance(leaf, LazyArray)]
        loaded = iter(load_together(views))
        x, y, weight = map_leaves(
            lambda leaf: next(loaded) if isinstance(leaf, LazyArray) else leaf, picked
        )
        return dataclasses.replace(self, x=x, y=y, weight=weight, subset=None)

    def take(self, indices):
        """Return the rows at ``indices`` (an int array or a slice), in that order.

        ``(x, y, weight)``, ``(x, y)`` without weights, ``(x,)`` without targets: the batch of
        `train_step`.
        """
        if self.lazy is not None:
            return self.loaded(indices).take(slice(None))
        if self.subset is not None:
            indices = self.subset[indices]
        x = map_leaves(lambda leaf, dtype: take_rows(leaf, indices, dtype), self.x, self.x_dtypes)
        if self.y is None:
            return (x,)
        y = map_leaves(lambda leaf, dtype: take_rows(leaf, indices, dtype), self.y, self.y_dtypes)
        if self.weight is None:
            return x, y
        dtype = self.weight_dtype
        return x, y, map_leaves(lambda leaf: take_rows(leaf, indices, dtype), self.weight)

    def reader(self, schedule, first, last, max_steps=None):
        """Read the epochs of a training."""
        return RowsReader(self, schedule.begin_epoch, schedule.batch_size, first, last, max_steps)

    def evaluation_reader(self, batch_size):
        """Read all samples once, in the order in which they are stored."""
        rows = self.in_storage_order
        return RowsReader(rows, Epoch, batch_size, 0, 1)

    def keras_training(self, schedule, errors, *, by_pass=False):
        """Return a `keras.utils.PyDataset` of the rows, and a function to begin an epoch.

        ``errors`` gets those of reading rows, of which Keras tells less. ``by_pass`` draws an order
        for every pass, because epochs end within one.
        """
        batches = _keras_batches(
            self, schedule.batch_size, errors, schedule.begin_epoch if by_pass else None
        )

        def begin():
            if not by_pass:
                batches.epoch = schedule.begin_epoch(self)

        return batches, begin

    def keras_batches(self, batch_size, errors):
        """Wrap the rows for `keras.Model.evaluate` and `predict`, in storage order."""
        return _keras_batches(self.in_storage_order, batch_size, errors)


def begin_epoch(rows, generator):
    """Draw the order of an epoch; without a generator, rows keep theirs."""
    if rows.lazy is None:
        n_rows = rows.n_rows
        return Epoch(
            rows, np.arange(n_rows) if generator is None else generator.permutation(n_rows)
        )
    rows_at_once = rows.shuffle_rows
    if generator is not None:
        rows = rows.in_storage_order
        ends = rows.block_ends
        if np.diff(ends, prepend=0).max() > rows_at_once:  # other inputs are wider
            ends = np.union1d(ends, np.arange(rows_at_once, rows.n_rows, rows_at_once))
        return BlockwiseEpoch(rows, block_order(ends, rows_at_once, generator))
    ends = np.append(np.arange(rows_at_once, rows.n_rows, rows_at_once), rows.n_rows)
    return BlockwiseEpoch(rows, block_order(ends, rows_at_once, None))


class Epoch:
    """One pass over rows, at the indices ``order``; None for the rows' own order."""

    def __init__(self, rows, order=None):
        self.rows = rows
        self.order = order
        self._augment = None

    def augment_by(self, augment, seed, batch_size):
        """Let a function change the inputs of every step; see `skkeras._engine.augmentation`."""
        self._augment, self._seed, self._batch_size = augment, seed, batch_size

    def take(self, start, stop):
        """Return a span of the epoch, as `Rows.take` does."""
        span = slice(start, stop)
        return self.rows.take(span if self.order is None else self.order[span])

    def change(self, x, start):
        """Augment inputs in place; ``start`` is where in the epoch they begin: with a step.

        Random numbers depend on the step alone, and not on how many steps are taken at once.
        """
        if self._augment is None:
            return
        n_rows = len(leaves(x)[0])
        for first in range(0, n_rows, self._batch_size):
            check_stopped()
            step = slice(first, first + self._batch_size)
            batch = map_leaves(lambda leaf, step=step: leaf[step], x)
            seed = [self._seed, (start + first) // self._batch_size]
            map_leaves(np.copyto, batch, self._augment(batch, seed))


class BlockwiseEpoch(Epoch):
    """One pass over rows that are read group by group; spans are taken from front to back.

    ``order`` is a `BlockOrder`; shuffled rows are in storage order.
    """

    def __init__(self, rows, order):
        super().__init__(rows, order)
        self._number = self._loaded = self._order_within = None

    def take(self, start, stop):
        """Return a span of the epoch, as `Rows.take` does."""
        batches = []
        for number, first, last in self.order.spans(start, stop):
            if number != self._number:
                self._loaded = None  # its memory is free for the next
                indices, self._order_within = self.order.group(number)
                self._loaded, self._number = self.rows.loaded(indices), number
            batches.append(self._loaded.take(self._order_within[first:last]))
        return joined(batches)


def take_spans(spans):
    """Return the rows of spans of epochs, ``(epoch, start, stop)``, one after the other."""
    rows, first = spans[0][0].rows, 0
    if rows.lazy is None and len(spans) > 1:  # a single copy
        batch = rows.take(np.concatenate([epoch.order[a:b] for epoch, a, b in spans]))
    else:
        batch = joined([epoch.take(start, stop) for epoch, start, stop in spans])
    for epoch, start, stop in spans:
        where = slice(first, first + stop - start)
        epoch.change(map_leaves(lambda leaf, where=where: leaf[where], batch[0]), start)
        first = where.stop
    return batch


class RowsReader:
    """Reads the rows of epochs from ``first`` to before ``last``, the steps of a call at a time.

    ``begin(rows)`` begins an epoch, whose last step takes the rows left; of each epoch only
    ``max_steps`` are wanted, None for all.
    """

    def __init__(self, rows, begin, batch_size, first, last, max_steps=None):
        self._rows, self._begin, self._batch_size = rows, begin, batch_size
        self._number, self._last = first, last
        self._n_steps = max_steps or rows.steps_per_epoch(batch_size)
        self._step, self._epoch = 0, None

    @property
    def is_done(self):
        """Whether nothing is left."""
        return self._number >= self._last

    def take(self, budget):
        """Read ``budget`` steps at most; None if nothing is left.

        Returns the rows as `Rows.take` does, a segment ``(n_steps, starts_epoch, ends_epoch,
        epoch)`` for each epoch or part of one, and the number of rows of each step.
        """
        if self.is_done:
            return None
        segments, spans, sizes = [], [], []
        while budget and not self.is_done:
            if self._step == 0:
                self._epoch = self._begin(self._rows)
            taken = min(budget, self._n_steps - self._step)
            start = self._step * self._batch_size
            stop = min(start + taken * self._batch_size, self._rows.n_rows)
            spans.append((self._epoch, start, stop))
            full, rest = divmod(stop - start, self._batch_size)
            sizes += [self._batch_size] * full + [rest] * bool(rest)
            starts, ends = self._step == 0, self._step + taken == self._n_steps
            segments.append((taken, starts, ends, self._number))
            budget -= taken
            self._step = 0 if ends else self._step + taken
            self._number += ends
        return take_spans(spans), segments, sizes


def _keras_batches(rows, batch_size, errors, begin_pass=None):
    """Wrap rows as a `keras.utils.PyDataset` that yields them in the order of its ``epoch``.

    ``begin_pass(rows)`` begins one whenever a pass begins.
    """
    import keras

    class Batches(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.epoch = begin_epoch(rows, None)

        def __len__(self):
            return rows.steps_per_epoch(batch_size)

        def __getitem__(self, index):
            if index == 0 and begin_pass is not None:
                self.epoch = begin_pass(rows)
            start, stop = index * batch_size, min((index + 1) * batch_size, rows.n_rows)
            try:
                x, *rest = take_spans([(self.epoch, start, stop)])
            except BaseException as error:
                errors.append(error)
                raise
            return map_leaves(_text_as_tensor, x), *rest

    return Batches()


def _text_as_tensor(array):
    """Turn strings into a tensor: Keras looks a batch's dtype up by name, and has none for them."""
    import keras

    return keras.ops.convert_to_tensor(array) if array.dtype == object else array


def take_rows(array, indices, dtype):
    """Take rows of an array, dense and cast to a NumPy dtype's name or ``"string"``.

    ``"bfloat16"`` is left as float32 for the net to cast.
    """
    rows = array[indices]
    if hasattr(rows, "toarray"):
        rows = rows.astype(_numpy_dtype(dtype)).toarray()  # cast while it is small
    rows = np.asarray(rows)
    if dtype == "string":
        return rows.astype(object)
    return np.ascontiguousarray(rows, dtype=_numpy_dtype(dtype))


def _row_bytes(array, dtype):
    itemsize = 64 if dtype == "string" else np.dtype(_numpy_dtype(dtype)).itemsize
    return itemsize * int(np.prod(array.shape[1:], dtype=np.int64))


def _numpy_dtype(dtype):
    return "float32" if dtype == "bfloat16" else dtype


def map_leaves(function, structure, *others):
    """Apply a function to the leaves of (nested) dicts, lists and tuples.

    `keras.tree` would do, but it takes array-likes with a length for leaves only by type.
    """
    if isinstance(structure, dict):
        return {k: map_leaves(function, v, *(o[k] for o in others)) for k, v in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(
            map_leaves(function, *vs) for vs in zip(structure, *others, strict=True)
        )
    return function(structure, *others)


def leaves(structure):
    """List the leaves of (nested) dicts, lists and tuples, in order."""
    found = []
    map_leaves(found.append, structure)
    return found


def n_samples(X):
    """Count the samples of checked inputs."""
    return next(iter(X.values())).shape[0] if isinstance(X, dict) else X.shape[0]
