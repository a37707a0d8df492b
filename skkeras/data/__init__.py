"""Data: lazy arrays, named inputs, scaling and reshaping of any rank, sliding windows."""

from skkeras.data._arrays import LazyArray
from skkeras.data._folds import LazyKFold
from skkeras.data._named import ColumnsToInputs, NamedArrays
from skkeras.data._opening import lazy, open_npy, open_npy_pairs
from skkeras.data._reshaping import ArrayReshaper
from skkeras.data._scaling import ArrayScaler
from skkeras.data._windows import windows

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
