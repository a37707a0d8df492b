"""The engine against `model.fit`, SciKeras and scikit-learn's MLP, side by side in one run.

    python tests/benchmarks/engine.py             # the whole table, some minutes
    python tests/benchmarks/engine.py epoch grid  # only the rows whose names have these words

Every figure is the median of ratios measured in turn, ours and theirs; machines are noisy, ratios
less so. The row with SciKeras needs `pip install scikeras==0.13`, and is left out without it.
"""

import argparse
import copy
import functools
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from joblib import parallel_config
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skkeras
from skkeras import KerasClassifier, KerasRegressor

REPEATS = 5


def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def side_by_side(ours, theirs, repeats=REPEATS):
    """Median of theirs / ours, both timed in turn after one call of each to warm up."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    ours_s, theirs_s = np.median(pairs, axis=0)
    return float(np.median([b / a for a, b in pairs])), ours_s, theirs_s


# --- epochs -----------------------------------------------------------------------------------


def mlp(keras):
    return [keras.Input((10,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(1)]


def lstm(keras):
    return [keras.Input((10, 1)), keras.layers.LSTM(50), keras.layers.Dense(1)]


def cnn(keras):
    return [
        keras.Input((32, 32, 3)),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(1),
    ]


def wide(keras):
    layers = [keras.Input((100,))]
    for _ in range(2):
        layers += [
            keras.layers.Dense(512, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
        ]
    return [*layers, keras.layers.Dense(10)]


def epoch(layers, n_rows, shape, n_outputs=1):
    """One warm epoch of partial_fit against one of `model.fit` on the same net."""
    import keras

    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, *shape)).astype("float32")
    y = rng.standard_normal((n_rows, n_outputs)).astype("float32")
    net = KerasRegressor(lambda: keras.Sequential(layers(keras)), random_state=0).partial_fit(X, y)
    model = keras.Sequential(layers(keras))
    model.compile("adam", "mse")
    return side_by_side(
        lambda: net.partial_fit(X, y), lambda: model.fit(X, y, batch_size=32, verbose=0), 9
    )


def parity_matrix():
    """One warm epoch of each net of the parity tests; the one that gains least counts."""
    import keras

    sys.path.append(str(Path(__file__).parents[1] / "engine"))
    from test_parity import NETS

    rng = np.random.default_rng(0)
    results = {}
    for name, (x, body) in NETS.items():
        X = np.resize(x, (1000, *x.shape[1:]))
        y = rng.standard_normal((1000, 1)).astype("float32")

        def build(x=x, body=body):
            inputs = keras.Input(x.shape[1:], dtype=x.dtype.name)
            return keras.Model(inputs, keras.layers.Dense(1)(body(inputs)))

        net = KerasRegressor(build, random_state=0).partial_fit(X, y)
        model = build()
        model.compile("adam", "mse")
        results[name] = side_by_side(
            functools.partial(net.partial_fit, X, y),
            functools.partial(model.fit, X, y, batch_size=32, verbose=0),
        )
    least = min(results, key=results.get)
    print("  parity matrix:", ", ".join(f"{n} {r[0]:.1f}" for n, r in results.items()))
    return results[least]


# --- searches ---------------------------------------------------------------------------------

UNITS, RATES = [16, 32, 64, 128], [1e-3, 1e-2]


def ours_grid(n_jobs=None):
    return GridSearchCV(
        make_pipeline(StandardScaler(), KerasClassifier(epochs=20, random_state=0)),
        {
            "kerasclassifier__model__units": UNITS,
            "kerasclassifier__optimizer__learning_rate": RATES,
        },
        cv=3,
        refit=False,
        n_jobs=n_jobs,
        error_score="raise",
    )


def sklearn_grid():
    return GridSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(max_iter=20, batch_size=32)),
        {
            "mlpclassifier__hidden_layer_sizes": [(units,) for units in UNITS],
            "mlpclassifier__learning_rate_init": RATES,
        },
        cv=3,
        refit=False,
    )


def scikeras_grid():
    import keras
    from scikeras.wrappers import KerasClassifier as SciKerasClassifier

    def build(units, meta):
        return keras.Sequential(
            [
                keras.Input((meta["n_features_in_"],)),
                keras.layers.Dense(units, activation="relu"),
                keras.layers.Dense(1, activation="sigmoid"),
            ]
        )

    net = SciKerasClassifier(
        build,
        units=16,
        loss="binary_crossentropy",
        optimizer="adam",
        optimizer__learning_rate=1e-3,
        epochs=20,
        batch_size=32,
        verbose=0,
    )
    return GridSearchCV(
        make_pipeline(StandardScaler(), net),
        {"kerasclassifier__units": UNITS, "kerasclassifier__optimizer__learning_rate": RATES},
        cv=3,
        refit=False,
        error_score="raise",
    )


def fit(grid):
    X, y = load_breast_cancer(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLPClassifier says that 20 epochs are few
        grid.fit(X, y)


def first_grid(other):
    """Our grid with nothing cached. TensorFlow itself has been imported by then, for both."""

    def ours():
        skkeras.clear_cache()
        fit(ours_grid())

    return side_by_side(ours, lambda: fit(other()))


def cached_grid():
    return side_by_side(lambda: fit(ours_grid()), lambda: fit(sklearn_grid()))


def threaded_grid(n_jobs=2, *, cached=True):
    def grid(n_jobs):
        if not cached:
            skkeras.clear_cache()
        with parallel_config("threading"):
            fit(ours_grid(n_jobs))

    return side_by_side(lambda: grid(n_jobs), lambda: grid(1))


def second_fit():
    """The fit of one epoch of a net whose clone has been fitted, against the first such fit."""
    X, y = load_breast_cancer(return_X_y=True)
    net = KerasClassifier(epochs=1, random_state=0)

    def first():
        skkeras.clear_cache()
        net.fit(X, y)

    first()
    pairs = []
    for _ in range(REPEATS):
        slow = seconds(first)
        pairs.append((seconds(lambda: net.fit(X, y)), slow))
    ours_s, theirs_s = np.median(pairs, axis=0)
    return float(np.median([b / a for a, b in pairs])), ours_s, theirs_s


def copied():
    """The first `partial_fit` of a copy, against the same of the original."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    net = KerasClassifier(random_state=0).partial_fit(X, y)
    pairs = []
    for _ in range(2 * REPEATS):
        other = copy.deepcopy(net)
        pairs.append([seconds(lambda one=one: one.partial_fit(X, y)) for one in (other, net)])
    ours_s, theirs_s = np.median(pairs, axis=0)
    return float(np.median([b / a for a, b in pairs])), ours_s, theirs_s


# --- predictions ------------------------------------------------------------------------------


def one_row():
    X, y = load_breast_cancer(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), KerasClassifier(epochs=1)).fit(X, y)
    model = pipe[-1].model_
    row = X[:1].astype("float32")

    def ours():
        for _ in range(20):  # one after the other, as a service is asked
            pipe.predict(X[:1])

    def theirs():
        for _ in range(20):
            model.predict(row, verbose=0)

    times, ours_s, theirs_s = side_by_side(ours, theirs)
    return times, ours_s / 20, theirs_s / 20


def many_rows():
    X = np.random.default_rng(0).standard_normal((100_000, 10)).astype("float32")
    net = KerasRegressor(epochs=1).fit(X[:100], X[:100, 0])
    model = net.model_
    return side_by_side(lambda: net.predict(X), lambda: model.predict(X, verbose=0))


# --- memory and imports, in processes of their own ----------------------------------------------

MEMORY = """
import gc, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import numpy as np
from skkeras import KerasClassifier
X = np.random.default_rng(0).standard_normal((200, 10)).astype("float32")
y = (X[:, 0] > 0).astype(int)

def resident():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

for i in range(200):
    net = KerasClassifier(model__units=(8, 16, 32, 64)[i % 4], epochs=1, random_state=i)
    net.fit(X, y).predict(X)
    if i == 19:
        before = resident()
print(resident() - before)
"""


def memory():
    grown = float(_python(MEMORY))
    return grown, None, None


def imports():
    def time_of(module):
        return seconds(lambda: _python(f"import {module}"))

    time_of("skkeras")
    extra = [time_of("skkeras") - time_of("sklearn") for _ in range(REPEATS)]
    return float(np.median(extra)), None, None


def _python(code):
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip() or "0"


def has_scikeras():
    try:
        import scikeras  # noqa: F401
    except ImportError:
        return False
    return True


ROWS = [
    ("epoch, 10-64-1 MLP, 1,000 rows", "model.fit", ">= 8", lambda: epoch(mlp, 1000, (10,))),
    (
        "epoch, LSTM(50) on (10, 1), 1,000 rows",
        "model.fit",
        ">= 4",
        lambda: epoch(lstm, 1000, (10, 1)),
    ),
    ("epoch, Conv2D(32), 640 images", "model.fit", ">= 2", lambda: epoch(cnn, 640, (32, 32, 3))),
    ("epoch, 100-512-512-10", "model.fit", ">= 1.7", lambda: epoch(wide, 1000, (100,), 10)),
    ("epoch, least of the parity matrix", "model.fit", ">= 1", parity_matrix),
    ("second fit of a clone, 1 epoch", "first fit", ">= 8", second_fit),
    ("grid, nothing cached", "SciKeras", ">= 12", functools.partial(first_grid, scikeras_grid)),
    (
        "grid, nothing cached",
        "MLPClassifier",
        ">= 0.4",
        functools.partial(first_grid, sklearn_grid),
    ),
    ("grid again", "MLPClassifier", ">= 0.83", cached_grid),
    ("grid again, n_jobs=2 in threads", "n_jobs=1", ">= 1.5", threaded_grid),
    (
        "grid, nothing cached, 2 threads",
        "n_jobs=1",
        ">= 1.1",
        functools.partial(threaded_grid, 2, cached=False),
    ),
    (
        "grid, nothing cached, 8 threads",
        "n_jobs=1",
        ">= 1",
        functools.partial(threaded_grid, 8, cached=False),
    ),
    ("partial_fit of a copy, 18 steps", "the original", ">= 0.33", copied),
    ("pipeline predict, one row", "model.predict", ">= 30", one_row),
    ("predict, 100,000 x 10 rows", "model.predict", ">= 20", many_rows),
    ("memory grown by 180 fits, MB", "", "< 60", memory),
    ("import skkeras beyond sklearn, s", "", "< 0.5", imports),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only rows whose names have one of these words")
    words = parser.parse_args().words
    print(
        f"{'work':42} {'against':14} {'times':>8} {'asked':>8} {'ours, ms':>10} {'theirs, ms':>11}"
    )
    for name, against, asked, measure in ROWS:
        if words and not any(word in name for word in words):
            continue
        if against == "SciKeras" and not has_scikeras():
            continue
        figure, ours, theirs = measure()
        times = "" if ours is None else f"{ours * 1e3:10.2f} {theirs * 1e3:11.2f}"
        print(f"{name:42} {against:14} {figure:8.2f} {asked:>8} {times}", flush=True)


if __name__ == "__main__":
    main()
