"""A ladder as one self-contained page: the table, the curves, who beats whom, and the stories of what goes wrong."""

import html
import shlex
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from gps.errors import RunError
from gps.inspect.document import css_colour, make_swatch, render_document, render_plot, render_wins
from gps.inspect.formatting import format_interval, format_number
from gps.inspect.statistics import LEVEL
from gps.ladder.climbing import RungRuns
from gps.ladder.drawing import (
    draw_interval,
    draw_learning,
    draw_panel,
    draw_time,
    find_usual_range,
    number_colours,
)
from gps.ladder.results import RungResult, collect_results
from gps.ladder.rungs import Ladder
from gps.ladder.stories import tell_stories
from gps.ladder.stories.story import Story
from gps.metrics import ABSENT
from gps.storage.folders import replace
from gps.storage.write_errors import report_write_errors

_LEVEL = f"{100 * LEVEL:.0f} %"


def write_ladder_page(ladder: Ladder, runs: Sequence[RungRuns], path: str | Path) -> list[RungResult]:
    """Write the page atomically, and return its numbers.

    Raises:
        RunError: if the file cannot be written.
    """
    results = collect_results(runs)
    stories, missing = tell_stories(results, ladder)
    with report_write_errors(path, RunError):
        replace(Path(path), render_ladder(ladder, results, stories, missing))
    return results


def render_ladder(
    ladder: Ladder, results: Sequence[RungResult], stories: Sequence[Story] = (), missing: Sequence[str] = ()
) -> str:
    """Return the page as HTML, about 5 MB, most of it Plotly.

    Args:
        missing: why other stories are not told, a sentence each.
    """
    body = "\n".join([
        _render_header(ladder, results),
        _render_table(results),
        _render_learning(results),
        _render_wins(results),
        _render_stories(stories, missing),
        _render_method(ladder, results),
    ])  # fmt: skip
    return render_document(ladder.title, body, (files("gps.ladder") / "style.css").read_text(encoding="utf-8"))


def _render_header(ladder: Ladder, results: Sequence[RungResult]) -> str:
    budget = max((result.rung.budget for result in results), default=0)
    less = [f"{result.rung.name} {result.rung.budget:,}" for result in results if result.rung.budget != budget]
    of_some = f" ({', '.join(less)})" if less else ""
    count = sum(len(result.values) for result in results)
    facts = (
        f"{len(results)} rungs, {budget:,} environment steps each{of_some}, {count} "
        f"finished runs. Numbers are interquartile means over the seeds, with {_LEVEL} bootstrap intervals."
    )
    about = f'<p class="about">{html.escape(" ".join(ladder.about.split()))}</p>' if ladder.about.strip() else ""
    return f'<header><h1>{html.escape(ladder.title)}</h1>{about}<p class="facts">{facts}</p></header>'


# -- the table ---------------------------------------------------------------------------------------------------------


def make_ladder_table(results: Sequence[RungResult]) -> list[list[str]]:
    """The table of the final results as text: a header, and a row for each rung."""
    scale = results[0].scale.name if results else "return"
    rows = [["rung", "runs", "steps", f"{scale} [{_LEVEL}]", "solved", "better than above", "seconds"]]
    above: RungResult | None = None
    for result in results:
        rows.append([
            result.rung.name,
            f"{len(result.values)}/{len(result.rung.seeds)}",
            _format_steps(result),
            format_interval(result.final),
            _format_solved(result),
            _format_wins(result, above),
            format_number(float(result.stages.sum())),
        ])  # fmt: skip
        above = result
    return rows


def _format_steps(result: RungResult) -> str:
    if not result.steps:
        return ABSENT
    low, high = min(result.steps), max(result.steps)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _format_solved(result: RungResult) -> str:
    return ABSENT if result.solved is None else f"{result.solved[0]}/{result.solved[1]}"


def _format_wins(result: RungResult, other: RungResult | None) -> str:
    found = None if other is None else result.beats(other)
    if found is None:
        return ABSENT
    value, low, high = (round(100 * float(part)) for part in (found.value, found.low, found.high))
    return f"{value} %" if low == high else f"{value} % [{low}, {high}]"


def _render_table(results: Sequence[RungResult]) -> str:
    colours = number_colours(results)
    low, high = find_usual_range(np.concatenate([np.zeros(0), *(result.values for result in results)]))
    head, *rows = make_ladder_table(results)
    titles = [head[0], "", head[3], head[4], head[5], head[2], head[6]]
    lines, family = [], ""
    for result, (_, runs, steps, interval, solved, wins, seconds) in zip(results, rows, strict=True):
        if result.rung.family != family:
            family = result.rung.family
            lines.append(f'<tr class="family"><td colspan="{len(titles)}">{html.escape(family)}</td></tr>')
        colour = colours[result.rung.name]
        name = (
            f"{make_swatch(colour)}<b>{html.escape(result.rung.name)}</b>"
            f'<span class="what">{html.escape(result.rung.title)}</span>'
        )
        if result.final is None:
            fault = " ".join(result.faults) or "no run is finished"
            lines.append(
                f'<tr><td class="name">{name}</td><td colspan="{len(titles) - 1}"><span class="fault">'
                f"{html.escape(fault)}</span></td></tr>"
            )
            continue
        cells = [
            draw_interval(result, low, high, css_colour(colour)),
            f"{interval}{f' <small>{runs} runs</small>' if len(result.values) < len(result.rung.seeds) else ''}",
            solved, wins, steps, seconds,
        ]  # fmt: skip
        cells[1:] = [cell.replace("-", "−") for cell in cells[1:]]
        lines.append(f'<tr><td class="name">{name}</td>{_join_cells("td", cells)}</tr>')
    header = f"<th>{titles[0]}</th>{_join_cells('th', map(html.escape, titles[1:]))}"
    return (
        "<h2>At the budget</h2><p>What was learned, acting without exploration. Dots are single runs, the bar is the "
        "interval, the mark the interquartile mean; a triangle at an end stands for runs far beyond it.</p>"
        f'<div class="card scroll"><table class="rungs-table"><thead><tr>{header}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _join_cells(tag: str, cells: Iterable[str]) -> str:
    """The cells of a row after its name; the first is a picture, which a narrow page leaves out."""
    first, *rest = cells
    return f'<{tag} class="picture">{first}</{tag}>' + "".join(f"<{tag}>{cell}</{tag}>" for cell in rest)


# -- curves, wins ------------------------------------------------------------------------------------------------------


def _render_learning(results: Sequence[RungResult]) -> str:
    colours = number_colours(results)
    families = list(dict.fromkeys(result.rung.family for result in results))
    cards = []
    for family in families:
        inside = [result for result in results if result.rung.family == family and result.members]
        others = [result for result in results if result.rung.family != family]
        if not inside:
            continue
        names = "".join(
            f"<li>{make_swatch(colours[result.rung.name])}<b>{html.escape(result.rung.name)}</b> "
            f"{html.escape(result.rung.title)}</li>"
            for result in inside
        )
        plots = "".join(
            f"<div>{render_plot(draw_learning(inside, others, colours, by), f'{family}: curves by {by}')}</div>"
            for by in ("steps", "seconds")
        )
        cards.append(
            f'<div class="card"><h3>{html.escape(family)}</h3><ul class="rungs">{names}</ul>'
            f'<div class="pair">{plots}</div></div>'
        )
    return (
        "<h2>On the way there</h2><p>Lines are the training episodes, with their exploration; the diamond is what was "
        "learned in the end, without it. Grey lines are the rungs of the other families. Left by environment steps, "
        f"right by the wall time of the median run.</p>{''.join(cards)}"
    )


def _render_wins(results: Sequence[RungResult]) -> str:
    """Render who beats whom, and where the time goes."""
    known = [result for result in results if len(result.values)]
    if len(known) < 2:
        return ""
    wins = [[None if row is column else row.beats(column) for column in known] for row in known]
    table = render_wins([result.rung.name for result in known], wins)
    return (
        "<h2>Who beats whom</h2><p>The probability, in per cent, that a run of the row ends better than a run of the "
        "column. With few seeds only the extremes say much.</p>"
        f'<div class="card scroll">{table}</div>'
        "<h2>Where the time goes</h2><p>Seconds of the median run: acting and planning (sample), learning the model "
        "(fit), changing controllers or policy (improve).</p>"
        f'<div class="card">{render_plot(draw_time(known), "seconds of each rung by stage")}</div>'
    )


# -- stories, method ---------------------------------------------------------------------------------------------------


def _pair(panels: Sequence[object]) -> str:
    """The class of a box that holds its panels side by side; none for a single one."""
    return ' class="pair"' if len(panels) > 1 else ""


def _render_stories(stories: Sequence[Story], missing: Sequence[str]) -> str:
    cards = []
    for story in stories:
        panels = "".join(
            f"<div><h4>{html.escape(panel.title)}</h4>{render_plot(draw_panel(panel), panel.title)}</div>"
            for panel in story.panels
        )
        cards.append(
            f'<div class="card story" id="{story.key}"><h3>{html.escape(story.heading)}</h3>'
            f'<p class="caption">{html.escape(story.caption)}</p><div{_pair(story.panels)}>{panels}</div>'
            f'<p class="origin">Rung {html.escape(story.rung)}, seed {story.seed}: '
            f"<code>{html.escape(shlex.quote(str(story.path)))}</code></p></div>"
        )
    items = "".join(f"<li>{html.escape(line)}</li>" for line in missing)
    rest = f'<p class="muted">Not told here:</p><ul class="remarks muted">{items}</ul>' if items else ""
    if not cards:
        return f"<h2>What goes wrong, and why</h2>{rest}" if rest else ""
    return "<h2>What goes wrong, and why</h2><p>Each picture is one run of this ladder.</p>" + "".join(cards) + rest


def _render_method(ladder: Ladder, results: Sequence[RungResult]) -> str:
    notes = [f"{result.rung.name}: {fault}" for result in results for fault in result.faults]
    uneven = [result for result in results if result.steps and max(result.steps) != result.rung.budget]
    notes += [
        f"{result.rung.name}: {_format_steps(result)} steps of a budget of {result.rung.budget:,}"
        + (f", {result.rung.probe} of them a probe before the first iteration" if result.rung.probe else "")
        for result in uneven
    ]
    costs = {repr(result.rung.config.cost) for result in results if result.rung.config is not None}
    if len(costs) > 1:
        notes.append("The rungs minimise different costs; all are judged by the same return of the environment.")
    notes += [
        "Every step in the environment counts, a probe before the first iteration too; steps in a learned model and "
        "in the final evaluation do not.",
        "Seconds are those of sampling, fitting and improving in the median run, on the machine that ran it beside "
        "all else that ran there; the first iteration also compiles. They say which rung is cheap.",
        "Interquartile mean and intervals after Agarwal et al. 2021; one run tells nothing about others.",
    ]
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    again = shlex.join(["gps", "ladder", str(ladder.directory)])
    return (
        f'<h2>How to read it</h2><ul class="remarks">{items}</ul>'
        f'<p class="muted">Made by <code>{html.escape(again)}</code>; the same command adds what is missing.</p>'
    )
