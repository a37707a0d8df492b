"""Lazy arrays of ``.npy`` files and of array-likes."""

import os

import numpy as np
from scipy.sparse import issparse

from skkeras.data._arrays import LazyArray
from skkeras.data._npy import check_pairs, memmap_part, npy_part, npy_paths
from skkeras.data._parts import ArrayPart, check_open


def open_npy(paths, *, one_per_file=False):
    """Open ``.npy`` files as one array, without reading more than their headers.

    Parameters
    ----------
    paths : path-like or iterable of path-likes
        A folder, of which all ``.npy`` files are meant; a pattern such as ``"scans/*.npy"``; a
        file; or several of these. Files of a folder or a pattern come in the order of their
        names, numbers in them by size: day 2 before day 10.
    one_per_file : bool, default=False
        Whether every file is a sample, rather than several along its first axis: a scan of shape
        (64, 64) then makes a row of that shape.

    Returns
    -------
    array : LazyArray
        The rows of all files, one after the other.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is damaged, holds Python objects, or has rows of another shape or dtype than the
        first one.

    Examples
    --------
    Features and label in one file:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skkeras import data
    >>> folder = Path(tempfile.mkdtemp())
    >>> for day in range(3):
    ...     np.save(folder / f"day_{day}.npy", np.full((2, 5), float(day)))
    >>> rows = data.open_npy(folder)
    >>> X, y = rows[:, :-1], np.asarray(rows[:, -1])
    >>> X.shape, y
    ((6, 4), array([0., 0., 1., 1., 2., 2.]))
    >>> data.open_npy(folder / "week_*.npy")
    Traceback (most recent call last):
    ...
    FileNotFoundError: ...week_*.npy', and found no file; expected a pattern that files match.
    """
    return LazyArray([npy_part(path, one_per_file) for path in npy_paths(paths)])


def open_npy_pairs(inputs, labels, *, one_per_file=False):
    """Open ``.npy`` files of inputs, and the files with their labels.

    Parameters
    ----------
    inputs : path-like or iterable of path-likes
        As in `open_npy`.
    labels : path-like or iterable of path-likes
        The same number of files, in the same order: numbers in their names must agree,
        unless both are lists.
    one_per_file : bool, default=False
        As in `open_npy`, for both.

    Returns
    -------
    X, y : LazyArray
        Labels are mostly small, and scikit-learn reads all of them: take ``np.asarray(y)``.

    Raises
    ------
    FileNotFoundError, ValueError
        As in `open_npy`; also if a file has more or fewer rows than the one with its labels.
    """
    X, y = (open_npy(paths, one_per_file=one_per_file) for paths in (inputs, labels))
    were_found = isinstance(inputs, str | os.PathLike) and isinstance(labels, str | os.PathLike)
    check_pairs(X._storage.parts, y._storage.parts, were_found)
    return X, y


def lazy(*arrays):
    """Make one lazy array of arrays that lie on disk, or in memory.

    Parameters
    ----------
    *arrays : array-like
        Anything with ``shape``, ``dtype`` and slices: HDF5 datasets, zarr and dask arrays,
        `numpy.memmap`, ndarrays, lazy arrays. The rows of one follow those of another.

    Returns
    -------
    array : LazyArray

    Raises
    ------
    TypeError
        If something is no such array.
    ValueError
        If their rows differ in shape or dtype, or the file of an HDF5 dataset is closed.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras import data
    >>> data.lazy(np.zeros((2, 3)), np.zeros((4, 3)))
    LazyArray(shape=(6, 3), dtype=float64, n_parts=2)
    >>> data.lazy([1, 2])
    Traceback (most recent call last):
    ...
    TypeError: Got a list; expected something with a shape, a dtype and slices. Pass data.lazy(*a)
    for several arrays, or np.asarray(a).
    """
    if not arrays:
        raise TypeError("data.lazy() got nothing; expected one array at least.")
    return LazyArray([part for array in arrays for part in _parts_of(array)])


def _parts_of(array):
    if isinstance(array, LazyArray):
        is_whole = array._rows.is_range and len(array) == array._storage.n_rows
        if is_whole and not array._steps and array._finite[0] is None:
            return array._storage.parts
        return [ArrayPart(array)]
    check_open(array, "The HDF5 dataset")
    is_unfit = issparse(array) or isinstance(array, np.ma.MaskedArray)
    if is_unfit or not _is_array_like(array):
        raise TypeError(
            f"Got a {type(array).__name__}; expected something with a shape, a dtype and slices. "
            "Pass data.lazy(*a) for several arrays, or np.asarray(a)."
        )
    if not len(array.shape):
        raise ValueError("Got an array of shape (); expected one with rows.")
    part = memmap_part(array) if isinstance(array, np.ndarray) else None
    return [ArrayPart(array) if part is None else part]


def _is_array_like(array):
    try:
        np.dtype(array.dtype)  # TensorFlow's and PyTorch's are others
    except (AttributeError, TypeError):
        return False
    return hasattr(array, "shape") and hasattr(array, "__getitem__")
