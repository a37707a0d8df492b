"""Streaming: training on data that comes in batches of its own, and can't be indexed.

The steps are those that the batches make. As many as a call should take are joined and run inside
one compiled program; a model that programs can't run is trained by Keras's own loop.
"""

import itertools

from skkeras.data.streams import joined, n_rows
from skkeras.engine import plain, training
from skkeras.engine.program import UntraceableError, batch_specs


class StreamedRows:
    """Batches of a stream, as the engine takes them.

    Parameters
    ----------
    stream : skkeras.data.streams.Stream
        Where batches come from.
    as_rows : callable
        ``as_rows(x, y, weight)`` checks and encodes a batch, and returns `Rows`.
    steps : int or None, default=None
        Batches in an epoch; None for as many as there are.
    """

    def __init__(self, stream, as_rows, steps=None):
        self.stream = stream
        self.as_rows = as_rows
        self.steps = steps
        self.example = as_rows(*stream.first())
        self._endless = None

    @property
    def n_steps(self):
        """Batches in an epoch, if that is known."""
        known = self.stream.n_batches
        return self.steps or (known if known is not None and known >= 0 else None)

    @property
    def batch_bytes(self):
        """About how much memory a batch takes."""
        return self.example.row_bytes * self.example.n_rows

    def epoch(self):
        """Begin an epoch of training; with ``steps``, where the last one ended."""
        if self.steps is None:
            return self.stream.epoch()
        if self._endless is None:
            self._endless = self.stream.endless()
        return itertools.islice(self._endless, self.steps)

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


def train(net, rows, schedule, history, *, compiled, fit_arguments=None, **options):
    """Train a net on a stream; see `skkeras.engine.running.train`.

    Parameters
    ----------
    net : Net
        It is changed.
    rows : StreamedRows
        Training data.
    schedule : Schedule
        Only its epochs count: order and sizes of batches are the stream's.
    history : dict of list of float
        It gets a value per epoch for every log.
    compiled : bool
        Whether programs may be used.
    fit_arguments : dict or None, default=None
        Further arguments for `keras.Model.fit`, which runs then.
    **options : dict
        Validation data, as `Rows` or `StreamedRows`; callbacks, verbosity and what to do on
        divergence.
    """
    if compiled and not fit_arguments and not net.wants_keras:
        try:
            training.train(net, rows, schedule, history, **options)
            return
        except UntraceableError:
            pass
    plain.train(net, rows, schedule, history, **options, **(fit_arguments or {}))


def as_dataset(rows, batches):
    """Wrap a stream as a `tf.data.Dataset`, for Keras's own loops.

    Parameters
    ----------
    rows : StreamedRows
        The stream.
    batches : callable
        Returns an iterator over the batches of a pass.

    Returns
    -------
    dataset : tf.data.Dataset
    """
    import tensorflow as tf

    def generate():
        for batch in batches():
            yield rows.as_rows(*batch).take(slice(None))

    specs = batch_specs(rows.example.take(slice(None)))
    return tf.data.Dataset.from_generator(generate, output_signature=specs).prefetch(1)
