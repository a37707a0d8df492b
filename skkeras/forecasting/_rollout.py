"""Rollouts: forecasts by a trained net, at rows of a series and on from its own forecasts."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from skkeras.forecasting._context import beginning, last_rows
from skkeras.forecasting._examples import WindowExamples
from skkeras.forecasting._layout import Context, join, lay_out, padded, too_few
from skkeras.forecasting._missing import filled, is_known, n_known_at_end
from skkeras.forecasting._time_index import tells
from skkeras.forecasting._windows import columns_of, inputs, outcomes, window_norms


@dataclasses.dataclass(frozen=True)
class Rollout:
    """Windows of series and forecasts for them, in the series' units.

    ``gap`` rows are missing after training where no index tells; ``target``, a `HorizonTarget`,
    gives outputs an axis of steps; ``outputs(examples)`` returns the net's outputs.
    """

    learned: Any
    look_back: int
    horizon: int
    gap: int
    window_norm: Any
    target: Any
    outputs: Callable

    def windows(self, series, origins):
        """Return what the net sees of each origin, and the windows' norms."""
        series = self.learned.scaling.inputs(series)
        norm = window_norms(series, origins, self.look_back, self.window_norm)
        x = inputs(
            series,
            origins,
            look_back=self.look_back,
            horizon=self.horizon,
            known_future=self.learned.known_future,
            norm=norm,
        )
        return x, norm

    def forecasts(self, series, origins):
        """Forecast origins of a series, (n_origins, horizon, n_targets)."""
        x, norm = self.windows(series, origins)
        forecasts = self.target.forecasts(self.outputs(WindowExamples(x)))
        norm = columns_of(norm, self.learned.scaling.own)
        if norm is not None:
            level, scale = norm
            forecasts = forecasts * (1 if scale is None else scale[:, np.newaxis])
            forecasts = forecasts + level[:, np.newaxis]
        return self.learned.scaling.forecasts(forecasts)

    def ahead(self, context, steps, known=None):
        """Forecast on from the context, a horizon at a time: (steps, n_targets).

        Also returns the context's rows, followed by the forecast ones; columns that aren't
        forecast keep their last value. ``known`` are the known-future columns.
        """
        learned, rows, forecasts = self.learned, context, []
        for step in range(0, steps, self.horizon):
            ahead = np.repeat(rows[-1:], self.horizon, axis=0)
            if known is not None:
                within = np.arange(step, step + self.horizon).clip(max=len(known) - 1)
                ahead[:, learned.known_future] = known[within]
            last = padded(rows, self.look_back, learned.means)
            block = self.forecasts(np.concatenate([last, ahead]), np.array([len(last)]))[0]
            if learned.scaling.own:
                ahead[:, learned.scaling.own] = learned.scaling.columns(block)
            forecasts.append(block)
            rows = np.concatenate([rows, ahead])
        return np.concatenate(forecasts)[:steps], rows[: len(context) + steps]

    def to_come(self, context, steps, timeline, given=None, last=None):
        """Return known-future columns for whole horizons after a context; None if there are none.

        ``given`` are those that users give, the last row of which is repeated; None repeats the
        context's. ``last`` is the context's last entry, of which None is the timeline's.
        """
        learned = self.learned
        if not learned.known_future:
            return None
        n_rows = self.horizon * -(-steps // self.horizon)
        last = timeline.last if last is None and timeline is not None else last
        rows = learned.going_on(context[-1], n_rows, timeline, last)
        if given is not None:
            rows[:, learned.given_known_future] = given[np.arange(n_rows).clip(max=len(given) - 1)]
        return rows[:, learned.known_future]

    def contexts(self, parts, follows):
        """Return what precedes each series' rows: a list of `Context`, one more for each hole.

        ``follows`` says what the rows are: "nothing" (the first ones), after "training", validation
        data after it ("validates"), or "unknown", to be found out. Holes in the index are filled
        with forecasts, unless there is no trained net yet: no window crosses them then.
        """
        return {
            group: self._past_holes(
                part, self._context(part.X, part.index, group, follows), group, follows
            )
            for group, part in parts.items()
        }

    def _context(self, X, index, group, follows):
        past = None if follows == "nothing" else self.learned.past_of_rows(group)
        if past is None:
            return Context(X[:0], why=": they are the first rows of a series")
        n_warm_up, n_unsure, why = 0, 0, ""
        if follows == "unknown":
            sizes = {"look_back": self.look_back, "gap": self.gap}
            n_warm_up, gap, n_unsure = beginning(
                past, X, index, scale=self.learned.spreads, **sizes
            )
            why = _why(tells(index)) if n_warm_up else ""
        else:
            gap = past.check_follows(index)
        if follows == "validates":  # the net that would fill a gap isn't trained yet
            return Context(X[:0] if gap else past.after_holes)
        if gap == 0 or (n_warm_up == self.look_back and not n_unsure):
            return Context(self.tail(past), n_warm_up, n_unsure, why)
        before = self._going_on(self.tail(past), gap, past.timeline)
        return Context(before, n_warm_up, n_unsure, why)

    def _past_holes(self, part, first, group, follows):
        """Return the context of the first rows, and of those after each hole in their index."""
        timeline = None if part.index is None else self.learned.timeline(part.index, group)
        missing = np.zeros(0, int) if timeline is None else timeline.holes(part.index)
        starts = np.flatnonzero(missing)
        if not len(starts):
            return [first]
        contexts = [first._replace(rows=slice(0, starts[0]))]
        for start, end in zip(starts, [*starts[1:], len(part.X)], strict=True):
            before = part.X[:0]
            if follows not in ("nothing", "validates"):
                last = contexts[-1]
                before = before if last.n_warm_up else last.before
                before = last_rows(np.concatenate([before, part.X[last.rows]]), self.look_back)
                before = self._going_on(before, missing[start], timeline, part.index[start - 1])
            contexts.append(Context(before, rows=slice(start, end)))
        return contexts

    def tail(self, past):
        """Return the last rows of a series, with forecasts where its index has holes.

        If missing values are filled later, rows before these come as well, to forecast them from.
        """
        starts = [row for row, *_ in past.holes]
        first, *others = np.split(past.tail, starts)
        for (_, missing, last), rows in zip(past.holes, others, strict=True):
            first = np.concatenate([self._going_on(first, missing, past.timeline, last), rows])
        return first if self.learned.skips else first[-self.look_back :]

    def _going_on(self, before, n_missing, timeline, last=None):
        """Return rows, and after them those that are missing: forecasts, or still missing ones.

        They are missing after the timeline's ``last`` entry, or another.
        """
        if self.learned.skips:
            missing = np.full(before.shape[1], np.nan)
            last = timeline.last if last is None and timeline is not None else last
            return np.concatenate(
                [before, self.learned.going_on(missing, n_missing, timeline, last)]
            )
        known = self.to_come(before, n_missing, timeline, last=last)
        return self.ahead(before, n_missing, known)[1]

    def filled(self, rows, *, forecasts=True):
        """Fill missing values with forecasts, or, while no net is trained, with the last ones."""
        return filled(
            rows,
            self.learned.means,
            self.learned.scaling.own,
            self._forecast_missing if forecasts else None,
        )

    def _forecast_missing(self, before, rows):
        known = rows[:, self.learned.known_future] if self.learned.known_future else None
        return self.ahead(before, len(rows), known)[1][len(before) :]

    def layout(self, parts, contexts, *, fills=False):
        """Put the contexts before the rows of each series; missing values are forecast if asked."""
        layouts, numbers = [], []
        for group, part in parts.items():
            for *context, rows in contexts[group]:
                beyond = self._beyond(part, group, rows)
                layouts.append(self._lay_out(part.X[rows], beyond, *context, forecasts=fills))
                numbers.append(part.at[rows])
        return join(layouts, numbers)

    def _lay_out(self, X, beyond, before, n_warm_up, *context, forecasts):
        sizes = {"look_back": self.look_back, "horizon": self.horizon, "fill": self.learned.means}
        n_known = len(before)
        if self.learned.skips:
            n_known, before = n_known_at_end(before), self.filled(before, forecasts=forecasts)
            precedes = before[:0] if n_warm_up else before  # what is kept of training is its end
            X = self.filled(np.concatenate([precedes, X]), forecasts=forecasts)[len(precedes) :]
        if beyond is not None:
            beyond = self.filled(np.concatenate([X[-1:], beyond]), forecasts=False)[1:]
        return lay_out(X, before, n_warm_up, *context, beyond=beyond, n_known=n_known, **sizes)

    def _beyond(self, part, group, rows):
        """Return rows after the last, of which nothing but the calendar is known; or None."""
        if not self.learned.calendar:
            return None
        timeline = self.learned.timeline(part.index, group)
        unknown = np.full(part.X.shape[1], np.nan)
        return self.learned.going_on(unknown, self.horizon, timeline, part.index[rows][-1])

    def examples(self, parts, contexts, y, **given):
        """Return the windows whose context and outcome are known, lazily."""
        layout, rows_known = self.layout(parts, contexts), np.ones(len(y), bool)
        if self.learned.skips:
            for part in parts.values():
                rows_known[part.at] = is_known(part.X)
            layout = layout.leaving_out(rows_known, is_known(y), self.look_back)
        is_whole = layout.is_real & (layout.n_ahead >= self.horizon)
        if not is_whole.any():
            n_before = max(len(context.before) for one in contexts.values() for context in one)
            raise ValueError(
                too_few(len(y), n_before, self.look_back, self.horizon)
                + _crossing(contexts)
                + _missing(rows_known)
            )
        x, norm = self.windows(layout.series, layout.origins[is_whole])
        truth = layout.spread(np.nan_to_num(self.learned.scaling.targets(y)))
        norm = columns_of(norm, self.learned.scaling.own)
        y = outcomes(truth, x.origins, self.horizon, norm)
        codes = np.empty(len(is_whole), int)
        for code, part in enumerate(parts.values()):
            codes[part.at] = code
        return WindowExamples(
            x,
            y,
            layout=layout,
            horizon=self.horizon,
            groups=[*parts],
            codes=codes[is_whole],
            **given,
        )


def _crossing(contexts):
    """Say that windows don't cross holes, if there are some."""
    n_holes = sum(len(several) - 1 for several in contexts.values())
    if not n_holes:
        return ""
    return (
        f" Windows that cross holes in the index, of which X has {n_holes}, are left out; state "
        "the calendar that it follows as freq=..., or fill them with X.asfreq(...)."
    )


def _missing(rows_known):
    """Say that windows don't touch missing values, if there are some."""
    n_rows = int((~rows_known).sum())
    return f" Windows that touch the {n_rows} rows with missing values are left out." * bool(n_rows)


def _why(has_index):
    """Say why the first rows of X have no history."""
    if has_index:
        return ": its index begins within the training data"
    return ": it has no index, begins as the training data do, and so is taken for them"
