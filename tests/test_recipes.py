"""Recipes: how a preset is trained where nothing else is said, and schedules of learning rates."""

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skkeras import KerasClassifier, KerasRegressor
from skkeras._schedules import coslog4

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X[:, 0] + 0.5
LABELS = np.digitize(X[:, 0], [-0.5, 0.5])
OF_CLASSES = {
    "fit__epochs": 64,
    "fit__batch_size": 256,
    "optimizer__learning_rate": 0.04,
    "optimizer__beta_2": 0.95,
    "optimizer__schedule": "coslog4",
    "loss__label_smoothing": 0.1,
    "early_stopping__patience": 64,
}


def classifier(**parameters):
    return KerasClassifier("tabular", model__units=4, random_state=0, **parameters)


def shown(net):
    return {k: v for k, v in net.get_params().items() if "__" in k and "model__" not in k}


@pytest.fixture(scope="module")
def fitted():
    return classifier().fit(X, LABELS)


def test_get_params_shows_the_recipe():
    assert shown(classifier()) == OF_CLASSES
    of_numbers = {k: v for k, v in OF_CLASSES.items() if "smoothing" not in k}
    of_numbers["optimizer__learning_rate"] = 0.07
    assert shown(KerasRegressor("tabular")) == of_numbers


def test_presets_without_a_recipe_show_none():
    assert shown(KerasClassifier()) == shown(KerasClassifier("linear")) == {}


def test_only_what_was_given_is_shown_without_deep_and_copied():
    net = classifier(optimizer__beta_2=0.9)
    assert net.get_params(deep=False) == clone(net).get_params(deep=False)
    assert {k for k in net.get_params(deep=False) if "__" in k} == {
        "model__units",
        "optimizer__beta_2",
    }


def test_another_model_leaves_the_recipe_behind():
    assert shown(classifier().set_params(model="mlp")) == {}
    assert shown(KerasClassifier("mlp").set_params(model="tabular")) == OF_CLASSES


@pytest.mark.parametrize(
    "given, left_out",
    [
        ({"epochs": 3}, ["fit__epochs"]),
        ({"batch_size": 8}, ["fit__batch_size"]),
        ({"loss": "categorical_crossentropy"}, ["loss__label_smoothing"]),
        ({"early_stopping": False}, ["early_stopping__patience"]),
        ({"optimizer": "sgd"}, [k for k in OF_CLASSES if k.startswith("optimizer__")]),
    ],
)
def test_what_is_given_takes_the_place_of_the_recipe(given, left_out):
    assert shown(classifier(**given)) == {k: v for k, v in OF_CLASSES.items() if k not in left_out}


@pytest.mark.parametrize("name", OF_CLASSES)
def test_routed_parameters_win(name):
    assert shown(classifier(**{name: None}))[name] is None


def test_it_is_trained_by_the_recipe(fitted):
    optimizer = fitted.model_.optimizer
    assert (fitted.n_iter_, int(optimizer.iterations), optimizer.beta_2) == (64, 64, 0.95)
    expected = [0.04 * coslog4((epoch + 0.5) / 64) for epoch in range(64)]
    np.testing.assert_allclose(fitted.history_["learning_rate"], expected, rtol=1e-4)
    # No net gets below the entropy of smoothed labels.
    assert 0.2 < fitted.history_["loss"][-1] < 0.9


def test_the_optimizer_keeps_its_rate(fitted):
    assert float(fitted.model_.optimizer.learning_rate) == pytest.approx(0.04)
    assert fitted.callbacks_ == []


def test_auto_is_keras_like_for_other_models():
    net = KerasRegressor("linear").fit(X, Y)
    assert (net.n_iter_, int(net.model_.optimizer.iterations)) == (100, 200)


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_another_word_than_auto_is_an_error(name):
    with pytest.raises(TypeError, match=name):
        KerasRegressor("linear", **{name: "foo"}).fit(X, Y)


def test_a_search_over_presets_trains_each_its_way():
    search = GridSearchCV(
        KerasClassifier(epochs=3, random_state=0), {"model": ["mlp", "tabular"]}, cv=2
    )
    best = search.fit(X, LABELS).best_estimator_
    assert [one["model"] for one in search.cv_results_["params"]] == ["mlp", "tabular"]
    assert best.n_iter_ == 3


@pytest.mark.parametrize("labels", [LABELS, LABELS > 0, np.eye(3)[LABELS]])
def test_default_losses_smooth_labels_of_every_form(labels):
    net = KerasClassifier("linear", loss__label_smoothing=0.2, epochs=1).fit(X, labels)
    config = net.model_.loss.get_config()
    assert config["label_smoothing"] == 0.2
    assert net.predict(X).shape == labels.shape


@pytest.mark.parametrize("schedule", ["cosine", "linear", lambda done: 1 - done])
def test_any_net_follows_a_schedule(schedule):
    net = KerasRegressor("linear", optimizer="sgd", optimizer__schedule=schedule, epochs=4)
    rates = net.fit(X, Y).history_["learning_rate"]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < rates[0] < 0.01


def test_a_schedule_can_be_switched_off():
    net = classifier(epochs=3, optimizer__schedule=None).fit(X, LABELS)
    assert "learning_rate" not in net.history_


def test_a_number_for_the_rate_is_where_the_schedule_begins():
    net = classifier(epochs=8, optimizer__learning_rate=0.01).fit(X, LABELS)
    assert max(net.history_["learning_rate"]) <= 0.01


def test_schedules_of_keras_take_the_place_of_the_recipe():
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    net = classifier(epochs=3, optimizer__learning_rate=rate).fit(X, LABELS)
    assert "learning_rate" not in net.history_
    with pytest.raises(ValueError, match=r"optimizer__schedule.*LearningRateSchedule"):
        net.set_params(optimizer__schedule="cosine").fit(X, LABELS)


def test_callbacks_of_the_user_have_the_last_word():
    own = keras.callbacks.LearningRateScheduler(lambda epoch: 0.123)
    net = classifier(epochs=3, callbacks=own).fit(X, LABELS)
    np.testing.assert_allclose(net.history_["learning_rate"], 0.123, rtol=1e-6)


def test_an_unknown_schedule_is_an_error():
    with pytest.raises(ValueError, match=r"optimizer__schedule='cosin'.*'cosine'"):
        classifier(optimizer__schedule="cosin").fit(X, LABELS)


def test_a_warm_start_begins_at_the_same_rate():
    net = classifier(epochs=3, warm_start=True).fit(X, LABELS).fit(X, LABELS)
    rates = net.history_["learning_rate"]
    np.testing.assert_array_equal(rates[:3], rates[3:])


def test_an_interrupted_fit_keeps_the_rate():
    class Interrupted(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    net = classifier(epochs=3, callbacks=Interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, LABELS)
    assert float(net.model_.optimizer.learning_rate) == pytest.approx(0.04)


def test_partial_fit_has_a_constant_rate():
    net = classifier().partial_fit(X, LABELS).partial_fit(X, LABELS)
    assert "learning_rate" not in net.history_


def test_both_engines_follow_schedules_to_the_same_bits():
    nets = [classifier(epochs=4, engine=one).fit(X, LABELS) for one in ("compiled", "keras")]
    for one, other in zip(*(net.model_.get_weights() for net in nets), strict=True):
        np.testing.assert_array_equal(one, other)


def test_auto_holds_nothing_out_where_a_label_has_one_row():
    labels = np.zeros(120, int)
    labels[0] = 1
    net = classifier(epochs=1).fit(np.tile(X, (3, 1)), labels)
    assert "val_loss" not in net.history_


def test_the_recipe_holds_rows_out_of_smaller_tables():
    rows = np.tile(X, (3, 1))
    assert "val_loss" in classifier(epochs=2).fit(rows, np.tile(LABELS, 3)).history_
    assert "val_loss" not in KerasClassifier(epochs=2).fit(rows, np.tile(LABELS, 3)).history_


@pytest.mark.parametrize("factor", [-1.0, None, np.nan], ids=["negative", "none", "nan"])
def test_a_schedule_returns_a_number_of_at_least_0(factor):
    net = KerasClassifier(optimizer__schedule=lambda progress: factor, epochs=2)
    with pytest.raises(ValueError, match="expected a function that returns a number"):
        net.fit(X, LABELS)


def test_errors_of_a_schedule_are_its_own():
    net = KerasClassifier(optimizer__schedule=lambda: 1.0, epochs=2)
    with pytest.raises(TypeError, match="takes 0 positional arguments"):
        net.fit(X, LABELS)
