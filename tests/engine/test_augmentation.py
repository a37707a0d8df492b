"""augment changes what a net is trained on, and nothing else."""

import functools

import joblib
import keras
import numpy as np
import pytest
from scipy import ndimage
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skkeras import KerasClassifier, KerasForecaster, KerasRegressor, data
from skkeras._engine.augmentation import make_augmentation

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(64, 8, 8, 1)).astype("float32")
LABELS = (IMAGES[:, :4].mean(axis=(1, 2, 3)) > 0).astype(int)


def lazy(images):
    return data.lazy(images).with_sizes(block_bytes=1024, shuffle_bytes=4096)


def rotated(x, rng):
    """Rotate each image by up to 20 degrees."""
    angles = rng.uniform(-20, 20, size=len(x))
    turned = [
        ndimage.rotate(image, angle, reshape=False, order=1)
        for image, angle in zip(x, angles, strict=True)
    ]
    return np.stack(turned)


def flips():
    return keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1)])


def net(augment, **parameters):
    defaults = {"epochs": 2, "batch_size": 16, "random_state": 0, "model__filters": (2,)}
    return KerasClassifier("cnn", augment=augment, **defaults | parameters)


def weights(fitted):
    return np.concatenate([w.ravel() for w in fitted.model_.get_weights()])


@pytest.mark.parametrize("make", [lambda: rotated, flips], ids=["function", "layers"])
@pytest.mark.parametrize("wrap", [np.asarray, lazy], ids=["in memory", "lazy"])
def test_the_seed_decides_whatever_runs_at_the_same_time(make, wrap):
    X, augment = wrap(IMAGES), make()
    one = net(augment).fit(X, LABELS)
    again = [clone(one) for _ in range(3)]
    joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(copy.fit)(X, LABELS) for copy in again
    )
    for copy in again:
        np.testing.assert_array_equal(weights(one), weights(copy))
    assert not np.array_equal(
        weights(one), weights(clone(one).set_params(random_state=1).fit(X, LABELS))
    )
    assert not np.array_equal(weights(one), weights(net(None).fit(X, LABELS)))


def test_the_order_of_rows_is_the_one_without_augmentation():
    same, plain = (net(augment, epochs=1).fit(IMAGES, LABELS) for augment in (lambda x: x, None))
    np.testing.assert_array_equal(weights(same), weights(plain))


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_batches_are_changed_one_by_one_as_the_net_gets_them(engine):
    seen = []

    def note(x, rng):
        seen.append((x.shape, x.dtype, float(rng.random())))
        return x

    net(note, engine=engine, epochs=2, batch_size=24).fit(IMAGES.astype("float64"), LABELS)
    shapes = [shape for shape, _, _ in seen]
    assert shapes == [(24, 8, 8, 1), (24, 8, 8, 1), (16, 8, 8, 1)] * 2
    assert {dtype for _, dtype, _ in seen} == {np.dtype("float32")}
    assert len({number for _, _, number in seen}) == 6  # other numbers for every step


@pytest.mark.parametrize("wrap", [np.asarray, lazy], ids=["in memory", "lazy"])
@pytest.mark.parametrize("options", [{"validation_split": 0.25}, {"early_stopping": True}])
def test_validation_and_prediction_rows_are_left_alone(wrap, options):
    X, ids = wrap(np.arange(64, dtype="float32")[:, None]), []

    def note(x):
        ids.extend(x.ravel().tolist())
        return x

    fitted = KerasRegressor("linear", augment=note, epochs=1, random_state=0, **options)
    fitted.fit(X, np.zeros(64))
    n_seen = len(ids)
    assert n_seen == len(set(ids)) < 64
    fitted.predict(X), fitted.score(X, np.zeros(64)), fitted.evaluate(X, np.zeros(64))
    assert len(ids) == n_seen


def test_the_callers_rows_stay_as_they_are():
    def write(x, rng):
        x += 1
        return x

    for X in (IMAGES.copy(), lazy(IMAGES.copy())):
        net(write).fit(X, LABELS)
        np.testing.assert_array_equal(np.asarray(X), IMAGES)


def test_further_epochs_are_augmented_anew():
    seen = []

    def note(x, rng):
        seen.append(rng.random())
        return x

    fitted = net(note, epochs=2, batch_size=64, warm_start=True).fit(IMAGES, LABELS)
    fitted.partial_fit(IMAGES, LABELS).fit(IMAGES, LABELS)
    assert len(set(seen)) == 5


def named_net(augment, **parameters):
    def build(meta):
        inputs = {name: keras.Input((2,), name=name) for name in "ab"}
        return keras.Model(
            inputs, keras.layers.Dense(1)(keras.layers.Concatenate()([*inputs.values()]))
        )

    return KerasRegressor(build, augment=augment, epochs=1, random_state=0, **parameters)


NAMED = {"a": np.ones((8, 2)), "b": np.zeros((8, 2))}


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("wrap", [np.asarray, lazy], ids=["in memory", "lazy"])
def test_several_inputs_are_changed_together(engine, wrap):
    def swap(x):
        return {"a": x["b"], "b": x["a"]}

    X = {name: wrap(values) for name, values in NAMED.items()}
    seen = named_net(swap, engine=engine).fit(X, np.ones(8))
    expected = named_net(None, engine=engine).fit(swap(NAMED), np.ones(8))
    np.testing.assert_array_equal(weights(seen), weights(expected))


def test_a_function_may_return_named_arrays():
    changed = make_augmentation(data.NamedArrays)(NAMED, 0)
    assert isinstance(changed, dict)
    np.testing.assert_equal(changed, NAMED)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_a_function_may_put_new_arrays_into_the_dict_that_it_gets(engine):
    def double(x):
        x["a"] = x["a"] * 2
        return x

    changed = named_net(double, engine=engine).fit(NAMED, np.ones(8))
    expected = named_net(None, engine=engine).fit({**NAMED, "a": NAMED["a"] * 2}, np.ones(8))
    np.testing.assert_array_equal(weights(changed), weights(expected))
    np.testing.assert_array_equal(NAMED["a"], np.ones((8, 2)))


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize(
    "augment, message",
    [
        (lambda x: {"a": x["a"]}, "a dict with 'a' for a dict with 'a', 'b'; .* same names"),
        (lambda x: {**x, "c": x["a"]}, "a dict with 'a', 'b', 'c' for a dict with 'a', 'b'"),
        (lambda x: x["a"], r"shape \(8, 2\) for a dict with 'a', 'b'; expected a dict"),
        (lambda x: [x["a"], x["b"]], "a list of 2 for a dict with 'a', 'b'"),
        (lambda x: None, "None for a dict with 'a', 'b'; .* return it"),
        (lambda x: {**x, "a": x["b"][:, 0]}, r"shape \(8,\) for 'a' of shape \(8, 2\)"),
        (lambda x: {**x, "a": None}, r"None for 'a' of shape \(8, 2\)"),
        (lambda x: {**x, "a": x["b"] * np.nan}, "NaN or infinity for 'a'"),
    ],
    ids=["lacks", "adds", "array", "list", "None", "shape", "None in it", "NaN"],
)
def test_what_does_not_fit_named_inputs_is_an_error(augment, message, engine):
    with pytest.raises(ValueError, match=f"augment returned {message}"):
        named_net(augment, engine=engine).fit(NAMED, np.zeros(8))


@pytest.mark.parametrize(
    "augment, message",
    [
        (lambda x: [x[0]], "a list of 1 for a list of 2; expected a list of as many"),
        (lambda x: x[0], r"shape \(8, 2\) for a list of 2"),
        (lambda x: {"a": x[0], "b": x[1]}, "a dict with 'a', 'b' for a list of 2"),
        (lambda x: [x[0], x[1].T], r"shape \(2, 8\) for the input at 1 of shape \(8, 2\)"),
    ],
)
def test_what_does_not_fit_a_list_of_inputs_is_an_error(augment, message):
    with pytest.raises(ValueError, match=f"augment returned {message}"):
        make_augmentation(augment)(list(NAMED.values()), 0)


@pytest.mark.parametrize("returned", [None, {"a": 1}, 3.0])
def test_what_is_no_array_is_called_what_it_is(returned):
    name = {dict: "a dict with 'a'", float: "a float"}.get(type(returned), "None")
    with pytest.raises(ValueError, match=f"augment returned {name} for a batch of shape"):
        net(lambda x: returned).fit(IMAGES, LABELS)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("layer", [keras.layers.GaussianNoise(0.1), flips()], ids=["one", "some"])
def test_a_layer_that_takes_no_dict_is_an_error_before_anything_is_trained(layer, engine):
    X = {name: np.ones((8, 2)) for name in "ab"}
    message = r"augment=.* raised .*Error for a dict with 'a', 'b'; expected a layer that takes"
    fitted = named_net(layer, engine=engine)
    with pytest.raises(TypeError, match=message):
        fitted.fit(X, np.zeros(8))
    assert not hasattr(fitted, "n_iter_")


def test_a_layer_for_one_of_several_inputs_is_made_as_the_error_says():
    inputs = {name: keras.Input((2,), name=name) for name in "ab"}
    layer, same = keras.layers.GaussianNoise(0.5), keras.layers.Identity()
    augment = keras.Model(inputs, {"a": layer(inputs["a"]), "b": same(inputs["b"])})
    one, again = (named_net(augment).fit(NAMED, np.ones(8)) for _ in range(2))
    np.testing.assert_array_equal(weights(one), weights(again))
    changed = make_augmentation(augment)(
        {name: values.astype("float32") for name, values in NAMED.items()}, 0
    )
    assert not np.array_equal(changed["a"], NAMED["a"])
    np.testing.assert_array_equal(changed["b"], NAMED["b"])


class Noise:
    """Two ways to draw, as a callable object and as a method."""

    def __call__(self, x, rng):
        return x + rng.random()

    def scaled(self, x, scale=1, *, generator=None):
        return x + scale * generator.random()

    def mirrored(self, x, mirror=False):
        return -x if mirror else x


def scaled(x, scale, rng):
    return x + scale * rng.random()


def own(x, rng=None):
    return x + rng.random()


def is_drawn(augment):
    """Tell whether an augmentation has random numbers, by the seed alone."""
    x = np.ones((1, 2))
    one, again, other = (make_augmentation(augment)(x, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert np.array_equal(one, x) or not np.array_equal(one, other)
    return not np.array_equal(one, x)


@pytest.mark.parametrize(
    "augment",
    [
        lambda x, rng: x + rng.random(),
        lambda x, numbers: x + numbers.random(),
        lambda x, random_state=None: x + random_state.random(),
        lambda x, generator=None, /: x + generator.random(),
        lambda x, scale=1, rng=None: x + scale * rng.random(),
        lambda x, *, rng: x + rng.random(),
        lambda x, *others: x + others[0].random(),
        lambda *both: both[0] + both[1].random(),
        Noise(),
        Noise().scaled,
        functools.partial(scaled, scale=2),
        functools.partial(lambda scale, x, rng: x + scale * rng.random(), 2),
    ],
)
def test_a_function_that_asks_for_the_generator_gets_it(augment):
    assert is_drawn(augment)


@pytest.mark.parametrize(
    "augment",
    [
        lambda x: x,
        lambda x, flip=False: -x if flip else x,
        lambda x, *, flip=False, **rest: -x if flip or rest else x,
        lambda rng: rng,
        Noise().mirrored,
        functools.partial(lambda x, flip: -x if flip else x, flip=False),
        np.positive,
    ],
)
def test_a_parameter_with_a_default_keeps_it(augment):
    assert not is_drawn(augment)


def test_a_generator_that_is_bound_is_the_one_that_is_used():
    drawn = make_augmentation(functools.partial(own, rng=np.random.default_rng(5)))
    expected = np.random.default_rng(5).random(2)
    assert [float(drawn(np.zeros(1), 0)[0]) for _ in range(2)] == expected.tolist()


def seen_by_an_integer_net(augment, dtype="uint8", X=200, **parameters):
    """Tell the values that a net with an integer input was trained on, by their mean."""

    def build(meta):
        inputs = keras.Input((4,), dtype=dtype)
        mean = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)
        return keras.Model(inputs, mean(keras.layers.Rescaling(0.25)(inputs)))

    still = {"loss": "mae", "optimizer": "sgd", "optimizer__learning_rate": 0.0, "epochs": 1}
    fitted = KerasRegressor(build, augment=augment, **still, **parameters)
    return fitted.fit(np.full((8, 4), X), np.zeros(8)).history_["loss"][0]


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize(
    "augment, expected",
    [
        (lambda x: x * 2.0, 255),
        (lambda x: x - 300.0, 0),
        (lambda x: x.astype("int64") + 100, 255),
        (lambda x: x - 0.4, 200),
        (lambda x: np.float16(x) * 2, 255),
        (keras.layers.Rescaling(2.0), 255),
        (keras.layers.Rescaling(2.0, dtype="bfloat16"), 255),
    ],
    ids=["too large", "too small", "int64", "fraction", "float16", "layer", "bfloat16"],
)
def test_results_for_an_integer_input_are_rounded_and_clipped(augment, expected, engine):
    assert seen_by_an_integer_net(augment, engine=engine) == expected


@pytest.mark.parametrize(
    "value",
    [
        *np.float16([-129, 1, 65504]),
        *np.float32([-1e30, -1, 2**31, 2**32, 2**63, 2**64, 1e30]),
        *np.float64([-(2**63), 2**31 - 1, 2**63, 2**64, 1e300]),
        *np.int8([-128, 127]),
        *np.int64([-(2**63), 2**32, 2**63 - 1]),
        *np.uint64([1, 2**63, 2**64 - 1]),
        np.True_,
    ],
    ids=lambda value: f"{value.dtype} {value}",
)
def test_no_result_wraps_around(value):
    augment = make_augmentation(lambda x: np.full(x.shape, value))
    for dtype in ("int8", "uint8", "int32", "uint32", "int64", "uint64"):
        changed, bounds = augment(np.zeros((1, 2), dtype), 0), np.iinfo(dtype)
        assert changed.dtype == dtype
        expected = min(max(int(value), bounds.min), bounds.max)
        # No float is the largest integer of 64 bits.
        assert int(changed[0, 0]) == pytest.approx(expected, rel=1e-15)


def test_nan_for_an_integer_input_is_told():
    with pytest.raises(ValueError, match="augment returned NaN or infinity"):
        seen_by_an_integer_net(lambda x: x * np.nan)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.RandomFlip("vertical"),
        lambda: keras.layers.RandomFlip(data_format="channels_first"),
        lambda: keras.layers.RandomRotation(0.1, fill_mode="nearest"),
        lambda: keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
        lambda: keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomFlip()]),
        lambda: keras.layers.Pipeline([keras.layers.RandomFlip("vertical")]),
    ],
)
def test_layers_leave_the_rows_of_images_without_channels_where_they_are(make):
    augment = make_augmentation(make())
    rows = np.arange(12, dtype="float32")
    x = np.broadcast_to(rows[:, None, None], (12, 8, 8)).copy()
    for seed in range(4):
        np.testing.assert_allclose(augment(x, seed), x, rtol=1e-5)
    upright = np.broadcast_to(np.arange(8, dtype="float32")[:, None], (12, 8, 8)).copy()
    assert any((augment(upright, seed) != upright).any() for seed in range(9))


def test_layers_that_take_series_get_them_as_they_are():
    x = np.ones((5, 6, 3), "float32")
    dropped = make_augmentation(keras.layers.SpatialDropout1D(0.5))(x, 0)
    assert (dropped == dropped[:, :1]).all()
    assert (make_augmentation(keras.layers.GaussianNoise(1.0))(x, 0) != x).all()


def test_a_layer_is_copied_and_works_in_searches():
    layer = flips()
    fitted = net(layer, epochs=1).fit(IMAGES, LABELS)
    assert not layer.built
    assert fitted.augment is layer
    assert clone(fitted).augment is not layer
    assert len(cross_val_score(fitted, IMAGES, LABELS, cv=2)) == 2
    rescaled = net(keras.layers.Rescaling(2.0), epochs=1).fit(IMAGES, LABELS)
    doubled = net(lambda x: x * 2, epochs=1).fit(IMAGES, LABELS)
    np.testing.assert_allclose(weights(rescaled), weights(doubled), atol=1e-6)


@pytest.mark.parametrize(
    "augment, error, message",
    [
        (3, TypeError, "augment=3 is of type int; expected a function"),
        ("flip", TypeError, "augment='flip' is of type str"),
        (keras.layers.RandomFlip, TypeError, "an instance of a Keras layer"),
        (lambda x: x[1:], ValueError, "augment returned shape .* expected the same shape"),
        (lambda x: x[..., 0], ValueError, "augment returned shape"),
    ],
)
def test_what_does_not_augment_is_an_error(augment, error, message):
    with pytest.raises(error, match=message):
        net(augment).fit(IMAGES, LABELS)


def test_an_error_in_a_function_ends_the_fit():
    def fail(x, rng):
        raise RuntimeError("no such rotation")

    for engine in ("compiled", "keras"):
        with pytest.raises(RuntimeError, match="no such rotation"):
            net(fail, engine=engine).fit(IMAGES, LABELS)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("wrap", [np.asarray, lazy], ids=["in memory", "lazy"])
def test_an_iterator_that_ends_in_a_function_is_told(engine, wrap):
    angles = iter([1, 2])

    def turn(x):
        return np.rot90(x, next(angles), axes=(1, 2))

    with pytest.raises(RuntimeError, match="augment raised StopIteration.*itertools.cycle"):
        net(turn, engine=engine).fit(wrap(IMAGES), LABELS)


def test_an_augmentation_that_makes_nan_is_told():
    with pytest.raises(ValueError, match="augment returned NaN or infinity"):
        KerasRegressor("linear", epochs=1, augment=lambda x: np.full_like(x, np.nan)).fit(
            np.zeros((8, 2)) + 1.0, np.zeros(8)
        )


def test_forecasters_take_an_augmentation():
    seen = []

    def note(x):
        seen.append(x.shape)
        return x

    wave = np.sin(np.arange(40) / 3).reshape(-1, 1)
    KerasForecaster(look_back=6, epochs=1, augment=note).fit(wave)
    assert sum(shape[0] for shape in seen) == 34
    assert {shape[1:] for shape in seen} == {(6, 1)}
