"""A comparison as a figure for paper: PDF, SVG or PNG, drawn by Matplotlib, which needs no browser."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.errors import DrawingError, install_command
from gps.inspect.comparison.groups import Comparison
from gps.inspect.comparison.plots import (
    LinePlot,
    PointPlot,
    find_range,
    make_curve_plots,
    make_final_plots,
    make_profile,
    place_labels,
)
from gps.inspect.comparison.words import PAIR, label_with_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2a6fbb", "#d1671f", "#2e9268", "#b0569c", "#8a7a12", "#5b6bd6", "#a03a3a", "#2f8aa3")
"""The colours of the groups on white, those of style.css."""

_INK, _MUTED, _LINE = "#1d2024", "#686e76", "#e3e3df"
_WIDTH, _PANEL = 7.2, 2.5  # inches
_SIZE = 8.0  # points
_STYLE: dict[Any, Any] = {
    "font.size": _SIZE, "axes.labelsize": _SIZE, "axes.titlesize": _SIZE + 1, "axes.titlelocation": "left",
    "axes.edgecolor": _MUTED, "axes.labelcolor": _MUTED, "xtick.color": _MUTED, "ytick.color": _MUTED,
    "text.color": _INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": _LINE,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "gps",
    "figure.dpi": 100, "savefig.dpi": 200,
}  # fmt: skip


def draw_comparison(comparison: Comparison, kind: str) -> bytes:
    """Return a figure: the learning curves, the final results and the performance profiles, two panels in a row.

    Args:
        kind: pdf, svg or png.

    Raises:
        DrawingError: if Matplotlib is missing.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise DrawingError(f".{kind} needs one more package: {install_command('figures')}") from None
    wanted = {comparison.scale.measure.kind, "success"}
    curves = [plot for plot in make_curve_plots(comparison) if plot.y in wanted]
    points = [plot for plots in make_final_plots(comparison) for plot in plots]
    profile = make_profile(comparison)
    panels: list[LinePlot | PointPlot] = [*curves, *points, *([] if profile is None else [profile])]
    if not panels:
        raise DrawingError("nothing to draw: no group has a learning curve or a final result")
    rows = -(-len(panels) // 2)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _PANEL * rows), layout="constrained")
        for i, panel in enumerate(panels):
            axes = figure.add_subplot(rows, min(2, len(panels)), i + 1)
            if isinstance(panel, LinePlot):
                _draw_lines(axes, panel)
            else:
                _draw_points(axes, panel)
        stream = io.BytesIO()
        dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # equal runs give equal bytes
        figure.savefig(stream, format=kind, metadata=dated.get(kind))
    return stream.getvalue()


def _draw_lines(axes: Axes, plot: LinePlot) -> None:
    for line in plot.lines:
        colour, found = _get_colour(line.index), line.aggregate
        for seed in line.seeds if line.runs > 1 else ():
            axes.plot(seed.steps, seed.values, color=colour, alpha=0.28, linewidth=0.6)
        if line.runs == PAIR:
            for end in (found.low, found.high):
                axes.plot(line.x, end, color=colour, alpha=0.5, linewidth=0.7, linestyle=":")
        elif line.runs > PAIR:
            axes.fill_between(line.x, found.low, found.high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(line.x, found.value, color=colour, linewidth=1.6)
    axes.set_title(plot.heading)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    if plot.log:
        axes.set_yscale("log")
    low, high = find_range(plot, plot.log)
    axes.set_ylim(*((10.0**low, 10.0**high) if plot.log else (low, high)))
    if plot.log_x:
        axes.set_xscale("log")
    elif plot.over_steps:
        axes.set_xlim(left=0)
    if plot.percent:
        axes.yaxis.set_major_formatter(_format_share)
    gap = 1.35 * _SIZE / 72 / (0.7 * _PANEL)
    for line, y in zip(plot.lines, place_labels(plot, plot.log, gap), strict=True):
        axes.annotate(
            label_with_runs(line.label, line.runs), (line.x[-1], y), xytext=(4, 0), textcoords="offset points",
            color=_get_colour(line.index), va="center", ha="left", annotation_clip=False,
        )  # fmt: skip


def _draw_points(axes: Axes, plot: PointPlot) -> None:
    for i, row in enumerate(plot.rows):
        colour = _get_colour(row.index)
        axes.plot(row.values, np.full(len(row.values), i), "o", color=colour, alpha=0.45, markersize=4.5, mew=0)
        if row.aggregate is None:
            continue
        value, low, high = (float(part) for part in (row.aggregate.value, row.aggregate.low, row.aggregate.high))
        if len(row.values) > 1:
            pair = len(row.values) == PAIR
            axes.plot([low, high], [i, i], color=colour, linewidth=0.8 if pair else 1.8, linestyle=":" if pair else "-")
        axes.plot([value], [i], "|", color=colour, markersize=11, mew=2.2)
    axes.set_title(plot.name[:1].upper() + plot.name[1:])
    names = [label_with_runs(row.label, len(row.values)) for row in plot.rows]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    if plot.log:
        axes.set_xscale("log")
    if plot.percent:
        axes.set_xlim(-0.04, 1.04)
        axes.xaxis.set_major_formatter(_format_share)


def _get_colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _format_share(value: float, _: Any) -> str:
    return f"{value:.0%}"
