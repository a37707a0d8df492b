"""What the tables for those who come from other libraries replace works, and is refused."""

import keras
import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from skkeras import KerasClassifier, KerasRegressor, data

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover


N = 24
TABLE = np.random.default_rng(0).normal(size=(N, 4))
TWO, THREE = np.arange(N) % 2, np.arange(N) % 3


def scikeras_builder(meta, compile_kwargs, hidden=4):
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


def test_positional_arguments_are_given_by_name():
    callbacks = [keras.callbacks.LearningRateScheduler, keras.callbacks.EarlyStopping]
    net = KerasRegressor(
        "linear",
        epochs=2,
        optimizer__learning_rate=0.1,
        callbacks=callbacks,
        callbacks__schedule=lambda epoch, rate: rate / 2,
        callbacks__1__patience=7,
        callbacks__monitor="loss",
    ).fit(TABLE, TABLE[:, 0])
    assert net.callbacks_[1].patience == 7
    assert float(net.model_.optimizer.learning_rate) == pytest.approx(0.1 / 4)


def test_a_builder_with_keywords_gets_those_that_are_routed_and_the_facts_that_it_names():
    def build(meta, compile_kwargs, **kwargs):
        assert sorted(kwargs) == ["hidden"]
        return scikeras_builder(meta, compile_kwargs, **kwargs)

    net = KerasClassifier(build, model__hidden=7, epochs=1).fit(TABLE, THREE)
    assert net.model_.layers[0].units == 7


def test_histories_have_the_names_of_keras_and_warm_starts_go_on():
    net = KerasRegressor("linear", metrics=["mae"], validation_split=0.25, epochs=2)
    net.set_params(warm_start=True).fit(TABLE, TABLE[:, 0])
    assert sorted(net.history_) == ["loss", "mae", "val_loss", "val_mae"]
    assert net.fit(TABLE, TABLE[:, 0]).n_iter_ == 4
    assert net.partial_fit(TABLE, TABLE[:, 0]).n_iter_ == len(net.history_["loss"]) == 5


def test_what_replaces_arguments_of_predict_and_score_works():
    y = TABLE[:, :2]
    net = KerasRegressor("linear", epochs=1, predict__batch_size=5).fit(TABLE, y)
    assert net.predict(TABLE).shape == (N, 2)
    raw = r2_score(y, net.predict(TABLE), multioutput="raw_values")
    assert net.score(TABLE, y) == pytest.approx(raw.mean())


def test_one_class_is_an_error_unless_others_are_said_to_come():
    ones = np.ones(N, int)
    message = r"y has one class, 1; .*Stratify.*partial_fit\(X, y, classes=\[...\]\)"
    with pytest.raises(ValueError, match=message):
        KerasClassifier(epochs=1).fit(TABLE, ones)
    net = KerasClassifier("linear").partial_fit(TABLE, ones, classes=[0, 1])
    assert net.partial_fit(TABLE, TWO).predict_proba(TABLE).shape == (N, 2)


def test_an_autoencoder_needs_no_y():
    class AutoEncoder(KerasRegressor):
        def fit(self, X, y=None):
            return super().fit(X, X)

        def transform(self, X):
            return self.predict(X)

    net = AutoEncoder("linear", epochs=1, random_state=0).fit(TABLE)
    plain = KerasRegressor("linear", epochs=1, random_state=0).fit(TABLE, TABLE)
    np.testing.assert_array_equal(net.transform(TABLE), plain.predict(TABLE))


def test_several_inputs_and_outputs_need_no_encoders():
    def build():
        inputs = {name: keras.Input((2,), name=name) for name in "ab"}
        joined = keras.layers.Concatenate()([*inputs.values()])
        return keras.Model(
            inputs, {name: keras.layers.Dense(1, name=name)(joined) for name in "cd"}
        )

    split = data.ColumnsToInputs({"a": [0, 1], "b": [2, 3]})
    y = {"c": TABLE[:, 0], "d": TABLE[:, 1]}
    net = make_pipeline(split, KerasRegressor(build, epochs=1)).fit(TABLE, y)
    assert {name: part.shape for name, part in net.predict(TABLE).items()} == {"c": (N,), "d": (N,)}


def test_schedule_is_given_as_an_instance():
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
        {"batch_size": None},
        {"score__normalize": False},
        {"predict__steps": 2},
        {"optimizer__0": 0.1},
        {
            "callbacks": keras.callbacks.LearningRateScheduler,
            "callbacks__0": lambda epoch, rate: rate,
        },
        {"model": lambda params: None},
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
    "_fit": (lambda self, X, y, **kwargs: None, "fit, which may call super"),
    "_fit_kwargs": ({"epochs", "validation_freq"}, "fit__name="),
    "_tags": ({"multilabel": True}, "__sklearn_tags__"),
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


class HasSeenEnoughError(Exception):
    """Ends a fit when its builder has been called: what matters is what it got."""


def meta_of(estimator, X, y, method="fit", **arguments):
    seen = {}

    def build(meta):
        seen.update(meta)
        raise HasSeenEnoughError

    with pytest.raises(HasSeenEnoughError):
        getattr(estimator(build), method)(X, y, **arguments)
    return seen


# What SciKeras 0.13.0 gives: target_type_, n_outputs_, y_ndim_, and for classifiers n_classes_.
CLASSIFIED = {
    "two": (TWO, ("binary", 1, 1, 2)),
    "two strings": (np.array(["no", "yes"])[TWO], ("binary", 1, 1, 2)),
    "three": (THREE, ("multiclass", 1, 1, 3)),
    "one-hot": (np.eye(3)[THREE], ("multilabel-indicator", 1, 2, 3)),
    "one-hot of two": (np.eye(2, dtype=int)[TWO], ("multilabel-indicator", 1, 2, 2)),
    "several labels": (np.c_[TWO, THREE > 0, THREE > 1], ("multilabel-indicator", 1, 2, 3)),
}
NUMBERS = {
    "numbers": (TABLE[:, 0], ("continuous", 1, 1)),
    "a column": (TABLE[:, :1], ("continuous", 1, 2)),
    "two targets": (TABLE[:, :2], ("continuous-multioutput", 2, 2)),
    "counts": (np.arange(N), ("multiclass", 1, 1)),
    "counts as floats": (np.arange(N) / 1.0, ("multiclass", 1, 1)),
    "two targets of counts": (np.c_[THREE, TWO], ("multiclass-multioutput", 2, 2)),
    "zeros and ones": (TWO * 1.0, ("binary", 1, 1)),
    "bools": (TWO > 0, ("binary", 1, 1)),
    "one value": (np.zeros(N), ("binary", 1, 1)),
    "an indicator": (np.c_[TWO, THREE > 0] * 1.0, ("multilabel-indicator", 2, 2)),
    "one-hot": (np.eye(3)[THREE], ("multilabel-indicator", 3, 2)),
}


@pytest.mark.parametrize("case", CLASSIFIED)
def test_meta_of_a_classifier_has_the_values_of_scikeras(case):
    y, (target_type, n_outputs, n_dimensions, n_classes) = CLASSIFIED[case]
    meta = meta_of(KerasClassifier, TABLE, y)
    assert meta["target_type_"] == target_type
    assert (meta["n_outputs_"], meta["n_outputs_expected_"]) == (n_outputs, 1)
    assert (meta["y_ndim_"], meta["y_dtype_"]) == (n_dimensions, y.dtype)
    assert (meta["n_classes_"], len(meta["classes_"])) == (n_classes, n_classes)


@pytest.mark.parametrize("case", NUMBERS)
@pytest.mark.parametrize("is_lazy", [False, True])
def test_meta_of_a_regressor_has_the_values_of_scikeras(case, is_lazy):
    y, expected = NUMBERS[case]
    X, given = (data.lazy(TABLE), data.lazy(y)) if is_lazy else (TABLE, y)
    meta = meta_of(KerasRegressor, X, given)
    assert (meta["target_type_"], meta["n_outputs_"], meta["y_ndim_"]) == expected
    assert meta["y_dtype_"] == y.dtype
    assert "classes_" not in meta


def test_meta_tells_numbers_from_whole_ones_wherever_they_stand():
    y = np.zeros(1_200_000)
    y[-1] = 0.5
    assert meta_of(KerasRegressor, np.zeros((len(y), 1)), y)["target_type_"] == "continuous"
    y[-1] = 2.0
    y[0] = 1.0
    assert meta_of(KerasRegressor, np.zeros((len(y), 1)), y)["target_type_"] == type_of_target(y)


def test_meta_of_a_column_of_labels_says_that_it_is_one():
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        assert meta_of(KerasClassifier, TABLE, TWO[:, None])["y_ndim_"] == 2


def test_meta_knows_of_classes_that_a_first_part_lacks():
    seen = meta_of(KerasClassifier, TABLE, TWO, "partial_fit", classes=[0, 1, 2])
    assert (seen["target_type_"], seen["n_classes_"]) == ("multiclass", 3)


@pytest.mark.parametrize(
    "X, n_features, dtype",
    [
        (TABLE, 4, "float64"),
        (TABLE.astype("float32").reshape(N, 2, 2), 2, "float32"),
        (np.zeros((N, 5, 3)), 5, "float64"),
        (np.zeros((N, 6, 7, 2), "uint8"), 6, "uint8"),
        (sparse.csr_array(TABLE), 4, "float32"),
    ],
    ids=["table", "windows", "series", "images", "sparse"],
)
def test_meta_of_inputs_has_the_values_of_scikeras(X, n_features, dtype):
    meta = meta_of(KerasRegressor, X, TABLE[:, 0])
    assert meta["n_features_in_"] == n_features
    assert (meta["X_shape_"], meta["X_dtype_"]) == (X.shape, np.dtype(dtype))
