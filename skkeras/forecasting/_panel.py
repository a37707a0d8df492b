"""Panels: the rows of several series, which is of which, and in which steps all of them go."""

import dataclasses
import functools
import warnings
from typing import Any, NamedTuple

import numpy as np

from skkeras.forecasting._steps import panel_step, series_step, stated_step
from skkeras.forecasting._time_index import (
    check_on_grid,
    check_order,
    read_timeline,
    tells,
    words_of,
)


def rows_by_group(groups, n_rows):
    """Return the row numbers of each series by group; the group of a single series is None.

    Examples
    --------
    >>> from skkeras.forecasting._panel import rows_by_group
    >>> rows_by_group(["b", "a", "b"], 3)
    {'a': array([1]), 'b': array([0, 2])}
    """
    if groups is None:
        return {None: np.arange(n_rows)}
    labels = _labels(groups)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"groups has shape {labels.shape}; expected the group of each of {n_rows} rows, shape "
            f"({n_rows},)."
        )
    try:
        labels, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise ValueError(
            "groups has labels of several types, which can't be told apart safely; expected one. "
            "Turn them into strings."
        ) from error
    return {label: np.flatnonzero(codes == i) for i, label in enumerate(labels.tolist())}


def _labels(groups):
    """Check that none of the labels is missing; return them as an array."""
    labels = np.asarray(groups)
    if labels.dtype.kind == "M":
        labels = labels.astype("datetime64[us]")  # so that Python has a type for them
    if labels.dtype.kind in "iub":
        return labels
    # As objects, for numpy makes the string "nan" of one among strings.
    for label in np.asarray(groups, dtype=object).flat:
        if label is None or type(label).__name__ in ("NAType", "NaTType") or label != label:
            raise ValueError(
                f"groups has a missing label, {label!r}; expected which series each row is of. "
                "Leave those rows out, or give them a label."
            )
    return labels


class Part(NamedTuple):
    """Rows of one series, ``at`` these numbers among those of several."""

    at: np.ndarray
    X: np.ndarray
    index: Any


def parts_of(X, index, groups):
    """Cut rows into series, by group.

    An index that only counts all rows tells nothing of one series.
    """
    rows = rows_by_group(groups, len(X))
    if groups is None:
        return {None: Part(rows[None], X, index)}
    index = index if tells(index) else None

    def part(at):
        is_block = at[-1] - at[0] + 1 == len(at)
        some = slice(at[0], at[-1] + 1) if is_block else at  # of a slice pandas keeps the freq
        return Part(at, X[at], None if index is None else index[some])

    return {group: part(at) for group, at in rows.items()}


def only_part(parts):
    """Return the only series, the one that a history is of, as its group and its part."""
    if len(parts) > 1:
        raise ValueError(
            f"Got history= and groups of {len(parts)} series; expected one series, whose history "
            "it is. Predict them one by one, or move their ends on with update."
        )
    return next(iter(parts.items()))


def read_timelines(parts, freq=None):
    """Return the step of a panel, and the timeline of each of its series, None without an index.

    ``freq`` is the step as the user states it; None infers it.
    """
    indexes = {group: part.index for group, part in parts.items() if part.index is not None}
    if not indexes:
        if freq is not None:
            raise ValueError(
                f"Got freq={freq!r}, and X without an index of time; expected one whose step this "
                "is. Pass a DataFrame that has one, or leave freq out."
            )
        return None, dict.fromkeys(parts)
    for index in indexes.values():
        check_order(index, "X")
    if freq is None:
        step = panel_step([*indexes.values()])
        find_step = functools.partial(series_step, step=step)
    else:
        step = stated_step(freq, next(iter(indexes.values())))
        find_step = functools.partial(_stated, step)
    timelines = {}
    for group, index in indexes.items():
        whose = whose_index(group)
        if freq is not None:
            check_on_grid(index, step, f"freq={freq!r}", f"X has an index{whose}", parts[group].at)
        timelines[group] = read_timeline(
            index, find_step=find_step, whose=whose, at=parts[group].at
        )
    if freq is None:
        _warn_of_other_steps(step, timelines)
    return step, timelines


def _warn_of_other_steps(step, timelines):
    others = [one for one in timelines.values() if one.step not in (None, step)]
    if step is not None and others:
        warnings.warn(
            f"X's index{others[0].whose} is of entries {others[0].words} apart, and those of other "
            f"series are {words_of(step)} apart; each goes on as it does. If one step is meant, "
            "state it, such as freq='D'.",
            stacklevel=2,
        )


def without_frequent_holes(parts, timelines, look_back):
    """Return the timelines without guessed spacings that would leave out most windows; warn then.

    Such an index has another rhythm than one step and some holes, and windows cross these as if
    they were none. Where the step is known, windows that cross holes are left out all the same.
    """
    kept, lost, n_windows = dict(timelines), {}, 0
    for group, timeline in timelines.items():
        n_windows += max(len(parts[group].X) - look_back, 0)
        if timeline is None:
            continue
        index = parts[group].index
        starts = np.flatnonzero(timeline.holes(index))
        n_lost = int(np.diff(starts, append=len(index)).clip(max=look_back).sum())
        if timeline.step is not None:
            lost |= {group: (n_lost, starts)} if n_lost else {}
        elif n_lost > max(len(index) - look_back, 0) / 2:
            kept[group] = dataclasses.replace(timeline, spacing=None)
            _warn(
                f"{len(starts)} holes in the index of X{whose_index(group)} are taken for none, "
                "because most windows cross some",
                parts[group],
                starts[0],
            )
    n_lost = sum(n for n, _ in lost.values())
    if n_windows / 2 < n_lost < n_windows:
        group, (_, starts) = next(iter(lost.items()))
        _warn(
            f"{n_lost} of {n_windows} windows are left out, because they cross holes in the index "
            f"of X{whose_index(group)}",
            parts[group],
            starts[0],
        )
    return kept


def _warn(what, part, start):
    warnings.warn(
        f"{what}, such as the one before row {part.at[start]}: {part.index[start]} comes right "
        f"after {part.index[start - 1]}. If the index has a calendar, state it, such as "
        "freq=pandas.offsets.CustomBusinessDay(holidays=[...]); if these are several series, pass "
        "groups=, which of them each row is of; or fill the holes, with X.asfreq(...).",
        stacklevel=2,
    )


def _stated(step, index):
    return step


def whose_index(group):
    """Say in words which series something is of, if it is one of several."""
    return "" if group is None else f" of series {group!r}"
