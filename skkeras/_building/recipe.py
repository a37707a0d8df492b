"""Recipes: nets from an estimator's parameters and facts about its data, built and checked."""

import copy
import dataclasses
import functools
import weakref
from typing import Any

import numpy as np

from skkeras._building.compile_args import make_loss, make_metrics, make_optimizer
from skkeras._building.compiled_models import check_agrees, check_compiled_with
from skkeras._building.metric_targets import check_metrics, outputs_read_as_rows, reads_any
from skkeras._building.output_scaling import (
    scale_outputs,
    scaling_facts,
    scaling_places,
    scaling_values,
)
from skkeras._keras_objects.copying import Copies, compile_anew
from skkeras._keras_objects.internals import (
    NetFacts,
    compile_arguments,
    float_dtype,
    input_dtypes,
    input_shapes,
    is_layer,
    output_shape,
    symbolic_inputs,
)
from skkeras._keras_objects.references import reached_parts
from skkeras._losses import (
    by_output,
    check_ending,
    ends_in_logits,
    loss_facts,
    only_loss,
)
from skkeras._params import (
    builder_parameters,
    call_builder,
    check_keywords,
    describe,
    python_scalars,
    split_routed,
)
from skkeras._targets.base import MultiOutput, output_activation
from skkeras._versions import check_not_legacy, take_only_input
from skkeras.exceptions import BuilderError, SharedVariablesError
from skkeras.models import find_preset

_RATE = "learning rate"


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
        take_only_input(model)
        build_variables(model, self.x_specs)
        check_not_taken(model, taken)
        shape = self._output_shape(model)
        if model.compiled:
            self._check_compiled(model, shape)
        else:
            self._compile(model, shape)
        if self.facts["output_scaling"] is not None:
            scale_outputs(self.facts["output_scaling"], model, shape)
        return model

    def own_places(self, model):
        """Return where a model has values that the key leaves out, as `own_values` takes it."""
        moments = self.facts["output_scaling"]
        places = {} if moments is None else scaling_places(moments, model)
        if _given_rate(self.routed) is not None:
            optimizer, n_before = model.optimizer, len(model.variables)
            [i] = [i for i, v in enumerate(optimizer.variables) if v is optimizer.learning_rate]
            places[_RATE] = n_before + i
        return places

    def own_values(self, places):
        """Return these values of this recipe, by their index among `state_variables`.

        They are the learning rate, if one is given, and the constants that scale outputs to y.
        """
        places = dict(places)
        values = {places.pop(_RATE): _given_rate(self.routed)} if _RATE in places else {}
        if places:
            losses = {output: self._loss(shape) for output, (shape, _) in places.items()}
            values |= scaling_values(self.facts["output_scaling"], places, losses)
        return values

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
        if self._asks("optimizer") and not self._adjusts_template:
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
        shape = self._output_shape(model)
        losses = by_output(model.loss, shape)
        loss, target = loss_facts(losses), self.target.reading(shape)
        target.check_net(shape, loss)
        loss = target.with_y_shape(loss, losses, shape)
        check_ending(model, loss, shape)
        compiled = compile_arguments(model) or {}
        metrics = [compiled.get(name) for name in ("metrics", "weighted_metrics")]
        if any(metrics):
            check_metrics(metrics, getattr(target, "targets", target), loss, shape)
        dtypes = input_dtypes(model, self.x_specs)
        lists = isinstance(shape, dict) and isinstance(
            model(symbolic_inputs(self.x_specs)), list | tuple
        )
        return NetFacts(self.x_specs, dtypes, shape, float_dtype(model), loss, lists)

    def _output_shape(self, model):
        """Return the shape of the net's output; by name if y is, however many there are."""
        by_name = isinstance(self.target, MultiOutput)
        shape = output_shape(model, self.x_specs, by_name=by_name)
        if by_name or not isinstance(shape, dict):
            return shape
        check_by_name(shape)
        return next(iter(shape.values()))

    @property
    def settings(self):
        """Whatever decides how the net is trained, besides itself and its optimizer."""
        return self.loss, self.metrics, self._routed["metrics"], self._routed["compile"]

    @property
    def key(self):
        """Text that decides a preset's net, together with the seed and Keras's settings.

        It leaves out what `own_values` returns. None if other than plain values decide, and with
        users' builders, which may do anything.
        """
        if not isinstance(self.source, str):
            return None
        asked = {
            name: self.facts.get(name) for name in builder_parameters(as_builder(self.source))[0]
        }
        if "output_scaling" in asked:  # the moments are values of its weights
            asked["output_scaling"] = asked["output_scaling"] is not None
        target = (
            type(self.target).__name__,
            *(getattr(self.target, name, None) for name in ("kind", "n_outputs", "shape")),
        )
        compiled = self.loss, self.optimizer or "adam", self.metrics
        routed = self.routed
        if _given_rate(routed) is not None:
            routed = {**routed, "optimizer__learning_rate": "a number"}
        try:
            return repr(_plain((self.source, asked, self.x_specs, target, compiled, routed)))
        except TypeError:
            return None

    def without_data(self):
        """Return the recipe without the training data that a builder may ask for."""
        return dataclasses.replace(self, facts={k: v for k, v in self.facts.items() if k != "X"})

    def detached(self):
        """Copy it to be kept: without data, and with parameters that its user can't change."""
        names = ("loss", "optimizer", "metrics", "routed")
        own = copy.deepcopy({name: getattr(self, name) for name in names})
        return dataclasses.replace(self.without_data(), **own)

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
            return self._from_template()
        n_outputs = self.facts["n_outputs"]
        several = isinstance(n_outputs, dict)
        if several and isinstance(self.source, str):
            raise BuilderError(
                f"y has the outputs {[*n_outputs]}, and model={self.source!r} one; expected one "
                "array. Write a builder for several outputs, which asks for n_outputs."
            )
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
        if facts["output_scaling"] is not None:
            facts |= scaling_facts(facts["output_scaling"], facts["output_activation"], known)
        if self._hands_over:
            facts["compile_kwargs"] = {
                "optimizer": self._optimizer(),
                "loss": loss,
                "metrics": self._metrics(),
                **self._routed["compile"],
            }
        given = self.copies.given
        hyperparameters = {k: given(_fresh(v)) for k, v in self._routed["model"].items()}
        own = builder if isinstance(self.source, str) else given(builder)
        return call_builder(own, facts, hyperparameters)

    @property
    def _adjusts_template(self):
        """Whether optimizer parameters go to the optimizer that a template is compiled with."""
        routed = self.optimizer is None and self._routed["optimizer"]
        return bool(routed) and is_layer(self.source) and self.source.compiled

    def _from_template(self):
        model = clone_template(self.source, self.copies)
        if self._adjusts_template:
            routed = self._routed["optimizer"]
            compile_anew(model, make_optimizer(model.optimizer, routed, self.copies))
        return model

    def _optimizer(self):
        return make_optimizer(self.optimizer or "adam", self._routed["optimizer"], self.copies)

    def _loss(self, output_shape, model=None):
        if self.loss is not None:
            made = make_loss(self.loss, self._routed["loss"], self.copies)
            return made if isinstance(output_shape, dict) else only_loss(made)
        default = self._for_metrics(self.target.reading(output_shape).default_loss(output_shape))
        if model is not None:
            default = taking_logits(default, model, self.x_specs, output_shape)
        routed = self._routed["loss"]
        if isinstance(default, str) and not routed:
            return default  # Keras makes it
        return make_loss(default, routed, self.copies)

    def _for_metrics(self, default):
        """Let default losses take one-hot rows, where metrics read those or labels are smoothed."""

        def changed(loss, name):
            is_sparse = loss == "sparse_categorical_crossentropy"
            return loss.removeprefix("sparse_" * (is_sparse and name in self._reading_rows))

        if isinstance(default, dict):
            return {name: changed(loss, name) for name, loss in default.items()}
        return changed(default, None)

    @functools.cached_property
    def _reading_rows(self):
        """Names of the outputs whose metrics or loss read one-hot rows; None is the only one's."""
        targets = getattr(self.target, "targets", {None: self.target})
        if any(v and name.endswith("label_smoothing") for name, v in self._routed["loss"].items()):
            return {*targets}
        given = self.metrics, self._routed["compile"].get("weighted_metrics")
        if all(map(reads_any, given)):
            return set()
        n_classes = {name: target.n_classes for name, target in targets.items()}
        return outputs_read_as_rows(lambda: [self._metrics(), given[1]], n_classes)

    def _metrics(self):
        if not self._asks("metrics"):
            return None
        return make_metrics(self.metrics, self._routed["metrics"], self.copies)


def _given_rate(routed):
    """Return the learning rate as a float, if it is given as a number; else None."""
    rate = python_scalars(routed.get("optimizer__learning_rate"))
    return float(rate) if isinstance(rate, int | float) and not isinstance(rate, bool) else None


def taking_logits(default, model, x_specs, output_shape):
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

    in_logits = ends_in_logits(model, x_specs, output_shape)
    if several:
        return {output: taking(name, in_logits[output]) for output, name in default.items()}
    return taking(default, in_logits)


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


# Trainable variables of all living nets, by their id.
_trained: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def trained_variables():
    """Return the trainable variables of all living nets, by their id."""
    # Not `dict(_trained)`: nets may be collected, and other threads may make some, meanwhile.
    living = (reference() for reference in _trained.valuerefs())
    return {id(variable): variable for variable in living if variable is not None}


def clone_template(template, copies):
    """Copy a `keras.Model`: same architecture, same weights, same compile settings, no state.

    Raises BuilderError if it has no weights yet, ValueError if there is no faithful copy.
    """
    if not template.built:
        raise BuilderError(
            f"Got model={template.name!r}, a keras.Model that isn't built, so it has no weights "
            "to start from; expected one that knows its input shape. Begin it with keras.Input, "
            "or pass a function that makes it."
        )
    return copies.model(template)


def check_not_taken(model, taken):
    """Raise if a net shares weights with one that was made earlier: one fit would change both."""
    for variable in model.trainable_variables:
        if taken.get(id(variable)) is variable:
            raise SharedVariablesError(
                f"The builder returned a net with the weights {variable.path!r} of a net that it "
                "had returned before, so that one fit would train the other's; expected new "
                "layers. Make them inside the builder, or copy them there with "
                "keras.models.clone_model and set_weights, or pass the model itself: each fit "
                "starts from a copy of it."
            )
        _trained[id(variable)] = variable


def check_model(model):
    import keras

    if not isinstance(model, keras.Model):
        check_not_legacy("the net of a builder", model)
        raise BuilderError(
            f"The builder returned {model!r} of type {type(model).__name__}; expected a "
            "keras.Model. Does it end in `return model`?"
        )


def check_by_name(output_shape):
    """Raise BuilderError if a net has several outputs; for one array of targets."""
    if len(output_shape) > 1:
        by_name = ", ".join(f"{name!r}: ..." for name in output_shape)
        raise BuilderError(
            f"The net has {len(output_shape)} outputs, {', '.join(map(repr, output_shape))}, and y "
            f"is one array; expected a target for each. Give y as a dict with these names, "
            f"{{{by_name}}}, or let the net have one output."
        )


def build_variables(model, x_specs):
    """Create the variables of a net that doesn't know its input shape, and check the one it has."""
    inputs = getattr(model, "inputs", None)
    if model.built and inputs:
        _check_inputs(inputs, x_specs)
        return
    try:
        model(symbolic_inputs(x_specs))
    except Exception as error:
        raise BuilderError(
            f"The net {model.name!r} can't be called on rows of shape {input_shapes(x_specs)}: "
            f"{error}"
        ) from error


def _check_inputs(inputs, x_specs):
    specs = x_specs if isinstance(x_specs, dict) else {None: x_specs}
    if len(inputs) != len(specs):
        raise BuilderError(
            f"X has {len(specs)} input(s) and the net has {len(inputs)}: "
            f"{[tensor.name for tensor in inputs]}; expected one array for each, as a dict by name."
        )
    by_name = {tensor.name: tensor for tensor in inputs}
    for name, (shape, _) in specs.items():
        if name is not None and name not in by_name:
            raise BuilderError(
                f"X has an input {name!r} that the net doesn't have; expected {list(by_name)}."
            )
        expected = tuple(by_name[name].shape if name is not None else inputs[0].shape)[1:]
        if not _fits(shape, expected):
            raise BuilderError(
                f"X has rows of shape {shape}, and the net's input has shape {expected}. Let the "
                "builder take input_shape and begin with keras.Input(input_shape), or reshape X."
            )


def _fits(shape, expected):
    """True if Keras takes rows of a shape: it adds or drops a last axis of length 1."""
    candidates = [shape, (*shape, 1)] + [shape[:-1]] * (shape[-1:] == (1,))
    return any(
        len(candidate) == len(expected)
        and all(e in (None, c) for c, e in zip(candidate, expected, strict=True))
        for candidate in candidates
    )
