"""The presets: nets that train, shapes they take, and errors that name the parameter."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skkeras import models

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

SHAPES = {
    "mlp": (4,),
    "tabular": (4,),
    "cnn": (8, 8, 1),
    "lstm": (5, 3),
    "gru": (5, 3),
    "linear": (4,),
    "nlinear": (5, 3),
    "dlinear": (5, 3),
    "nlinear_mlp": (5, 3),
    "tcn": (5, 3),
}
WITH_HIDDEN_LAYERS = ["mlp", "cnn", "lstm", "gru"]


def layer_types(net):
    return [type(layer) for layer in net.layers]


def test_import_leaves_tensorflow_out():
    code = "import sys, skkeras.models; print({'tensorflow', 'keras'} & set(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "set()"


def test_presets_are_all_here():
    assert set(models.PRESETS) == set(SHAPES)
    assert all(models.find_preset(name) is getattr(models, name) for name in SHAPES)


def test_presets_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        models.PRESETS["mine"] = models.mlp


@pytest.mark.parametrize(
    "name, nearest", [("mpl", "mlp"), ("MLP", "mlp"), ("ltsm", "lstm"), ("liner", "linear")]
)
def test_unknown_preset_names_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=rf"model='{name}'.*Did you mean '{nearest}'\?"):
        models.find_preset(name)


@pytest.mark.parametrize("name", models.PRESETS)
@pytest.mark.parametrize("n_outputs, output_activation", [(1, "sigmoid"), (3, "softmax")])
def test_preset_ends_in_the_output_layer_asked_for(name, n_outputs, output_activation):
    net = models.PRESETS[name](
        input_shape=SHAPES[name], n_outputs=n_outputs, output_activation=output_activation
    )
    assert net.input_shape == (None, *SHAPES[name])
    assert net.output_shape == (None, n_outputs)
    assert net.layers[-1].activation is keras.activations.get(output_activation)
    assert not net.compiled


@pytest.mark.parametrize("name", models.PRESETS)
def test_two_calls_share_nothing(name):
    first, second = (models.PRESETS[name](SHAPES[name], 1, "linear") for _ in range(2))
    assert not {id(layer) for layer in first.layers} & {id(layer) for layer in second.layers}


@pytest.mark.parametrize("name", models.PRESETS)
def test_preset_survives_the_config_that_saving_uses(name):
    net = models.PRESETS[name](SHAPES[name], 3, "softmax")
    twin = keras.models.model_from_json(net.to_json())
    assert layer_types(twin) == layer_types(net)
    assert twin.count_params() == net.count_params()


@pytest.mark.parametrize("name", ["mlp", "tabular", "linear"])
@pytest.mark.parametrize("input_shape", [(4,), (3, 4), (2, 3, 4)])
def test_presets_for_rows_flatten_rows_of_any_rank(name, input_shape):
    net = models.PRESETS[name](input_shape, 1, "linear")
    assert net(np.ones((2, *input_shape), "float32")).shape == (2, 1)


@pytest.mark.parametrize("input_shape", [(8, 8), (8, 8, 1), (1, 1, 1), (5, 9, 2), (32, 32, 3)])
def test_cnn_takes_images_of_any_size_with_or_without_channels(input_shape):
    net = models.cnn(input_shape, 10, "softmax", filters=(4, 4, 4, 4))
    assert net(np.ones((2, *input_shape), "float32")).shape == (2, 10)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_presets_take_sequences_of_any_length(name):
    net = models.PRESETS[name]((None, 3), 1, "linear", units=(4, 2))
    assert net(np.ones((2, 7, 3), "float32")).shape == (2, 1)


@pytest.mark.parametrize("name", ["mlp", "tabular", "lstm", "gru"])
@pytest.mark.parametrize("units", [(6, 4), [6, 4], np.array([6, 4]), (np.int64(6), np.int32(4))])
def test_units_can_be_a_sequence_of_any_kind(name, units):
    net = models.PRESETS[name](SHAPES[name], 1, "linear", units=units)
    sizes = [layer.units for layer in net.layers if hasattr(layer, "units")]
    assert sizes == [6, 4, 1]
    net.to_json()


@pytest.mark.parametrize("name", ["mlp", "tabular", "lstm", "gru"])
@pytest.mark.parametrize("units", [6, np.int64(6), (6,)])
def test_one_number_of_units_makes_one_layer(name, units):
    net = models.PRESETS[name](SHAPES[name], 1, "linear", units=units)
    assert [layer.units for layer in net.layers if hasattr(layer, "units")] == [6, 1]


@pytest.mark.parametrize("size", [2, np.int64(2), (2, 3), [2, 3]])
def test_cnn_windows_are_numbers_or_pairs(size):
    net = models.cnn((8, 8), 1, "linear", kernel_size=size, pool_size=size)
    convolution = next(layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D))
    assert convolution.kernel_size == ((2, 2) if np.ndim(size) == 0 else (2, 3))
    net.to_json()


def test_cnn_filters_make_the_convolutions_and_units_the_dense_layers():
    net = models.cnn((8, 8), 3, "softmax", filters=5, units=(7, 6))
    filters = [layer.filters for layer in net.layers if hasattr(layer, "filters")]
    units = [layer.units for layer in net.layers if hasattr(layer, "units")]
    assert (filters, units) == ([5], [7, 6, 3])


@pytest.mark.parametrize("name", WITH_HIDDEN_LAYERS)
@pytest.mark.parametrize(
    "normalization, layer",
    [("layer", keras.layers.LayerNormalization), ("batch", keras.layers.BatchNormalization)],
)
def test_normalization_follows_every_layer_it_is_meant_for(name, normalization, layer):
    sizes = {"filters" if name == "cnn" else "units": (6, 4)}
    net = models.PRESETS[name](SHAPES[name], 1, "linear", normalization=normalization, **sizes)
    kinds = layer_types(net)
    normalised = [kinds[i - 1] for i, kind in enumerate(kinds) if kind is layer]
    expected = {
        "mlp": keras.layers.Dense,
        "cnn": keras.layers.Conv2D,
        "lstm": keras.layers.LSTM,
        "gru": keras.layers.GRU,
    }[name]
    assert normalised == [expected] * 2


@pytest.mark.parametrize("name", WITH_HIDDEN_LAYERS)
def test_dropout_acts_in_training_only(name):
    net = models.PRESETS[name](SHAPES[name], 2, "linear", dropout=0.5)
    assert [x.rate for x in net.layers if isinstance(x, keras.layers.Dropout)] == [0.5]
    row = np.ones((1, *SHAPES[name]), "float32")
    drawn = {tuple(np.ravel(net(row, training=True))) for _ in range(8)}
    assert len(drawn) > 1
    np.testing.assert_array_equal(net(row), net(row))


@pytest.mark.parametrize("name", WITH_HIDDEN_LAYERS)
def test_no_dropout_leaves_no_layer_behind(name):
    assert keras.layers.Dropout not in layer_types(models.PRESETS[name](SHAPES[name], 1, "linear"))


@pytest.mark.parametrize("name", WITH_HIDDEN_LAYERS)
@pytest.mark.parametrize("activation", ["gelu", np.tanh.__name__, None, keras.activations.elu])
def test_activation_is_a_name_or_a_function(name, activation):
    net = models.PRESETS[name](SHAPES[name], 1, "linear", activation=activation)
    wanted = keras.activations.get(activation)
    assert any(getattr(layer, "activation", "") is wanted for layer in net.layers[:-1])


BAD = [
    ("units", 0),
    ("units", -3),
    ("units", 2.5),
    ("units", True),
    ("units", "64"),
    ("units", None),
    ("units", ()),
    ("units", (64, 0)),
    ("units", np.array([[3, 4]])),
    ("dropout", 1.5),
    ("dropout", 1),
    ("dropout", -0.1),
    ("dropout", float("nan")),
    ("dropout", "0.2"),
    ("dropout", None),
    ("dropout", True),
    ("normalization", "foo"),
    ("normalization", True),
    ("activation", "foo"),
    ("activation", 3),
    ("activation", keras.layers.PReLU),
    ("activation", keras.layers.PReLU()),
]
BAD_FOR_CNN = [
    ("filters", 0),
    ("filters", (32, 0)),
    ("kernel_size", 0),
    ("kernel_size", 2.5),
    ("kernel_size", (3, 3, 3)),
    ("pool_size", 0),
    ("pool_size", None),
]


@pytest.mark.parametrize(
    "name, parameter, value",
    [(name, *case) for name in WITH_HIDDEN_LAYERS for case in BAD]
    + [("cnn", *case) for case in BAD_FOR_CNN]
    + [("tabular", *case) for case in BAD if case[0] in ("units", "activation")],
)
def test_bad_hyperparameter_is_an_error_that_names_it(name, parameter, value):
    with pytest.raises(ValueError, match=rf"^Got {parameter}=.*; expected "):
        models.PRESETS[name](SHAPES[name], 1, "linear", **{parameter: value})


@pytest.mark.parametrize("name", WITH_HIDDEN_LAYERS)
def test_layer_normalization_of_one_unit_is_refused_for_it_would_be_constant(name):
    sizes = {"filters" if name == "cnn" else "units": (4, 1)}
    with pytest.raises(ValueError, match=rf"normalization='layer' and {next(iter(sizes))}="):
        models.PRESETS[name](SHAPES[name], 1, "linear", normalization="layer", **sizes)


@pytest.mark.parametrize(
    "name, input_shape, expected",
    [
        ("cnn", (64,), r"\(height, width\)"),
        ("cnn", (4, 8, 8, 1), r"\(height, width\)"),
        ("cnn", (None, 8, 1), "known"),
        ("lstm", (24,), r"\(steps, features\)"),
        ("nlinear", (24,), r"\(steps, features\)"),
        ("dlinear", (None, 3), "known"),
        ("gru", (8, 8, 3), r"\(steps, features\)"),
        ("gru", (8, None), "known"),
        ("mlp", (None, 4), "known"),
        ("linear", (None,), "known"),
        *[(name, (), "or more") for name in models.PRESETS],
    ],
)
def test_shape_that_a_preset_cannot_take_is_an_error_that_names_both(name, input_shape, expected):
    with pytest.raises(ValueError, match=rf"input_shape=\(.*expected .*{expected}.*'{name}'"):
        models.PRESETS[name](input_shape, 1, "linear")


@pytest.mark.parametrize(
    "name, parameter, value",
    [
        ("dlinear", "kernel_size", 0),
        ("nlinear_mlp", "units", 0),
        ("nlinear_mlp", "dropout", 1.0),
        ("nlinear_mlp", "activation", "foo"),
        ("tcn", "filters", ()),
        ("tcn", "kernel_size", 2.5),
        ("tcn", "dropout", 1.5),
        ("tcn", "activation", "foo"),
    ],
)
def test_bad_hyperparameter_of_a_forecasting_preset_is_an_error(name, parameter, value):
    with pytest.raises(ValueError, match=rf"^Got {parameter}=.*; expected "):
        models.PRESETS[name](SHAPES[name], 1, "linear", **{parameter: value})


@pytest.mark.parametrize("name", ["nlinear", "dlinear"])
def test_channels_share_weights_and_levels_pass_through(name):
    net = models.PRESETS[name]((30, 2), 6, "linear")
    window = np.random.default_rng(0).normal(size=(1, 30, 2)).astype("float32")
    ahead = np.reshape(net(window), (3, 2))
    np.testing.assert_allclose(
        np.reshape(net(window[..., ::-1]), (3, 2)), ahead[:, ::-1], rtol=1e-5
    )
    if name == "nlinear":
        np.testing.assert_allclose(np.reshape(net(window + 9), (3, 2)), ahead + 9, rtol=1e-4)


@pytest.mark.parametrize("meta", [None, {"target_columns_": [1]}, {"target_columns_": [2, 0]}])
def test_the_forecasters_default_begins_as_the_last_value(meta):
    own = [0, 1, 2] if meta is None else meta["target_columns_"]
    net = models.nlinear_mlp((5, 3), 2 * len(own), "linear", meta=meta)
    window = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    expected = np.tile(window[:, -1, own], 2)
    np.testing.assert_allclose(net(window), expected, rtol=1e-6)


def test_the_forecasters_default_has_a_hidden_layer_for_covariates_alone():
    def n_hidden(**parameters):
        net = models.nlinear_mlp((5, 3), 6, "linear", **parameters)
        return sum(
            getattr(layer, "activation", None) is keras.activations.relu for layer in net.layers
        )

    assert n_hidden() == 0
    assert n_hidden(meta={"target_columns_": [0, 2]}, units=(8, 4)) == 2


@pytest.mark.parametrize("name", ["nlinear", "dlinear", "nlinear_mlp"])
def test_channels_that_are_not_forecast_count_too(name):
    net = models.PRESETS[name]((5, 3), 2, "linear", meta={"target_columns_": [1]})
    for weight in net.trainable_variables if name == "nlinear_mlp" else ():  # some begin with zeros
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    window = np.zeros((1, 5, 3), "float32")
    other = window.copy()
    other[:, -1, 2] = 1
    assert net.output_shape == (None, 2)
    assert np.any(np.asarray(net(window)) != np.asarray(net(other)))


def test_tcn_sees_nothing_later_than_the_last_step_and_all_before_it():
    net = models.tcn((30, 1), 1, "linear", activation="tanh")
    window = np.zeros((1, 30, 1), "float32")
    changed = window.copy()
    changed[0, 1] = 1
    assert np.any(np.asarray(net(window)) != np.asarray(net(changed)))


@pytest.mark.parametrize("name", models.PRESETS)
@pytest.mark.parametrize("input_shape", [{"a": (3,), "b": (2,)}, None, 4])
def test_several_inputs_need_a_builder(name, input_shape):
    with pytest.raises(TypeError, match="input_shape=.*Write a builder"):
        models.PRESETS[name](input_shape, 1, "linear")


def test_cnn_reads_digits():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8) / 16
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    keras.utils.set_random_seed(0)
    net = models.cnn((8, 8), 10, "softmax")
    net.compile("adam", "sparse_categorical_crossentropy")
    net.fit(X_train, y_train, batch_size=32, epochs=15, verbose=0)
    accuracy = np.mean(net.predict(X_test, verbose=0).argmax(axis=1) == y_test)
    assert accuracy > 0.97


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_preset_learns_what_only_the_order_tells(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 8, 1)).astype("float32")
    y = (X[:, 0, 0] > X[:, -1, 0]).astype("float32")
    keras.utils.set_random_seed(0)
    net = models.PRESETS[name]((8, 1), 1, "sigmoid", units=16)
    net.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy")
    net.fit(X[:300], y[:300], batch_size=32, epochs=20, verbose=0)
    accuracy = np.mean((net.predict(X[300:], verbose=0)[:, 0] > 0.5) == y[300:])
    assert accuracy > 0.85
