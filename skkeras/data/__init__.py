"""Data: arrays that are cut, scaled or read only when a batch is needed."""

from skkeras.windows import windows

__all__ = ["windows"]
