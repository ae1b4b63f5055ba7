"""A comparison as tables for the terminal, and legends for their columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gps.inspect.comparison.groups import FINAL_COST, FINAL_RETURN, Comparison, Group, Measure
from gps.inspect.formatting import align_columns, format_interval
from gps.players import TEACHERS


def make_header(comparison: Comparison) -> list[str]:
    """Return the names of the columns of `row`."""
    final = ["final cost [95 %]", *(["final return [95 %]"] if comparison.rewarded else [])]
    solved = ["runs solved", "conditions solved", "steps until solved"] if comparison.reports_success else []
    return ["group", "runs", "episodes", "steps", *final, *solved]


def make_row(group: Group, comparison: Comparison) -> list[str]:
    """Return the cells of a group."""
    return [
        group.label,
        str(len(group.members)),
        _format_span([member.episodes for member in group.members]),
        _format_span([member.steps for member in group.members]),
        format_interval(group.final_cost),
        *([format_interval(group.final_return)] if comparison.rewarded else []),
        *(_make_solved_cells(group) if comparison.reports_success else []),
    ]


def _make_solved_cells(group: Group) -> list[str]:
    """Return the cells about success."""
    if all(member.success is None and not member.solved for member in group.members):
        return ["-"] * 3
    conditions = [solved for member in group.finished for solved in member.solved]
    until = group.steps_until_solved
    return [
        f"{sum(all(member.solved) for member in group.finished)}/{len(group.finished)}",
        f"{sum(conditions)}/{len(conditions)}",
        "never" if np.isinf(until) else f"{until:,.0f}",
    ]


def make_apart_header(comparison: Comparison) -> list[str]:
    """Return the names of the columns of `apart_row`; empty without separate measures."""
    measures = _choose_apart_columns(comparison)
    return ["group", *(f"{measure.name} [95 %]" for measure in measures)] if measures else []


def make_apart_row(group: Group, comparison: Comparison) -> list[str]:
    """Return the cells of a group: the policy from trained and from unseen starts, and its teachers."""
    return [group.label, *(_make_cell(group, measure) for measure in _choose_apart_columns(comparison))]


def _choose_apart_columns(comparison: Comparison) -> list[Measure]:
    """Return the measures of `apart_row`: not those in `row`, and no returns if success is known."""
    final = {(measure.what, measure.kind) for measure in (FINAL_COST, FINAL_RETURN)}
    kinds = [kind for kind in comparison.apart if kind != "return" or "success" not in comparison.apart]
    return [m for kind in kinds for m in comparison.apart[kind] if (m.what, m.kind) not in final]


def make_apart_legend(comparison: Comparison) -> tuple[str, ...]:
    """Return the legend for the columns of `apart_row`."""
    teachers = [player for player in TEACHERS if comparison.has_teacher(player)]
    columns = [
        _POLICY_LEGEND,
        *(f"{p.value}: the {p.all} that taught the policy, from the starts that were trained on" for p in teachers),
    ]
    return "; ".join(columns), *([_APART_SUCCESS] if "success" in comparison.apart else [])


def make_legend(comparison: Comparison) -> tuple[str, ...]:
    """Return the legend for the columns of `row`."""
    return _LEGEND if comparison.reports_success else _LEGEND[:1]


def _make_cell(group: Group, measure: Measure) -> str:
    found = group.estimate(measure)
    if found is None or measure.kind != "success":
        return format_interval(found)
    starts = [solved for member in group.finished for solved in member.results[measure.what].solved]
    value, low, high = (f"{100 * float(part):.3g}" for part in (found.value, found.low, found.high))
    spread = f" [{low}, {high}]" if low != high else ""
    return f"{sum(starts)}/{len(starts)}; {value} %{spread}"


def format_comparison(comparison: Comparison) -> list[str]:
    """Return the comparison as a table for the terminal, without the notes."""
    return align_columns([make_header(comparison), *(make_row(group, comparison) for group in comparison.groups)])


def format_apart(comparison: Comparison) -> list[str]:
    """Return the table of policies, teachers and unseen starts; empty without separate measures."""
    head = make_apart_header(comparison)
    return align_columns([head, *(make_apart_row(group, comparison) for group in comparison.groups)]) if head else []


_LEGEND = (
    "final cost: of the final policy or controllers without noise, mean over the conditions; interquartile mean over "
    "the seeds",
    "steps until solved: median over the seeds of the environment steps up to the first iteration whose samples all "
    "succeeded",
)

_POLICY_LEGEND = (
    "trained, unseen: the policy without noise, from the starts that it was trained on and from the test conditions"
)
_APART_SUCCESS = (
    "success: solved starts of all seeds; then the interquartile mean over the seeds of the share of solved starts"
)


def _format_span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
