"""Streaming: training on data that comes in batches of its own, and can't be indexed.

The steps are those that the batches make. As many as a call should take are joined and run inside
one compiled program; a model that programs can't run is trained by Keras's own loop.
"""

import itertools

import numpy as np

from skkeras._engine.program import batch_specs
from skkeras._tree import map_leaves
from skkeras.data._streams import joined, n_rows


class StreamedRows:
    """Batches of a stream, as the engine takes them.

    Parameters
    ----------
    stream : skkeras.data._streams.Stream
        Where batches come from.
    as_rows : callable
        ``as_rows(x, y, weight)`` checks and encodes a batch, and returns `Rows`.
    steps_per_epoch : int or None, default=None
        Batches in an epoch, all of them with rows; None for as many as there are.
    trains : bool, default=True
        Whether passes are epochs of training, which a PyDataset is told of.
    """

    lazy = None  # what is read from it is in memory

    def __init__(self, stream, as_rows, steps_per_epoch=None, trains=True):
        self.stream = stream
        self.as_rows = as_rows
        self.steps_per_epoch = steps_per_epoch
        self.trains = trains
        self.example = as_rows(*stream.first())
        self.error = None  # what went wrong where TensorFlow read it
        self._augment = self._generator = None
        self._endless = None

    @property
    def in_storage_order(self):
        """Itself: it has only one order."""
        return self

    @property
    def batch_size(self):
        """Rows of the first batch."""
        return self.example.n_rows

    @property
    def row_bytes(self):
        """About how many bytes one sample takes once it is dense and cast."""
        return self.example.row_bytes

    @property
    def n_steps(self):
        """Batches in an epoch, if that is known; a dataset may count those without rows, too."""
        known = self.stream.n_batches
        return self.steps_per_epoch or (known if known is not None and known >= 0 else None)

    def epoch(self):
        """Begin an epoch; with ``steps_per_epoch``, where the last one ended."""
        if self.steps_per_epoch is None:
            return self.stream.epoch() if self.trains else self.stream.batches()
        if self._endless is None:
            self._endless = self.stream.endless()
        return itertools.islice(self._endless, self.steps_per_epoch)

    def augment_by(self, augment, generator):
        """Let a function change the inputs of every step of training, or None."""
        self._augment, self._generator = augment, generator

    def draw_seed(self):
        """Draw the seed of an epoch's augmentation, if there is any."""
        return None if self._augment is None else int(self._generator.integers(2**63))

    def prepared(self, batches, seed, first_step):
        """Join batches, check and encode them, and augment each.

        Parameters
        ----------
        batches : list of tuple
            Some batches of an epoch.
        seed : int or None
            What `draw_seed` returned for this epoch.
        first_step : int
            Which of the epoch's batches the first is.

        Returns
        -------
        batch : tuple
            As `Rows.take` returns it.
        """
        x, *rest = self.as_rows(*joined(batches)).take(slice(None))
        if seed is None:
            return x, *rest
        parts, start = [], 0
        for step, batch in enumerate(batches, first_step):
            span = slice(start, start := start + n_rows(batch))
            # A copy: the rows may be the user's own, and functions may write to what they get.
            rows = map_leaves(lambda leaf, span=span: leaf[span].copy(), x)
            parts.append(self._augment(rows, [seed, step]))
        return map_leaves(lambda *leaves: np.concatenate(leaves), *parts), *rest

    def take(self, indices):
        """Return rows of the first batch, to show what rows look like."""
        return self.example.take(indices)

    def only(self, subset):
        """Return a view of rows of the first batch, to show what rows look like."""
        return self.example.only(subset)


class EpochsReader:
    """Reads the batches of epochs, as many as a compiled call should take.

    Parameters
    ----------
    rows : StreamedRows
        The stream.
    first, last : int
        Numbers of the epochs.
    max_steps : int or None, default=None
        Of each epoch only so many batches are wanted; None for all.
    """

    def __init__(self, rows, first, last, max_steps=None):
        self._rows = rows
        self._epoch = first
        self._last = last
        self._max_steps = max_steps
        self._batches = self._next = self._seed = None
        self._step = 0

    @property
    def is_done(self):
        """Whether nothing is left."""
        return self._epoch >= self._last

    def take(self, budget):
        """Read the next batches of an epoch.

        Parameters
        ----------
        budget : int
            How many at most.

        Returns
        -------
        span : tuple or None
            The rows as `Rows.take` returns them; one segment, as ``(n_steps, starts_epoch,
            ends_epoch, epoch)``; and the number of rows of each step. None if nothing is left.
        """
        if self.is_done:
            return None
        starts = self._batches is None
        if starts:
            self._batches = itertools.islice(self._rows.epoch(), self._max_steps)
            self._next = next(self._batches, None)
            self._seed, self._step = self._rows.draw_seed(), 0
            if self._next is None:
                raise ValueError("X has no batches in this pass; expected as many as before.")
        taken = [self._next, *itertools.islice(self._batches, budget - 1)]
        self._next = next(self._batches, None)
        segment = len(taken), starts, self._next is None, self._epoch
        if self._next is None:
            self._epoch, self._batches = self._epoch + 1, None
        batch = self._rows.prepared(taken, self._seed, self._step)
        self._step += len(taken)
        return batch, [segment], [n_rows(one) for one in taken]


def as_dataset(rows):
    """Wrap a stream as a `tf.data.Dataset`, for Keras's own loops.

    Parameters
    ----------
    rows : StreamedRows
        The stream.

    Returns
    -------
    dataset : tf.data.Dataset
        Every pass over it is an epoch.
    """
    import tensorflow as tf

    # A dataset's own length may count batches without rows. A pass tells, but before training it
    # would put off the dataset's own shuffling by an epoch.
    n_steps = (rows.n_steps if rows.trains else None) or _count(rows.stream)

    def generate():
        try:
            seed, batches = rows.draw_seed(), rows.epoch()
            batch, n_read = next(batches, None), 0
            _check_length(n_read, n_steps, is_last=batch is None)
            while batch is not None:
                following = next(batches, None)
                _check_length(n_read + 1, n_steps, is_last=following is None)
                yield rows.prepared([batch], seed, n_read)
                batch, n_read = following, n_read + 1
        except Exception as error:
            rows.error = error
            raise

    specs = batch_specs(rows.example.take(slice(None)))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=specs)
    if n_steps is not None:
        # Without it Keras warns, at the end of the first epoch, that data ran out.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(n_steps))
    return dataset.prefetch(1)


def _check_length(n_read, n_steps, *, is_last):
    """Raise if a pass has another length than the first, by which Keras plans all epochs."""
    if n_steps is not None and is_last != (n_read == n_steps):
        raise ValueError(
            f"X had {n_steps} batches at first, and now has {n_read if is_last else 'more'}; "
            "expected as many in every pass, since this runs in Keras's own loop, and none without "
            "rows, which aren't counted. Use engine='compiled' without callbacks on batches, or "
            "set fit__steps_per_epoch."
        )


def _count(stream):
    """Count the batches in a pass of its own, unless there is only one."""
    return None if stream.once else sum(1 for _ in stream.batches())
