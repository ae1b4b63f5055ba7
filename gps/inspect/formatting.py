"""Numbers, intervals, sparklines and columns as text."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.metrics import ABSENT

if TYPE_CHECKING:
    from gps.inspect.statistics import Estimate


def name_run(text: str, run: Path | None) -> str:
    """The text with the path of the run in its commands, where it is known."""
    return text if run is None else text.replace("`gps resume RUN", f"`gps resume {shlex.quote(str(run))}")


def fold_line(text: str, width: int) -> str:
    """The text in lines of at most `width` characters, as far as its words allow; later lines are indented further."""
    if len(text) <= width:
        return text
    indent = len(text) - len(text.lstrip()) + 2
    return textwrap.fill(
        text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False, drop_whitespace=True,
    )  # fmt: skip


def hang_text(label: str, text: str, width: int | None) -> str:
    """A text beside its label, folded into lines of at most `width` characters that begin where the first one does."""
    if width is None or len(label) + len(text) <= width:
        return label + text
    return textwrap.fill(
        text, width, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def format_number(value: float | None) -> str:
    """Two to five significant digits in at most 7 characters (8 where the exponent of a negative number has two).

    A dash for None and NaN.
    """
    if value is None:
        return ABSENT
    size = abs(value)
    if not math.isfinite(value):
        return ABSENT if math.isnan(value) else str(value)
    if size != 0 and (size < 9.995e-3 or size >= 99999.5):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    digits = next(digits for limit, digits in ((999.95, 0), (99.995, 1), (0.9995, 2), (0, 3)) if size >= limit)
    return f"{value:.{digits}f}" if size else "0"


def format_seconds(value: float) -> str:
    """`12.3 µs`, `45.6 ms`, `7.8 s`; a dash for NaN."""
    if not math.isfinite(value):
        return ABSENT
    unit, factor = ("µs", 1e6) if value < 1e-3 else ("ms", 1e3) if value < 1 else ("s", 1.0)
    return f"{value * factor:.3g} {unit}"


def format_length(value: float) -> str:
    """`2.5 mm`, `340 mm`, `1.2 m`; a dash for NaN."""
    if not math.isfinite(value):
        return ABSENT
    return f"{value * 1e3:.3g} mm" if abs(value) < 0.9995 else f"{value:.3g} m"


def format_ratio(value: float) -> str:
    """`0.7 times`, `12 times`, `3,400 times`."""
    return f"{float(f'{value:.2g}'):,g} times"


def format_interval(item: Estimate | None) -> str:
    """`3.79 [3.50, 4.31]`."""
    if item is None:
        return ABSENT
    value, low, high = (float(part) for part in (item.value, item.low, item.high))
    return (
        format_number(value)
        if low == high or np.isnan(low)
        else f"{format_number(value)} [{format_number(low)}, {format_number(high)}]"
    )


def format_condition(condition: Mapping[str, Any]) -> str:
    """`slot = [-0.08, 0.08]`, cut where it is long."""
    text = ", ".join(f"{key} = {value}" for key, value in condition.items())
    return text if len(text) <= 60 else text[:57] + "…"


def sparkline(values: Sequence[float] | np.ndarray, width: int = 60) -> str:
    """Values over time as a row of bars, from zero (or the least value) to the greatest.

    A bar is the greatest value of its bin; a bin without a finite value is a `·`.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        return ""
    bins = np.array_split(values, min(width, values.size))
    finite = [bin_[np.isfinite(bin_)] for bin_ in bins]
    peaks = np.array([bin_.max() if bin_.size else np.nan for bin_ in finite])
    known = peaks[np.isfinite(peaks)]
    low = min(0.0, known.min()) if known.size else 0.0
    span = (known.max() - low if known.size else 0.0) or 1.0
    bars = "▁▂▃▄▅▆▇█"
    return "".join(bars[round(7 * (peak - low) / span)] if math.isfinite(peak) else "·" for peak in peaks)


def format_span(values: np.ndarray) -> str:
    """`0.1 to 0.5`, the range of the finite values; a dash without any."""
    finite = values[np.isfinite(values)]
    return f"{format_number(finite.min())} to {format_number(finite.max())}" if finite.size else ABSENT


def drop_columns(table: Sequence[Sequence[str]], width: int | None, least: Sequence[str]) -> list[list[str]]:
    """The table without as many of its columns as make its lines too long.

    Args:
        table: the first row names the columns.
        width: of the terminal; None for as wide as it is.
        least: the names of columns that may go, the first ones first.
    """
    kept = [list(row) for row in table]
    for name in least:
        if width is None or max(map(len, align_columns(kept))) <= width:
            break
        if name in kept[0]:
            at = kept[0].index(name)
            kept = [[*row[:at], *row[at + 1 :]] for row in kept]
    return kept


def align_columns(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells in columns, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table
    ]
