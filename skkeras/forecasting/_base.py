"""Base class of forecasters: the steps of a fit on series, and of a forecast."""

import dataclasses
from datetime import timedelta
from numbers import Integral

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted, check_scalar, validate_data

from skkeras._base import BaseKerasEstimator
from skkeras._dataframes import as_frame, check_columns
from skkeras._holdout import DEFAULT_FRACTION
from skkeras._params import changed_names
from skkeras.forecasting._context import hold_out
from skkeras.forecasting._examples import WindowExamples
from skkeras.forecasting._intervals import HeldOut, widths_by_series
from skkeras.forecasting._layout import Context, without_made_up
from skkeras.forecasting._learned import LearnedSeries, known_rows, learn_series
from skkeras.forecasting._panel import only_part, parts_of, rows_by_group
from skkeras.forecasting._rollout import Rollout
from skkeras.forecasting._target import HorizonTarget
from skkeras.forecasting._time_index import index_of

_WINDOW_NORMS = (None, "last", "revin")
# They decide the net's inputs and outputs, and can't change once it is made.
_WINDOW_PARAMETERS = ("look_back", "horizon", "target", "known_future", "normalize", "window_norm")
# It decides how series go on, which is learnt with the net as well.
_LEARNED_PARAMETERS = (*_WINDOW_PARAMETERS, "freq")


# Where the rows of each call stand in the series, see `Rollout.contexts`.
_FOLLOWS = {
    "fit": "nothing",
    "initialize": "nothing",
    "partial_fit": "training",
    "X_val": "validates",
    "evaluate": "unknown",
}


class BaseForecaster(RegressorMixin, BaseKerasEstimator):
    """Base of estimators whose rows are time steps, learnt from windows of them."""

    _learned: LearnedSeries

    def _check_parameters(self):
        super()._check_parameters()
        for name, least in (("look_back", 1), ("horizon", 1), ("gap", 0)):
            if isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}={getattr(self, name)}; expected a number of rows.")
            check_scalar(getattr(self, name), name, Integral, min_val=least)
        is_step = isinstance(self.freq, str | Integral | timedelta) or hasattr(self.freq, "n")
        if self.freq is not None and (isinstance(self.freq, bool) or not is_step):
            raise TypeError(
                f"freq={self.freq!r}; expected a pandas offset or its name, such as 'B', a "
                "timedelta, a whole number for an index of integers, or None."
            )
        if self.normalize not in (False, True):
            raise ValueError(f"normalize={self.normalize!r}; expected one of (False, True).")
        if self.window_norm not in _WINDOW_NORMS:
            raise ValueError(f"window_norm={self.window_norm!r}; expected one of {_WINDOW_NORMS}.")

    def _source(self, model):
        return model if model is not None else getattr(self, "build_model", "nlinear")

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
        table, index = self._table(X, reset=reset)
        if index is None and follows != "unknown":
            index = index_of(y, "y")  # as behind a scaler that returns arrays
        parts = parts_of(table, index, groups)
        split = self._split() if splits else None
        masks = None if split is None else hold_out(split, len(table), groups)
        if reset:
            self._learned = self._learn_series(X, y, table, masks)
        truth = self._learned.truth(table, y)
        if follows == "nothing":
            is_seen = np.ones(len(table), bool) if masks is None else masks[0]
            self._learned = self._learned.remembering(
                parts, truth, is_seen, self.look_back, self.freq
            )
        rollout = self._rollout
        contexts = rollout.contexts(parts, follows)
        if follows == "training":
            self._learned = self._learned.extended(parts, contexts, self.look_back)
            contexts = {group: without_made_up(some) for group, some in contexts.items()}
        return rollout.examples(
            parts, contexts, truth, sample_weight=sample_weight, given=(X, y), masks=masks
        )

    def _learn_target(self, y, classes=None, x_shape=()):
        return HorizonTarget(self.horizon, y.series.shape[1])

    def _parts(self, examples, X_val, y_val, groups, stops):
        if X_val is not None and self.validation_split is not None:
            raise ValueError(
                f"Got X_val, and validation_split={self.validation_split!r}; expected one of them. "
                "Leave X_val out, or set validation_split=None."
            )
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
        return super()._net_parameters() | {
            name: getattr(self, name) for name in _LEARNED_PARAMETERS
        }

    def _recipe(self, parameters, target, facts, x_specs):
        parameters = {k: v for k, v in parameters.items() if k not in _LEARNED_PARAMETERS}
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

    def _table(self, X, *, reset, name="X"):
        """Check X as scikit-learn does; return it as float64, and its index."""
        frame = as_frame(X)
        index = index_of(frame, name)
        check_columns(frame, name)
        return validate_data(self, frame, dtype="float64", reset=reset), index

    def _learn_series(self, X, y, table, masks):
        is_seen = np.ones(len(table), bool) if masks is None else masks[0]
        return learn_series(
            X,
            table,
            y,
            getattr(self, "feature_names_in_", None),
            is_seen=is_seen if is_seen.any() else ~is_seen,
            target=self.target,
            known_future=self.known_future,
            normalize=self.normalize,
            window_norm=self.window_norm,
        )

    @property
    def _rollout(self):
        return Rollout(
            self._learned,
            self.look_back,
            self.horizon,
            self.gap,
            self.window_norm,
            getattr(self, "_target", None),
            self._net_outputs,
        )

    def _forecasts(self, X, history, groups, *, warns=False):
        """Return forecasts (n_rows, horizon, n_targets), and the layout they were made from."""
        check_is_fitted(self)
        self._check_unchanged()
        table, index = self._table(X, reset=False)
        parts = parts_of(table, index, groups)
        rollout = self._rollout
        if history is None:
            contexts = rollout.contexts(parts, "unknown")
            if warns:
                self._learned.warn_inside(parts, self.look_back)
        else:
            group, part = only_part(parts)
            past = self._past_of_history(history, group)
            past.check_is_right_before(part.index)
            contexts = {group: [Context(rollout.tail(past))]}
        layout = rollout.layout(parts, contexts)
        return rollout.forecasts(layout.series, layout.origins), layout

    def _past_of_history(self, history, group):
        """Check rows of history that a user gives."""
        table, index = self._table(history, reset=False, name="history")
        return self._learned.past_of_history(table, index, group, self.look_back)

    def _ahead(self, steps, X_future, history, group):
        """Return forecasts (steps, n_targets) of what comes after the end, and its index."""
        check_is_fitted(self)
        self._check_unchanged()
        check_scalar(steps, "steps", Integral, min_val=1)
        if history is None:
            past = self._learned.past(group, self.look_back)
        else:
            past = self._past_of_history(history, group)
        index = past.index_after(steps) if self._learned.kind == "pandas" else None
        names = getattr(self, "feature_names_in_", None)
        known = known_rows(
            X_future,
            self._learned.known_future,
            steps,
            None if past.timeline is None else index,
            n_columns=self.n_features_in_,
            names=names,
        )
        self._learned.check_goes_on(steps, self.horizon, names)
        return self._rollout.ahead(self._rollout.tail(past), steps, known)[0], index

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

    def _check_unchanged(self):
        changed = changed_names(self._made_with, self._net_parameters())
        for name in set(changed) & set(_LEARNED_PARAMETERS):
            raise ValueError(
                f"{name} was changed since the net was made; expected what it was trained with, "
                f"{self._made_with[name]!r}. Set it back, or fit again."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # rows of unordered data don't forecast the next
        return tags
