"""Zero-config study: default estimators next to scikit-learn's default MLP, on the same folds.

Run ``python tests/benchmarks/zero_config.py``; it takes some minutes and prints the table of
docs/about/measured.md. Nets are random, and so are folds: each figure is the mean over
``--repeats`` rounds of 5-fold cross-validation, whose shuffles and seeds differ, and the standard
deviation over the folds of a round. ``margin`` is the difference of the mean scores in standard
deviations of scikit-learn's; the promise is at least -0.5 everywhere. It is about scores only;
other benchmarks are about time.
"""

import argparse
import os
import warnings
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier, KerasRegressor

PROMISED_MARGIN = -0.5


class Task(NamedTuple):
    """A data set, both estimators and the kind of folds."""

    load: object
    ours: type
    theirs: type
    folds: type


def classification(load):
    """Make a task of a loader of labelled data."""
    return Task(load, KerasClassifier, MLPClassifier, StratifiedKFold)


def regression(load):
    """Make a task of a loader of data with a number to predict."""
    return Task(load, KerasRegressor, MLPRegressor, KFold)


def load_friedman():
    """Friedman's first problem: 2,000 rows of 8 features, 5 of which count."""
    return datasets.make_friedman1(2000, 8, noise=1.0, random_state=0)


def load_housing(n_rows=2000):
    """Synthetic house prices, like California's: 8 features of unlike scales and skewed ones.

    California's own are not bundled with scikit-learn, and a benchmark should not need a network.
    Prices follow income, nearness to a coast, age and crowding; they are noisy and capped.
    """
    rng = np.random.default_rng(0)
    income, rooms, bedrooms = rng.lognormal((1.3, 1.6, 0.07), (0.5, 0.3, 0.1), (n_rows, 3)).T
    population, occupancy = rng.lognormal((7.0, 1.0), (0.7, 0.3), (n_rows, 2)).T
    age, latitude, longitude = rng.uniform((1, 32.5, -124.3), (52, 42, -114.3), (n_rows, 3)).T
    coast = np.exp(-np.abs(latitude - 37 + 0.9 * (longitude + 121)) / 1.5)
    price = 0.35 * income + 1.2 * coast * np.sqrt(income) + 0.006 * age
    price += 0.3 * np.tanh(rooms - 5) - 0.4 * np.log(occupancy) + rng.normal(0, 0.45, n_rows)
    features = (income, age, rooms, bedrooms, population, occupancy, latitude, longitude)
    return np.column_stack(features), np.clip(price, 0.15, 5)


def bundled(load):
    """Make a scikit-learn loader return X and y alone."""
    return lambda: load(return_X_y=True)


TASKS = {
    "breast cancer": classification(bundled(datasets.load_breast_cancer)),
    "wine": classification(bundled(datasets.load_wine)),
    "digits": classification(bundled(datasets.load_digits)),
    "iris": classification(bundled(datasets.load_iris)),
    "diabetes": regression(bundled(datasets.load_diabetes)),
    "Friedman 1": regression(load_friedman),
    "housing, synthetic": regression(load_housing),
}


def cross_validate(estimator_class, task, X, y, repeats):
    """Score a default estimator behind a StandardScaler: mean and standard deviation."""
    scores = [
        cross_val_score(
            make_pipeline(StandardScaler(), estimator_class(random_state=seed)),
            X,
            y,
            cv=task.folds(5, shuffle=True, random_state=seed),
        )
        for seed in range(repeats)
    ]
    return np.mean(scores), np.std(scores, axis=1).mean()


def main():
    """Print the table; the exit code tells whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="rounds of 5 folds (default: 3)")
    parser.add_argument("names", nargs="*", help=f"data sets, of: {', '.join(TASKS)}")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(TASKS)
    if unknown:
        parser.error(f"no data set {sorted(unknown)}; expected some of {list(TASKS)}")
    # That 200 epochs were not enough is its result, and no news to whoever runs this.
    warnings.simplefilter("ignore", ConvergenceWarning)
    print("| data | score | skkeras | scikit-learn MLP | margin |")
    print("|---|---|---|---|---|")
    broken = []
    for name in arguments.names or TASKS:
        task = TASKS[name]
        X, y = task.load()
        theirs, their_std = cross_validate(task.theirs, task, X, y, arguments.repeats)
        ours, our_std = cross_validate(task.ours, task, X, y, arguments.repeats)
        margin = (ours - theirs) / their_std
        measure = "accuracy" if task.folds is StratifiedKFold else "R2"
        scores = f"{ours:.3f} ± {our_std:.3f} | {theirs:.3f} ± {their_std:.3f}"
        print(f"| {name} | {measure} | {scores} | {margin:+.2f} |", flush=True)
        # Written so that a NaN counts as broken.
        if not margin >= PROMISED_MARGIN:
            broken.append(name)
    if broken:
        raise SystemExit(f"More than half a standard deviation below: {', '.join(broken)}")


if __name__ == "__main__":
    main()
