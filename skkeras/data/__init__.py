"""Data: arrays that are cut, scaled or read only when a batch is needed."""

from skkeras.data.arrays import LazyArray, lazy, open_npy, open_npy_pairs
from skkeras.windows import windows

__all__ = ["LazyArray", "lazy", "open_npy", "open_npy_pairs", "windows"]
