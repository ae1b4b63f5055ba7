"""The report of `gps fit` in words: what was learned from which data, and how well the model predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gps.inspect.formatting import align_columns, format_number
from gps.metrics import ABSENT
from gps.status import ModelStatus

if TYPE_CHECKING:
    from gps.fitting import ModelReport
    from gps.recordings import Recording

GAUSSIAN = (0.683, 0.954)
"""The coverage within 1σ and 2σ of a model that knows its own Gaussian error."""

_SURE, _CAREFUL = 0.10, 0.10
"""A coverage within 1σ that is lower or higher by this is worth a word."""

_SHOWN_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def describe_fit(name: str, report: ModelReport) -> list[str]:
    """The whole report, line by line.

    Args:
        name: of the data.
    """
    return [
        *_describe_data(name, report.recording),
        _describe_learning(report),
        "",
        *_describe_one_step(report),
        "",
        *_describe_horizon(report),
        "",
        *describe_coverage(report.model.coverage),
    ]


def describe_coverage(coverage: np.ndarray) -> list[str]:
    """How well a model knows its own error, in words."""
    if not np.isfinite(coverage).all():
        return ["Coverage: unknown, as nothing varies in these episodes."]
    one, two = (100 * float(share) for share in coverage)
    text = (
        f"Coverage: {one:.0f} % of the next states are within one standard deviation of the prediction, {two:.0f} % "
        "within two."
    )
    return [text, f"68 % and 95 % would be right: {judge_coverage(coverage)}."]


def judge_coverage(coverage: Sequence[float] | np.ndarray) -> str:
    """A verdict on the coverage within 1σ and 2σ."""
    if coverage[1] < 0.75:
        return "the model is far too sure of itself"
    if coverage[0] < GAUSSIAN[0] - _SURE or coverage[1] < 0.88:
        return "the model is too sure of itself"
    if coverage[0] > GAUSSIAN[0] + 2 * _CAREFUL:
        return "the model claims larger errors than it makes"
    if coverage[0] > GAUSSIAN[0] + _CAREFUL:
        return "the model claims slightly larger errors than it makes"
    return "the model knows its own error"


def _describe_data(name: str, recording: Recording) -> list[str]:
    period = f", {recording.dt:.4g} s a step" if math.isfinite(recording.dt) else ""
    text = (
        f"{name}: {_count(recording.episodes, 'episode')}, {_count(recording.size, 'transition')} of "
        f"{_count(recording.dx, 'state entry', 'state entries')} and {_count(recording.du, 'action')}{period}"
    )
    return [text, *(f"note: {note}" for note in recording.notes)]


def _describe_learning(report: ModelReport) -> str:
    record = report.record
    status = record.status
    said = "" if status is ModelStatus.OK else status.sentence
    ended = " ".join(dict.fromkeys(filter(None, [said, record.message, status.remedy])))
    points = "" if record.points is None else f" {_count(record.points, 'transition')} of"
    return (
        f"{record.name or 'model'}: fitted to{points} {_count(len(report.learned), 'episode')} in "
        f"{report.seconds:.2f} s. {ended}"
    ).rstrip()


def _describe_one_step(report: ModelReport) -> list[str]:
    errors = [np.asarray(part.one_step_error) for part in (report.model, report.stays, report.goes_on)]
    entries = report.recording.state_entries
    moves = [i for i in range(len(entries)) if not (errors[0][i] == 0 and errors[1][i] == 0)]
    table = [["entry", "unit", "model", "stays", "goes on", "the model's error is"]]
    table += [
        [
            entries[i].name,
            entries[i].unit,
            *(format_number(float(error[i])) for error in errors),
            _compare(*(float(error[i]) for error in errors)),
        ]
        for i in moves
    ]
    still = [entries[i].name for i in range(len(entries)) if i not in moves]
    judged = (
        f"the {_count(len(report.learned), 'episode')} that it was fitted to, as none was held out (it does worse "
        "elsewhere)"
        if report.is_judged_by_its_own_data
        else f"{_count(len(report.held_out), 'episode')} that the model has not seen"
    )
    return [
        f"One step ahead, root mean square error on {judged}:",
        *(f"  {line}" for line in align_columns(table)),
        *([f"  constant: {', '.join(still)}"] if still else []),
        '"stays" predicts that the state stays as it is, "goes on" that it changes as in the step before. A model is',
        "worth something where it errs less than both.",
    ]


def _compare(model: float, *others: float) -> str:
    """`3.1 % of the better one's`."""
    known = [other for other in others if math.isfinite(other)]
    if not known or not math.isfinite(model):
        return ABSENT
    least = min(known)
    if least == 0:
        return ABSENT
    share = 100 * model / least
    return f"{share:.2g} % of the better one's" if share < 99.5 else f"{share / 100:.2g} × the better one's"


def _describe_horizon(report: ModelReport) -> list[str]:
    model, stays, goes_on = (part.horizon_error for part in (report.model, report.stays, report.goes_on))
    H = len(model)
    steps = [h for h in _SHOWN_STEPS if h < H] + [H]
    better = np.fmin(stays, goes_on)
    entries = report.recording.state_entries
    table = [["entry", "unit", *(f"{h} step{'s' * (h > 1)}" for h in steps)]]
    table += [
        [
            entry.name,
            entry.unit,
            *(f"{format_number(float(model[h - 1, i]))} ({format_number(float(better[h - 1, i]))})" for h in steps),
        ]
        for i, entry in enumerate(entries)
        if not (stays[0, i] == 0 and model[0, i] == 0)
    ]
    return [
        'Several steps ahead, under the recorded actions; in brackets the better of "stays" and "goes on":',
        *(f"  {line}" for line in align_columns(table)),
    ]


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
