"""Files of rows: `.npy` files and memory maps, read block by block.

A file is opened for each block and closed again, so that none stays open, and read by plain
reads: pages of a memory map would count as the process's memory, and end it by a signal if the
file became shorter.
"""

import dataclasses
import functools
import glob
import io
import os
import re
import struct
from pathlib import Path

import numpy as np

from skkeras._pickling import PickledByName
from skkeras.data._parts import rows_of

_MAGIC = b"\x93NUMPY"
# The longest header that NumPy writes for plain dtypes.
_HEADER_BYTES = 4096


@dataclasses.dataclass(frozen=True)
class FilePart(PickledByName):
    """Rows of an array in a file.

    ``path`` is absolute, ``offset`` the byte at which the array begins, ``by_column`` Fortran
    order. ``state``, the size, modification time and inode when it was opened, may not change.
    """

    path: str
    shape: tuple
    dtype: np.dtype
    offset: int
    state: tuple
    by_column: bool = False

    in_memory = False
    reads_any_row = True

    @property
    def name(self):
        """Description for error messages."""
        return self.path

    def block_rows(self, n_bytes):
        """Return the number of rows in a block of about ``n_bytes``."""
        return rows_of(n_bytes, self.shape, self.dtype)

    def read(self, start, stop):
        """Return neighbouring rows; OSError if the file is gone, or has changed."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                self._check_unchanged(file)
                return self._read(file, start, stop)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.path} has disappeared since it was opened; expected it to stay while its "
                "rows are in use. Put it back, or open the files that are there."
            ) from error

    def _check_unchanged(self, file):
        now = _state(os.fstat(file.fileno()))
        if now != self.state:
            raise OSError(
                f"{self.path} has changed since it was opened: {_difference(now, self.state)}; "
                "expected the same contents while its rows are in use. Open it anew."
            )

    def _read(self, file, start, stop):
        n_rows, width = stop - start, int(np.prod(self.shape[1:], dtype=np.int64))
        if not self.by_column:
            rows = np.empty((n_rows, *self.shape[1:]), self.dtype)
            self._fill(file, rows, start * width)
            return rows
        if n_rows == self.shape[0]:
            values = np.empty(n_rows * width, self.dtype)
            self._fill(file, values, 0)
            return values.reshape(self.shape, order="F")
        columns = np.empty((width, n_rows), self.dtype)
        for number, column in enumerate(columns):
            self._fill(file, column, number * self.shape[0] + start)
        return np.moveaxis(columns.reshape(*self.shape[:0:-1], n_rows), -1, 0).transpose(
            0, *range(len(self.shape) - 1, 0, -1)
        )

    def _fill(self, file, values, first):
        """Fill an array with values from number ``first`` on."""
        if not values.nbytes:
            return
        file.seek(self.offset + first * self.dtype.itemsize)
        buffer, n_read = memoryview(values.reshape(-1).view(np.uint8)), 0
        while n_read < len(buffer):
            n_new = file.readinto(buffer[n_read:])
            if not n_new:
                raise OSError(
                    f"{self.path} ended {len(buffer) - n_read} bytes early; expected "
                    f"{self.state[0]} bytes, as when it was opened. It was truncated since."
                )
            n_read += n_new


def npy_part(path, one_per_file=False):
    """Read the header of an `.npy` file; ``one_per_file`` makes its array a single row."""
    path = os.path.abspath(path)
    try:
        with open(path, "rb", buffering=0) as file:
            begin, state = file.read(_HEADER_BYTES), _state(os.fstat(file.fileno()))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} doesn't exist; expected a .npy file, a folder of such files, or a pattern "
            "such as 'scans/*.npy'."
        ) from error
    if not begin:
        raise ValueError(f"{path} is empty; expected a .npy file, as numpy.save writes.")
    if not begin.startswith(_MAGIC):
        raise ValueError(
            f"{path} begins with {begin[:6]!r}; expected a .npy file, as numpy.save writes, which "
            f"begins with {_MAGIC!r}."
        )
    try:
        header = begin[: _header_end(begin)]
        shape, by_column, dtype = _parsed(header)
    except Exception as error:
        raise ValueError(
            f"{path} has a damaged or unknown header: {error} Expected one of version 1 or 2, as "
            "numpy.save writes."
        ) from error
    if dtype.hasobject:
        raise ValueError(
            f"{path} holds Python objects; expected numbers, bools or strings. Objects are not "
            "loaded, since a file could run code that way. Save an array of a plain dtype."
        )
    if dtype.kind not in "biufUS":
        raise ValueError(
            f"{path} has the dtype {dtype}; expected numbers, bools or strings. Save an array of "
            "one of these."
        )
    if not shape and not one_per_file:
        raise ValueError(
            f"{path} holds a single value; expected an array with rows. If every file is a sample, "
            "say one_per_file=True."
        )
    expected = len(header) + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if state[0] != expected:
        problem = "is truncated" if state[0] < expected else "has further data behind its array"
        raise ValueError(
            f"{path} {problem}: it has {state[0]} bytes; expected {expected} for shape {shape} "
            f"and dtype {dtype}. Write it again, by one call of numpy.save."
        )
    by_column = by_column and len(shape) > 1
    shape = (1, *shape) if one_per_file else shape
    return FilePart(path, shape, dtype, len(header), state, by_column)


def _header_end(begin):
    version = begin[6]
    if version not in (1, 2):
        raise ValueError(f"its format has the version {version}.")
    size, length = (10, "<H") if version == 1 else (12, "<I")
    end = size + struct.unpack(length, begin[size - struct.calcsize(length) : size])[0]
    if end > len(begin):
        raise ValueError(f"it is said to have {end} bytes, and {len(begin)} were found.")
    return end


@functools.lru_cache(maxsize=64)
def _parsed(header):
    """Parse a header; cached, since most files of a folder have the same."""
    read = {
        1: np.lib.format.read_array_header_1_0,
        2: np.lib.format.read_array_header_2_0,
    }[header[6]]
    return read(io.BytesIO(header[8:]))


def memmap_part(array):
    """Return the file of a `numpy.memmap`, or a view of one, as a part; None for other arrays.

    Plain reads then replace its pages, and pickles hold no data.
    """
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    by_column = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
    is_whole = (array.flags.c_contiguous or by_column) and array.ndim
    if not is_whole or array.dtype.kind not in "biufUS":
        return None
    if not isinstance(root, np.memmap) or root.filename is None:
        return None
    if root.mode == "c":  # copy on write: changes never reach the file
        return None
    if root.mode != "r":
        root.flush()  # the file shall contain all changes
    skipped = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    path = os.path.abspath(root.filename)
    offset, state = root.offset + skipped, _state(os.stat(path))
    return FilePart(path, array.shape, array.dtype, offset, state, by_column)


def npy_paths(paths):
    """List files by folder, pattern, path, or several of these, as `open_npy` explains.

    Names are sorted with numbers by size (day 2 before day 10); a list keeps its order.
    """
    if isinstance(paths, bytes):
        paths = os.fsdecode(paths)
    if not isinstance(paths, str | os.PathLike):
        if not np.iterable(paths):
            raise TypeError(
                f"Got paths={paths!r}; expected the path of a folder or a file, a pattern such as "
                "'scans/*.npy', or several of these."
            )
        files = [file for one in paths for file in npy_paths(one)]
        if not files:
            raise FileNotFoundError("Got no paths of .npy files; expected one at least.")
        return files
    path = os.fspath(paths)
    if os.path.isdir(path):
        names = [name for name in os.listdir(path) if name.endswith(".npy")]
        found = [os.path.join(path, name) for name in names if not name.startswith(".")]
        wanted = "expected .npy files in this folder; a pattern, '*/*.npy', finds those of others"
    elif any(sign in path for sign in "*?[") and not os.path.exists(path):
        found, wanted = glob.glob(path, recursive=True), "expected a pattern that files match"
    else:
        return [path]
    if not found:
        raise FileNotFoundError(f"Got paths={path!r}, and found no file; {wanted}.")
    return sorted(found, key=_by_number)


def _by_number(path):
    parts = re.split(r"(\d+)", str(Path(path)))
    return [int(part) if part.isdecimal() else part for part in parts], path


def check_pairs(inputs, labels, were_found):
    """Raise unless input and label files match in number, rows and, if ``were_found``, names.

    Explicit lists (not ``were_found``) may have any names: the caller has put them in order.
    """
    if len(inputs) != len(labels):
        raise ValueError(
            f"Got {len(inputs)} files of inputs and {len(labels)} of labels; expected as many, in "
            f"the same order. The first ones are {inputs[0].name} and {labels[0].name}."
        )
    for one, other in zip(inputs, labels, strict=True):
        if one.shape[0] != other.shape[0]:
            raise ValueError(
                f"{one.name} has {one.shape[0]} rows and {other.name} {other.shape[0]}; expected a "
                "label for each row. Check which files belong together."
            )
        numbers = [re.findall(r"\d+", Path(part.name).stem)[-1:] for part in (one, other)]
        are_several = were_found and len(inputs) > 1
        if are_several and all(numbers) and int(numbers[0][0]) != int(numbers[1][0]):
            raise ValueError(
                f"{one.name} would be paired with {other.name}, which has another number; expected "
                "files with the same numbers. Is one missing? Lists of paths are taken as they are."
            )


def _state(stat):
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _difference(now, before):
    """Say what of a file's state has changed."""
    if now[0] != before[0]:
        return f"it has {now[0]} bytes, and had {before[0]}"
    written = [np.datetime64(state[1], "ns") for state in (now, before)]
    if written[0] != written[1]:
        return f"it has as many bytes, {now[0]}, written at {written[0]} (UTC), not {written[1]}"
    return f"another file, with as many bytes ({now[0]}), has taken its place"
