"""Streaming: training on data that comes in batches of its own, and can't be indexed.

The steps are those that the batches make. As many as a call should take are joined and run inside
one compiled program; a model that programs can't run is trained by Keras's own loop.
"""

import itertools

from skkeras.data.streams import joined, n_rows
from skkeras.engine.program import batch_specs


class StreamedRows:
    """Batches of a stream, as the engine takes them.

    Parameters
    ----------
    stream : skkeras.data.streams.Stream
        Where batches come from.
    as_rows : callable
        ``as_rows(x, y, weight)`` checks and encodes a batch, and returns `Rows`.
    steps_per_epoch : int or None, default=None
        Batches in an epoch; None for as many as there are.
    trains : bool, default=True
        Whether passes are epochs of training, which a PyDataset is told of.
    """

    def __init__(self, stream, as_rows, steps_per_epoch=None, trains=True):
        self.stream = stream
        self.as_rows = as_rows
        self.steps_per_epoch = steps_per_epoch
        self.trains = trains
        self.example = as_rows(*stream.first())
        self._endless = None

    @property
    def n_steps(self):
        """Batches in an epoch, if that is known."""
        known = self.stream.n_batches
        return self.steps_per_epoch or (known if known is not None and known >= 0 else None)

    def epoch(self):
        """Begin an epoch; with ``steps_per_epoch``, where the last one ended."""
        if self.steps_per_epoch is None:
            return self.stream.epoch() if self.trains else self.stream.batches()
        if self._endless is None:
            self._endless = self.stream.endless()
        return itertools.islice(self._endless, self.steps_per_epoch)

    def spans(self, batches, budget):
        """Join batches for compiled calls.

        Parameters
        ----------
        batches : iterator
            Of an epoch, or of a pass.
        budget : callable
            Returns how many batches the next call should take.

        Yields
        ------
        batch : tuple of arrays
            The rows of some batches.
        sizes : list of int
            How many each has.
        is_last : bool
            Whether no more follow.
        """
        coming = next(batches, None)
        while coming is not None:
            taken = [coming, *itertools.islice(batches, budget() - 1)]
            coming = next(batches, None)
            rows = self.as_rows(*joined(taken))
            yield rows.take(slice(None)), [n_rows(one) for one in taken], coming is None


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

    def generate():
        for batch in rows.epoch():
            yield rows.as_rows(*batch).take(slice(None))

    specs = batch_specs(rows.example.take(slice(None)))
    return tf.data.Dataset.from_generator(generate, output_signature=specs).prefetch(1)
