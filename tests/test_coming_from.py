"""What the tables for those who come from other libraries replace works, and is refused."""

import pytest
from sklearn.datasets import load_iris
from sklearn.utils.validation import check_is_fitted

from skkeras import KerasClassifier, KerasRegressor

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


def encoder(self):
    raise AssertionError("nothing calls this")


OVERRIDDEN = {
    "scorer": (staticmethod(lambda y_true, y_pred, **kwargs: 1.0), r"score\(X, y, sample_weight"),
    "feature_encoder": (property(encoder), "a transformer before it in a Pipeline"),
    "target_encoder": (property(encoder), "TransformedTargetRegressor"),
    "_fit_keras_model": (lambda self, X, y, **kwargs: None, "fit, which may call super"),
    "_predict_raw": (lambda self, X, **kwargs: X, "predict, which may call super"),
    "_validate_data": (lambda self, X=None, y=None, **kwargs: (X, y), "fit, which may check"),
    "_initialize": (lambda self, X, y=None: (X, y), "build_model, or fit"),
    "_more_tags": (lambda self: {}, "__sklearn_tags__"),
}


@pytest.mark.parametrize("name", OVERRIDDEN)
@pytest.mark.parametrize("base", [KerasClassifier, KerasRegressor])
def test_overriding_what_only_scikeras_calls_is_an_error_that_names_it(base, name):
    method, instead = OVERRIDDEN[name]
    parent = type("Parent", (base,), {name: method})
    child = type("Child", (parent,), {})
    X, y = load_iris(return_X_y=True)
    for method in ("fit", "partial_fit"):
        with pytest.raises(TypeError, match=f"Child .* by {name}, as with SciKeras; .*{instead}"):
            getattr(child("linear", epochs=1), method)(X, y)


def test_a_class_for_both_packages_overrides_both_methods():
    class Both(KerasRegressor):
        @staticmethod
        def scorer(y_true, y_pred, **kwargs):
            raise AssertionError("nothing calls this")

        def score(self, X, y=None, sample_weight=None):
            return 0.5

    X, y = load_iris(return_X_y=True)
    assert Both("linear", epochs=1).fit(X, y).score(X, y) == 0.5


def test_a_parameter_may_have_the_name_of_what_scikeras_calls():
    class Named(KerasRegressor):
        def __init__(self, scorer="own", **others):
            super().__init__(**others)
            self.scorer = scorer

    X, y = load_iris(return_X_y=True)
    net = Named(model="linear", epochs=1).fit(X, y)
    assert (net.scorer, net.n_iter_) == ("own", 1)
