"""Facts about code: the names and constants of a function, and which names are libraries'."""

import dis
import os
import sys
import types
import weakref
from typing import NamedTuple

# These don't change while a process runs; anything else is read in full.
_LIBRARIES = {
    *("builtins", "numpy", "scipy", "pandas", "polars", "pyarrow", "sklearn", "joblib", "absl"),
    *("keras", "tensorflow", "tf_keras", "keras_hub", "keras_cv", "keras_nlp", "ml_dtypes"),
    *("tensorflow_probability", "optree", "wrapt", "skkeras"),
}
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_OTHER_NAMES = ("IMPORT_FROM", "STORE_ATTR", "LOAD_SUPER_ATTR")

_facts: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_names: dict = {}
_roots: dict = {}


class CodeFacts(NamedTuple):
    """Instructions and names of a code object and those nested in it.

    ``body`` has instructions, constants and names, but not file and line; ``chains`` dotted names
    that start at a global, such as ``("np", "random", "normal")``; ``attributes`` all names after a
    dot, ``imports`` all modules imported inside, and ``strings`` all constants that are text.
    """

    body: tuple
    chains: tuple
    attributes: frozenset
    imports: frozenset
    strings: frozenset


def read_code(code):
    """Read the facts about a code object, once for each.

    Examples
    --------
    >>> from skkeras._keras_objects.code_facts import read_code
    >>> read_code((lambda x: np.random.normal(x) + offset).__code__).chains
    (('np', 'random', 'normal'), ('offset',))
    """
    facts = _facts.get(code)
    if facts is None:
        facts = _facts[code] = _parse(code)
    return facts


def _parse(code):
    body = (
        code.co_code,
        code.co_consts,
        # As one text, since a name isn't a text that the code reads.
        "\0".join([*code.co_names, "", *code.co_varnames, "", *code.co_freevars]),
        "\0".join(["", *code.co_cellvars]),
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        code.co_exceptiontable,
    )
    chains, attributes, imports = _names_in(code)
    strings = set(_texts(code.co_consts))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            nested = read_code(constant)
            chains |= {*nested.chains}
            attributes |= nested.attributes
            imports |= nested.imports
            strings |= nested.strings
    sets = map(frozenset, (attributes, imports, strings))
    return CodeFacts(body, tuple(sorted(chains)), *sets)


def _names_in(code):
    chains, attributes, imports = set(), set(), set()
    chain = ()
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in _ATTRIBUTES:
            attributes.add(instruction.argval)
            chain = chain and (*chain, instruction.argval)
            continue
        if name == "EXTENDED_ARG":
            continue
        chains.add(chain)
        chain = (instruction.argval,) if name in _GLOBALS else ()
        if name == "IMPORT_NAME":
            imports.add(instruction.argval)
        elif name in _OTHER_NAMES:
            attributes.add(instruction.argval)
    chains.add(chain)
    return chains - {()}, attributes, imports


def _texts(constants):
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple | frozenset):
            yield from _texts(constant)


def is_library(module):
    """True if a module of this name is Python's own or a library's.

    Examples
    --------
    >>> from skkeras._keras_objects.code_facts import is_library
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


def _comes_with_python(module):
    """False for a user's own file named like a module of the standard library."""
    path = getattr(module, "__file__", None)
    if path is None:
        return True
    inside = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
    return os.path.abspath(path).startswith(inside) and "site-packages" not in path


def library_name(obj):
    """Module and name by which a library offers a function or class; None if it isn't found there.

    Its attributes alone prove nothing: `functools.wraps` copies them to users' functions.

    Examples
    --------
    >>> import functools, json
    >>> from skkeras._keras_objects.code_facts import library_name
    >>> library_name(json.loads)
    ('json', 'loads')
    >>> library_name(functools.wraps(json.loads)(lambda text: None)) is None
    True
    """
    known = _names.get(id(obj))
    if known is not None:
        return known[1]
    path = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    # NumPy's ufuncs don't tell their module.
    module = getattr(obj, "__module__", None) or type(obj).__module__
    if not isinstance(path, str) or not is_library(module) or _look_up(module, path) is not obj:
        return None
    _names[id(obj)] = obj, (module, path)  # the module keeps it alive anyway: no other gets its id
    return module, path


def _look_up(module, path):
    first, *others = path.split(".")
    # Not by getattr: some modules answer it with a warning or an import.
    target = getattr(sys.modules.get(module), "__dict__", {}).get(first)
    for part in others:
        target = getattr(target, part, None)
    return target
