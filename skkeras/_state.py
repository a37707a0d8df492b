"""State of a fitted estimator: put back if a fit fails, copied, cloned and pickled."""

import contextlib
import copy

from skkeras import saving
from skkeras._engine.net import Net
from skkeras._keras_objects.copying import pack
from skkeras._params import changed_names

# Attributes that a fit sets before it trains.
_LEARNT = {
    "_target",
    "_learned",
    "_net",
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


@contextlib.contextmanager
def undone_on_error(estimator, *, go_on=False):
    """Leave an estimator as it was if a fit fails: not fitted, or as it was fitted before.

    A fit that is interrupted (Ctrl-C) keeps what it has trained, as Keras's does.
    """
    before = {name: value for name, value in vars(estimator).items() if name in _LEARNT}
    if go_on:  # the net and the generator are those of the earlier fit
        before["_generator"] = copy.deepcopy(before["_generator"])
        values = before["_net"].values()
    try:
        yield
    except BaseException as error:
        has_trained = go_on or vars(estimator).get("_net") is not before.get("_net")
        if has_trained and not isinstance(error, Exception):
            raise
        for name in _LEARNT & vars(estimator).keys():
            delattr(estimator, name)
        vars(estimator).update(before)
        if go_on:
            before["_net"].restore(values)
        raise


class StateMixin:
    """Pickles a net as data, and Keras objects among the parameters as faithful stand-ins."""

    def __copy__(self):
        """Copy without pickling the net: a shallow copy shares it, as it shares all else."""
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __sklearn_clone__(self):
        twin = copy.copy(self)
        vars(twin).update(self._packed_parameters())
        return super(StateMixin, twin).__sklearn_clone__()

    def __getstate__(self):
        state = {**super().__getstate__(), **self._packed_parameters()}
        state.pop("callbacks_", None)
        if "_net" in state:
            state["_net"] = saving.pack(self._net.model, self._learnt_recipe())
            # Of the values only what differs: the parameters are in the state already.
            changed = changed_names(self._made_with, self._net_parameters())
            values = {k: pack(v) for k, v in self._made_with.items() if k in changed}
            state["_made_with"] = [*self._made_with], values
        return state

    def __setstate__(self, state):
        packed = state.get("_net")
        super().__setstate__({k: v for k, v in state.items() if k != "_net"})
        if packed is not None:
            names, values = state["_made_with"]
            values = {**self._net_parameters(), **values}
            self._made_with = {name: values[name] for name in names}
            self._net = Net(saving.unpack(packed, self._learnt_recipe()))

    def _packed_parameters(self):
        """Return the parameters with stand-ins for Keras objects, which don't copy themselves."""
        names = {*self.get_params(deep=False), "_routed"}
        return {name: pack(value) for name, value in vars(self).items() if name in names}
