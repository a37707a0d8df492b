"""Regressors' presets are indifferent to the units of y; see `skkeras.models.OutputScaling`."""

import copy
import pickle

import keras
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_regression
from sklearn.preprocessing import StandardScaler

from skkeras import KerasClassifier, KerasForecaster, KerasRegressor, models
from skkeras.exceptions import BuilderError, DivergenceError

RNG = np.random.default_rng(0)
X, Y = make_regression(120, 4, noise=1.0, random_state=0)
Y = Y / Y.std()
COUNTS = RNG.poisson(np.exp(X[:, 0])).astype(float)
UNITS = {
    "large": lambda y: 1e5 * y,
    "small": lambda y: 1e-5 * y,
    "far from 0": lambda y: y + 1e4,
}


def regressor(model="mlp", **parameters):
    return KerasRegressor(model, **{"epochs": 8, "random_state": 0, **parameters})


def quantile_loss(y_true, y_pred):
    error = y_true - y_pred
    return keras.ops.mean(keras.ops.maximum(0.8 * error, -0.2 * error), axis=-1)


def asks_nothing(input_shape, n_outputs):
    return models.mlp(input_shape, n_outputs, "linear")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("unit", UNITS)
def test_score_is_that_of_standardised_targets(unit, optimizer):
    net = regressor(epochs=20, optimizer=optimizer, optimizer__learning_rate=0.01)
    standardised = TransformedTargetRegressor(net, transformer=StandardScaler()).fit(X, Y)
    y = UNITS[unit](Y)
    assert clone(net).fit(X, y).score(X, y) == pytest.approx(standardised.score(X, Y), abs=1e-3)
    assert standardised.score(X, Y) > 0.5


@pytest.mark.parametrize(
    "loss",
    ["mae", "huber", "log_cosh", keras.losses.Huber(2.0), quantile_loss],
    ids=lambda loss: getattr(loss, "__name__", str(loss))[:12],
)
def test_any_loss_learns_in_any_units(loss):
    scores = [
        regressor(loss=loss, epochs=30, optimizer="sgd").fit(X, unit(Y)).score(X, unit(Y))
        for unit in (lambda y: y, *UNITS.values())
    ]
    assert min(scores) > 0.3
    assert max(scores) - min(scores) < 0.1


def test_a_preset_alone_learns_the_mean_of_constant_targets_and_of_each_column():
    y = np.column_stack([np.full(120, 7.0), 1e4 * Y, 1e-4 * Y])
    net = regressor(epochs=30).fit(X, y)
    predicted = net.predict(X)
    np.testing.assert_allclose(predicted[:, 0], 7.0, atol=0.5)
    for column in (1, 2):
        assert np.corrcoef(predicted[:, column], y[:, column])[0, 1] > 0.9
    initial = regressor().initialize(X, y).predict(X).mean(axis=0)
    assert np.all(np.abs(initial - y.mean(axis=0)) < 2 * np.maximum(y.std(axis=0), 1.0))


def test_loss_is_told_in_the_units_of_y():
    net = regressor(shuffle=False).fit(X, 1e3 * Y)
    [loss] = [net.evaluate(X, 1e3 * Y)["loss"]]
    assert loss == pytest.approx(np.mean((net.predict(X) - 1e3 * Y) ** 2), rel=1e-5)
    assert 0.5 * loss < net.history_["loss"][-1] < 2 * loss


def test_model_predicts_in_the_units_of_y_also_after_copies(tmp_path):
    net = regressor().fit(X, 1e5 * Y)
    expected = net.predict(X)
    np.testing.assert_array_equal(net.model_.predict(X, verbose=0)[:, 0], expected)
    for own in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        np.testing.assert_array_equal(own.predict(X), expected)
        np.testing.assert_array_equal(own.model_.predict(X, verbose=0)[:, 0], expected)
    net.model_.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(
        tmp_path / "net.keras", {"OutputScaling": models.OutputScaling}
    )
    np.testing.assert_array_equal(loaded.predict(X, verbose=0)[:, 0], expected)


def test_each_fit_has_the_constants_of_its_own_targets():
    nets = [regressor().fit(X, unit(Y)) for unit in UNITS.values()]  # one recipe, one program
    again = regressor().fit(X, 1e5 * Y)
    np.testing.assert_array_equal(again.predict(X), nets[0].predict(X))
    for net, unit in zip(nets, UNITS.values(), strict=True):
        offset, scale, slope = (v.numpy() for v in net.model_.layers[-1].weights)
        assert offset == pytest.approx(unit(Y).mean(), rel=1e-5)
        assert scale == pytest.approx(unit(Y).std(), rel=1e-3)
        assert slope == pytest.approx(1 / unit(Y).std(), rel=1e-3)
    untrained = regressor().initialize(X, UNITS["small"](Y))
    np.testing.assert_array_equal(
        untrained.model_.layers[-1].get_weights()[0], nets[1].model_.layers[-1].get_weights()[0]
    )


def test_folds_share_a_program():
    import skkeras

    regressor().fit(X[:80], Y[:80])
    before = skkeras.cache_info()
    regressor().fit(X[40:], 50 * Y[40:])
    assert skkeras.cache_info().n_made == before.n_made


def test_held_out_rows_and_rows_of_no_weight_tell_nothing():
    y = Y.copy()
    y[:30] += 1e6
    weight = np.where(np.arange(120) < 30, 0.0, 2.0)
    weighted = regressor().fit(X, y, sample_weight=weight)
    offset = weighted.model_.layers[-1].offset.numpy()
    assert offset == pytest.approx(Y[30:].mean(), rel=1e-4)

    class Split:
        def split(self, X, y=None, groups=None):
            yield np.arange(30, 120), np.arange(30)

    held_out = regressor(validation_split=Split(), on_divergence="warn").fit(X, y)
    assert held_out.model_.layers[-1].offset.numpy() == pytest.approx(Y[30:].mean(), rel=1e-4)


def test_targets_that_are_missing_do_not_count():
    y = np.where(np.arange(120) % 3 == 0, np.nan, Y + 50)

    def loss(y_true, y_pred):
        known = keras.ops.logical_not(keras.ops.isnan(y_true))
        return keras.ops.square(keras.ops.where(known, keras.ops.nan_to_num(y_true) - y_pred, 0.0))

    net = regressor(loss=loss, allow_nan_targets=True).fit(X, y)
    assert net.model_.layers[-1].offset.numpy() == pytest.approx(np.nanmean(y), rel=1e-4)


@pytest.mark.parametrize("loss", ["poisson", "mean_squared_logarithmic_error"])
@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_losses_of_counts_have_positive_outputs(loss, factor):
    net = regressor(loss=loss, epochs=40, optimizer__learning_rate=0.01).fit(X, factor * COUNTS)
    predicted = net.predict(X)
    assert predicted.min() > 0
    assert np.corrcoef(predicted, COUNTS)[0, 1] > 0.5


def test_a_linear_net_of_poisson_is_that_generalised_linear_model():
    from sklearn.linear_model import PoissonRegressor

    expected = PoissonRegressor(alpha=0).fit(X, COUNTS).predict(X)
    net = regressor("linear", loss="poisson", epochs=300, optimizer__learning_rate=0.02)
    np.testing.assert_allclose(net.fit(X, COUNTS).predict(X), expected, rtol=0.1)


def test_losses_of_chances_end_in_sigmoid():
    chances = 1 / (1 + np.exp(-X[:, 0]))
    net = regressor(loss="binary_crossentropy", epochs=40).fit(X, chances)
    assert net.model_.layers[-1].activation is keras.activations.sigmoid
    assert net.score(X, chances) > 0.5


def test_only_regressors_whose_builder_asks_have_such_a_layer():
    nets = [
        KerasClassifier(epochs=1).fit(X, Y > 0),
        regressor(asks_nothing, epochs=1).fit(X, Y),
        KerasForecaster("mlp", epochs=1, look_back=4).fit(X),
    ]
    for net in nets:
        assert not any(isinstance(one, models.OutputScaling) for one in net.model_.layers)
    assert isinstance(regressor(epochs=1).fit(X, Y).model_.layers[-1], models.OutputScaling)


def test_a_builder_asks_for_it_for_one_output_or_several():
    asked = []

    def build(input_shape, n_outputs, output_activation, output_scaling):
        asked.append(output_scaling)
        x = inputs = keras.Input(input_shape)
        x = keras.layers.Dense(8, activation="relu")(x)
        outputs = {}
        for name, n in n_outputs.items():
            out = keras.layers.Dense(n, activation=output_activation[name])(x)
            outputs[name] = out if output_scaling[name] is None else output_scaling[name](out)
        return keras.Model(inputs, outputs)

    y = {"far": 1e6 * Y, "count": COUNTS}
    net = regressor(
        build, loss={"far": "mse", "count": "poisson"}, epochs=30, optimizer__learning_rate=0.01
    ).fit(X, y)
    assert sorted(asked[-1]) == ["count", "far"]
    predicted = net.predict(X)
    assert np.corrcoef(predicted["far"], y["far"])[0, 1] > 0.9
    assert predicted["count"].min() > 0
    labels = {"far": 1e6 * Y, "label": np.where(Y > 0, "yes", "no")}
    classifier = KerasClassifier(build, epochs=2, random_state=0).fit(X, labels)
    assert asked[-1]["label"] is None
    assert abs(classifier.predict(X)["far"].mean()) < 1e7


def test_streams_and_partial_fit_take_the_first_batch():
    y = 1e5 * Y + 3e5
    net = regressor(epochs=2).fit(lambda: ((X[i : i + 40], y[i : i + 40]) for i in (0, 40, 80)))
    assert net.model_.layers[-1].offset.numpy() == pytest.approx(y[:40].mean(), rel=1e-4)
    part = regressor().partial_fit(X[:40], y[:40])
    part.partial_fit(X[40:], 2 * y[40:])
    assert part.model_.layers[-1].offset.numpy() == pytest.approx(y[:40].mean(), rel=1e-4)


def test_going_on_keeps_the_constants():
    net = regressor(warm_start=True, epochs=1).fit(X, Y + 5)
    before = net.model_.layers[-1].get_weights()
    net.fit(X, 9 * Y)
    for one, other in zip(before, net.model_.layers[-1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_either_engine_learns_the_same(engine):
    expected = regressor(epochs=3).fit(X, 1e3 * Y).predict(X)
    net = regressor(epochs=3, engine=engine).fit(X, 1e3 * Y)
    np.testing.assert_array_equal(net.predict(X), expected)


def test_sparse_rows_and_two_dimensions_of_y_are_scaled():
    net = regressor(epochs=20).fit(csr_array(X), 1e5 * Y[:, None])
    assert net.predict(csr_array(X)).shape == (120, 1)
    assert net.score(X, 1e5 * Y[:, None]) > 0.5


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_targets_beyond_the_floats_of_a_net_end_as_a_divergence():
    with pytest.raises(DivergenceError):
        regressor(epochs=1).fit(X, 1e300 * (Y + 2))


def test_gradients_of_predictions_are_those_of_the_function():
    import tensorflow as tf

    net = regressor("linear", epochs=2).fit(X, 1e5 * Y)
    rows = tf.constant(X[:3], "float32")
    with tf.GradientTape() as tape:
        tape.watch(rows)
        outputs = net.model_(rows)
    kernel = net.model_.layers[0].kernel.numpy()[:, 0]
    expected = kernel * net.model_.layers[-1].scale.numpy()
    np.testing.assert_allclose(tape.gradient(outputs, rows)[0], expected, rtol=1e-5)


def test_targets_whose_digits_float32_loses_are_told():
    with pytest.warns(UserWarning, match="y is so far from 0.*TransformedTargetRegressor"):
        regressor(epochs=1).fit(X, Y + 1e8)


def test_a_preset_tells_that_it_has_one_output():
    with pytest.raises(BuilderError, match="y has the outputs .'a', 'b'.*Write a builder"):
        regressor(epochs=1).fit(X, {"a": Y, "b": Y})
