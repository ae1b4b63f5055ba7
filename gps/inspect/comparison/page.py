"""A comparison as one self-contained page, with Plotly and all data in the file."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from gps.errors import RunError
from gps.inspect.comparison.groups import FINAL_COST, FINAL_RETURN, Comparison, Group, Measure
from gps.inspect.comparison.words import (
    make_apart_header,
    make_apart_legend,
    make_apart_row,
    make_header,
    make_legend,
    make_row,
)
from gps.storage.folders import replace
from gps.storage.write_errors import report_write_errors

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#5D3A9B")
"""The palette of Okabe and Ito, which colour-blind readers can distinguish."""

_CURVES = {  # name -> heading, description
    "cost": ("Cost", "of a training episode, with exploration noise; mean over conditions and samples"),
    "returns": ("Return", "sum of a training episode's rewards; mean over conditions and samples"),
    "success": ("Success", "share of successful training episodes"),
    "policy_kl": (
        "KL of the policy",
        "to its teachers after each training, nats per time step; mean over conditions",
    ),
    "policy_loss": (
        "Loss of the policy",
        "after each training, on the held-out samples if there are any, on all otherwise; nats",
    ),
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em; margin-bottom: 0 } h2 { font-size: 1.15em; margin: 1.6em 0 0 }
p { margin: .2em 0 .6em; color: #555 }
.notes { background: #fff6e0; border-left: 4px solid #e69f00; padding: .5em 1em .5em 2em }
.notes li { color: #444 } .table { overflow-x: auto }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px }
th, td { padding: .3em 1.2em .3em 0; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap }
th { font-weight: 600; color: #555 } td:first-child { font-weight: 600 }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .5em }
"""


def write_comparison(comparison: Comparison, path: str | Path) -> None:
    """Write the page atomically.

    Raises:
        RunError: if the file cannot be written.
    """
    with report_write_errors(path, RunError):
        replace(Path(path), render_comparison(comparison))


def render_comparison(comparison: Comparison) -> str:
    """Return the page as HTML, about 5 MB, most of it Plotly."""
    title = f"Comparison: {comparison.title}"
    runs = sum(len(group.members) for group in comparison.groups)
    count = len(comparison.groups)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{_pluralize(runs, 'run')} in {_pluralize(count, 'group')}. Lines and numbers are interquartile means "
        "over the seeds, bands and brackets their 95 % bootstrap intervals; thin lines and dots are single seeds. A "
        "line spans the steps at which all seeds of its group have data.</p>",
        _render_notes(comparison.notes),
        _make_group_table(comparison),
        _make_final_section(comparison),
    ]
    for name, (heading, about) in _CURVES.items():
        if any(name in group.curves for group in comparison.groups):
            parts.append(
                _make_section(heading, f"{about}; against environment steps", _draw_learning_curves(comparison, name))
            )
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<link rel="icon" href="data:,">'  # otherwise a browser requests one from the server
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>\n<body>\n{body}\n</body></html>\n"
    )


def _pluralize(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _make_section(heading: str, about: str, figure: go.Figure) -> str:
    return f"<h2>{html.escape(heading)}</h2><p>{html.escape(about)}</p>{_render_figure(figure)}"


def _render_figure(figure: go.Figure) -> str:
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True})


def _render_notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _make_group_table(comparison: Comparison) -> str:
    rows = [make_row(group, comparison) for group in comparison.groups]
    return _render_table(make_header(comparison), rows, make_legend(comparison))


def _make_final_section(comparison: Comparison) -> str:
    """Return the section with the final cost (and return) of each seed and the estimate of its group.

    With policies it has a table and figures that show policies, teachers and unseen starts separately.
    """
    if not comparison.apart:
        measures = [FINAL_COST, *([FINAL_RETURN] if comparison.rewarded else [])]
        about = "the final controllers without noise, not the best ones during training"
        return _make_section("Final result", about, _draw_measures(comparison, measures))
    rows = [make_apart_row(group, comparison) for group in comparison.groups]
    about = "without noise, after the last iteration: policies from trained and from unseen starts, and their teachers"
    table = _render_table(make_apart_header(comparison), rows, make_apart_legend(comparison))
    figures = [_render_figure(_draw_measures(comparison, measures)) for measures in comparison.apart.values()]
    return "".join([f"<h2>Final result</h2><p>{html.escape(about)}</p>", table, *figures])


def _render_table(names: Sequence[str], cells_of: Sequence[Sequence[str]], lines: Sequence[str]) -> str:
    """Return a table with a row for each group, in its colour, and a legend below."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = ""
    for i, of_group in enumerate(cells_of):
        label, *cells = (html.escape(cell) for cell in of_group)
        swatch = f'<span class="swatch" style="background:{_get_colour(i)}"></span>'
        rows += f"<tr><td>{swatch}{label}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    beneath = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f'<div class="table"><table><tr>{head}</tr>{rows}</table></div>{beneath}'


# -- figures ---------------------------------------------------------------------------------------------------------


def _get_colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]


def _fade(colour: str, opacity: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{opacity})"


def _make_figure(height: int, **layout: object) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white", height=height, margin={"l": 70, "r": 20, "t": 20, "b": 55}, font_size=13, **layout
    )
    return figure


def _draw_learning_curves(comparison: Comparison, name: str) -> go.Figure:
    """Draw the learning curves of the groups; a click on a name in the legend hides a group."""
    figure = _make_figure(430, xaxis_title="environment steps", yaxis_title=_get_axis_title(name))
    figure.update_layout(hovermode="x unified", legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(rangemode="tozero")
    lowest = np.inf
    for i, group in enumerate(comparison.groups):
        if name not in group.curves:
            continue
        aligned, estimate = group.curves[name]
        colour, steps = _get_colour(i), aligned.steps
        lowest = min(lowest, float(aligned.values.min()))
        for member in group.members if len(group.members) > 1 else ():
            curve = getattr(member, name).drop_missing()
            figure.add_scatter(
                x=curve.steps, y=curve.values, mode="lines", line={"color": _fade(colour, 0.25), "width": 1},
                legendgroup=group.label, showlegend=False, hoverinfo="skip",
            )  # fmt: skip
        figure.add_scatter(
            x=np.concatenate([steps, steps[::-1]]), y=np.concatenate([estimate.high, estimate.low[::-1]]),
            fill="toself", fillcolor=_fade(colour, 0.15), line_width=0, mode="lines", legendgroup=group.label,
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=steps, y=estimate.value, customdata=np.stack([estimate.low, estimate.high], axis=-1), name=group.label,
            mode="lines+markers", line={"color": colour, "width": 2.5}, marker_size=5, legendgroup=group.label,
            showlegend=True, hovertemplate="%{y:.4g} [%{customdata[0]:.4g}, %{customdata[1]:.4g}]",
        )  # fmt: skip
    if name == "success":
        figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    elif lowest > 0:
        _add_scale_buttons(figure)
    return figure


def _get_axis_title(name: str) -> str:
    heading = _CURVES[name][0]
    return heading if heading[:2].isupper() else heading.lower()


def _add_scale_buttons(figure: go.Figure) -> None:
    buttons = [
        {"label": kind, "method": "relayout", "args": [{"yaxis.type": kind}]} for kind in ("linear", "log")
    ]  # fmt: skip
    where = {"type": "buttons", "direction": "right", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
    figure.update_layout(updatemenus=[{"buttons": buttons, "pad": {"b": 4}, **where}])


def _draw_measures(comparison: Comparison, measures: Sequence[Measure]) -> go.Figure:
    """Draw measures side by side: the values of all seeds, and the estimate of each group."""
    figure = _make_figure(80 + 46 * len(comparison.groups) + 40, showlegend=False)
    for column, measure in enumerate(measures, 1):
        for i, group in enumerate(comparison.groups):
            _add_points(figure, group, measure, _get_colour(i), column)
    n, gap = len(measures), 0.06
    width = (1 - gap * (n - 1)) / n
    rows = [group.label for group in comparison.groups]
    for column, measure in enumerate(measures, 1):
        axis = "" if column == 1 else str(column)
        left = (column - 1) * (width + gap)
        x = {"domain": [left, left + width], "title": measure.name, "anchor": f"y{axis}"}
        if measure.kind == "success":
            x |= {"range": [-0.04, 1.04], "tickformat": ".0%"}
        y: dict[str, object] = {
            "anchor": f"x{axis}",
            "range": [len(rows) - 0.5, -0.5],
            "type": "category",
            "categoryarray": rows,
        }
        y |= {"showticklabels": column == 1, "automargin": True}
        figure.update_layout({f"xaxis{axis}": x, f"yaxis{axis}": y})
    return figure


def _add_points(figure: go.Figure, group: Group, measure: Measure, colour: str, column: int) -> None:
    axes = {} if column == 1 else {"xaxis": f"x{column}", "yaxis": f"y{column}"}
    estimate = group.estimate(measure)
    seeds = [member for member in group.finished if measure.of(member) is not None]
    figure.add_scatter(
        x=[measure.of(member) for member in seeds], y=[group.label] * len(seeds), mode="markers",
        marker={"color": _fade(colour, 0.4), "size": 9}, text=[f"seed {member.seed}" for member in seeds],
        hovertemplate="%{text}: %{x:.4g}<extra></extra>", **axes,
    )  # fmt: skip
    if estimate is None or np.isnan(estimate.value):
        return
    error = {"type": "data", "symmetric": False, "array": [estimate.high - estimate.value],
             "arrayminus": [estimate.value - estimate.low], "thickness": 2.5, "width": 7}  # fmt: skip
    figure.add_scatter(
        x=[estimate.value], y=[group.label], mode="markers", error_x=error, **axes,
        marker={"color": colour, "size": 13, "symbol": "line-ns-open", "line_width": 3},
        hovertemplate=f"%{{x:.4g}} [{estimate.low:.4g}, {estimate.high:.4g}]<extra>{html.escape(group.label)}</extra>",
    )  # fmt: skip
