"""One HTML page from a run: template, style, scripts and data in a single file that loads nothing else."""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.errors import RunError
from gps.inspect.report.detail import detail, read_detail, read_evaluations, read_mixture
from gps.inspect.report.overview import Piece, facts, piece
from gps.inspect.report.thinning import fits, kept_iterations
from gps.inspect.report.words import described, findings, summary

if TYPE_CHECKING:
    from gps.runs.run import Run

SCRIPTS = ("base.js", "overview.js", "detail.js", "app.js")


def overview(facts: dict[str, Any], pieces: list[Piece]) -> dict[str, Any]:
    """What the page shows of the whole run: its facts, the pieces, and both in words."""
    found = findings(pieces, facts["sizes"]["du"]) if pieces else []
    return {
        "facts": facts,
        "summary": summary(facts, pieces, found),
        "findings": [vars(finding) for finding in found],
        "pieces": pieces,
    }


def worded(item: Piece, before: Piece | None) -> Piece:
    """A piece with its sentences, for each condition."""
    return item | {"words": [described(item, before, m) for m in range(len(item["status"]))]}


def report(run: Run) -> str:
    """The page of a run, with as many iterations in detail as fit into it.

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
    for k in range(count):
        record = first if k == 0 else run.iterations[k]
        pieces.append(worded(piece(record, previous), pieces[-1] if pieces else None))
        if previous is not None and fits(k * size):
            details[k - 1] = to_json(detail(previous, record, read_mixture(run, k - 1)))
            size = max(size, len(details[k - 1]))
        previous = record
    shown = overview(facts(run, first), pieces)
    kept = kept_iterations(count, size, [finding["worst"] for finding in shown["findings"]])
    chosen = {k: details[k] if k in details else to_json(read_detail(run, k)) for k in kept}
    return page(shown | {"kept": kept}, chosen, read_evaluations(run))


def page(
    overview: dict[str, Any] | None = None,
    details: dict[int, str] | None = None,
    ends: dict[str, Any] | None = None,
    token: str = "",
) -> str:
    """The page around its data.

    Args:
        overview, details: None for a page that asks its server for them.
        ends: the final episodes of a policy and its controllers, where there are some.
        token: of the live page's requests.
    """
    data = {f"iteration-{k}": text for k, text in (details or {}).items()}
    if ends is not None:
        data["ends"] = to_json(ends)
    if overview is not None:
        data["overview"] = to_json(overview)
    blocks = [f'<script type="application/json" id="{name}">{text}</script>' for name, text in data.items()]
    title = "gps" if overview is None else f"{overview['facts']['name']}, seed {overview['facts']['seed']}"
    parts = {
        "title": html.escape(title),
        "token": html.escape(token),
        "connect": "'self'" if overview is None else "'none'",
        "style": _asset("style.css"),
        "plotly": _plotly(),
        "scripts": "\n".join(_asset(name) for name in SCRIPTS),
        "data": "\n".join(blocks),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))


def to_json(value: Any) -> str:
    """JSON that may stand within a script element."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _asset(name: str) -> str:
    return (files("gps.inspect.report") / "assets" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    import plotly.offline

    return plotly.offline.get_plotlyjs()


def write(run: Run, path: Path) -> None:
    """Write the page of a run, whole or not at all.

    Raises:
        RunError: if there is nothing to show, or it cannot be written.
    """
    from gps.storage.folders import replace

    text = report(run)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, text)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}; choose another file with -o") from None
