"""Tables for benchmarks: scikit-learn's, statsmodels' if it is installed, and generated ones.

A table has numbers and categories (columns of pandas' category dtype), and a kind of score. The
generated ones have what tables of work have: units of all sizes, skewed columns and targets,
columns of noise, rare classes, rules, seasons. Another ``seed`` makes others of the same kinds: to
decide something take other seeds than 0, which the benchmark measures with.
"""

import importlib.util
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets


class Table(NamedTuple):
    """Rows and targets; ``scoring`` is the name of scikit-learn's scorer for them."""

    X: pd.DataFrame
    y: np.ndarray
    scoring: str

    @property
    def is_classification(self):
        """Whether y has labels."""
        return self.scoring != "r2"


def churn(rng, n_rows=3000):
    """6 % of customers leave: categories, skewed amounts, noise."""
    X = pd.DataFrame(
        {
            "tenure": rng.exponential(30, n_rows),
            "spent": rng.lognormal(6, 1, n_rows),
            "calls": rng.poisson(2, n_rows),
            "age": rng.normal(45, 14, n_rows).round(),
            "plan": _category(rng, n_rows, 4),
            "region": _category(rng, n_rows, 12),
            "channel": _category(rng, n_rows, 3),
            **_noise(rng, n_rows, 5),
        }
    )
    by_plan, by_region = rng.normal(0, 0.8, 4), rng.normal(0, 0.4, 12)
    logit = -0.03 * X["tenure"] + 0.5 * X["calls"] - 0.6 * np.log(X["spent"] / 400)
    logit += by_plan[X["plan"].cat.codes] + by_region[X["region"].cat.codes]
    logit += 1.2 * ((X["channel"].cat.codes == 0) & (X["age"] < 35))
    return Table(X, _rare(rng, logit), "average_precision")


def fraud(rng, n_rows=12000):
    """6 % of payments are wrong: numbers only, products of them count, skewed."""
    amount, balance = rng.lognormal(3, 1.2, n_rows), rng.lognormal(7, 0.8, n_rows)
    hour, age = rng.integers(0, 24, n_rows), rng.gamma(2, 200, n_rows)
    X = {"amount": amount, "balance": balance, "hour": hour, "age": age}
    X = pd.DataFrame({**X, **_noise(rng, n_rows, 8)})
    logit = 1.5 * np.log(amount / 20) * (np.abs(hour - 12) > 8) + 0.8 * np.log(amount / balance)
    logit = logit - 0.004 * age + X["noise_0"] * X["noise_1"]
    return Table(X, _rare(rng, logit), "average_precision")


def rules(rng, n_rows=5000):
    """Two classes by rules on thresholds and categories, as trees have them; labels err."""
    X = pd.DataFrame(
        {
            "income": rng.lognormal(10, 0.6, n_rows),
            "score": rng.integers(300, 850, n_rows),
            "debt": rng.beta(2, 5, n_rows),
            "job": _category(rng, n_rows, 6),
            **_noise(rng, n_rows, 4),
        }
    )
    good = (X["score"] > 620) & (X["debt"] < 0.4)
    good |= (X["income"] > 35000) & X["job"].cat.codes.isin([1, 3])
    return Table(X, _flipped(rng, good.to_numpy(), 0.1), "roc_auc")


def segments(rng, n_rows=2000):
    """Five classes in clusters, 12 columns that count and 12 that don't."""
    X, y = datasets.make_classification(
        n_rows, 24, n_informative=8, n_redundant=4, n_classes=5, flip_y=0.05, random_state=_int(rng)
    )
    return Table(pd.DataFrame(X * rng.lognormal(0, 3, 24)), y, "accuracy")


def genes(rng, n_rows=500):
    """More than a hundred columns, few of which count, for 500 rows of two classes."""
    X, y = datasets.make_classification(
        n_rows, 120, n_informative=10, n_redundant=20, random_state=_int(rng)
    )
    return Table(pd.DataFrame(np.exp(X)), y, "roc_auc")


def clicks(rng, n_rows=50000):
    """Two classes in 50,000 rows; categories meet, and a smooth function of numbers."""
    site, device = _category(rng, n_rows, 20), _category(rng, n_rows, 5)
    X = pd.DataFrame({"site": site, "device": device, **_noise(rng, n_rows, 12)})
    logit = rng.normal(0, 0.7, (20, 5))[site.codes, device.codes]
    numbers = X.iloc[:, 2:].to_numpy()
    logit += np.tanh(numbers[:, :6] @ rng.normal(0, 0.6, (6, 8))) @ rng.normal(0, 0.7, 8)
    return Table(X, rng.random(n_rows) < _sigmoid(logit), "roc_auc")


def prices(rng, n_rows=4000):
    """Prices of hundreds of thousands, skewed: factors of categories and areas."""
    X = pd.DataFrame(
        {
            "area": rng.lognormal(4.6, 0.4, n_rows),
            "year": rng.integers(1900, 2024, n_rows),
            "latitude": rng.uniform(47, 55, n_rows),
            "longitude": rng.uniform(6, 15, n_rows),
            "quarter": _category(rng, n_rows, 15),
            "heating": _category(rng, n_rows, 4),
            **_noise(rng, n_rows, 3),
        }
    )
    near = np.hypot(X["latitude"] - 48.1, X["longitude"] - 11.6)
    log_price = 8.2 + 0.9 * np.log(X["area"]) + rng.normal(0, 0.2, 15)[X["quarter"].cat.codes]
    log_price += 0.5 * np.exp(-near) + 0.002 * np.abs(X["year"] - 1960)
    log_price += rng.normal(0, 0.1, 4)[X["heating"].cat.codes] + rng.normal(0, 0.15, n_rows)
    return Table(X, np.exp(log_price.to_numpy()), "r2")


def pressure(rng, n_rows=1500):
    """Numbers around 10,000 that vary by less than 10."""
    X = rng.uniform(0, 1, (n_rows, 10))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3]
    y += 5 * X[:, 4] + rng.normal(0, 1, n_rows)
    return Table(pd.DataFrame(X * 10.0 ** np.arange(-5, 5)), 1e4 + y / 4, "r2")


def currents(rng, n_rows=8000):
    """Numbers of 1e-5, of a smooth function; one column has outliers."""
    X = rng.normal(0, 1, (n_rows, 8))
    hidden = np.tanh(X @ rng.normal(0, 0.5, (8, 6)))
    y = hidden @ rng.normal(0, 1, 6) + 0.5 * X[:, 0] * X[:, 1] + rng.normal(0, 0.3, n_rows)
    X[:, 2] *= np.where(rng.random(n_rows) < 0.01, 100, 1)
    return Table(pd.DataFrame(X), 1e-5 * y, "r2")


def sparse_effects(rng, n_rows=500):
    """500 rows, 30 columns, 5 of which count, by straight lines."""
    X = rng.normal(0, 1, (n_rows, 30))
    y = X[:, :5] @ rng.normal(0, 1, 5) + rng.normal(0, 1, n_rows)
    return Table(pd.DataFrame(X * rng.lognormal(0, 2, 30)), 50 + 100 * y, "r2")


def load(rng, n_rows=10000):
    """Energy by hour, weekday and temperature: seasons of a day as plain numbers."""
    hour, weekday = rng.integers(0, 24, n_rows), _category(rng, n_rows, 7)
    temperature = rng.normal(12, 8, n_rows)
    daily = np.sin(hour / 24 * 2 * np.pi) + 0.6 * np.sin(hour / 12 * 2 * np.pi + 1)
    y = 900 + 120 * daily - 150 * (weekday.codes > 4) * (daily > 0)
    y = y + 6 * np.maximum(15 - temperature, 0) + 9 * np.maximum(temperature - 22, 0)
    X = {"hour": hour, "weekday": weekday, "temperature": temperature}
    X = pd.DataFrame({**X, **_noise(rng, n_rows, 3)})
    return Table(X, y + rng.normal(0, 40, n_rows), "r2")


def claims(rng, n_rows=6000):
    """Amounts with a long tail: most are small, some a hundred times as large."""
    X = pd.DataFrame(
        {
            "power": rng.integers(40, 200, n_rows),
            "age": rng.gamma(4, 10, n_rows) + 18,
            "kind": _category(rng, n_rows, 8),
            "area": _category(rng, n_rows, 5),
            **_noise(rng, n_rows, 4),
        }
    )
    log_mean = 6 + 0.008 * X["power"] + 0.7 * (X["age"] < 30)
    log_mean += rng.normal(0, 0.4, 8)[X["kind"].cat.codes]
    return Table(X, rng.gamma(2, np.exp(log_mean.to_numpy()) / 2), "r2")


def friedman(rng, n_rows=2000):
    """Friedman's first problem: 8 features, 5 of which count."""
    X, y = datasets.make_friedman1(n_rows, 8, noise=1.0, random_state=_int(rng))
    return Table(pd.DataFrame(X), y, "r2")


def housing(rng, n_rows=2000):
    """House prices, like California's, which aren't bundled: 8 features, skewed, of unlike scales.

    Prices follow income, nearness to a coast, age and crowding; they are noisy and capped.
    """
    income, rooms, bedrooms = rng.lognormal((1.3, 1.6, 0.07), (0.5, 0.3, 0.1), (n_rows, 3)).T
    population, occupancy = rng.lognormal((7.0, 1.0), (0.7, 0.3), (n_rows, 2)).T
    age, latitude, longitude = rng.uniform((1, 32.5, -124.3), (52, 42, -114.3), (n_rows, 3)).T
    coast = np.exp(-np.abs(latitude - 37 + 0.9 * (longitude + 121)) / 1.5)
    price = 0.35 * income + 1.2 * coast * np.sqrt(income) + 0.006 * age
    price += 0.3 * np.tanh(rooms - 5) - 0.4 * np.log(occupancy) + rng.normal(0, 0.45, n_rows)
    features = (income, age, rooms, bedrooms, population, occupancy, latitude, longitude)
    return Table(pd.DataFrame(np.column_stack(features)), np.clip(price, 0.15, 5), "r2")


def _bundled(name, scoring):
    def load_table(rng):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return Table(pd.DataFrame(X), y, scoring)

    return load_table


def _of_statsmodels(name, target, scoring, categories=()):
    def load_table(rng):
        module = importlib.import_module(f"statsmodels.datasets.{name}")
        data = module.load_pandas().data.dropna().reset_index(drop=True)
        X = data.drop(columns=target).astype(dict.fromkeys(categories, "category"))
        y = data[target].to_numpy()
        return Table(X, y if scoring == "r2" else y.astype(int), scoring)

    return load_table


GENERATED = {
    "churn": churn,
    "fraud": fraud,
    "rules": rules,
    "segments": segments,
    "genes": genes,
    "clicks": clicks,
    "prices": prices,
    "pressure": pressure,
    "currents": currents,
    "sparse effects": sparse_effects,
    "load": load,
    "claims": claims,
    "Friedman 1": friedman,
    "housing": housing,
}
OF_STATSMODELS = {
    "anes96": _of_statsmodels("anes96", "PID", "accuracy"),
    "fair": _of_statsmodels("fair", "affairs", "r2", ["occupation", "occupation_husb"]),
    "randhie": _of_statsmodels("randhie", "mdvis", "r2"),
}
TABLES = {
    "breast cancer": _bundled("breast_cancer", "roc_auc"),
    "wine": _bundled("wine", "accuracy"),
    "digits": _bundled("digits", "accuracy"),
    "iris": _bundled("iris", "accuracy"),
    "diabetes": _bundled("diabetes", "r2"),
    **GENERATED,
    **OF_STATSMODELS,
}


def missing(name):
    """Return the package that a table needs and that isn't installed; None if it can be made."""
    has_statsmodels = importlib.util.find_spec("statsmodels") is not None
    return "statsmodels" if name in OF_STATSMODELS and not has_statsmodels else None


def make_table(name, seed=0):
    """Make a table of `TABLES`; the seed changes generated ones only."""
    return TABLES[name](np.random.default_rng([seed, *name.encode()]))


def _category(rng, n_rows, n_levels):
    shares = rng.dirichlet(np.full(n_levels, 2.0))
    codes = rng.choice(n_levels, n_rows, p=shares)
    return pd.Categorical.from_codes(codes, [f"level {i}" for i in range(n_levels)])


def _noise(rng, n_rows, n_columns):
    return {f"noise_{i}": rng.normal(0, 1, n_rows) for i in range(n_columns)}


def _rare(rng, logit, share=0.06):
    """Draw labels by a logit (n,), shifted until a share of them is expected to be positive."""
    logit, low, high = np.asarray(logit, float), -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(logit + middle).mean() < share else (low, middle)
    return rng.random(len(logit)) < _sigmoid(logit + low)


def _flipped(rng, labels, share):
    return labels ^ (rng.random(len(labels)) < share)


def _sigmoid(logit):
    return 1 / (1 + np.exp(-logit))


def _int(rng):
    return int(rng.integers(2**31))
