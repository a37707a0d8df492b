"""Batches: a source of data that comes in batches of its own, and can't be indexed.

Each batch is a step. As many steps as a call should take are joined and run inside
one compiled program; a model that programs can't run is trained by Keras's own loop.
"""

import itertools

import numpy as np

from skkeras._engine.program import batch_specs
from skkeras._engine.rows import map_leaves
from skkeras.data._batches import joined, n_rows


class Batches:
    """Batches of a stream, checked and encoded as they are read.

    ``encode(x, y, weight)`` returns `Rows`; an epoch, or a validation, has ``n_steps`` batches with
    rows, None for all.
    """

    takes_long = True
    # Arguments of `keras.Model.fit` that a source knows, besides the ones of `Schedule`.
    known_arguments = frozenset({"steps_per_epoch"})
    known_validation_arguments = frozenset({"validation_steps"})
    wants_small_buffers = False  # batches are in memory anyway

    def __init__(self, stream, encode, n_steps=None):
        self.stream = stream
        self._encode = encode
        self._n_steps = n_steps
        self._endless = None
        self._first_batch = encode(*stream.first())

    @property
    def first(self):
        """The first sample alone, as `Rows`."""
        return self._first_batch.only([0])

    @property
    def example(self):
        """The first sample as a batch: programs are compiled for its shapes and dtypes."""
        return self.first.take(slice(None))

    @property
    def row_bytes(self):
        """About how many bytes one sample takes once it is dense and cast."""
        return self._first_batch.row_bytes

    def rows_per_step(self, _):
        """Count the rows of a step, as far as the first batch tells."""
        return self._first_batch.n_rows

    def steps_per_epoch(self, _):
        """Count the steps of an epoch, if known; a dataset may count batches without rows, too."""
        known = self.stream.n_batches
        return self._n_steps or (known if known is not None and known >= 0 else None)

    def epoch(self):
        """Begin an epoch of training: of a given number of steps, where the last one ended."""
        if self._n_steps is None:
            return self.stream.epoch()
        if self._endless is None:
            self._endless = self.stream.endless()
        return itertools.islice(self._endless, self._n_steps)

    def reader(self, schedule, first, last, max_steps=None):
        """Read the epochs of a training."""
        return _BatchesReader(self, self.epoch, schedule, first, last, max_steps)

    def evaluation_reader(self, _):
        """Read the batches once."""
        return _BatchesReader(self, self._evaluation, None, 0, 1)

    def keras_training(self, schedule, errors, *, by_pass=False):
        """Wrap the batches for `keras.Model.fit`; every pass is an epoch, see `Rows`."""
        n_steps = self.steps_per_epoch(None) or self._count()
        return self._dataset(self.epoch, schedule, errors, n_steps), lambda: None

    def keras_batches(self, _, errors):
        """Wrap the batches for `keras.Model.evaluate`."""
        return self._dataset(self._evaluation, None, errors, self._count())

    def encoded(self, batches, schedule, seed, first_step):
        """Join batches of an epoch, encode them, and augment each unless ``seed`` is None.

        Returns a batch as `Rows.take` does; ``first_step`` numbers the first of the batches in its
        epoch.
        """
        x, *rest = self._encode(*joined(batches)).take(slice(None))
        if seed is None:
            return x, *rest
        parts, start = [], 0
        for step, batch in enumerate(batches, first_step):
            span = slice(start, start := start + n_rows(batch))
            # A copy: the rows may be the user's own, and functions may write to what they get.
            rows = map_leaves(lambda leaf, span=span: leaf[span].copy(), x)
            parts.append(schedule.augment(rows, [seed, step]))
        return map_leaves(lambda *leaves: np.concatenate(leaves), *parts), *rest

    def _count(self):
        """Count the batches in a pass of its own, unless there is only one.

        A dataset's own length may count batches without rows. A pass tells, but before training it
        would put off the dataset's own shuffling by an epoch.
        """
        return None if self.stream.once else sum(1 for _ in self._evaluation())

    def _evaluation(self):
        """Begin an evaluation: the same batches every time, from the first one on, as in Keras."""
        return itertools.islice(self.stream.batches(), self._n_steps)

    def _dataset(self, begin, schedule, errors, n_steps):
        """Wrap the batches as a `tf.data.Dataset`."""
        import tensorflow as tf

        def generate():
            try:
                seed, batches = _seed(schedule), begin()
                batch, n_read = next(batches, None), 0
                _check_length(n_read, n_steps, is_last=batch is None)
                while batch is not None:
                    following = next(batches, None)
                    _check_length(n_read + 1, n_steps, is_last=following is None)
                    yield self.encoded([batch], schedule, seed, n_read)
                    batch, n_read = following, n_read + 1
            except Exception as error:
                errors.append(error)
                raise

        dataset = tf.data.Dataset.from_generator(
            generate, output_signature=batch_specs(self.example)
        )
        if n_steps is not None:
            # Without it Keras warns, at the end of the first epoch, that data ran out.
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(n_steps))
        return dataset.prefetch(1)


class _BatchesReader:
    """Reads the batches of epochs, as many as a compiled call should take; see `RowsReader`."""

    def __init__(self, batches, begin, schedule, first, last, max_steps=None):
        self._source, self._begin, self._schedule = batches, begin, schedule
        self._epoch, self._last, self._max_steps = first, last, max_steps
        self._batches = self._next = self._seed = None
        self._step = 0

    @property
    def is_done(self):
        """Whether nothing is left."""
        return self._epoch >= self._last

    def take(self, budget):
        """Read the next batches of an epoch."""
        if self.is_done:
            return None
        starts = self._batches is None
        if starts:
            self._batches = itertools.islice(self._begin(), self._max_steps)
            self._next = next(self._batches, None)
            self._seed, self._step = _seed(self._schedule), 0
            if self._next is None:
                raise ValueError("X has no batches in this pass; expected as many as before.")
        taken = [self._next, *itertools.islice(self._batches, budget - 1)]
        self._next = next(self._batches, None)
        segment = len(taken), starts, self._next is None, self._epoch
        if self._next is None:
            self._epoch, self._batches = self._epoch + 1, None
        rows = self._source.encoded(taken, self._schedule, self._seed, self._step)
        self._step += len(taken)
        return rows, [segment], [n_rows(one) for one in taken]


def _seed(schedule):
    """Draw the seed of an epoch's augmentation, if there is any."""
    return None if schedule is None else schedule.augmentation_seed()


def _check_length(n_read, n_steps, *, is_last):
    """Raise if a pass has another length than the first, by which Keras plans all epochs."""
    if n_steps is not None and is_last != (n_read == n_steps):
        raise ValueError(
            f"X had {n_steps} batches at first, and now has {n_read if is_last else 'more'}; "
            "expected as many in every pass, since this runs in Keras's own loop, and none without "
            "rows, which aren't counted. Use engine='compiled' without callbacks on batches, or "
            "set fit__steps_per_epoch."
        )
