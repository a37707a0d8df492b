"""The preset for tables: scaling by the training rows, rates of its layers, shared programs."""

import pickle
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from skkeras import KerasClassifier, KerasRegressor, cache_info, clear_cache, data, models
from skkeras.models import LearntScaling, NTKDense, RobustScaling

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)) * [1e-3, 1, 1e3] + [0, 5, 1e4]
Y = X[:, 0] * 1e3 + X[:, 1]


def regressor(**parameters):
    return KerasRegressor("tabular", model__units=8, random_state=0, **{"epochs": 3, **parameters})


def scaling_of(net):
    return [np.asarray(weight) for weight in net.model_.get_layer("scaling").weights]


def scaled(rows, **parameters):
    layer = RobustScaling(**parameters)
    layer.build((None, rows.shape[1]))
    layer.adapt(rows)
    return np.asarray(layer(rows))


def test_columns_are_scaled_by_their_medians_and_interquartile_ranges():
    rows = np.arange(101.0)[:, None] * [1, 1e3]
    np.testing.assert_allclose(scaled(rows, limit=1e6)[[0, 50, 75, 100], 0], [-1, 0, 0.5, 1])
    np.testing.assert_allclose(*scaled(rows).T, rtol=1e-5)


def test_outliers_are_clipped_smoothly_and_constant_columns_are_zero():
    rows = np.column_stack([[*range(99), 1e9], np.full(100, 7.0)])
    outputs = scaled(rows)
    assert 2.99 < outputs[:, 0].max() <= 3
    assert np.all(np.diff(outputs[:, 0]) > 0)
    assert np.all(outputs[:, 1] == 0)


def test_a_rare_category_still_counts():
    rows = np.zeros((100, 1))
    rows[:2] = 1
    assert np.ptp(scaled(rows)) > 1


def test_held_out_rows_do_not_reach_the_scaling():
    rows, fold = X.copy(), np.where(np.arange(60) < 20, 0, -1)
    rows[:20] *= 1e6
    net = regressor(validation_split=PredefinedSplit(fold)).fit(rows, Y)
    np.testing.assert_allclose(scaling_of(net)[0], np.median(X[20:], axis=0), rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_of_columns_do_not_matter(factor):
    outputs = [regressor().fit(rows, Y).predict(rows) for rows in (X, X * factor)]
    np.testing.assert_allclose(*outputs, rtol=1e-2)


def test_training_changes_neither_medians_nor_ranges():
    net = regressor(warm_start=True).fit(X, Y)
    before = scaling_of(net)
    net.fit(X * 2, Y)
    np.testing.assert_array_equal(scaling_of(net), before)


def test_folds_share_a_program_and_keep_their_own_scaling():
    clear_cache()
    n_made = cache_info().n_made
    alone = regressor().fit(X[:40], Y[:40]).predict(X)
    regressor().fit(X[20:] * 3, Y[20:])
    again = regressor().fit(X[:40], Y[:40])
    np.testing.assert_array_equal(again.predict(X), alone)
    assert cache_info().n_made == n_made + 1


def test_both_engines_train_to_the_same_bits():
    nets = [regressor(engine=engine).fit(X, Y) for engine in ("compiled", "keras")]
    for one, other in zip(*(net.model_.get_weights() for net in nets), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_biases_and_factors_are_learnt_at_rates_of_their_own():
    net = keras.Sequential([keras.Input((2,)), LearntScaling(), NTKDense(1)])
    net.compile(keras.optimizers.Adam(0.01), "mse")

    def parts():
        factors, kernel, bias = net.get_weights()
        return [6 * factors, kernel, 0.1 * bias]

    before = parts()
    net.train_on_batch(np.ones((4, 2)), np.full((4, 1), 100.0))
    moved = [np.abs(b - a).max() for a, b in zip(before, parts(), strict=True)]
    np.testing.assert_allclose(moved, [0.06, 0.01, 0.001], rtol=1e-3)


def test_it_begins_at_one_prediction_for_all_rows():
    net = models.tabular((3,), 2, "softmax", n_classes=2, X=X)
    np.testing.assert_array_equal(net(X.astype("float32")), np.full((60, 2), 0.5))


def test_activations_differ_for_classes_and_numbers():
    names = [
        models.tabular((3,), 1, "linear", n_classes=n).layers[3].activation.__name__
        for n in (2, None)
    ]
    assert names == ["selu", "mish"]


@pytest.mark.parametrize(
    "rows",
    [
        X.astype("float32"),
        pd.DataFrame(X, columns=["a", "b", "c"]),
        sparse.csr_array(X),
        data.lazy(X),
        X > 5,
        X.astype(int),
    ],
    ids=["float32", "DataFrame", "sparse", "lazy", "bool", "int"],
)
def test_it_takes_every_kind_of_table(rows):
    net = regressor().fit(rows, Y)
    assert np.isfinite(net.predict(rows)).all()


def test_a_stream_has_no_rows_to_scale_by():
    with pytest.raises(ValueError, match="asks for X.*batches"):
        regressor().fit(lambda: iter([(X, Y)]))


def test_half_precision_keeps_columns_in_their_own_units():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = regressor().fit(X * 1e6, Y)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(net.predict(X * 1e6)).all()


def test_copies_and_pickles_keep_the_scaling():
    net = regressor().fit(X, Y)
    twin = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    np.testing.assert_array_equal(scaling_of(twin), scaling_of(net))
    twin.partial_fit(X, Y)


def test_keras_loads_the_saved_model_in_another_process(tmp_path):
    net = regressor().fit(X, Y)
    net.model_.save(tmp_path / "net.keras")
    code = (
        "import sys, keras, numpy; from skkeras.models import NTKDense;"
        "net = keras.models.load_model(sys.argv[1]);"
        "print(float(net.predict(numpy.array([[0.0, 5.0, 1e4]]), verbose=0)[0, 0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "net.keras"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-500:]
    here = net.model_.predict(np.array([[0.0, 5.0, 1e4]]), verbose=0)[0, 0]
    assert float(done.stdout.split()[-1]) == pytest.approx(here, rel=1e-5)


def test_labels_of_three_classes_are_learnt():
    labels = np.digitize(X[:, 1], [4.5, 5.5])
    net = KerasClassifier("tabular", model__units=32, epochs=60, random_state=0)
    outputs = cross_val_predict(net, X, labels, cv=3)
    assert np.mean(outputs == labels) > 0.8


def test_rows_of_no_weight_do_not_scale_columns():
    far = np.concatenate([X, 1e6 * X])
    weight = np.repeat([1.0, 0.0], len(X))
    nets = [
        regressor(epochs=1, early_stopping=False).fit(X, Y),
        regressor(epochs=1, early_stopping=False).fit(far, np.tile(Y, 2), sample_weight=weight),
    ]
    factors = [net.model_.get_layer("scaling").factor.numpy() for net in nets]
    np.testing.assert_allclose(*factors, rtol=1e-6)
