"""The public names and their signatures: what changes here changes for users.

    python tests/test_public_api.py > tests/public_api.txt

writes the list anew; a changelog entry goes with it.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path

import skkeras

LIST = Path(__file__).with_name("public_api.txt")


def modules():
    """The modules whose names have no underscore, `__main__` aside."""
    found = (info.name for info in pkgutil.walk_packages(skkeras.__path__, "skkeras."))
    return ["skkeras", *(n for n in found if not any(p[0] == "_" for p in n.split(".")))]


def names(module):
    """The public names of a module: those it lists, or else those it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    mine = (n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__)
    return sorted(n for n in mine if n[0] != "_")


def signature(thing):
    try:
        return str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""


def lines():
    for path in modules():
        module = importlib.import_module(path)
        for name in names(module):
            thing = getattr(module, name)
            if inspect.ismodule(thing):
                continue
            yield f"{path}.{name}{signature(thing)}"
            if not inspect.isclass(thing) or thing.__module__ != path:
                continue  # methods are listed where a class is defined, or in its first listing
            yield from methods(path, name, thing)


def methods(path, name, cls):
    for method, value in sorted(inspect.getmembers(cls)):
        if method[0] == "_" or not _is_ours(cls, method):
            continue
        kind = " (property)" if isinstance(value, property) else signature(value)
        yield f"{path}.{name}.{method}{kind}"


def _is_ours(cls, name):
    owner = next(base for base in cls.__mro__ if name in vars(base))
    # What `_versions` stands in for is scikit-learn's own in newer versions.
    return owner.__module__.startswith("skkeras") and owner.__module__ != "skkeras._versions"


def test_public_names_and_signatures_are_those_listed():
    assert list(lines()) == LIST.read_text().splitlines()


def test_modules_that_a_user_may_import():
    assert modules() == [
        "skkeras",
        "skkeras.classifier",
        "skkeras.data",
        "skkeras.exceptions",
        "skkeras.forecasting",
        "skkeras.forecasting.dummy",
        "skkeras.forecasting.forecaster",
        "skkeras.models",
        "skkeras.regressor",
        "skkeras.saving",
    ]


if __name__ == "__main__":
    print(*lines(), sep="\n")
