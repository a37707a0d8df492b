"""The estimators inside scikit-learn's own: ensembles, wrappers, searches, inspection."""

import functools

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import (
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.preprocessing import QuantileTransformer, scale
from sklearn.semi_supervised import SelfTrainingClassifier

from skkeras import KerasClassifier, KerasRegressor

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

IRIS_X, IRIS_Y = load_iris(return_X_y=True)
IRIS_X = scale(IRIS_X)
NAMES = np.array(["setosa", "versicolor", "virginica"])[IRIS_Y]


def classifier(**parameters):
    defaults = {"epochs": 15, "random_state": 0, "optimizer__learning_rate": 0.05}
    return KerasClassifier(model__units=16, **{**defaults, **parameters})


def regressor(**parameters):
    defaults = {"epochs": 30, "random_state": 0, "optimizer__learning_rate": 0.05}
    return KerasRegressor(model__units=16, **{**defaults, **parameters})


@pytest.fixture(scope="module")
def plane():
    """A target that follows the first of four features up, the second down, and no other."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4))
    return X, 3 * X[:, 0] - X[:, 1] + rng.normal(scale=0.1, size=150)


@pytest.fixture(scope="module")
def rare():
    """Two classes of which one is rare, and hard to tell from the other."""
    rng = np.random.default_rng(0)
    y = (np.arange(300) % 10 == 0).astype(int)
    return rng.normal(size=(300, 4)) + y[:, None], y


def test_iris_sorted_by_class_is_stratified_in_cross_validation():
    assert np.all(np.diff(IRIS_Y) >= 0)
    scores = cross_val_score(classifier(), IRIS_X, NAMES, cv=3)
    assert scores.shape == (3,)
    assert scores.min() > 0.9


def test_binary_probabilities_have_two_columns_and_roc_auc_reads_them():
    two = IRIS_Y != 0
    X, y = IRIS_X[two], NAMES[two]
    net = classifier().fit(X, y)
    probabilities = net.predict_proba(X)
    assert net.model_.output_shape == (None, 1)
    assert probabilities.shape == (100, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    # The second column is the class that comes second.
    assert roc_auc_score(y == "virginica", probabilities[:, 1]) > 0.95
    assert cross_val_score(classifier(), X, y, cv=3, scoring="roc_auc").min() > 0.9


@pytest.mark.parametrize("scoring, floor", [("roc_auc_ovr", 0.95), ("neg_log_loss", -0.5)])
def test_scorers_of_probabilities_work_for_three_classes(scoring, floor):
    scores = cross_val_score(classifier(), IRIS_X, NAMES, cv=3, scoring=scoring)
    assert scores.min() > floor


def test_soft_voting_averages_probabilities():
    nets = [
        ("one", classifier()),
        ("two", classifier(random_state=1)),
        ("lr", LogisticRegression()),
    ]
    voting = VotingClassifier(nets, voting="soft").fit(IRIS_X, NAMES)
    votes = [member.predict_proba(IRIS_X) for member in voting.estimators_]
    assert not np.array_equal(votes[0], votes[1])
    np.testing.assert_allclose(voting.predict_proba(IRIS_X), np.mean(votes, axis=0))
    assert voting.score(IRIS_X, NAMES) > 0.9


def test_voting_regressor_averages(plane):
    voting = VotingRegressor([("net", regressor()), ("ridge", Ridge())]).fit(*plane)
    votes = [member.predict(plane[0]) for member in voting.estimators_]
    np.testing.assert_allclose(voting.predict(plane[0]), np.mean(votes, axis=0))
    assert voting.score(*plane) > 0.9


def test_stacking_classifier_learns_from_out_of_fold_probabilities():
    nets = [("one", classifier()), ("two", classifier(random_state=1))]
    stacking = StackingClassifier(nets, cv=3).fit(IRIS_X, NAMES)
    assert stacking.transform(IRIS_X).shape == (150, 6)
    assert stacking.score(IRIS_X, NAMES) > 0.9


def test_stacking_regressor_learns_from_out_of_fold_predictions(plane):
    stacking = StackingRegressor([("one", regressor()), ("two", regressor(epochs=20))], cv=3)
    assert stacking.fit(*plane).transform(plane[0]).shape == (150, 2)
    assert stacking.score(*plane) > 0.9


def test_net_is_the_final_estimator_of_a_stack():
    trees = [("lr", LogisticRegression())]
    stacking = StackingClassifier(trees, final_estimator=classifier(), cv=3)
    assert stacking.fit(IRIS_X, NAMES).score(IRIS_X, NAMES) > 0.9


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_keeps_probabilities_good(method):
    calibrated = CalibratedClassifierCV(classifier(), method=method, cv=3).fit(IRIS_X, NAMES)
    probabilities = calibrated.predict_proba(IRIS_X)
    assert probabilities.shape == (150, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert log_loss(NAMES, probabilities) < 0.3


def test_bagged_nets_differ_and_agree_on_most():
    bagging = BaggingClassifier(
        classifier(), n_estimators=3, max_samples=0.5, bootstrap_features=True, random_state=0
    ).fit(IRIS_X, NAMES)
    weights = [net.model_.get_weights()[0] for net in bagging.estimators_]
    assert not np.array_equal(weights[0], weights[1])
    assert bagging.predict_proba(IRIS_X).shape == (150, 3)
    assert bagging.score(IRIS_X, NAMES) > 0.9


def test_bagged_regressors(plane):
    bagging = BaggingRegressor(regressor(), n_estimators=3, random_state=0).fit(*plane)
    assert len({net.random_state for net in bagging.estimators_}) == 3
    assert bagging.score(*plane) > 0.9


def test_boosting_weighs_the_samples():
    boosting = AdaBoostClassifier(classifier(epochs=3), n_estimators=3, random_state=0)
    boosting.fit(IRIS_X, NAMES)
    assert len(boosting.estimators_) == 3
    assert boosting.score(IRIS_X, NAMES) > 0.9


def test_boosted_regressors(plane):
    boosting = AdaBoostRegressor(regressor(), n_estimators=2, random_state=0).fit(*plane)
    assert boosting.score(*plane) > 0.9


@pytest.mark.parametrize(
    "wrapper, n_nets",
    [
        (OneVsRestClassifier, 3),
        (OneVsOneClassifier, 3),
        # With this seed every column of the code book has both values, so that each has a net.
        (functools.partial(OutputCodeClassifier, random_state=6), 4),
    ],
    ids=["one-vs-rest", "one-vs-one", "output-code"],
)
def test_binary_nets_tell_three_classes_apart(wrapper, n_nets):
    wrapped = wrapper(classifier()).fit(IRIS_X, NAMES)
    assert [net.model_.output_shape for net in wrapped.estimators_] == [(None, 1)] * n_nets
    assert wrapped.score(IRIS_X, NAMES) > 0.8


@pytest.mark.parametrize("wrapper", [MultiOutputClassifier, ClassifierChain])
def test_two_columns_of_labels_take_two_nets(wrapper):
    Y = np.column_stack([IRIS_Y == 0, IRIS_Y == 2]).astype(int)
    wrapped = wrapper(classifier(epochs=20)).fit(IRIS_X, Y)
    assert len(wrapped.estimators_) == 2
    assert wrapped.predict(IRIS_X).shape == (150, 2)
    assert (wrapped.predict(IRIS_X) == Y).mean(axis=0).min() > 0.9


@pytest.mark.parametrize("wrapper", [MultiOutputRegressor, RegressorChain])
def test_two_columns_of_numbers_take_two_nets(wrapper, plane):
    X, y = plane
    Y = np.column_stack([y, -2 * y])
    wrapped = wrapper(regressor(epochs=50)).fit(X, Y)
    assert len(wrapped.estimators_) == 2
    assert wrapped.predict(X).shape == (150, 2)
    assert wrapped.score(X, Y) > 0.9


def test_self_training_labels_the_unlabelled():
    known = np.arange(150) % 5 == 0
    y = np.where(known, IRIS_Y, -1)
    trained = SelfTrainingClassifier(classifier(), threshold=0.9).fit(IRIS_X, y)
    assert (trained.labeled_iter_ > 0).sum() > 60
    assert trained.score(IRIS_X[~known], IRIS_Y[~known]) > 0.75


def test_tuned_threshold_finds_the_rare_class(rare):
    X, y = rare
    plain = classifier().fit(X, y)
    tuned = TunedThresholdClassifierCV(
        classifier(), scoring="balanced_accuracy", cv=3, thresholds=50, random_state=0
    ).fit(X, y)
    assert 0 < tuned.best_threshold_ < 0.5
    before, after = (balanced_accuracy_score(y, each.predict(X)) for each in (plain, tuned))
    assert after > before


def test_transformed_targets_come_back_in_their_own_units(plane):
    X, y = plane
    y = 1e6 + 1e4 * y
    transformed = TransformedTargetRegressor(
        regressor(), transformer=QuantileTransformer(n_quantiles=50, output_distribution="normal")
    ).fit(X, y)
    assert transformed.score(X, y) > 0.9
    assert transformed.predict(X).shape == (150,)


def test_permutation_importance_ranks_the_features(plane):
    result = permutation_importance(regressor().fit(*plane), *plane, n_repeats=3, random_state=0)
    first, second, *noise = result.importances_mean
    assert first > second > 0.05 > max(noise)


def test_partial_dependence_follows_the_slopes(plane):
    net = regressor().fit(*plane)
    up, down = (
        partial_dependence(net, plane[0], [feature], grid_resolution=10)["average"][0]
        for feature in (0, 1)
    )
    assert np.all(np.diff(up) > 0)
    assert np.all(np.diff(down) < 0)


@pytest.mark.parametrize("response_method", ["predict_proba", "auto"])
def test_partial_dependence_of_a_classifier_is_by_class(response_method):
    result = partial_dependence(
        classifier().fit(IRIS_X, NAMES),
        IRIS_X,
        [2],  # the length of the petals, shortest in setosa and longest in virginica
        grid_resolution=10,
        response_method=response_method,
    )
    setosa, _, virginica = result["average"]
    assert np.all(np.diff(setosa) < 0)
    assert np.all(np.diff(virginica) > 0)


def test_learning_curve_rises():
    sizes, train, test = learning_curve(
        classifier(), IRIS_X, NAMES, train_sizes=[12, 96], cv=3, shuffle=True, random_state=0
    )
    assert sizes.tolist() == [12, 96]
    assert train.shape == test.shape == (2, 3)
    assert test[1].mean() > 0.9
    assert test[1].mean() >= test[0].mean()


def test_learning_curve_goes_on_with_partial_fit():
    _, train, test = learning_curve(
        classifier(),
        IRIS_X,
        NAMES,
        train_sizes=[30, 60, 90],
        cv=3,
        shuffle=True,
        random_state=0,
        exploit_incremental_learning=True,
    )
    assert train.shape == test.shape == (3, 3)
    assert test[-1].mean() > 0.6


@pytest.mark.parametrize(
    "name, values", [("epochs", [1, 15]), ("optimizer__learning_rate", [1e-6, 0.05])]
)
def test_validation_curve_reaches_declared_and_routed_parameters(name, values):
    train, test = validation_curve(
        classifier(), IRIS_X, NAMES, param_name=name, param_range=values, cv=3
    )
    assert train.shape == test.shape == (2, 3)
    assert test[1].mean() > 0.9 > test[0].mean()


@pytest.mark.parametrize("method, shape", [("predict", (150,)), ("predict_proba", (150, 3))])
def test_cross_val_predict_predicts_every_row(method, shape):
    predicted = cross_val_predict(classifier(), IRIS_X, NAMES, cv=3, method=method)
    assert predicted.shape == shape
    if method == "predict_proba":
        predicted = np.unique(NAMES)[predicted.argmax(axis=1)]
    assert np.mean(predicted == NAMES) > 0.9


def test_sequential_selection_finds_the_features_that_matter(plane):
    selector = SequentialFeatureSelector(regressor(epochs=15), n_features_to_select=2, cv=2)
    assert selector.fit(*plane).get_support().tolist() == [True, True, False, False]


def test_halving_spends_epochs_on_the_best():
    search = HalvingGridSearchCV(
        classifier(),
        {"optimizer__learning_rate": [1e-6, 1e-5, 1e-4, 0.05]},
        resource="epochs",
        min_resources=5,
        max_resources=20,
        factor=2,
        cv=2,
        random_state=0,
    ).fit(IRIS_X, NAMES)
    assert search.n_resources_ == [5, 10, 20]
    assert search.n_candidates_ == [4, 2, 1]
    assert search.best_params_ == {"optimizer__learning_rate": 0.05, "epochs": 20}
    assert search.best_estimator_.n_iter_ == 20
    assert search.best_score_ > 0.9


def test_random_search_draws_routed_parameters():
    search = RandomizedSearchCV(
        classifier(),
        {"optimizer__learning_rate": loguniform(1e-3, 1e-1), "batch_size": [16, 64]},
        n_iter=4,
        cv=2,
        random_state=0,
    ).fit(IRIS_X, NAMES)
    rates = search.cv_results_["param_optimizer__learning_rate"]
    assert len(set(rates)) == 4
    best = search.best_estimator_
    rate = search.best_params_["optimizer__learning_rate"]
    assert float(best.model_.optimizer.learning_rate) == pytest.approx(rate)
    assert search.best_score_ > 0.9
