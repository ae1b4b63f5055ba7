"""A comparison as one self-contained page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from gps.inspect.comparison.groups import Comparison
from gps.inspect.comparison.plots import (
    Line,
    LinePlot,
    PointPlot,
    find_range,
    list_wins,
    make_curve_plots,
    make_final_plots,
    make_profile,
    place_labels,
)
from gps.inspect.comparison.words import (
    PAIR,
    count_in_words,
    label_with_runs,
    make_apart_header,
    make_apart_legend,
    make_apart_row,
    make_header,
    make_legend,
    make_row,
)
from gps.inspect.document import make_layout, make_swatch, name_colour, render_document, render_plot, render_wins

_MOST_LABELS = 12  # beside the lines; more groups get a legend
_HEIGHT = 400
_LETTER = 7.2  # pixels


def render_comparison(comparison: Comparison) -> str:
    """Return the page as HTML, about 5 MB, most of it Plotly."""
    title = f"Comparison: {comparison.title}"
    runs = sum(len(group.members) for group in comparison.groups)
    body = "\n".join([
        f"<header><h1>{html.escape(title)}</h1>",
        f'<p class="muted">{count_in_words(runs, "run")} in {count_in_words(len(comparison.groups), "group")}. Lines '
        "and numbers are interquartile means over the seeds, bands and brackets their 95 % bootstrap intervals; thin "
        "lines and dots are single seeds. A line spans the steps at which all its seeds have data.</p></header>",
        _render_notes(comparison.notes),
        _render_table(make_header(comparison), [make_row(group, comparison) for group in comparison.groups],
                      make_legend(comparison)),
        _render_settings(comparison),
        _render_final(comparison),
        _render_ranking(comparison),
        _render_curves(comparison),
    ])  # fmt: skip
    return render_document(title, body)


# -- sections ----------------------------------------------------------------------------------------------------------


def _render_notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _render_table(names: Sequence[str], cells_of: Sequence[Sequence[str]], lines: Sequence[str]) -> str:
    """Return a table with a row for each group, in its colour, and a legend below."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = ""
    for i, of_group in enumerate(cells_of):
        label, *cells = (html.escape(cell) for cell in of_group)
        rows += f"<tr><td>{make_swatch(i)}{label}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    beneath = "".join(f'<p class="muted">{html.escape(line)}</p>' for line in lines)
    return f'<div class="card scroll"><table><tr>{head}</tr>{rows}</table></div>{beneath}'


def _render_settings(comparison: Comparison) -> str:
    """Return the whole settings of the groups whose names leave some out."""
    if all(group.settings in ("", group.label) for group in comparison.groups):
        return ""
    items = "".join(
        f"<li>{make_swatch(i)}<b>{html.escape(group.label)}</b>: <code>{html.escape(group.settings)}</code></li>"
        for i, group in enumerate(comparison.groups)
        if group.settings
    )
    return f"<details><summary>All settings in which the groups differ</summary><ul>{items}</ul></details>"


def _render_final(comparison: Comparison) -> str:
    """Return the final numbers of each seed with the estimate of its group.

    With policies there are a table and plots that show policies, teachers and unseen starts separately.
    """
    head = "<h2>Final result</h2>"
    if comparison.apart:
        about = "without noise, after the last iteration: policies from trained and from unseen starts, their teachers"
        rows = [make_apart_row(group, comparison) for group in comparison.groups]
        head += f'<p class="muted">{about}</p>'
        head += _render_table(make_apart_header(comparison), rows, make_apart_legend(comparison))
    else:
        head += '<p class="muted">the final controllers without noise, not the best ones during training</p>'
    kinds = ["".join(_render_points(plot) for plot in plots) for plots in make_final_plots(comparison)]
    return head + "".join(f'<div class="grid">{figures}</div>' for figures in kinds if figures)


def _render_points(plot: PointPlot) -> str:
    return f"<figure><h3>{html.escape(plot.name)}</h3>{render_plot(_describe_points(plot), plot.name)}</figure>"


def _render_ranking(comparison: Comparison) -> str:
    """Return the performance profiles, and the probabilities that one group is better than another."""
    profile = make_profile(comparison)
    figures = [] if profile is None else [_render_lines(profile)]
    names, wins = list_wins(comparison)
    if len(names) > 1:
        about = (
            "in per cent, that a run of the row ends better than a run of the column, with its interval. With few "
            "seeds only the extremes say much."
        )
        table = render_wins(names, wins)
        figures.append(
            f"<figure><h3>Probability of improvement</h3><figcaption>{about}</figcaption>"
            f'<div class="scroll">{table}</div></figure>'
        )
    if not figures:
        return ""
    source = (
        "Profiles and probabilities after Agarwal et al. 2021, <i>Deep reinforcement learning at the edge of the "
        "statistical precipice</i>."
    )
    return f'<h2>Which is better</h2><p class="muted">{source}</p><div class="grid">{"".join(figures)}</div>'


def _render_curves(comparison: Comparison) -> str:
    plots = make_curve_plots(comparison)
    return "".join(["<h2>Learning curves</h2>" if plots else "", *map(_render_lines, plots)])


def _render_lines(plot: LinePlot) -> str:
    box = '<span class="tools"><label><input type="checkbox" class="log"> logarithmic</label></span>'
    about = f"{plot.about}; against {plot.x}" if plot.over_steps else plot.about
    return (
        f"<figure><h3>{html.escape(plot.heading)}{box if plot.positive else ''}</h3>"
        f"<figcaption>{html.escape(about)}</figcaption>{render_plot(_describe_lines(plot), plot.heading)}</figure>"
    )


# -- plots -------------------------------------------------------------------------------------------------------------


def _describe_lines(plot: LinePlot) -> dict[str, Any]:
    """Describe lines with their intervals and seeds. Each is labelled beside its end, in its colour."""
    labelled = len(plot.lines) <= _MOST_LABELS
    names = [label_with_runs(line.label, line.runs) for line in plot.lines]
    right = 22 + _LETTER * max(map(len, names)) if labelled else 16
    layout = make_layout(_HEIGHT, plot.x, plot.y, min(right, 260))
    layout["xaxis"] |= {"type": "log"} if plot.log_x else {"rangemode": "tozero" if plot.over_steps else "normal"}
    if plot.percent:
        layout["yaxis"] |= {"tickformat": ".0%"}
    traces = [trace for line, name in zip(plot.lines, names, strict=True) for trace in _draw_line(line, name)]
    scales = {
        "linear": {"range": find_range(plot, False), "labels": place_labels(plot, False, _find_gap())},
    }
    if plot.positive:
        scales["log"] = {"range": find_range(plot, True), "labels": place_labels(plot, True, _find_gap())}
    if labelled:
        traces += [
            {"type": "scatter", "mode": "text", "meta": "label", "x": [line.x[-1]], "y": [0],
             "text": [f"  {html.escape(name)}"], "textposition": "middle right", "cliponaxis": False,
             "hoverinfo": "skip", "showlegend": False, "textfont": {"color": name_colour(line.index)}}
            for line, name in zip(plot.lines, names, strict=True)
        ]  # fmt: skip
    return {"data": traces, "layout": layout, "log": plot.log, "scales": scales}


def _find_gap() -> float:
    """The height of a label, as a share of the axis."""
    return 17 / (_HEIGHT - 60)


def _draw_line(line: Line, name: str) -> list[dict[str, Any]]:
    colour, found = name_colour(line.index), line.aggregate
    silent = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
    traces: list[dict[str, Any]] = [
        {**silent, "x": seed.steps, "y": seed.values, "line": {"color": name_colour(line.index, 0.28), "width": 1}}
        for seed in (line.seeds if line.runs > 1 else ())
    ]
    if line.runs == PAIR:  # the interval is their range: no band that looks like knowledge
        edge = {"color": name_colour(line.index, 0.5), "width": 1, "dash": "dot"}
        traces += [{**silent, "x": line.x, "y": end, "line": edge} for end in (found.low, found.high)]
    elif line.runs > PAIR:
        around = [*line.x, *line.x[::-1]], [*found.high, *found.low[::-1]]
        fill = {"fill": "toself", "fillcolor": name_colour(line.index, 0.16), "line": {"width": 0}}
        traces.append({**silent, "x": around[0], "y": around[1], **fill})
    traces.append({
        "type": "scatter", "mode": "lines", "x": line.x, "y": found.value, "name": html.escape(name),
        "customdata": np.stack([found.low, found.high], axis=-1), "line": {"color": colour, "width": 2.5},
        "legendgroup": name, "showlegend": True,
        "hovertemplate": "%{y:.4g} [%{customdata[0]:.4g}, %{customdata[1]:.4g}]" if line.runs > 1 else "%{y:.4g}",
    })  # fmt: skip
    return traces


def _describe_points(plot: PointPlot) -> dict[str, Any]:
    """Describe the values of all seeds and the estimate of each group, a row each."""
    names = [html.escape(label_with_runs(row.label, len(row.values))) for row in plot.rows]
    layout = make_layout(64 + 40 * len(names), "", "")
    layout |= {"hovermode": "closest"}
    layout["yaxis"] |= {
        "type": "category", "categoryarray": names, "range": [len(names) - 0.5, -0.5], "showgrid": False,
        "tickfont": {"color": "@ink"},
    }  # fmt: skip
    layout["xaxis"] |= {"type": "log"} if plot.log else {}
    if plot.percent:
        layout["xaxis"] |= {"range": [-0.04, 1.04], "tickformat": ".0%"}
    traces: list[dict[str, Any]] = []
    for row, name in zip(plot.rows, names, strict=True):
        colour = name_colour(row.index)
        traces.append({
            "type": "scatter", "mode": "markers", "x": row.values, "y": [name] * len(row.values), "showlegend": False,
            "marker": {"color": name_colour(row.index, 0.45), "size": 9},
            "text": [f"seed {seed}" for seed in row.seeds],
            "hovertemplate": "%{text}: %{x:.4g}<extra></extra>",
        })  # fmt: skip
        if row.aggregate is None:
            continue
        value, low, high = (float(part) for part in (row.aggregate.value, row.aggregate.low, row.aggregate.high))
        error = {"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low],
                 "color": name_colour(row.index, 0.4 if len(row.values) == PAIR else 1.0),
                 "thickness": 1.2 if len(row.values) == PAIR else 2.5, "width": 6}  # fmt: skip
        traces.append({
            "type": "scatter", "mode": "markers", "x": [value], "y": [name], "showlegend": False,
            "error_x": error if len(row.values) > 1 else {"visible": False},
            "marker": {"color": colour, "size": 13, "symbol": "line-ns-open", "line": {"width": 3, "color": colour}},
            "hovertemplate": f"%{{x:.4g}} [{low:.4g}, {high:.4g}]<extra>{name}</extra>",
        })  # fmt: skip
    return {"data": traces, "layout": layout, "log": False}
