"""The main job, to be seen at work: ``python -m skkeras`` searches over nets on real data."""

import argparse
import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from skkeras import DummyForecaster, KerasClassifier, KerasForecaster, KerasRegressor
from skkeras._versions import show_progress

# Monthly totals of international airline passengers, 1949 to 1960: Box and Jenkins (1976), "Time
# series analysis: forecasting and control", series G; in the public domain.
AIRLINE = [
    [112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118],
    [115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140],
    [145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166],
    [171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194],
    [196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201],
    [204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229],
    [242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278],
    [284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306],
    [315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336],
    [340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337],
    [360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405],
    [417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432],
]


class Job(NamedTuple):
    """What one of the subcommands searches, and what it compares the result with."""

    X: np.ndarray
    y: np.ndarray
    estimator: Any
    grid: dict[str, list]
    baselines: dict[str, Any]
    splits: Any = 3

    @property
    def is_series(self):
        """Whether the rows are in an order that splits have to keep."""
        return isinstance(self.splits, TimeSeriesSplit)


def classify():
    """Malignant or benign: breast cancer, 569 rows of 30 features (the default)."""
    X, y = load_breast_cancer(return_X_y=True)
    return Job(
        X=X,
        y=y,
        estimator=make_pipeline(StandardScaler(), KerasClassifier(epochs=30, random_state=0)),
        grid={
            "kerasclassifier__model__units": [16, (32, 16)],
            "kerasclassifier__optimizer": ["adam", "sgd"],
            "kerasclassifier__optimizer__learning_rate": [0.001, 0.01],
        },
        baselines={
            "LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression()),
            "MLPClassifier": make_pipeline(
                StandardScaler(), MLPClassifier(max_iter=1000, random_state=0)
            ),
        },
    )


def regression():
    """How a disease progresses: diabetes, 442 rows of 10 features, X and y scaled."""
    X, y = load_diabetes(return_X_y=True)
    scaled = make_pipeline(StandardScaler(), KerasRegressor(epochs=30, random_state=0))
    return Job(
        X=X,
        y=y,
        estimator=TransformedTargetRegressor(scaled, transformer=StandardScaler()),
        grid={
            "regressor__kerasregressor__model__units": [16, (32, 16)],
            "regressor__kerasregressor__model__dropout": [0.0, 0.3],
            "regressor__kerasregressor__optimizer": ["adam", "sgd"],
        },
        baselines={
            "RidgeCV": make_pipeline(StandardScaler(), RidgeCV()),
            "MLPRegressor": TransformedTargetRegressor(
                make_pipeline(
                    StandardScaler(),
                    MLPRegressor(early_stopping=True, max_iter=1000, random_state=0),
                ),
                transformer=StandardScaler(),
            ),
        },
    )


def images():
    """Handwritten digits: 1,797 images of 8 x 8 x 1 pixels in 10 classes, a convolutional net."""
    digits = load_digits()
    flatten = FunctionTransformer(np.reshape, kw_args={"shape": (-1, 64)})
    return Job(
        X=digits.images[..., np.newaxis] / 16,
        y=digits.target,
        estimator=KerasClassifier("cnn", epochs=20, random_state=0),
        grid={"model__filters": [16, (16, 32)], "optimizer__learning_rate": [0.001, 0.003]},
        baselines={
            "LogisticRegression": make_pipeline(flatten, LogisticRegression(max_iter=1000)),
            "MLPClassifier": make_pipeline(flatten, MLPClassifier(max_iter=1000, random_state=0)),
        },
    )


def forecast():
    """Airline passengers of the next month: 144 months, in thousands, from the months before."""
    return Job(
        X=np.array(AIRLINE, dtype="float64").reshape(-1, 1),
        y=np.array(AIRLINE, dtype="float64").ravel(),
        estimator=KerasForecaster("nlinear", epochs=200, random_state=0),
        grid={"look_back": [3, 6, 12, 24], "optimizer__learning_rate": [0.003, 0.01]},
        baselines={
            "the same month a year ago": DummyForecaster("seasonal", season=12),
            "the month before": DummyForecaster("last"),
        },
        splits=TimeSeriesSplit(3, test_size=12),
    )


JOBS = {"classify": classify, "regression": regression, "images": images, "forecast": forecast}


def run(job):
    """Split, search, compare, save, and load in a new process, which has to predict the same."""
    X, X_test, y, y_test = train_test_split(
        job.X,
        job.y,
        test_size=0.25,
        shuffle=not job.is_series,
        stratify=job.y if is_classifier(job.estimator) else None,
        random_state=None if job.is_series else 0,
    )
    print(f"{len(X)} rows to train and {len(X_test)} to test, each {describe_row(X)}.\n")
    search = GridSearchCV(job.estimator, job.grid, cv=job.splits, error_score="raise")
    show_progress(search).fit(X, y)

    score_name = "accuracy" if is_classifier(job.estimator) else "R2"
    print(f"\nCandidates, {score_name} over {search.n_splits_} folds:")
    print(format_candidates(search.cv_results_))

    print(f"\nTest {score_name}:")
    print(f"  {search.score(X_test, y_test):.3f}  skkeras, the best candidate")
    # scikit-learn's small nets take many times longer where BLAS splits their work among threads.
    with threadpool_limits(1):
        for name, baseline in job.baselines.items():
            print(f"  {baseline.fit(X, y).score(X_test, y_test):.3f}  {name}")

    size_kb = check_saving(search.best_estimator_, X_test)
    print(
        f"\nSaved with joblib ({size_kb:.0f} kB) and loaded in a new process: "
        f"{len(X_test)} predictions, all identical."
    )
    if job.is_series:
        ahead = search.best_estimator_.update(X_test).forecast(12).ravel()
        print(f"\nThe next 12 rows: {', '.join(f'{value:.0f}' for value in ahead)}.")


def describe_row(X):
    """Return the shape of a row of X, in words."""
    return f"of {X.shape[1]} features" if X.ndim == 2 else f"of {' x '.join(map(str, X.shape[1:]))}"


def format_candidates(results):
    """Lay out the candidates of a search's ``cv_results_`` as a table, the best first."""
    lines = ["   mean    std  fit time  parameters"]
    for i in np.argsort(results["rank_test_score"], kind="stable"):
        parameters = ", ".join(f"{shorten(k)}={v}" for k, v in results["params"][i].items())
        mean, std, seconds = (
            results[column][i] for column in ("mean_test_score", "std_test_score", "mean_fit_time")
        )
        lines.append(f"  {mean:5.3f}  {std:5.3f}  {seconds:6.2f} s  {parameters}")
    return "\n".join(lines)


def shorten(name):
    """Leave the steps of a pipeline out of a parameter's name.

    Examples
    --------
    >>> shorten("kerasclassifier__model__units"), shorten("optimizer")
    ('model__units', 'optimizer')
    """
    *steps, last = name.split("__")
    prefixes = [step for step in steps if step in ("model", "optimizer")]
    return "__".join([*prefixes, last])


# Run by a Python that has seen none of this: it gets file names, and gives an array.
PREDICT = """
import gc, sys, joblib, numpy
gc.disable()
_, model, data, method, out = sys.argv
numpy.save(out, getattr(joblib.load(model), method)(numpy.load(data)))
"""


def check_saving(estimator, X):
    """Save a fitted estimator, predict in a new process, and compare bit for bit; return its KB."""
    method = "predict_proba" if is_classifier(estimator) else "predict"
    with tempfile.TemporaryDirectory() as folder:
        model, data, out = (str(Path(folder, name)) for name in ("model", "X.npy", "out.npy"))
        joblib.dump(estimator, model)
        np.save(data, X)
        process = subprocess.run(
            [sys.executable, "-c", PREDICT, model, data, method, out],
            capture_output=True,
            text=True,
        )
        if process.returncode:
            reason = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
            raise RuntimeError(f"the saved estimator failed in a new process: {reason[-1]}")
        if not np.array_equal(np.load(out), getattr(estimator, method)(X)):
            raise RuntimeError("the saved estimator predicts differently in a new process")
        return Path(model).stat().st_size / 1024


@contextlib.contextmanager
def quiet_stderr():
    """Silence the stderr of the process, from C++ too."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def import_quietly():
    """Import Keras without the log of TensorFlow's start, unless its level is set already."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Its modules stay, and looking them through for garbage is a quarter of the time of the import.
    gc.disable()
    # Some lines come before TensorFlow's log knows its level.
    with quiet_stderr():
        import keras  # noqa: F401
    gc.freeze()
    gc.enable()


def parse(arguments):
    """Read the command line."""
    described = "\n".join(f"  {name:12}{job.__doc__}" for name, job in JOBS.items())
    parser = argparse.ArgumentParser(
        prog="python -m skkeras",
        description="Search over nets with GridSearchCV, compare the best with scikit-learn's own\n"
        "estimators, save it, and load it in a new process.",
        epilog=f"What it can show:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("show", nargs="?", choices=JOBS, default="classify", help="what to show")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Run the command; return 0, 1 for a failure told in a line on stderr, or 130 for Ctrl-C.

    A wrong command line exits with 2 at once.
    """
    show = JOBS[parse(arguments).show]
    started = time.perf_counter()
    try:
        print(show.__doc__)
        import_quietly()
        run(show())
        print(f"Done in {time.perf_counter() - started:.0f} s.", flush=True)
    except BrokenPipeError:
        # The reader has gone; buffered output must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("skkeras: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        print(f"skkeras: {type(error).__name__}: {first_line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
