"""References by name: variables and layers that the user's code reaches without holding them.

Two objects may share a variable, such as a loss's weight that a callback raises. A fit copies what
objects hold, and variables that two of them hold are copied once. What code refers to by a name (a
global variable, a closure, an attribute of a class) can't be copied, so that such a variable would
be shared by all fits, and be another one than the copies hold. And a builder may keep parts of the
nets that it makes, such as an encoder, where such names lead.
"""

from types import FunctionType, ModuleType

from skkeras._keras_objects.code_facts import read_code
from skkeras._keras_objects.content_hash import is_library
from skkeras._keras_objects.held import Held, is_variable, users_attributes
from skkeras._keras_objects.internals import history_of, is_layer, sublayers

_ASSIGNS = {"assign", "assign_add", "assign_sub", "set_value"}
_LONGEST = 1000  # of the lists and dicts that are looked into


def shared_variables(members):
    """Return the variables that at least two members hold, each once.

    ``members`` are pairs of a parameter's name and an object that was given for it. Raises
    ValueError if code of one refers to a variable that another one holds or changes.
    """
    members = [*{id(value): (name, value) for name, value in members}.values()]
    if len(members) < 2:
        return []
    held = [(name, Held(value)) for name, value in members]
    holders, variables = {}, {}
    for name, parts in held:
        for variable in {id(one): one for one in parts.variables}.values():
            variables[id(variable)] = variable
            holders.setdefault(id(variable), []).append(name)
    _check_references(held, holders)
    return [variables[key] for key, names in holders.items() if len(names) > 1]


def kept_names(attributes, model):
    """Return the names of attributes that hold layers, tensors or variables of a model."""
    parts = _part_ids(model)
    return [name for name, value in attributes.items() if _holds_any(value, parts)]


def holds_layers(value):
    """True for a layer, a layer's output, or a container of these."""
    references = _References()
    references.visit(value)
    return bool(references.layers)


def reached_parts(builder):
    """Return layers and variables, by their id, that a builder, or others, find where it looks."""
    references = _References(Held(builder).code)
    owner = builder if getattr(builder, "__self__", None) is None else builder.__self__
    references.visit({**getattr(owner, "__dict__", {})})
    return references.parts()


def keeps_parts(model, before, after):
    """True if a model's builder kept parts of it: they are reached after it ran, not before."""
    return not _part_ids(model).isdisjoint(after.keys() - before.keys())


def _part_ids(model):
    return {*map(id, sublayers(model)), *map(id, model.variables)}


def _holds_any(value, parts):
    references = _References()
    references.visit(value)
    return references.reach(parts)


def _check_references(held, holders):
    found = {}
    for number, (name, parts) in enumerate(held):
        own = {id(one) for one in parts.variables}
        for reference in _References(parts.code).found:
            if reference.key not in own:
                found.setdefault(reference.key, []).append((number, name, reference))
    for key, references in found.items():
        others = {number for number, *_ in references}
        changes = any(reference.assigns for *_, reference in references)
        if key in holders or (len(others) > 1 and changes):
            names = [*holders.get(key, ()), *(name for _, name, _ in references)]
            _refuse(references[0][1], references[0][2], names)


def _refuse(parameter, reference, names):
    others = [name for name in names if name != parameter] or names
    raise ValueError(
        f"{parameter} and {others[0]} share the variable {reference.name!r}, and "
        f"{reference.owner} refers to it by its name; expected objects that hold it: fits copy "
        f"what objects hold, not what code refers to. Let {reference.owner} take it as a "
        f"parameter: a function gets it by {parameter.partition('__')[0]}__{reference.name}=..., "
        "and a class when an instance is made, which keeps it as an attribute."
    )


class _Reference:
    def __init__(self, variable, name, owner, assigns):
        self.variable = variable  # keeps it alive, so that the key is its own
        self.key = id(variable)
        self.name = name
        self.owner = owner
        self.assigns = assigns


class _References:
    """Variables and layers to which functions and classes of the user's refer by name."""

    def __init__(self, code=()):
        self.found = []
        self.layers = []
        self._seen = set()
        for thing in code:
            self.visit(thing)

    def reach(self, parts):
        """True if any of the variables, layers or their layers is among these, told by ``id``."""
        return not parts.isdisjoint(self.parts())

    def parts(self):
        """Variables, layers and their layers, by their id."""
        layers = [part for layer in self.layers for part in sublayers(layer)]
        return {id(one): one for one in [*(one.variable for one in self.found), *layers]}

    def visit(self, thing, name="", owner="", assigns=False):
        """Follow a value, a function or a class."""
        if is_variable(thing):
            self.found.append(_Reference(thing, name, owner, assigns))
        elif is_layer(thing):
            self.layers.append(thing)
        elif (layer := _layer_of_tensor(thing)) is not None:
            self.visit(layer, name, owner, assigns)
        elif id(thing) not in self._seen:
            self._seen.add(id(thing))
            if isinstance(thing, FunctionType):
                self._visit_function(thing)
            elif isinstance(thing, type):
                self._visit_class(thing)
            elif isinstance(thing, dict | list | tuple) and len(thing) <= _LONGEST:
                parts = thing.values() if isinstance(thing, dict) else thing
                for part in parts:
                    self.visit(part, name, owner, assigns)
            else:
                for part in users_attributes(thing).values():
                    self.visit(part, name, owner, assigns)

    def _visit_function(self, function):
        if is_library(function.__globals__.get("__name__")):
            return
        code = read_code(function.__code__)
        assigns = not _ASSIGNS.isdisjoint(code.attributes)
        for name, value in _named(function, code):
            self.visit(value, name, function.__qualname__, assigns)

    def _visit_class(self, cls):
        for base in cls.__mro__:
            if is_library(base.__module__):
                continue
            for name, member in vars(base).items():
                if name.startswith("__") and not callable(member):
                    continue
                function = getattr(member, "fget", None) or getattr(member, "__func__", member)
                self.visit(function, name, base.__qualname__, True)


def _layer_of_tensor(thing):
    """Layer whose output a symbolic tensor is; None for other things."""
    if type(thing).__name__ != "KerasTensor":
        return None
    operation = (history_of(thing) or (None,))[0]
    return operation if is_layer(operation) else None


def _named(function, code):
    """Yield the values to which a function refers, with their names."""
    for cell, name in zip(function.__closure__ or (), function.__code__.co_freevars, strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not set yet
            continue
    for name, *attributes in code.chains:
        value = function.__globals__.get(name)
        while isinstance(value, ModuleType) and attributes:
            if is_library(value.__name__):
                break
            name = attributes.pop(0)
            value = vars(value).get(name)
        if isinstance(value, ModuleType):
            continue
        yield name, value
        if attributes:
            yield attributes[0], getattr(value, "__dict__", {}).get(attributes[0])
    yield from (function.__kwdefaults__ or {}).items()
    yield from (("default", value) for value in function.__defaults__ or ())
