"""Parts of a lazy array: the arrays that hold its rows, one after the other."""

import dataclasses
import functools
import math
import os
from typing import Any

import numpy as np
from scipy.sparse import issparse

from skkeras._pickling import PickledByName, call


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayPart(PickledByName):
    """Rows of any array with a shape, a dtype and slices: h5py, zarr, dask, an ndarray.

    Only slices of neighbouring rows are read from it.
    """

    source: Any

    def __post_init__(self):
        _ = self.name  # known from here on, also when the source is closed

    @functools.cached_property
    def shape(self):
        """Shape, as a tuple of ints."""
        return tuple(int(n) for n in self.source.shape)

    @functools.cached_property
    def dtype(self):
        """A NumPy dtype."""
        return np.dtype(self.source.dtype)

    @functools.cached_property
    def place(self):
        """File and name of an HDF5 dataset; None for others."""
        source = self.source
        if not _is_hdf5(source):
            return None
        return os.path.abspath(source.file.filename), source.name

    @property
    def in_memory(self):
        """Whether a slice is a view."""
        return isinstance(self.source, np.ndarray)

    reads_any_row = in_memory  # else rows come in chunks, which are read as a whole

    @functools.cached_property
    def name(self):
        """Description for error messages."""
        if self.place is not None:
            path, name = self.place
            return f"HDF5 dataset {name!r} of shape {self.shape} in {path}"
        return f"{type(self.source).__name__} of shape {self.shape}"

    def block_rows(self, n_bytes):
        """Return the number of rows in a block: about ``n_bytes``, in whole chunks."""
        rows = rows_of(n_bytes, self.shape, self.dtype)
        chunks = getattr(self.source, "chunks", None) or (None,)
        if not isinstance(chunks[0], int):  # dask's are tuples
            return rows
        return max(1, round(rows / chunks[0])) * chunks[0]

    def read(self, start, stop):
        """Return neighbouring rows as an ndarray."""
        check_open(self.source, self.name)
        rows = self.source[start:stop]
        if np.ma.is_masked(rows):
            raise ValueError(
                f"{self.name} has masked values in its rows {start} to {stop}; expected none. Wrap "
                "something that fills them in."
            )
        rows = np.asarray(rows)
        if rows.shape != (stop - start, *self.shape[1:]):
            raise OSError(
                f"{self.name} returned shape {rows.shape} for its rows {start} to {stop}; expected "
                f"{(stop - start, *self.shape[1:])}. It has changed since it was opened."
            )
        if rows.dtype != self.dtype:
            raise ValueError(
                f"{self.name} has dtype {self.dtype}, and returned {rows.dtype} for its rows "
                f"{start} to {stop}; expected the same. Switch off what scales or masks values "
                "(netCDF4: set_auto_maskandscale(False)), and do that by map."
            )
        return rows

    def __reduce__(self):
        """Pickle HDF5 datasets, which can't be pickled, by file and name."""
        return super().__reduce__() if self.place is None else (call, ("_open_hdf5", *self.place))


def check_open(source, name):
    """Raise ValueError if a source is an HDF5 dataset whose file is closed; h5py tells less."""
    if _is_hdf5(source) and not source:
        raise ValueError(
            f"{name} is closed; expected its file to stay open while rows are in use. Call fit and "
            "predict inside the `with h5py.File(...)`, or open the file without one."
        )


def _is_hdf5(source):
    return type(source).__module__.partition(".")[0] == "h5py"


def _open_hdf5(path, name):
    import h5py

    return ArrayPart(h5py.File(path, "r")[name])


def rows_of(n_bytes, shape, dtype):
    """Return the number of rows, at least one, that take about ``n_bytes``."""
    row_bytes = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    return max(1, n_bytes // max(row_bytes, 1))


def n_bytes(array):
    """Return the bytes of an array's values; of a sparse one, its stored values and indices."""
    if issparse(array):
        return array.tocsr().data.nbytes + array.tocsr().indices.nbytes
    return math.prod(array.shape) * np.dtype(array.dtype).itemsize
