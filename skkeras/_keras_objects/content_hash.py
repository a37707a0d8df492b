"""Content of Python objects as bytes: functions of equal bytes do the same.

`pickle` is the walk: it writes plain values and containers itself, and asks
`Contents.reducer_override` about everything else. The bytes are hashed, never loaded. Functions are
written with their closures and the globals they name, classes with their methods, instances with
their attributes, and libraries' functions and classes by name.
"""

# Not cloudpickle's Pickler, which writes functions by value, too: with their line numbers, classes
# with an id drawn for each, and modules and their contents by name, so that a user's module may
# change unnoticed. All of that would have to be overridden. Nor can it be imported everywhere
# without being a dependency: joblib before 1.6 carries it inside, later versions ask for it.

import enum
import functools
import io
import itertools
import logging
import os
import pickle
import re
import sys
import threading
import types
import weakref
from hashlib import blake2b
from typing import ClassVar

from skkeras._keras_objects.code_facts import read_code

LARGEST_CONSTANT_BYTES = 64 * 2**20
MOST_OBJECTS = 100_000

PLAIN = (type(None), bool, int, float, str)
_CONTAINERS = (list, tuple, dict, set, frozenset)
_SCALARS = (int, float, complex, str, bytes)
_REPLACEABLE = (type, types.FunctionType)
# Their results differ from one tracing to the next, and are constants in the traced graph.
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

serial_numbers = itertools.count()
_identities: dict = {}
_layouts: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class UnreadableError(Exception):
    """Raised for an object whose behaviour can't be read."""


def part(*parts):
    """Mark in the bytes for any object that a reader has described; it is never called."""


class Contents(pickle.Pickler):
    """Pickler whose bytes are the contents of the objects dumped.

    A user's function, class or instance that is met again is written as its number. Values are
    written each time: two equal lists and one list twice are the same. With ``follows_cycles``,
    pickle numbers every object it meets, which only values that contain themselves need: then it
    also counts whether equal values are one object. ``reads_user_code`` tells whether functions or
    classes were met that aren't a library's.
    """

    known_readers: ClassVar[dict] = {}  # of libraries' classes; users' may be gone tomorrow

    def __init__(self, follows_cycles=False):
        self._stream = io.BytesIO()
        super().__init__(self._stream, protocol=5)
        self.dump(part)  # from here on two bytes stand for it
        self.fast = not follows_cycles  # without the memo, for which two equal values are two
        self.reads_user_code = False
        self._numbers = {}
        self._alive = []  # so that no other object gets the id of a numbered one

    def digest(self):
        """Hash everything dumped so far."""
        return blake2b(self._stream.getbuffer(), digest_size=16).hexdigest()

    def strings(self):
        """All text written so far, in values and in code, encoded; identifiers aren't text."""
        data = self._stream.getvalue()
        # Other bytes may match, too: equally for equal objects, so they do no harm.
        starts = [match.end() for match in re.finditer(pickle.SHORT_BINUNICODE, data[:-1])]
        return {data[start + 1 : start + 1 + data[start]] for start in starts}

    def reducer_override(self, obj):
        """Describe an object to pickle: as parts, which it writes next, or in pickle's own way."""
        cls = type(obj)
        reader = self.known_readers.get(cls)
        if reader is None:
            reader = self.find_reader(cls)
            if library_name(cls) is not None:
                self.known_readers[cls] = reader
        parts = reader(self, obj)
        # As state, which pickle writes after numbering the object: there may be a cycle.
        return parts if parts is NotImplemented else (part, (), parts)

    def find_reader(self, cls):
        """Find the method that describes instances of a class."""
        reader = _readers.get(cls)
        if reader is not None:
            return reader
        for base, reader in _readers_of_subclasses:
            if issubclass(cls, base):
                return reader
        return Contents.instance

    def identity(self, obj):
        """Number an object, for as long as it lives."""
        key = id(obj)
        known = _identities.get(key)
        if known is None or known[0]() is not obj:
            reference = weakref.ref(obj, lambda _: _identities.pop(key, None))
            known = _identities[key] = (reference, next(serial_numbers))
        return ("Identity", known[1])

    def once(self, obj, describe, kind=None):
        """Describe an object at its first occurrence, by its number afterwards."""
        key = (id(obj), kind)
        number = self._numbers.get(key)
        if number is not None:
            return ("Met", number)
        self._numbers[key] = len(self._numbers)
        self._alive.append(obj)
        if len(self._alive) > MOST_OBJECTS:
            raise UnreadableError(f"These are more than {MOST_OBJECTS} objects.")
        return describe(obj)

    # Values

    def array(self, array):
        """Describe a NumPy array of a size that may be a constant."""
        import numpy as np

        if array.nbytes > LARGEST_CONSTANT_BYTES:
            raise UnreadableError("It is too large.")
        if array.dtype.hasobject:
            values = array.tolist()
        else:
            octets = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            values = blake2b(octets, digest_size=16).digest()
        mask = np.ma.getmask(array)
        mask = None if mask is np.ma.nomask else mask.tobytes()
        extra = _of_subclass(self, array)
        return ("Array", str(array.dtype), array.shape, values, mask, extra)

    # Functions and other callables

    def builtin(self, function):
        """Describe a function written in C, and the object it is bound to."""
        name = _named(self, function)
        if name is not None:
            return name
        owner = getattr(function, "__self__", None)
        # The methods of generators are built-in ones in NumPy 1.26, but not in 2.
        is_drawing = _is_impure(type(owner).__module__)
        if owner is None or isinstance(owner, types.ModuleType) or is_drawing:
            raise UnreadableError(f"{function} is written in C.")
        return ("Builtin", f"def {function.__name__}", owner)

    # Classes and instances

    def cls(self, cls, ignored=frozenset()):
        """Describe a class, without the ignored methods."""
        name = library_name(cls)
        if name is not None:
            return ("Name", ":".join(name))
        return self.once(cls, lambda _: _class(self, cls, ignored), kind=ignored)

    def instance(self, obj):
        """Describe an object of any class, if its state can be read."""
        cls = type(obj)
        in_library = library_name(cls) is not None
        if _layout(cls)[0]:
            name = callable(obj) and _named(self, obj)
            if not name and (not in_library or hasattr(cls, "__next__")):
                raise UnreadableError(f"Instances of {cls} keep state in C.")
            return name or NotImplemented
        return self.state(obj) if in_library else self.once(obj, self.state)

    def state(self, obj):
        """Describe an instance by its class, attributes and slots."""
        items = [*getattr(obj, "__dict__", {}).items()]
        slots = _layout(type(obj))[1]
        items += [(name, getattr(obj, name)) for name in slots if hasattr(obj, name)]
        return ("Instance", type(obj), attributes(items))


def _container(contents, values):
    # The order counts, since code may iterate over it.
    base = next(base for base in _CONTAINERS if isinstance(values, base))
    factory = getattr(values, "default_factory", None)
    extra = _of_subclass(contents, values)
    kind = base if extra else type(values)  # a user's class may iterate over something else
    items = kind.items(values) if base is dict else kind.__iter__(values)
    return ("Container", base(items), factory, extra)


def _scalar(contents, value):
    base = next(base for base in _SCALARS if isinstance(value, base))
    return ("Scalar", *base.__getnewargs__(value), _of_subclass(contents, value))


def _of_subclass(contents, value):
    """Describe what a user's subclass of list, dict, ... adds to it."""
    cls = type(value)
    if library_name(cls) is not None or is_library(cls.__module__):
        return None
    return cls, attributes(getattr(value, "__dict__", {}).items())


def _enum(contents, member):
    return ("Enum", type(member), member.name, member.value)


def _mapping(contents, mapping):
    return ("Mapping", {**mapping})


def _nameless(contents, obj):
    return (type(obj).__name__.title(),)


def _function(contents, function):
    if function is part:
        return NotImplemented
    return _named(contents, function) or contents.once(
        function, functools.partial(_function_parts, contents)
    )


def _named(contents, obj):
    name = library_name(obj)
    # Names with two underscores make a generator of a given state: pickle calls them.
    if name is not None and _is_impure(name[0]) and not name[1].startswith("__"):
        raise UnreadableError(f"{name} may give something else each time.")
    return name and ("Name", ":".join(name))


def _function_parts(contents, function):
    code = read_code(function.__code__)
    in_library = is_library(function.__globals__.get("__name__"))
    if not in_library:
        contents.reads_user_code = True
        if code.attributes & _RUNS_PYTHON:
            raise UnreadableError("It runs Python while a program runs.")
    return (
        "Function",
        f"def {function.__name__}",
        code.body,
        function.__defaults__,
        function.__kwdefaults__,
        [_cell(contents, cell, code) for cell in function.__closure__ or ()],
        None if in_library else _globals(contents, function.__globals__, code),
        attributes(vars(function).items()),
    )


def _cell(contents, cell, code):
    try:
        value = cell.cell_contents
    except ValueError:
        return ()
    if isinstance(value, types.ModuleType):
        return ("Module", _module(contents, value, code))
    return (value,)


def _globals(contents, variables, code):
    builtins = vars(sys.modules["builtins"])
    found = []
    for chain in code.chains:
        name, *names = chain
        if name in variables:
            found.append((*_identifiers(chain), _resolve(contents, variables[name], names)))
        elif name not in builtins:
            found.append(_identifiers(chain))
        elif name in _READS_ANYTHING:
            raise UnreadableError(f"{name} may give anything.")
    for name in sorted(code.imports):
        module = sys.modules.get(name)
        found.append((*_identifiers([name]), module and _module(contents, module, code)))
    return found


def _resolve(contents, value, names):
    """Describe the value of ``value.a.b`` if ``value`` is a module; else the value itself."""
    if not isinstance(value, types.ModuleType):
        return (value,)
    module, first = value.__name__, names[0] if names else None
    if _is_impure(module) or (module, first) in _IMPURE_ATTRIBUTES:
        raise UnreadableError(f"{module} may give something else each time.")
    found = vars(value).get(first)
    if isinstance(found, types.ModuleType):
        return _resolve(contents, found, names[1:])
    if is_library(module):
        # Should somebody have put a function of his own there, it is read.
        return (module, found if isinstance(found, _REPLACEABLE) else None)
    if first not in vars(value):
        raise UnreadableError(f"{module} may be read in any way.")
    return (module, *_identifiers([first]), found)


def _module(contents, module, code):
    """Describe the attributes of a module that code reads."""
    names = sorted(code.attributes & vars(module).keys())
    return [_resolve(contents, module, [name]) for name in names] or _resolve(contents, module, [])


def _bare_module(contents, module):
    return ("Module", _resolve(contents, module, []))


def _code(contents, code):
    return ("Code", *read_code(code).body)


def _method(contents, method):
    return ("Method", method.__func__, method.__self__)


def _wrapper(contents, wrapper):
    return (type(wrapper).__name__.title(), wrapper.__wrapped__)


def _property(contents, value):
    return ("Property", value.fget, value.fset, value.fdel)


def _slot(contents, slot):
    return ("Slot", f".{slot.__name__}")


def _class(contents, cls, ignored):
    contents.reads_user_code = True
    skip = _CLASS_BOOKKEEPING | ignored
    return (
        "Class",
        f"class {cls.__qualname__}",
        type(cls),
        [contents.cls(base, ignored) for base in cls.__bases__],
        attributes((k, v) for k, v in vars(cls).items() if k not in skip),
    )


def attributes(items):
    """Describe pairs of names and values, in any order."""
    items = sorted(items, key=lambda item: item[0])
    return ("\0".join(["", *[name for name, _ in items]]), *[value for _, value in items])


def _identifiers(names):
    return [f".{name}" for name in names]


def _is_impure(module):
    return module in _IMPURE_MODULES or module.startswith("numpy.random.")


def _layout(cls):
    """Whether instances keep state in C, and the names of their slots."""
    layout = _layouts.get(cls)
    if layout is None:
        members = [vars(base).items() for base in cls.__mro__]
        slots = [k for m in members for k, v in m if type(v) is types.MemberDescriptorType]
        pointers = len(slots) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
        has_more = cls.__basicsize__ > object.__basicsize__ + 8 * pointers
        # Not CPython's own slots: where in memory a partial's code is, which differs in its copy.
        slots = [name for name in slots if not name.endswith("offset__")]
        layout = _layouts[cls] = (has_more or cls.__itemsize__ > 0, slots)
    return layout


_readers = {
    types.MappingProxyType: _mapping,
    types.FunctionType: _function,
    types.CodeType: _code,
    types.MethodType: _method,
    types.BuiltinFunctionType: Contents.builtin,
    types.MethodWrapperType: Contents.builtin,
    types.WrapperDescriptorType: Contents.builtin,
    types.MethodDescriptorType: Contents.builtin,
    types.ClassMethodDescriptorType: Contents.builtin,
    types.GetSetDescriptorType: _slot,
    types.MemberDescriptorType: _slot,
    types.ModuleType: _bare_module,
    type(functools.lru_cache(len)): _wrapper,
    staticmethod: _wrapper,
    classmethod: _wrapper,
    property: _property,
    types.EllipsisType: _nameless,
    types.NotImplementedType: _nameless,
    type(threading.Lock()): _nameless,
    type(threading.RLock()): _nameless,
}
_readers_of_subclasses = [
    (type, Contents.cls),
    (enum.Enum, _enum),
    (logging.Logger, lambda _, logger: ("Logger", logger.name)),
    (_SCALARS, _scalar),
    (_CONTAINERS, _container),
]


# These don't change while a process runs; anything else is read in full.
_LIBRARIES = {
    *("builtins", "numpy", "scipy", "pandas", "polars", "pyarrow", "sklearn", "joblib", "absl"),
    *("keras", "tensorflow", "tf_keras", "keras_hub", "keras_cv", "keras_nlp", "ml_dtypes"),
    *("tensorflow_probability", "optree", "wrapt", "skkeras"),
}


_names: dict = {}


_roots: dict = {}


def is_library(module):
    """True if a module of this name is Python's own or a library's.

    Examples
    --------
    >>> from skkeras._keras_objects.content_hash import is_library
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
    >>> from skkeras._keras_objects.content_hash import library_name
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
