"""The figures of a ladder's page, as descriptions for `gps.inspect.document.render_plot`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gps.inspect.document import make_layout, name_colour
from gps.inspect.statistics import Estimate
from gps.ladder.results import STAGES, RungResult
from gps.ladder.stories.story import Panel, Role, StoryTrace

Figure = dict[str, Any]
"""The `data` and the `layout` of a plot."""

_ROLES: Mapping[Role, str] = {
    "data": "@dots", "plan": "@plan", "actual": "@group-0", "bound": "@bound", "early": "@group-0", "late": "@late",
}  # fmt: skip
_CLOCK = [m * 10.0**e for e in range(-2, 6) for m in (1, 3)]
"""Ticks of a logarithmic axis of seconds."""


def number_colours(results: Sequence[RungResult]) -> dict[str, int]:
    """The number of each rung's colour: the next one within its family."""
    numbers: dict[str, int] = {}
    count: dict[str, int] = {}
    for result in results:
        numbers[result.rung.name] = count.setdefault(result.rung.family, 0)
        count[result.rung.family] += 1
    return numbers


def find_usual_range(numbers: ArrayLike) -> tuple[float, float]:
    """The range of numbers without those far from the rest: beyond Tukey's outer fences."""
    values = np.asarray(numbers, float)
    if not values.size:
        return 0.0, 1.0
    first, third = np.quantile(values, [0.25, 0.75])
    near = values[(values >= first - 3 * (third - first)) & (values <= third + 3 * (third - first))]
    return float(near.min()), float(near.max())


def draw_learning(
    family: Sequence[RungResult],
    others: Sequence[RungResult],
    colours: Mapping[str, int],
    by: str,
) -> Figure:
    """Draw the curves of a family, with those of the other rungs in grey behind them.

    Args:
        by: `steps` or `seconds`.
    """
    scale = next(iter(family)).scale
    layout = make_layout(290, "environment steps" if by == "steps" else "seconds", scale.name)
    layout["xaxis"] |= {"type": "log", "tickvals": _CLOCK} if by == "seconds" else {"rangemode": "tozero"}
    layout["yaxis"] |= {"range": _find_learning_range([*family, *others], by)}
    traces: list[Figure] = []
    for x, found in filter(None, (_get_curve(result, by) for result in others)):
        line = {"color": "@faint", "width": 1}
        traces.append({"type": "scatter", "mode": "lines", "x": x, "y": found.value, "line": line, "hoverinfo": "skip"})
    for result in family:
        colour, curve = colours[result.rung.name], _get_curve(result, by)
        traces += [] if curve is None else _draw_curve(result, curve, colour)
        traces += _draw_end(result, colour, by)
    return {"data": traces, "layout": layout}


def _find_learning_range(results: Sequence[RungResult], by: str) -> list[float]:
    """The range of the curves and of the final numbers of all rungs, with a margin: the same for all families."""
    curves = [curve[1].value for curve in (_get_curve(result, by) for result in results) if curve is not None]
    finals = [result.values for result in results if len(result.values)]
    spans = [find_usual_range(np.concatenate(found)) for found in (curves, finals) if found]
    low, high = min((low for low, _ in spans), default=0.0), max((high for _, high in spans), default=1.0)
    margin = 0.1 * (high - low) or 1.0
    return [low - margin, high + margin]


def _get_curve(result: RungResult, by: str) -> tuple[np.ndarray, Estimate] | None:
    if by == "seconds":
        return result.by_seconds
    return None if result.by_steps is None else (result.by_steps[0].steps, result.by_steps[1])


def _draw_curve(result: RungResult, curve: tuple[np.ndarray, Estimate], colour: int) -> list[Figure]:
    x, found = curve
    band = {
        "type": "scatter", "mode": "lines", "x": [*x, *x[::-1]], "y": [*found.high, *found.low[::-1]], "fill": "toself",
        "fillcolor": name_colour(colour, 0.14), "line": {"width": 0}, "hoverinfo": "skip",
    }  # fmt: skip
    line = {
        "type": "scatter", "mode": "lines", "x": x, "y": found.value, "name": result.rung.name,
        "line": {"color": name_colour(colour), "width": 2},
        "customdata": np.stack([found.low, found.high], axis=-1),
        "hovertemplate": "%{y:.4g} [%{customdata[0]:.4g}, %{customdata[1]:.4g}]",
    }  # fmt: skip
    return [band, line]


def _draw_end(result: RungResult, colour: int, by: str) -> list[Figure]:
    """Draw what was learned, without exploration, at the end of the runs."""
    if result.final is None:
        return []
    end = float(np.mean(result.steps)) if by == "steps" else float(result.stages.sum())
    value, low, high = (float(part) for part in (result.final.value, result.final.low, result.final.high))
    return [{
        "type": "scatter", "mode": "markers", "x": [end], "y": [value], "name": result.rung.name,
        "marker": {"color": name_colour(colour), "size": 9, "symbol": "diamond",
                   "line": {"color": "@card", "width": 1}},
        "error_y": {"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low],
                    "color": name_colour(colour), "thickness": 1.5, "width": 4},
        "hovertemplate": f"learned, without noise: {value:.4g} [{low:.4g}, {high:.4g}]",
    }]  # fmt: skip


def draw_time(results: Sequence[RungResult]) -> Figure:
    """Draw where the time of a run goes: sampling, fitting, improving."""
    known = [result for result in results if np.isfinite(result.stages).all()]
    layout = make_layout(100 + 24 * max(len(known), 1), "seconds of the median run", "")
    layout |= {"barmode": "stack", "bargap": 0.35, "hovermode": "y unified"}
    layout["legend"] |= {"traceorder": "normal"}
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False, "type": "category"}
    names = [result.rung.name for result in known]
    traces = [
        {"type": "bar", "orientation": "h", "y": names, "x": [float(result.stages[i]) for result in known],
         "name": stage, "showlegend": True, "marker": {"color": f"@stage-{i}"}, "hovertemplate": "%{x:.3g} s"}
        for i, stage in enumerate(STAGES)
    ]  # fmt: skip
    return {"data": traces, "layout": layout}


def draw_panel(panel: Panel) -> Figure:
    """Draw a plot of a story."""
    layout = make_layout(320, panel.x, panel.y)
    layout |= {"hovermode": "closest", "barmode": "group", "bargap": 0.3}
    if panel.log:
        layout["yaxis"] |= {"type": "log", "exponentformat": "power"}
    legend = len(panel.traces) > 1
    return {"data": [_draw_trace(trace) | {"showlegend": legend} for trace in panel.traces], "layout": layout}


def _draw_trace(trace: StoryTrace) -> Figure:
    colour = f"{_ROLES[trace.role]}/{0.25 + 0.75 * trace.shade:.3g}"
    drawn: Figure = {"type": "scatter", "x": trace.x, "y": trace.y, "name": trace.name}
    if trace.bars:
        return drawn | {"type": "bar", "marker": {"color": colour}}
    if trace.dots:
        size, opacity = (4, 0.45) if trace.role == "data" else (6, 1.0)
        marker = {"color": _ROLES[trace.role], "size": size, "opacity": opacity}
        return drawn | {"mode": "markers", "hoverinfo": "skip", "marker": marker}
    dash = {"plan": "dash", "bound": "dot"}.get(trace.role, "solid")
    width = 1.5 if trace.role == "bound" else 2.25
    return drawn | {"mode": "lines", "line": {"color": colour, "width": width, "dash": dash}}


def draw_interval(result: RungResult, low: float, high: float, colour: str, width: int = 190, height: int = 22) -> str:
    """Draw the final numbers of a rung on a scale from `low` to `high`, as SVG for a table's cell.

    A triangle at an end stands for runs beyond it.
    """
    if result.final is None:
        return ""
    middle, span = height / 2, (high - low) or 1.0

    def at(value: float) -> float:
        return 6 + (width - 12) * (min(max(float(value), low), high) - low) / span

    within = [value for value in result.values if low <= value <= high]
    dots = "".join(f'<circle cx="{at(value):.1f}" cy="{middle}" r="3" opacity=".35"/>' for value in within)
    if min(result.values) < low:
        dots += f'<path d="M0 {middle}l6 -5v10z"/>'
    if max(result.values) > high:
        dots += f'<path d="M{width} {middle}l-6 -5v10z"/>'
    left, right, centre = (at(float(part)) for part in (result.final.low, result.final.high, result.final.value))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true" '
        f'style="fill:{colour};stroke:{colour};stroke-width:0"><line x1="6" x2="{width - 6}" y1="{middle}" '
        f'y2="{middle}" style="stroke:var(--line);stroke-width:1"/>{dots}'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" style="stroke-width:2.5"/>'
        f'<line x1="{centre:.1f}" x2="{centre:.1f}" y1="4" y2="{height - 4}" style="stroke-width:3"/></svg>'
    )
