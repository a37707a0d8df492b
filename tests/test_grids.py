"""Grids over architecture, optimizer and everything else, with nothing declared beforehand."""

import itertools

import keras
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier
from skkeras.exceptions import ParameterNameError

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

X, Y = load_iris(return_X_y=True)


def build(input_shape, n_outputs, output_activation, units=8):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(units, activation="tanh"),
            keras.layers.Dense(n_outputs, activation=output_activation),
        ]
    )


def narrow(input_shape, n_outputs):
    return build(input_shape, n_outputs, "softmax")


def pipeline(**parameters):
    return make_pipeline(
        StandardScaler(), KerasClassifier(**{"epochs": 3, "random_state": 0, **parameters})
    )


def prefixed(grid):
    return {f"kerasclassifier__{name}": values for name, values in grid.items()}


def search(grid, **options):
    return GridSearchCV(pipeline(), prefixed(grid), cv=2, **{"error_score": "raise", **options})


def test_architecture_optimizer_and_its_settings_are_searched_together():
    grid = {
        "model__units": [4, 8],
        "optimizer__learning_rate": [1e-5, 0.1],
        "optimizer": ["adam", "sgd"],
        "model": ["mlp", build],
    }
    trained = []

    def score(pipe, X, y):
        net = pipe[-1].model_
        # Only the preset has its activation in a layer of its own.
        source = "mlp" if len(net.layers) == 3 else build
        rate = pytest.approx(float(net.optimizer.learning_rate))
        optimizer = type(net.optimizer).__name__.lower()
        trained.append((net.layers[0].units, rate, optimizer, source))
        return pipe.score(X, y)

    found = search(grid, scoring=score).fit(X, Y)
    # Each candidate's net, once for each fold, is the one that was asked for.
    asked = [
        tuple(candidate[f"kerasclassifier__{name}"] for name in grid)
        for candidate in found.cv_results_["params"]
    ]
    assert sorted(map(str, asked)) == sorted(map(str, itertools.product(*grid.values())))
    assert [candidate for candidate in asked for _ in range(2)] == trained
    assert found.best_params_["kerasclassifier__optimizer__learning_rate"] == 0.1
    assert found.best_score_ > 0.8
    # Candidates differ in what they were asked to differ in.
    assert len(set(np.round(found.cv_results_["mean_test_score"], 6))) > 3


def test_instances_find_what_their_names_find_and_stay_as_they_are():
    instances = [keras.optimizers.Adam(0.1), keras.optimizers.SGD(0.1)]
    losses = [keras.losses.SparseCategoricalCrossentropy()]
    rates = {"optimizer__learning_rate": [0.1]}
    by_name = search({"optimizer": ["adam", "sgd"], **rates}).fit(X, Y)
    found = search({"optimizer": instances, "loss": losses}).fit(X, Y)
    scores = found.cv_results_["mean_test_score"]
    assert scores.tolist() == by_name.cv_results_["mean_test_score"].tolist()
    assert len(set(scores)) == 2
    assert [instance.built for instance in instances] == [False, False]
    assert found.best_estimator_[-1].model_.optimizer not in instances


def test_classes_are_candidates():
    found = search(
        {
            "optimizer": [keras.optimizers.Adam, keras.optimizers.SGD],
            "optimizer__learning_rate": [0.1],
            "loss": [None, keras.losses.SparseCategoricalCrossentropy],
        }
    ).fit(X, Y)
    assert (
        type(found.best_estimator_[-1].model_.optimizer)
        is found.best_params_["kerasclassifier__optimizer"]
    )
    assert found.best_score_ > 0.8


def test_settings_of_an_instance_are_searched():
    optimizer = keras.optimizers.SGD(1e-6)
    stopping = keras.callbacks.EarlyStopping(monitor="loss", min_delta=100)
    grid = prefixed({"optimizer__learning_rate": [1e-5, 0.1], "callbacks__patience": [1, 2]})
    trained = []

    def score(pipe, X, y):
        net = pipe[-1]
        trained.append((net.n_iter_, round(float(net.model_.optimizer.learning_rate), 6)))
        return pipe.score(X, y)

    pipe = pipeline(epochs=5, optimizer=optimizer, callbacks=[stopping])
    GridSearchCV(pipe, grid, cv=2, scoring=score, error_score="raise", refit=False).fit(X, Y)
    # No loss gets better by 100, so patience is the number of epochs after the first.
    assert trained == [(n, rate) for n in (2, 3) for rate in (1e-5, 0.1) for _ in range(2)]
    assert float(optimizer.learning_rate) == pytest.approx(1e-6)
    assert stopping.patience == 0


def test_each_grid_of_a_list_has_names_of_its_own():
    grids = [prefixed({"model__units": [4]}), prefixed({"model": [narrow, "linear"]})]
    found = GridSearchCV(pipeline(), grids, cv=2, error_score="raise").fit(X, Y)
    assert len(found.cv_results_["params"]) == 3


def test_the_net_itself_is_a_candidate_among_others():
    others = [KerasClassifier(build, model__units=4, epochs=3), LogisticRegression()]
    found = GridSearchCV(pipeline(), {"kerasclassifier": others}, cv=2, error_score="raise")
    assert np.isfinite(found.fit(X, Y).cv_results_["mean_test_score"]).all()
    assert found.best_params_["kerasclassifier"] is not others[0]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_misspelt_hyperparameter_names_the_right_one(n_jobs):
    with pytest.raises(ParameterNameError, match="Did you mean 'units'"):
        search({"model__unitz": [4]}, n_jobs=n_jobs, error_score=np.nan).fit(X, Y)


@pytest.mark.parametrize("model", [None, "mlp", build])
def test_a_misspelt_hyperparameter_is_told_wherever_it_is_given(model):
    with pytest.raises(ParameterNameError, match="Did you mean 'units'"):
        KerasClassifier(model).set_params(model__unitz=4)
    with pytest.raises(ParameterNameError, match="Did you mean 'units'"):
        KerasClassifier(model, model__unitz=4).fit(X, Y)
    with pytest.raises(ParameterNameError, match="Did you mean 'units'"):
        pipeline(model=model).set_params(kerasclassifier__model__unitz=4)


def test_a_misspelt_optimizer_setting_names_the_right_one():
    with pytest.raises(ParameterNameError, match="'learning_rate'"):
        search({"optimizer__learning_rat": [0.1]}).fit(X, Y)


def test_a_builder_that_lacks_a_name_is_an_error():
    with pytest.raises(ParameterNameError, match="'narrow' takes no 'units'"):
        search({"model": ["mlp", narrow], "model__units": [4]}).fit(X, Y)


SETTINGS = {"model": build, "model__units": 5, "optimizer": "sgd", "optimizer__learning_rate": 0.2}


@pytest.mark.parametrize("names", list(itertools.permutations(SETTINGS)))
def test_parameters_are_set_in_any_order(names):
    asked = {name: SETTINGS[name] for name in names}
    at_once = KerasClassifier().set_params(**asked)
    one_by_one = KerasClassifier()
    for name, value in asked.items():
        one_by_one.set_params(**{name: value})
    in_a_pipeline = pipeline().set_params(**prefixed(asked))[-1]
    for net in (at_once, one_by_one, in_a_pipeline):
        assert {name: net.get_params()[name] for name in SETTINGS} == SETTINGS


@pytest.mark.parametrize("names", [("model", "model__wide"), ("model__wide", "model")])
def test_a_name_only_the_new_builder_takes_is_set_with_it(names):
    def other(input_shape, n_outputs, wide):
        return build(input_shape, n_outputs, "softmax", units=wide)

    settings = {"model": other, "model__wide": 6}
    net = pipeline().set_params(**prefixed({name: settings[name] for name in names}))[-1]
    assert net.initialize(X, Y).model_.layers[0].units == 6


def test_a_wrong_name_sets_nothing():
    net = KerasClassifier(build, model__units=4)
    before = net.get_params()
    with pytest.raises(ParameterNameError):
        net.set_params(epochs=9, model__units=5, model__unitz=6)
    assert net.get_params() == before


def test_processes_find_what_one_process_finds():
    grid = {"model__units": [4, 8], "optimizer__learning_rate": [0.01, 0.1]}
    serial = search(grid).fit(X, Y).cv_results_["mean_test_score"]
    assert np.array_equal(search(grid, n_jobs=2).fit(X, Y).cv_results_["mean_test_score"], serial)


def test_grids_of_numpy_values_reach_own_builders():
    def deep(input_shape, n_outputs, units, activation, rate):
        sizes = [keras.layers.Dense(size, activation=activation) for size in units]
        last = keras.layers.Dense(n_outputs, activation="softmax")
        dropout = keras.layers.Dropout(rate)
        return keras.Sequential([keras.Input(input_shape), *sizes, dropout, last])

    grid = {
        "model__units": [tuple(np.arange(3, 5)), [np.int64(5)]],
        "model__activation": np.array(["tanh"]),
        "model__rate": np.linspace(0, 0.2, 1),
        "optimizer__learning_rate": np.logspace(-2, -2, 1),
        "batch_size": np.array([50]),
    }
    found = search({"model": [deep], "epochs": np.arange(1, 2), **grid}).fit(X, Y)
    assert len(found.cv_results_["params"]) == 2
    searched = search({"model": [build], "model__units": np.arange(4, 9, 4)}).fit(X, Y)
    units = searched.best_params_["kerasclassifier__model__units"]
    assert searched.best_estimator_[-1].model_.layers[0].units == units


class Declaring(KerasClassifier):
    def __init__(self, model__units=6, optimizer__learning_rate=0.05, **routed):
        super().__init__(**routed)
        self.model__units = model__units
        self.optimizer__learning_rate = optimizer__learning_rate


def test_nets_are_made_with_the_routed_parameters_that_a_subclass_declares():
    found = GridSearchCV(
        Declaring(epochs=1, model=build), {"model__units": [3, 5]}, cv=2, error_score="raise"
    ).fit(X, Y)
    net = found.best_estimator_
    assert net.model_.layers[0].units == found.best_params_["model__units"]
    assert float(net.model_.optimizer.learning_rate) == pytest.approx(0.05)
    assert Declaring(epochs=1).fit(X, Y).model_.layers[0].units == 6
