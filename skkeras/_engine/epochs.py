"""Epochs: the rows of one pass over the training data, in its order."""

import concurrent.futures
import contextlib
import threading

import numpy as np

from skkeras._tree import leaves, map_leaves
from skkeras.data._cancellation import check_stopped, stoppable
from skkeras.data._shuffling import block_order
from skkeras.data._streams import joined

_SECONDS_BETWEEN_LOOKS = 0.2


def begin_epoch(rows, generator):
    """Draw the order of an epoch.

    Parameters
    ----------
    rows : Rows
        Training data.
    generator : numpy.random.Generator or None
        Where the order comes from; None keeps the rows in theirs.

    Returns
    -------
    epoch : Epoch
    """
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
    """One pass over rows in memory.

    Parameters
    ----------
    rows : Rows
        All of them.
    order : int array of shape (n_rows,)
        Their indices.
    """

    def __init__(self, rows, order):
        self.rows = rows
        self.order = order
        self._augment = None

    def augment_by(self, augment, seed, batch_size):
        """Let a function change the inputs of every step; see `skkeras._engine.augmentation`."""
        self._augment, self._seed, self._batch_size = augment, seed, batch_size

    def take(self, start, stop):
        """Return a stretch of the epoch, as `Rows.take` does."""
        return self.rows.take(self.order[start:stop])

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
    """One pass over rows that are read group by group; stretches are taken from front to back.

    Parameters
    ----------
    rows : Rows
        All of them, in storage order if they are shuffled.
    order : BlockOrder
        Their groups.
    """

    def __init__(self, rows, order):
        super().__init__(rows, order)
        self._number = self._loaded = self._order_within = None

    def take(self, start, stop):
        """Return a stretch of the epoch, as `Rows.take` does."""
        batches = []
        for number, first, last in self.order.spans(start, stop):
            if number != self._number:
                self._loaded = None  # its memory is free for the next
                indices, self._order_within = self.order.group(number)
                self._loaded, self._number = self.rows.loaded(indices), number
            batches.append(self._loaded.take(self._order_within[first:last]))
        return joined(batches)


def take_stretches(stretches):
    """Return the rows of stretches, ``(epoch, start, stop)``, one after the other."""
    rows, first = stretches[0][0].rows, 0
    if rows.lazy is None:  # a single copy
        batch = rows.take(np.concatenate([epoch.order[a:b] for epoch, a, b in stretches]))
    else:
        batch = joined([epoch.take(start, stop) for epoch, start, stop in stretches])
    for epoch, start, stop in stretches:
        where = slice(first, first + stop - start)
        epoch.change(map_leaves(lambda leaf, where=where: leaf[where], batch[0]), start)
        first = where.stop
    return batch


@contextlib.contextmanager
def read_ahead(take, plan, *, in_thread):
    """Take the rows of one call after the other; in a thread, those of the next call meanwhile.

    Parameters
    ----------
    take : callable
        Gets a planned call, and returns its rows.
    plan : iterator
        The calls; each is planned when the one before the one before it is done.
    in_thread : bool
        Whether to read ahead.

    Yields
    ------
    calls : iterator of (call, rows)
        An error in the thread comes out of it. When the context ends so does the thread, after
        the block of rows that it is reading.
    """
    if not in_thread:
        yield ((call, take(call)) for call in plan)
        return
    stop = threading.Event()

    def taken(call):
        with stoppable(stop.is_set):
            return take(call)

    with concurrent.futures.ThreadPoolExecutor(1, "skkeras-reader") as pool:
        calls = _ahead(pool, taken, plan)
        try:
            yield calls
        finally:
            stop.set()
            calls.close()
            pool.shutdown(wait=True, cancel_futures=True)


def _ahead(pool, take, plan):
    waiting = None
    for call in plan:
        following = call, pool.submit(take, call)
        if waiting is not None:
            yield waiting[0], _result(waiting[1])
        waiting = following
    if waiting is not None:
        yield waiting[0], _result(waiting[1])


def _result(future):
    """Wait for a result, and for Ctrl-C.

    Python notices a signal when a wait ends, and it doesn't end by itself once somebody has called
    `signal.siginterrupt`, as asyncio does.
    """
    while not future.done():
        concurrent.futures.wait([future], timeout=_SECONDS_BETWEEN_LOOKS)
    return future.result()
