"""A comparison as CSV, a number in each row, as data frames and statistics programs read it.

Columns: `group`; `source` of another program's file; `seed`, empty for the aggregate of a group; `measure`, such as
`final cost` or, for learning curves, `cost`; `steps`, the environment steps of a point of a curve, empty for a final
number; `value`; `low` and `high`, the interval of an aggregate.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np

from gps.inspect.comparison.groups import CURVES, FINAL_COST, FINAL_RETURN, Comparison, Group, Measure
from gps.players import FINAL

COLUMNS = ("group", "source", "seed", "measure", "steps", "value", "low", "high")

_FINAL = (FINAL_COST, FINAL_RETURN, Measure("final success", FINAL, "success"))


def format_table(comparison: Comparison) -> str:
    """Return the text of the CSV file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    measures = dict.fromkeys([*_FINAL, *(m for some in comparison.apart.values() for m in some if m.what != FINAL)])
    for group in comparison.groups:
        for row in [*_list_final(group, list(measures)), *_list_curves(group)]:
            writer.writerow([group.label, group.source, *map(_format_cell, row)])
    return stream.getvalue()


def _list_final(group: Group, measures: list[Measure]) -> Iterator[tuple[object, ...]]:
    for measure in measures:
        for member in group.finished:
            if (value := measure.of(member)) is not None:
                yield member.seed, measure.name, "", value, "", ""
        if (found := group.estimate(measure)) is not None:
            yield "", measure.name, "", found.value, found.low, found.high


def _list_curves(group: Group) -> Iterator[tuple[object, ...]]:
    for name in CURVES:
        for member in group.members:
            if (curve := getattr(member, name)) is not None:
                for steps, value in zip(curve.steps, curve.values, strict=True):
                    yield member.seed, name, steps, value, "", ""
        if name in group.curves:
            aligned, found = group.curves[name]
            for i, steps in enumerate(aligned.steps):
                yield "", name, steps, found.value[i], found.low[i], found.high[i]


def _format_cell(value: object) -> str:
    """Return the shortest text that reads back as the same number; empty for NaN."""
    if isinstance(value, float | np.floating | np.ndarray):
        return "" if np.isnan(value) else repr(float(value))
    return str(value)
