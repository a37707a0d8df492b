"""Learning-rate study: a range test next to the default rate and to a grid, by cross-validation.

Run ``python tests/benchmarks/learning_rates.py``; it takes some minutes. The range test (Smith,
2017, "Cyclical learning rates for training neural networks", WACV) trains 120 steps with a rate
that grows from 1e-5 to 1, and smooths the loss. Two rules choose: the rate at which the loss falls
most steeply, and a tenth of the one at its least. Nets are trained for 20 epochs by the chosen
rates; the figures are mean scores (accuracy, or R2) of 3 folds.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn import datasets
from sklearn.base import is_classifier
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier, KerasRegressor
from skkeras.exceptions import DivergenceError

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
BATCH_SIZE = 32


def range_test(net, X, y, seed, rates):
    """Train a step at each rate, and return the smoothed losses until they explode."""
    net.set_params(optimizer__learning_rate=rates[0]).initialize(X, y)
    rng, losses, average = np.random.default_rng(seed), [], 0.0
    for i, rate in enumerate(rates.tolist(), start=1):
        rows = rng.choice(len(X), BATCH_SIZE, replace=False)
        try:
            net.set_params(optimizer__learning_rate=rate).partial_fit(X[rows], y[rows])
        except DivergenceError:
            break
        average = 0.95 * average + 0.05 * net.history_["loss"][-1]
        losses.append(average / (1 - 0.95**i))
        if i > 10 and losses[-1] > 4 * min(losses):
            break
    return np.array(losses)


def chosen_rates(make, X, y, seeds=3):
    """Return the rates of both rules, as geometric means over the seeds."""
    steepest, tenth = [], []
    for seed in range(seeds):
        rates = np.geomspace(1e-5, 1.0, 120)
        losses = range_test(make(random_state=seed), X, y, seed, rates)
        slopes = np.gradient(losses, np.log(rates[: len(losses)]))[10:-5]
        steepest.append(rates[10 + np.argmin(slopes)])
        tenth.append(rates[np.argmin(losses)] / 10)
    return [float(np.exp(np.mean(np.log(found)))) for found in (steepest, tenth)]


def score(make, rate, X, y):
    """Cross-validate a net that is trained for 20 epochs at a rate."""
    net = make(epochs=20, optimizer__learning_rate=rate, random_state=0, on_divergence="warn")
    folds = StratifiedKFold if is_classifier(net) else KFold
    cv = folds(3, shuffle=True, random_state=0)
    return cross_val_score(make_pipeline(StandardScaler(), net), X, y, cv=cv).mean()


TASKS = {
    "breast cancer": (lambda: datasets.load_breast_cancer(return_X_y=True), KerasClassifier),
    "digits": (lambda: datasets.load_digits(return_X_y=True), KerasClassifier),
    "diabetes": (lambda: datasets.load_diabetes(return_X_y=True), KerasRegressor),
    "Friedman 1": (
        lambda: datasets.make_friedman1(2000, 8, noise=1.0, random_state=0),
        KerasRegressor,
    ),
}


def main():
    """Print the table."""
    print("| data | default 0.001 | best of a grid | steepest | a tenth of the least |")
    print("|---|---|---|---|---|")
    for name, (load, make) in TASKS.items():
        X, y = load()
        rates = chosen_rates(make, StandardScaler().fit_transform(X), y)
        grid = {rate: score(make, rate, X, y) for rate in GRID}
        best = max(grid, key=grid.get)
        found = " | ".join(f"{score(make, rate, X, y):.3f} ({rate:.1e})" for rate in rates)
        print(f"| {name} | {grid[1e-3]:.3f} | {grid[best]:.3f} ({best}) | {found} |", flush=True)


if __name__ == "__main__":
    main()
