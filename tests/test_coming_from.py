"""What the tables for those who come from other libraries replace works, and is refused."""

import pytest
from sklearn.datasets import load_iris
from sklearn.utils.validation import check_is_fitted

from skkeras import KerasClassifier

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover


def scikeras_builder(meta, compile_kwargs, hidden=4):
    import keras

    net = keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(hidden, activation="relu"),
            keras.layers.Dense(meta["n_classes_"], activation="softmax"),
        ]
    )
    net.compile(**compile_kwargs)
    return net


@pytest.mark.parametrize(
    "parameters",
    [
        {"model__hidden": 5},
        {"validation_split": 0.2, "fit__validation_batch_size": 8},
        {"compile__run_eagerly": True},
        {"batch_size": 1_000_000},
    ],
    ids=lambda parameters: list(parameters)[-1],
)
def test_builders_for_scikeras_and_what_replaces_its_parameters_work(parameters):
    X, y = load_iris(return_X_y=True)
    net = KerasClassifier(scikeras_builder, epochs=2, **parameters).fit(X, y)
    check_is_fitted(net)
    assert (len(net.classes_), net.n_iter_, net.model_.input_shape) == (3, 2, (None, 4))


def test_schedule_is_given_as_an_instance():
    import keras

    X, y = load_iris(return_X_y=True)
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 1000)
    net = KerasClassifier(epochs=1, optimizer__learning_rate=schedule).fit(X, y)
    assert net.model_.optimizer.get_config()["learning_rate"]["class_name"] == "CosineDecay"


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden": 5},
        {"build_fn": scikeras_builder},
        {"validation_batch_size": 8},
        {"run_eagerly": True},
        {"fit__validation_split": 0.2},
        {"fit__callbacks": []},
        {"fit__class_weight": {0: 2}},
        {"batch_size": -1},
    ],
    ids=lambda parameters: list(parameters)[-1],
)
def test_what_the_table_for_scikeras_replaces_is_refused(parameters):
    X, y = load_iris(return_X_y=True)
    with pytest.raises((TypeError, ValueError)):
        KerasClassifier(epochs=1, **parameters).fit(X, y)
