"""Routed parameters behave as scikit-learn's own, and builders get what they name."""

import copy
import functools
import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_do_not_raise_errors_in_init_or_set_params,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

from skkeras._params import (
    PREFIXES,
    RoutedParamsMixin,
    call_builder,
    check_builder_names,
    split_routed,
)
from skkeras.exceptions import BuilderError, DivergenceError, ParameterNameError


def build(units=10, input_shape=None):
    return units, input_shape


def build_wide(units=10, width=1):
    return units, width


class Net(ClassifierMixin, RoutedParamsMixin, BaseEstimator):
    def __init__(self, model=None, *, optimizer="adam", epochs=100, inner=None, **routed):
        self.model = model
        self.optimizer = optimizer
        self.epochs = epochs
        self.inner = inner
        self._store_routed(routed)

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


class Subclass(Net):
    def __init__(self, depth=2, **kwargs):
        super().__init__(**kwargs)
        self.depth = depth


ROUTED = {"model__units": 64, "optimizer__learning_rate": 0.1}


@pytest.mark.parametrize(
    "check",
    [
        check_do_not_raise_errors_in_init_or_set_params,
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    ],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize(
    "params",
    [{}, ROUTED, {"model": build, "model__units": 3}],
    ids=["default", "routed", "builder"],
)
def test_scikit_learn_checks_pass(check, params):
    check("Net", Net(**params))


def test_get_params_includes_routed_ones():
    for deep in (True, False):
        params = Net(**ROUTED).get_params(deep=deep)
        assert params == {
            "model": None,
            "optimizer": "adam",
            "epochs": 100,
            "inner": None,
            **ROUTED,
        }


def test_values_are_never_copied_or_changed():
    value = [np.arange(3)]
    net = Net(model__units=value)
    assert net.get_params()["model__units"] is value
    assert net.set_params(model__other=value).get_params()["model__other"] is value
    assert clone(Net(model__units=build)).get_params()["model__units"] is build


def test_clone_keeps_routed_parameters_and_not_the_fit():
    net = Net(**ROUTED, callbacks__x=[1]).fit(None, [0, 1])
    cloned = clone(net)
    assert cloned.get_params() == net.get_params()
    assert not hasattr(cloned, "classes_")


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), clone]
)
def test_copies_are_independent(copied):
    net = Net(**ROUTED)
    other = copied(net)
    assert other.get_params() == net.get_params()
    other.set_params(model__units=1, model__dropout=0.5)
    assert net.get_params()["model__units"] == 64
    assert "model__dropout" not in net.get_params()


def test_fresh_instances_share_nothing():
    Net().set_params(model__units=1)
    assert "model__units" not in Net().get_params()


def test_repr_shows_routed_parameters():
    assert repr(Net(epochs=3, model__units=64)) == "Net(epochs=3, model__units=64)"


def test_html_repr_shows_routed_parameters():
    assert "model__units" in Net(model__units=64)._repr_html_()


def test_signature_lists_declared_parameters():
    assert list(inspect.signature(Net).parameters) == ["model", "optimizer", "epochs", "inner"]


def test_set_params_takes_what_was_not_declared_with_what_it_is_for():
    params = {"model__units": 3, "model": build, "optimizer__learning_rate": 1, "optimizer": "sgd"}
    for ordered in (params, dict(reversed(params.items()))):
        assert Net().set_params(**ordered).get_params() == Net(**ordered).get_params()


def test_set_params_returns_the_estimator():
    net = Net()
    assert net.set_params() is net
    assert net.set_params(model__units=1) is net


def test_set_params_of_unknown_parameter_keeps_the_error_of_scikit_learn():
    with pytest.raises(ValueError, match="Invalid parameter 'epoch' for estimator Net"):
        Net().set_params(epoch=3)


def test_constructor_refuses_unknown_parameter_and_names_the_nearest():
    with pytest.raises(TypeError, match="'epoch'.*Did you mean 'epochs'"):
        Net(epoch=3)


@pytest.mark.parametrize("give", [Net, lambda **params: Net().set_params(**params)])
def test_unknown_prefix_names_the_nearest(give):
    with pytest.raises(ParameterNameError, match="'optimzer'.*Did you mean 'optimizer'"):
        give(optimzer__learning_rate=1)
    with pytest.raises(ParameterNameError, match="expected a name after 'model__'"):
        give(model__=1)


def test_set_params_checks_names_against_the_builder():
    with pytest.raises(ParameterNameError, match="'model__unitz'.*'build'.*mean 'units'"):
        Net(build).set_params(model__unitz=3)
    with pytest.raises(ParameterNameError, match="no 'width'"):
        Net(build_wide, model__width=3).set_params(model=build)


def test_failed_set_params_changes_nothing():
    net = Net(build, model__units=3)
    before = net.get_params()
    with pytest.raises(ParameterNameError):
        net.set_params(epochs=7, model__units=4, model__unitz=3)
    assert net.get_params() == before


def test_estimators_as_parameters_are_still_reached():
    net = Net(inner=Ridge())
    assert net.set_params(inner__alpha=3.0).inner.alpha == 3.0
    assert net.get_params()["inner__alpha"] == 3.0


def test_subclass_handing_on_kwargs_keeps_all_parameters():
    net = Subclass(depth=3, epochs=5, model__units=7)
    assert clone(net).get_params() == net.get_params()
    assert net.get_params()["epochs"] == 5
    assert net.set_params(epochs=6).epochs == 6
    assert list(inspect.signature(Subclass).parameters) == [
        "depth",
        "model",
        "optimizer",
        "epochs",
        "inner",
    ]
    with pytest.raises(TypeError, match="mean 'depth'"):
        Subclass(depht=1)


def test_subclass_handing_on_kwargs_takes_model_by_keyword():
    net = Subclass(model=build, model__units=7)
    assert clone(net).model is build


def test_grid_over_everything_at_once_in_any_order():
    grid = {
        "est__model__units": [1, 2],
        "est__optimizer": ["adam", "sgd"],
        "est__optimizer__learning_rate": [0.1, 0.2],
        "est__model": [build, build_wide],
    }
    X, y = np.zeros((6, 2)), np.array([0, 1] * 3)
    pipeline = Pipeline([("scale", StandardScaler()), ("est", Net())])
    for ordered in (grid, dict(reversed(grid.items()))):
        search = GridSearchCV(pipeline, ordered, cv=2).fit(X, y)
        assert len(search.cv_results_["params"]) == 16
        best = search.best_estimator_.get_params()
        assert {name: best[name] for name in grid} == search.best_params_
    assert pipeline.get_params()["est__model"] is None


def test_split_routed_has_every_prefix():
    assert split_routed({}) == {prefix: {} for prefix in PREFIXES}
    groups = split_routed({"metrics__acc__threshold": 0.3, "fit__steps": 1})
    assert groups["metrics"] == {"acc__threshold": 0.3}
    assert groups["fit"] == {"steps": 1}


facts = {"input_shape": (4,), "n_outputs": 1}


class Build:
    def __init__(self, units=10, input_shape=None):
        self.result = units, input_shape

    def method(self, units=10, input_shape=None):
        return units, input_shape

    @classmethod
    def from_class(cls, units=10, input_shape=None):
        return units, input_shape


class CallableBuild:
    def __call__(self, units=10, input_shape=None):
        return units, input_shape


@pytest.mark.parametrize(
    "builder",
    [
        build,
        lambda units=10, input_shape=None: (units, input_shape),
        functools.partial(build),
        functools.partial(lambda other, **kwargs: build(**kwargs), 1, input_shape=(4,)),
        Build().method,
        Build.from_class,
        CallableBuild(),
        lambda input_shape, /, units=10: (units, input_shape),
    ],
    ids=[
        "function",
        "lambda",
        "partial",
        "binding partial",
        "bound method",
        "class method",
        "callable object",
        "positional only",
    ],
)
def test_every_callable_is_a_builder(builder):
    assert call_builder(builder, facts, {"units": 3}) == (3, (4,))


def test_class_is_a_builder():
    assert call_builder(Build, facts, {"units": 3}).result == (3, (4,))


def test_builder_gets_only_the_facts_it_names():
    assert call_builder(lambda n_outputs, **rest: (n_outputs, rest), facts, {"a": 2}) == (
        1,
        {"a": 2},
    )
    assert call_builder(lambda: "nothing", facts, {}) == "nothing"


def test_hyperparameter_wins_over_fact_and_so_does_a_partial():
    assert call_builder(build, facts, {"input_shape": (2,)}) == (10, (2,))
    assert call_builder(functools.partial(build, input_shape=(3,)), facts, {}) == (10, (3,))
    bound = functools.partial(build, input_shape=(3,))
    assert call_builder(bound, facts, {"input_shape": (2,)}) == (10, (2,))


def test_positional_only_default_stands():
    assert call_builder(lambda a=5, n_outputs=0, /: (a, n_outputs), facts, {}) == (5, 1)


def test_calling_a_builder_leaves_the_dicts_alone():
    given, hyperparameters = dict(facts), {"units": 3}
    call_builder(build, given, hyperparameters)
    assert given == facts
    assert hyperparameters == {"units": 3}


@pytest.mark.parametrize("call", [check_builder_names, lambda b, n: call_builder(b, {}, n)])
def test_unknown_hyperparameter_names_the_nearest(call):
    with pytest.raises(ParameterNameError, match="'model__unitz'.*mean 'units'.*'width'"):
        call(build_wide, {"unitz": 3})
    with pytest.raises(ParameterNameError, match="Nothing is accepted"):
        call(lambda: None, {"unitz": 3})


def test_builder_with_kwargs_takes_any_name():
    check_builder_names(lambda **kwargs: None, ["unitz"])


def test_required_parameter_that_nothing_fills_is_an_error():
    with pytest.raises(BuilderError, match=r"requires 'depth'.*model__depth=.*'n_outputs'"):
        call_builder(lambda n_outputs, depth: None, facts, {})


def test_callable_without_signature_is_an_error():
    class Opaque:
        __signature__ = "unreadable"

        def __call__(self):
            return None

    with pytest.raises(BuilderError, match="Wrap it in a function"):
        call_builder(Opaque(), facts, {})


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(DivergenceError("NaN at epoch 3", epoch=3)))
    assert str(error) == "NaN at epoch 3"
    assert error.epoch == 3
    assert issubclass(ParameterNameError, ValueError)


# Subclasses that declare routed parameters


class Storing(Net):
    def __init__(self, model__units=16, optimizer__learning_rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.model__units = model__units
        self.optimizer__learning_rate = optimizer__learning_rate


class StoringFirst(Net):
    def __init__(self, model__units=16, optimizer__learning_rate=0.5, **kwargs):
        self.model__units = model__units
        self.optimizer__learning_rate = optimizer__learning_rate
        super().__init__(**kwargs)


class Passing(Net):
    def __init__(self, model__units=16, optimizer__learning_rate=0.5, **kwargs):
        super().__init__(
            model__units=model__units, optimizer__learning_rate=optimizer__learning_rate, **kwargs
        )


class Inheriting(Storing):
    def __init__(self, loss__delta=2.0, **kwargs):
        super().__init__(**kwargs)
        self.loss__delta = loss__delta


@pytest.mark.parametrize("cls", [Storing, StoringFirst, Passing, Inheriting])
def test_declared_routed_parameters_are_routed(cls):
    net = cls(epochs=3, model__depth=2)
    expected = {"model__units": 16, "optimizer__learning_rate": 0.5, "model__depth": 2}
    if cls is Inheriting:
        expected["loss__delta"] = 2.0
    assert net._routed == expected
    assert expected.items() <= net.get_params().items()
    net = clone(pickle.loads(pickle.dumps(clone(net).set_params(model__units=5))))
    assert (net.model__units, net._routed["model__units"]) == (5, 5)
    net.model__units = 7
    assert net.get_params()["model__units"] == split_routed(net._routed)["model"]["units"] == 7
    assert cls(epochs=3).get_params()["model__units"] == 16


@pytest.mark.parametrize("cls", [Storing, Passing, Inheriting])
def test_scikit_learn_checks_pass_with_declared_routed_parameters(cls):
    check_get_params_invariance("Net", cls())
    check_set_params("Net", cls())
    check_parameters_default_constructible("Net", cls())


def test_a_declared_routed_parameter_that_is_dropped_is_an_error():
    class Dropping(Net):
        def __init__(self, model__units=16, **kwargs):
            super().__init__(**kwargs)

    with pytest.raises(AttributeError, match=r"drops it.*self.model__units = model__units"):
        Dropping().get_params()


def test_numpy_scalars_become_python_s_where_they_are_routed():
    routed = {
        "model__units": np.int64(4),
        "model__shape": (np.int32(2), [np.float64(0.5)]),
        "model__names": {"a": np.str_("relu")},
        "model__matrix": np.eye(2),
        "callbacks__patience": np.uint8(3),
        "compile__jit_compile": np.bool_(True),
    }
    groups = split_routed(routed)
    made = groups["model"]
    assert (made["units"], made["shape"], made["names"]) == (4, (2, [0.5]), {"a": "relu"})
    assert type(made["units"]) is type(made["shape"][0]) is int
    assert type(made["names"]["a"]) is str
    assert made["matrix"] is routed["model__matrix"]
    assert type(groups["callbacks"]["patience"]) is int
    assert groups["compile"]["jit_compile"] is True
    assert type(routed["model__shape"][0]) is np.int32
