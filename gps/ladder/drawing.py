"""The figures of a ladder's page."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from gps.inspect.statistics import Estimate
from gps.ladder.results import STAGES, RungResult
from gps.ladder.stories.story import Panel, Role, StoryTrace

COLOURS = ("#2a6fbb", "#d1671f", "#2e9268", "#b0569c", "#8a7a12", "#5b6bd6", "#a03a3a", "#4a9fb5")
"""Colours of the rungs of a family; readers with any kind of colour vision tell neighbours apart."""

INK, MUTED, LINE, FAINT, CARD = "#22262b", "#6b7178", "#e4e4df", "#d5d7da", "#ffffff"
"""Colours of the light theme; `page.html` has those of the dark one, one for each colour here."""

_ROLES: Mapping[Role, str] = {
    "data": "#b9bdc3",
    "plan": "#e08a1e",
    "actual": "#2a6fbb",
    "bound": "#8b9098",
    "early": "#2a6fbb",
    "late": "#c0392b",
}
_CLOCK = [m * 10.0**e for e in range(-2, 6) for m in (1, 3)]
"""Ticks of a logarithmic axis of seconds."""

_STAGE_COLOURS = ("#7fb3a0", "#6f97c9", "#d9a05b")


def name_colours(results: Sequence[RungResult]) -> dict[str, str]:
    """The colour of each rung: the next one within its family."""
    colours: dict[str, str] = {}
    count: dict[str, int] = {}
    for result in results:
        i = count.setdefault(result.rung.family, 0)
        colours[result.rung.name] = COLOURS[i % len(COLOURS)]
        count[result.rung.family] += 1
    return colours


def render_figure(figure: go.Figure, about: str) -> str:
    """A figure as HTML; `about` is what a reader hears who cannot see it."""
    text = figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True})
    return f'<div class="plot" role="img" aria-label="{html.escape(about)}">{text}</div>'


def draw_learning(
    family: Sequence[RungResult], others: Sequence[RungResult], colours: Mapping[str, str], by: str, height: int = 290
) -> go.Figure:
    """Draw the curves of a family, with those of the other rungs in grey behind them.

    Args:
        by: `steps` or `seconds`.
    """
    scale = next(iter(family)).scale
    figure = _make_figure(height, "environment steps" if by == "steps" else "seconds", scale.name)
    for result in others:
        curve = _get_curve(result, by)
        if curve is not None:
            figure.add_scatter(
                x=curve[0], y=curve[1].value, mode="lines", line={"color": FAINT, "width": 1},
                hoverinfo="skip", showlegend=False,
            )  # fmt: skip
    for result in family:
        colour, curve = colours[result.rung.name], _get_curve(result, by)
        if curve is not None:
            _add_curve(figure, result, curve, colour)
        _add_end(figure, result, colour, by)
    if by == "seconds":
        figure.update_xaxes(type="log", tickvals=_CLOCK)
    else:
        figure.update_xaxes(rangemode="tozero")
    return figure


def _get_curve(result: RungResult, by: str) -> tuple[np.ndarray, Estimate] | None:
    if by == "seconds":
        return result.by_seconds
    return None if result.by_steps is None else (result.by_steps[0].steps, result.by_steps[1])


def _add_curve(figure: go.Figure, result: RungResult, curve: tuple[np.ndarray, Estimate], colour: str) -> None:
    x, found = curve
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([found.high, found.low[::-1]]), fill="toself",
        fillcolor=_fade(colour, 0.14), line_width=0, mode="lines", hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=found.value, mode="lines", line={"color": colour, "width": 2}, name=result.rung.name,
        customdata=np.stack([found.low, found.high], axis=-1), showlegend=False,
        hovertemplate="%{y:.4g} [%{customdata[0]:.4g}, %{customdata[1]:.4g}]",
    )  # fmt: skip


def _add_end(figure: go.Figure, result: RungResult, colour: str, by: str) -> None:
    """Add what was learned, without exploration, at the end of the runs."""
    if result.final is None:
        return
    end = float(np.mean(result.steps)) if by == "steps" else float(result.stages.sum())
    value, low, high = (float(part) for part in (result.final.value, result.final.low, result.final.high))
    figure.add_scatter(
        x=[end], y=[value], mode="markers", name=result.rung.name, showlegend=False,
        marker={"color": colour, "size": 9, "symbol": "diamond", "line": {"color": CARD, "width": 1}},
        error_y={"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low],
                 "thickness": 1.5, "width": 4},
        hovertemplate=f"learned, without noise: {value:.4g} [{low:.4g}, {high:.4g}]",
    )  # fmt: skip


def draw_time(results: Sequence[RungResult]) -> go.Figure:
    """Draw where the time of a run goes: sampling, fitting, improving."""
    known = [result for result in results if np.isfinite(result.stages).all()]
    figure = _make_figure(100 + 24 * max(len(known), 1), "seconds of the median run", "")
    for i, (stage, colour) in enumerate(zip(STAGES, _STAGE_COLOURS, strict=True)):
        figure.add_bar(
            y=[result.rung.name for result in known], x=[float(result.stages[i]) for result in known],
            orientation="h", name=stage, marker_color=colour, hovertemplate="%{x:.3g} s",
        )  # fmt: skip
    figure.update_layout(
        margin_t=40, barmode="stack", bargap=0.35, hovermode="y unified", showlegend=True,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", automargin=True)
    return figure


def draw_panel(panel: Panel, height: int = 320) -> go.Figure:
    """Draw a plot of a story."""
    figure = _make_figure(height, panel.x, panel.y)
    for trace in panel.traces:
        _add_trace(figure, trace)
    names = [trace.name for trace in panel.traces]
    figure.update_layout(
        showlegend=len(names) > 1, hovermode="closest", barmode="group", bargap=0.3,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font_size": 12},
    )  # fmt: skip
    if panel.log:
        figure.update_yaxes(type="log", exponentformat="power")
    return figure


def _add_trace(figure: go.Figure, trace: StoryTrace) -> None:
    colour = _fade(_ROLES[trace.role], 0.25 + 0.75 * trace.shade)
    if trace.bars:
        figure.add_bar(x=trace.x, y=trace.y, name=trace.name, marker_color=colour)
        return
    if trace.dots:
        size, opacity = (4, 0.45) if trace.role == "data" else (6, 1.0)
        figure.add_scatter(
            x=trace.x, y=trace.y, name=trace.name, mode="markers", hoverinfo="skip",
            marker={"color": _ROLES[trace.role], "size": size, "opacity": opacity},
        )  # fmt: skip
        return
    dash = {"plan": "dash", "bound": "dot"}.get(trace.role, "solid")
    figure.add_scatter(
        x=trace.x, y=trace.y, name=trace.name, mode="lines",
        line={"color": colour, "width": 1.5 if trace.role == "bound" else 2.25, "dash": dash},
    )  # fmt: skip


def _make_figure(height: int, x: str, y: str) -> go.Figure:
    figure = go.Figure()
    axis = {
        "gridcolor": LINE, "zerolinecolor": LINE, "linecolor": LINE, "tickcolor": LINE, "tickfont": {"color": MUTED},
        "title": {"font": {"color": MUTED, "size": 12}, "standoff": 8}, "automargin": True,
    }  # fmt: skip
    figure.update_layout(
        template="none", height=height, margin={"l": 52, "r": 14, "t": 14, "b": 44}, hovermode="x unified",
        hoverlabel={"bgcolor": CARD, "bordercolor": LINE},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "size": 12,
              "color": INK},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", xaxis=axis, yaxis=axis,
    )  # fmt: skip
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def _fade(colour: str, opacity: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{opacity:.3g})"


def draw_interval(result: RungResult, low: float, high: float, colour: str, width: int = 190, height: int = 22) -> str:
    """Draw the final numbers of a rung on a scale from `low` to `high`, as SVG for a table's cell."""
    if result.final is None:
        return ""
    middle, span = height / 2, (high - low) or 1.0

    def at(value: float) -> float:
        return 6 + (width - 12) * (float(value) - low) / span

    dots = "".join(
        f'<circle cx="{at(value):.1f}" cy="{middle}" r="3" fill="{colour}" opacity=".35"/>' for value in result.values
    )
    left, right, centre = (at(float(part)) for part in (result.final.low, result.final.high, result.final.value))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true">'
        f'<line x1="6" x2="{width - 6}" y1="{middle}" y2="{middle}" style="stroke:var(--line)"/>{dots}'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" stroke="{colour}" stroke-width="2.5"/>'
        f'<line x1="{centre:.1f}" x2="{centre:.1f}" y1="4" y2="{height - 4}" stroke="{colour}" stroke-width="3"/></svg>'
    )
