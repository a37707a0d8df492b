"""Rows: where the engine takes its training and prediction data from.

A source knows how many rows it has and what a row looks like, and hands out the rows it is asked
for, in the order asked. Nothing is converted as a whole: what is read, cast, densified or copied
is what one call to a compiled function needs.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from skkeras._tree import leaves, map_leaves
from skkeras.data._arrays import LazyArray, load_together
from skkeras.data._parts import n_bytes


@dataclasses.dataclass(frozen=True)
class Rows:
    """Inputs, targets and weights, cast (and read, where inputs are lazy) as they are taken.

    Parameters
    ----------
    x : array, sparse matrix, LazyArray, or (nested) dict or list of them
        The inputs; every leaf has the samples along its first axis.
    y : array, Encoded or LazyArray, or dict or list of them, or None
        The targets as the loss wants them; lazy only if inputs are.
    weight : array, Encoded or LazyArray of shape (n_samples,), or dict or list like ``y``, or None
        Sample weights.
    x_dtypes : str or structure like ``x``
        The dtypes of the net's inputs; ``"string"`` for text.
    y_dtypes : str or structure like ``y``, default="float32"
        The dtypes the targets are cast to.
    weight_dtype : str, default="float32"
        The dtype the weights are cast to.
    subset : int array or None, default=None
        Which of the samples count, and in which order; None for all.
    """

    x: Any
    y: Any = None
    weight: Any = None
    x_dtypes: Any = "float32"
    y_dtypes: Any = "float32"
    weight_dtype: str = "float32"
    subset: Any = None

    @property
    def n_rows(self):
        """Number of samples."""
        return leaves(self.x)[0].shape[0] if self.subset is None else len(self.subset)

    def only(self, subset):
        """Return a view of some of the samples."""
        return dataclasses.replace(self, subset=np.asarray(subset))

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

        Returns
        -------
        batch : tuple
            ``(x, y, weight)``, ``(x, y)`` without weights, ``(x,)`` without targets: what
            Keras's ``train_step`` gets.
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


def take_rows(array, indices, dtype):
    """Take rows of an array, dense and cast.

    Parameters
    ----------
    array : ndarray, sparse matrix, or anything indexable by an int array or a slice
        The samples along the first axis.
    indices : int array or slice
        Which rows.
    dtype : str
        A NumPy dtype's name, ``"bfloat16"`` (left as float32 for the net to cast), or
        ``"string"``.

    Returns
    -------
    rows : ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._engine.rows import take_rows
    >>> take_rows(np.arange(4.0), np.array([3, 0]), "float32")
    array([3., 0.], dtype=float32)
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
