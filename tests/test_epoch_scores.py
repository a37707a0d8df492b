"""Scores of held-out rows after every epoch, by scikit-learn's scorers."""

import pickle
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import make_scorer, mean_absolute_error, r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.utils._param_validation import InvalidParameterError

from skkeras import KerasClassifier, KerasForecaster, KerasRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 4))
NOISY = X[:, 0] + rng.normal(size=80)
LABELS = np.where(NOISY > 0, "yes", "no")
HELD_OUT = PredefinedSplit(np.r_[np.full(60, -1), np.zeros(20)])


def classifier(**options):
    defaults = {"model__units": 4, "epochs": 3, "random_state": 0, "validation_split": HELD_OUT}
    return KerasClassifier(**{**defaults, **options})


def regressor(**options):
    return KerasRegressor(**{"model__units": 4, "epochs": 3, "random_state": 0, **options})


@pytest.fixture(scope="module")
def each_epoch():
    """The AUC of the held-out rows after 1, 2 and 3 epochs."""
    nets = [classifier(epochs=n).fit(X, LABELS) for n in (1, 2, 3)]
    return [roc_auc_score(LABELS[60:], net.predict_proba(X[60:])[:, 1]) for net in nets]


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_scores_of_every_epoch_are_those_of_the_held_out_rows(each_epoch, engine):
    net = classifier(scoring="roc_auc", engine=engine).fit(X, LABELS)
    assert net.history_["val_roc_auc"] == pytest.approx(each_epoch)
    assert all(type(value) is float for value in net.history_["val_roc_auc"])
    assert net.history_.keys() == {"loss", "val_loss", "val_roc_auc"}


def test_the_net_is_trained_as_without_scores():
    scored, plain = classifier(scoring="accuracy").fit(X, LABELS), classifier().fit(X, LABELS)
    np.testing.assert_array_equal(scored.predict_proba(X), plain.predict_proba(X))
    assert scored.history_["val_loss"] == plain.history_["val_loss"]


def test_several_scores_and_scores_of_own_are_recorded():
    def bias(estimator, X, y):
        return np.mean(estimator.predict(X) - y)

    data = X[:60], NOISY[:60]
    held_out = {"X_val": X[60:], "y_val": NOISY[60:]}
    net = regressor(scoring=["r2", "neg_mean_absolute_error"]).fit(*data, **held_out)
    predicted = net.predict(X[60:])
    assert net.history_["val_r2"][-1] == pytest.approx(r2_score(NOISY[60:], predicted))
    error = mean_absolute_error(NOISY[60:], predicted)
    assert net.history_["val_neg_mean_absolute_error"][-1] == pytest.approx(-error)
    net = regressor(scoring=bias).fit(*data, **held_out)
    assert net.history_["val_bias"][-1] == pytest.approx(np.mean(predicted - NOISY[60:]))
    net = regressor(scoring=make_scorer(r2_score)).fit(*data, **held_out)
    assert net.history_["val_score"][-1] == pytest.approx(r2_score(NOISY[60:], predicted))
    net = regressor(scoring={"mine": bias, "r2": "r2"}).fit(*data, **held_out)
    assert {"val_mine", "val_r2"} <= net.history_.keys()


def test_early_stopping_and_callbacks_stop_by_a_score():
    falls = iter(np.arange(1.0, 0.0, -0.01))

    def falling(estimator, X, y):
        return next(falls)

    net = classifier(scoring=falling, early_stopping=True, epochs=40).fit(X, LABELS)
    assert (net.n_iter_, net.best_epoch_) == (11, 0)
    once = classifier(epochs=1).fit(X, LABELS)
    np.testing.assert_array_equal(net.predict_proba(X), once.predict_proba(X))
    stopping = keras.callbacks.EarlyStopping(monitor="val_falling", mode="max", patience=2)
    net = classifier(scoring=falling, callbacks=stopping, epochs=40).fit(X, LABELS)
    assert net.n_iter_ == 3


def test_held_out_rows_count_by_their_weight():
    weight = np.ones(80)
    weight[70:] = 0.0
    net = classifier(scoring="accuracy").fit(X, LABELS, sample_weight=weight)
    expected = np.mean(net.predict(X[60:70]) == LABELS[60:70])
    assert net.history_["val_accuracy"][-1] == pytest.approx(expected)


def test_data_frames_and_warm_starts_are_scored_without_warnings():
    frame = pd.DataFrame(X, columns=list("abcd"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = classifier(scoring="f1_macro", warm_start=True, epochs=1).fit(frame, LABELS)
        net.fit(frame, LABELS).partial_fit(frame, LABELS)
    assert len(net.history_["val_f1_macro"]) == net.n_iter_ == 3
    assert np.isnan(net.history_["val_f1_macro"][-1])  # partial_fit holds nothing out


def test_scoring_is_a_parameter_like_others():
    net = clone(pickle.loads(pickle.dumps(classifier(scoring="roc_auc"))))
    assert net.get_params()["scoring"] == "roc_auc"
    search = GridSearchCV(net.set_params(validation_split=0.2), {"model__units": [2]}, cv=2)
    assert "val_roc_auc" in search.fit(X, LABELS).best_estimator_.history_
    assert "scoring" not in KerasForecaster().get_params()


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"validation_split": None}, ValueError, "none are held out.*validation_split=0.1"),
        ({"scoring": "roc_acu"}, InvalidParameterError, "roc_acu"),
    ],
)
def test_scores_that_cannot_be_computed_are_refused_before_training(options, error, message):
    with pytest.raises(error, match=message):
        classifier(**{"scoring": "roc_auc", **options}).fit(X, LABELS)


def test_batches_to_validate_with_are_refused():
    def batches():
        yield X[60:], LABELS[60:]

    net = classifier(scoring="roc_auc", validation_split=None)
    with pytest.raises(ValueError, match="X_val that comes in batches"):
        net.fit(X[:60], LABELS[:60], X_val=batches)


def test_scores_that_take_no_weights_are_recorded_without():
    def right(net, X, y):
        return net.score(X, y)

    def both(net, X, y):
        return {"a": net.score(X, y), "b": 1}

    data, held_out = (X[:60], NOISY[:60]), {"X_val": X[60:], "y_val": NOISY[60:]}
    split, weight = {"validation_split": HELD_OUT}, np.linspace(0.1, 1, 80)
    for scoring in (
        right,
        {"right": right, "r2": "r2"},
        both,
        "neg_max_error",
        ["neg_max_error", "r2"],
    ):
        net = regressor(scoring=scoring, **split).fit(X, NOISY, sample_weight=weight)
        predicted = net.predict(X[60:])
        right_ones = {
            "val_right": r2_score(NOISY[60:], predicted),
            "val_a": r2_score(NOISY[60:], predicted),
            "val_b": 1,
            "val_r2": r2_score(NOISY[60:], predicted, sample_weight=weight[60:]),
            "val_neg_max_error": -np.abs(NOISY[60:] - predicted).max(),
        }
        last = {name: net.history_[name][-1] for name in right_ones if name in net.history_}
        assert last
        assert last == pytest.approx({name: right_ones[name] for name in last})
    with pytest.raises(ValueError, match=r"returns the scores \['a', 'b'\].*EarlyStopping"):
        regressor(scoring=both, early_stopping=True).fit(*data, **held_out)


def test_scores_of_rows_without_numbers_say_what_to_do():
    def masked(y, outputs):
        known = keras.ops.cast(~keras.ops.isnan(y), outputs.dtype)
        return known * (keras.ops.nan_to_num(y) - outputs) ** 2

    y = np.where(np.arange(80) % 3, NOISY, np.nan)
    options = {"loss": masked, "allow_nan_targets": True, "validation_split": HELD_OUT}
    with pytest.raises(ValueError, match=r"scoring='r2' and held-out rows with NaN.*net\.score"):
        regressor(scoring="r2", **options).fit(X, y)
    net = regressor(scoring=lambda net, X, y: net.score(X, y), **options).fit(X, y)
    known = ~np.isnan(y) & (np.arange(80) >= 60)
    expected = r2_score(y[known], net.predict(X[known]))
    assert net.history_["val_score"][-1] == pytest.approx(expected)
    with pytest.raises(ValueError, match="NaN alone, which tell no score"):
        net.score(X, np.full(80, np.nan))
