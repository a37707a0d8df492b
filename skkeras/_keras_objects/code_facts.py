"""Facts about code: the instructions, names and constants of a function."""

import dis
import types
import weakref
from typing import NamedTuple

_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_OTHER_NAMES = ("IMPORT_FROM", "STORE_ATTR", "LOAD_SUPER_ATTR")

_facts: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


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
