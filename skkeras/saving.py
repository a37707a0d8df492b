"""Saving estimators to files."""

import os
import pathlib
import shutil
import uuid

import joblib


def dump(value, path, **options):
    """Save an estimator as `joblib.dump` does, but replace a file only by a complete one.

    If the disk is full, or the process dies meanwhile, an earlier file of this name is as it was.
    Load it with `joblib.load`.

    Parameters
    ----------
    value : object
        An estimator, fitted or not, or a Pipeline or a search with it.
    path : str or os.PathLike
        The file. The new one is written beside it, so there has to be room for both.
    **options : dict
        As ``compress``, for `joblib.dump`.

    Raises
    ------
    OSError
        If it can't be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skkeras import KerasClassifier
    >>> from skkeras.saving import dump
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dump(KerasClassifier(), pathlib.Path(folder) / "net.joblib")
    """
    path = pathlib.Path(path).resolve()  # of a link, the file that it leads to
    # With its suffix, by which joblib chooses a compression.
    beside = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        joblib.dump(value, beside, **options)
        with beside.open("r+b") as file:  # Windows syncs none that is open for reading only
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
