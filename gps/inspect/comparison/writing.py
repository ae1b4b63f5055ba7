"""Write a comparison to a file, of the kind that the end of its name says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gps.errors import RunError
from gps.inspect.comparison.groups import Comparison
from gps.storage.folders import replace
from gps.storage.write_errors import report_write_errors

SUFFIXES = (".html", ".pdf", ".svg", ".png", ".csv")


def write_comparison(comparison: Comparison, path: str | Path) -> None:
    """Write a page (`.html`), a figure (`.pdf`, `.svg`, `.png`) or a table of all numbers (`.csv`) atomically.

    Raises:
        RunError: if the file cannot be written, or ends otherwise.
        DrawingError: if a figure needs a package that is missing.
    """
    content = require_kind(path)(comparison)
    with report_write_errors(path, RunError):
        replace(Path(path), content)


def require_kind(path: str | Path) -> Callable[[Comparison], str | bytes]:
    """Return what makes the content of a file.

    Raises:
        RunError: if its name ends in no known way.
    """
    make = _WRITERS.get(Path(path).suffix.lower())
    if make is None:
        raise RunError(f"{path}: expected a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    return make


def _make_page(comparison: Comparison) -> str:
    from gps.inspect.comparison.page import render_comparison

    return render_comparison(comparison)


def _make_table(comparison: Comparison) -> str:
    from gps.inspect.comparison.table import format_table

    return format_table(comparison)


def _make_figure(kind: str) -> Callable[[Comparison], bytes]:
    def draw(comparison: Comparison) -> bytes:
        from gps.inspect.comparison.figure import draw_comparison

        return draw_comparison(comparison, kind)

    return draw


_WRITERS: Mapping[str, Callable[[Comparison], str | bytes]] = {
    ".html": _make_page,
    ".htm": _make_page,
    ".csv": _make_table,
    **{f".{kind}": _make_figure(kind) for kind in ("pdf", "svg", "png")},
}
