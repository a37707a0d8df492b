"""Lazy models: the Keras model of one fit, made at once or when somebody needs it."""

import threading

import numpy as np

from skkeras._keras_objects.seeding import build_optimizer, one_at_a_time


class LazyModel:
    """Compiled Keras model that may not be made yet.

    It is there from the start, or a blueprint makes it when it is first needed. A model that its
    blueprint can make again may be released, to become the worker of a program, and is made again
    when needed; from when somebody sees or trains it, it is pinned: the same object for good.
    """

    def __init__(self, model, blueprint=None):
        self.made = model  # None while there is none
        self._blueprint = blueprint
        self._built_optimizer = None
        self._is_pinned = False
        self._lock = threading.Lock()  # so that a model is either pinned or released

    def get(self):
        """Return the model, making it if need be; its variables may hold old values."""
        model = self.made
        if model is None:
            with one_at_a_time():
                model = self.made
                if model is None:
                    model = self.made = self._blueprint.make()
        return model

    def ready(self):
        """Pin the model and return it, with a built optimizer.

        The optimizer is built no earlier: next to a short fit, making its variables takes long.
        """
        self.pin()
        model = self.get()
        # Keras calls an optimizer built before it has all its variables.
        if model.optimizer is not self._built_optimizer:
            with one_at_a_time():
                build_optimizer(model)
                self._built_optimizer = model.optimizer
        return model

    def pin(self):
        """Release the model no more."""
        with self._lock:
            self._is_pinned = True

    def release(self):
        """Give the model up, unless it is pinned or can't be made again; then return None."""
        with self._lock:
            if self._is_pinned or self._blueprint is None:
                return None
            model, self.made = self.made, None
            return model

    def values(self):
        """Return the values of its variables; its optimizer's, unless built, may be missing."""
        # Other threads may release the model, or be making it, while it isn't pinned.
        if self._blueprint is not None and (self.made is None or not self._is_pinned):
            return self._blueprint.start
        return [variable.value for variable in state_variables(self.made)]


def state_variables(model):
    """Return the variables which training starts from and changes, the optimizer's at the end."""
    optimizer = model.optimizer
    return [*model.variables, *(optimizer.variables if optimizer is not None else ())]


def variable_bytes(variables):
    """Return how much memory variables take."""
    return sum(v.value.dtype.size * int(np.prod(v.shape)) for v in variables)
