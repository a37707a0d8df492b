"""Parameters of a net: checked, made into its recipe, compared with those it was made with."""

from contextlib import nullcontext
from numbers import Integral, Real

from sklearn.base import ClassifierMixin
from sklearn.utils import check_scalar

from skkeras._building.recipe import Recipe, as_builder
from skkeras._building.scikeras_meta import scikeras_meta
from skkeras._engine.augmentation import check_augment
from skkeras._holdout import check_validation_split
from skkeras._keras_objects.held import ATOMS
from skkeras._keras_objects.internals import input_shapes
from skkeras._keras_objects.references import shared_variables
from skkeras._params import (
    builder_parameters,
    changed_names,
    check_builder_names,
    check_keywords,
    members_of,
    split_routed,
)
from skkeras._schedules import check_schedule, scheduled
from skkeras._versions import check_environment, check_not_legacy, warn_of_eager_functions
from skkeras.data._streams import as_stream
from skkeras.exceptions import ParameterNameError
from skkeras.models import _LEAST_ROWS, PRESETS, _recipe_of

# Parameters that a net is made with, together with `compile__` and the ones routed to these.
_NET_PARAMETERS = ("model", "loss", "optimizer", "metrics")
# Those that a preset's recipe decides where they are "auto".
_BY_RECIPE = ("epochs", "batch_size")
_CHOICES = {
    "early_stopping": (False, True, "auto"),
    "shuffle": (False, True),
    "warm_start": (False, True),
    "allow_nan_targets": (False, True),
    "on_divergence": ("raise", "warn"),
    "engine": ("compiled", "keras"),
}


# What SciKeras's estimators let subclasses override and nothing calls here: what it is for, the
# method that does the same here, and what to write. A class with both suits both packages.
_HOOKS_OF_SCIKERAS = {
    "_keras_build_fn": ("makes its nets", None, "build_model, or model=.... Rename the method"),
    "scorer": (
        "scores",
        "score",
        "score(X, y, sample_weight=None), or scoring=... where it is searched. Rename the method",
    ),
    "target_encoder": (
        "encodes y",
        None,
        "labels, which are encoded inside, or a TransformedTargetRegressor around the estimator. "
        "Take the property out",
    ),
    "feature_encoder": (
        "encodes X",
        None,
        "a transformer before it in a Pipeline, such as skkeras.data.ColumnsToInputs for several "
        "inputs. Take the property out",
    ),
    "_initialize": ("prepares its fits", "fit", "build_model, or fit. Rename the method"),
    "_validate_data": ("checks X and y", "fit", "fit, which may check and then call super().fit"),
    "_validate_sample_weight": ("checks weights", "fit", "fit, which may call super().fit"),
    "_fit": ("trains", "fit", "fit, which may call super().fit, or callbacks=..."),
    "_fit_keras_model": ("trains", "fit", "fit, which may call super().fit, or callbacks=..."),
    "_build_keras_model": ("makes its nets", "build_model", "build_model, or model=..."),
    "_ensure_compiled_model": ("compiles", None, "a builder that compiles its net"),
    "_get_compile_kwargs": ("compiles", None, "compile__name=..., or a builder that compiles"),
    "_get_metadata": ("describes data", None, "a builder that asks for input_shape, meta or X"),
    "_type_of_target": ("tells what y is", None, "a KerasClassifier, or KerasRegressor, for it"),
    "_check_model_compatibility": ("checks nets", None, "a net whose outputs fit y"),
    "_initialize_callbacks": ("makes callbacks", None, "callbacks=..., classes or functions"),
    "_predict_raw": ("predicts", "predict", "predict, which may call super().predict"),
    "_fit_kwargs": ("routes parameters", None, "fit__name=..., which reach keras.Model.fit"),
    "_predict_kwargs": ("routes parameters", None, "predict__name=..., for keras.Model.predict"),
    "_compile_kwargs": ("routes parameters", None, "compile__name=..., for keras.Model.compile"),
    "_tags": ("describes itself", "__sklearn_tags__", "__sklearn_tags__, as scikit-learn does"),
    "_more_tags": (
        "describes itself",
        "__sklearn_tags__",
        "__sklearn_tags__, as scikit-learn does",
    ),
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
    "predict__steps": "the rows to predict as X, which are all predicted,",
    "compile__optimizer": "optimizer=...",
    "compile__loss": "loss=...",
    "compile__metrics": "metrics=...",
}


# Routed arguments that are whole numbers, and the least that each may be.
_COUNTS = {
    "early_stopping__patience": 0,
    "early_stopping__start_from_epoch": 0,
    "fit__initial_epoch": 0,
    "fit__steps_per_epoch": 1,
    "fit__validation_steps": 1,
    "fit__validation_batch_size": 1,
    "predict__batch_size": 1,
}
# Arguments of `keras.Model.fit` that say how to validate.
_OF_VALIDATION = ("validation_steps", "validation_batch_size", "validation_freq")


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


def check_early_stopping(early_stopping, routed):
    """Raise for a routed argument that `keras.callbacks.EarlyStopping` lacks, or nothing uses."""
    import keras

    names = split_routed(routed)["early_stopping"]
    check_keywords("early_stopping", keras.callbacks.EarlyStopping, names)
    if names and early_stopping is False:
        name, value = next(iter(names.items()))
        raise ValueError(
            f"Got early_stopping__{name}={value!r}, which early_stopping=False doesn't use; "
            "expected early_stopping=True. Else leave it out."
        )


def check_validation(X_val, y_val, groups, split):
    """Raise ValueError unless what is given of validation data and groups fits together."""
    if (X_val is None) != (y_val is None) and as_stream(X_val) is None:
        raise ValueError(
            "Got only one of X_val and y_val; expected both, or neither. For a part of the "
            "training data use validation_split=0.1."
        )
    check_one_validation(X_val, split)
    if X_val is None and groups is not None and not hasattr(split, "split"):
        raise ValueError(
            f"Got groups, and validation_split={split!r} doesn't look at them; expected a "
            "splitter. Set validation_split=GroupShuffleSplit(1, test_size=0.1), or leave "
            "groups out."
        )


def check_one_validation(X_val, split):
    """Raise ValueError if validation data are given, and rows are to be held out besides."""
    if X_val is not None and split is not None:
        raise ValueError(
            f"Got X_val, and validation_split={split!r}; expected one of them. Leave X_val "
            "out, or set validation_split=None."
        )


def check_method_names(net, routed):
    """Raise ParameterNameError for a routed name that the model's fit or predict doesn't take."""
    for prefix in ("fit", "predict"):
        if names := split_routed(routed)[prefix]:
            check_keywords(prefix, getattr(net.structure, prefix), names, _OWNED)


def check_count(name, value, least):
    """Raise TypeError or ValueError, which names the parameter, unless a value is a whole number.

    Examples
    --------
    >>> from skkeras._net_params import check_count
    >>> check_count("batch_size", -1, 1)
    Traceback (most recent call last):
    ...
    ValueError: batch_size == -1, must be >= 1. For all rows at once give more than there are: \
batch_size=1_000_000.
    """
    try:
        check_scalar(value, name, Integral, min_val=least)
        if isinstance(value, bool):
            raise ValueError(f"{name} == {value}, a bool; expected a whole number.")
    except (TypeError, ValueError) as error:
        got = "" if isinstance(error, ValueError) else f" Got {name}={value!r}."
        raise type(error)(f"{error}{got}{_count_advice(name, value)}") from None


def _count_advice(name, value):
    if name.endswith("batch_size"):
        if value == -1:  # as SciKeras has it
            return f" For all rows at once give more than there are: {name}=1_000_000."
        return f" Leave {name} out for Keras's default, or give a whole number of rows."
    if "steps" in name:
        return (
            f" Leave {name} out for all batches, or give a whole number of them, such as "
            "math.ceil(n_rows / batch_size)."
        )
    if name.endswith("validation_freq"):
        return " Give a whole number of epochs, or a list of their numbers, counted from 1."
    return ""


def check_counts(routed):
    """Raise unless routed arguments that count something are whole numbers; see `check_count`."""
    for name in _COUNTS.keys() & routed.keys():
        # None is Keras's default of most.
        if routed[name] is not None or _COUNTS[name] == 0:
            check_count(name, routed[name], _COUNTS[name])
    if (epochs := routed.get("fit__validation_freq")) is not None:
        for epoch in epochs if isinstance(epochs, list) else [epochs]:
            check_count("fit__validation_freq", epoch, 1)


def check_no_hooks(cls, *, has_builder):
    """Raise TypeError if a user's class overrides a method that SciKeras calls, and nothing here.

    ``has_builder`` says that its nets are made in another way than by ``_keras_build_fn``.
    """
    for name, (purpose, ours, instead) in _HOOKS_OF_SCIKERAS.items():
        is_replaced = has_builder if name == "_keras_build_fn" else _is_users(cls, ours)
        if _is_users(cls, name) and not is_replaced:
            raise TypeError(
                f"{cls.__name__} {purpose} by {name}, as with SciKeras; expected {instead}."
            )


def _is_users(cls, name):
    """Tell whether a class has an attribute that comes from none of the libraries."""
    if name is None or not hasattr(cls, name):
        return False
    owner = next(one for one in cls.__mro__ if name in vars(one))
    return owner.__module__.partition(".")[0] not in ("skkeras", "sklearn", "builtins")


def _is_auto(value):
    return isinstance(value, str) and value == "auto"


def builder_facts(examples, target, source, seen=None):
    """Collect the facts that a builder may ask for by name.

    ``examples`` are checked inputs and targets (Table, StreamExamples or WindowExamples), ``seen``
    the numbers of the rows that are not held out. ``meta`` holds the facts once more, under
    SciKeras's names.
    """
    builder = as_builder(source)
    asked = () if builder is None else builder_parameters(builder)[0]
    facts = {
        "input_shape": input_shapes(examples.specs),
        "n_outputs": target.n_outputs,
        "n_classes": target.n_classes,
        # Only for builders that ask: it takes a look at all of y, and taking rows copies them.
        "meta": scikeras_meta(examples, target) if "meta" in asked else {},
        "output_scaling": examples.moments(target, seen) if "output_scaling" in asked else None,
    }
    if "X" in asked:
        # Only for builders that ask: rows are copied, windows gathered, sparse ones densified.
        facts["X"] = examples.shown(seen)
    return facts


class NetParamsMixin:
    """The estimator's parameters in the form that its net takes."""

    def _net_parameters(self):
        """Return the parameters that a net is made with, by name."""
        named = {name: getattr(self, name) for name in _NET_PARAMETERS}
        prefixes = (*_NET_PARAMETERS, "compile")
        routed = self._all_routed()
        routed.pop("optimizer__schedule", None)  # it's for the training alone
        return named | {k: v for k, v in routed.items() if k.partition("__")[0] in prefixes}

    def get_params(self, deep=True):
        """Get the parameters of this estimator, routed ones included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of parameters that are estimators themselves, and
            those that a preset with a recipe of its own is trained with, unless others are set.

        Returns
        -------
        params : dict
            Values by name.
        """
        params = super().get_params(deep=deep)
        return {**params, **self._recommended()} if deep else params

    def _training_recipe(self):
        has_classes = isinstance(self, ClassifierMixin)
        return _recipe_of(self._source(self.model), has_classes=has_classes)

    def _least_rows(self):
        """Return how many rows "auto" holds some out of; None without a recipe of its own."""
        return _LEAST_ROWS.get(self._source(self.model)) if isinstance(self.model, str) else None

    def _recommended(self):
        """Return, as routed parameters, how a preset is trained; without what its user replaced."""
        recipe = self._training_recipe()
        if recipe == _recipe_of(None, has_classes=False):
            return {}
        replaced = {f"fit__{k}" for k in _BY_RECIPE if not _is_auto(getattr(self, k))}
        given = [k for k in ("optimizer", "loss") if getattr(self, k) is not None]
        given += ["early_stopping"] * (self.early_stopping is False)
        if not isinstance(self._routed.get("optimizer__learning_rate", 0.0), Real):
            replaced.add("optimizer__schedule")  # the rate has one of its own
        return {
            name: value
            for name, value in recipe.items()
            if name not in {*replaced, *self._routed} and name.partition("__")[0] not in given
        }

    @property
    def _leaves_stopping(self):
        """Whether the data decide about early stopping: "auto", and no settings of it are given."""
        return self.early_stopping == "auto" and not split_routed(self._routed)["early_stopping"]

    def _all_routed(self):
        """Return the routed parameters, and those of the recipe."""
        return {**self._recommended(), **self._routed}

    def _scheduled(self, epochs):
        """Return a context for training, which gives the callbacks of the learning rate."""
        schedule = self._all_routed().get("optimizer__schedule")
        # A single epoch, such as that of `partial_fit`, has no course to follow.
        has_course = schedule is not None and len(epochs) > 1
        return scheduled(self._net, schedule, epochs) if has_course else nullcontext([])

    def _recipe(self, parameters, target, facts, x_specs):
        named = {name: parameters[name] for name in _NET_PARAMETERS}
        routed = {name: value for name, value in parameters.items() if name not in named}
        source = self._source(named.pop("model"))
        shared = tuple(self._copies.shared)
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
        if len(members) < 2:
            return []
        check_environment()  # looking for variables imports Keras
        return shared_variables(members)

    def _check_shared(self, variables):
        """Raise unless the net that goes on has its own copies of these variables."""
        known = {id(one) for one in self._copies.shared}
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
        """Take over a new learning rate and unfrozen layers; raise for any other change."""
        now, rate = self._net_parameters(), "optimizer__learning_rate"
        changed = changed_names(self._made_with, now)
        others = sorted(set(changed) - {rate})
        if others or (changed and not isinstance(now.get(rate), Real)):
            name = (others or changed)[0]
            raise ValueError(
                f"{name} was changed since the net was made, and this goes on "
                "with that net; expected nothing new but epochs, batch_size, callbacks and an "
                f"optimizer__learning_rate that is a number. Set it back{self._former(name)}, or "
                "fit with warm_start=False, or set it back and change the net itself, which is "
                'model_: model_.get_layer("...").trainable = True unfreezes a layer, and the next '
                "fit or partial_fit trains it."
            )
        self._net.train_unfrozen()
        if changed:
            self._net.model.optimizer.learning_rate = float(now[rate])
            self._made_with = now

    def _given(self, name):
        """Return the name that an argument of `keras.Model.fit` was given by, and its value."""
        routed = f"fit__{name}"
        return (routed if routed in self._routed else name), self._fit_argument(name)

    def _former(self, name):
        """Say what a parameter was when the net was made, if that is short."""
        said = repr(self._made_with.get(name))
        return f" to {said}" if name in self._made_with and len(said) < 30 else ""

    def _fit_argument(self, name):
        value = split_routed(self._routed)["fit"].get(name, getattr(self, name))
        is_left = name in _BY_RECIPE and _is_auto(value)
        return self._training_recipe()[f"fit__{name}"] if is_left else value

    def _epochs_of_fit(self, validation):
        """Return the numbers of the epochs to train; ``validation`` is None without such data.

        Raises ValueError if there are none, or an argument is about validation and there is none.
        """
        arguments, last = split_routed(self._routed)["fit"], self._fit_argument("epochs")
        first = arguments.get("initial_epoch", 0)
        if first >= last:
            raise ValueError(
                f"Got fit__initial_epoch={first} with epochs={last}, so that no epoch would be "
                "trained; expected less. epochs is the number of the last one, as in Keras, and "
                "not how many follow."
            )
        unused = [name for name in _OF_VALIDATION if arguments.get(name) is not None]
        if unused and validation is None:
            raise ValueError(
                f"Got fit__{unused[0]}={arguments[unused[0]]!r} and nothing to validate on; "
                "expected X_val (and y_val) to fit, or validation_split=0.1. Else leave it out."
            )
        return range(first, last)

    def _check_environment(self):
        check_environment()
        if self.engine == "compiled":
            warn_of_eager_functions()
        for name in (*_NET_PARAMETERS, "callbacks"):
            for _, member in members_of(getattr(self, name)):
                check_not_legacy(name, member)

    def _check_parameters(self):
        self._check_environment()
        for name in ("epochs", "batch_size"):
            check_count(*self._given(name), 1)
        check_counts(self._routed)
        if self._routed.get("optimizer__schedule") is not None:
            check_schedule(self._routed["optimizer__schedule"])
        if any(name.startswith("early_stopping__") for name in self._routed):
            check_early_stopping(self.early_stopping, self._routed)
        self._check_declared_routed()
        for name, choices in _CHOICES.items():
            given, value = self._given(name)
            if value not in choices:
                raise ValueError(f"{given}={value!r}; expected one of {choices}.")
        has_builder = self.model is not None or hasattr(self, "build_model")
        check_no_hooks(type(self), has_builder=has_builder)
        if self.augment is not None:
            check_augment(self.augment)
        if self.validation_split is not None:
            check_validation_split(self.validation_split)
        check_source(self._source(self.model), self._routed)
        check_not_owned(self._routed)

    def _predict_arguments(self):
        """Return the checked arguments for `keras.Model.predict`."""
        check_not_owned(self._routed)
        check_counts(self._routed)
        return split_routed(self._routed)["predict"]

    def _check_routed_names(self):
        source = self._source(self.model)
        # Other types are refused by fit only: scikit-learn's set_params does not validate.
        if split_routed(self._routed)["model"] and (isinstance(source, str) or callable(source)):
            check_source(source, self._routed)
