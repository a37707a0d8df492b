"""What a function's code does, and which names outside of it the code reads."""

import dis
import types
import weakref
from hashlib import blake2b
from typing import NamedTuple

_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_OTHER_NAMES = ("IMPORT_FROM", "STORE_ATTR", "LOAD_SUPER_ATTR")

_known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class CodeFacts(NamedTuple):
    """What a code object and those nested in it do and name.

    Attributes
    ----------
    body : bytes
        Digest of the instructions and constants; not of file and line.
    chains : tuple of tuples of str
        Dotted names that start at a global, such as ``("np", "random", "normal")``.
    attributes, imports, strings : frozensets of str
        All names after a dot, all modules imported inside, and all constants that are text.
    """

    body: bytes
    chains: tuple
    attributes: frozenset
    imports: frozenset
    strings: frozenset


def digest(token):
    """Condense a nested tuple of plain values into 16 bytes."""
    return blake2b(repr(token).encode("utf-8", "backslashreplace"), digest_size=16).digest()


def read_code(code):
    """Tell what a code object does and names.

    Parameters
    ----------
    code : types.CodeType

    Returns
    -------
    facts : CodeFacts

    Examples
    --------
    >>> from skkeras._keras_objects.bytecode import read_code
    >>> read_code((lambda x: np.random.normal(x) + offset).__code__).chains
    (('np', 'random', 'normal'), ('offset',))
    """
    facts = _known.get(code)
    if facts is None:
        facts = _known[code] = _parse(code)
    return facts


def _parse(code):
    nested = [read_code(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    strings = set()
    body = (
        code.co_code,
        tuple(_constant(constant, strings) for constant in code.co_consts),
        (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        code.co_exceptiontable,
    )
    chains, attributes, imports = _names(code)
    return CodeFacts(
        digest(body),
        tuple(sorted(chains.union(*(facts.chains for facts in nested)))),
        frozenset(attributes.union(*(facts.attributes for facts in nested))),
        frozenset(imports.union(*(facts.imports for facts in nested))),
        frozenset(strings.union(*(facts.strings for facts in nested))),
    )


def _names(code):
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


def _constant(value, strings):
    if isinstance(value, types.CodeType):
        return ("code", read_code(value).body)
    if isinstance(value, tuple):
        return ("tuple", tuple(_constant(item, strings) for item in value))
    if isinstance(value, frozenset):
        return ("set", tuple(sorted((_constant(item, strings) for item in value), key=repr)))
    if isinstance(value, str):
        strings.add(value)
    return value
