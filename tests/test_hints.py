"""What to write instead of a name that nothing takes."""

import numpy as np
import pytest

from skkeras import KerasClassifier, KerasForecaster, KerasRegressor
from skkeras._hints import suggestion
from skkeras.exceptions import ParameterNameError

X, Y = np.zeros((6, 2)), np.array([0, 1] * 3)


def build(input_shape, width=3):
    raise AssertionError("names are wrong before anything is built")


@pytest.mark.parametrize(
    "name, instead",
    [
        ("lr", "optimizer__learning_rate=..."),
        ("weight_decay", "optimizer__weight_decay=..."),
        ("optimizer_learning_rate", "optimizer__learning_rate=..."),
        ("model_width", "model__width=..."),
        ("width", "model__width=..."),
        ("run_eagerly", "compile__run_eagerly=..."),
        ("validation_batch_size", "fit__validation_batch_size=..."),
        ("seed", "random_state=..."),
        ("patience", r"callbacks=keras.callbacks.EarlyStopping\(patience=...\)"),
    ],
)
def test_names_of_others_are_known(name, instead):
    with pytest.raises(TypeError, match=f"Write {instead}"):
        KerasClassifier(build, **{name: 1})
    with pytest.raises(ParameterNameError, match=f"Write {instead}"):
        KerasClassifier(build).set_params(**{name: 1})


def test_a_name_of_scikit_learns_is_no_argument_of_fit():
    with pytest.raises(TypeError, match="unexpected keyword argument 'fit_intercept'") as error:
        KerasClassifier(build, fit_intercept=True)
    assert "fit__" not in str(error.value)


@pytest.mark.parametrize(
    "name, instead",
    [
        ("sample_weights", "sample_weight=..."),
        ("random_state", "random_state=... of the constructor"),
        ("epochs", "epochs=... of the constructor"),
        ("class_weight", "class_weight=... of the constructor"),
        ("validation_data", "X_val=... and y_val=... of fit"),
        ("steps_per_epoch", "fit__steps_per_epoch=... of the constructor"),
    ],
)
def test_fit_tells_where_an_argument_goes(name, instead):
    with pytest.raises(TypeError, match=f"'{name}'; expected {instead}"):
        KerasClassifier(build).fit(X, Y, **{name: 1})


@pytest.mark.parametrize(
    "method, name, instead",
    [
        ("predict", "batch_size", "predict__batch_size=... of the constructor"),
        ("predict", "verbose", "predict__verbose=... of the constructor"),
        ("predict", "steps", "the rows to predict as X"),
        ("predict_proba", "batch_size", "predict__batch_size=... of the constructor"),
        ("predict_log_proba", "verbose", "predict__verbose=... of the constructor"),
        ("score", "batch_size", "predict__batch_size=... of the constructor"),
        ("score", "sample_weights", "sample_weight=..."),
        ("evaluate", "batch_size", "batch_size=... of the constructor"),
        ("evaluate", "return_dict", "none, since it returns a dict"),
        ("evaluate", "groups", "only X, y, sample_weight"),
        ("partial_fit", "epochs", "a call for each epoch, or fit with warm_start=True"),
        ("partial_fit", "X_val", "none, since it validates on nothing"),
        ("partial_fit", "batch_size", "batch_size=... of the constructor"),
    ],
)
def test_other_methods_tell_where_an_argument_goes(method, name, instead):
    arguments = (X,) if method.startswith("predict") else (X, Y)
    estimators = [KerasClassifier(build), KerasRegressor(build)]
    for estimator in estimators[: 1 if method.endswith("proba") else 2]:
        with pytest.raises(
            TypeError, match=rf"^{method}\(\) got .*'{name}'; expected {instead}\.$"
        ):
            getattr(estimator, method)(*arguments, **{name: 1})


@pytest.mark.parametrize(
    "method, name, instead",
    [
        ("fit", "epochs", "epochs=... of the constructor"),
        ("fit", "validation_data", "X_val=... and y_val=... of fit"),
        ("predict", "batch_size", "predict__batch_size=... of the constructor"),
        ("predict", "group", "groups=..."),
        ("evaluate", "batch_size", "batch_size=... of the constructor"),
    ],
)
def test_forecasters_tell_where_an_argument_goes(method, name, instead):
    with pytest.raises(TypeError, match=rf"^{method}\(\) got .*'{name}'; expected {instead}\.$"):
        getattr(KerasForecaster(look_back=2), method)(np.zeros((9, 1)), **{name: 1})


def test_routing_to_what_is_not_there_asks_for_it():
    with pytest.raises(ParameterNameError, match=r"no callbacks; expected callbacks=\.\.\."):
        KerasRegressor(epochs=1, callbacks__patience=3).fit(X, Y)


def test_what_is_short_for_a_name_is_known():
    assert suggestion("lr", ["learning_rate", "name"]).startswith("Did you mean 'learning_rate'?")
    assert suggestion("lr", ["rho", "name"]) == "Accepted: 'name', 'rho'."
