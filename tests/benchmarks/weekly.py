"""Retraining every week: the error of the next week, by how a forecaster learns the last one.

Prints the mean absolute error of each of 8 weeks, forecast before it is learnt, and their mean, for
an LSTM on daily sales with a trend (noise alone: 0.8) and on hourly load.

    python tests/benchmarks/weekly.py
"""

import numpy as np
import pandas as pd

from skkeras import KerasForecaster

N_WEEKS = 8
EPOCHS_LATER = 3  # of warm fits
WAYS = ["update", "partial_fit", "partial_fit, rate / 10", "warm fit", "warm fit, rate / 10", "fit"]


def daily_sales():
    """400 days and 8 weeks, of which a week has 7 rows."""
    t = np.arange(400 + 7 * N_WEEKS)
    noise = np.random.default_rng(0).normal(size=len(t))
    sales = 100 + 0.2 * t + 10 * np.sin(2 * np.pi * t / 7) + noise
    index = pd.date_range("2025-01-01", periods=len(t))
    net = KerasForecaster("lstm", look_back=14, horizon=7, epochs=30, random_state=0)
    return pd.DataFrame({"sales": sales}, index=index), 7, 400, net


def hourly_load():
    """10 weeks and 8 weeks, of which a week has 168 rows."""
    t = np.arange(168 * (10 + N_WEEKS))
    weekend = (t // 24) % 7 > 4
    noise = 25 * np.random.default_rng(0).normal(size=len(t))
    load = 500 + 150 * np.sin(2 * np.pi * t / 24) * (1 - 0.5 * weekend) + noise
    index = pd.date_range("2025-01-01", periods=len(t), freq="h")
    net = KerasForecaster("lstm", look_back=48, horizon=24, epochs=5, random_state=0)
    return pd.DataFrame({"load": load}, index=index), 168, 1680, net


def learn(net, way, new, known):
    """Let a net learn a week, ``new``, of all that is ``known``."""
    name, _, smaller = way.partition(", ")
    if smaller:
        net.set_params(optimizer__learning_rate=0.001)
    if name == "warm fit":
        net.set_params(warm_start=True, epochs=EPOCHS_LATER)
    if name in ("update", "partial_fit"):
        getattr(net, name)(new)
    else:
        net.fit(known)


def measure(make, way):
    """Return the mean absolute errors of the weeks."""
    X, week, start, net = make()
    net.set_params(optimizer__learning_rate=0.01).fit(X[:start])
    errors = []
    for end in range(start + week, len(X) + 1, week):
        new = X[end - week : end]
        truth, forecasts, _ = net.pairs(new)
        errors.append(np.abs(truth - forecasts).mean())
        learn(net, way, new, X[:end])
    return errors


if __name__ == "__main__":
    for make in (daily_sales, hourly_load):
        print(make.__name__)
        for way in WAYS:
            errors = measure(make, way)
            weeks = " ".join(f"{error:6.1f}" for error in errors)
            print(f"  {way:<24}{weeks}   mean {np.mean(errors):.1f}", flush=True)
