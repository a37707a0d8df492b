"""Data: arrays that are cut, scaled or read only when a batch is needed."""

from skkeras.data.arrays import LazyArray, lazy, open_npy, open_npy_pairs
from skkeras.data.folds import LazyKFold
from skkeras.data.named import ColumnsToInputs, NamedArrays
from skkeras.data.reshaping import ArrayReshaper
from skkeras.data.scaling import ArrayScaler
from skkeras.windows import windows

__all__ = [
    "ArrayReshaper",
    "ArrayScaler",
    "ColumnsToInputs",
    "LazyArray",
    "LazyKFold",
    "NamedArrays",
    "lazy",
    "open_npy",
    "open_npy_pairs",
    "windows",
]
