"""Row order of an epoch over data that is read block by block.

Blocks are shuffled, then taken together in groups as large as a buffer, whose rows are shuffled.
Every row comes once in an epoch, and every block is read once.
"""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class BlockOrder:
    """Order of rows in groups of blocks, which are read one after the other.

    ``begins`` and ``ends`` hold the rows of each block, in the order of the epoch; ``group_ends``
    the cumulative number of blocks; ``seed`` is None if rows aren't shuffled. Nothing is as long
    as the data: the rows of a group are computed when it comes.
    """

    begins: np.ndarray
    ends: np.ndarray
    group_ends: np.ndarray
    seed: Any

    def __len__(self):
        return int((self.ends - self.begins).sum())

    def group(self, number):
        """Return a group's rows, sorted, and the epoch's order as indices into them."""
        first = self.group_ends[number - 1] if number else 0
        blocks = slice(first, self.group_ends[number])
        pairs = zip(np.sort(self.begins[blocks]), np.sort(self.ends[blocks]), strict=True)
        rows = np.concatenate([np.arange(begin, end) for begin, end in pairs])
        if self.seed is None:
            return rows, np.arange(len(rows))
        return rows, np.random.default_rng([self.seed, number]).permutation(len(rows))

    def spans(self, start, stop):
        """Yield ``(group, first, last)`` for positions ``start`` to ``stop`` of the epoch."""
        group_rows = np.cumsum(self.ends - self.begins)[self.group_ends - 1]
        number = int(np.searchsorted(group_rows, start, side="right"))
        while start < stop:
            begin = int(group_rows[number - 1]) if number else 0
            end = min(stop, int(group_rows[number]))
            yield number, start - begin, end - begin
            start, number = end, number + 1


def block_order(ends, rows_at_once, generator):
    """Draw the row order of an epoch, in groups of ``rows_at_once``, give or take a block.

    ``ends`` has the cumulative rows of the blocks; without a generator the order stays.

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
