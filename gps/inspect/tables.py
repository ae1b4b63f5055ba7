"""The text of a run: the console lines of its iterations, of its policy, and of its evaluations.

Pure functions of records and metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gps.inspect.formatting import align_columns, format_number, format_ratio, format_seconds, format_span
from gps.metrics import ABSENT, EvaluationRow, Row, count_solved
from gps.players import FINAL, UNSEEN, Player
from gps.records import ModelRecord, OptimisationRecord, PolicyRecord, Seconds
from gps.status import Status

# -- iterations ------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column of the console lines."""

    name: str
    width: int
    rank: int = 0  # where the line is too long, the columns of the highest rank are left out; those of 0 stay
    of_updates: bool = False  # left out where no local controllers are updated


COLUMNS = (
    Column("iter", 4),
    Column("cond", 4),
    Column("cost", 9),
    Column("success", 7),
    Column("KL (bound), nats", 16, 1, of_updates=True),
    Column("η", 7, 4, of_updates=True),
    Column("entropy, nats", 13, 5, of_updates=True),
    Column("predicted → actual", 18, 2, of_updates=True),
    Column("step×", 5, 4, of_updates=True),
    Column("env steps", 9, 3),
)

_STATUS_WIDTH = max(len(status.label) for status in Status)


def choose_columns(rows: Iterable[Row], width: int | None = None) -> tuple[Column, ...]:
    """The columns for rows like these, in lines of at most `width` characters, as far as that is possible.

    The columns of the updates are left out where no local controllers were updated.
    """
    updates = any(row.kl is not None for row in rows)
    chosen = [column for column in COLUMNS if updates or not column.of_updates]
    for rank in sorted({column.rank for column in chosen if column.rank}, reverse=True):
        if width is None or sum(column.width + 1 for column in chosen) + _STATUS_WIDTH <= width:
            break
        chosen = [column for column in chosen if column.rank != rank]
    return tuple(chosen)


def format_header(columns: Sequence[Column]) -> str:
    """The names of the columns of `format_row`."""
    return _join_cells({column.name: column.name for column in columns}, "status", columns)


def format_row(row: Row, columns: Sequence[Column]) -> str:
    """One condition in one iteration."""
    bounded = ABSENT if row.kl is None else f"{format_number(row.kl)} ({format_number(row.kl_bound)})"
    cells = {
        "iter": str(row.iteration),
        "cond": str(row.condition),
        "cost": format_number(row.cost),
        "success": row.success_count,
        "KL (bound), nats": bounded,
        "η": format_number(row.eta),
        "entropy, nats": format_number(row.entropy),
        "predicted → actual": f"{format_number(row.predicted):>7} → {format_number(row.actual):<8}",
        "step×": format_number(row.multiplier),
        "env steps": str(row.environment_steps),
    }
    return _join_cells(cells, Status[row.status].label, columns)


def _join_cells(cells: Mapping[str, str], status: str, columns: Sequence[Column]) -> str:
    return " ".join([*(f"{cells[column.name]:>{column.width}}" for column in columns), status])


def describe_trouble(row: Row) -> str | None:
    """The trouble of a row in words, on an indented line of its own; None if all is well."""
    status = Status[row.status]
    text = row.message or ("" if status.ok else status.sentence)
    return f"{'':10}condition {row.condition}: {text}" if text else None


def format_rows(rows: Sequence[Row], width: int | None = None) -> list[str]:
    """The console lines of rows: the header, the rows, and a line for each trouble. Empty without rows."""
    columns = choose_columns(rows, width)
    lines = [text for row in rows for text in (format_row(row, columns), describe_trouble(row)) if text]
    return [format_header(columns), *lines] if rows else []


def describe_seconds(total: float, seconds: Sequence[Seconds]) -> str:
    """The time of a run and of its stages, in words.

    Args:
        total: of all of it, s.
        seconds: of each iteration.
    """
    stages = {"sampling": "sample", "fitting": "fit", "improving": "improve"}
    parts = {word: sum(getattr(one, field) for one in seconds) for word, field in stages.items()}
    parts["loading, evaluating and writing"] = max(0.0, total - sum(parts.values()))
    return f"{total:.1f} s: {', '.join(f'{value:.1f} s {word}' for word, value in parts.items())}"


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
            f"{format_number(known.mean()):>5} ({format_span(kl)})" if known.size else ABSENT,
            format_span(policy.deviation),
            policy.status.label,
            policy.message,
        ))  # fmt: skip
    return ["global policy:", *align_columns(table)]


# -- a policy that is optimised through a model -----------------------------------------------------------------------

_AHEAD = (1, 10, 100)
"""The steps ahead at which a line tells the size of the gradient."""


def describe_optimisation(optimisation: OptimisationRecord | None) -> list[str]:
    """The optimisation of the policy in one iteration, below the lines of its conditions."""
    if optimisation is None:
        return []
    said = f"{'':10}policy: "
    before, after = optimisation.loss
    if np.isnan(before):
        return [said + (optimisation.message or optimisation.status.sentence)]
    parts = [f"cost in the model {format_number(before)} → {format_number(after)}"]
    if np.isfinite(optimisation.kl):
        parts.append(f"KL from the last {format_number(optimisation.kl)} nats")
    if gradient := _describe_gradient(optimisation):
        parts.append(gradient)
    text = f"{said}{'; '.join([*parts, optimisation.status.label])}"
    return [text, *([said + optimisation.message] if optimisation.message else [])]


def _describe_gradient(optimisation: OptimisationRecord) -> str:
    """The size of the gradient at a few steps ahead; empty where it is unknown."""
    norms = optimisation.gradient_norms
    if norms is None:
        return ""
    known = [h for h in _AHEAD if h < len(norms) and np.isfinite(norms[h])]
    return "gradient " + ", ".join(f"{format_number(norms[h])} at {h}" for h in known) + " steps" if known else ""


def format_optimisations(records: Sequence[tuple[int, OptimisationRecord]]) -> list[str]:
    """The optimisation of the policy in the course of a run: the iteration and the record of each."""
    if not records:
        return []
    table = [("iter", "cost in the model", "KL, nats", "gradient", "status", "")]
    for iteration, record in records:
        before, after = record.loss
        table.append((
            str(iteration),
            ABSENT if np.isnan(before) else f"{format_number(before)} → {format_number(after)}",
            format_number(record.kl) if np.isfinite(record.kl) else ABSENT,
            _describe_gradient(record).removeprefix("gradient ") or ABSENT,
            record.status.label,
            record.message,
        ))  # fmt: skip
    return align_columns(table)


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
            ABSENT if model.points is None else f"{model.points:,}",
            f"{format_number(losses[0]):>7} → {format_number(losses.min())}" if losses.size else ABSENT,
            ABSENT if model.one_step_error is None else format_span(model.one_step_error),
            _format_coverage(model),
            model.status.label,
            model.message,
        ))  # fmt: skip
    return [f"global model, {named[-1][1].name}:", *align_columns(table)]


def _format_coverage(model: ModelRecord) -> str:
    if model.coverage is None or not np.isfinite(model.coverage).all():
        return ABSENT
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


def compare_with_teacher(evaluations: Mapping[str, Sequence[EvaluationRow]]) -> list[str]:
    """The policy and its expert side by side: what they reach, and how long they take; empty without an expert."""
    known = {what: rows for what, rows in evaluations.items() if what in (FINAL, Player.EXPERT) and rows}
    if FINAL not in known or len(known) < 2 or any(rows[0].seconds is None for rows in known.values()):
        return []
    own = known[FINAL][0].seconds
    rewarded = all(row.returns is not None for rows in known.values() for row in rows)
    table = [("", "cost", *(["return"] if rewarded else []), "time of an action")]
    for rows in known.values():
        seconds = rows[0].seconds
        assert seconds is not None and own is not None
        ratio = "" if rows is known[FINAL] else f", {format_ratio(seconds / own)} as long"
        table.append((
            Player(rows[0].player).all,
            format_number(_mean([row.cost for row in rows])),
            *([format_number(_mean([row.returns or 0.0 for row in rows]))] if rewarded else []),
            f"{format_seconds(seconds)}{ratio}",
        ))  # fmt: skip
    return align_columns(table)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def describe_solved(evaluations: Mapping[str, Sequence[EvaluationRow]]) -> str:
    """The number of solved starts in each evaluation; empty if the environment has no success flag."""
    counts = {what: count for what, rows in evaluations.items() if (count := count_solved(rows)) is not None}
    names = {FINAL: "solved", UNSEEN: "unseen"}
    return "; ".join(
        f"{names[what] if what in names else Player(what).all} {count} conditions" for what, count in counts.items()
    )
