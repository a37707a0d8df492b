"""Optuna's pruning callback reports to its study, in memory and in SQLite."""

import keras
import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from skkeras import KerasClassifier, KerasRegressor

optuna = pytest.importorskip("optuna", reason="the extra tests-clients isn't installed")
integration = pytest.importorskip(
    "optuna_integration", reason="the extra tests-clients isn't installed"
)

X = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
Y = X[:, 0]
EPOCHS = 3


@pytest.fixture(params=["memory", "SQLite"])
def study(request, tmp_path):
    storage = None if request.param == "memory" else f"sqlite:///{tmp_path}/study.db"
    pruner = optuna.pruners.ThresholdPruner(upper=1e3, n_warmup_steps=1)
    return optuna.create_study(storage=storage, pruner=pruner)


def net(trial, rate):
    return KerasRegressor(
        "linear",
        optimizer="sgd",
        optimizer__learning_rate=rate,
        epochs=EPOCHS,
        random_state=0,
        on_divergence="warn",
        callbacks=integration.KerasPruningCallback(trial, "loss"),
    )


def test_fits_report_to_their_trial(study):
    def objective(trial):
        fitted = net(trial, 0.1).fit(X, Y)
        assert not trial.should_prune()
        return fitted.history_["loss"][-1]

    study.optimize(objective, n_trials=2)
    for trial in study.trials:
        assert list(trial.intermediate_values) == [*range(EPOCHS)]
        assert trial.intermediate_values[EPOCHS - 1] == trial.value
        assert trial.state == optuna.trial.TrialState.COMPLETE


def test_hopeless_trials_are_pruned_also_inside_of_a_cross_validation(study):
    def objective(trial):
        estimator = net(trial, 1e3)
        if trial.number:
            return cross_val_score(estimator, X, Y, cv=2, error_score="raise").mean()
        return estimator.fit(X, Y).history_["loss"][-1]

    study.optimize(objective, n_trials=2)
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.PRUNED] * 2
    assert all(list(trial.intermediate_values) == [0, 1] for trial in study.trials)


def test_a_score_of_held_out_rows_prunes_worse_trials_where_the_study_maximizes():
    def objective(trial):
        watch = integration.KerasPruningCallback(trial, "val_accuracy")
        rate = [0.1, 1e-7, 0.2][trial.number]  # a good trial, a worse one, a good one
        estimator = KerasClassifier(
            "linear",
            optimizer__learning_rate=rate,
            epochs=10,
            validation_split=0.5,
            scoring="accuracy",
            callbacks=watch,
            random_state=1,
        )
        return estimator.fit(X, X[:, 1] < Y).history_["val_accuracy"][-1]

    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=5)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(objective, n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_pruning_works_in_a_callback_of_a_factory_too(study):
    trial = study.ask()
    made = lambda: [integration.KerasPruningCallback(trial, "loss"), keras.callbacks.History()]  # noqa: E731
    net(trial, 0.1).set_params(callbacks=made).fit(X, Y)
    study.tell(trial, 0.0)
    assert list(study.trials[0].intermediate_values) == [*range(EPOCHS)]
