"""Pickles that name private classes apart from where they live, so that modules may move.

A pickle of such an object holds `new`, the class's name and the object's attributes.
"""

import importlib

# Pickles hold the names for ever; the modules are those of this version.
_MODULES = {
    "ArrayPart": "data._parts",
    "FilePart": "data._npy",
    "HeldOut": "forecasting._intervals",
    "HorizonTarget": "forecasting._target",
    "Inputs": "forecasting._windows",
    "Labels": "_targets.classification",
    "LearnedSeries": "forecasting._learned",
    "LossFacts": "_losses",
    "MultiOutput": "_targets.base",
    "Multilabel": "_targets.classification",
    "NetFacts": "_keras_objects.internals",
    "OneHot": "_targets.classification",
    "Past": "forecasting._context",
    "RegressionTarget": "_targets.regression",
    "Runs": "data._selection",
    "Scaling": "forecasting._scaling",
    "Storage": "data._storage",
    "Timeline": "forecasting._time_index",
    "Windows": "forecasting._windows",
    "ByStep": "_targets.steps",
    "_Columns": "data._arrays",
    "_ForecastScorer": "forecasting._scorer",
    "_NaiveScorer": "forecasting._scorer",
    "_Step": "data._arrays",
    "_open_hdf5": "data._parts",
}


class PickledByName:
    """Mixin of private classes whose instances are pickled: by name, with their attributes."""

    def __reduce__(self):
        return new, (type(self).__name__,), self.__getstate__()


def new(name):
    """Make an object of a private class, without calling its ``__init__``.

    Examples
    --------
    >>> from skkeras._pickling import new
    >>> new("LossFacts").is_builtin
    True
    """
    cls = _found(name)
    return cls.__new__(cls)


def call(name, *arguments):
    """Call a private function."""
    return _found(name)(*arguments)


def _found(name):
    if name not in _MODULES:
        raise ValueError(
            f"The pickle holds {name!r}, which this version of skkeras doesn't know; expected what "
            "it has written itself. Load it with the version that wrote it."
        )
    return getattr(importlib.import_module(f"skkeras.{_MODULES[name]}"), name)
