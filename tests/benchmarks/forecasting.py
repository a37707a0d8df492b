"""Forecasting study: the table of a paper, small series, intervals, a panel, and speed.

Run ``python tests/benchmarks/forecasting.py``, or with the names of some parts. ETTh1 (Zhou et
al., 2021, "Informer: beyond efficient transformers for long sequence time-series forecasting",
AAAI; CC BY-ND 4.0) is not part of this project: the environment variable SKKERAS_TEST_DATA names
the folder that has ``ETTh1.csv``. Sunspots come with statsmodels, which the part "small" needs.

Mean squared errors on ETTh1 are in scaled units: each column standardised by the training rows.
Rows are split 8640 / 2880 / 2880, and every window of the test rows counts, at stride 1.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from sklearn.linear_model import Ridge

from skkeras import KerasForecaster, data, models
from skkeras.__main__ import AIRLINE

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


def measure(model, horizon, seed, parts, **parameters):
    """Train, and return the test error and the seconds of training."""
    train, validation, test = parts
    net = paper_net(model, horizon, seed, **parameters)
    started = time.perf_counter()
    net.fit(train, X_val=validation)
    seconds = time.perf_counter() - started
    forecasts = net.predict(test, history=validation)
    return mean_squared_error(forecasts, test), seconds


def baselines(horizon, parts):
    """Yield names, test errors and seconds of forecasts without nets."""
    train, validation, test = parts
    known = np.concatenate([validation, test])
    first = len(validation)
    at = first + np.arange(len(test))[:, np.newaxis]
    last = np.repeat(at - 1, horizon, axis=1)
    yield "persistence", mean_squared_error(known[last], test), 0.0
    day_before = at - 24 + np.arange(horizon) % 24
    yield "seasonal naive", mean_squared_error(known[day_before], test), 0.0
    started = time.perf_counter()
    forecasts = np.empty((len(test), horizon, test.shape[1]))
    ridge = Ridge(1.0)
    past, future = (
        np.concatenate(list(np.moveaxis(part, 2, 0)))
        for part in data.windows(train, LOOK_BACK, horizon)
    )
    level = past[:, -1:]
    ridge.fit(past - level, future - level)
    windows = data.windows(known[first - LOOK_BACK :], LOOK_BACK)[0]
    for column in range(test.shape[1]):
        level = windows[..., column][:, -1:]
        forecasts[..., column] = level + ridge.predict(windows[..., column] - level)
    yield "ridge", mean_squared_error(forecasts, test), time.perf_counter() - started


def paper(seeds=3):
    """ETTh1, look-back 336: mean squared error, and seconds of one training."""
    parts = load_etth1()
    print(paper.__doc__)
    print("horizon  model             error   published  seconds")
    for horizon, published in PAPERS.items():
        for model in ("nlinear", "dlinear"):
            runs = [measure(model, horizon, seed, parts) for seed in range(seeds)]
            error, seconds = np.mean(runs, axis=0)
            print_row(horizon, model, error, published[model], seconds)
        for name in ("Informer", "PatchTST"):
            print(f"{horizon:7}  {name:14}            {published[name]:8.3f}")
        for name, error, seconds in baselines(horizon, parts):
            print_row(horizon, name, error, None, seconds)


def lstm(seeds=1):
    """ETTh1, horizon 96, an LSTM of 64 units: without, and with the last value taken out."""
    parts = load_etth1()
    print(lstm.__doc__)
    for norm in (None, "last"):
        runs = [measure("lstm", 96, seed, parts, window_norm=norm) for seed in range(seeds)]
        error, seconds = np.mean(runs, axis=0)
        print_row(96, f"lstm, {norm}", error, None, seconds)


def print_row(horizon, name, error, published, seconds):
    """Print a line of the table."""
    published = "" if published is None else f"{published:.3f}"
    print(f"{horizon:7}  {name:14} {error:8.4f}   {published:>9} {seconds:8.1f}", flush=True)


# Small series: mean absolute error of forecasts that begin every ``horizon`` rows.


def sunspots():
    """Yearly sunspots, 22 lags, horizon 11, the last 60 rows; they come with statsmodels."""
    from statsmodels.datasets import sunspots

    return sunspots.load_pandas().data[["SUNACTIVITY"]].to_numpy(), 60, 22, 11


def airline():
    """Monthly airline passengers, 24 lags, horizon 12, the last 36 rows."""
    return np.array(AIRLINE, dtype="float64").reshape(-1, 1), 36, 24, 12


def blockwise_error(forecasts, rows):
    """Average over forecasts (n_rows, horizon) of which every horizon-th is taken."""
    n_rows, horizon = forecasts.shape
    blocks = [forecasts[o, : min(horizon, n_rows - o)] for o in range(0, n_rows, horizon)]
    return np.abs(np.concatenate(blocks) - rows[:, 0]).mean()


def small(seeds=5):
    """Small series: mean absolute error, no refit. Means of seeds."""
    print(small.__doc__)
    for load in (sunspots, airline):
        X, n_test, look_back, horizon = load()
        train, test = X[:-n_test], X[-n_test:]
        season = len(train) - horizon + np.arange(n_test)[:, np.newaxis] + np.arange(horizon)
        print(load.__doc__)
        print(f"  seasonal naive  {blockwise_error(X[season, 0], test):5.1f}")
        for parameters in (
            {},
            {"epochs": 300, "optimizer__learning_rate": 0.003},
        ):
            errors, started = [], time.perf_counter()
            for seed in range(seeds):
                net = KerasForecaster(
                    look_back=look_back, horizon=horizon, target=0, random_state=seed, **parameters
                ).fit(train)
                errors.append(blockwise_error(net.predict(test), test))
            seconds = (time.perf_counter() - started) / seeds
            print(f"  nlinear         {np.mean(errors):5.1f}  {seconds:4.1f} s  {parameters}")


# Intervals: the share of the truth within, where another share was asked for.

COVERAGES = (0.5, 0.8, 0.9, 0.95)


def realised(net, test, coverage, **arguments):
    """Return the share within the limits, for each step."""
    lower, upper = net.predict_interval(test, coverage, **arguments)
    _, truth = data.windows(np.concatenate([test[:1], test]), 1, lower.shape[1])
    truth = truth.reshape(len(truth), *lower.shape[1:])
    n = len(truth)
    within = (lower[:n] <= truth) & (truth <= upper[:n])
    return within.reshape(*within.shape[:2], -1).mean(axis=(0, 2))


def autoregression(n_rows, seed):
    """Draw an AR(2) series."""
    rng = np.random.default_rng(seed)
    series = np.zeros(n_rows)
    for t in range(2, n_rows):
        series[t] = 0.6 * series[t - 1] - 0.3 * series[t - 2] + rng.normal()
    return series[:, np.newaxis]


def coverage():
    """Coverage of intervals, for each step (every 24th on ETTh1)."""
    print(coverage.__doc__)
    shares = {share: [] for share in COVERAGES}
    for seed in range(20):
        X = autoregression(3000, seed)
        net = KerasForecaster(
            look_back=8, horizon=4, target=0, epochs=10, validation_split=0.5, random_state=0
        ).fit(X[:2000])
        for share, found in shares.items():
            found.append(realised(net, X[2000:], share))
    for share, found in shares.items():
        print(f"  AR(2)  {share:5.2f}  {np.round(np.mean(found, axis=0), 3)}", flush=True)
    train, validation, test = load_etth1()
    net = paper_net("nlinear", 96, 0).fit(train, X_val=validation)
    for share in COVERAGES:
        found = realised(net, test, share, history=validation)
        print(
            f"  ETTh1  {share:5.2f}  {np.round(found[::24], 3)}  all: {found.mean():.3f}",
            flush=True,
        )


# Several series.


def panel(n_series=30):
    """One net for 30 series of different lengths, and 30 nets: mean squared error and seconds."""
    print(panel.__doc__)
    rng = np.random.default_rng(0)
    lengths = rng.integers(80, 300, n_series)
    series = [
        rng.normal() * 10
        + np.sin(rng.uniform(0, 6) + np.arange(length) / 3)
        + 0.2 * rng.normal(size=length)
        for length in lengths
    ]
    groups = np.repeat(np.arange(n_series), lengths)
    X = np.concatenate(series)[:, np.newaxis]
    late = np.concatenate([np.arange(length) >= length - 24 for length in lengths])
    net = KerasForecaster(look_back=24, horizon=6, target=0, epochs=50, random_state=0)
    net.fit(X[groups == 0])  # both ways use the same compiled program
    started = time.perf_counter()
    net.fit(X[~late], groups=groups[~late])
    seconds = time.perf_counter() - started
    truth, forecasts, _ = net.pairs(X[late], groups=groups[late])
    print(f"  one net   {np.mean((truth - forecasts) ** 2):6.3f}  {seconds:5.1f} s")
    errors, started = [], time.perf_counter()
    for group in range(n_series):
        net.fit(X[~late & (groups == group)])
        truth, forecasts, _ = net.pairs(X[late & (groups == group)])
        errors.append(np.mean((truth - forecasts) ** 2))
    print(f"  {n_series} nets   {np.mean(errors):6.3f}  {time.perf_counter() - started:5.1f} s")


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


TRAINERS = {"keras": plain_keras, "skkeras": skkeras_net}


def speed_of(which):
    """Print seconds and MB of one way to train, for the process that asked."""
    train = load_etth1()[0]
    TRAINERS[which](train[:500], 2, look_back=8)  # the start-up of TensorFlow
    before, started = peak_mb(), time.perf_counter()
    TRAINERS[which](train, 96)
    print(time.perf_counter() - started, peak_mb() - before)


def speed(repeats=3):
    """ETTh1, NLinear from 336 to 96 rows, 10 epochs: seconds, and memory beyond the start-up."""
    print(speed.__doc__)
    for _ in range(repeats):
        for which in TRAINERS:
            command = [sys.executable, __file__, "--speed-of", which]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            seconds, megabytes = map(float, output.split()[-2:])
            print(f"  {which:10}{seconds:8.2f} s {megabytes:8.0f} MB", flush=True)


PARTS = {part.__name__: part for part in (paper, lstm, small, coverage, panel, speed)}


def main():
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description="Forecasting study.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--speed-of", choices=TRAINERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.speed_of:
        speed_of(arguments.speed_of)
        return
    for part in arguments.parts or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
