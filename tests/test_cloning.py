"""What a fit and a clone leave alone."""

import copy
import inspect

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.model_selection import ShuffleSplit, cross_val_score, cross_validate

from skkeras import KerasClassifier, KerasRegressor

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize("name", ["epochs", "fit__epochs"])
def test_every_fold_trains_as_many_epochs_as_asked(name):
    net = KerasClassifier(model__units=4, **{name: 7})
    results = cross_validate(net, X, Y, cv=3, return_estimator=True)
    assert [fitted.n_iter_ for fitted in results["estimator"]] == [7, 7, 7]
    assert [len(fitted.history_["loss"]) for fitted in results["estimator"]] == [7, 7, 7]


def test_every_fold_runs_its_own_callbacks_for_all_epochs():
    epochs = []
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    net = KerasClassifier(model__units=4, epochs=7, callbacks=[record])
    assert cross_val_score(net, X, Y, cv=3).shape == (3,)
    assert epochs == [*range(7)] * 3


def template(*, compiled=False):
    layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential(layers)
    if compiled:
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.5), "binary_crossentropy", metrics=["accuracy"]
        )
    return model


def keras_objects():
    return {
        "model": template(),
        "loss": keras.losses.BinaryFocalCrossentropy(gamma=1.5),
        "optimizer": keras.optimizers.SGD(0.1, momentum=0.5),
        "metrics": [keras.metrics.BinaryAccuracy(threshold=0.4)],
        "callbacks": [
            keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1),
            keras.callbacks.EarlyStopping(monitor="loss", restore_best_weights=True),
        ],
    }


def settings(params):
    """What the Keras objects among parameters say of themselves, and what others are."""
    told = {}
    for name, value in params.items():
        parts = value if isinstance(value, list) else [value]
        told[name] = [
            part.get_config() if hasattr(part, "get_config") else part
            for part in parts
            if not isinstance(part, keras.callbacks.Callback)
        ]
    return told


def state(params):
    """All that training could change in the Keras objects among parameters."""
    parts = [part for value in params.values() for part in keras.tree.flatten([value])]
    variables = [v.numpy() for part in parts for v in getattr(part, "variables", ())]
    callbacks = [vars(p) for p in parts if isinstance(p, keras.callbacks.Callback)]
    flags = [(p.built, p.trainable) for p in parts if isinstance(p, keras.Model)]
    return variables, copy.deepcopy(callbacks), flags


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def keras_parts(value, found):
    """Collect the ids of the Keras objects that can be reached from a value."""
    if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
        return found
    if isinstance(value, dict | list | tuple | set):
        for part in value.values() if isinstance(value, dict) else value:
            keras_parts(part, found)
    elif type(value).__module__.startswith("keras.") and id(value) not in found:
        # Policies of dtypes are constants that Keras keeps for all.
        if not isinstance(value, keras.DTypePolicy):
            found[id(value)] = value
        keras_parts(getattr(value, "__dict__", {}), found)
    return found


@pytest.mark.parametrize("compiled", [False, True])
def test_a_clone_of_a_fitted_estimator_is_unfitted_and_shares_nothing(compiled):
    objects = keras_objects()
    if compiled:
        objects = {"model": template(compiled=True), "callbacks": objects["callbacks"]}
    net = KerasClassifier(**objects, epochs=2).fit(X, Y)
    cloned = clone(net)
    assert not cloned.__sklearn_is_fitted__()
    assert not [name for name in vars(cloned) if name.endswith("_") and not name.startswith("__")]
    ours, theirs = net.get_params(), cloned.get_params()
    assert list(ours) == list(theirs)
    assert settings(ours) == settings(theirs)
    assert same(ours["model"].get_weights(), theirs["model"].get_weights())
    owned = keras_parts([ours, net.model_, net.callbacks_], {})
    assert len(owned) > 20
    shared = [owned[key] for key in owned.keys() & keras_parts(theirs, {}).keys()]
    assert not shared


def test_a_clone_starts_from_the_template_and_not_from_what_was_learnt():
    net = KerasClassifier(template(), epochs=3, random_state=0).fit(X, Y)
    started = clone(net).initialize(X, Y).model_.get_weights()
    assert same(started, net.model.get_weights())
    assert not same(started, net.model_.get_weights())


def test_clones_keep_routed_parameters():
    net = KerasClassifier(model__units=4, optimizer__learning_rate=0.1).fit(X, Y)
    cloned = clone(net)
    assert cloned.get_params() == net.get_params()
    cloned.set_params(model__units=8)
    assert net.get_params()["model__units"] == 4


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_fit_changes_no_parameter(engine, compiled):
    objects = keras_objects()
    if compiled:
        objects = {"model": template(compiled=True), "callbacks": objects["callbacks"]}
    class_weight, callbacks = {0: 1, 1: 3}, [id(callback) for callback in objects["callbacks"]]
    net = KerasClassifier(
        **objects,
        epochs=2,
        class_weight=class_weight,
        validation_split=ShuffleSplit(1, random_state=0),
        engine=engine,
    )
    before = net.get_params()
    told, (variables, attributes, flags) = settings(before), state(before)
    net.fit(X, Y).partial_fit(X, Y)
    net.predict(X), net.evaluate(X, Y)
    after = net.get_params()
    assert all(before[name] is after[name] for name in before)
    assert settings(after) == told
    left = state(after)
    assert same(left[0], variables)
    assert left[1:] == (attributes, flags)
    assert objects["model"].compiled == compiled
    assert class_weight == {0: 1, 1: 3}
    assert [id(callback) for callback in objects["callbacks"]] == callbacks
    if not compiled:
        assert not objects["optimizer"].built


FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
KINDS = {
    "array": X,
    "float32": X.astype("float32"),
    "column-major": np.asfortranarray(X),
    "ints": (10 * X).astype(int),
    "list": X.tolist(),
    "frame": FRAME,
    "sparse": csr_array(X),
}


def frozen(data):
    """A copy that raises when it is written to, where that can be had."""
    data = copy.deepcopy(data)
    arrays = [getattr(data, name) for name in ("data", "indices", "indptr") if hasattr(data, name)]
    for array in [data] if isinstance(data, np.ndarray) else arrays:
        array.flags.writeable = False
    return data


def unchanged(data, kind):
    expected = KINDS[kind]
    if isinstance(expected, csr_array):
        return (data != expected).nnz == 0
    return type(data) is type(expected) and np.array_equal(np.asarray(data), np.asarray(expected))


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_writes_to_no_argument(kind, engine):
    data, validation = frozen(KINDS[kind]), frozen(KINDS[kind])
    y, weight = frozen(Y), frozen(np.arange(40.0))
    net = KerasClassifier(model__units=4, epochs=2, class_weight="balanced", engine=engine)
    net.fit(data, y, sample_weight=weight, X_val=validation, y_val=y)
    net.partial_fit(data, y), net.predict_proba(data), net.score(data, y, sample_weight=weight)
    assert unchanged(data, kind)
    assert unchanged(validation, kind)
    assert np.array_equal(y, Y)
    assert np.array_equal(weight, np.arange(40.0))


def test_fit_reads_a_memory_map(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    KerasClassifier(model__units=4, epochs=1).fit(mapped, Y)
    assert np.array_equal(np.load(tmp_path / "X.npy"), X)


def two_inputs():
    inputs = {name: keras.Input((3,), name=name) for name in ("left", "right")}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    return keras.Model(inputs, keras.layers.Dense(1)(joined))


def test_fit_leaves_a_dict_of_inputs_as_it_is():
    left, right, y = frozen(X), frozen(2 * X), frozen(X[:, 0])
    inputs = {"right": right, "left": left}
    KerasRegressor(two_inputs, epochs=1).fit(inputs, y)
    assert list(inputs) == ["right", "left"]
    assert inputs["left"] is left
    assert inputs["right"] is right
    assert np.array_equal(left, X)
    assert np.array_equal(right, 2 * X)


def test_a_builder_may_use_up_what_it_gets():
    def build(meta, n_outputs, hidden):
        layers = [keras.Input((meta.pop("n_features_in_"),))]
        while hidden:
            layers.append(keras.layers.Dense(hidden.pop()))
        return keras.Sequential([*layers, keras.layers.Dense(n_outputs, "sigmoid")])

    hidden = [4, 3]
    net = KerasClassifier(build, model__hidden=hidden, epochs=1)
    for _ in range(2):
        assert [layer.units for layer in net.fit(X, Y).model_.layers] == [3, 4, 1]
    assert hidden == [4, 3]


def test_a_template_is_the_start_of_every_fit():
    model = template()
    net = KerasClassifier(model, epochs=2, random_state=0)
    first = [w.copy() for w in net.fit(X, Y).model_.get_weights()]
    second = net.fit(X, Y).model_.get_weights()
    assert same(first, second)
    assert same(KerasClassifier(model).initialize(X, Y).model_.get_weights(), model.get_weights())
