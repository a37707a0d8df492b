"""Tokens: nested tuples of plain values which stand for Python objects, read by content.

Equal tokens mean that code which is given one object does what it does with the other. Functions
are read with their closures and the globals they name, classes with their methods, instances with
their attributes. What can't be read gets a token that nothing else has.
"""

import enum
import functools
import itertools
import logging
import re
import sys
import threading
import types
import weakref
from hashlib import blake2b
from typing import ClassVar

from skkeras._keras_objects.bytecode import read_code
from skkeras._keras_objects.libraries import is_library, library_name

LARGEST_CONSTANT_BYTES = 64 * 2**20
MOST_OBJECTS = 100_000

PLAIN = (type(None), bool, int, float, str)
_ATOMS = {*PLAIN, complex, bytes, type(Ellipsis)}
_REPLACEABLE = (type, types.FunctionType)
# What these give differs from one tracing to the next, and is a constant in the traced graph.
_IMPURE_MODULES = {"random", "time", "secrets", "uuid", "numpy.random"}
_IMPURE_ATTRIBUTES = {("os", "environ"), ("os", "getenv"), ("os", "urandom")}
# Python that a program runs later acts on the objects of the fit that it was traced for.
_RUNS_PYTHON = {"py_function", "numpy_function", "py_func"}
_READS_ANYTHING = {"globals", "locals", "eval", "exec", "__import__"}
_CLASS_BOOKKEEPING = {
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__"),
    *("__annotate__", "__annotate_func__", "__annotations_cache__", "__firstlineno__"),
    *("__static_attributes__", "__parameters__", "__orig_bases__", "__abstractmethods__"),
    "_abc_impl",
}

_fresh_numbers = itertools.count()
_identities: dict = {}
_layouts: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class Walk:
    """One pass over objects, in which those with an identity are numbered as they are met.

    When a user's function, class or instance is met again, its number stands for it. Values are
    read each time: two equal lists and one list twice are the same.

    Attributes
    ----------
    is_shareable : bool
        False once something was met that can't be read.
    strings : set of str
        All text met, in values and in code.
    reads_user_code : bool
        Whether functions or classes were met that aren't a library's.
    """

    known_readers: ClassVar[dict] = {}

    def __init__(self):
        self.is_shareable = True
        self.strings = set()
        self.reads_user_code = False
        self._numbers = {}
        self._alive = []  # so that no other object gets the id of a numbered one
        self._open = {}

    def token(self, obj):
        """Read any object."""
        cls = type(obj)
        if cls in _ATOMS:
            if cls is str:
                self.strings.add(obj)
            return obj
        reader = self.known_readers.get(cls)
        if reader is None:
            reader = _readers.get(cls) or self.find_reader(cls)
            if library_name(cls) is not None:
                self.known_readers[cls] = reader
        return reader(self, obj)

    def find_reader(self, cls):
        """Find the method that reads instances of a class; only asked once for a library's."""
        for base, reader in _readers_of_subclasses:
            if issubclass(cls, base):
                return reader
        return Walk.instance

    def fresh(self):
        """Make a token that nothing else has, for what can't be read."""
        self.is_shareable = False
        return ("fresh", next(_fresh_numbers))

    def identity(self, obj):
        """Tell which object it is, for as long as it lives."""
        key = id(obj)
        known = _identities.get(key)
        if known is None or known[0]() is not obj:
            reference = weakref.ref(obj, lambda _: _identities.pop(key, None))
            known = _identities[key] = (reference, next(_fresh_numbers))
        return ("identity", known[1])

    def numbered(self, obj, read, kind=None):
        """Read an object that has an identity when it is met first."""
        key = (id(obj), kind)
        number = self._numbers.get(key)
        if number is not None:
            return ("met", number)
        number = self._numbers[key] = len(self._numbers)
        self._alive.append(obj)
        if number > MOST_OBJECTS:
            raise RuntimeError(f"These are more than {MOST_OBJECTS} objects.")
        return ("number", number, read(obj))

    def nested(self, value, read):
        """Read a value; where it contains itself, tell the level at which it does."""
        level = self._open.get(id(value))
        if level is not None:
            return ("level", level)
        self._open[id(value)] = len(self._open)
        try:
            return read(value)
        finally:
            del self._open[id(value)]

    def attributes(self, items):
        """Read pairs of names and values, in any order."""
        return tuple(sorted([(name, self.token(value)) for name, value in [*items]]))

    # Values

    def _sequence(self, values):
        items = self.nested(values, lambda _: tuple([self.token(v) for v in [*values]]))
        kind = "tuple" if isinstance(values, tuple) else "list"
        return (kind, self._of_subclass(values), items)

    def _mapping(self, values):
        # The order counts, since code may iterate over it.
        items = self.nested(
            values, lambda _: tuple([(self.token(k), self.token(v)) for k, v in [*values.items()]])
        )
        factory = getattr(values, "default_factory", None)
        return ("dict", self._of_subclass(values), items, factory and self.token(factory))

    def _set(self, values):
        items = tuple(sorted([self.token(value) for value in [*values]], key=repr))
        return ("set", self._of_subclass(values), items)

    def _of_subclass(self, value):
        """Token of what a user's subclass of list, dict, ... adds to it."""
        cls = type(value)
        if library_name(cls) is not None or is_library(cls.__module__):
            return None
        return self.token(cls), self.attributes(getattr(value, "__dict__", {}).items())

    def _scalar_of_subclass(self, value):
        base = next(base for base in type(value).__mro__ if base in _ATOMS)
        return ("scalar", self.token(base(value)), self._of_subclass(value))

    def _by_repr(self, value):
        return (type(value).__name__, repr(value))

    def _slice(self, value):
        return ("slice", self.token((value.start, value.stop, value.step)))

    def array(self, array):
        """Read a NumPy array of a size that may be a constant."""
        import numpy as np

        if array.nbytes > LARGEST_CONSTANT_BYTES:
            return self.fresh()
        if array.dtype.hasobject:
            values = self.token(array.tolist())
        else:
            octets = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            values = blake2b(octets, digest_size=16).digest()
        return ("array", self._of_subclass(array), str(array.dtype), array.shape, values)

    def _enum(self, member):
        return ("enum", self.token(type(member)), member.name, self.token(member.value))

    def _pattern(self, pattern):
        return ("pattern", pattern.pattern, pattern.flags)

    def _lock(self, _):
        return ("lock",)

    def _logger(self, logger):
        return ("logger", logger.name)

    # Functions and what is called like them

    def _function(self, function):
        return self._named(function) or self.numbered(function, self._function_parts)

    def _named(self, obj):
        name = library_name(obj)
        return self.fresh() if name and _is_impure(name[1]) else name

    def _function_parts(self, function):
        code = read_code(function.__code__)
        in_library = is_library(function.__globals__.get("__name__"))
        if not in_library:
            self.reads_user_code = True
            self.strings |= code.strings
            if code.attributes & _RUNS_PYTHON:
                return self.fresh()
        return (
            "function",
            function.__name__,
            code.body,
            self.token(function.__defaults__),
            self.token(function.__kwdefaults__),
            tuple([self._cell(cell, code) for cell in function.__closure__ or ()]),
            None if in_library else self._globals(function.__globals__, code),
            self.attributes(vars(function).items()),
        )

    def _cell(self, cell, code):
        try:
            value = cell.cell_contents
        except ValueError:
            return ("empty cell",)
        if isinstance(value, types.ModuleType):
            return self._module(value, code)
        return self.token(value)

    def _globals(self, variables, code):
        builtins = vars(sys.modules["builtins"])
        tokens = []
        for name, *attributes in code.chains:
            if name in variables:
                tokens.append((name, *attributes, self._resolve(variables[name], attributes)))
            elif name not in builtins:
                tokens.append((name, "undefined"))
            elif name in _READS_ANYTHING:
                tokens.append(self.fresh())
        for name in sorted(code.imports):
            module = sys.modules.get(name)
            tokens.append((name, module and self._module(module, code)))
        return tuple(tokens)

    def _resolve(self, value, attributes):
        """Token of what ``value.a.b`` reads, if it is a module; else of the value itself."""
        if not isinstance(value, types.ModuleType):
            return self.token(value)
        module, first = value.__name__, attributes[0] if attributes else None
        if _is_impure(module) or (module, first) in _IMPURE_ATTRIBUTES:
            return self.fresh()
        found = vars(value).get(first)
        if isinstance(found, types.ModuleType):
            return self._resolve(found, attributes[1:])
        if is_library(module):
            # Should somebody have put a function of his own there, it is read.
            return (module, self.token(found) if isinstance(found, _REPLACEABLE) else None)
        return (module, first, self.token(found)) if first in vars(value) else self.fresh()

    def _module(self, module, code):
        """Token of a module of which code reads some attributes."""
        names = sorted(code.attributes & vars(module).keys())
        return tuple(
            [self._resolve(module, [name]) for name in names] or [self._resolve(module, [])]
        )

    def _bare_module(self, module):
        return self._resolve(module, [])

    def _code(self, code):
        return ("code", read_code(code).body)

    def _method(self, method):
        return ("method", self.token(method.__func__), self.token(method.__self__))

    def builtin(self, function):
        """Read a function that is written in C, and what it is bound to."""
        name = self._named(function)
        if name is not None:
            return name
        owner = getattr(function, "__self__", None)
        if owner is None or isinstance(owner, types.ModuleType):
            return self.fresh()
        return ("builtin", function.__name__, self.token(owner))

    def _partial(self, partial):
        return ("partial", self.nested(partial, self._partial_parts))

    def _partial_parts(self, partial):
        parts = (partial.func, partial.args, partial.keywords)
        return tuple([self.token(p) for p in parts]), self.attributes(vars(partial).items())

    def _wrapper(self, wrapper):
        return (type(wrapper).__name__, self.token(wrapper.__wrapped__))

    def _property(self, value):
        return ("property", *[self.token(f) for f in (value.fget, value.fset, value.fdel)])

    def _slot(self, slot):
        return ("slot", slot.__name__)

    # Classes and instances

    def cls(self, cls, ignored=frozenset()):
        """Read a class, some of its methods left out if asked for."""
        name = library_name(cls)
        return name or self.numbered(cls, lambda _: self._class(cls, ignored), kind=ignored)

    def _class(self, cls, ignored):
        self.reads_user_code = True
        items = [(k, v) for k, v in vars(cls).items() if k not in _CLASS_BOOKKEEPING]
        return (
            "class",
            cls.__qualname__,
            self.token(type(cls)),
            tuple([self.cls(base, ignored) for base in cls.__bases__]),
            self.attributes((k, v) for k, v in items if k not in ignored),
        )

    def instance(self, obj):
        """Read an object of any class, if its state can be read."""
        cls = type(obj)
        in_library = library_name(cls) is not None
        if _layout(cls)[0]:
            return (callable(obj) and self._named(obj)) or self._pickled(obj, in_library)
        if in_library:
            return self.nested(obj, self.state)
        return self.numbered(obj, self.state)

    def state(self, obj):
        """Read an instance's class, attributes and slots."""
        items = [*getattr(obj, "__dict__", {}).items()]
        slots = _layout(type(obj))[1]
        items += [(name, getattr(obj, name)) for name in slots if hasattr(obj, name)]
        return ("instance", self.token(type(obj)), self.attributes(items))

    def _pickled(self, obj, in_library):
        """Read what a library's object keeps in C as pickle would."""
        try:
            reduced = obj.__reduce_ex__(4) if in_library else None
        except Exception:  # whatever libraries raise for what can't be pickled
            reduced = None
        if not isinstance(reduced, tuple):
            return self.fresh()
        made, *others = [list(part) if hasattr(part, "__next__") else part for part in reduced]
        made = library_name(made) or self.token(made)
        return ("pickled", made, self.nested(obj, lambda _: self.token(others)))


def _is_impure(module):
    return module in _IMPURE_MODULES or module.startswith("numpy.random.")


def _layout(cls):
    """Tell whether instances keep state in C, and the names of their slots."""
    layout = _layouts.get(cls)
    if layout is None:
        members = [vars(base).items() for base in cls.__mro__]
        slots = [k for m in members for k, v in m if type(v) is types.MemberDescriptorType]
        pointers = len(slots) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
        has_more = cls.__basicsize__ > object.__basicsize__ + 8 * pointers
        layout = _layouts[cls] = (has_more or cls.__itemsize__ > 0, slots)
    return layout


_readers = {
    tuple: Walk._sequence,
    list: Walk._sequence,
    dict: Walk._mapping,
    types.MappingProxyType: Walk._mapping,
    set: Walk._set,
    frozenset: Walk._set,
    range: Walk._by_repr,
    bytearray: Walk._by_repr,
    type(NotImplemented): Walk._by_repr,
    slice: Walk._slice,
    re.Pattern: Walk._pattern,
    types.FunctionType: Walk._function,
    types.CodeType: Walk._code,
    types.MethodType: Walk._method,
    types.BuiltinFunctionType: Walk.builtin,
    types.MethodWrapperType: Walk.builtin,
    types.WrapperDescriptorType: Walk.builtin,
    types.MethodDescriptorType: Walk.builtin,
    types.ClassMethodDescriptorType: Walk.builtin,
    types.GetSetDescriptorType: Walk._slot,
    types.MemberDescriptorType: Walk._slot,
    types.ModuleType: Walk._bare_module,
    functools.partial: Walk._partial,
    type(functools.lru_cache(len)): Walk._wrapper,
    staticmethod: Walk._wrapper,
    classmethod: Walk._wrapper,
    property: Walk._property,
    type: Walk.cls,
    type(threading.Lock()): Walk._lock,
    type(threading.RLock()): Walk._lock,
}
_readers_of_subclasses = [
    (type, Walk.cls),
    (enum.Enum, Walk._enum),
    (logging.Logger, Walk._logger),
    ((int, float, complex, str, bytes), Walk._scalar_of_subclass),
    ((list, tuple), Walk._sequence),
    (dict, Walk._mapping),
    ((set, frozenset), Walk._set),
]
