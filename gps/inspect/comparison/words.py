"""A comparison as tables for the terminal, and legends for their columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gps.inspect.comparison.groups import FINAL_COST, FINAL_RETURN, Comparison, Group, Measure
from gps.inspect.formatting import align_columns, drop_columns, format_interval
from gps.inspect.statistics import Estimate
from gps.metrics import ABSENT
from gps.players import TEACHERS

PAIR = 2
"""Number of runs whose bootstrap interval is their range. The range of n runs holds the median of all runs with
probability 1 - 2^(1 - n)."""


def make_header(comparison: Comparison) -> list[str]:
    """Return the names of the columns of `row`."""
    final = [f"{measure.name} [95 %]" for measure in _choose_final_columns(comparison)]
    solved = ["runs solved", "conditions solved", "steps until solved"] if comparison.reports_success else []
    sources = ["source"] if any(group.source for group in comparison.groups) else []
    return ["group", "runs", "episodes", "steps", *final, *solved, *sources]


def _choose_final_columns(comparison: Comparison) -> list[Measure]:
    costs = any(member.cost is not None or member.final_cost is not None for member in comparison.members)
    return [*([FINAL_COST] if costs else []), *([FINAL_RETURN] if comparison.rewarded else [])]


def make_row(group: Group, comparison: Comparison) -> list[str]:
    """Return the cells of a group."""
    return [
        group.label,
        str(len(group.members)),
        _format_span([member.episodes for member in group.members if member.episodes]),
        _format_span([member.steps for member in group.members]),
        *(_format_estimate(group, measure) for measure in _choose_final_columns(comparison)),
        *(_make_solved_cells(group) if comparison.reports_success else []),
        *([group.source or "gps"] if any(other.source for other in comparison.groups) else []),
    ]


def _format_estimate(group: Group, measure: Measure) -> str:
    """Return an estimate with its interval; a star marks the interval of two runs."""
    found = group.estimate(measure)
    star = "*" if len(group.finished) == PAIR and found is not None and found.low != found.high else ""
    return f"{format_interval(found)}{star}"


def label_with_runs(label: str, runs: int) -> str:
    """Return the name of a group, with the number of its runs where that is too small for an interval."""
    return f"{label} ({count_in_words(runs, 'run')})" if runs <= PAIR else label


def count_in_words(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def format_wins(comparison: Comparison) -> list[str]:
    """Return the probability that each group is better than the first one, as lines for the terminal."""
    scored = [group for group in comparison.groups if len(group.get_scores(comparison.scale))]
    if len(scored) < 2:
        return []
    first, *others = scored
    known = [(group, found) for group in others if (found := group.beats(first, comparison.scale)) is not None]
    what = comparison.scale.measure.name
    lines = [f"probability that a run is better than one of {first.label}, by the {what}:"]
    table = [[f"  {group.label}", format_percent(found)] for group, found in known]
    return lines + align_columns(table)


def format_percent(found: Estimate) -> str:
    """`83 % [50, 100]`."""
    value, low, high = (round(100 * float(part)) for part in (found.value, found.low, found.high))
    return f"{value} %" if low == high else f"{value} % [{low}, {high}]"


def format_settings(comparison: Comparison) -> list[str]:
    """Return the settings of the groups whose names leave some out, as lines for the terminal."""
    if all(group.settings in ("", group.label) for group in comparison.groups):
        return []
    return [f"{group.label}: {group.settings}" for group in comparison.groups if group.settings]


def _make_solved_cells(group: Group) -> list[str]:
    """Return the cells about success."""
    if all(member.success is None and not member.solved for member in group.members):
        return [ABSENT] * 3
    if not group.finished:
        return [ABSENT, ABSENT, _format_until(group)]
    conditions = [solved for member in group.finished for solved in member.solved]
    return [
        f"{sum(all(member.solved) for member in group.finished)}/{len(group.finished)}",
        f"{sum(conditions)}/{len(conditions)}",
        _format_until(group),
    ]


def _format_until(group: Group) -> str:
    until = group.steps_until_solved
    return "never" if np.isinf(until) else f"{until:,.0f}"


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
    pair = any(len(group.finished) == PAIR for group in comparison.groups)
    return (*(_LEGEND if comparison.reports_success else _LEGEND[:1]), *([_PAIR_LEGEND] if pair else []))


def _make_cell(group: Group, measure: Measure) -> str:
    found = group.estimate(measure)
    if found is None or measure.kind != "success":
        return _format_estimate(group, measure)
    starts = [solved for member in group.finished for solved in member.results[measure.what].solved]
    value, low, high = (f"{100 * float(part):.3g}" for part in (found.value, found.low, found.high))
    spread = f" [{low}, {high}]" if low != high else ""
    return f"{sum(starts)}/{len(starts)}; {value} %{spread}"


_LEAST = ("source", "episodes", "conditions solved", "steps", "runs solved", "steps until solved", "runs")
"""Columns that a narrow terminal leaves out, the first ones first."""


def format_comparison(comparison: Comparison, width: int | None = None) -> list[str]:
    """Return the comparison as a table for a terminal of a width, without the notes."""
    table = [make_header(comparison), *(make_row(group, comparison) for group in comparison.groups)]
    return align_columns(drop_columns(table, width, _LEAST))


def format_apart(comparison: Comparison) -> list[str]:
    """Return the table of policies, teachers and unseen starts; empty without separate measures."""
    head = make_apart_header(comparison)
    return align_columns([head, *(make_apart_row(group, comparison) for group in comparison.groups)]) if head else []


_PAIR_LEGEND = (
    "* of two runs: the interval is their range, which holds the median of all runs with probability 1/2; "
    "of six runs, with 97 %"
)
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
    if not values:
        return ABSENT
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
