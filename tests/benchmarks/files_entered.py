"""How many files a first fit and a prediction pass through, and how often they climb back up.

    python tests/benchmarks/files_entered.py

Counted are calls from one file of the package to another, as `sys.setprofile` sees them in all
threads. A call climbs if the file it goes to stands above the file it comes from in the layers of
pyproject.toml: what the lower one was handed reaches up again. Lambdas and comprehensions count for
the function around them: to be handed to `map` is no entry into a file.
"""

import collections
import json
import pathlib
import sys
import threading
import tomllib

import numpy as np

import skkeras
from skkeras import KerasClassifier, KerasForecaster

PACKAGE = pathlib.Path(skkeras.__file__).parent


def layer_numbers():
    """Number the rooms of the package from the top down."""
    with (pathlib.Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    return {
        room.strip(" ()"): number
        for number, layer in enumerate(layers)
        for room in layer.replace("|", ":").split(":")
    }


class Trail:
    """The calls between files while it is entered."""

    def __init__(self):
        self.calls = collections.Counter()
        self.files = set()
        self._stack = threading.local()

    def __enter__(self):
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame, event, _):
        stack = vars(self._stack).setdefault("files", [])
        if event == "call":
            is_anonymous = frame.f_code.co_name.startswith("<")
            name = self._name(frame.f_code.co_filename)
            above = next((one for one in reversed(stack) if one), None)
            if name and not is_anonymous:
                self.files.add(name)
                if above != name:
                    self.calls[above, name] += 1
            stack.append(name)
        elif event == "return" and stack:
            stack.pop()

    def _name(self, path):
        if not path.startswith(str(PACKAGE)):
            return None
        return pathlib.Path(path).relative_to(PACKAGE).with_suffix("").as_posix()

    def entries(self, name):
        """How often a file is entered from another one."""
        return sum(n for (_, to), n in self.calls.items() if to == name)

    def climbs(self, layers):
        """How often a call goes to a file of a higher layer."""

        def number(name):
            return layers.get(name.partition("/")[0], -1)

        pairs = [(a, b, n) for (a, b), n in self.calls.items() if a]
        return sum(n for a, b, n in pairs if number(b) < number(a))


def main():
    """Print the figures as JSON."""
    X = np.random.default_rng(0).normal(size=(60, 4))
    y = (X[:, 0] > 0).astype(int)
    layers, results = layer_numbers(), {}
    net = KerasClassifier(epochs=2, random_state=0)
    series = KerasForecaster(look_back=5, epochs=2, random_state=0)
    for name, call in {
        "fit": lambda: net.fit(X, y),
        "predict": lambda: net.predict(X),
        "forecaster's fit": lambda: series.fit(X),
        "forecaster's predict": lambda: series.predict(X),
    }.items():
        with Trail() as trail:
            call()
        results[name] = {
            "files": len(trail.files),
            "calls between files": sum(trail.calls.values()),
            "base entered": trail.entries("_base"),
            "climbs": trail.climbs(layers),
            "names": sorted(trail.files),
        }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
