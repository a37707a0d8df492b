"""Losses of the user's own: outputs of another shape than y, and NaN in y that they leave out."""

import keras
import numpy as np
import pytest
from sklearn.metrics import make_scorer, mean_pinball_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from skkeras import KerasClassifier, KerasForecaster, KerasRegressor, data

ops = keras.ops
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype("float32")
VALUES = X[:, 0] + RNG.normal(scale=0.5, size=120)
QUANTILES = np.array([0.1, 0.5, 0.9], "float32")


def units(n, activation=None):
    return lambda: keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(n, activation=activation)]
    )


def regressor(model, **parameters):
    return KerasRegressor(
        model, **{"epochs": 60, "optimizer__learning_rate": 0.05, "random_state": 0, **parameters}
    )


def pinball(true, predicted):
    error = true - predicted
    return ops.mean(ops.maximum(QUANTILES * error, (QUANTILES - 1) * error), -1)


def pinball_of_rows(true, predicted):
    return pinball(true[:, None], predicted)


class Pinball(keras.losses.Loss):
    def call(self, true, predicted):
        return pinball(true, predicted)


@pytest.mark.parametrize("loss", [pinball, pinball_of_rows, Pinball()])
@pytest.mark.parametrize("shape", [(120,), (120, 1)], ids=str)
def test_quantiles_are_learnt_whichever_way_the_loss_takes_y(loss, shape):
    net = regressor(units(3), loss=loss).fit(X, VALUES.reshape(shape))
    predicted = net.predict(X)
    assert predicted.shape == (120, 3)
    np.testing.assert_allclose((VALUES[:, None] < predicted).mean(axis=0), QUANTILES, atol=0.1)
    pinballs = [mean_pinball_loss(VALUES, predicted[:, i], alpha=QUANTILES[i]) for i in range(3)]
    assert net.evaluate(X, VALUES)["loss"] == pytest.approx(np.mean(pinballs), rel=1e-4)


def test_loss_that_compared_all_rows_with_each_other_gets_the_other_shape():
    def by_row(true, predicted):  # of a column, this would be a matrix of all pairs of rows
        return ops.square(true - predicted[:, 0]) + ops.square(predicted[:, 1])

    def by_column(true, predicted):  # and this of a row
        return ops.mean(ops.square(true - predicted[:, :1]) + ops.square(predicted[:, 1:]))

    nets = [regressor(units(2), loss=loss).fit(X, VALUES) for loss in (by_row, by_column)]
    assert [net._facts.loss.y_shape for net in nets] == [(), (1,)]
    first, second = (net.predict(X) for net in nets)
    np.testing.assert_allclose(first, second, atol=1e-4)
    assert np.corrcoef(first[:, 0], VALUES)[0, 1] > 0.85


def test_mean_and_spread_of_each_row():
    def likelihood(true, predicted):
        mean, log_spread = predicted[:, 0], predicted[:, 1]
        return log_spread + ops.square((true - mean) / ops.exp(log_spread)) / 2

    y = X[:, 0] + RNG.normal(size=120) * np.exp(X[:, 1])
    net = regressor(units(2), loss=likelihood, epochs=150).fit(X, y)
    assert np.corrcoef(net.predict(X)[:, 1], X[:, 1])[0, 1] > 0.8


def test_censored_times_have_one_risk():
    def likelihood(true, predicted):
        return ops.exp(predicted[:, 0]) * true[:, 0] - true[:, 1] * predicted[:, 0]

    times = RNG.exponential(np.exp(-X[:, 0]))
    y = np.column_stack([np.minimum(times, 2), times < 2])
    net = regressor(units(1), loss=likelihood, epochs=100).fit(X, y)
    assert net.predict(X).shape == (120, 1)
    assert np.corrcoef(net.predict(X)[:, 0], X[:, 0])[0, 1] > 0.8


def test_ordered_classes_have_a_threshold_each():
    def ordinal(true, predicted):
        above = ops.cast(true[:, None] > np.arange(2, dtype="float32"), "float32")
        return ops.mean(ops.binary_crossentropy(above, predicted), -1)

    class Ordinal(KerasClassifier):
        def predict(self, X):
            return self.classes_[(super().predict(X) > 0.5).sum(axis=1)]

    y = np.array(["a low", "b middle", "c high"])[np.digitize(VALUES, [-0.5, 0.5])]
    given = {"loss": ordinal, "epochs": 60, "optimizer__learning_rate": 0.05, "random_state": 0}
    plain = KerasClassifier(units(2, "sigmoid"), **given).fit(X, y)
    assert plain.predict(X).shape == (120, 2)
    with pytest.raises(ValueError, match="another shape than y has classes.*loss='ordinal'"):
        plain.predict_proba(X)
    assert Ordinal(units(2, "sigmoid"), **given).fit(X, y).score(X, y) > 0.6


def test_net_with_a_loss_of_its_own_decides_about_shapes():
    class Spread(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(2)

        def call(self, inputs):
            return self.last(inputs)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred[:, 0]))

    def build():
        net = Spread()
        net.compile(keras.optimizers.Adam(0.05))
        return net

    predicted = KerasRegressor(build, epochs=40, random_state=0).fit(X, VALUES).predict(X)
    assert predicted.shape == (120, 2)
    assert np.corrcoef(predicted[:, 0], VALUES)[0, 1] > 0.85


def test_score_tells_how_to_score_what_it_cannot_compare():
    net = regressor(units(3), loss=pinball, epochs=1)
    with pytest.raises(ValueError, match=r"shape \(120, 3\).*y \(120,\).*scoring"):
        net.fit(X, VALUES).score(X, VALUES)

    def middle(true, predicted):
        return r2_score(true, predicted[:, 1])

    search = GridSearchCV(net, {"epochs": [1, 60]}, scoring=make_scorer(middle), cv=2)
    assert search.fit(X, VALUES).best_params_ == {"epochs": 60}


def test_keras_losses_and_forecasters_still_want_one_shape():
    with pytest.raises(ValueError, match=r"outputs have shape \(None, 3\); y asks for \(None, 1\)"):
        regressor(units(3), loss="mae").fit(X, VALUES)

    def flat():
        return keras.Sequential(
            [keras.Input((5, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
        )

    with pytest.raises(ValueError, match=r"outputs have shape \(None, 3\); y asks for"):
        KerasForecaster(flat, look_back=5, loss=pinball, epochs=1).fit(VALUES[:, None])


# --- NaN in y --------------------------------------------------------------------------------


def masked(true, predicted):
    error = ops.nan_to_num(true) - predicted
    return ops.mean(ops.where(ops.isnan(true), 0.0, ops.square(error)), -1)


def with_holes(y):
    return np.where(y > 1, np.nan, y)


@pytest.mark.parametrize("wrap", [np.asarray, data.lazy])
def test_nan_in_y_is_left_out_by_loss_and_score(wrap):
    y, known = with_holes(VALUES), VALUES <= 1
    net = regressor("linear", loss=masked, allow_nan_targets=True).fit(wrap(X), wrap(y))
    predicted = net.predict(X)
    assert np.isfinite(predicted).all()
    assert net.score(X, y) == pytest.approx(r2_score(y[known], predicted[known]))
    assert net.score(X, y) > 0.5


def test_nan_in_some_columns_leaves_the_others():
    y = np.column_stack([with_holes(VALUES), VALUES])
    net = regressor("linear", loss=masked, allow_nan_targets=True).fit(X, y)
    predicted, known = net.predict(X), VALUES <= 1
    scores = r2_score(y[known, 0], predicted[known, 0]), r2_score(y[:, 1], predicted[:, 1])
    assert net.score(X, y) == pytest.approx(np.mean(scores))
    assert cross_val_score(net, X, y, cv=2).min() > 0.3


def test_nan_of_numbers_beside_classes():
    def build():
        inputs = keras.Input((4,))
        kind = keras.layers.Dense(1, activation="sigmoid", name="kind")(inputs)
        return keras.Model(
            inputs, {"kind": kind, "size": keras.layers.Dense(1, name="size")(inputs)}
        )

    y = {"kind": X[:, 1] > 0, "size": with_holes(VALUES)}
    loss = {"kind": "binary_crossentropy", "size": masked}
    net = KerasClassifier(build, loss=loss, epochs=30, allow_nan_targets=True, random_state=0)
    assert np.isfinite(net.fit(X, y).score(X, y))


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"loss": masked}, "Input y contains NaN.*allow_nan_targets=True"),
        ({"allow_nan_targets": True}, "y has NaN in it, of which loss='mean_squared_error'"),
        ({"allow_nan_targets": "yes"}, "allow_nan_targets='yes'; expected one of"),
    ],
)
def test_nan_in_y_needs_the_word_and_a_loss_of_ones_own(parameters, message):
    with pytest.raises(ValueError, match=message):
        regressor("linear", **parameters).fit(X, with_holes(VALUES))


def test_infinity_in_y_is_never_allowed():
    net = regressor("linear", loss=masked, allow_nan_targets=True)
    with pytest.raises(ValueError, match="Input y contains infinity"):
        net.fit(X, np.where(VALUES > 1, np.inf, VALUES))
