"""What the two estimators share, beyond scikit-learn's own checks."""

import pickle
import re

import keras
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, cross_val_score

from skkeras import KerasClassifier, KerasRegressor
from skkeras.data import NamedArrays
from skkeras.exceptions import BuilderError, DivergenceError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int)
VALUES = X @ [1.0, -2.0, 0.5, 0.0]


def weights_of(estimator):
    return [w.copy() for w in estimator.model_.get_weights()]


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.fixture
def net():
    return KerasRegressor(model__units=8, epochs=3, random_state=0)


def test_partial_fit_goes_on_epoch_by_epoch(net):
    for epoch in range(1, 4):
        net.partial_fit(X, VALUES)
        assert net.n_iter_ == len(net.history_["loss"]) == epoch
    assert net.history_["loss"][-1] < net.history_["loss"][0]
    # As one fit of as many epochs does: the optimizer's state and the orders go on, too.
    assert same(weights_of(net), weights_of(net.__sklearn_clone__().fit(X, VALUES)))


def test_warm_start_goes_on_and_fit_starts_anew(net):
    net.set_params(warm_start=True).fit(X, VALUES)
    first = net.history_["loss"]
    net.fit(X, VALUES)
    assert net.n_iter_ == 6
    assert net.history_["loss"][:3] == first
    net.set_params(warm_start=False).fit(X, VALUES)
    assert net.n_iter_ == 3
    assert net.history_["loss"] == first


def test_warm_start_takes_over_a_new_learning_rate_with_the_optimizer_s_state(net):
    for engine in ("compiled", "keras"):
        net.set_params(warm_start=True, engine=engine).fit(X, VALUES)
        net.set_params(optimizer__learning_rate=1e-7)
        before = weights_of(net)
        net.fit(X, VALUES)
        assert net.model_.optimizer.learning_rate.numpy() == pytest.approx(1e-7)
        assert net.model_.optimizer.iterations == 2 * 3 * 2
        moved = [np.abs(a - b).max() for a, b in zip(before, weights_of(net), strict=True)]
        assert 0 < max(moved) < 1e-5
        net = KerasRegressor(model__units=8, epochs=3, random_state=0)


@pytest.mark.parametrize(
    "changes",
    [{"model__units": 9}, {"optimizer": "sgd"}, {"loss": "mae"}, {"metrics": ["mae"]}],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("pickled", [False, True])
def test_what_a_net_was_made_with_can_not_change_under_it(net, changes, pickled):
    net.set_params(warm_start=True).fit(X, VALUES).set_params(**changes)
    if pickled:
        net = pickle.loads(pickle.dumps(net))
    before = weights_of(net)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match=f"{next(iter(changes))} was changed since"):
            train(X, VALUES)
    assert same(weights_of(net), before)
    assert net.set_params(warm_start=False).fit(X, VALUES).n_iter_ == 3


def test_histories_of_fits_with_and_without_validation_data_line_up(net):
    net.set_params(warm_start=True).fit(X, VALUES)
    net.set_params(early_stopping=True, validation_split=0.2).fit(X, VALUES)
    assert [len(values) for values in net.history_.values()] == [6, 6]
    assert np.isnan(net.history_["val_loss"][:3]).all()
    best = int(np.nanargmin(net.history_["val_loss"]))
    assert net.best_epoch_ == best >= 3
    assert not hasattr(net.set_params(early_stopping=False).fit(X, VALUES), "best_epoch_")


def test_initial_epoch_counts_for_fit_alone():
    net = KerasRegressor(
        "linear", epochs=8, fit__initial_epoch=5, early_stopping=True, random_state=0
    ).fit(X, VALUES)
    assert net.n_iter_ == 3
    assert net.best_epoch_ == int(np.argmin(net.history_["val_loss"]))
    before = weights_of(net)
    assert net.partial_fit(X, VALUES).n_iter_ == 4
    assert not same(weights_of(net), before)


def test_initialize_makes_the_untrained_net(net):
    net.initialize(X, VALUES)
    assert net.n_iter_ == 0
    assert net.predict(X).shape == (60,)
    started = weights_of(net)
    assert same(started, weights_of(net.initialize(X, VALUES)))
    net.partial_fit(X, VALUES)
    assert not same(started, weights_of(net))


def test_evaluate_tells_loss_and_metrics_as_keras_does():
    net = KerasClassifier(model__units=8, epochs=3, metrics=["accuracy"], random_state=0)
    net.fit(X, LABELS)
    results = net.evaluate(X, LABELS)
    expected = net.model_.evaluate(X, LABELS[:, None], return_dict=True, verbose=0)
    assert results.keys() == expected.keys() == {"loss", "accuracy"}
    assert results == pytest.approx(expected, rel=1e-6)
    assert results["accuracy"] == pytest.approx(net.score(X, LABELS))


def test_predictions_follow_weights_that_the_user_sets(net):
    net.fit(X, VALUES)
    net.model_.set_weights([np.zeros_like(w) for w in net.model_.get_weights()])
    assert np.all(net.predict(X) == 0)


def test_class_weights_are_sample_weights():
    balanced = KerasClassifier(model__units=8, epochs=3, class_weight="balanced", random_state=0)
    skewed = LABELS.copy()
    skewed[:25] = 0
    share = np.bincount(skewed) / len(skewed)
    by_hand = KerasClassifier(model__units=8, epochs=3, random_state=0)
    by_hand.fit(X, skewed, sample_weight=0.5 / share[skewed])
    np.testing.assert_allclose(
        balanced.fit(X, skewed).predict_proba(X), by_hand.predict_proba(X), rtol=1e-5
    )
    plain = KerasClassifier(model__units=8, epochs=3, random_state=0).fit(X, skewed)
    assert not np.allclose(plain.predict_proba(X), by_hand.predict_proba(X), rtol=1e-3)


def two_heads(input_shape, n_outputs, output_activation):
    inputs = keras.Input(input_shape)
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    heads = [
        keras.layers.Dense(n_outputs[name], activation=output_activation[name], name=name)(hidden)
        for name in n_outputs
    ]
    return keras.Model(inputs, heads)


def two_heads_in_a_dict(input_shape, n_outputs, output_activation):
    model = two_heads(input_shape, n_outputs, output_activation)
    return keras.Model(model.inputs, dict(zip(n_outputs, model.outputs, strict=True)))


@pytest.mark.parametrize("build", [two_heads, two_heads_in_a_dict])
def test_several_outputs_are_learnt_and_predicted_by_name(build):
    y = {
        "sign": LABELS,
        "third": np.array(["low", "mid", "high"])[np.digitize(X[:, 2], [-0.5, 0.5])],
    }
    options = {"epochs": 40, "optimizer__learning_rate": 0.02, "random_state": 0}
    net = KerasClassifier(build, **options, validation_split=0.2)
    net.fit(X, y)
    predicted = net.predict(X)
    assert set(predicted) == {"sign", "third"}
    assert set(predicted["third"]) <= {"low", "mid", "high"}
    assert net.predict_proba(X)["third"].shape == (60, 3)
    assert list(net.classes_["third"]) == ["high", "low", "mid"]
    assert net.score(X, y) > 0.8
    plain = KerasClassifier(build, **options, validation_split=0.2, engine="keras").fit(X, y)
    assert same(weights_of(net), weights_of(plain))
    with pytest.raises(ValueError, match="expected a dict with the keys"):
        net.evaluate(X, {"sign": LABELS})


def test_several_regression_outputs_keep_their_shapes():
    y = {"one": VALUES, "two": X[:, :2]}
    net = KerasRegressor(two_heads, epochs=60, optimizer__learning_rate=0.02, random_state=0)
    predicted = net.fit(X, y).predict(X)
    assert predicted["one"].shape == (60,)
    assert predicted["two"].shape == (60, 2)
    assert net.score(X, y) > 0.5


def test_several_outputs_are_cross_validated():
    y = {"one": VALUES, "two": X[:, :2]}
    net = KerasRegressor(two_heads, epochs=60, optimizer__learning_rate=0.02, random_state=0)
    np.testing.assert_array_equal(
        net.fit(X, NamedArrays(y)).predict(X)["two"], net.fit(X, y).predict(X)["two"]
    )
    folds = KFold(3)
    scores = cross_val_score(net, X, NamedArrays(y), cv=folds)
    for (train, test), score in zip(folds.split(X), scores, strict=True):
        parts = [{name: part[rows] for name, part in y.items()} for rows in (train, test)]
        assert net.fit(X[train], parts[0]).score(X[test], parts[1]) == score


@pytest.mark.parametrize("estimator", [KerasRegressor, KerasClassifier])
@pytest.mark.parametrize("returns", [dict, list])
def test_one_array_of_targets_for_several_outputs_is_told_to_be_a_dict(estimator, returns):
    def build(input_shape):
        inputs = keras.Input(input_shape)
        heads = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("one", "two")}
        return keras.Model(inputs, heads if returns is dict else [*heads.values()])

    net = estimator(build, epochs=1)
    message = r"2 outputs, 'one', 'two', and y is one array.* dict with these names, {'one': ...,"
    for y in (LABELS, np.c_[LABELS, 1 - LABELS], np.c_[LABELS, LABELS]):
        with pytest.raises(ValueError, match=message):
            net.fit(X, y)
    with pytest.raises(ValueError, match=message):
        net.fit(lambda: iter([(X, np.c_[LABELS, 1 - LABELS])]))
    for y in ([LABELS, LABELS], (LABELS[:, None], VALUES)):
        with pytest.raises(TypeError, match=f"y is a {type(y).__name__} of 2 arrays.* by their na"):
            net.fit(X, y)


def test_a_list_of_arrays_may_still_be_rows():
    y = [np.array([value, -value]) for value in VALUES]
    assert KerasRegressor("linear", epochs=1).fit(X, y).predict(X).shape == (60, 2)


@pytest.mark.parametrize("y", [{"one": VALUES}, {"one": VALUES, "to": VALUES}, VALUES])
def test_outputs_that_are_not_those_of_training_are_an_error(y):
    net = KerasRegressor(two_heads, epochs=1).fit(X, {"one": VALUES, "two": X[:, :2]})
    with pytest.raises(ValueError, match=r"expected a dict with the keys \['one', 'two'\]"):
        net.score(X, y)


def test_an_output_that_the_net_lacks_is_an_error():
    with pytest.raises(ValueError, match=r"outputs are \['one', 'two'\]; y has \['one', 'to'\]"):
        KerasRegressor(two_outputs, epochs=1).fit(X, {"one": VALUES, "to": VALUES})


def two_outputs():
    inputs = keras.Input((4,))
    heads = {name: keras.layers.Dense(1)(inputs) for name in ("one", "two")}
    return keras.Model(inputs, heads)


@pytest.mark.parametrize("loss", ["mse", ["mse", "mae"]])
def test_several_outputs_may_share_a_loss_or_have_them_in_order(loss):
    y = {"one": VALUES, "two": X[:, :2]}
    one, other = (
        KerasRegressor(two_heads, loss=loss, epochs=2, random_state=0, engine=engine).fit(X, y)
        for engine in ("compiled", "keras")
    )
    assert same(weights_of(one), weights_of(other))


def test_named_inputs_reach_the_inputs_of_their_names():
    def build(input_shape, n_outputs):
        inputs = {name: keras.Input(shape, name=name) for name, shape in input_shape.items()}
        merged = keras.layers.concatenate([inputs["left"], inputs["right"]])
        return keras.Model(inputs, keras.layers.Dense(n_outputs)(merged))

    parts = {"right": X[:, 2:], "left": X[:, :2]}
    net = KerasRegressor(build, epochs=100, optimizer__learning_rate=0.05, random_state=0)
    assert net.fit(parts, VALUES).score(parts, VALUES) > 0.99
    kernel = net.model_.get_weights()[0].ravel()
    np.testing.assert_allclose(kernel, [1, -2, 0.5, 0], atol=0.1)
    with pytest.raises(ValueError, match="left.*expected"):
        net.predict({"left": X[:, :2]})


def test_routed_arguments_reach_fit_predict_and_compile(net):
    net.set_params(fit__epochs=2, fit__batch_size=60, predict__batch_size=7).fit(X, VALUES)
    assert net.n_iter_ == 2
    assert int(net.model_.optimizer.iterations) == 2
    assert net.predict(X).shape == (60,)
    slow = KerasRegressor(epochs=1, compile__run_eagerly=True, random_state=0).fit(X, VALUES)
    assert slow.model_.run_eagerly
    few = KerasRegressor(epochs=1, fit__steps_per_epoch=1, random_state=0).fit(X, VALUES)
    assert int(few.model_.optimizer.iterations) == 1


@pytest.mark.parametrize(
    "argument, place",
    [
        ("validation_data", "expected X_val=... and y_val=... of fit"),
        ("callbacks", "expected callbacks=... of the constructor"),
        ("steps_per_epoch", "fit__steps_per_epoch=... of the constructor"),
    ],
)
def test_arguments_of_keras_s_fit_are_told_their_place(net, argument, place):
    with pytest.raises(TypeError, match=re.escape(place)):
        net.fit(X, VALUES, **{argument: 1})


def test_groups_that_nothing_looks_at_are_refused(net):
    with pytest.raises(ValueError, match="validation_split=0.2 doesn't look at them"):
        net.set_params(validation_split=0.2).fit(X, VALUES, groups=LABELS)


def test_an_undefined_metric_is_no_divergence(net):
    for engine in ("compiled", "keras"):
        net.set_params(metrics=[keras.metrics.PearsonCorrelation()], engine=engine)
        net.fit(X, np.ones(60))
        assert np.isnan(net.history_["pearson_correlation"]).all()


@pytest.mark.parametrize("monitor", ["val_accuracy", "accuracy", "val_AUC"])
@pytest.mark.parametrize(
    "callback", [keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau]
)
def test_callbacks_find_out_which_way_a_metric_is_up(callback, monitor):
    metrics = ["accuracy", keras.metrics.AUC(name="AUC")]
    nets = [
        KerasClassifier(
            callbacks=callback(monitor, patience=1),
            metrics=metrics,
            validation_split=0.2,
            epochs=8,
            random_state=0,
            engine=engine,
        ).fit(X, LABELS)
        for engine in ("compiled", "keras")
    ]
    assert nets[0].n_iter_ == nets[1].n_iter_
    assert nets[0].history_ == nets[1].history_


def test_a_subclass_can_bring_its_own_builder():
    class TinyRegressor(KerasRegressor):
        def build_model(self, input_shape, n_outputs, width=3):
            layers = [keras.layers.Dense(width), keras.layers.Dense(n_outputs)]
            return keras.Sequential([keras.Input(input_shape), *layers])

    net = TinyRegressor(epochs=1, model__width=5).fit(X, VALUES)
    assert net.model_.layers[0].units == 5
    assert net.get_params()["model"] is None


def test_a_builder_by_the_name_that_scikeras_gives_it_is_an_error():
    class Ported(KerasRegressor):
        def _keras_build_fn(self, compile_kwargs):
            raise AssertionError("this is never called")

    with pytest.raises(TypeError, match="makes its nets by _keras_build_fn.*expected build_model"):
        Ported(epochs=1).fit(X, VALUES)
    assert Ported("linear", epochs=1).fit(X, VALUES).n_iter_ == 1


def test_a_first_fit_that_fails_leaves_the_estimator_unfitted():
    net = KerasRegressor("linear", optimizer="sgd", optimizer__learning_rate=1e20, epochs=9)
    with pytest.raises(DivergenceError, match="epoch") as raised:
        net.fit(X, VALUES)
    assert 1 <= raised.value.epoch <= 9
    with pytest.raises(NotFittedError):
        net.predict(X)


def test_a_later_fit_that_fails_leaves_the_earlier_one(net):
    before = net.fit(X, VALUES).predict(X)
    net.set_params(optimizer="sgd", optimizer__learning_rate=1e20)
    with pytest.raises(DivergenceError):
        net.fit(X[:, :3], VALUES)
    assert np.array_equal(net.predict(X), before)
    assert net.n_features_in_ == 4


def test_divergence_can_be_a_warning():
    net = KerasRegressor("linear", optimizer="sgd", optimizer__learning_rate=1e20, epochs=2)
    with pytest.warns(RuntimeWarning, match="Training diverged in epoch"):
        net.set_params(on_divergence="warn").fit(X, VALUES)
    assert net.n_iter_ == 2


class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_fit_keeps_what_it_trained(net):
    with pytest.raises(KeyboardInterrupt):
        net.set_params(callbacks=Interrupt()).fit(X, VALUES)
    two = KerasRegressor(model__units=8, epochs=2, random_state=0).fit(X, VALUES)
    assert same(weights_of(net), weights_of(two))


@pytest.mark.parametrize(
    "options, name",
    [({"metrics": ["mae"]}, "metrics"), ({"compile__run_eagerly": True}, "compile__run_eagerly")],
)
def test_settings_that_a_compiled_model_would_ignore_are_refused(options, name):
    def compiled():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    with pytest.raises(BuilderError, match=f"{name}=.* would be ignored"):
        KerasRegressor(compiled, epochs=1, **options).fit(X, VALUES)


def test_settings_that_a_compiled_model_already_has_may_be_asked_for():
    def compiled():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"], loss_weights=2.0)
        return model

    net = KerasRegressor(compiled, epochs=1, metrics=["mae"], compile__loss_weights=2.0)
    assert "mae" in net.fit(X, VALUES).history_


def test_a_builder_sees_no_row_that_is_held_out():
    seen = []

    def build(X, n_outputs):
        seen.append(len(X))
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(n_outputs)])

    KerasRegressor(build, epochs=1, validation_split=0.25).fit(X, VALUES)
    assert set(seen) == {45}
    seen.clear()
    KerasRegressor(build, epochs=1).fit(X, VALUES)
    assert set(seen) == {60}


@pytest.mark.parametrize("held_out", [None, 0.25])
def test_a_builder_adapts_a_layer_to_sparse_rows(held_out):
    shown = []

    def build(X, n_outputs):
        scale = keras.layers.Normalization()
        scale.adapt(X)
        shown.append(X)
        return keras.Sequential([keras.Input((4,)), scale, keras.layers.Dense(n_outputs)])

    net = KerasRegressor(build, epochs=1, validation_split=held_out, random_state=0)
    net.fit(csr_array(X), VALUES)
    assert type(shown[-1]) is np.ndarray
    assert shown[-1].shape == ((60 if held_out is None else 45), 4)
    if held_out is None:
        np.testing.assert_array_equal(shown[-1], X)
        np.testing.assert_allclose(
            net.predict(csr_array(X)), net.fit(X, VALUES).predict(X), rtol=1e-5
        )


def test_two_kinds_of_validation_data_at_once_are_refused():
    with pytest.raises(ValueError, match="validation_split=0.1; expected one of them"):
        KerasRegressor(validation_split=0.1).fit(X, VALUES, X_val=X, y_val=VALUES)
