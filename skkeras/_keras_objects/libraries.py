"""Which functions, classes and modules belong to a library, and so are known by their name."""

import os
import sys

# These don't change while a process runs; anything else is read in full.
_LIBRARIES = {
    *("builtins", "numpy", "scipy", "pandas", "polars", "pyarrow", "sklearn", "joblib", "absl"),
    *("keras", "tensorflow", "tf_keras", "keras_hub", "keras_cv", "keras_nlp", "ml_dtypes"),
    *("tensorflow_probability", "optree", "wrapt", "skkeras"),
}

_names: dict = {}
_roots: dict = {}


def is_library(module):
    """Tell whether a module of this name is Python's own or a library's.

    Parameters
    ----------
    module : str or None

    Returns
    -------
    bool

    Examples
    --------
    >>> from skkeras._keras_objects.libraries import is_library
    >>> is_library("keras.layers"), is_library("json"), is_library("__main__")
    (True, True, False)
    """
    if not isinstance(module, str):
        return False
    root = module.partition(".")[0]
    known = _roots.get(root)
    if known is None:
        known = root in _LIBRARIES
        if root in sys.stdlib_module_names and root in sys.modules:
            known = _comes_with_python(sys.modules[root])
        _roots[root] = known
    return known


def library_name(obj):
    """Find the name under which a library offers a function or class.

    Parameters
    ----------
    obj : object

    Returns
    -------
    name : tuple of str or None
        ``("name", module, name in it)``; None if the object isn't found there. Attributes alone
        prove nothing: `functools.wraps` copies them to functions that aren't the library's.

    Examples
    --------
    >>> import functools, json
    >>> from skkeras._keras_objects.libraries import library_name
    >>> library_name(json.loads)
    ('name', 'json', 'loads')
    >>> library_name(functools.wraps(json.loads)(lambda text: None)) is None
    True
    """
    known = _names.get(id(obj))
    if known is not None:
        return known[1]
    module, path = _claimed_name(obj)
    if not is_library(module) or _look_up(module, path) is not obj:
        return None
    name = ("name", module, path)
    _names[id(obj)] = obj, name  # the module keeps it alive anyway, so no other gets its id
    return name


def _claimed_name(obj):
    path = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    if not isinstance(path, str):
        return None, None
    module = getattr(obj, "__module__", None)
    # NumPy's ufuncs don't tell their module.
    return module or type(obj).__module__, path


def _look_up(module, path):
    first, *others = path.split(".")
    # Not by getattr: some modules answer it with a warning or an import.
    target = getattr(sys.modules.get(module), "__dict__", {}).get(first)
    for part in others:
        target = getattr(target, part, None)
    return target


def _comes_with_python(module):
    """A user's own file may bear the name of a module of the standard library."""
    path = getattr(module, "__file__", None)
    if path is None:
        return True
    inside = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
    return os.path.abspath(path).startswith(inside) and "site-packages" not in path
