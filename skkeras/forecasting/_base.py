"""Base class of forecasters: the steps of a fit on series, and of a forecast."""

import dataclasses

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skkeras._base import BaseKerasEstimator
from skkeras._holdout import DEFAULT_FRACTION
from skkeras._net_params import check_one_validation
from skkeras.forecasting._context import hold_out
from skkeras.forecasting._examples import WindowExamples
from skkeras.forecasting._intervals import HeldOut, widths_by_series
from skkeras.forecasting._layout import without_made_up
from skkeras.forecasting._mixin import ForecasterMixin
from skkeras.forecasting._panel import parts_of, rows_by_group
from skkeras.forecasting._target import HorizonTarget

_WINDOW_NORMS = (None, "last", "revin")

# Where the rows of each call stand in the series, see `Rollout.contexts`.
_FOLLOWS = {
    "fit": "nothing",
    "initialize": "nothing",
    "partial_fit": "training",
    "X_val": "validates",
    "evaluate": "unknown",
}


class BaseForecaster(ForecasterMixin, BaseKerasEstimator):
    """Base of nets whose rows are time steps, learnt from windows of them."""

    _learned_parameters = (
        *ForecasterMixin._learned_parameters,
        "calendar",
        "normalize",
        "window_norm",
    )

    def _check_parameters(self):
        super()._check_parameters()
        self._check_window_parameters()
        if self.normalize not in (False, True):
            raise ValueError(f"normalize={self.normalize!r}; expected one of (False, True).")
        if self.window_norm not in _WINDOW_NORMS:
            raise ValueError(f"window_norm={self.window_norm!r}; expected one of {_WINDOW_NORMS}.")

    def _source(self, model):
        return model if model is not None else getattr(self, "build_model", "nlinear_mlp")

    def _examples(
        self,
        X,
        y,
        sample_weight=None,
        *,
        groups=None,
        use,
        go_on=False,
        splits=False,
        classes=None,
    ):
        follows = "nothing" if use == "partial_fit" and not go_on else _FOLLOWS[use]
        if follows != "nothing":
            self._check_unchanged()
        reset = follows == "nothing" and not go_on
        if follows == "unknown":
            table, index = self._table(X, reset=False)
            parts = parts_of(table, index, groups)
        else:
            table, parts = self._parts_of_fit(X, y, groups, reset=reset)
        split = self._split() if splits else None
        masks = None if split is None else hold_out(split, len(table), groups)
        is_seen = np.ones(len(table), bool) if masks is None else masks[0]
        if reset:
            self._learned = self._learn_series(X, y, table, is_seen)
        if follows == "nothing":
            truth = self._learn_ends(y, table, parts, is_seen)
        else:
            truth = self._learned.truth(table, y)
        rollout = self._rollout
        contexts = rollout.contexts(parts, follows)
        if follows == "training":
            self._learned = self._learned.extended(parts, contexts)
            contexts = {group: without_made_up(some) for group, some in contexts.items()}
        return rollout.examples(
            parts, contexts, truth, sample_weight=sample_weight, given=(X, y), masks=masks
        )

    def _learn_target(self, y, classes=None, x_shape=()):
        return HorizonTarget(self.horizon, y.series.shape[1])

    def _parts(self, examples, X_val, y_val, groups, stops):
        check_one_validation(X_val, self.validation_split)
        if X_val is not None and groups is not None:
            raise ValueError(
                "Got X_val and groups, which say nothing of the rows of X_val; expected one of "
                "them. Set validation_split=0.2, which holds out the end of each series."
            )
        if X_val is None and y_val is not None:
            raise ValueError("Got y_val and no X_val; expected both, or neither. Pass X_val.")
        if examples.masks is None:
            return None
        return examples.split(self._split(), "", self._target, groups, self._split_seed)

    def _split(self):
        """Return the fraction, number or splitter that holds rows out; None if none are."""
        if self.validation_split is None and self.early_stopping is True:
            return DEFAULT_FRACTION
        return self.validation_split

    def _net_parameters(self):
        return super()._net_parameters() | self._window_parameters()

    def _recipe(self, parameters, target, facts, x_specs):
        parameters = {k: v for k, v in parameters.items() if k not in self._learned_parameters}
        own = {
            "horizon_": target.steps[0],
            "n_targets_": target.steps[1],
            "target_columns_": self._learned.scaling.own,
        }
        facts = {**facts, "meta": {**facts["meta"], **own}}
        return super()._recipe(parameters, target, facts, x_specs)

    def _train(self, training, validation, examples, *others):
        super()._train(training, validation, examples, *others)
        if validation is not None:
            # Kept as rows, which are few; errors are as many as windows times steps.
            x, y = (part.only(validation.subset) for part in (validation.x, validation.y))
            groups, codes = [None], np.zeros(len(x), int)
            if examples.masks is not None:
                groups, codes = examples.groups, examples.codes[validation.subset]
            held_out = HeldOut(x, y, groups, codes)
            self._learned = dataclasses.replace(self._learned, held_out=held_out)

    def _widths(self, coverage, groups, history, group=None):
        """Return half-widths of intervals by series; a history is that of ``group``."""
        check_is_fitted(self)
        pasts = self._learned.pasts
        changes = {one: past.changes for one, past in pasts.items()}
        only = next(iter(changes.values())) if len(pasts) == 1 else None
        for one in groups:
            changes.setdefault(one, only if one is None else None)
        if history is not None and group not in pasts:
            changes[group] = self._past_of_history(history, group).changes
        held_out = self._held_out()
        errors = self._errors(held_out)
        return widths_by_series(errors, held_out.codes, held_out.groups, changes, coverage)

    def _widths_of_rows(self, coverage, X, history, groups):
        """Return half-widths of intervals, (n_rows, horizon, n_targets)."""
        rows = rows_by_group(groups, len(X))
        widths = self._widths(coverage, rows, history, next(iter(rows)))
        of_rows = np.empty((len(X), *self._target.steps))
        for group, at in rows.items():
            of_rows[at] = widths[group]
        return of_rows

    def _held_out(self):
        if self._learned.held_out is None:
            raise ValueError(
                "Got no windows that the net wasn't trained on, and so nothing to tell its errors "
                "from; expected a fit that holds some out. Set validation_split=0.2, or pass X_val."
            )
        return self._learned.held_out

    def _errors(self, held_out):
        """Return the absolute errors of the windows held out, in the targets' units."""
        y, outputs = held_out.y, self._net_outputs(WindowExamples(held_out.x))
        errors = self._target.forecasts(outputs) - self._target.forecasts(y[:])
        if y.scale is not None:
            errors *= y.scale[:, np.newaxis]
        return np.abs(errors * self._learned.scaling.slope)
