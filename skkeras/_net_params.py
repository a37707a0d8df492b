"""Parameters of a net: checked, made into its recipe, compared with those it was made with."""

from numbers import Integral, Real

from sklearn.utils import check_scalar

from skkeras._building.recipe import Recipe, as_builder
from skkeras._engine.augmentation import check_augment
from skkeras._holdout import check_validation_split
from skkeras._keras_objects.held import ATOMS
from skkeras._keras_objects.references import shared_variables
from skkeras._params import changed_names, members_of, split_routed
from skkeras._signatures import check_builder_names, check_keywords
from skkeras.exceptions import ParameterNameError
from skkeras.models import PRESETS

# Parameters that a net is made with, together with `compile__` and the ones routed to these.
_NET_PARAMETERS = ("model", "loss", "optimizer", "metrics")
_CHOICES = {
    "early_stopping": (False, True),
    "shuffle": (False, True),
    "warm_start": (False, True),
    "on_divergence": ("raise", "warn"),
    "engine": ("compiled", "keras"),
}


# Arguments that the estimator itself passes to Keras's methods, and how users give them.
_OWNED = {
    "fit__x": "X to fit",
    "fit__y": "y to fit",
    "fit__sample_weight": "sample_weight to fit",
    "fit__validation_data": "X_val and y_val to fit",
    "fit__validation_split": "validation_split=...",
    "fit__class_weight": "class_weight=...",
    "fit__callbacks": "callbacks=...",
    "predict__x": "X to predict",
    "compile__optimizer": "optimizer=...",
    "compile__loss": "loss=...",
    "compile__metrics": "metrics=...",
}


def check_source(source, routed):
    """Raise unless a net can be made from a source with these routed parameters.

    TypeError unless it is a builder, a preset's name or a `keras.Model`; ParameterNameError if the
    builder lacks a hyperparameter of a name.
    """
    if not (isinstance(source, str) or callable(source)):
        raise TypeError(
            f"model={source!r} is of type {type(source).__name__}; expected a builder (a function "
            "that returns a keras.Model), the name of a preset, a keras.Model, or None."
        )
    builder = as_builder(source)
    names = split_routed(routed)["model"]
    if builder is not None:
        check_builder_names(builder, names)
    elif names:
        raise TypeError(
            f"Got model__{next(iter(names))} with model={source.name!r}, a keras.Model, which is "
            "made already and takes no hyperparameters. Pass a function that makes it."
        )


def check_not_owned(routed):
    """Raise ParameterNameError for a routed argument that the estimator itself passes to Keras."""
    for name in routed:
        if name in _OWNED:
            raise ParameterNameError(
                f"Got the parameter {name!r}, which the estimator passes to Keras itself. Give "
                f"{_OWNED[name]} instead."
            )


def check_method_names(net, routed):
    """Raise ParameterNameError for a routed name that the model's fit or predict doesn't take."""
    for prefix in ("fit", "predict"):
        if names := split_routed(routed)[prefix]:
            check_keywords(prefix, getattr(net.structure, prefix), names, _OWNED)


class NetParamsMixin:
    """The estimator's parameters in the form that its net takes."""

    def _net_parameters(self):
        """Return the parameters that a net is made with, by name."""
        named = {name: getattr(self, name) for name in _NET_PARAMETERS}
        prefixes = (*_NET_PARAMETERS, "compile")
        return named | {k: v for k, v in self._routed.items() if k.partition("__")[0] in prefixes}

    def _recipe(self, parameters, target, facts, x_specs):
        named = {name: parameters[name] for name in _NET_PARAMETERS}
        routed = {name: value for name, value in parameters.items() if name not in named}
        source = self._source(named.pop("model"))
        shared = tuple(one for one, _ in self._copies.pairs)
        return Recipe(source, facts, x_specs, target, routed=routed, shared=shared, **named)

    def _learnt_recipe(self):
        return self._recipe(self._made_with, self._target, self._builder_facts, self._facts.x_specs)

    def _shared_variables(self):
        """Return the variables that two of the parameters share; raise if fits can't copy them."""
        given = {**self._net_parameters(), "callbacks": self.callbacks, "augment": self.augment}
        given |= {k: v for k, v in self._routed.items() if k.startswith("callbacks__")}
        given["model"] = self._source(self.model)
        members = [(name, one) for name, value in given.items() for _, one in members_of(value)]
        members = [(name, one) for name, one in members if not isinstance(one, ATOMS)]
        return shared_variables(members) if len(members) > 1 else []

    def _check_shared(self, variables):
        """Raise unless the net that goes on has its own copies of these variables."""
        known = {id(one) for one, _ in self._copies.pairs}
        if any(id(one) not in known for one in variables):
            raise ValueError(
                "callbacks share a variable with the net's loss, metrics or layers, and the net "
                "was made before they did; expected the callbacks it was made with. Fit anew, with "
                "warm_start=False."
            )

    def _builder(self):
        source = self._source(self.model)
        return PRESETS.get(source) if isinstance(source, str) else source

    def _source(self, model):
        return model if model is not None else getattr(self, "build_model", "mlp")

    def _adopt_learning_rate(self):
        """Take over a learning rate set since the net was made; raise for any other change."""
        now, rate = self._net_parameters(), "optimizer__learning_rate"
        changed = changed_names(self._made_with, now)
        others = sorted(set(changed) - {rate})
        if others or (changed and not isinstance(now.get(rate), Real)):
            raise ValueError(
                f"{(others or changed)[0]} was changed since the net was made, and this goes on "
                "with that net; expected nothing new but epochs, batch_size, callbacks and an "
                "optimizer__learning_rate that is a number. Set it back, or fit with "
                "warm_start=False, or change the net itself, which is model_."
            )
        if changed:
            self._net.model.optimizer.learning_rate = float(now[rate])
            self._made_with = now

    def _fit_argument(self, name):
        return split_routed(self._routed)["fit"].get(name, getattr(self, name))

    def _check_parameters(self):
        for name in ("epochs", "batch_size"):
            check_scalar(self._fit_argument(name), name, Integral, min_val=1)
        self._check_predict_batch_size()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}; expected one of {choices}.")
        self._check_no_other_builder()
        if self.augment is not None:
            check_augment(self.augment)
        if self.validation_split is not None:
            check_validation_split(self.validation_split)
        check_source(self._source(self.model), self._routed)
        check_not_owned(self._routed)

    def _check_no_other_builder(self):
        own = self.model is not None or hasattr(self, "build_model")
        if not own and hasattr(self, "_keras_build_fn"):
            raise TypeError(
                f"{type(self).__name__} makes its nets by _keras_build_fn, as with SciKeras; "
                "expected build_model, or model=.... Rename the method."
            )

    def _check_predict_batch_size(self):
        if (size := split_routed(self._routed)["predict"].get("batch_size")) is not None:
            check_scalar(size, "predict__batch_size", Integral, min_val=1)

    def _check_routed_names(self):
        source = self._source(self.model)
        # Other types are refused by fit only: scikit-learn's set_params does not validate.
        if split_routed(self._routed)["model"] and (isinstance(source, str) or callable(source)):
            check_source(source, self._routed)
