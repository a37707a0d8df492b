"""Recipes: nets from an estimator's parameters and facts about its data."""

import copy
import dataclasses
import functools
from typing import Any

import numpy as np

from skkeras._building.compile_args import make_loss, make_metrics, make_optimizer
from skkeras._building.model import (
    build_variables,
    check_agrees,
    check_compiled_with,
    check_model,
    check_not_taken,
    clone_template,
    trained_variables,
)
from skkeras._building.output_activation import check_ending, ends_in_logits
from skkeras._keras_objects.copying import Copies
from skkeras._keras_objects.internals import is_layer
from skkeras._keras_objects.references import reached_parts
from skkeras._keras_objects.specs import (
    NetFacts,
    float_dtype,
    input_dtypes,
    input_shapes,
    output_shape,
)
from skkeras._losses import by_output, loss_facts, only_loss
from skkeras._params import split_routed
from skkeras._signatures import (
    builder_parameters,
    call_builder,
    check_keywords,
    describe,
)
from skkeras._targets import output_activation
from skkeras.models import find_preset


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that a net is made from; calling it makes one, built and compiled.

    ``source`` is a preset's name, a builder, or a template; ``facts`` hold by name whatever a
    builder may ask for. ``x_specs`` are the inputs' shape (without the first axis) and dtype, by
    name if there are several. ``target`` chooses the loss where none is given. ``loss``,
    ``optimizer``, ``metrics`` and ``routed`` parameters are as given to the estimator; ``shared``
    are the variables that two of them hold, or one and a callback.
    """

    source: Any
    facts: dict
    x_specs: Any
    target: Any
    loss: Any
    optimizer: Any
    metrics: Any
    routed: dict
    shared: tuple = ()
    copies: Any = None

    def __call__(self, copies=None):
        """Make a net, built, compiled and checked; ``copies`` of what was given are its own.

        Raises BuilderError if the builder returns something else, the shapes don't fit, or a
        compiled model's loss or optimizer is another than the one asked for.
        """
        copies = Copies(self.shared) if copies is None else copies
        return dataclasses.replace(self, copies=copies)._make()

    def _make(self):
        taken = trained_variables()
        model = self._build()
        check_model(model)
        build_variables(model, self.x_specs)
        check_not_taken(model, taken)
        shape = output_shape(model, self.x_specs)
        if model.compiled:
            self._check_compiled(model, shape)
        else:
            self._compile(model, shape)
        return model

    def _compile(self, model, shape):
        check_keywords("compile", model.compile, self._routed["compile"])
        model.compile(
            optimizer=self._optimizer() if self._asks("optimizer") else "adam",
            loss=self._loss(shape, model),
            metrics=self._metrics(),
            **self._routed["compile"],
        )

    def _check_compiled(self, model, shape):
        """Check that a net compiled by its builder is trained as the estimator was asked."""
        if self._asks("optimizer"):
            check_agrees(model.optimizer, self._optimizer(), "optimizer")
        if self._asks("loss"):
            compiled = model.loss if isinstance(shape, dict) else only_loss(model.loss)
            check_agrees(compiled, self._loss(shape), "loss")
        if not self._hands_over:
            asked = {"metrics": self._metrics()} if self._asks("metrics") else {}
            asked |= {f"compile__{name}": one for name, one in self._routed["compile"].items()}
            check_compiled_with(model, asked)

    def facts_of(self, model):
        """Collect the facts of a net that was made, and check that it can learn the target."""
        shape = output_shape(model, self.x_specs)
        loss = by_output(loss_facts(model.loss), shape)
        self.target.check_net(shape, loss)
        check_ending(model, loss, shape)
        dtypes = input_dtypes(model, self.x_specs)
        return NetFacts(self.x_specs, dtypes, shape, float_dtype(model), loss)

    @property
    def settings(self):
        """Whatever decides how the net is trained, besides itself and its optimizer."""
        return self.loss, self.metrics, self._routed["metrics"], self._routed["compile"]

    @property
    def key(self):
        """Text that decides a preset's net, together with the seed and Keras's settings.

        None if other than plain values do, and with users' builders, which may do anything.
        """
        if not isinstance(self.source, str):
            return None
        asked = {
            name: self.facts.get(name) for name in builder_parameters(as_builder(self.source))[0]
        }
        target = (
            type(self.target).__name__,
            *(getattr(self.target, name, None) for name in ("kind", "n_outputs", "shape")),
        )
        compiled = self.loss, self.optimizer or "adam", self.metrics
        try:
            return repr(_plain((self.source, asked, self.x_specs, target, compiled, self.routed)))
        except TypeError:
            return None

    def without_data(self):
        """Return the recipe without the training data that a builder may ask for."""
        return dataclasses.replace(self, facts={k: v for k, v in self.facts.items() if k != "X"})

    @property
    def is_repeatable(self):
        """Whether a net can be made again from a pickle, which holds no data."""
        return as_builder(self.source) is not None and not _asks_for(self.source, "X")

    def reached_parts(self):
        """Layers and variables that the builder finds by names, by their id."""
        is_users = not isinstance(self.source, str) and as_builder(self.source) is not None
        return reached_parts(self.source) if is_users else {}

    @property
    def _hands_over(self):
        return _asks_for(self.source, "compile_kwargs")

    @property
    def _routed(self):
        return split_routed(self.routed)

    def _asks(self, name):
        return getattr(self, name) is not None or bool(self._routed[name])

    def _build(self):
        builder = as_builder(self.source)
        if builder is None:
            return clone_template(self.source, self.copies)
        n_outputs = self.facts["n_outputs"]
        several = isinstance(n_outputs, dict)
        shape = {name: (n,) for name, n in n_outputs.items()} if several else (n_outputs,)
        loss = self._loss(shape)
        known = loss_facts(loss)
        if not (several and isinstance(known, list)):  # in the order of a net not made yet
            known = by_output(known, shape)
        # A builder is called more than once, and may change the lists and dicts that it gets.
        facts = {
            **self.facts,
            "meta": _fresh(self.facts["meta"]),
            "output_activation": output_activation(self.target, known),
        }
        if self._hands_over:
            facts["compile_kwargs"] = {
                "optimizer": self._optimizer(),
                "loss": loss,
                "metrics": self._metrics(),
                **self._routed["compile"],
            }
        given = self.copies.given
        hyperparameters = {k: given(_fresh(v)) for k, v in self._routed["model"].items()}
        return call_builder(given(builder), facts, hyperparameters)

    def _optimizer(self):
        return make_optimizer(self.optimizer or "adam", self._routed["optimizer"], self.copies)

    def _loss(self, output_shape, model=None):
        if self.loss is not None:
            made = make_loss(self.loss, self._routed["loss"], self.copies)
            return made if isinstance(output_shape, dict) else only_loss(made)
        default = self.target.default_loss(output_shape)
        if model is not None:
            default = self._taking_logits(default, model, output_shape)
        return make_loss(default, self._routed["loss"], self.copies)

    def _taking_logits(self, default, model, output_shape):
        """Let a default loss, or that of each output, take logits where the net ends in them."""
        import keras

        several = isinstance(default, dict)
        names = default.values() if several else [default]
        if not any(name.endswith("crossentropy") for name in names):
            return default  # logits change nothing: spare a trial of the net

        def taking(name, in_logits):
            if not (in_logits and name.endswith("crossentropy")):
                return name
            cls = getattr(keras.losses, name.title().replace("_", ""))
            return functools.partial(cls, from_logits=True)

        in_logits = ends_in_logits(model, self.x_specs, output_shape)
        if several:
            return {output: taking(name, in_logits[output]) for output, name in default.items()}
        return taking(default, in_logits)

    def _metrics(self):
        return make_metrics(self.metrics, self._routed["metrics"], self.copies)


def _plain(value):
    """Turn plain values into a form with a distinct repr; raise TypeError for others."""
    if type(value) is dict:
        return [(_plain(k), _plain(v)) for k, v in value.items()]
    if type(value) in (list, tuple):
        return type(value).__name__, [*map(_plain, value)]
    if type(value) in (type(None), bool, int, float, str):
        return value
    if isinstance(value, np.bool_ | np.integer | np.float16 | np.float32 | np.float64):
        return value.dtype.str, value.item()
    if isinstance(value, np.dtype):
        return "dtype", value.str
    raise TypeError(f"{value!r} is not plain.")


def _fresh(value):
    return copy.copy(value) if isinstance(value, list | dict) else value


def as_builder(source):
    """Return the builder that a source names or is; None for a template."""
    if isinstance(source, str):
        return find_preset(source)
    return None if is_layer(source) else source  # a keras.Model is callable, too


def builder_facts(examples, target, source, seen=None):
    """Collect the facts that a builder may ask for by name.

    ``examples`` are checked inputs and targets (Table, StreamExamples or WindowExamples), ``seen``
    the numbers of the rows that are not held out. ``meta`` holds the facts once more, under
    SciKeras's names.
    """
    X = examples.X
    facts = {
        "input_shape": input_shapes(examples.specs),
        "n_outputs": target.n_outputs,
        "n_classes": target.n_classes,
        "meta": _scikeras_meta(X, examples.y, target),
    }
    if _asks_for(source, "X"):
        # Only for builders that ask: taking rows copies them.
        facts["X"] = X if seen is None else _rows_of(X, seen)
    return facts


def check_asks_for_no_data(source):
    """Raise ValueError if a builder asks for X, which comes in batches and can't be given whole."""
    if _asks_for(source, "X"):
        raise ValueError(
            f"The builder {describe(as_builder(source))!r} asks for X, and X comes in batches; "
            "expected a builder that does without. Adapt its layers before, to a part of the data, "
            "and keep what they learnt (their vocabulary, mean and variance)."
        )


def _asks_for(source, fact):
    builder = as_builder(source)
    return builder is not None and fact in builder_parameters(builder)[0]


def _rows_of(X, rows):
    return {name: part[rows] for name, part in X.items()} if isinstance(X, dict) else X[rows]


def _scikeras_meta(X, y, target):
    first_X, first_y = (next(iter(v.values())) if isinstance(v, dict) else v for v in (X, y))
    meta = {
        "n_features_in_": int(np.prod(first_X.shape[1:])),
        "X_dtype_": first_X.dtype,
        "X_shape_": first_X.shape,
        "y_dtype_": first_y.dtype,
        "y_ndim_": first_y.ndim,
        "target_type_": target.kind,
        "n_outputs_": first_y.shape[1] if first_y.ndim == 2 else 1,
        "n_outputs_expected_": len(y) if isinstance(y, dict) else 1,
    }
    if target.classes is not None:
        meta |= {"classes_": target.classes, "n_classes_": target.n_classes}
    return meta
