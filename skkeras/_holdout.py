"""Validation split: the rows held out of the training data."""

import reprlib

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from skkeras._targets.base import blocks, label_counts, spans

# What early stopping holds out if nothing else is said; as scikit-learn's MLPs do.
DEFAULT_FRACTION = 0.1
# Rows of a table from which ``early_stopping="auto"`` holds some out.
AUTO_ROWS = 1_000
# scikit-learn takes 75 bytes a row to stratify.
MANY_ROWS = 2**20
_FEW_LABELS = 100


def check_validation_split(split):
    """Raise unless a value is a fraction, a number of rows, a splitter or None."""
    is_number = isinstance(split, int | float | np.number) and not isinstance(split, bool)
    if (
        split is not None
        and not is_number
        and (isinstance(split, str | type) or not hasattr(split, "split"))
    ):
        raise TypeError(
            f"validation_split={reprlib.repr(split)} is of type {type(split).__name__}; expected a "
            "fraction such as 0.1, a splitter such as GroupKFold(5), or None. Data goes to fit, as "
            "X_val=... and y_val=...."
        )
    if is_number and split == 0:
        raise ValueError(
            f"validation_split={split!r} holds nothing out; expected None for that, or a fraction "
            "such as 0.1."
        )


def split_rows(split, n_rows, labels, groups, seed):
    """Return the row numbers to train on and those to validate on.

    ``split`` is the fraction or number of rows to hold out, shuffled, and stratified by ``labels``
    (None: not); or a scikit-learn splitter, whose first split counts.
    """
    if hasattr(split, "split"):
        first = next(iter(split.split(np.arange(n_rows), labels, groups)), None)
        parts = ((), ()) if first is None else _row_numbers(first)
        if not all(map(len, parts)):
            sizes = "no split" if first is None else " and ".join(str(len(part)) for part in parts)
            raise ValueError(
                f"validation_split={split!r} gives {sizes} of {n_rows} rows to train on and to "
                "hold out; expected some of both."
            )
        return parts
    if labels is not None and n_rows >= MANY_ROWS:
        counts = label_counts(blocks(labels))
        share = split if isinstance(split, float | np.floating) else split / n_rows
        # With less than a row of each label on both sides scikit-learn tells what is wrong.
        fewest = min(share, 1 - share) * min(counts.values())
        if len(counts) <= _FEW_LABELS and fewest >= 1:
            return _stratified(share, labels, counts, seed)
    shuffled = ShuffleSplit if labels is None else StratifiedShuffleSplit
    rows = np.broadcast_to(False, n_rows)  # it has a length, and takes no memory
    try:
        splits = shuffled(1, test_size=split, random_state=seed).split(rows, labels)
        return _row_numbers(next(splits))
    except ValueError as error:
        raise ValueError(
            f"validation_split={split!r} can't be held out of {n_rows} samples: "
            f"{str(error).rstrip('.')}. Pass X_val and y_val, or a splitter, or None."
        ) from error


def _stratified(share, labels, counts, seed):
    """Hold out the same share of the rows of every label, in little memory."""
    random_state = np.random.RandomState(seed)
    is_held_out = np.zeros(len(labels), bool)
    for label, n_rows in counts.items():
        rows = _numbers(labels == label)
        random_state.shuffle(rows)
        is_held_out[rows[: round(share * n_rows)]] = True
    return _numbers(~is_held_out), _numbers(is_held_out)


def _numbers(is_chosen):
    """Return the numbers of the rows that are chosen, and take no memory beside them."""
    dtype = np.int32 if len(is_chosen) < 2**31 else np.int64
    numbers, filled = np.empty(np.count_nonzero(is_chosen), dtype), 0
    for rows in spans(len(is_chosen), 8):
        found = np.flatnonzero(is_chosen[rows])
        numbers[filled : filled + len(found)] = found + rows.start
        filled += len(found)
    return numbers


def _row_numbers(parts):
    """Return row numbers, of splitters that give masks too; as int32 where they fit."""
    parts = [np.asarray(part) for part in parts]
    parts = [np.flatnonzero(part) if part.dtype == bool else part for part in parts]
    fit = all(part.dtype.kind in "iu" and part.max(initial=0) < 2**31 for part in parts)
    return tuple(part.astype(np.int32, copy=False) if fit else part for part in parts)
