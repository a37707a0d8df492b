"""Forecasting study: the table of a paper, small series, coverage of intervals, and speed.

Run ``python tests/benchmarks/forecasting.py``, or with the names of some parts. ETTh1 (Zhou et
al., 2021, "Informer: beyond efficient transformers for long sequence time-series forecasting",
AAAI; CC BY-ND 4.0) is not part of this project: the environment variable SKKERAS_TEST_DATA names
the folder that has ``ETTh1.csv``.

Mean squared errors are in scaled units: each column standardised by the training rows. Rows are
split 8640 / 2880 / 2880, and every window of the test rows counts, at stride 1.
"""

import functools
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from skkeras import KerasForecaster, models

LOOK_BACK = 336
TRAIN, VALIDATION, TEST = slice(0, 8640), slice(8640, 11520), slice(11520, 14400)
# Mean squared errors as published: Zeng et al. (2023), tables 2 and others; Nie et al. (2023).
PAPERS = {
    96: {"nlinear": 0.374, "dlinear": 0.375, "Informer": 0.865, "PatchTST": 0.375},
    192: {"nlinear": 0.408, "dlinear": 0.405, "Informer": 1.008, "PatchTST": 0.414},
    336: {"nlinear": 0.429, "dlinear": 0.439, "Informer": 1.107, "PatchTST": 0.431},
    720: {"nlinear": 0.440, "dlinear": 0.472, "Informer": 1.181, "PatchTST": 0.449},
}


def load_etth1():
    """Return training, validation and test rows of the seven columns, scaled by the first."""
    folder = os.environ.get("SKKERAS_TEST_DATA")
    path = None if folder is None else Path(folder, "ETTh1.csv")
    if path is None or not path.exists():
        raise SystemExit(
            f"ETTh1.csv isn't in SKKERAS_TEST_DATA={folder!r}; set it to the folder of the file."
        )
    rows = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8))
    rows = (rows - rows[TRAIN].mean(axis=0)) / rows[TRAIN].std(axis=0)
    return rows[TRAIN], rows[VALIDATION], rows[TEST]


def halved(epoch, _):
    """Two epochs at 0.005, and half of it in each that follows."""
    return 0.005 * 0.5 ** max(0, epoch - 1)


def paper_net(model, horizon, seed, **parameters):
    """Make a forecaster that trains by the recipe of the linear nets' paper."""
    defaults = {
        "look_back": LOOK_BACK,
        "epochs": 10,
        "batch_size": 128,
        "early_stopping": True,
        "callbacks": [keras.callbacks.LearningRateScheduler(halved)],
        "optimizer__learning_rate": 0.005,
        "normalize": False,
    }
    return KerasForecaster(model, horizon=horizon, random_state=seed, **{**defaults, **parameters})


def mean_squared_error(forecasts, rows):
    """Average over every window with a whole horizon."""
    horizon = forecasts.shape[1]
    truth = np.lib.stride_tricks.sliding_window_view(rows, horizon, axis=0).swapaxes(1, 2)
    return np.mean((forecasts[: len(truth)] - truth) ** 2)


def measure(model, horizon, seed, data, **parameters):
    """Train, and return the test error and the seconds of training."""
    train, validation, test = data
    net = paper_net(model, horizon, seed, **parameters)
    started = time.perf_counter()
    net.fit(train, X_val=validation)
    seconds = time.perf_counter() - started
    net.update(validation)
    return mean_squared_error(net.predict(test), test), seconds


# Speed: run in a process of its own, so that its peak of memory is its own, too.


def peak_mb():
    """Return the most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plain_keras(train, horizon, model="nlinear", look_back=LOOK_BACK):
    """Train the same net by `keras.Model.fit`, on windows that are materialised first."""
    windows = np.lib.stride_tricks.sliding_window_view(
        train.astype("float32"), look_back + horizon, axis=0
    ).swapaxes(1, 2)
    x = np.ascontiguousarray(windows[:, :look_back])
    y = np.ascontiguousarray(windows[:, look_back:]).reshape(len(x), -1)
    net = getattr(models, model)(x.shape[1:], y.shape[1], "linear")
    net.compile(keras.optimizers.Adam(0.005), "mean_squared_error")
    net.fit(x, y, epochs=10, batch_size=128, verbose=0)


def skkeras_net(train, horizon, model="nlinear", look_back=LOOK_BACK):
    """Train it by the forecaster."""
    net = paper_net(model, horizon, 0, look_back=look_back, callbacks=None, early_stopping=False)
    net.fit(train)


def speed_of(which):
    """Print seconds and MB of one way to train, for the process that asked."""
    train = load_etth1()[0]
    tiny = train[:500]
    {"keras": plain_keras, "skkeras": skkeras_net}[which](tiny, 2, look_back=8)  # start-up
    before, started = peak_mb(), time.perf_counter()
    {"keras": plain_keras, "skkeras": skkeras_net}[which](train, 96)
    print(time.perf_counter() - started, peak_mb() - before)


def speed():
    """Compare time and memory of ten epochs of NLinear, 336 to 96, with plain Keras."""
    for which in ("keras", "skkeras"):
        command = [sys.executable, __file__, f"speed-of-{which}"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, megabytes = map(float, output.split()[-2:])
        print(f"{which:10}{seconds:8.2f} s {megabytes:8.0f} MB", flush=True)


if __name__ == "__main__":
    {
        "speed": speed,
        "speed-of-keras": functools.partial(speed_of, "keras"),
        "speed-of-skkeras": functools.partial(speed_of, "skkeras"),
    }[sys.argv[1]]()
