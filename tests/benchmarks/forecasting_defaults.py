"""The default forecaster next to other presets, seasonal naive and gradient boosting.

Run ``python tests/benchmarks/forecasting_defaults.py``, or with the names of some series. It prints
mean absolute errors, of every row at every step of the horizon, on the last rows of each series.
``--validate`` takes those before them instead, and never looks at the last rows: by that part the
default was chosen. ETTh1 needs SKKERAS_TEST_DATA, sunspots statsmodels; see ``forecasting.py``,
from which both come.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

from skkeras import DummyForecaster, KerasForecaster

sys.path.insert(0, str(Path(__file__).parent))
from forecasting import airline, load_etth1, sunspots


class Work(NamedTuple):
    """A series, what is to be forecast, and how many of the last rows are the test."""

    X: Any
    n_test: int
    season: int
    parameters: dict
    groups: Any = None


def etth1(horizon):
    """Seven columns of a transformer, hourly, scaled by the training rows."""
    rows = np.concatenate(load_etth1())
    return Work(rows, 2880, 24, {"horizon": horizon, "look_back": 336})


def sunspot_years():
    """Yearly sunspots; a cycle is about 11 years."""
    rows, n_test, _, horizon = sunspots()
    return Work(rows, n_test, 11, {"horizon": horizon, "target": 0})


def passengers():
    """Monthly airline passengers."""
    rows, n_test, _, horizon = airline()
    return Work(rows, n_test, 12, {"horizon": horizon, "target": 0})


def hourly_load(seed=0, n_days=731):
    """Two years of hourly load; weekday, temperature and holidays are known ahead."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2023-01-01", periods=24 * n_days, freq="h")
    hour, day = index.hour.to_numpy(), index.dayofweek.to_numpy()
    year = 2 * np.pi * index.dayofyear.to_numpy() / 365.25
    temperature = 11 - 9 * np.cos(year) - 4 * np.cos(2 * np.pi * (hour - 3) / 24)
    temperature += autoregressive(rng, len(index), 0.98, 0.6)
    holiday = np.repeat(rng.random(n_days) < 0.03, 24).astype(float)
    is_free = (day >= 5) | (holiday > 0)
    work = 260 * np.exp(-(((hour - 9) / 3) ** 2)) + 300 * np.exp(-(((hour - 18.5) / 3) ** 2))
    free = 140 * np.exp(-(((hour - 12) / 4) ** 2)) + 220 * np.exp(-(((hour - 19) / 3) ** 2))
    load = 900 + 60 * np.cos(year) + np.where(is_free, free - 90, work)
    load += 9 * np.maximum(16 - temperature, 0) + 14 * np.maximum(temperature - 20, 0)
    load += autoregressive(rng, len(index), 0.9, 18)
    columns = {"load": load, "weekday": day, "temperature": temperature, "holiday": holiday}
    known = ["weekday", "temperature", "holiday"]
    parameters = {"horizon": 24, "target": "load", "known_future": known}
    return Work(pd.DataFrame(columns, index=index), 24 * 56, 168, parameters)


def random_walk():
    """A random walk, of which nothing but the last value can be known."""
    steps = np.random.default_rng(0).normal(size=(1000, 1))
    return Work(np.cumsum(steps, axis=0), 200, 1, {"horizon": 12, "target": 0})


def intermittent():
    """Intermittent demand: on three days of ten somebody buys, more of them at weekends."""
    rng, day = np.random.default_rng(0), np.arange(800)
    buys = rng.random(800) < np.where(day % 7 >= 5, 0.6, 0.2)
    sizes = buys * (1 + rng.poisson(2, 800))
    index = pd.date_range("2022-01-01", periods=800)
    return Work(pd.DataFrame({"sold": sizes}, index), 140, 7, {"horizon": 7, "target": "sold"})


def panel():
    """Thirty monthly series of other levels, trends, seasons and lengths."""
    rng, n_test = np.random.default_rng(0), 24
    lengths = rng.integers(96, 240, 30)
    series = [one_of_panel(rng, length) for length in lengths]
    groups = np.repeat(np.arange(30), lengths)
    return Work(np.concatenate(series), n_test, 12, {"horizon": 6, "target": 0}, groups)


def one_of_panel(rng, length):
    """Draw a monthly series of a level, a trend, a season and noise."""
    t, level = np.arange(length), np.exp(rng.normal(4, 1))
    season = rng.uniform(0.05, 0.3) * np.sin(2 * np.pi * t / 12 + rng.uniform(0, 6))
    season += rng.uniform(0, 0.1) * np.cos(4 * np.pi * t / 12)
    trend = rng.normal(0, 0.002) * t
    noise = autoregressive(rng, length, 0.7, 0.04)
    return (level * (1 + season + trend + noise))[:, np.newaxis]


def autoregressive(rng, n_rows, factor, scale):
    """Draw noise of which a share stays from row to row."""
    noise = rng.normal(scale=scale, size=n_rows)
    for t in range(1, n_rows):
        noise[t] += factor * noise[t - 1]
    return noise


SERIES = {
    "etth1_96": lambda: etth1(96),
    "etth1_192": lambda: etth1(192),
    "etth1_336": lambda: etth1(336),
    "etth1_720": lambda: etth1(720),
    "sunspots": sunspot_years,
    "airline": passengers,
    "load": hourly_load,
    "walk": random_walk,
    "intermittent": intermittent,
    "panel": panel,
}


def split(work, *, validate):
    """Return training and test rows, and their groups; to validate, the last rows are left out."""
    codes = np.zeros(len(work.X), int) if work.groups is None else work.groups
    to_come = pd.Series(codes).groupby(codes).cumcount(ascending=False).to_numpy()
    n_left_out = work.n_test if validate else 0
    train = to_come >= n_left_out + work.n_test
    test = (to_come >= n_left_out) & ~train
    groups = (None, None) if work.groups is None else (codes[train], codes[test])
    return work.X[train], work.X[test], *groups


def error_of(forecaster, work, *, validate):
    """Fit a forecaster; return its error and the seconds of the fit."""
    train, test, groups, test_groups = split(work, validate=validate)
    started = time.perf_counter()
    forecaster.fit(train, groups=groups)
    seconds = time.perf_counter() - started
    truth, forecasts, _ = forecaster.pairs(test, groups=test_groups)
    return np.abs(truth - forecasts).mean(), seconds


def net_error(work, seed, *, validate, **parameters):
    """Train a net with a preset or with nothing said."""
    net = KerasForecaster(random_state=seed, **work.parameters, **parameters)
    return error_of(net, work, validate=validate)


def naive_error(work, *, validate):
    """Forecast the value of a season ago."""
    parameters = {k: v for k, v in work.parameters.items() if k != "look_back"}
    naive = DummyForecaster("seasonal", season=work.season, **parameters)
    return error_of(naive, work, validate=validate)[0]


def boosting_error(work, *, validate, look_back=24):
    """Fit gradient boosting for each step, on lags and on what is known of the step."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    train, test, _, _ = split(work, validate=validate)
    rows, n_train = pd.concat([train, test]), len(train)
    load, known = rows["load"].to_numpy(), rows[work.parameters["known_future"]].to_numpy()
    lags = np.lib.stride_tricks.sliding_window_view(load, look_back)  # lags[t] ends before t + 24
    errors = []
    for step in range(work.parameters["horizon"]):
        origins = np.arange(look_back, len(rows) - step)
        outcome = origins + step
        X = np.column_stack([lags[origins - look_back], known[outcome], known[origins - 1]])
        is_train, is_test = outcome < n_train, origins >= n_train
        if work.parameters["horizon"] > 1:  # forecasts count whose whole horizon is in the rows
            is_test &= origins + work.parameters["horizon"] <= len(rows)
        model = HistGradientBoostingRegressor(random_state=0).fit(
            X[is_train], load[outcome[is_train]]
        )
        errors.append(np.abs(model.predict(X[is_test]) - load[outcome[is_test]]))
    return np.concatenate(errors).mean()


PRESETS = (None, "nlinear", "dlinear", "linear", "mlp")


def compare(name, presets, seeds, *, validate, **parameters):
    """Print the errors of a series, and how far the default is from the naive and the best."""
    work = SERIES[name]()
    naive = naive_error(work, validate=validate)
    print(f"{name:13} {'seasonal naive':15} {naive:9.4f}", flush=True)
    errors = {}
    for preset in presets:
        runs = [
            net_error(work, seed, validate=validate, model=preset, **parameters)
            for seed in range(seeds)
        ]
        (errors[preset], seconds), spread = np.mean(runs, axis=0), np.std(runs, axis=0)[0]
        shown = preset or "default"
        print(
            f"{name:13} {shown:15} {errors[preset]:9.4f}  +- {spread:.4f} {seconds:6.1f} s",
            flush=True,
        )
    best = min(errors.values())
    summary = f"of naive {errors[None] / naive:.3f}, of the best preset {errors[None] / best:.3f}"
    if name == "load":
        boosting = boosting_error(work, validate=validate)
        print(f"{name:13} {'boosting':15} {boosting:9.4f}", flush=True)
        summary += f", of boosting {errors[None] / boosting:.3f}"
    print(f"{name:13} default: {summary}", flush=True)


def first_fit_of(preset, kind):
    """Print the seconds of a first fit, by the processors and by the clock."""
    import keras  # the start-up of TensorFlow isn't counted

    keras.ops.zeros(1)
    rows, parameters = hourly_load().X[:5000], {"horizon": 24, "target": "load"}
    if kind == "covariates":
        parameters["known_future"] = ["weekday", "temperature", "holiday"]
    else:
        rows = rows[["load"]]
    net = KerasForecaster(None if preset == "default" else preset, random_state=0, **parameters)
    started, busy = time.perf_counter(), time.process_time()
    net.fit(rows)
    print(time.process_time() - busy, time.perf_counter() - started)


def first_fits(repeats):
    """Print medians of first fits on 5,000 rows, each in a process of its own."""
    for kind in ("one column", "covariates"):
        for preset in ("nlinear", "default"):
            command = [sys.executable, __file__, "--first-fit-of", preset, kind]
            runs = [
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                for _ in range(repeats)
            ]
            busy, clock = np.median(np.array(runs, dtype=float), axis=0)
            print(f"{kind:12} {preset:8} {busy:6.1f} s of processors {clock:6.1f} s", flush=True)


def main():
    """Compare on the series asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("series", nargs="*", metavar="series", help=f"of {', '.join(SERIES)}")
    parser.add_argument("--validate", action="store_true", help="on the rows before the last")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="other than the default, to save time")
    parser.add_argument("--first-fit", action="store_true", help="seconds of a first fit instead")
    parser.add_argument("--first-fit-of", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--presets", nargs="+", default=PRESETS[1:], help="besides the default")
    arguments = parser.parse_args()
    if arguments.first_fit_of:
        first_fit_of(*arguments.first_fit_of)
        return
    if arguments.first_fit:
        first_fits(arguments.seeds)
        return
    more = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    for name in arguments.series or SERIES:
        compare(
            name, [None, *arguments.presets], arguments.seeds, validate=arguments.validate, **more
        )


if __name__ == "__main__":
    main()
