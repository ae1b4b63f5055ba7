"""What a search found as one self-contained page: the settings by rank, and the score against each parameter."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gps.errors import RunError
from gps.inspect.comparison.words import count_in_words
from gps.inspect.document import make_layout, render_document, render_plot
from gps.storage.folders import replace
from gps.storage.write_errors import report_write_errors
from gps.tuning.search import Trial, Tuned, describe_score


def write_tuning_page(tuned: Tuned, path: str | Path) -> None:
    """Write the page atomically.

    Raises:
        RunError: if the file cannot be written.
    """
    with report_write_errors(path, RunError):
        replace(Path(path), render_tuning(tuned))


def render_tuning(tuned: Tuned) -> str:
    """Return the page as HTML, about 5 MB, most of it Plotly."""
    title = f"Settings of {tuned.experiment.name}"
    plots = "".join(
        f"<figure><h3>{html.escape(key)}</h3>{render_plot(_describe_parameter(tuned, key), key)}</figure>"
        for key in tuned.parameters
    )
    head, *rows = make_tuning_table(tuned)
    seeds = count_in_words(len(tuned.best.scores), "seed")
    best = f"{describe_score(tuned.best.score, tuned.measure)} over {seeds}"
    lines = "".join(f"<tr>{_join('td', row)}</tr>" for row in rows)
    body = (
        f"<header><h1>{html.escape(title)}</h1><p>Best of {len(tuned.trials)} settings: "
        f"{best}. Every setting was run "
        "with one seed; the better half got twice as many, again and again. A score is the interquartile mean over the "
        "seeds. With fewer seeds it is less certain, and the best of many owes part of its score to luck.</p></header>"
        f'<h2>The best setting</h2><p class="muted">for experiment.toml</p>'
        f'<div class="card"><pre>{html.escape(tuned.patch)}</pre></div>'
        "<h2>Score against each parameter</h2>"
        '<p class="muted">larger dots rest on more seeds; the best setting is orange</p>'
        f'<div class="grid">{plots}</div><h2>All settings</h2>'
        f'<div class="card scroll"><table class="ranks"><tr>{_join("th", head)}</tr>{lines}</table></div>'
        f"{_render_failures(tuned)}"
    )
    return render_document(title, body)


def make_tuning_table(tuned: Tuned) -> list[list[str]]:
    """Return the trials by rank: a header, and a row for each."""
    rows = [["rank", f"final {tuned.measure}", "seeds", *tuned.parameters]]
    for rank, trial in enumerate(tuned.trials, 1):
        score = (
            describe_score(trial.score, tuned.measure).rpartition(" ")[2] if math.isfinite(trial.score) else "failed"
        )
        rows.append([str(rank), score, str(len(trial.scores)), *(str(trial.setting[key]) for key in tuned.parameters)])
    return rows


def _render_failures(tuned: Tuned) -> str:
    """Return why settings failed, as a list; empty if none did."""
    reasons = [(rank, trial.failure) for rank, trial in enumerate(tuned.trials, 1) if trial.failure]
    items = "".join(f"<li>{rank}: {html.escape(why)}</li>" for rank, why in reasons)
    return f'<h2>Why settings failed</h2><ul class="notes">{items}</ul>' if items else ""


def _join(tag: str, cells: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)


def _describe_parameter(tuned: Tuned, key: str) -> dict[str, Any]:
    """Describe the scores against a parameter, for page.js."""
    known: list[Trial] = [trial for trial in reversed(tuned.trials) if math.isfinite(trial.score)]  # the best on top
    values = [trial.setting[key] for trial in known]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    sign = 1 if tuned.measure == "cost" else -1
    layout = make_layout(300, "", f"final {tuned.measure}")
    layout["hovermode"] = "closest"
    if numbers and min(values) > 0 and max(values) > 30 * min(values):
        layout["xaxis"] |= {"type": "log"}
    if not numbers:
        layout["xaxis"] |= {"type": "category"}
    trace = {
        "type": "scatter", "mode": "markers", "x": values if numbers else [str(value) for value in values],
        "y": [sign * trial.score for trial in known], "showlegend": False,
        "text": [f"rank {tuned.trials.index(t) + 1}, {count_in_words(len(t.scores), 'seed')}" for t in known],
        "marker": {"color": ["@group-1" if trial is tuned.best else "@group-0/0.7" for trial in known],
                   "size": [6 + 3 * math.log2(max(len(t.scores), 1)) for t in known]},
        "hovertemplate": "%{x}: %{y:.4g}<br>%{text}<extra></extra>",
    }  # fmt: skip
    return {"data": [trace], "layout": layout, "log": False}
