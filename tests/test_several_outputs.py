"""Named outputs: classes beside numbers, weights by output, scikit-learn's tools."""

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, make_scorer, mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_validate

from skkeras import KerasClassifier, KerasRegressor, data

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype("float32")
SIZE = X[:, 0] + 0.5
KIND = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])]
UP = (X[:, 1] > 0).astype(int)
CLASSES = {"kind": KIND, "up": UP}
MIXED = {"kind": KIND, "size": SIZE}


def heads(n_outputs, output_activation):
    inputs = keras.Input((4,))
    outputs = {
        name: layers.Dense(units, activation=output_activation[name], name=name)(inputs)
        for name, units in n_outputs.items()
    }
    return keras.Model(inputs, outputs)


def listed(n_outputs, output_activation):
    net = heads(n_outputs, output_activation)
    return keras.Model(net.inputs, [net.output[name] for name in n_outputs])


def classifier(model=heads, **parameters):
    return KerasClassifier(
        model, **{"epochs": 30, "optimizer__learning_rate": 0.05, "random_state": 0, **parameters}
    )


@pytest.fixture(scope="module")
def mixed_net():
    return classifier().fit(X, MIXED)


def test_classes_stand_beside_numbers(mixed_net):
    predicted = mixed_net.predict(X)
    assert predicted["kind"].dtype == KIND.dtype
    assert predicted["size"].dtype == "float64"
    scores = accuracy_score(KIND, predicted["kind"]), r2_score(SIZE, predicted["size"])
    assert mixed_net.score(X, MIXED) == pytest.approx(np.mean(scores))
    assert min(scores) > 0.7
    assert mixed_net.model_.loss == {
        "kind": "sparse_categorical_crossentropy",
        "size": "mean_squared_error",
    }
    assert {name: [*labels] for name, labels in mixed_net.classes_.items()} == {"kind": [*"abc"]}
    assert mixed_net.predict_proba(X).keys() == {"kind"}
    assert mixed_net.predict_proba(X)["kind"].shape == (90, 3)


def test_loss_for_numbers_makes_whole_numbers_numbers():
    ages = np.round(10 * SIZE).astype(int)
    loss = {"kind": "sparse_categorical_crossentropy", "age": "mae"}
    net = classifier(loss=loss).fit(X, {"kind": KIND, "age": ages})
    assert [net.model_.get_layer(name).units for name in loss] == [3, 1]
    assert net.predict(X)["age"].dtype == "float64"


def test_each_estimator_says_which_takes_numbers_and_classes():
    with pytest.raises(ValueError, match=r"numbers in all outputs, \['a', 'b'\].*KerasRegressor"):
        classifier().fit(X, {"a": SIZE, "b": -SIZE})
    with pytest.raises(ValueError, match=r"y\['kind'\] holds strings.*KerasClassifier"):
        KerasRegressor(heads).fit(X, MIXED)
    codes = {"kind": np.unique(KIND, return_inverse=True)[1], "size": SIZE}
    loss = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    with pytest.raises(ValueError, match="Output 'kind': loss=.*KerasClassifier"):
        KerasRegressor(heads, loss=loss).fit(X, codes)


def test_steps_of_one_output_stand_beside_rows_of_another():
    series = RNG.normal(size=(40, 5, 2)).astype("float32")
    y = {"tags": np.digitize(series[..., 0], [-0.5, 0.5]), "total": series[..., 0].sum(axis=1)}

    def build():
        inputs = keras.Input((5, 2))
        tags = layers.Dense(3, activation="softmax", name="tags")(inputs)
        return keras.Model(
            inputs, {"tags": tags, "total": layers.Dense(1, name="total")(layers.Flatten()(inputs))}
        )

    weights = {"tags": np.ones((40, 5)), "total": np.ones(40)}
    net = classifier(build).fit(series, y, sample_weight=weights)
    same = classifier(build).fit(series, y, sample_weight=np.ones(40))
    assert net.history_["loss"] == pytest.approx(same.history_["loss"], rel=1e-5)
    predicted = net.predict(series)
    assert predicted["tags"].shape == (40, 5)
    scores = (predicted["tags"] == y["tags"]).mean(), r2_score(y["total"], predicted["total"])
    assert net.score(series, y) == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("model", [heads, listed])
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_weights_are_given_by_output_as_keras_takes_them(model, engine):
    weights = {"kind": np.arange(90) % 2 + 0.5, "up": np.arange(90) % 3 + 0.5}
    net = classifier(model, epochs=1, shuffle=False, engine=engine, batch_size=90)
    history = net.fit(X, CLASSES, sample_weight=weights).history_
    start = classifier(model).initialize(X, CLASSES)
    outputs = start.predict_proba(X)
    codes = {"kind": np.unique(KIND, return_inverse=True)[1], "up": UP}
    for name, weight in weights.items():
        losses = -np.log(outputs[name][np.arange(90), codes[name]])
        expected = (losses * weight).sum() / weight.sum()
        assert history[f"{name}_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_outputs_without_weights_count_fully_and_zeros_leave_rows_out():
    flipped = np.where(np.arange(90) < 45, UP, 1 - UP)
    weights = data.NamedArrays({"up": (np.arange(90) < 45).astype(float)})
    net = classifier(epochs=60).fit(X, {"kind": KIND, "up": flipped}, sample_weight=weights)
    assert (net.predict(X)["up"] == UP).mean() > 0.9
    assert (net.predict(X)["kind"] == KIND).mean() > 0.8
    wrong = {"kind": KIND, "up": flipped}
    expected = (
        (net.predict(X)["kind"] == KIND).mean() + (net.predict(X)["up"] == UP)[:45].mean()
    ) / 2
    assert net.score(X, wrong, sample_weight=weights) == pytest.approx(expected)


def test_class_weights_are_given_by_output():
    by_label = {"kind": {"a": 1.0, "b": 2.0, "c": 5.0}}
    net = classifier(class_weight=by_label, epochs=2, batch_size=90).fit(X, CLASSES)
    weight = np.vectorize(by_label["kind"].get)(KIND)
    weights = {"kind": weight / weight.mean(), "up": np.ones(90)}
    same = classifier(epochs=1, batch_size=90).fit(X, CLASSES, sample_weight=weights)
    assert net.history_["up_loss"][0] == pytest.approx(same.history_["up_loss"][0], rel=1e-5)
    scaled = same.history_["kind_loss"][0] * weight.mean()
    assert net.history_["kind_loss"][0] == pytest.approx(scaled, rel=1e-5)


def test_balanced_class_weights_balance_every_output_of_classes():
    balanced = classifier(class_weight="balanced", epochs=2).fit(X, {**CLASSES, "size": SIZE})
    each = {
        name: {
            label: 90 / len(np.unique(y)) / (y == label).sum() for label in np.unique(y).tolist()
        }
        for name, y in CLASSES.items()
    }
    same = classifier(class_weight=each, epochs=2).fit(X, {**CLASSES, "size": SIZE})
    assert balanced.history_["loss"] == pytest.approx(same.history_["loss"], rel=1e-5)
    streamed = classifier(class_weight="balanced", epochs=1, shuffle=False, batch_size=90)
    plain = classifier(class_weight="balanced", epochs=1, shuffle=False, batch_size=90)
    losses = [
        streamed.fit(lambda: [(X, CLASSES)]).history_["loss"],
        plain.fit(X, CLASSES).history_["loss"],
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# --- scikit-learn's tools --------------------------------------------------------------------


def test_cross_val_predict_returns_predictions_by_output():
    Y = data.NamedArrays(MIXED)
    predicted = cross_val_predict(classifier(), X, Y, cv=KFold(3))
    for train, test in KFold(3).split(X):
        fold = classifier().fit(X[train], Y[train]).predict(X[test])
        for name in MIXED:
            assert np.array_equal(predicted[name][test], fold[name])
    assert [*pd.DataFrame(predicted)] == [*MIXED]
    with pytest.raises(ValueError, match="cross_val_predict with several outputs has method="):
        cross_val_predict(classifier(), X, Y, cv=3, method="predict_proba")


@pytest.mark.parametrize("Y", [CLASSES, MIXED, {"size": SIZE, "other": -SIZE}], ids=[*"cmr"])
def test_a_number_of_folds_and_scorers_of_dicts(Y):
    make = KerasRegressor if "other" in Y else KerasClassifier
    net = make(heads, epochs=30, optimizer__learning_rate=0.05, random_state=0)
    name = [*Y][-1]

    def errors(true, predicted):
        return (
            np.mean(true[name] != predicted[name])
            if name == "up"
            else mean_absolute_error(true[name], predicted[name])
        )

    scoring = {"own": make_scorer(errors, greater_is_better=False)}
    named = data.NamedArrays(Y)
    results = cross_validate(net, X, named, cv=3, scoring=scoring, return_estimator=True)
    for fold, (_, test) in enumerate(KFold(3).split(X)):
        expected = errors(named[test], results["estimator"][fold].predict(X[test]))
        assert results["test_own"][fold] == pytest.approx(-expected)
    search = GridSearchCV(net, {"epochs": [1, 30]}, cv=3).fit(X, named)
    assert search.best_params_ == {"epochs": 30}
    assert search.predict(X).keys() == Y.keys()


def test_weights_by_output_are_split_with_the_rows():
    weights = data.NamedArrays({"kind": np.ones(90), "up": np.arange(90.0)})
    results = cross_validate(
        classifier(epochs=1),
        X,
        data.NamedArrays(CLASSES),
        cv=3,
        params={"sample_weight": weights},
        error_score="raise",
    )
    assert np.isfinite(results["test_score"]).all()


def test_hinge_of_one_output_leaves_probabilities_to_the_other():
    loss = {"kind": "sparse_categorical_crossentropy", "up": "hinge"}
    net = classifier(loss=loss).fit(X, CLASSES)
    assert net.score(X, CLASSES) > 0.8
    with pytest.raises(ValueError, match="Output 'up': .*loss='hinge' has margins"):
        net.predict_proba(X)


# --- Messages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters, y, arguments, message",
    [
        ({}, {"kind": KIND, "up": np.zeros(90)}, {}, "Output 'up': y has one class"),
        ({"loss": {"kind": "hinge", "up": "categorical_crossentropy"}}, CLASSES, {},
         "Output 'up': loss='categorical_crossentropy'"),
        ({"class_weight": {0: 1, 1: 5}}, CLASSES, {},
         r"class_weight=\{0: 1, 1: 5\} with several outputs.*\['kind', 'up'\]"),
        ({"class_weight": {"up": {7: 1}}}, CLASSES, {}, "Output 'up': "),
        ({"class_weight": {"size": {7: 1}}}, MIXED, {}, r"those that have classes, \['kind'\]"),
        ({}, CLASSES, {"sample_weight": {"down": np.ones(90)}},
         r"sample_weight has the keys \['down'\], and y has \['kind', 'up'\]"),
        ({}, CLASSES, {"sample_weight": {"up": np.ones(9)}}, "inconsistent numbers of samples"),
        ({}, {"kind": KIND, "up": UP[:, None] * [1.0, 0.5]}, {"X_val": X, "y_val": CLASSES},
         "Output 'up': y has shape"),
    ],
)  # fmt: skip
def test_messages_name_the_output(parameters, y, arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier(epochs=1, **parameters).fit(X, y, **arguments)


def test_messages_after_a_fit_name_the_output(mixed_net):
    with pytest.raises(ValueError, match="Output 'kind': y has labels that were not seen"):
        mixed_net.evaluate(X, {"kind": np.full(90, "z"), "size": SIZE})
    with pytest.raises(ValueError, match="Output 'size': "):
        mixed_net.score(X, {"kind": KIND, "size": SIZE[:, None] * [1, 2]})


# --- One named output, and y of rank 3 -------------------------------------------------------


def named(units, activation=None):
    def build():
        inputs = keras.Input((4,))
        return keras.Model(
            inputs, {"p": layers.Dense(units, activation=activation, name="p")(inputs)}
        )

    return build


class Named(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = layers.Dense(1, name="p")

    def call(self, inputs):
        return {"p": self.last(inputs)}


@pytest.mark.parametrize(
    "build, loss, engine",
    [
        (named(1), None, "compiled"),
        (named(1), {"p": "mse"}, "keras"),
        (Named, None, "keras"),
        (Named, {"p": "mse"}, "compiled"),
    ],
)
def test_one_named_output_takes_y_plain_or_by_name(build, loss, engine):
    net = KerasRegressor(build, loss=loss, epochs=2, random_state=0, engine=engine)
    plain = net.fit(X, SIZE).predict(X)
    assert plain.shape == (90,)
    score = net.score(X, SIZE)
    by_name = net.fit(X, {"p": SIZE})
    assert np.array_equal(by_name.predict(X)["p"], plain)
    assert by_name.score(X, {"p": SIZE}) == score
    assert by_name.evaluate(X, {"p": SIZE})["loss"] == pytest.approx(
        np.mean((plain - SIZE) ** 2), rel=1e-4
    )


def test_one_named_output_of_classes():
    net = classifier(named(3, "softmax"), epochs=30).fit(X, KIND)
    assert net.predict_proba(X).shape == (90, 3)
    assert net.score(X, KIND) > 0.8
    by_name = classifier(named(3, "softmax"), epochs=30).fit(X, {"p": KIND})
    assert np.array_equal(by_name.predict_proba(X)["p"], net.predict_proba(X))


def test_one_output_without_a_name_says_so():
    def build():
        return keras.Sequential([keras.Input((4,)), layers.Dense(1, name="p")])

    with pytest.raises(
        ValueError, match=r"outputs are \(1,\); y has \['p'\].*dict with these keys"
    ):
        KerasRegressor(build).fit(X, {"p": SIZE})


def test_numbers_of_rank_3_are_scored_and_searched():
    series = RNG.normal(size=(40, 5, 2)).astype("float32")

    def build():
        return keras.Sequential([keras.Input((5, 2)), layers.Dense(2)])

    net = KerasRegressor(build, epochs=60, optimizer__learning_rate=0.05, random_state=0)
    search = GridSearchCV(net, {"epochs": [1, 60]}, cv=2).fit(series, series)
    assert search.best_params_ == {"epochs": 60}
    predicted = search.predict(series)
    columns = [part.reshape(40, 10) for part in (series, predicted)]
    assert search.score(series, series) == pytest.approx(r2_score(*columns))
    weight = np.zeros((40, 5))
    weight[:, 1] = np.arange(40)
    # Values without any weight don't count.
    expected = r2_score(series[:, 1], predicted[:, 1], sample_weight=np.arange(40))
    fitted = net.fit(series, series, sample_weight=np.arange(40))
    assert np.isfinite(fitted.score(series, series, sample_weight=np.arange(40)))
    assert search.best_estimator_.score(series, series, sample_weight=weight) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("model", [heads, listed])
def test_one_array_for_several_outputs_names_them(model):
    def build():
        return model({"kind": 3, "up": 1}, {"kind": "softmax", "up": "sigmoid"})

    for net, y in ((classifier(build), UP), (KerasRegressor(build), SIZE)):
        with pytest.raises(ValueError, match="outputs, 'kind', 'up', and y is one array.*dict"):
            net.fit(X, y)


@pytest.mark.parametrize("settings", [{}, {"callbacks": keras.callbacks.TerminateOnNaN()}])
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_model_has_the_losses_of_its_outputs_among_its_metrics(settings, engine):
    metrics = {"kind": ["categorical_accuracy"], "size": ["mae"]}
    net = classifier(epochs=2, metrics=metrics, engine=engine, **settings).fit(X, MIXED)
    results = {name: float(value) for name, value in net.model_.get_metrics_result().items()}
    last = {name: values[-1] for name, values in net.history_.items()}
    assert results == pytest.approx(last, rel=1e-5)
    assert {"kind_loss", "size_loss", "kind_categorical_accuracy", "size_mae"} <= last.keys()


def test_scores_of_epochs_are_those_of_several_outputs():
    held_out = {"X_val": X[60:], "y_val": {name: part[60:] for name, part in MIXED.items()}}
    net = classifier(epochs=2, scoring=lambda net, X, y: net.score(X, y))
    net.fit(X[:60], {name: part[:60] for name, part in MIXED.items()}, **held_out)
    assert net.history_["val_score"][-1] == pytest.approx(net.score(*held_out.values()))
