"""Training on files against training on the same data in memory, side by side in one run.

    python tests/benchmarks/data.py                # 256 MB and 2 GB of files, a quarter of an hour
    python tests/benchmarks/data.py speed grid     # only the rows whose names have these words
    python tests/benchmarks/data.py --large grid   # the search in memory at 2 GB, too: takes 3 GB
    python tests/benchmarks/data.py --folder DIR   # where the files are written, and deleted again

Ratios are medians of pairs measured in turn. What is said of memory is that of a process of its
own which does nothing else, above the same process after a fit of 1,000 rows, and with y, where
that is in memory.
The 8 GB are the 2 GB of files, each listed four times.
"""

import argparse
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from sklearn.model_selection import GridSearchCV, KFold

from skkeras import KerasClassifier, KerasRegressor, data

REPEATS = 3
SIZES = {"256 MB": 40, "2 GB": 320}  # in files of 50,000 x 32 float32
LISTED = {"256 MB": 1, "2 GB": 1, "8 GB": 4}  # how often each file is
BATCH = 256


def write(folder, n_files, n_rows=50_000):
    """Write files of 31 features and a value, without a random number for each."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((n_rows, 32)).astype("float32")
    base[:, -1] = np.tanh(base[:, :4].sum(axis=1))
    folder.mkdir(parents=True)
    for number in range(n_files):
        np.save(folder / f"shard_{number}.npy", np.roll(base, number * 97, axis=0))
    return folder


@functools.cache
def files(n_files):
    return write(Path(ROOT) / f"shards_{n_files}", n_files)


def opened(n_files):
    rows = data.open_npy(files(n_files))
    return rows[:, :-1], np.asarray(rows[:, -1])


def net(kind=KerasRegressor, **parameters):
    return kind(model__units=32, batch_size=BATCH, random_state=0, **{"epochs": 1, **parameters})


def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def side_by_side(ours, theirs):
    """Median of theirs / ours, both timed in turn after one call of each to warm up."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(REPEATS)]
    ours_s, theirs_s = np.median(pairs, axis=0)
    return float(np.median([b / a for a, b in pairs])), ours_s, theirs_s


# --- speed ------------------------------------------------------------------------------------


def against_engine(size):
    """An epoch over files against one over an array in memory."""
    X, y = opened(SIZES[size])
    loaded = np.asarray(X)
    lazy, memory = net().partial_fit(X[:1000], y[:1000]), net().partial_fit(X[:1000], y[:1000])
    return side_by_side(lambda: lazy.partial_fit(X, y), lambda: memory.partial_fit(loaded, y))


def against_y_in_memory(size):
    """An epoch over files with y among them against one with y in memory."""
    X, y = opened(SIZES[size])
    rows = data.open_npy(files(SIZES[size]))
    lazy, memory = net().partial_fit(X[:1000], y[:1000]), net().partial_fit(X[:1000], y[:1000])
    return side_by_side(
        lambda: lazy.partial_fit(rows[:, :-1], rows[:, -1]), lambda: memory.partial_fit(X, y)
    )


def against_keras(size):
    """An epoch over files against one of `model.fit` over an array in memory."""
    X, y = opened(SIZES[size])
    loaded = np.asarray(X)
    lazy = net().partial_fit(X[:1000], y[:1000])
    model = net().initialize(X[:1000], y[:1000]).model_
    return side_by_side(
        lambda: lazy.partial_fit(X, y),
        lambda: model.fit(loaded, y, batch_size=BATCH, verbose=0),
    )


def against_warm(size):
    """An epoch over files that the system has to read from disk against one over its cache."""
    X, y = opened(SIZES[size])
    lazy = net().partial_fit(X[:1000], y[:1000])
    pairs = []
    for _ in range(REPEATS):
        warm = seconds(lambda: lazy.partial_fit(X, y))
        drop_from_cache(files(SIZES[size]))
        pairs.append((seconds(lambda: lazy.partial_fit(X, y)), warm))
    cold_s, warm_s = np.median(pairs, axis=0)
    return float(np.median([warm / cold for cold, warm in pairs])), cold_s, warm_s


def drop_from_cache(folder):
    """Let the system forget the files' pages, of which it has written all."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def predict(size):
    """Predicting files against predicting an array in memory."""
    X, y = opened(SIZES[size])
    fitted, loaded = net().fit(X[:1000], y[:1000]), np.asarray(X)
    return side_by_side(lambda: fitted.predict(X), lambda: fitted.predict(loaded))


# --- memory, in a process of its own ----------------------------------------------------------


def status(*names):
    """Values of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return np.array([int(values[name].split()[0]) / 1024 for name in names])


class Peak(threading.Thread):
    """The highest values of /proc/self/status that were seen."""

    def __init__(self, *names):
        super().__init__(daemon=True)
        self.names, self.values, self.ends = names, status(*names), threading.Event()

    def run(self):
        while not self.ends.wait(0.005):
            self.values = np.maximum(self.values, status(*self.names))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.join()


def train_in_little_memory(folder, how, times):
    """What the process of its own does: RssAnon and RSS above the idle process, descriptors, s."""
    rows = data.open_npy([folder] * int(times))
    kind, targets, fit, parameters = HOW[how]
    X, y = rows[:, :-1], targets(rows[:, -1])
    first = np.asarray(X[:1000])
    net(kind).fit(first, np.asarray(y[:1000])).predict(first)
    idle, n_open = status("RssAnon", "VmRSS"), len(os.listdir("/proc/self/fd"))
    begin = time.perf_counter()
    with Peak("RssAnon", "VmRSS") as peak:
        fit(X, y, net(kind, **parameters))
    taken = time.perf_counter() - begin
    print(*(peak.values - idle), len(os.listdir("/proc/self/fd")) - n_open, taken)


def fit(X, y, net):
    net.fit(X, y)


def grid(X, y, net, folds=None):
    folds = data.LazyKFold(3) if folds is None else folds
    rates = {"optimizer__learning_rate": [1e-3, 1e-2]}
    search = GridSearchCV(net, rates, cv=folds, refit=False).fit(X, y)
    return search.cv_results_["mean_test_score"]


def as_read(y):
    return y


def labels(y):
    return y.map(is_positive, dtype="int64")


def is_positive(rows):
    return (rows > 0).astype("int64")


# The estimator, its targets, what is done with them, and parameters.
HOW = {
    "fit": (KerasRegressor, as_read, fit, {}),
    "y in memory": (KerasRegressor, np.asarray, fit, {}),
    "labels": (KerasClassifier, labels, fit, {"class_weight": "balanced"}),
    "validation": (KerasRegressor, as_read, fit, {"validation_split": 0.1}),
    "stratified": (KerasClassifier, labels, fit, {"validation_split": 0.1}),
    "grid": (KerasRegressor, as_read, grid, {}),
    "grid of labels": (KerasClassifier, labels, grid, {}),
    "grid of KFold, y in memory": (
        KerasRegressor,
        np.asarray,
        functools.partial(grid, folds=KFold(3)),
        {},
    ),
}


@functools.cache
def in_a_process(size, how):
    folder, times = files(SIZES["2 GB" if size == "8 GB" else size]), LISTED[size]
    command = [sys.executable, __file__, "--child", str(folder), how, str(times)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(value) for value in done.stdout.split()]


def measured(size, how, which):
    return in_a_process(size, how)[which], None, None


# --- searches and opening ---------------------------------------------------------------------


def same_scores(size):
    """Largest difference of scores between files and the same blocks in memory."""
    rows = data.open_npy(files(SIZES[size]))
    loaded = [np.load(path) for path in data.npy.npy_paths(files(SIZES[size]))]
    in_memory, y = data.lazy(*loaded)[:, :-1], np.asarray(rows[:, -1])
    scores = grid(rows[:, :-1], rows[:, -1], net()), grid(in_memory, y, net(), KFold(3))
    return float(np.abs(scores[0] - scores[1]).max()), None, None


def open_many():
    """Seconds to open 10,000 files."""
    folder = write(Path(ROOT) / "many", 10_000, n_rows=50)
    n_open = len(os.listdir("/proc/self/fd"))
    taken = float(np.median([seconds(lambda: data.open_npy(folder)) for _ in range(3)]))
    assert len(os.listdir("/proc/self/fd")) == n_open
    return taken, None, None


def shuffling():
    """How much more the batches' means of sorted labels vary than those of a full shuffle."""
    from skkeras._engine.rows import Rows, begin_epoch

    X, _ = opened(SIZES["256 MB"])
    y = np.arange(len(X), dtype="float32")  # as sorted as can be
    epoch = begin_epoch(Rows(X, y), np.random.default_rng(0))
    order = epoch.order
    indices = [rows[within] for rows, within in map(order.group, range(len(order.group_ends)))]
    blocks, full = np.concatenate(indices), np.random.default_rng(0).permutation(len(X))
    spread = [
        np.std(y[o[: len(o) // BATCH * BATCH]].reshape(-1, BATCH).mean(1)) for o in (blocks, full)
    ]
    return spread[0] / spread[1], None, None


LARGE = "grid of 2 x 3 at 2 GB"
OF_A_PROCESS = [
    ("RssAnon, MB", "<= 300"),
    ("RSS, MB", ""),
    ("files left open", "0"),
    ("seconds", ""),
]
ROWS = [
    ("opening 10,000 files, s", "", "< 2", open_many),
    *[
        row
        for size in SIZES
        for row in (
            (f"speed, {size}", "in memory", ">= 0.8", functools.partial(against_engine, size)),
            (f"speed, {size}", "model.fit", ">= 2", functools.partial(against_keras, size)),
            (f"speed, {size}", "y in memory", "", functools.partial(against_y_in_memory, size)),
            (f"speed of cold files, {size}", "warm", "", functools.partial(against_warm, size)),
            (f"predict, {size}", "in memory", "", functools.partial(predict, size)),
            *[
                (
                    f"memory, {size}, {how}: {what}",
                    "idle",
                    asked,
                    functools.partial(measured, size, how, i),
                )
                for how in HOW
                for i, (what, asked) in enumerate(OF_A_PROCESS)
            ],
        )
    ],
    *[
        (f"memory, 8 GB, {how}: {what}", "idle", asked, functools.partial(measured, "8 GB", how, i))
        for how in ("fit", "labels", "grid")
        for i, (what, asked) in enumerate(OF_A_PROCESS)
    ],
    *[
        (f"{name}, difference of scores", "in memory", "0", functools.partial(same_scores, size))
        for name, size in (("grid of 2 x 3", "256 MB"), (LARGE, "2 GB"))
    ],
    ("shuffling, spread of batch means", "full shuffle", "", shuffling),
]


def main():
    global ROOT
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only rows whose names have one of these words")
    parser.add_argument("--folder", help="where to write the files; a temporary one if left out")
    parser.add_argument("--large", action="store_true", help="rows that take much memory, too")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        train_in_little_memory(*arguments.child)
        return
    ROOT = tempfile.mkdtemp(dir=arguments.folder)
    print(f"{'work':40} {'against':14} {'result':>8} {'asked':>8} {'ours, s':>9} {'theirs, s':>9}")
    try:
        for name, against, asked, measure in ROWS:
            if arguments.words and not any(word in name for word in arguments.words):
                continue
            if name.startswith(LARGE) and not arguments.large:
                continue
            figure, ours, theirs = measure()
            times = "" if ours is None else f"{ours:9.2f} {theirs:9.2f}"
            shown = f"{figure:8.2f}" if figure == 0 or abs(figure) >= 0.005 else f"{figure:8.1e}"
            print(f"{name:40} {against:14} {shown} {asked:>8} {times}", flush=True)
    finally:
        shutil.rmtree(ROOT)


if __name__ == "__main__":
    main()
