"""State of a fitted estimator: copied, cloned and pickled, and restored if a fit fails."""

import copy
import copyreg
import functools

from skkeras._callbacks import check_copyable
from skkeras._engine.net import Net
from skkeras._engine.program import state_variables
from skkeras._keras_objects.copying import (
    Copies,
    check_same,
    has_placeholders,
    pack,
    pack_model,
    pack_together,
)
from skkeras._keras_objects.held import check_named, holds_variables, is_picklable
from skkeras._keras_objects.internals import (
    build_optimizer,
    make_seeded,
    optimized,
    optimizes,
)
from skkeras._keras_objects.references import holds_layers, kept_names
from skkeras._params import changed_names
from skkeras._versions import CheckedEnvironment

# Entries of a pickle that are no attributes of the estimator.
_NOT_KEPT = {"_environment", "_net"}

# Attributes that a fit sets: removed or restored if it fails.
_LEARNT = {
    "_target",
    "_learned",
    "_net",
    "_copies",
    "_facts",
    "_builder_facts",
    "_generator",
    "_split_seed",
    "_made_with",
    "history_",
    "n_iter_",
    "best_epoch_",
    "n_features_in_",
    "feature_names_in_",
    "_input_columns",
}


def restore(estimator, before, values=None):
    """Give an estimator its earlier attributes again: not fitted, or as it was fitted before.

    ``before`` are all of them, ``values`` those of the net's variables, if the fit went on.
    """
    for name in _LEARNT & vars(estimator).keys():
        delattr(estimator, name)
    vars(estimator).update({name: one for name, one in before.items() if name in _LEARNT})
    _undo_kept(estimator, before)
    if values is not None:
        before["_net"].restore(values)


def _undo_kept(estimator, before):
    """Put back what a builder has kept of a net in the estimator's attributes."""
    for name, value in list(vars(estimator).items()):
        if value is not before.get(name) and holds_layers(value):
            delattr(estimator, name)
            if name in before:
                setattr(estimator, name, before[name])


class StateMixin:
    """Pickles a net as data, and Keras objects among the parameters as faithful placeholders."""

    def __copy__(self):
        """Copy without pickling the net, which a shallow copy shares."""
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __sklearn_clone__(self):
        twin = copy.copy(self)
        self._shared_variables()
        vars(twin).update(self._cloneable_parameters())
        try:
            return super(StateMixin, twin).__sklearn_clone__()
        except Exception:
            check_copyable(self.callbacks)
            raise

    def __reduce_ex__(self, protocol):
        return copyreg.__newobj__, (type(self),), self.__getstate__()

    def __reduce__(self):
        """Answer whoever takes objects apart rather than pickle them, as skops does.

        Raises TypeError for functions and classes that can't be found by the name that it writes.
        """
        check_named(self.__getstate__())
        return copyreg.__newobj__, (type(self),)

    def __getstate__(self):
        self._shared_variables()
        state = {**super().__getstate__(), **self._packed_parameters()}
        state.pop("callbacks_", None)
        if "_net" in state:
            # First, so that it is told before pickle imports the classes of Keras's objects.
            state = {"_environment": CheckedEnvironment(), **state}
            model = self._net.model
            state["_copies"] = self._packed_copies(model)
            kept = kept_names(state, model)
            for name in kept:  # the builder that kept it makes it again, or it is gone
                del state[name]
            recipe = copy.copy(self)._learnt_recipe()  # whose builder keeps nothing here
            state["_net"] = pack_net(model, recipe, self._copies.again(model), by_recipe=bool(kept))
            # Only changed values: the parameters themselves are in the state already.
            changed = changed_names(self._made_with, self._net_parameters())
            values = {k: pack(v) for k, v in self._made_with.items() if k in changed}
            state["_made_with"] = [*self._made_with], values
        return state

    def __setstate__(self, state):
        if has_placeholders(state):  # from skops, which doesn't make them
            state = copy.deepcopy(state)
        packed = state.get("_net")
        super().__setstate__({k: v for k, v in state.items() if k not in _NOT_KEPT})
        if packed is not None:
            names, values = state["_made_with"]
            values = {**self._net_parameters(), **values}
            self._made_with = {name: values[name] for name in names}
            self._unpack_net(packed, state.get("_copies", ()))

    def _unpack_net(self, packed, shared):
        self._copies = Copies([one for one, *_ in shared])
        recipe = self._learnt_recipe()
        model = unpack_net(packed, recipe, self._copies)
        if "model" in packed:
            # Of the net's layers, or in the same pickle as its loss, which holds this very one.
            pairs = [(one, own if i is None else model.variables[i]) for one, own, i in shared]
            self._copies.replace(pairs)
        else:
            for (_, new), (_, own, _) in zip(self._copies.pairs, shared, strict=True):
                new.assign(own)
        # Its own program trains a net whose optimizer knows frozen layers, whose loss holds
        # variables, or whose builder keeps parts of it: they follow the model's variables.
        kept = kept_names(vars(self), model)
        is_ordinary = not (shared or kept) and packed.get("optimized") is None
        make = functools.partial(_copied, model) if is_ordinary else None
        self._net = Net(model, make, recipe.settings)

    def _packed_copies(self, model):
        """Triples of shared variables: the given one, the fit's, its place among the model's."""
        places = {id(one): i for i, one in enumerate(model.variables)}
        return [(one, own, places.get(id(own))) for one, own in self._copies.pairs]

    def _packed_parameters(self):
        """Parameters with placeholders for Keras objects, which don't copy themselves."""
        names = {*self.get_params(deep=False), "_routed"}
        return pack_together({name: one for name, one in vars(self).items() if name in names})

    def _cloneable_parameters(self):
        """Parameters of which scikit-learn's deep copies share what the originals share."""
        packed, own, memo = self._packed_parameters(), vars(self), {}
        apart = {k: v for k, v in packed.items() if v is not own[k] or holds_variables(v)}
        cloneable = {name: _Jointly(value, memo) for name, value in apart.items()}
        if "_routed" in apart:
            routed = apart["_routed"].items()
            cloneable["_routed"] = {name: _Jointly(value, memo) for name, value in routed}
        return cloneable


class _Jointly:
    """A value whose deep copy is made with a memo that others have, too."""

    def __init__(self, value, memo):
        self.value = value
        self.memo = memo

    def __deepcopy__(self, _):
        return copy.deepcopy(self.value, self.memo)


def pack_net(model, recipe, copies, *, by_recipe=False):
    """Turn a compiled model with a built optimizer into data for a pickle or a deep copy.

    ``by_recipe`` asks for the builder to make it again, if it can. Of a model that Keras can't
    write, only the values of its variables are packed: its builder makes it again. Raises
    ValueError if neither way works.
    """
    if by_recipe and _makes_again(recipe, model, copies):
        return {"state": _values(state_variables(model))}
    try:
        stand_in, copied = pack_model(model)
        built_for = _built_for(model)
        _build_for(copied, built_for)
        # Once layers were unfrozen, the optimizer begins anew, see `Net.train_unfrozen`.
        unfrozen = model.optimizer and not optimizes(model.optimizer, model.trainable_variables)
        trained = copied if unfrozen else model
        _check_state(trained, copied)
    except ValueError:
        if not _makes_again(recipe, model, copies):
            raise
    else:
        # Classes defined inside a builder can't be pickled; running it again avoids that.
        if is_picklable(stand_in) or not _makes_again(recipe, model, copies):
            packed = {"model": stand_in, "state": _values(_optimizer_variables(trained))}
            return packed if built_for is None else {**packed, "optimized": built_for}
    return {"state": _values(state_variables(model))}


def unpack_net(packed, recipe, copies):
    """Make the model of `pack_net` again, with the values of all its variables."""
    if "model" in packed:
        model = _build_for(packed["model"], packed.get("optimized"))
        variables = _optimizer_variables(model)
    else:
        model = _remade(recipe, copies)
        variables = state_variables(model)
    for variable, value in zip(variables, packed["state"], strict=True):
        variable.assign(value)
    return model


def _copied(model):
    return pack_model(model)[1]


def _built_for(model):
    """Return the indices of the variables that an optimizer knows; None if it's the trainable ones.

    It knows more once layers were frozen.
    """
    if model.optimizer is None or not optimizes(model.optimizer, model.trainable_variables):
        return None
    known = optimized(model.optimizer, model.variables)
    return known if len(known) > len(model.trainable_variables) else None


def _build_for(model, indices):
    """Build a model's optimizer for some of its variables; None are the trainable ones."""
    if indices is None:
        return build_optimizer(model)
    variables = [model.variables[i] for i in indices]
    make_seeded(lambda: model.optimizer.build(variables), seed=0)
    return model


def _makes_again(recipe, model, copies):
    if not recipe.is_repeatable:
        return False
    try:
        check_same(model, _remade(recipe, copies))
    except ValueError:
        return False
    return True


def _remade(recipe, copies):
    return build_optimizer(make_seeded(lambda: recipe(copies), seed=0))


def _check_state(model, other):
    shapes = [[tuple(v.shape) for v in _optimizer_variables(m)] for m in (model, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "The optimizer of model_ was built for other variables than are trainable now; call "
            "model_.compile again after freezing layers."
        )


def _optimizer_variables(model):
    return model.optimizer.variables if model.optimizer is not None else []


def _values(variables):
    return [variable.numpy() for variable in variables]
