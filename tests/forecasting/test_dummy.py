"""Baselines: DummyForecaster has the contract of KerasForecaster, and scorers that compare."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from skkeras import DummyForecaster, KerasForecaster, forecast_scorer

STRATEGIES = ["last", "seasonal", "drift", "mean"]


def walk(n_rows=60, n_columns=1, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=(n_rows, n_columns)), axis=0)


def dummy(strategy, **parameters):
    season = {"season": 7} if strategy == "seasonal" else {}
    return DummyForecaster(strategy, **{"target": 0, **season, **parameters})


def dated(values, start="2024-01-01", freq="D"):
    return pd.DataFrame(
        {"v": np.ravel(values)}, pd.date_range(start, periods=len(values), freq=freq)
    )


@pytest.mark.filterwarnings("ignore:Got a y that is no column of X")
@parametrize_with_checks([DummyForecaster(look_back=3)])
def test_scikit_learn_finds_nothing(estimator, check):
    check(estimator)


def by_hand(strategy, past, horizon, season):
    """One row's forecasts, from the rows of its window."""
    if strategy == "last":
        return [past[-1]] * horizon
    if strategy == "mean":
        return [sum(past) / len(past)] * horizon
    if strategy == "drift":
        return [
            past[-1] + h * (past[-1] - past[0]) / (len(past) - 1) for h in range(1, horizon + 1)
        ]
    known = list(past)
    for _ in range(horizon):
        known.append(known[-season])
    return known[-horizon:]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_row_is_forecast_from_its_window(strategy):
    X, horizon, look_back = walk(), 9, 10
    net = dummy(strategy, horizon=horizon, look_back=look_back).fit(X[:40])
    expected = [by_hand(strategy, X[t - look_back : t, 0], horizon, 7) for t in range(40, 60)]
    np.testing.assert_allclose(net.predict(X[40:]), expected, rtol=1e-12)
    np.testing.assert_allclose(net.forecast(4), expected[0][:4], rtol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("t", [0, 5, 19])
def test_no_forecast_sees_its_own_row_or_a_later_one(strategy, t):
    X = walk()
    net = dummy(strategy, horizon=3).fit(X[:40])
    changed = X.copy()
    changed[40 + t :] += 100
    np.testing.assert_array_equal(net.predict(X[40:])[: t + 1], net.predict(changed[40:])[: t + 1])


@pytest.mark.parametrize("n_targets", [1, 2])
def test_it_scores_the_forecasts_that_a_net_is_scored_on(n_targets):
    X = walk(n_columns=3)
    parameters = {"horizon": 4, "target": [0, 1][:n_targets], "known_future": [2], "look_back": 5}
    net = KerasForecaster("linear", epochs=1, random_state=0, **parameters).fit(X[:40])
    naive = DummyForecaster(**parameters).fit(X[:40])
    for rows, more in ((X[40:], {}), (X[:40], {}), (X[30:50], {"history": X[20:30]})):
        truth, _, outcome = net.pairs(rows, **more)
        other_truth, forecasts, other_outcome = naive.pairs(rows, **more)
        np.testing.assert_array_equal(other_outcome, outcome)
        np.testing.assert_array_equal(other_truth, truth)
        assert forecasts.shape == truth.shape
    assert net.predict(X[40:]).shape == naive.predict(X[40:]).shape


def test_a_panel_goes_on_series_by_series():
    X = np.concatenate([walk(30), 1000 + walk(25, seed=1)])
    groups = np.repeat(["a", "b"], [30, 25])
    naive = DummyForecaster("last", target=0, look_back=2, horizon=2).fit(X, groups=groups)
    np.testing.assert_array_equal(naive.forecast(2, group="a"), X[[29, 29], 0])
    np.testing.assert_array_equal(naive.forecast(2, group="b"), X[[54, 54], 0])
    naive.update(X[:1] + 5, groups=["a"])
    np.testing.assert_array_equal(naive.forecast(1, group="a"), X[:1, 0] + 5)


def test_y_in_other_units_is_forecast_in_them():
    celsius = walk()
    naive = DummyForecaster("last", look_back=2).fit(celsius, 32 + 1.8 * celsius[:, 0])
    np.testing.assert_allclose(naive.predict(celsius[1:3])[-1], 32 + 1.8 * celsius[1, 0])


def test_a_y_that_is_no_column_is_forecast_by_its_mean_and_that_is_told():
    X, y = walk(), np.random.default_rng(1).normal(size=60)
    with pytest.warns(UserWarning, match="strategy='last' has no past"):
        naive = DummyForecaster("last").fit(X, y)
    np.testing.assert_allclose(naive.predict(X), np.full(60, y.mean()))


@pytest.mark.parametrize(
    "freq, season, look_back", [("D", 7, 28), ("h", 24, 24), ("MS", 12, 24), ("B", 5, 25)]
)
def test_the_index_tells_the_season_and_a_look_back_of_whole_ones(freq, season, look_back):
    naive = DummyForecaster("seasonal", target="v", horizon=2).fit(dated(walk(120), freq=freq))
    assert (naive.season_, naive.look_back_) == (season, look_back)
    X = dated(walk(120), freq=freq)["v"]
    ahead = naive.forecast(2)
    np.testing.assert_array_equal(ahead, X.iloc[-season : -season + 2])
    assert ahead.index[0] == X.index[-1] + X.index.freq


def test_a_season_longer_than_the_series_tells_is_looked_back_for_all_the_same():
    naive = DummyForecaster("seasonal", season=50, target=0).fit(walk(60))
    assert naive.look_back_ == 50


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"strategy": "naive"}, ValueError, "strategy='naive'; expected one of"),
        ({"strategy": "seasonal"}, ValueError, "season=None"),
        (
            {"strategy": "seasonal", "season": 7, "look_back": 3},
            ValueError,
            "look_back=3 and season",
        ),
        ({"season": 0}, ValueError, "season == 0"),
        ({"season": True}, TypeError, "season=True"),
        ({"look_back": 0}, ValueError, "look_back == 0"),
        ({"horizon": None}, TypeError, "horizon"),
        ({"look_back": 60}, ValueError, r"look_back \+ horizon = 60 \+ 1"),
    ],
)
def test_a_wrong_parameter_is_an_error(parameters, error, message):
    with pytest.raises(error, match=message):
        DummyForecaster(target=0, **{"strategy": "last", **parameters}).fit(walk())


def test_parameters_of_windows_can_not_change_after_fit():
    naive = dummy("seasonal").fit(walk()).set_params(season=3)
    with pytest.raises(ValueError, match="season was changed"):
        naive.predict(walk())


def test_a_search_takes_baselines_and_a_clone_and_a_file_forecast_the_same():
    X = np.tile([1.0, 5, 2, 8, 3, 9, 4], 12)[:, np.newaxis]
    search = GridSearchCV(
        DummyForecaster(target=0, season=7, look_back=7),
        {"strategy": STRATEGIES},
        cv=TimeSeriesSplit(3),
    ).fit(X)
    assert search.best_params_ == {"strategy": "seasonal"}
    loaded = pickle.loads(pickle.dumps(search.best_estimator_))
    again = clone(loaded).fit(X)
    np.testing.assert_array_equal(loaded.forecast(7), again.forecast(7))
    np.testing.assert_array_equal(again.forecast(7), X[:7, 0])


def test_a_baseline_does_not_import_tensorflow():
    code = (
        "import sys, numpy as np; from skkeras import DummyForecaster, forecast_scorer;"
        "X = np.arange(50.0).reshape(-1, 1); net = DummyForecaster('drift', target=0).fit(X[:40]);"
        "net.update(X[40:45]); net.predict(X[45:]), net.score(X[45:]), net.forecast(3);"
        "forecast_scorer('mase', season=1)(net, X[45:]);"
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Scores next to the seasonal naive.


def seasonal(X, season, **parameters):
    return DummyForecaster("seasonal", season=season, target=0, **parameters).fit(X)


def test_mase_divides_by_the_error_of_the_seasonal_naive_in_training():
    X, season = walk(100), 7
    net = dummy("last", horizon=3).fit(X[:80])
    truth, forecasts, _ = net.pairs(X[80:])
    scale = np.abs(X[season:80] - X[: 80 - season]).mean()
    expected = -np.abs(truth - forecasts).mean() / scale
    assert forecast_scorer("mase", season=season)(net, X[80:]) == pytest.approx(expected)
    net.update(X[80:90])  # the scale stays that of training
    assert -forecast_scorer("mase", season=season)(net, X[90:]) * scale == pytest.approx(
        np.abs(np.subtract(*net.pairs(X[90:])[:2])).mean()
    )


def test_mase_scales_each_series_and_target_by_its_own():
    X = np.concatenate([walk(60, 2), [1, 100] * walk(60, 2, seed=1)])
    groups = np.repeat(["a", "b"], 60)
    late = np.tile(np.arange(60) >= 45, 2)
    net = DummyForecaster(horizon=2).fit(X[~late], groups=groups[~late])
    truth, forecasts, rows = net.pairs(X[late], groups=groups[late])
    scales = {g: np.abs(np.diff(X[~late & (groups == g)], axis=0)).mean(axis=0) for g in "ab"}
    each = np.abs(truth - forecasts) / np.array([scales[g] for g in groups[late][rows]])
    scorer = forecast_scorer("mase")  # no index tells a season: the last value
    assert scorer(net, X[late], groups=groups[late]) == pytest.approx(-each.mean())
    weight = np.where(groups[late] == "a", 0.0, 1.0)
    only_b = each[groups[late][rows] == "b"].mean()
    assert scorer(net, X[late], groups=groups[late], sample_weight=weight) == pytest.approx(-only_b)


def test_mase_leaves_out_series_without_a_scale_and_wants_one_that_has():
    X = np.concatenate([walk(40), np.ones((40, 1))])
    groups = np.repeat(["a", "constant"], 40)
    net = dummy("last", look_back=2).fit(X, groups=groups)
    after, scorer = np.array([[3.0], [5.0]]), forecast_scorer("mase")
    alone = scorer(net, after, groups=["a", "a"])
    both = scorer(
        net, np.concatenate([after, 9 * after]), groups=["a", "a", "constant", "constant"]
    )
    assert both == alone
    with pytest.raises(ValueError, match="without an error of the seasonal naive"):
        scorer(net, after, groups=["constant"] * 2)


def test_mase_counts_holes_of_the_index_as_time():
    X = dated(walk(60))
    with_hole = X.drop(X.index[20:23])
    net = DummyForecaster(target="v", look_back=3).fit(with_hole)
    by_day = X["v"].where(X.index.isin(with_hole.index))
    scale = (by_day - by_day.shift(7)).abs().mean()
    after = dated([1.0, 5.0, 2.0], start=X.index[-1] + pd.Timedelta("1D"))
    errors = np.abs(np.subtract(*net.pairs(after)[:2])).mean()
    assert forecast_scorer("mase")(net, after) == pytest.approx(-errors / scale)


@pytest.mark.parametrize("season, look_back", [(7, 7), (7, 3), (1, 3)])
@pytest.mark.parametrize("follows", [True, False])
def test_skill_compares_with_the_seasonal_naive_of_the_same_rows(season, look_back, follows):
    X, horizon = walk(80), 9
    net = dummy("mean", horizon=horizon, look_back=look_back).fit(X[:60])
    rows, past = (X[60:], X[60 - look_back : 60]) if follows else (X[:60], X[:0])
    known, n = np.concatenate([past, rows])[:, 0], len(past)
    errors, naive = [], []
    for t in range(0 if follows else look_back, len(rows)):
        forecasts = known[n + t - look_back : n + t].mean()
        for step in range(min(horizon, len(rows) - t)):
            ago = n + t + step - season * (step // season + 1)
            if ago >= 0:
                errors.append(abs(known[n + t + step] - forecasts))
                naive.append(abs(known[n + t + step] - known[ago]))
    expected = 1 - np.mean(errors) / np.mean(naive)
    assert forecast_scorer("skill", season=season)(net, rows) == pytest.approx(expected)


def test_the_seasonal_naive_has_no_skill_beyond_itself():
    X = walk(90)
    assert forecast_scorer("skill", season=7)(seasonal(X[:60], 7, horizon=9), X[60:]) == 0
    perfect = np.tile([1.0, 2, 5], 30)[:, np.newaxis]
    scorer = forecast_scorer("skill", season=2)
    assert scorer(seasonal(perfect[:60], 3), perfect[60:]) == 1


def test_the_index_tells_the_scorer_the_season():
    X = dated(walk(90))
    net = DummyForecaster("mean", target="v").fit(X[:60])
    for name in ("mase", "skill"):
        by_index, by_hand = forecast_scorer(name), forecast_scorer(name, season=7)
        assert by_index(net, X[60:]) == by_hand(net, X[60:])


def test_nets_are_searched_by_them_and_a_file_keeps_the_scale():
    X = walk(100)
    net = KerasForecaster("linear", target=0, look_back=3, epochs=2, random_state=0)
    for name in ("mase", "skill"):
        scorer = pickle.loads(pickle.dumps(forecast_scorer(name, season=2)))
        assert np.isfinite(cross_val_score(net, X, cv=TimeSeriesSplit(2), scoring=scorer)).all()
    net.fit(X[:80])
    assert scorer(pickle.loads(pickle.dumps(net)), X[80:]) == scorer(net, X[80:])


def test_scores_by_name_are_asked_for_rightly():
    with pytest.raises(ValueError, match="metric='smape'"):
        forecast_scorer("smape")
    with pytest.raises(TypeError, match="Got squared, greater_is_better with metric='mase'"):
        forecast_scorer("mase", squared=True, greater_is_better=True)
    with pytest.raises(ValueError, match="season=0"):
        forecast_scorer("skill", season=0)
    with pytest.raises(ValueError, match="season=100; expected one of 1, 2"):
        forecast_scorer("mase", season=100)(dummy("last").fit(walk()), walk())
    with pytest.raises(ValueError, match="Score more rows, or train with look_back=50"):
        forecast_scorer("skill", season=50)(dummy("last").fit(walk()), walk(10, seed=1))


@pytest.mark.parametrize("strategy", ["mean", "drift", "last", "seasonal"])
def test_forecasts_beyond_the_horizon_are_those_of_a_longer_one(strategy):
    rows = (np.arange(60.0) % 6 + 0.1 * np.arange(60))[:, np.newaxis]
    near, far = (
        DummyForecaster(strategy, season=6, horizon=horizon, look_back=12).fit(rows)
        for horizon in (2, 20)
    )
    np.testing.assert_allclose(near.forecast(20), far.forecast(20))
    assert near.horizon == 2
    assert near.predict(rows).shape[1] == 2


def test_rows_with_gaps_are_told_what_to_do():
    rows = np.where(np.arange(60) == 30, np.nan, np.arange(60.0))[:, np.newaxis]
    with pytest.raises(ValueError, match=r"X contains NaN.*missing='skip'.*Input X contains NaN"):
        DummyForecaster().fit(rows)
