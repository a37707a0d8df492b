"""Blueprints of presets: such a net is made again only when somebody looks at it.

Keras takes 10 ms to make a small net, as long as 120 of its training steps. What a preset makes
depends on plain values, Keras's settings and the seed alone. So the next fit with the same ones
(the next fold of a search, the same search again) starts from the weights that were made then, and
its net is made when somebody asks for it. What a user's builder makes isn't known until it is made.
"""

import copy
import dataclasses
import functools
from typing import Any

from skkeras._engine.cache import blueprints
from skkeras._engine.net import Net
from skkeras._engine.program import state_variables, variable_bytes
from skkeras._keras_objects.fingerprint import is_shareable
from skkeras._keras_objects.references import keeps_parts
from skkeras._keras_objects.seeding import is_in_builder, make_apart, make_seeded

# Of the weights that are kept; next to the training of a larger net, making it is little.
_MAX_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class _Settings:
    """Keras's settings that decide what a net of Keras's own layers is like."""

    floatx: str
    epsilon: float
    image_data_format: str
    dtype_policy: str

    @classmethod
    def current(cls):
        """Read the settings; None if these values don't tell."""
        import keras

        config, policy = keras.config, keras.config.dtype_policy()
        if type(policy) is not keras.dtype_policies.DTypePolicy:
            return None
        return cls(config.floatx(), config.epsilon(), config.image_data_format(), policy.name)

    def call(self, make):
        """Call ``make()`` with these settings.

        Raises
        ------
        RuntimeError
            If those that all threads share are others by now, which is for the user to change.
        """
        import keras

        for name in ("floatx", "epsilon", "image_data_format"):
            then, now = getattr(self, name), getattr(keras.config, name)()
            if then != now:
                raise RuntimeError(
                    f"Keras's {name} is {now!r}, and was {then!r} when this estimator was fitted; "
                    "expected the same when its model_ is first looked at, or pickled. Call "
                    f"keras.config.set_{name}({then!r}), or look at model_ before changing it."
                )
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)  # of this thread
        try:
            return make()
        finally:
            keras.config.set_dtype_policy(before)


def _key(recipe, seed):
    """Tell what a net depends on, or None where that isn't known before it is made."""
    import keras

    key, settings = recipe.key, _Settings.current()
    # In a builder a net's names go on from those of the builder's own layers.
    if key is None or settings is None or is_in_builder():
        return None
    # A name may stand for a class of the user's; without a package even for Keras's defaults.
    for name in keras.saving.get_custom_objects():
        package, _, bare = name.rpartition(">")
        if not package or bare in key:
            return None
    return key, seed, settings


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """Starting values, fingerprint and facts of a net that was made before.

    ``start`` are the values of its variables, then the optimizer's initial ones.
    """

    make: Any
    start: list
    fingerprint: str
    facts: Any


def make_net(recipe, seed, copies=None):
    """Return the net and `NetFacts` of a recipe and a seed; ``copies`` are as for the recipe.

    Where the recipe's key is known from an earlier net, the model is made when it is needed.
    """
    import tensorflow as tf

    key = _key(recipe, seed)
    if key is not None and (known := blueprints.get(key)) is not None:
        return Net(None, recipe, recipe.settings, known), known.facts
    before = recipe.reached_parts()
    model = make_seeded(functools.partial(recipe, copies), seed)
    facts = recipe.facts_of(model)
    # What a builder keeps of its net has to stay that of this net, and follow its training.
    keeps = keeps_parts(model, before, recipe.reached_parts())
    net = Net(model, None if keeps else recipe, recipe.settings)
    if key is None or variable_bytes(model.variables) > _MAX_BYTES or not _is_ordinary(net):
        return net, facts
    kept = copy.deepcopy(recipe.without_data())  # its user may change a list of the parameters
    make = functools.partial(make_apart, functools.partial(key[-1].call, kept), seed)
    start = [tf.identity(variable.value) for variable in state_variables(model)]
    known = Blueprint(make, start, net.fingerprint, facts)
    blueprints.put(key, known)
    return Net(model, recipe, recipe.settings, known), facts


def _is_ordinary(net):
    """Tell whether shared programs train a net and predict with it."""
    shares = is_shareable(net.fingerprint)
    return shares and not net.wants_keras and not net.needs_keras_to_predict
