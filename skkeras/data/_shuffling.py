"""Shuffling: the row order of an epoch over data that is read block by block.

The blocks are shuffled, and as many of them as a buffer holds are taken together and their rows
shuffled. Every row comes once in an epoch, and every block is read once.
"""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class BlockOrder:
    """An order of rows in groups that are read one after the other.

    Nothing in it is as long as the data: what belongs to a group is worked out when it comes.

    Parameters
    ----------
    begins, ends : int arrays of shape (n_blocks,)
        Which rows each block has, in the order of the epoch.
    group_ends : int array of shape (n_groups,)
        How many blocks there are up to the end of each group.
    seed : int or None
        Of the order within groups; None if the rows aren't shuffled.
    """

    begins: np.ndarray
    ends: np.ndarray
    group_ends: np.ndarray
    seed: Any

    def __len__(self):
        return int((self.ends - self.begins).sum())

    def group(self, number):
        """Return the rows of a group as they are stored, and their order in the epoch.

        Returns
        -------
        rows : int array of shape (n_rows,)
            Sorted.
        order : int array of shape (n_rows,)
            Indices into ``rows``.
        """
        first = self.group_ends[number - 1] if number else 0
        blocks = slice(first, self.group_ends[number])
        pairs = zip(np.sort(self.begins[blocks]), np.sort(self.ends[blocks]), strict=True)
        rows = np.concatenate([np.arange(begin, end) for begin, end in pairs])
        if self.seed is None:
            return rows, np.arange(len(rows))
        return rows, np.random.default_rng([self.seed, number]).permutation(len(rows))

    def spans(self, start, stop):
        """Yield the groups that a stretch of the epoch touches.

        Yields
        ------
        number, first, last : int
            A group, and from where to where in its order.
        """
        group_rows = np.cumsum(self.ends - self.begins)[self.group_ends - 1]
        number = int(np.searchsorted(group_rows, start, side="right"))
        while start < stop:
            begin = int(group_rows[number - 1]) if number else 0
            end = min(stop, int(group_rows[number]))
            yield number, start - begin, end - begin
            start, number = end, number + 1


def block_order(ends, rows_at_once, generator):
    """Draw the row order of an epoch.

    Parameters
    ----------
    ends : int array of shape (n_blocks,)
        How many rows there are up to the end of each block.
    rows_at_once : int
        How many rows a group has, give or take a block.
    generator : numpy.random.Generator or None
        Where the order comes from; None keeps the rows in theirs.

    Returns
    -------
    order : BlockOrder

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras.data._shuffling import block_order
    >>> order = block_order(np.array([2, 4, 6, 8]), 4, np.random.default_rng(1))
    >>> for number in range(2):
    ...     rows, order_within = order.group(number)
    ...     print(rows[order_within])
    [7 3 2 6]
    [0 5 1 4]
    """
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    seed = None
    if generator is not None:
        seed = int(generator.integers(2**63))
        mixed = np.random.default_rng(seed).permutation(len(ends))
        begins, ends = begins[mixed], ends[mixed]
    before = np.cumsum(ends - begins) - (ends - begins)
    n_rows = int((ends - begins).sum())
    # Equally large groups: a small one at the end would hardly be shuffled.
    n_groups = max(1, round(n_rows / max(rows_at_once, 1)))
    groups = before * n_groups // max(n_rows, 1)
    group_ends = np.append(np.flatnonzero(np.diff(groups)) + 1, len(ends))
    return BlockOrder(begins, ends, group_ends, seed)
