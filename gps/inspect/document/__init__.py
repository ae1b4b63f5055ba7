"""The frame of a self-contained page with plots: head, style, Plotly, and a script that draws the plots.

The page follows the theme and the width of the reader's screen.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

from gps.inspect.statistics import Estimate

_COLOURS = 8  # in style.css
_MOST_LEVEL = 6  # names in the head of a table that stand level; more are turned


def render_document(title: str, body: str, style: str = "") -> str:
    """Return a page as HTML, about 5 MB, most of it Plotly.

    Args:
        style: CSS that is added to that of all pages.
    """
    parts = {
        "title": html.escape(title),
        "style": _read_asset("style.css") + style,
        "plotly": get_plotlyjs(),
        "body": body,
        "script": _read_asset("page.js"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read_asset("page.html"))


def _read_asset(name: str) -> str:
    return (files("gps.inspect.document") / name).read_text(encoding="utf-8")


# -- colours -----------------------------------------------------------------------------------------------------------


def name_colour(index: int, opacity: float | None = None) -> str:
    """Return the colour of a group for a plot: a name of style.css, which page.js turns into the theme's colour."""
    return f"@group-{index % _COLOURS}" + ("" if opacity is None else f"/{opacity:.3g}")


def css_colour(index: int) -> str:
    """Return the colour of a group for HTML and SVG."""
    return f"var(--group-{index % _COLOURS})"


def make_swatch(index: int) -> str:
    """Return a dot in the colour of a group."""
    return f'<span class="swatch" style="background:{css_colour(index)}"></span>'


# -- plots -------------------------------------------------------------------------------------------------------------


def render_plot(description: Mapping[str, Any], about: str) -> str:
    """Return a plot that page.js draws; `about` is what a reader hears who cannot see it.

    Args:
        description: the `data` and the `layout` of Plotly; colours are names such as `@ink` or `@group-0/0.2`.
    """
    text = json.dumps(_to_plain(description), ensure_ascii=False, allow_nan=False).replace("</", "<\\/")
    return (
        f'<div class="plot" role="img" aria-label="{html.escape(about)}">'
        f'<script type="application/json">{text}</script></div>'
    )


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_to_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def make_layout(height: int, x: str, y: str, right: float = 16) -> dict[str, Any]:
    """Return the layout of a plot whose colours page.js fills in.

    Args:
        x, y: titles of the axes.
        right: pixels of the margin on the right.
    """
    axis = {
        "gridcolor": "@line", "zerolinecolor": "@line", "linecolor": "@line", "tickcolor": "@line", "automargin": True,
        "tickfont": {"color": "@muted"},
    }  # fmt: skip
    return {
        "height": height, "margin": {"l": 60, "r": right, "t": 14, "b": 46}, "hovermode": "x unified",
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "showlegend": False,
        "font": {"family": "system-ui, sans-serif", "size": 12.5, "color": "@ink"},
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@ink"}},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "xaxis": {**axis, "title": {"text": x, "font": {"color": "@muted"}}},
        "yaxis": {**axis, "title": {"text": y, "font": {"color": "@muted"}}},
    }  # fmt: skip


# -- who beats whom ----------------------------------------------------------------------------------------------------


def render_wins(names: Sequence[str], wins: Sequence[Sequence[Estimate | None]]) -> str:
    """Return the probabilities of improvement as a table, shaded from loss to win."""
    turned = ' class="turned"' if len(names) > _MOST_LEVEL else ""
    head = "".join(f"<th{turned}><span>{html.escape(name)}</span></th>" for name in names)
    rows = ""
    for name, cells in zip(names, wins, strict=True):
        row = "".join(_render_win(name, other, found) for other, found in zip(names, cells, strict=True))
        rows += f"<tr><th>{html.escape(name)}</th>{row}</tr>"
    return f'<table class="wins"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _render_win(name: str, other: str, found: Estimate | None) -> str:
    if found is None:
        return '<td class="self"></td>'
    share, low, high = (float(part) for part in (found.value, found.low, found.high))
    about = f"{name} is better than {other}: {share:.0%} [{low:.0%}, {high:.0%}]"
    strength = abs(2 * share - 1)
    back = f"rgba(var(--{'win' if share > 0.5 else 'loss'}),{0.5 * strength:.2f})"
    interval = f"<small>{round(100 * low)} to {round(100 * high)}</small>" if low != high else ""
    return f'<td style="background:{back}" title="{html.escape(about)}">{round(100 * share)}{interval}</td>'
