"""Columns, units and history that a forecaster learns besides weights."""

import dataclasses
import functools
import math
import warnings
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length

from skkeras._dataframes import (
    as_frame,
    check_columns,
    column_numbers,
    is_series,
    kind_of,
    labelled,
    names_of,
)
from skkeras._pickling import PickledByName
from skkeras.forecasting._calendar import calendar_columns
from skkeras.forecasting._context import keep
from skkeras.forecasting._intervals import mean_changes
from skkeras.forecasting._missing import is_known
from skkeras.forecasting._naive_errors import SEASONS, naive_errors
from skkeras.forecasting._panel import (
    read_timelines,
    rows_by_group,
    whose_index,
    without_frequent_holes,
)
from skkeras.forecasting._scaling import learn_scaling
from skkeras.forecasting._steps import series_step
from skkeras.forecasting._time_index import index_of, read_timeline, tells

# The least look-back, if none is given: two years of months, a day of hours.
_LOOK_BACK = 24


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedSeries(PickledByName):
    """Facts learnt of one or several series.

    ``target`` and ``known_future`` are column numbers, ``y_shape`` is () or (n_targets,), ``means``
    and ``spreads`` are of the columns, ``kind`` and ``names`` those of the frames that came in.
    ``pasts`` are by group, None for a single series. ``held_out`` are the windows not trained on,
    a `HeldOut`. ``step`` is that of the index of all series; None if it isn't known. ``season`` is
    what that step tells, in rows. ``skips`` leaves out windows that touch missing rows.
    ``calendar`` are the names of the last known-future columns, two for each.
    """

    target: Any
    known_future: list
    y_shape: tuple
    scaling: Any
    means: Any
    spreads: Any
    kind: Any
    names: Any
    pasts: dict = dataclasses.field(default_factory=dict)
    held_out: Any = None
    step: Any = None
    look_back: Any = None
    season: Any = None
    skips: bool = False
    calendar: tuple = ()

    @property
    def given_known_future(self):
        """The known-future columns that users give; the others are of the calendar."""
        return self.known_future[: len(self.known_future) - 2 * len(self.calendar)]

    def going_on(self, row, steps, timeline, last):
        """Repeat a row for the steps after an entry of an index, in the calendar of each."""
        rows = np.repeat(np.atleast_2d(row), steps, axis=0)
        index = timeline.going_on(last, steps) if self.calendar and timeline is not None else None
        if index is not None:
            rows[:, -2 * len(self.calendar) :] = calendar_columns(index, self.calendar)
        return rows

    def in_float64(self):
        """Return these facts with windows in the digits of the data, rather than the net's."""
        return dataclasses.replace(self, scaling=dataclasses.replace(self.scaling, dtype="float64"))

    def truth(self, table, y):
        """Return the targets (n_rows, n_targets): y, or columns of X if it is None."""
        if y is not None:
            y = check_truth(y, table, self.skips)
            if y.shape[1:] != self.y_shape and {y.shape[1:], self.y_shape} != {(), (1,)}:
                raise ValueError(
                    f"y has shape {y.shape}; expected {(len(y), *self.y_shape)}, as in training."
                )
            return y.reshape(len(y), -1)
        if self.target is None:
            raise ValueError(
                "Got no y; expected one, as in training. Without y, target=... names the columns "
                "of X to forecast."
            )
        return table[:, self.target]

    def shaped(self, forecasts):
        """Give forecasts (n_rows, horizon, n_targets) the shape of y, with an axis of steps."""
        if not self.y_shape:
            forecasts = forecasts[..., 0]
        return forecasts[:, 0] if forecasts.shape[1] == 1 else forecasts

    def labelled(self, forecasts, index):
        """Give forecasts (steps, n_targets) the form of the training data."""
        return labelled(
            forecasts if self.y_shape else forecasts[:, 0], self.kind, self.names, index
        )

    def remembering(self, parts, truth, is_seen, *, look_back, season, freq, holds_season):
        """Return these facts with the ends of new series, of which nothing was held out yet.

        ``freq`` is the step of their index, as the user states it. Without a ``look_back`` or a
        ``season``, the index tells; ``holds_season`` makes such a look-back at least a season.
        ``truth`` are the targets of all rows; the net is trained on those that ``is_seen``.
        """
        step, timelines = read_timelines(parts, freq)
        season = season or _season_of(timelines.values())
        least = season if season and holds_season else 1
        look_back = look_back or self.look_back or max(_fitting_look_back(season, parts), least)
        if not self.skips:
            timelines = without_frequent_holes(parts, timelines, look_back)
        pasts = {}
        for group, (at, X, index) in parts.items():
            changes = mean_changes(truth[at[is_seen[at]]])
            past = keep(X, look_back, timelines[group], index, changes, self.spreads)
            missing = None if index is None else timelines[group].holes(index)
            errors = naive_errors(truth[at], missing)
            pasts[group] = dataclasses.replace(past, naive_errors=errors)
        facts = {"step": step, "look_back": look_back, "season": season}
        return dataclasses.replace(self, pasts=pasts, held_out=None, **facts)

    def extended(self, parts, contexts):
        """Return these facts with the ends moved on by rows that follow their contexts."""
        pasts = dict(self.pasts)
        for group, (_, X, index) in parts.items():
            if group in pasts:
                before, *_, last = contexts[group][-1]
                pasts[group] = pasts[group].with_rows(
                    before, X, index, self.look_back, self.spreads, last=last
                )
            else:
                timeline = self.timeline(index, group)
                changes = self._changes(X)
                pasts[group] = keep(X, self.look_back, timeline, index, changes, self.spreads)
        return dataclasses.replace(self, pasts=pasts)

    def timeline(self, index, group):
        """Return the timeline of rows of one series: a known one, or that of a new series."""
        if group in self.pasts:
            return self.pasts[group].timeline
        return self._new_timeline(index, "X", whose_index(group))

    def _new_timeline(self, index, name, whose=""):
        """Read the index of a series that training had not, in the step of the others."""
        known = next((past.timeline for past in self.pasts.values() if past.timeline), None)
        if known is None or not tells(index):
            return read_timeline(index, name, whose=whose)
        known.check_kind(index, name, whose)
        find_step = functools.partial(series_step, step=self.step)
        return read_timeline(index, name, find_step=find_step, whose=whose)

    def _changes(self, X):
        """Return the mean changes of the targets, read off their own columns; or None."""
        own = self.scaling.own
        return mean_changes(X[:, own] * self.scaling.factors) if own else None

    def past_of_rows(self, group):
        """Return the ends of the series that some rows are of; None for a new one."""
        if group is None and None not in self.pasts:
            raise ValueError(
                f"Got no groups; expected the series of each row, for the net was trained on "
                f"{len(self.pasts)}. Pass groups=; to predict rows of one series, history= will do."
            )
        if group is not None and None in self.pasts:
            raise ValueError(
                "Got groups, and the net was trained without; expected none. Leave groups out, "
                "pass history= for rows of another series, or train with groups."
            )
        return self.pasts.get(group)

    def warn_inside(self, parts):
        """Warn of rows inside the training data, whose history nobody has kept."""
        n_rows = sum(
            min(len(part.X), self.look_back)
            for group, part in parts.items()
            if (past := self.pasts.get(group)) is not None and past.is_inside(part.index)
        )
        if n_rows:
            warnings.warn(
                f"{n_rows} rows of X have fewer than look_back={self.look_back} known rows before "
                "them, "
                "for its index begins neither where the training data begin, nor after they end; "
                "means of training stand for those that lack. Pass history=, the rows right before "
                "X, or begin X where the training data begin.",
                stacklevel=4,  # where predict is called
            )

    def past(self, group):
        """Return the ends of one series that is long enough to go on."""
        group = next(iter(self.pasts)) if group is None and len(self.pasts) == 1 else group
        if group not in self.pasts:
            raise ValueError(
                f"Got group={group!r}; expected one of the {len(self.pasts)} series of training: "
                f"{', '.join(map(repr, list(self.pasts)[:10]))}. For another one pass history=."
            )
        if (n_rows := len(self.pasts[group].tail)) < self.look_back:
            raise ValueError(
                f"Got {n_rows} rows of the series; expected at least look_back={self.look_back}, "
                "the rows that a forecast is made from. Pass history=, or update with more rows."
            )
        return self.pasts[group]

    def naive_errors(self, season, groups, n_rows):
        """Return the seasonal naive's error in training for the series of each of some rows.

        NaN where there is none, (n_rows, n_targets).
        """
        if season not in SEASONS:
            raise ValueError(
                f"Got season={season}; expected one of {', '.join(map(str, SEASONS))}, whose "
                "errors are kept of the training data."
            )
        errors = np.full((n_rows, len(self.scaling.slope)), np.nan)
        only = next(iter(self.pasts)) if len(self.pasts) == 1 else None
        for group, at in rows_by_group(groups, n_rows).items():
            past = self.pasts.get(only if group is None else group)
            if past is not None and past.naive_errors is not None:
                errors[at] = past.naive_errors[SEASONS.index(season)]
        return errors

    def past_of_history(self, X, index, group):
        """Return the past of a series that a history ends; its index goes on as in training."""
        if len(X) < self.look_back:
            raise ValueError(
                f"history has {len(X)} rows; expected at least look_back={self.look_back}, the "
                "rows that a forecast is made from. Give earlier ones, too."
            )
        only = next(iter(self.pasts)) if len(self.pasts) == 1 else group
        known = self.pasts.get(only if group is None else group)
        if known is None or known.missing(index, "history") is None or known.timeline.step is None:
            timeline = self._new_timeline(index, "history")
        else:
            timeline = known.timeline.moved(len(X), index)
        return keep(X, self.look_back, timeline, index, self._changes(X))

    def check_goes_on(self, steps, horizon, names=None):
        """Raise if forecasts beyond the horizon would need columns that nobody forecasts."""
        n_columns = len(self.scaling.center)
        unforecast = sorted({*range(n_columns)} - {*self.scaling.own} - {*self.known_future})
        labels = unforecast if names is None else [names[i] for i in unforecast]
        if steps > horizon and unforecast:
            raise ValueError(
                f"Got steps={steps}, beyond horizon={horizon}: the forecasts go on from "
                f"forecasts, and X's columns {labels} have none; expected targets and "
                "known_future columns alone. Forecast those columns too, declare them "
                f"known_future, or train with horizon={steps}."
            )


def learn_series(
    X, table, y, names, *, is_seen, target, known_future, normalize, window_norm, skips, calendar=()
):
    """Learn which columns are what, and their units from the rows that ``is_seen``.

    X and y, as given to fit, count for their types and names; ``table`` is X, checked, and after it
    the columns of the calendar.
    """
    n_columns = table.shape[1] - 2 * len(calendar)
    known, own = (
        None if given is None else column_numbers(name, given, n_columns, names)
        for name, given in (("known_future", known_future), ("target", target))
    )
    known = [*(known or []), *range(n_columns, table.shape[1])]
    if {*(own or ())} & {*known}:
        raise ValueError(
            f"Got target={target!r} and known_future={known_future!r}, which have a column in "
            "common; expected none, because what is known needs no forecast."
        )
    if y is not None:
        truth, labels = check_truth(y, table, skips), names_of(y)
        y_shape, kind = truth.shape[1:], kind_of(X) or kind_of(y)
        truth = truth.reshape(len(truth), -1)
        if own is not None and len(own) != truth.shape[1]:
            raise ValueError(
                f"Got target={target!r}, and y of shape {(len(truth), *y_shape)}; expected as many "
                "columns as y has targets, the ones that hold their past. Leave target or y out."
            )
    else:
        own = [i for i in range(n_columns) if i not in known] if own is None else own
        if not own:
            raise ValueError(
                f"Got target={target!r} and known_future={known_future!r}, and X has {n_columns} "
                "columns; expected some to forecast. Name them in target, or give y."
            )
        truth, labels = table[:, own], names_of(X)
        is_one = isinstance(target, str | Integral) or (target is None and is_series(X))
        y_shape, kind = () if is_one else (len(own),), kind_of(X)
        labels = None if labels is None else [labels[i] for i in own]
    is_seen = is_seen & is_known(table) & is_known(truth)
    if not is_seen.any():
        raise ValueError(
            "Got X whose rows all have missing values; expected some to train on that have none. "
            "Leave out columns without values, or fill them."
        )
    scaling = learn_scaling(
        table[is_seen], truth[is_seen], own, normalize=normalize, known_future=known
    )
    if window_norm is not None and not scaling.own:
        raise ValueError(
            f"Got window_norm={window_norm!r} and a y that is no column of X, so that no window "
            "has its level; expected y's own past among the columns. Add it, or set "
            "window_norm=None."
        )
    means, spreads = table[is_seen].mean(axis=0), table[is_seen].std(axis=0)
    scaling.center[n_columns:], scaling.scale[n_columns:] = 0, 1  # sines and cosines stay
    facts = own, known, y_shape, scaling, means, spreads, kind, labels
    return LearnedSeries(*facts, skips=skips, calendar=calendar)


def _season_of(timelines):
    return next((one.season for one in timelines if one is not None and one.season), None)


def _fitting_look_back(season, parts):
    """Return a look-back of whole seasons, if the longest series has four such windows."""
    whole = math.ceil(_LOOK_BACK / (season or 1)) * (season or 1)
    return whole if 4 * whole <= max(len(part.X) for part in parts.values()) else _LOOK_BACK


def known_rows(X_future, known_future, steps, index, *, n_columns, names=None):
    """Check the rows to come; return their known-future columns (n_rows, n_known), or None.

    X_future has all columns of X, some of them, or the known ones alone; ``index`` is the expected
    one.
    """
    if not known_future:
        return None
    labels = known_future if names is None else [names[i] for i in known_future]
    if X_future is None:
        raise ValueError(
            f"Got no X_future; expected {steps} rows of the columns known in advance, {labels}."
        )
    own_index = index_of(as_frame(X_future))
    if index is not None and own_index is not None:
        n_shared = min(len(index), len(own_index))
        if not own_index[:n_shared].equals(index[:n_shared]):
            raise ValueError(
                f"X_future begins at {own_index[0]}; expected the index that follows what is "
                f"known, from {index[0]} to {index[-1]}."
            )
    given = names_of(as_frame(X_future))
    if names is not None and given is not None:
        missing = [label for label in labels if label not in given]
        if missing:
            raise ValueError(f"X_future lacks the columns {missing}; expected {labels}.")
        frame = as_frame(X_future)[labels]
        check_columns(frame, "X_future")
        known = check_array(frame, dtype="float64", input_name="X_future")
    else:
        known = check_array(X_future, dtype=None, ensure_all_finite=False, input_name="X_future")
        if known.shape[1] == n_columns:
            known = known[:, known_future]
        known = check_array(known, dtype="float64", input_name="X_future")
    if known.shape[1] != len(known_future):
        raise ValueError(
            f"X_future has {known.shape[1]} columns; expected those known in advance, {labels}, or "
            f"all {n_columns} of X."
        )
    if len(known) < steps:
        raise ValueError(f"X_future has {len(known)} rows; expected steps={steps} of them.")
    return known


def check_truth(y, table, may_miss=False):
    """Check targets as scikit-learn does; return them as float64. Values ``may_miss`` or not."""
    is_finite = "allow-nan" if may_miss else True
    y = check_array(
        y, ensure_2d=False, dtype="float64", input_name="y", ensure_all_finite=is_finite
    )
    check_consistent_length(table, y)
    if y.ndim > 2:
        raise ValueError(
            f"y has shape {y.shape}; expected (n_rows,) or (n_rows, n_targets). The horizon is no "
            "axis of y: row t of y is what is forecast for row t of X."
        )
    return y
