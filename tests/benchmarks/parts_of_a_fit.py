"""Where the time of a short fit goes: breast cancer, 379 rows, 20 epochs, in milliseconds.

    python tests/benchmarks/parts_of_a_fit.py

The least of 10 architectures' first fits, of three that follow each, and of three with other seeds.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier
from skkeras._building.recipe import Recipe
from skkeras._engine.compiled_functions import CompiledFunctions
from skkeras._engine.program import Predictor, Program

PARTS = {
    "making a net": (Recipe, "__call__"),
    "tracing": (Program, "__init__"),
    "optimizer, and tracing": (CompiledFunctions, "_make_shared"),
    "calls": (Program, "train"),
    "tracing predict": (Predictor, "__init__"),
}


def note_time(part, times):
    """Let a method note how long it takes; a net made inside of another part isn't counted."""
    cls, name = PARTS[part]
    method = getattr(cls, name)

    def noted(*args, **kwargs):
        begin = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            times.setdefault(part, []).append(1000 * (time.perf_counter() - begin))

    setattr(cls, name, noted)


def main():
    """Print the table."""
    X, y = load_breast_cancer(return_X_y=True)
    X, y = StandardScaler().fit_transform(X)[:379], y[:379]
    times, first, later, reseeded = {}, {}, {}, {}
    for part in PARTS:
        note_time(part, times)
    for units in range(61, 73):
        for number in range(7):
            times.clear()
            seed = max(0, number - 3)
            begin = time.perf_counter()
            net = KerasClassifier(epochs=20, model__units=units, random_state=seed).fit(X, y)
            whole = 1000 * (time.perf_counter() - begin)
            net.predict(X[:10])
            table = reseeded if seed else later if number else first
            for part, spent in times.items():
                table.setdefault(part, []).append(spent[0] if "making" in part else sum(spent))
            table.setdefault("whole fit", []).append(whole)
    tables = (
        ("first fit", first, 2),
        ("later fits", later, 6),
        ("later fits, other seeds", reseeded, 6),
    )
    for title, table, warm_up in tables:
        print(title)
        for part, spent in table.items():
            print(f"  {part:30}{min(spent[warm_up:]):7.1f}")


if __name__ == "__main__":
    main()
