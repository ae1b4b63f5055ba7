"""The text of a run: the console lines of its iterations, of its policy, and of its evaluations.

Pure functions of records and metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gps.inspect.formatting import align_columns, format_number, format_span
from gps.metrics import EvaluationRow, Row, count_solved
from gps.players import FINAL, UNSEEN, Player
from gps.records import ModelRecord, PolicyRecord
from gps.status import Status

# -- iterations ------------------------------------------------------------------------------------------------------

_WIDTHS = {"iter": 4, "cond": 4, "cost": 9, "success": 7, "KL (bound)": 16, "η": 7, "entropy": 7,
           "predicted → actual": 18, "step×": 5, "env steps": 9, "sample": 6, "fit": 5, "improve": 7}  # fmt: skip

_OF_UPDATES = ("KL (bound)", "η", "entropy", "predicted → actual", "step×")


def has_updates(rows: Iterable[Row]) -> bool:
    """True if local controllers were updated in some row; otherwise the columns of the updates are left out."""
    return any(row.kl is not None for row in rows)


def format_header(*, updates: bool) -> str:
    """The names of the columns of `format_row`."""
    return _join_cells({name: name for name in _WIDTHS}, "status", updates)


def format_row(row: Row, *, updates: bool) -> str:
    """One condition in one iteration, in at most 130 columns."""
    bounded = "-" if row.kl is None else f"{format_number(row.kl)} ({format_number(row.kl_bound)})"
    cells = {
        "iter": str(row.iteration),
        "cond": str(row.condition),
        "cost": format_number(row.cost),
        "success": row.success_count,
        "KL (bound)": bounded,
        "η": format_number(row.eta),
        "entropy": format_number(row.entropy),
        "predicted → actual": f"{format_number(row.predicted):>7} → {format_number(row.actual):<8}",
        "step×": format_number(row.multiplier),
        "env steps": str(row.environment_steps),
        "sample": f"{row.sample_seconds:.2f}",
        "fit": f"{row.fit_seconds:.2f}",
        "improve": f"{row.improve_seconds:.2f}",
    }
    return _join_cells(cells, Status[row.status].label, updates)


def _join_cells(cells: Mapping[str, str], status: str, updates: bool) -> str:
    padded = [f"{cells[name]:>{width}}" for name, width in _WIDTHS.items() if updates or name not in _OF_UPDATES]
    return " ".join([*padded, status])


def describe_trouble(row: Row) -> str | None:
    """The trouble of a row in words, on an indented line of its own; None if all is well."""
    status = Status[row.status]
    text = row.message or ("" if status.ok else status.sentence)
    return f"{'':10}condition {row.condition}: {text}" if text else None


def format_rows(rows: Sequence[Row]) -> list[str]:
    """The console lines of rows: the header, the rows, and a line for each trouble. Empty without rows."""
    updates = has_updates(rows)
    lines = [text for row in rows for text in (format_row(row, updates=updates), describe_trouble(row)) if text]
    return [format_header(updates=updates), *lines] if rows else []


# -- the global policy -----------------------------------------------------------------------------------------------


def describe_policy(policy: PolicyRecord | None) -> list[str]:
    """The training of the global policy in one iteration, below the lines of its conditions."""
    if policy is None:
        return []
    said = f"{'':10}policy: "
    if not policy.trained:
        return [said + (policy.message or policy.status.sentence)]
    before, after = policy.loss
    text = (
        f"{said}loss {format_number(before)} → {format_number(after)} in {policy.steps} steps; KL to the "
        f"{policy.teacher.short} {format_span(policy.kl_step)} nats a step; noise std {format_span(policy.deviation)}; "
        f"{policy.status.label}"
    )
    return [text, *([said + policy.message] if policy.message else [])]


def format_policies(policies: Sequence[tuple[int, Player, PolicyRecord]]) -> list[str]:
    """The training of the global policy in the course of a run: iteration, who was sampled, and the record of each."""
    if not policies:
        return []
    head = (
        "iter",
        "sampled",
        "loss before → after",
        "steps",
        f"KL to the {policies[-1][2].teacher.short}, nats a step",
        "noise std",
        "status",
        "",
    )
    table = [head]
    for iteration, player, policy in policies:
        before, after = policy.loss
        kl = policy.kl_step
        known = kl[np.isfinite(kl)]
        table.append((
            f"{iteration:>4}",
            player.value,
            f"{format_number(before):>7} → {format_number(after)}",
            str(policy.steps),
            f"{format_number(known.mean()):>5} ({format_span(kl)})" if known.size else "-",
            format_span(policy.deviation),
            policy.status.label,
            policy.message,
        ))  # fmt: skip
    return ["global policy:", *align_columns(table)]


# -- the global model ------------------------------------------------------------------------------------------------


def describe_model(model: ModelRecord | None) -> list[str]:
    """The fit of the global model in one iteration, below the lines of its conditions; empty for a mere prior."""
    if model is None or not model.name:
        return []
    known = [model.name]
    if model.points is not None:
        known.append(f"{model.points:,} transitions")
    if model.one_step_error is not None:
        known.append(f"one-step error {format_span(model.one_step_error)}")
    if model.coverage is not None:
        known.append(f"{_format_coverage(model)} within 1σ and 2σ")
    text = [f"{'':10}model: {'; '.join([*known, model.status.label])}"]
    trouble = model.message or ("" if model.status.ok else model.status.sentence)
    return [*text, *([f"{'':10}model: {trouble}"] if trouble and not model.status.ok else [])]


def format_models(models: Sequence[tuple[int, ModelRecord]]) -> list[str]:
    """The global model in the course of a run: the iteration and the record of each fit."""
    named = [(iteration, model) for iteration, model in models if model.name]
    if not named:
        return []
    table = [("iter", "transitions", "loss before → after", "one-step error", "within 1σ, 2σ", "status", "")]
    for iteration, model in named:
        losses = np.asarray([] if model.held_out_loss is None else model.held_out_loss)
        losses = losses[np.isfinite(losses)]
        table.append((
            f"{iteration:>4}",
            "-" if model.points is None else f"{model.points:,}",
            f"{format_number(losses[0]):>7} → {format_number(losses.min())}" if losses.size else "-",
            "-" if model.one_step_error is None else format_span(model.one_step_error),
            _format_coverage(model),
            model.status.label,
            model.message,
        ))  # fmt: skip
    return [f"global model, {named[-1][1].name}:", *align_columns(table)]


def _format_coverage(model: ModelRecord) -> str:
    if model.coverage is None or not np.isfinite(model.coverage).all():
        return "-"
    return " and ".join(f"{100 * share:.0f} %" for share in model.coverage)


# -- evaluations -----------------------------------------------------------------------------------------------------


def describe_evaluation(what: str, rows: Sequence[EvaluationRow]) -> list[str]:
    """An evaluation without exploration: a title, and a line for each condition.

    Args:
        what: a key of `gps.players.EVALUATIONS`.
    """
    lines = [
        f"  condition {row.condition:<2} cost {format_number(row.cost):>9}  "
        f"{_format_return(row)}{_format_distance(row)}{_describe_success(row)}"
        for row in rows
    ]
    return [_make_title(what, Player(rows[0].player), rows[0].rollouts), *map(str.rstrip, lines)]


def _make_title(what: str, player: Player, rollouts: int) -> str:
    noise = "without noise" if rollouts == 1 else f"{rollouts} episodes from each start under the environment's noise"
    if what == UNSEEN:
        return "the same from starts that were not trained on:"
    if what == FINAL and player is Player.LOCAL:
        return f"final controllers, {noise}:"
    return f"the {player.all}, {noise}, from the starts that were trained on:"


def _format_return(row: EvaluationRow) -> str:
    return "" if row.returns is None else f"return {format_number(row.returns):>9}  "


def _format_distance(row: EvaluationRow) -> str:
    return "" if row.distance is None else f"distance {format_number(row.distance):>9} m  "


def _describe_success(row: EvaluationRow) -> str:
    if row.successes is None:
        return ""
    word = "success" if row.solved else "not always" if row.successes else "no success"
    return f"{word} {row.successes}/{row.rollouts}" if row.rollouts > 1 else word


def describe_solved(evaluations: Mapping[str, Sequence[EvaluationRow]]) -> str:
    """The number of solved starts in each evaluation; empty if the environment has no success flag."""
    counts = {what: count for what, rows in evaluations.items() if (count := count_solved(rows)) is not None}
    names = {FINAL: "solved", UNSEEN: "unseen"}
    return "; ".join(
        f"{names[what] if what in names else Player(what).all} {count} conditions" for what, count in counts.items()
    )
