"""One HTML page from a run: template, style, scripts and data in a single file that loads nothing else."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.errors import RunError
from gps.inspect.report.detail import choose_earlier, make_detail, read_detail, read_ends, thin_states
from gps.inspect.report.files import PageFiles, collect_files
from gps.inspect.report.findings import collect_findings
from gps.inspect.report.forms import Ends, Facts, Overview, Piece
from gps.inspect.report.overview import collect_facts, make_piece
from gps.inspect.report.summary import summarize
from gps.inspect.report.thinning import choose_iterations, fits
from gps.inspect.report.words import describe_condition, describe_global_model

if TYPE_CHECKING:
    import numpy as np

    from gps.runs import Run

SCRIPTS = ("base.js", "overview.js", "detail.js", "app.js")


def make_overview(facts: Facts, pieces: list[Piece]) -> Overview:
    """Make what the page shows of the whole run: its facts and pieces, and both in sentences."""
    found = collect_findings(facts, pieces)
    return Overview(facts, summarize(facts, pieces, found), found, pieces)


def add_words(item: Piece, before: Piece | None) -> Piece:
    """Add to a piece its sentences, for each condition and about the global model."""
    words = [describe_condition(item, before, m) for m in range(len(item.status))]
    return dataclasses.replace(item, words=words, model_words=describe_global_model(item.model))


def make_report(run: Run) -> str:
    """Make the page of a run, with the details of as many iterations as fit into it.

    Raises:
        RunError: if it has no iteration, or one is damaged.
    """
    count = len(run.iterations)
    if not count:
        raise RunError(f"{run.path}: there is nothing to report: no iteration has been written yet")
    pieces: list[Piece] = []
    details: dict[int, str] = {}
    size, first = 0, run.iterations[0]
    previous = None
    states: dict[int, np.ndarray] = {}  # some of each iteration with a planner
    for k in range(count):
        record = first if k == 0 else run.iterations[k]
        if record.planner is not None:
            states[k] = thin_states(record.rollouts)
        pieces.append(add_words(make_piece(record, previous, run.path), pieces[-1] if pieces else None))
        if previous is not None and fits(k * size):
            seen = [states[j] for j in choose_earlier(k - 1) if j in states]
            details[k - 1] = to_json(make_detail(previous, record, seen))
            size = max(size, len(details[k - 1]))
        previous = record
    shown = make_overview(collect_facts(run, first), pieces)
    kept = choose_iterations(count, size, [finding.worst for finding in shown.findings])
    chosen = {k: details[k] if k in details else to_json(read_detail(run, k)) for k in kept}
    assert previous is not None
    return render_page(dataclasses.replace(shown, kept=kept), chosen, read_ends(run), collect_files(run, previous))


def render_page(
    overview: Overview | None = None,
    details: dict[int, str] | None = None,
    ends: Ends | None = None,
    files: PageFiles | None = None,
    token: str = "",
) -> str:
    """Render the page around its data.

    Args:
        overview: None for a page that requests its data from its server.
        details: the arrays of each iteration that the file holds, as JSON.
        ends: the final episodes of a policy and its teachers, where there are some.
        files: videos, and controllers to download.
        token: of the live page's requests.
    """
    data = {f"iteration-{k}": text for k, text in (details or {}).items()}
    if ends is not None:
        data["ends"] = to_json(ends)
    if files is not None:
        data["files"] = to_json(files)
    if overview is not None:
        data["overview"] = to_json(overview)
    blocks = [f'<script type="application/json" id="{name}">{text}</script>' for name, text in data.items()]
    title = "gps" if overview is None else f"{overview.facts.name}, seed {overview.facts.seed}"
    parts = {
        "title": html.escape(title),
        "token": html.escape(token),
        "connect": "'self'" if overview is None else "'none'",
        "style": _read_asset("style.css"),
        "plotly": _read_plotly(),
        "scripts": "\n".join(_read_asset(name) for name in SCRIPTS),
        "data": "\n".join(blocks),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read_asset("page.html"))


def to_json(value: Any) -> str:
    """Return forms, lists and numbers as JSON that may stand within a script element."""
    text = json.dumps(value, default=_list_fields, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _list_fields(value: Any) -> dict[str, Any]:
    """Return a form as a table of its fields."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _read_asset(name: str) -> str:
    return (resources.files("gps.inspect.report") / "assets" / name).read_text(encoding="utf-8")


def _read_plotly() -> str:
    import plotly.offline

    return plotly.offline.get_plotlyjs()


def report(run: Run, path: str | Path | None = None) -> Path:
    """Write a report of a run as one HTML page, atomically, and return its path.

    Args:
        path: None for report.html in the run directory.

    Raises:
        RunError: if there is nothing to show, or it cannot be written.
    """
    from gps.storage.folders import replace

    path = run.path / "report.html" if path is None else Path(path)
    text = make_report(run)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, text)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}; choose another file with -o") from None
    return path
