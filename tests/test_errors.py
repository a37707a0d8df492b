"""Bad input is an error before training, which names the parameter and says how to mend it."""

import copy
import itertools
import pickle
import re

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, KFold

from skkeras import KerasClassifier, KerasRegressor
from skkeras._engine.net import Net
from skkeras.exceptions import BuilderError, DivergenceError, ParameterNameError

layers = keras.layers


def net(input_shape, n_outputs, output_activation, units=8):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(units, "relu"),
            layers.Dense(n_outputs, output_activation),
        ]
    )


def fixed(input_shape=(4,), n_outputs=1, output_activation=None, **compile_arguments):
    """A builder that goes its own way, whatever the data are."""

    def build():
        made = net(input_shape, n_outputs, output_activation)
        if compile_arguments:
            made.compile(**compile_arguments)
        return made

    return build


def two_heads(z=None, a=None):
    """A builder of a net with the outputs "z", of three units, and "a", of one."""

    def build():
        inputs = keras.Input((4,))
        return keras.Model(
            inputs, {"z": layers.Dense(3, z)(inputs), "a": layers.Dense(1, a)(inputs)}
        )

    return build


def classifier(model=net, **parameters):
    return KerasClassifier(model, **{"epochs": 2, "random_state": 0, **parameters})


def regressor(model=net, **parameters):
    return KerasRegressor(model, **{"epochs": 2, "random_state": 0, **parameters})


@pytest.fixture
def untrained(monkeypatch):
    """Let nothing be trained in this test."""

    def train(*args, **kwargs):
        raise AssertionError("training began")

    monkeypatch.setattr(Net, "train", train)


# --- Nothing is trained ----------------------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(20, 4))
BINARY = np.arange(20) % 2
CLASSES = np.arange(20) % 3
SEVERAL = (ROWS[:, :3] > 0).astype(int)
VALUES = ROWS.sum(axis=1)


def with_one(array, value, index=3):
    """Copy an array with one value replaced."""
    array = np.array(array, dtype=object if value is None else float)
    array[index] = value
    return array


WRONG_NET = {
    "input of another width": (
        classifier(fixed((7,))),
        BINARY,
        "X has rows of shape (4,), and the net's input has shape (7,). Let the builder take "
        "input_shape",
    ),
    "input of another rank": (
        classifier(fixed((4, 4))),
        BINARY,
        "X has rows of shape (4,), and the net's input has shape (4, 4).",
    ),
    "template with another input": (
        classifier(fixed((7,), 1, "sigmoid")()),
        BINARY,
        "X has rows of shape (4,), and the net's input has shape (7,).",
    ),
    "layers that take another rank": (
        classifier(lambda: keras.Sequential([layers.Conv2D(2, 3), layers.Dense(1)])),
        BINARY,
        "can't be called on rows of shape (4,)",
    ),
    "template without weights": (
        classifier(keras.Sequential([layers.Dense(1)])),
        BINARY,
        "a keras.Model that isn't built, so it has no weights to start from; expected one that "
        "knows its input shape. Begin it with keras.Input",
    ),
    "three outputs for two classes": (
        classifier(fixed(n_outputs=3, output_activation="softmax")),
        BINARY,
        "outputs have shape (None, 3); y has 2 classes, which take (None, 1). Let the builder "
        "take n_outputs",
    ),
    "five outputs for three classes": (
        classifier(fixed(n_outputs=5, output_activation="softmax")),
        CLASSES,
        "outputs have shape (None, 5); y has 3 classes, which take (None, 3).",
    ),
    "one output for three classes": (
        classifier(fixed(output_activation="sigmoid")),
        CLASSES,
        "outputs have shape (None, 1); y has 3 classes, which take (None, 3).",
    ),
    "two outputs for one-hot rows of three": (
        classifier(fixed(n_outputs=2, output_activation="softmax")),
        np.eye(3)[CLASSES],
        "outputs have shape (None, 2); y has 3 classes, which take (None, 3).",
    ),
    "one output for three label columns": (
        classifier(fixed(output_activation="sigmoid")),
        SEVERAL,
        "outputs have shape (None, 1); y has 3 label columns, which take (None, 3).",
    ),
    "two outputs for one number": (
        regressor(fixed(n_outputs=2)),
        VALUES,
        "outputs have shape (None, 2); y asks for (None, 1).",
    ),
    "one output for two numbers": (
        regressor(fixed()),
        ROWS[:, :2],
        "outputs have shape (None, 1); y asks for (None, 2).",
    ),
    "builder that returns None": (
        classifier(lambda: None),
        BINARY,
        "The builder returned None of type NoneType; expected a keras.Model. Does it end in "
        "`return model`?",
    ),
    "builder that returns a layer": (
        classifier(lambda: layers.Dense(1)),
        BINARY,
        "of type Dense; expected a keras.Model",
    ),
    "builder with a required parameter": (
        classifier(lambda size: None),
        BINARY,
        "requires 'size', which is neither given nor a fact about the data. Give it as "
        "model__size=...",
    ),
}


@pytest.mark.parametrize("case", WRONG_NET)
def test_net_that_does_not_fit_the_data_is_an_error(untrained, case):
    estimator, y, message = WRONG_NET[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        estimator.fit(ROWS, y)


WRONG_LOSS = {
    "classes for one unit": (
        classifier(loss="categorical_crossentropy"),
        BINARY,
        "loss='categorical_crossentropy' doesn't fit a net with one output unit",
    ),
    "compiled in, classes for one unit": (
        classifier(fixed(output_activation="sigmoid", loss="sparse_categorical_crossentropy")),
        BINARY,
        "loss='sparse_categorical_crossentropy' doesn't fit a net with one output unit",
    ),
    "classes for several labels": (
        classifier(loss="sparse_categorical_crossentropy"),
        SEVERAL,
        "loss='sparse_categorical_crossentropy' doesn't fit a multilabel y",
    ),
    "classes for numbers": (
        regressor(loss=keras.losses.SparseCategoricalCrossentropy),
        VALUES,
        "loss='sparse_categorical_crossentropy' doesn't fit a regressor",
    ),
    "probabilities for numbers": (
        regressor(fixed(output_activation="linear"), loss="binary_crossentropy"),
        VALUES,
        "loss='binary_crossentropy' takes probabilities",
    ),
    "probabilities for any numbers": (
        regressor(loss="binary_crossentropy"),
        VALUES,
        "loss='binary_crossentropy' doesn't fit y, which runs from",
    ),
    "counts for negative numbers": (
        regressor(loss="poisson"),
        VALUES,
        "loss='poisson' doesn't fit y, which runs from",
    ),
    "margins for numbers": (
        regressor(loss="hinge"),
        VALUES * 9,
        "loss='hinge' doesn't fit y, which runs from",
    ),
    "logits for a sigmoid": (
        classifier(fixed(output_activation="sigmoid"), loss="bce", loss__from_logits=True),
        BINARY,
        "loss='binary_crossentropy' has from_logits=True, and the net ends in sigmoid",
    ),
    "logits for a softmax": (
        classifier(
            fixed(n_outputs=3, output_activation="softmax"),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ),
        CLASSES,
        "loss='sparse_categorical_crossentropy' has from_logits=True, and the net ends in softmax",
    ),
    "probabilities for logits": (
        classifier(fixed(n_outputs=3), loss="sparse_categorical_crossentropy"),
        CLASSES,
        "takes probabilities, and the net's last layer has no activation. Add "
        "loss__from_logits=True, or",
    ),
    "probabilities for what relu leaves": (
        classifier(fixed(n_outputs=3, output_activation="relu")),
        CLASSES,
        "takes probabilities, and the net's last layer has the activation relu",
    ),
    "softmax over one unit": (
        classifier(fixed(output_activation="softmax")),
        BINARY,
        "The net ends in softmax over one unit, which is always 1",
    ),
    "compiled in, probabilities for logits": (
        classifier(fixed(loss="binary_crossentropy")),
        BINARY,
        "takes probabilities, and the net's last layer has no activation",
    ),
    "margins for a sigmoid": (
        classifier(fixed(output_activation="sigmoid"), loss="hinge"),
        BINARY,
        "loss='hinge' looks at the sign of the net's outputs, and the net ends in sigmoid",
    ),
    "an alias, probabilities for logits": (
        classifier(fixed(n_outputs=3), loss="crossentropy"),
        CLASSES,
        "loss='crossentropy' takes probabilities, and the net's last layer has no activation. "
        "Leave loss out",
    ),
    "another alias, probabilities for logits": (
        classifier(fixed(), loss="CE"),
        BINARY,
        "loss='crossentropy' takes probabilities",
    ),
    "an output's probabilities for logits": (
        classifier(two_heads(), loss={"z": "sparse_categorical_crossentropy", "a": "bce"}),
        {"z": CLASSES, "a": BINARY},
        "loss='binary_crossentropy' takes probabilities, and the last layer of output 'a' has no "
        "activation. Give that loss from_logits=True, or",
    ),
    "logits for an output's sigmoid": (
        classifier(two_heads("linear", "sigmoid"), loss__from_logits=True),
        {"z": CLASSES, "a": BINARY},
        "has from_logits=True, and the net's output 'a' ends in sigmoid",
    ),
    "an output's probabilities for what relu leaves": (
        classifier(two_heads("relu", "sigmoid")),
        {"z": CLASSES, "a": BINARY},
        "the last layer of output 'z' has the activation relu",
    ),
    "an output without a loss": (
        classifier(two_heads(), loss={"z": "mse"}),
        {"z": CLASSES, "a": BINARY},
        "loss has the keys ['z'], and the net's outputs are ['z', 'a']; expected a loss for each. "
        "Give those that aren't to be trained the loss None.",
    ),
    "three losses for two outputs": (
        classifier(two_heads(), loss=["mse", "mse", "mae"]),
        {"z": CLASSES, "a": BINARY},
        "loss is a list of 3, and the net's outputs are ['a', 'z']; expected a loss for each",
    ),
    "two losses for one output": (
        regressor(loss=["mse", "mae"]),
        VALUES,
        "loss has 2 losses for one output; expected one",
    ),
    "distributions for one unit": (
        classifier(loss="kl_divergence"),
        BINARY,
        "loss='kl_divergence' doesn't fit a net with one output unit",
    ),
    "directions for one number": (
        regressor(loss="cosine_similarity"),
        VALUES,
        "loss='cosine_similarity' doesn't fit a net with one output unit",
    ),
    "an alias for several labels": (
        classifier(loss="crossentropy"),
        SEVERAL,
        "loss='crossentropy' doesn't fit a multilabel y",
    ),
    "another one than compiled in": (
        classifier(fixed(output_activation="sigmoid", loss="mse"), loss="binary_crossentropy"),
        BINARY,
        "model is compiled with loss='mse', and the estimator was given loss='binary_crossentropy'",
    ),
    "another optimizer than compiled in": (
        classifier(
            fixed(output_activation="sigmoid", loss="mse", optimizer="sgd"), optimizer="adam"
        ),
        BINARY,
        "model is compiled with optimizer=SGD, and the estimator was given optimizer=Adam",
    ),
    "unknown name": (
        classifier(loss="binary_crosentropy"),
        BINARY,
        "Got loss='binary_crosentropy', which Keras does not know. Did you mean "
        "'binary_crossentropy'?",
    ),
}


@pytest.mark.parametrize("case", WRONG_LOSS)
def test_loss_that_does_not_fit_net_or_target_is_an_error(untrained, case):
    estimator, y, message = WRONG_LOSS[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        estimator.fit(ROWS, y)


NO_GROUPS = "The 'groups' parameter should not be None"

WRONG_DATA = {
    "NaN in X": (classifier(), with_one(ROWS, np.nan), BINARY, {}, "Input X contains NaN"),
    "infinity in X": (classifier(), with_one(ROWS, np.inf), BINARY, {}, "Input X contains inf"),
    "NaN in y": (regressor(), ROWS, with_one(VALUES, np.nan), {}, "Input y contains NaN"),
    "infinity in y": (regressor(), ROWS, with_one(VALUES, -np.inf), {}, "Input y contains inf"),
    "NaN as label": (classifier(), ROWS, with_one(BINARY, np.nan), {}, "Input y contains NaN"),
    "None as label": (
        classifier(),
        ROWS,
        with_one(BINARY, None),
        {},
        "Unknown label type: unknown",
    ),
    "numbers as labels": (classifier(), ROWS, VALUES, {}, "Unknown label type: continuous"),
    "strings as numbers": (regressor(), ROWS, BINARY.astype(str), {}, "Use a KerasClassifier"),
    "y is None": (classifier(), ROWS, None, {}, "requires y to be passed"),
    "no rows": (classifier(), ROWS[:0], BINARY[:0], {}, "Found array with 0 sample(s)"),
    "no columns": (classifier(), ROWS[:, :0], BINARY, {}, "Found array with 0 feature(s)"),
    "one dimension": (classifier(), ROWS[:, 0], BINARY, {}, "Reshape your data"),
    "a string": (classifier(), "abc", BINARY, {}, "Reshape your data"),
    "complex": (classifier(), ROWS + 1j, BINARY, {}, "Complex data not supported"),
    "strings and numbers": (
        classifier(),
        np.array([["a", 1.0]] * 20, dtype=object),
        BINARY,
        {},
        "X mixes strings with other values",
    ),
    "text in a column": (
        classifier(),
        pd.DataFrame(ROWS, columns=list("abcd")).assign(text="a"),
        BINARY,
        {},
        "could not convert string to float",
    ),
    "one class": (classifier(), ROWS, BINARY * 0, {}, "y has one class, "),
    "y too short": (classifier(), ROWS, BINARY[:-1], {}, "inconsistent numbers of samples"),
    "weights too short": (
        classifier(),
        ROWS,
        BINARY,
        {"sample_weight": np.ones(19)},
        "inconsistent numbers of samples: [20, 19]",
    ),
    "weights of a matrix": (
        classifier(),
        ROWS,
        BINARY,
        {"sample_weight": np.ones((20, 2))},
        "sample_weight has shape (20, 2); expected one weight for each sample",
    ),
    "negative weights": (
        classifier(),
        ROWS,
        BINARY,
        {"sample_weight": -np.ones(20)},
        "sample_weight has negative values",
    ),
    "no weight at all": (
        classifier(),
        ROWS,
        BINARY,
        {"sample_weight": np.zeros(20)},
        "sample_weight has negative values, or only zeros",
    ),
    "NaN as weight": (
        classifier(),
        ROWS,
        BINARY,
        {"sample_weight": np.full(20, np.nan)},
        "sample_weight contains NaN",
    ),
    "X_val alone": (classifier(), ROWS, BINARY, {"X_val": ROWS}, "only one of X_val and y_val"),
    "y_val alone": (classifier(), ROWS, BINARY, {"y_val": BINARY}, "only one of X_val and y_val"),
    "unseen labels in y_val": (
        classifier(),
        ROWS,
        BINARY,
        {"X_val": ROWS, "y_val": BINARY + 1},
        "X_val and y_val can't be used: y has labels that were not seen in training: [2]; "
        "expected only [0 1]",
    ),
    "another width in X_val": (
        classifier(),
        ROWS,
        BINARY,
        {"X_val": ROWS[:, :3], "y_val": BINARY},
        "X_val and y_val can't be used: X has 3 features, but KerasClassifier is expecting 4",
    ),
    "NaN in X_val": (
        classifier(),
        ROWS,
        BINARY,
        {"X_val": with_one(ROWS, np.nan), "y_val": BINARY},
        "X_val and y_val can't be used: Input X contains NaN",
    ),
    "no rows in X_val": (
        classifier(),
        ROWS,
        BINARY,
        {"X_val": ROWS[:0], "y_val": BINARY[:0]},
        "X_val and y_val can't be used: Found array with 0 sample(s)",
    ),
    "y_val too short": (
        classifier(),
        ROWS,
        BINARY,
        {"X_val": ROWS, "y_val": BINARY[:-1]},
        "X_val and y_val can't be used: Found input variables with inconsistent numbers",
    ),
    "splitter without groups": (
        classifier(validation_split=GroupKFold(2)),
        ROWS,
        BINARY,
        {},
        NO_GROUPS,
    ),
    "nothing to hold out": (
        classifier(early_stopping=True),
        ROWS[:2],
        BINARY[:2],
        {},
        "validation_split=0.1 can't be held out of 2 samples",
    ),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_data_that_cannot_be_used_are_an_error(untrained, case):
    estimator, X, y, more, message = WRONG_DATA[case]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        estimator.fit(X, y, **more)


PARAMETERS = [
    ("model", 3, TypeError, "model=3 is of type int; expected a builder"),
    ("model", "mpl", ValueError, "Did you mean 'mlp'?"),
    ("model__unitz", 3, ParameterNameError, "'model__unitz'.*Did you mean 'units'?"),
    ("optimizer__learning_rat", 1.0, ParameterNameError, "Did you mean 'learning_rate'?"),
    ("loss__from_logit", True, ParameterNameError, "'loss__from_logit'.*'from_logits'"),
    ("metrics__treshold", 0.5, ParameterNameError, "'metrics__treshold'"),
    ("callbacks__patience", 3, ParameterNameError, "'callbacks__patience'"),
    ("fit__epoch", 3, ParameterNameError, "'fit__epoch'.*Did you mean 'epochs'?"),
    ("fit__validation_data", (1, 2), ParameterNameError, "fit__validation_data.*X_val"),
    ("fit__validation_split", 0.2, ParameterNameError, "fit__validation_split.*validation_split="),
    ("fit__callbacks", [], ParameterNameError, "fit__callbacks.*callbacks="),
    ("fit__x", 1, ParameterNameError, "fit__x"),
    ("predict__batchsize", 3, ParameterNameError, "'predict__batchsize'.*'batch_size'?"),
    ("predict__x", 3, ParameterNameError, "predict__x"),
    ("compile__jit", True, ParameterNameError, "'compile__jit'.*'jit_compile'"),
    ("compile__loss", "mse", ParameterNameError, "compile__loss.*loss="),
    ("optimizer", "adamm", ValueError, "optimizer='adamm'.*Did you mean 'adam'?"),
    ("optimizer", 0.1, TypeError, "optimizer=0.1"),
    ("loss", 3, TypeError, "loss=3"),
    ("metrics", ["accuracyy"], ValueError, "metrics='accuracyy'.*Did you mean 'accuracy'?"),
    ("callbacks", "EarlyStopping", TypeError, "callbacks='EarlyStopping'"),
    ("callbacks", [3], TypeError, "callbacks=3"),
    ("validation_split", 0.0, ValueError, "validation_split=0.0 holds nothing out; expected None"),
    ("epochs", 0, ValueError, "epochs == 0, must be >= 1"),
    ("epochs", -1, ValueError, "epochs == -1, must be >= 1"),
    ("epochs", 1.5, TypeError, "epochs must be an instance of int"),
    ("epochs", None, TypeError, "epochs must be an instance of int"),
    ("fit__epochs", 0, ValueError, "epochs == 0, must be >= 1"),
    ("batch_size", 0, ValueError, "batch_size == 0, must be >= 1"),
    ("batch_size", -3, ValueError, "batch_size == -3, must be >= 1"),
    ("batch_size", 1.5, TypeError, "batch_size must be an instance of int"),
    (
        "batch_size",
        None,
        TypeError,
        "Got batch_size=None. Leave batch_size out for Keras's default",
    ),
    ("batch_size", -1, ValueError, "batch_size == -1.*all rows at once.*batch_size=1_000_000"),
    ("batch_size", True, ValueError, "batch_size == True, a bool; expected a whole number"),
    ("fit__batch_size", -1, ValueError, "fit__batch_size == -1.*fit__batch_size=1_000_000"),
    ("predict__batch_size", -1, ValueError, "predict__batch_size=1_000_000"),
    ("predict__steps", 1, ParameterNameError, "predict__steps.*the rows to predict as X"),
    ("fit__shuffle", "batch", ValueError, "fit__shuffle='batch'; expected one of"),
    ("fit__steps_per_epoch", 4.06, TypeError, r"Got fit__steps_per_epoch=4\.06\..* whole number"),
    ("fit__steps_per_epoch", 0, ValueError, "fit__steps_per_epoch == 0, must be >= 1. Leave"),
    ("fit__steps_per_epoch", True, ValueError, "fit__steps_per_epoch == True, a bool; expected"),
    ("fit__validation_steps", 1.5, TypeError, r"Got fit__validation_steps=1\.5\..* whole number"),
    ("fit__validation_steps", -1, ValueError, "fit__validation_steps == -1, must be >= 1"),
    ("fit__validation_batch_size", 0, ValueError, "fit__validation_batch_size == 0"),
    ("fit__validation_batch_size", -1, ValueError, "fit__validation_batch_size=1_000_000"),
    ("fit__validation_freq", 0, ValueError, "fit__validation_freq == 0.*number of epochs"),
    ("fit__validation_freq", [1, -2], ValueError, "fit__validation_freq == -2"),
    ("fit__validation_freq", (1, 2), TypeError, "not tuple.*list of their numbers"),
    ("fit__validation_freq", "often", TypeError, "fit__validation_freq='often'.*list"),
    ("fit__initial_epoch", -1, ValueError, "fit__initial_epoch == -1, must be >= 0"),
    ("fit__initial_epoch", 0.5, TypeError, "fit__initial_epoch must be an instance of int"),
    ("fit__initial_epoch", 2, ValueError, "fit__initial_epoch=2 with epochs=2.*expected less"),
    ("fit__validation_steps", 1, ValueError, "fit__validation_steps=1 and nothing to validate on"),
    ("fit__validation_freq", 2, ValueError, "fit__validation_freq=2 and nothing to validate on"),
    ("validation_split", 0.0, ValueError, "validation_split=0.0"),
    ("validation_split", 1.5, ValueError, "validation_split=1.5"),
    ("validation_split", -0.1, ValueError, "validation_split=-0.1"),
    ("validation_split", 30, ValueError, "validation_split=30"),
    ("validation_split", "half", TypeError, "validation_split='half'"),
    ("validation_split", True, TypeError, "validation_split=True"),
    ("validation_split", KFold, TypeError, "validation_split=.*KFold"),
    ("early_stopping", "no", ValueError, "early_stopping='no'"),
    ("shuffle", "batch", ValueError, "shuffle='batch'"),
    ("warm_start", "yes", ValueError, "warm_start='yes'"),
    ("random_state", "zero", ValueError, "'zero' cannot be used to seed"),
    ("on_divergence", "ignore", ValueError, "on_divergence='ignore'; expected one of"),
    ("engine", "tensorflow", ValueError, "engine='tensorflow'; expected one of"),
    ("class_weight", "balance", ValueError, "'class_weight'"),
    ("class_weight", {5: 1.0}, ValueError, "class_weight"),
]


@pytest.mark.parametrize(
    "name, value, error, message",
    PARAMETERS,
    ids=[f"{name}={getattr(value, '__name__', value)}" for name, value, *_ in PARAMETERS],
)
def test_parameter_that_cannot_be_used_is_an_error_that_names_it(
    untrained, name, value, error, message
):
    with pytest.raises(error, match=message):
        classifier(**{name: value}).fit(ROWS, BINARY)


def test_arguments_of_validation_are_no_error_where_there_is_none_by_nature():
    net = classifier(fit__validation_steps=1).partial_fit(ROWS, BINARY)
    with pytest.raises(ValueError, match="nothing to validate on"):
        net.fit(ROWS, BINARY)
    assert net.fit(ROWS, BINARY, X_val=ROWS, y_val=BINARY).history_["val_loss"]


def test_steps_that_are_set_after_training_are_refused_in_prediction():
    net = classifier().fit(ROWS, BINARY).set_params(predict__steps=1)
    with pytest.raises(ParameterNameError, match="predict__steps"):
        net.predict(ROWS)


def test_unknown_prefix_is_an_error_at_once():
    with pytest.raises(ParameterNameError, match="'modle__units'.*Did you mean 'model'?"):
        classifier(modle__units=3)


def test_batch_size_larger_than_the_data_takes_all():
    whole = classifier(batch_size=len(ROWS)).fit(ROWS, BINARY)
    larger = classifier(batch_size=10**6).fit(ROWS, BINARY)
    assert np.array_equal(larger.predict_proba(ROWS), whole.predict_proba(ROWS))
    assert int(larger.model_.optimizer.iterations) == 2


def test_error_of_a_builder_is_raised_as_it_is(untrained):
    def build():
        raise ZeroDivisionError("of my own")

    with pytest.raises(ZeroDivisionError, match="of my own"):
        classifier(build).fit(ROWS, BINARY)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score", "evaluate"])
def test_what_is_not_fitted_cannot_predict(method):
    arguments = (ROWS, BINARY) if method in ("score", "evaluate") else (ROWS,)
    with pytest.raises(NotFittedError, match="is not fitted yet. Call 'fit'"):
        getattr(classifier(), method)(*arguments)


# --- Shapes ----------------------------------------------------------------------------------

INPUT_SHAPES = [(4,), (3,), (1,), (4, 1), (3, 4), (4, 4), (8, 8, 1), (8, 8, 3), (None, 3)]
ROW_SHAPES = [(), (4,), (5,), (1,), (4, 1), (4, 2), (3, 4), (8, 8), (8, 8, 1), (8, 8, 2)]


def takes(expected, shape):
    """Whether Keras takes rows of a shape: it adds or drops a last axis of length 1."""
    options = [shape, (*shape, 1), shape[:-1] if shape[-1:] == (1,) else shape]
    return any(
        len(option) == len(expected)
        and all(e in (None, s) for e, s in zip(expected, option, strict=True))
        for option in options
    )


def pooled(input_shape):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            *([layers.GlobalAveragePooling1D()] if None in input_shape else [layers.Flatten()]),
            layers.Dense(1, "sigmoid"),
        ]
    )


@pytest.mark.parametrize("expected", INPUT_SHAPES, ids=str)
def test_net_for_other_rows_names_both_shapes(untrained, expected):
    for shape in ROW_SHAPES:
        rows = np.zeros((6, *shape))
        message = f"X has rows of shape {shape}, and the net's input has shape {expected}"
        with pytest.raises((ValueError, AssertionError)) as caught:
            classifier(lambda: pooled(expected)).fit(rows, [0, 1] * 3)
        if shape == ():
            assert "Reshape your data" in str(caught.value)
        elif takes(expected, shape):
            assert str(caught.value) == "training began"
        else:
            assert message in str(caught.value)


@pytest.mark.parametrize("fitted_on", [(4,), (4, 2), (8, 8, 1)], ids=str)
def test_rows_of_another_shape_than_in_training_are_an_error(fitted_on):
    estimator = classifier(pooled).initialize(np.zeros((6, *fitted_on)), [0, 1] * 3)
    attempts = [
        lambda X: estimator.predict(X),
        lambda X: estimator.predict_proba(X),
        lambda X: estimator.score(X, [0, 1] * 3),
        lambda X: estimator.evaluate(X, [0, 1] * 3),
        lambda X: estimator.partial_fit(X, [0, 1] * 3),
    ]
    others = [shape for shape in ROW_SHAPES if shape != fitted_on]
    for shape, attempt in itertools.product(others, attempts):
        if shape == ():
            message = "Reshape your data"
        elif shape[0] != fitted_on[0]:
            message = re.escape(f"X has {shape[0]} features, but KerasClassifier is expecting")
        else:
            message = re.escape(f"{shape}") + ".*" + re.escape(f"expected ({fitted_on}")
        with pytest.raises(ValueError, match=message):
            attempt(np.zeros((6, *shape)))


# --- Failing leaves things as they were ------------------------------------------------------


class Fails(keras.callbacks.Callback):
    """Fails in the second epoch, when the net has been changed already."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("in the second epoch")


class Explodes(keras.callbacks.Callback):
    """Makes the weights infinite at the end of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            self.model.set_weights([np.full_like(w, np.inf) for w in self.model.get_weights()])


FAILURES = {
    "bad data": {"X": with_one(ROWS, np.nan)},
    "another width": {"X": ROWS[:, :3], "y": BINARY * 0},
    "other labels": {"y": CLASSES, "set": {"model": fixed((4,), 1, "sigmoid")}},
    "bad weights": {"fit": {"sample_weight": -np.ones(20)}},
    "bad validation data": {"fit": {"X_val": ROWS, "y_val": BINARY + 1}},
    "bad parameter": {"set": {"epochs": 0}},
    "bad callback": {"set": {"callbacks": [3]}},
    "bad validation split": {"set": {"validation_split": 1.5}},
    "bad class weight": {"set": {"class_weight": {5: 1.0}}},
    "failing builder": {"set": {"model": lambda: 1 / 0}},
    "failing callback": {"set": {"callbacks": Fails()}},
    "divergence": {"set": {"callbacks": Explodes(2)}},
}


def state(estimator):
    """All that a fit changes, in a form that can be compared."""
    optimizer = estimator.model_.optimizer
    arrays = [*estimator.model_.get_weights(), *(v.numpy() for v in optimizer.variables)]
    learnt = {
        name: copy.deepcopy(value)
        for name, value in vars(estimator).items()
        if name.endswith("_") and name != "callbacks_" and not name.startswith("_")
    }
    names = learnt.pop("feature_names_in_", None)
    return [array.tolist() for array in arrays], learnt, None if names is None else list(names)


# A warm start builds no net; and only what fails while training may depend on the engine.
WHERE = [
    (case, warm_start, engine)
    for case, warm_start, engine in itertools.product(
        FAILURES, (False, True), ("compiled", "keras")
    )
    if not (warm_start and case in ("failing builder", "other labels"))
    and (engine == "compiled" or case in ("failing callback", "divergence"))
]


@pytest.mark.parametrize("case, warm_start, engine", WHERE)
def test_failed_fit_leaves_the_earlier_one_usable(case, warm_start, engine):
    failure = {"X": ROWS, "y": BINARY, "fit": {}, "set": {}, **FAILURES[case]}
    estimator = classifier(warm_start=warm_start, engine=engine).fit(ROWS, BINARY)
    before, predicted = state(estimator), estimator.predict_proba(ROWS)
    estimator.set_params(**failure["set"])
    with pytest.raises((ValueError, TypeError, RuntimeError, ZeroDivisionError)):
        estimator.fit(failure["X"], failure["y"], **failure["fit"])
    assert np.array_equal(estimator.predict_proba(ROWS), predicted)
    assert state(estimator) == before
    estimator.set_params(model=net, callbacks=None, epochs=2, validation_split=None)
    estimator.set_params(class_weight=None).fit(ROWS, BINARY)


@pytest.mark.parametrize(
    "X, y, callback, engine",
    [
        (with_one(ROWS, np.nan), BINARY, None, "compiled"),
        (ROWS, BINARY + 1, None, "compiled"),
        (ROWS[:, :3], BINARY, None, "compiled"),
        (ROWS, BINARY, Explodes(1), "compiled"),
        (ROWS, BINARY, Explodes(1), "keras"),
    ],
    ids=["bad data", "other labels", "another width", "divergence", "divergence in Keras"],
)
def test_failed_partial_fit_leaves_the_earlier_ones_usable(X, y, callback, engine):
    estimator = classifier(engine=engine).partial_fit(ROWS, BINARY)
    twin = copy.deepcopy(estimator)
    before = state(estimator)
    estimator.set_params(callbacks=callback)
    with pytest.raises((ValueError, DivergenceError)):
        estimator.partial_fit(X, y)
    assert state(estimator) == before
    estimator.set_params(callbacks=None).partial_fit(ROWS, BINARY)
    assert state(estimator) == state(twin.partial_fit(ROWS, BINARY))


def test_failed_first_fit_leaves_an_unfitted_estimator():
    estimator = classifier(callbacks=Explodes(1))
    with pytest.raises(DivergenceError):
        estimator.fit(ROWS, BINARY)
    with pytest.raises(NotFittedError):
        estimator.predict(ROWS)
    assert not hasattr(estimator, "n_features_in_")
    assert not hasattr(estimator, "model_")


@pytest.mark.parametrize("fails", [False, True], ids=["fit", "failing fit"])
def test_arguments_and_parameters_stay_as_they_were(fails):
    template = net((4,), 1, "sigmoid")
    optimizer = keras.optimizers.Adam(0.01)
    callback = Explodes(2 if fails else 99)
    parameters = {
        "model": template,
        "optimizer": optimizer,
        "loss": keras.losses.BinaryCrossentropy(),
        "metrics": [keras.metrics.BinaryAccuracy(), "mae"],
        "callbacks": {"mine": callback},
        "class_weight": {0: 1.0, 1: 3.0},
        "validation_split": KFold(4),
    }
    estimator = KerasClassifier(**parameters, epochs=2, random_state=0)
    arguments = [ROWS.copy(), BINARY.copy(), np.linspace(1, 2, 20)]
    for array in arguments:
        array.flags.writeable = False
    weights = [w.copy() for w in template.get_weights()]
    attributes = dict(vars(callback))
    if fails:
        with pytest.raises(DivergenceError):
            estimator.fit(*arguments)
    else:
        estimator.fit(*arguments)
    assert all(getattr(estimator, name) is value for name, value in parameters.items())
    assert parameters["metrics"][1:] == ["mae"]
    assert parameters["callbacks"] == {"mine": callback}
    assert parameters["class_weight"] == {0: 1.0, 1: 3.0}
    assert all(map(np.array_equal, template.get_weights(), weights))
    assert not template.compiled
    assert not optimizer.built
    assert int(optimizer.iterations) == 0
    assert parameters["metrics"][0].result() == 0
    assert vars(callback) == attributes


# --- Divergence ------------------------------------------------------------------------------


def unstable(**parameters):
    """Diverges after some epochs, for its steps are too large."""
    return KerasRegressor(
        "linear",
        optimizer="sgd",
        optimizer__learning_rate=2.0,
        epochs=400,
        random_state=0,
        **parameters,
    )


@pytest.fixture(scope="module")
def epoch_of_divergence():
    with pytest.raises(DivergenceError) as caught:
        unstable().fit(ROWS, VALUES)
    return caught.value.epoch


def test_divergence_says_the_epoch_and_what_to_change(epoch_of_divergence):
    assert 2 < epoch_of_divergence < 400
    with pytest.raises(DivergenceError) as caught:
        unstable().fit(ROWS, VALUES)
    message = str(caught.value)
    assert f"diverged in epoch {epoch_of_divergence}:" in message
    assert "optimizer__learning_rate" in message
    assert 'on_divergence="warn"' in message


@pytest.mark.parametrize("change", [1, -1])
def test_divergence_is_in_the_first_epoch_that_is_not_finite(epoch_of_divergence, change):
    if change == 1:
        with pytest.raises(DivergenceError):
            unstable(fit__epochs=epoch_of_divergence).fit(ROWS, VALUES)
    else:
        fitted = unstable(fit__epochs=epoch_of_divergence - 1).fit(ROWS, VALUES)
        assert np.isfinite(fitted.history_["loss"]).all()


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_both_engines_say_the_same_epoch(engine, epoch):
    estimator = regressor(callbacks=Explodes(epoch), engine=engine, epochs=4)
    with pytest.raises(DivergenceError, match=f"in epoch {epoch}:") as caught:
        estimator.fit(ROWS, VALUES)
    assert caught.value.epoch == epoch


def test_divergence_in_partial_fit_is_told():
    estimator = unstable().partial_fit(ROWS, VALUES).set_params(callbacks=Explodes(1))
    with pytest.raises(DivergenceError, match="in epoch 1"):
        estimator.partial_fit(ROWS, VALUES)
    assert np.isfinite(estimator.predict(ROWS)).all()


def test_divergence_error_reaches_the_other_side_of_a_pickle(epoch_of_divergence):
    with pytest.raises(DivergenceError) as caught:
        unstable().fit(ROWS, VALUES)
    assert pickle.loads(pickle.dumps(caught.value)).epoch == epoch_of_divergence


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_on_divergence_warn_trains_on_and_warns_once(engine):
    estimator = regressor(callbacks=Explodes(2), engine=engine, epochs=4, on_divergence="warn")
    with pytest.warns(RuntimeWarning, match="diverged in epoch 2:") as caught:
        estimator.fit(ROWS, VALUES)
    assert len(caught) == 1
    assert len(estimator.history_["loss"]) == 4
    with pytest.warns(RuntimeWarning, match="outputs for X have NaN in 20 of 20 rows"):
        assert np.isnan(estimator.predict(ROWS)).all()


def root(input_shape, n_outputs):
    """A net that is NaN for negative rows."""
    return keras.Sequential(
        [keras.Input(input_shape), layers.Lambda(keras.ops.sqrt), layers.Dense(n_outputs)]
    )


@pytest.mark.parametrize("make", [classifier, regressor])
def test_predictions_are_never_nan_silently(make):
    y = BINARY if make is classifier else VALUES
    estimator = make(root).fit(abs(ROWS), y)
    rows = abs(ROWS)
    rows[:3, 0] *= -1
    attempts = [lambda: estimator.predict(rows), lambda: estimator.score(rows, y)]
    if make is classifier:
        attempts.append(lambda: estimator.predict_proba(rows))
    for attempt in attempts:
        with pytest.raises(ValueError, match="outputs for X have NaN in 3 of 20 rows") as caught:
            attempt()
        assert 'on_divergence="warn"' in str(caught.value)


def test_net_that_starts_with_nan_is_told():
    nan = keras.initializers.Constant(np.nan)
    with pytest.raises(DivergenceError, match="in epoch 1:"):
        regressor(
            lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1, kernel_initializer=nan)])
        ).fit(ROWS, VALUES)


# --- Warm starts -----------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((20,), (20, 1)), ((20, 1), (20,))], ids=str)
def test_row_then_column_of_numbers_under_warm_start(shapes):
    estimator = regressor(warm_start=True)
    twin = regressor(warm_start=True)
    for shape in shapes:
        estimator.fit(ROWS, VALUES.reshape(shape))
        twin.fit(ROWS, VALUES)
    assert estimator.predict(ROWS).shape == shapes[0]
    assert np.array_equal(estimator.predict(ROWS).ravel(), twin.predict(ROWS))
    assert len(estimator.history_["loss"]) == 4


def test_other_targets_under_warm_start_are_an_error():
    estimator = regressor(warm_start=True).fit(ROWS, VALUES)
    with pytest.raises(ValueError, match=r"y has shape \(20, 2\); expected \(n_samples,\)"):
        estimator.fit(ROWS, ROWS[:, :2])
    estimator = classifier(warm_start=True).fit(ROWS, BINARY)
    with pytest.raises(ValueError, match=r"not seen in training: \[2\]"):
        estimator.fit(ROWS, CLASSES)


def test_partial_fit_needs_all_classes_to_begin_with():
    with pytest.raises(ValueError, match="y has one class"):
        classifier().partial_fit(ROWS[:1], BINARY[:1])
    estimator = classifier().partial_fit(ROWS[:1], BINARY[:1], classes=[0, 1])
    assert estimator.predict_proba(ROWS).shape == (20, 2)
    with pytest.raises(ValueError, match=r"not seen in training: \[2\]"):
        classifier().partial_fit(ROWS, CLASSES, classes=[0, 1])


def test_builder_errors_are_value_errors():
    assert issubclass(BuilderError, ValueError)
    assert issubclass(ParameterNameError, ValueError)
