"""A net that was made before is made again only when somebody looks at it."""

import functools
import threading

import cloudpickle
import keras
import numpy as np
import pytest
from sklearn.base import clone

import skkeras
from skkeras import KerasClassifier, KerasRegressor
from skkeras._engine import net as net_module
from skkeras._engine.compiled_functions import blueprints
from skkeras.exceptions import ParameterNameError

# Coverage is measured elsewhere, as in test_parity.py.
pytestmark = pytest.mark.no_cover


@pytest.fixture(autouse=True)
def nothing_cached():
    skkeras.clear_cache()


@pytest.fixture
def made(monkeypatch):
    """The seeds of the nets that were made for users."""
    seeds = []

    def noted(method, make, seed):
        seeds.append(seed)
        return method(make, seed)

    for name in ("make_seeded", "make_apart"):
        method = getattr(net_module, name)
        monkeypatch.setattr(net_module, name, functools.partial(noted, method))
    return seeds


def net(**changes):
    return KerasClassifier(**{"epochs": 2, "random_state": 0, "model__units": 5, **changes})


def weights(estimator):
    model = estimator.model_
    return [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]


def assert_same_bits(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_next_fit_makes_no_net_and_predicts_the_same(X, labels, made):
    first = net().fit(X, labels)
    next_one = clone(first).fit(X, labels)
    assert next_one.score(X, labels) == first.score(X, labels)
    np.testing.assert_array_equal(next_one.predict_proba(X), first.predict_proba(X))
    assert next_one.history_ == first.history_
    assert len(made) == 1
    assert_same_bits(weights(next_one), weights(first))
    assert len(made) == 3  # model_ is made for who looks at it


def test_the_first_net_is_what_the_program_runs_on(X, labels, made):
    first = net().fit(X, labels)
    model = first.model_
    start = [variable.numpy() for variable in model.variables]
    net(epochs=20).fit(X, labels)
    assert_same_bits([variable.numpy() for variable in model.variables], start)
    other = net(random_state=1).initialize(X, labels)  # the program is there: it keeps its net
    n_made = len(made)
    assert other.model_.built
    assert len(made) == n_made
    other.fit(X, labels)
    assert_same_bits(weights(other), weights(net(random_state=1).fit(X, labels)))


@pytest.mark.parametrize("method", ["evaluate", "fit", "partial_fit"])
def test_a_net_that_was_looked_at_keeps_its_model(X, labels, method):
    one = net(warm_start=True).initialize(X, labels)
    model = one.model_
    model.layers[0].kernel.assign(model.layers[0].kernel + 1)
    getattr(one, method)(X, labels)
    assert one.model_ is model
    getattr(one, method)(X, labels, sample_weight=np.linspace(0.5, 1, 60))  # another program
    assert one.model_ is model


def test_a_net_that_is_made_later_is_the_one_that_is_made_at_once(X, labels):
    first = net().fit(X, labels).model_
    later = net().fit(X, labels).model_
    assert later is not first
    assert [layer.name for layer in later.layers] == [layer.name for layer in first.layers]
    assert later.get_config() == first.get_config()
    assert later.get_compile_config() == first.get_compile_config()
    later.layers[-1].kernel.assign(later.layers[-1].kernel * 0)
    assert np.any(first.layers[-1].kernel.numpy())
    assert_same_bits(weights(net().fit(X, labels)), weights(net().fit(X, labels)))


def test_initialize_gives_the_untrained_net(X, labels, made):
    first = net().initialize(X, labels)
    start = first.predict_proba(X)
    weights_of_first = weights(first)
    first.fit(X, labels)
    again = net().initialize(X, labels)
    assert len(made) == 1
    np.testing.assert_array_equal(again.predict_proba(X), start)
    assert_same_bits(weights(again), weights_of_first)


@pytest.mark.parametrize("looks_first", [False, True])
def test_training_goes_on(X, labels, looks_first):
    def twice():
        one = net(warm_start=True).fit(X, labels)
        if looks_first:
            one.model_.summary(print_fn=str)
        return weights(one.set_params(epochs=3).fit(X, labels).partial_fit(X, labels))

    assert_same_bits(twice(), twice())


def test_it_goes_into_a_pickle(X, labels, made):
    net().fit(X, labels)
    fitted = net().fit(X, labels)
    loaded = cloudpickle.loads(cloudpickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert_same_bits(weights(loaded), weights(fitted))


def test_callbacks_see_a_model(X, labels):
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.5

    plain = [weights(net(callbacks=[Look()]).fit(X, labels)) for _ in range(2)]
    assert_same_bits(*plain)
    assert plain[0][-1].shape == net().fit(X, labels).model_.optimizer.variables[-1].shape


@pytest.mark.parametrize(
    "change",
    [
        {"random_state": 1},
        {"model__units": 6},
        {"model__units": [5, 5]},
        {"model__activation": "tanh"},
        {"optimizer": "sgd"},
        {"optimizer__learning_rate": 0.5},
        {"loss": "categorical_crossentropy"},
        {"metrics": ["accuracy"]},
        {"compile__jit_compile": False},
    ],
)
def test_whatever_differs_makes_another_net(X, labels, made, change):
    net().fit(X, labels)
    other = net(**change).fit(X, labels)
    assert len(made) == 2
    skkeras.clear_cache()
    assert_same_bits(weights(clone(other).fit(X, labels)), weights(other))


def test_another_learning_rate_is_a_value_of_the_same_net(X, labels, made):
    fits = [net(optimizer__learning_rate=rate).fit(X, labels) for rate in (0.5, 0.01, 1)]
    assert len(made) == 1
    rates = [float(one.model_.optimizer.learning_rate.numpy()) for one in fits]
    assert rates == pytest.approx([0.5, 0.01, 1.0])
    for fitted in fits:
        skkeras.clear_cache()
        assert_same_bits(weights(clone(fitted).fit(X, labels)), weights(fitted))


def test_targets_in_other_units_are_values_of_the_same_net(X, values, made):
    nets = [
        KerasRegressor(epochs=2, random_state=0, model__units=5).fit(X, factor * values)
        for factor in (1, 1e5)
    ]
    assert len(made) == 1
    for fitted, factor in zip(nets, (1, 1e5), strict=True):
        skkeras.clear_cache()
        assert_same_bits(weights(clone(fitted).fit(X, factor * values)), weights(fitted))


def test_other_data_makes_another_net(X, labels, binary, values, made):
    net().fit(X, labels)
    net().fit(X[:, :3], labels)
    net().fit(X, binary)
    KerasRegressor(epochs=2, random_state=0, model__units=5).fit(X, values)
    assert len(made) == 4
    net().fit(X[:40], labels[:40])  # a fold
    net().fit(X.astype("float32"), labels)
    assert len(made) == 4


def test_a_builder_is_called_for_every_fit(X, labels):
    calls = []

    def build(n_classes):
        calls.append(n_classes)
        return keras.Sequential([keras.layers.Dense(n_classes, activation="softmax")])

    builder = KerasClassifier(build, epochs=1, random_state=0)
    builder.fit(X, labels)
    n_calls = len(calls)
    clone(builder).fit(X, labels)
    assert len(calls) > n_calls


def test_an_object_among_the_parameters_makes_another_net(X, labels, made):
    for _ in range(2):
        net(optimizer=keras.optimizers.Adam()).fit(X, labels)
    assert len(made) == 2


def test_a_name_that_users_registered_is_looked_up_each_time(X, labels, made):
    registered = keras.saving.get_custom_objects()
    for name in ("package>lion", "glorot_uniform"):
        made.clear()
        registered[name] = (
            keras.optimizers.SGD if name == "package>lion" else keras.initializers.Ones
        )
        try:
            for _ in range(2):
                net(optimizer="lion").fit(X, labels)
        finally:
            del registered[name]
        assert len(made) == 2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "int8_from_float32"])
def test_a_net_has_the_dtypes_of_its_fit(X, labels, made, policy):
    net().fit(X, labels)
    fitted = net().fit(X, labels)
    assert len(made) == 1
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(policy))
    try:
        assert fitted.model_.layers[0].dtype_policy.name == "float32"
        assert keras.config.dtype_policy().name == policy
        if policy == "mixed_bfloat16":
            other = net().fit(X, labels)
            assert len(made) == 3
            assert other.model_.layers[0].dtype_policy.name == policy
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    "name, value",
    [("floatx", "float64"), ("epsilon", 0.1), ("image_data_format", "channels_first")],
)
def test_settings_that_changed_since_the_fit_are_said(X, labels, made, name, value):
    net().fit(X, labels)
    fitted = net().fit(X, labels)
    before, set_it = getattr(keras.config, name)(), getattr(keras.config, f"set_{name}")
    set_it(value)
    try:
        with pytest.raises(RuntimeError, match=name):
            fitted.model_  # noqa: B018
        assert getattr(keras.config, name)() == value
        net().fit(X, labels)
        assert len(made) == 3  # one that failed, one for the new setting
    finally:
        set_it(before)
    assert fitted.model_.built


def test_a_model_that_is_there_is_had_while_a_builder_runs(X, labels):
    fitted = net().fit(X, labels)
    model, inside, done = fitted.model_, threading.Event(), threading.Event()

    def build(n_classes):
        inside.set()
        assert done.wait(20)
        return keras.Sequential([keras.layers.Dense(n_classes, activation="softmax")])

    slow = KerasClassifier(build, epochs=1)
    thread = threading.Thread(target=slow.fit, args=(X, labels))
    thread.start()
    assert inside.wait(20)
    fitted.partial_fit(X, labels)
    assert fitted.model_ is model
    done.set()
    thread.join()
    assert slow.model_.built


@pytest.mark.parametrize("looks", [True, False])
def test_a_builder_may_look_at_a_model_while_another_thread_does(X, labels, looks):
    net().fit(X, labels)
    other = net().fit(X, labels)
    inside, looking = threading.Event(), threading.Event()

    def build(n_classes):
        inside.set()
        looking.wait(10)
        other.model_.get_weights()
        return keras.Sequential([keras.layers.Dense(n_classes, activation="softmax")])

    def look():
        inside.wait(10)
        looking.set()
        return other.model_ if looks else other.predict(X)

    threads = [
        threading.Thread(
            target=KerasClassifier(build, epochs=1).fit, args=(X, labels), daemon=True
        ),
        threading.Thread(target=look, daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_a_list_that_is_changed_after_the_fit_changes_no_net(X, labels):
    units = [5]
    first = net(model__units=units).fit(X, labels)
    units.append(3)
    assert_same_bits(weights(first), weights(net(model__units=[5]).fit(X, labels)))
    cloudpickle.dumps(net(model__units=[5]).fit(X, labels))


def test_a_fit_inside_a_builder_is_as_any_other(X, labels):
    expected = net().fit(X, labels).predict_proba(X)

    def build(n_classes):
        found.append(net().fit(X, labels).predict_proba(X))
        return keras.Sequential([keras.layers.Dense(n_classes, activation="softmax")])

    def outer():
        return KerasClassifier(build, epochs=1, random_state=5).fit(X, labels)

    found = []
    first = outer()
    skkeras.clear_cache()
    second = outer()
    net().fit(X, labels)
    third = outer()
    assert_same_bits(found, [expected] * len(found))
    assert_same_bits(weights(first), weights(second))
    assert_same_bits(weights(first), weights(third))
    np.testing.assert_array_equal(net().fit(X, labels).predict_proba(X), expected)


def test_targets_of_another_shape_make_another_net(X):
    y = np.random.default_rng(0).normal(size=(60, 6))
    regressor = KerasRegressor(epochs=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="shape"):
        clone(regressor).fit(X, y.reshape(60, 2, 3))


def test_numbers_of_another_type_make_another_net(X, labels):
    with np.printoptions(legacy="1.25"):  # as NumPy 1 writes them
        for rate in (0.9, np.float16(0.9), np.float32(0.9), np.float64(0.9)):
            fitted = net(optimizer__beta_1=rate).fit(X, labels)
            assert fitted.model_.optimizer.beta_1 == rate
    assert len(blueprints) == 4


def test_threads_that_look_at_it_see_one_model(X, labels):
    net().fit(X, labels)
    fitted = net().fit(X, labels)
    models = []
    threads = [threading.Thread(target=lambda: models.append(fitted.model_)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 4
    assert all(model is models[0] for model in models)
    np.testing.assert_array_equal(fitted.predict_proba(X), net().fit(X, labels).predict_proba(X))


def test_what_is_kept_is_small_and_can_be_freed(X, labels, made):
    net(model__units=[300, 1000]).fit(X, labels)
    assert len(blueprints) == 0
    net().fit(X, labels)
    assert len(blueprints) == 1
    skkeras.clear_cache()
    assert len(blueprints) == 0
    fitted = net().fit(X, labels)
    for seed in range(blueprints.max_entries + 5):
        net(random_state=seed, epochs=1).initialize(X, labels)
    assert len(blueprints) == blueprints.max_entries
    assert fitted.model_.built


def test_what_a_method_does_not_take_is_an_error_each_time(X, labels):
    net().fit(X, labels)
    for _ in range(2):
        with pytest.raises(ParameterNameError, match="verbose"):
            net(fit__verbos=1).fit(X, labels)


def test_a_target_the_net_cannot_learn_is_an_error_each_time(X, values):
    for _ in range(2):
        with pytest.raises(ValueError, match="binary_crossentropy"):
            KerasRegressor(epochs=1, random_state=0, loss="binary_crossentropy").fit(X, values)
