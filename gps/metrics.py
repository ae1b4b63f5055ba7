"""Metrics: what an iteration or an evaluation comes down to, a row for each condition, and rows as CSV.

`metrics.csv` and every view of a run's progress are made of these rows. This module loads fast.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from gps.records import EvaluationRecord, IterationRecord, LocalRecord, PolicyRecord

Kind = TypeVar("Kind")

ABSENT = "–"
"""Shown to a reader in place of a number that there is not. CSV has an empty cell there, and JSON null."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One condition in one iteration: a line of the console and of `metrics.csv`. None where there is no number."""

    iteration: int
    condition: int
    player: str  # the value of the `gps.players.Player` who acted
    cost: float  # of an episode, mean over the samples
    successes: int | None  # None where the environment has no success flag
    samples: int
    kl: float | None = None  # of the update, nats over the trajectory
    kl_bound: float | None = None
    eta: float | None = None  # the largest over time where each step has its own
    entropy: float | None = None  # nats, mean over time
    predicted: float | None = None  # change of the cost by the last update
    actual: float | None = None
    multiplier: float | None = None  # of the KL bound
    environment_steps: int  # in total
    sample_seconds: float  # the seconds are those of all conditions together
    fit_seconds: float
    improve_seconds: float
    saturated: float  # share of action entries that the limits changed
    status: str  # the name of a `gps.status.Status`
    message: str
    policy_kl_step: float | None = None  # KL(policy ‖ teacher) after training, nats per time step
    policy_loss_before: float | None = None  # held-out loss of the policy's training, nats; of all conditions together
    policy_loss_after: float | None = None
    policy_deviation: float | None = None  # of the policy's noise, mean over the actions

    @property
    def success_count(self) -> str:
        """`3/5`; a dash where the environment has no success flag."""
        return ABSENT if self.successes is None else f"{self.successes}/{self.samples}"


def make_rows(record: IterationRecord) -> list[Row]:
    """The rows of an iteration, one for each condition."""
    M, N = record.rollouts.states.shape[:2]
    cost, successes = record.mean_cost, record.successes
    local = _local_columns(record.local, M)
    policy = _policy_columns(record.policy, M)
    return [
        Row(
            iteration=record.iteration,
            condition=m,
            player=record.player.value,
            cost=float(cost[m]),
            successes=None if record.rollouts.success is None else int(successes[m]),
            samples=N,
            environment_steps=record.environment_steps,
            sample_seconds=record.seconds.sample,
            fit_seconds=record.seconds.fit,
            improve_seconds=record.seconds.improve,
            saturated=float(record.rollouts.saturated[m]),
            status=status.name,
            message=record.messages[m],
            **local[m],
            **policy[m],
        )
        for m, status in enumerate(record.statuses)
    ]


def _local_columns(local: LocalRecord | None, M: int) -> list[dict[str, float]]:
    """The columns of the local controllers, for each condition."""
    import numpy as np

    if local is None:
        return [{}] * M
    columns = {
        "kl": local.kl,
        "kl_bound": local.kl_bound,
        "eta": np.asarray(local.search.eta).reshape(M, -1).max(axis=1),
        "entropy": local.entropy,
        "predicted": local.last.predicted,
        "actual": local.last.actual,
        "multiplier": local.multiplier,
    }
    return [{name: float(values[m]) for name, values in columns.items()} for m in range(M)]


def _policy_columns(policy: PolicyRecord | None, M: int) -> list[dict[str, float]]:
    """The columns of the global policy, for each condition."""
    import numpy as np

    if policy is None:
        return [{}] * M
    before, after = policy.loss
    shared = {
        "policy_loss_before": before,
        "policy_loss_after": after,
        "policy_deviation": float(np.mean(policy.deviation)),
    }
    return [{"policy_kl_step": float(kl), **shared} for kl in policy.kl_step]


@dataclasses.dataclass(frozen=True)
class EvaluationRow:
    """One evaluation without noise, from one start."""

    condition: int
    player: str  # the value of the `gps.players.Player` who acted
    cost: float  # of an episode, mean over the rollouts; NaN without a whole one
    successes: int | None  # None where the environment has no success flag
    rollouts: int
    returns: float | None = None  # the sum of an episode's rewards, mean over the rollouts; None without rewards
    distance: float | None = None  # to the goal at the end, m, mean over the rollouts; None where it is not reported
    seconds: float | None = None  # of an action, wall clock, the same for all conditions; None where it is unknown

    @property
    def solved(self) -> bool | None:
        """True if all rollouts succeeded; None where the environment has no success flag."""
        return None if self.successes is None else self.successes == self.rollouts


def sum_successes(rows: Sequence[Row]) -> tuple[int, int] | None:
    """The successes and the samples of some rows; None where the environment has no success flag."""
    known = [(row.successes, row.samples) for row in rows if row.successes is not None]
    return (sum(one for one, _ in known), sum(of for _, of in known)) if known else None


def count_solved(rows: Sequence[EvaluationRow]) -> str | None:
    """The number of solved starts, as `3/4`; None if the environment has no success flag."""
    known = [row.solved for row in rows if row.solved is not None]
    return f"{sum(known)}/{len(known)}" if known else None


def make_evaluation_rows(record: EvaluationRecord) -> list[EvaluationRow]:
    """The rows of an evaluation, one for each start."""
    import numpy as np

    rollouts, costs = record.rollouts, record.costs
    whole = rollouts.whole
    total = costs.sum(axis=2)
    means = [float(total[m][whole[m]].mean()) if np.any(whole[m]) else math.nan for m in range(len(total))]
    M, count = rollouts.mask.shape[:2]
    successes = [None] * M if rollouts.success is None else rollouts.succeeded.sum(axis=1).tolist()
    rewarded = rollouts.rewards.any()
    returns = rollouts.rewards.sum(axis=2).mean(axis=1).tolist() if rewarded else [None] * M
    distances = [None] * M if rollouts.distance is None else rollouts.distance.mean(axis=1).tolist()
    seconds = record.seconds if math.isfinite(record.seconds) else None
    return [
        EvaluationRow(m, record.player.value, means[m], successes[m], count, returns[m], distances[m], seconds)
        for m in range(M)
    ]


def format_csv(rows: Sequence[Row] | Sequence[EvaluationRow], kind: type) -> str:
    """The text of rows as CSV with a header. Numbers keep every bit; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(kind))
    writer.writerows(dataclasses.astuple(row) for row in rows)
    return text.getvalue()


def parse_csv(text: str, kind: type[Kind]) -> list[Kind]:
    """The rows that `format_csv` made; columns with a default may be missing at the end.

    Raises:
        ValueError: if the text is not such a table.
    """
    hints = typing.get_type_hints(kind)
    reader = csv.reader(io.StringIO(text, newline=""))
    names = next(reader, [])
    needed = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]  # type: ignore[arg-type]
    if names != list(hints)[: len(names)] or not set(needed) <= set(names):
        raise ValueError("the first line does not hold the expected columns")
    converters = {name: _make_converter(hints[name]) for name in names}
    return [
        kind(**{name: convert(cell) for (name, convert), cell in zip(converters.items(), line, strict=True)})
        for line in reader
    ]


def _make_converter(hint: Any) -> Callable[[str], Any]:
    """A function from a cell to a value of a type, or of a type or None."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return (lambda cell: kinds[0](cell) if cell else None) if kinds else hint
