"""Study of units: the default regressor's R2 for y as it is, and in other units.

Run ``python tests/benchmarks/units.py``; it takes some minutes and prints the table of
docs/about/measured.md. Each figure is the mean R2 of 3 folds, 30 epochs, behind a StandardScaler
of X; "standardised" has another of y around it. The promise is that none is off by more than 0.02.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkeras import KerasRegressor

PROMISED_DIFFERENCE = 0.02
UNITS = {
    "as it is": lambda y: y,
    "x 1e5": lambda y: 1e5 * y,
    "x 1e-5": lambda y: 1e-5 * y,
    "+ 1e4": lambda y: y + 1e4,
}


def skewed(n_rows=1000):
    """Return rows whose target is the exponential of a sum of effects."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 6))
    return X, np.exp(X[:, 0] + 0.5 * np.sin(2 * X[:, 1]) + 0.3 * rng.normal(size=n_rows))


TASKS = {
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "Friedman 1": lambda: datasets.make_friedman1(1000, 8, noise=1.0, random_state=0),
    "Friedman 2": lambda: datasets.make_friedman2(1000, noise=50.0, random_state=0),
    "linear, 20 features": lambda: datasets.make_regression(
        1000, 20, n_informative=10, noise=20.0, random_state=0
    ),
    "skewed": skewed,
}


def score(net, X, y):
    """Cross-validate a net, on the same folds whatever the units."""
    return cross_val_score(net, X, y, cv=KFold(3, shuffle=True, random_state=0)).mean()


def main():
    """Print the table; the exit code tells whether the promise holds."""
    print(f"| data | optimizer | standardised | {' | '.join(UNITS)} |")
    print(f"|{'---|' * (3 + len(UNITS))}")
    broken = []
    for name, load in TASKS.items():
        X, y = load()
        for optimizer in ("adam", "sgd"):
            net = make_pipeline(
                StandardScaler(), KerasRegressor(epochs=30, optimizer=optimizer, random_state=0)
            )
            standardised = TransformedTargetRegressor(net, transformer=StandardScaler())
            expected = score(standardised, X, y)
            scores = [score(net, X, unit(y)) for unit in UNITS.values()]
            cells = " | ".join(f"{one:.3f}" for one in (expected, *scores))
            print(f"| {name} | {optimizer} | {cells} |", flush=True)
            # Written so that a NaN counts as broken.
            if not np.max(np.abs(np.subtract(scores, expected))) <= PROMISED_DIFFERENCE:
                broken.append(f"{name} by {optimizer}")
    if broken:
        raise SystemExit(f"More than {PROMISED_DIFFERENCE} off: {', '.join(broken)}")


if __name__ == "__main__":
    main()
