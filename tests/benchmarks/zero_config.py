"""Zero-config study: default nets and boosted trees, on the same folds of the same tables.

Run ``python tests/benchmarks/zero_config.py``; it prints the table of docs/about/measured.md. The
whole takes an hour on two cores; names of tables, ``--folds`` and ``--estimators`` make it shorter.
Each figure is the mean over the folds and their standard deviation: R2 for numbers, accuracy for
several classes, ROC AUC for two, average precision for a rare one. Nobody tunes anything: "skkeras"
is `KerasClassifier()` or `KerasRegressor()`, "tabular" is the preset of that name, "MLP*" and "HGB"
are scikit-learn's `MLPClassifier` and `HistGradientBoostingClassifier` and their regressors. Nets
get scaled numbers and one-hot categories, "tabular" numbers as they are, trees the categories. The
exit code tells whether the promises below hold for the tables and estimators that ran.
"""

import argparse
import os
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from scipy.stats import rankdata
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tables import TABLES, make_table, missing

from skkeras import KerasClassifier, KerasRegressor


def encoded(net, numbers):
    """Put a net behind one-hot categories and what is done with numbers."""
    names = make_column_selector(dtype_include="category")
    one_hot = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    return make_pipeline(
        ColumnTransformer([("categories", one_hot, names)], remainder=numbers), net
    )


def default(table, seed):
    """Make the default estimator of this package."""
    net = KerasClassifier if table.is_classification else KerasRegressor
    return encoded(net(random_state=seed), StandardScaler())


def tabular(table, seed):
    """Make an estimator with the preset for tables."""
    net = KerasClassifier if table.is_classification else KerasRegressor
    return encoded(net("tabular", random_state=seed), "passthrough")


def mlp_of_sklearn(table, seed):
    """Make scikit-learn's default net."""
    net = MLPClassifier if table.is_classification else MLPRegressor
    return encoded(net(random_state=seed), StandardScaler())


def boosting(table, seed):
    """Make scikit-learn's default gradient boosting."""
    is_classification = table.is_classification
    cls = HistGradientBoostingClassifier if is_classification else HistGradientBoostingRegressor
    return cls(random_state=seed)


ESTIMATORS = {
    "skkeras": default,
    "tabular": tabular,
    "MLP*": mlp_of_sklearn,
    "HGB": boosting,
}


def cross_validate(make, table, n_folds, repeats):
    """Return scores (repeats, n_folds) and the CPU seconds to fit and score them all."""
    kind = StratifiedKFold if table.is_classification else KFold
    scorer, begin = get_scorer(table.scoring), time.process_time()
    scores = [
        [
            scorer(
                make(table, seed).fit(table.X.iloc[train], table.y[train]),
                table.X.iloc[test],
                table.y[test],
            )
            for train, test in kind(n_folds, shuffle=True, random_state=seed).split(
                table.X, table.y
            )
        ]
        for seed in range(repeats)
    ]
    return np.array(scores), time.process_time() - begin


def measure(names, estimators, options):
    """Print a row for each table; return arrays (n_tables, n_estimators): mean, std, seconds."""
    print(f"| table | rows | score | {' | '.join(estimators)} |")
    print("|---" * (3 + len(estimators)) + "|")
    rows = []
    for name in names:
        table = make_table(name, options.seed)
        results = [
            cross_validate(ESTIMATORS[one], table, options.folds, options.repeats)
            for one in estimators
        ]
        row = [(s.mean(), s.std(axis=1).mean(), seconds) for s, seconds in results]
        cells = " | ".join(f"{mean:.3f} ± {std:.3f}" for mean, std, _ in row)
        print(f"| {name} | {len(table.y)} | {table.scoring} | {cells} |", flush=True)
        rows.append(row)
    return np.moveaxis(np.array(rows), 2, 0)


def summarize(estimators, means, seconds):
    """Print mean ranks, mean scores and times under the table; return the ranks by estimator."""
    ranks = rankdata(-means, axis=1).mean(axis=0)

    def line(title, values, form):
        print(f"| {title} | | | {' | '.join(format(value, form) for value in values)} |")

    line("mean rank", ranks, ".2f")
    line("mean score", means.mean(axis=0), ".3f")
    line("median score", np.median(means, axis=0), ".3f")
    line("CPU seconds, all tables", seconds.sum(axis=0), ".0f")
    return dict(zip(estimators, ranks, strict=True))


def promises(estimators, means, stds, seconds, ranks):
    """Yield each promise, in words with its figures, and whether it is kept; NaN breaks it."""
    mean = dict(zip(estimators, means.T, strict=True))
    std = dict(zip(estimators, stds.T, strict=True))
    time_of = dict(zip(estimators, seconds.T, strict=True))
    if {"skkeras", "MLP*"} <= ranks.keys():
        said = f"mean rank {ranks['skkeras']:.2f} is better than MLP*'s {ranks['MLP*']:.2f}"
        yield said, ranks["skkeras"] < ranks["MLP*"]
        # Of the larger one: three folds may happen to agree.
        deviation = np.maximum(std["skkeras"], std["MLP*"])
        margins = (mean["skkeras"] - mean["MLP*"]) / deviation
        said = f"margins to MLP* in std, {np.sort(margins)[:3].round(2)} ..., are at least -0.5"
        yield said, margins.min() >= -0.5
    if {"skkeras", "HGB"} <= ranks.keys():
        ours, theirs = mean["skkeras"].mean(), mean["HGB"].mean()
        said = f"the default's mean score {ours:.3f} is at least HGB's {theirs:.3f} - 0.01"
        yield said, ours >= theirs - 0.01
    if {"tabular", "HGB"} <= ranks.keys():
        said = f"tabular's mean rank {ranks['tabular']:.2f} is better than HGB's {ranks['HGB']:.2f}"
        yield said, ranks["tabular"] < ranks["HGB"]
    if {"tabular", "MLP*"} <= ranks.keys():
        ratio = time_of["tabular"].sum() / time_of["MLP*"].sum()
        yield f"tabular's time is {ratio:.1f} times MLP*'s, at most 3", ratio <= 3


def main():
    """Print the table; the exit code tells whether the promises hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folds", type=int, default=3, help="folds of a round (default: 3)")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of folds (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the generated tables")
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=[*ESTIMATORS])
    parser.add_argument("names", nargs="*", help=f"tables, of: {', '.join(TABLES)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(TABLES):
        parser.error(f"no table {sorted(unknown)}; expected some of {list(TABLES)}")
    names = [name for name in options.names or TABLES if not missing(name)]
    for name in set(options.names or TABLES) - set(names):
        print(f"{name} is left out: it needs {missing(name)}, which isn't installed.")
    # That 200 epochs were not enough is its result, and no news to whoever runs this.
    warnings.simplefilter("ignore", ConvergenceWarning)
    means, stds, seconds = measure(names, options.estimators, options)
    ranks = summarize(options.estimators, means, seconds)
    broken = False
    for said, is_kept in promises(options.estimators, means, stds, seconds, ranks):
        broken |= not is_kept
        print(f"{'kept' if is_kept else 'BROKEN'}: {said}")
    raise SystemExit(int(broken))


if __name__ == "__main__":
    main()
