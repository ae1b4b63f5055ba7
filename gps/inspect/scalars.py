"""The numbers of a run for trackers of experiments: one table of names for TensorBoard and Weights & Biases.

A group of numbers is a line in each chart: `all` has the means over the conditions and what they share, `condition_0`
the first condition. With one condition there is only `all`, so that no line is drawn twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gps.inspect.comparison.member import flatten_settings
from gps.metrics import Row, make_evaluation_rows, make_rows
from gps.players import EVALUATIONS

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.metrics import EvaluationRow
    from gps.records import EvaluationRecord, IterationRecord, PolicyRecord

ALL = "all"
"""The group of what the conditions share."""

FINAL_NUMBERS = ("evaluation_cost", "evaluation_success")
"""The names of the final score, by which a table of hyperparameters ranks runs."""

Scalars = dict[str, dict[str, float]]
"""Group -> name -> number. There is no entry where there is no number."""

_OF_CONDITION = (
    "cost", "kl", "kl_bound", "eta", "entropy", "multiplier", "predicted", "actual", "saturated", "policy_kl_step",
)  # fmt: skip
_SHARED = (
    "iteration", "environment_steps", "sample_seconds", "fit_seconds", "improve_seconds", "policy_loss_before",
    "policy_loss_after",
)  # fmt: skip


def collect_scalars(record: IterationRecord) -> Scalars:
    """Return the numbers of an iteration; costs are per episode, divergences in nats, times in seconds."""
    rows = make_rows(record)
    groups: dict[str, dict[str, float | None]] = {
        f"condition_{row.condition}": {name: getattr(row, name) for name in _OF_CONDITION} | _measure_success([row])
        for row in rows
    }
    shared: dict[str, float | None] = {
        "cost": float(np.mean([row.cost for row in rows])),
        **{name: getattr(rows[0], name) for name in _SHARED},
        **_measure_success(rows),
        **_collect_deviations(record.policy),
    }
    return _join_groups(groups, shared)


def collect_evaluation_scalars(record: EvaluationRecord) -> Scalars:
    """Return the numbers of an evaluation without exploration."""
    name, rows = EVALUATIONS[record.what], make_evaluation_rows(record)
    groups = {f"condition_{row.condition}": _measure_evaluation([row], name) for row in rows}
    return _join_groups(groups, _measure_evaluation(rows, name))


def collect_hyperparameters(config: ExperimentConfig) -> dict[str, float | str | bool]:
    """Return the settings of an experiment that are one number or one word, by dotted keys."""
    settings = flatten_settings(config.model_dump(mode="json"))
    return {key: value for key, value in settings.items() if isinstance(value, int | float | str | bool)}


def _join_groups(groups: Mapping[str, Mapping[str, float | None]], shared: Mapping[str, float | None]) -> Scalars:
    """Return all groups; a single condition is one with what is shared."""
    if len(groups) == 1:
        (only,) = groups.values()
        groups, shared = {}, {**only, **shared}
    return {
        group: {name: float(value) for name, value in numbers.items() if value is not None and math.isfinite(value)}
        for group, numbers in {ALL: shared, **groups}.items()
    }


def _measure_success(rows: Sequence[Row]) -> dict[str, float]:
    """Return the share of successful samples; empty if the environment does not report success."""
    known = [(row.successes, row.samples) for row in rows if row.successes is not None]
    return {"success": sum(wins for wins, _ in known) / sum(samples for _, samples in known)} if known else {}


def _measure_evaluation(rows: Sequence[EvaluationRow], name: str) -> dict[str, float]:
    """Return the means over some starts: the cost, the share of successes and the return, where they are known."""
    means = {f"{name}_cost": float(np.mean([row.cost for row in rows]))}
    wins = [row.successes / row.rollouts for row in rows if row.successes is not None]
    returns = [row.returns for row in rows if row.returns is not None]
    if wins:
        means[f"{name}_success"] = float(np.mean(wins))
    if returns:
        means[f"{name}_return"] = float(np.mean(returns))
    return means


def _collect_deviations(policy: PolicyRecord | None) -> dict[str, float]:
    """Return the standard deviations of the global policy's noise; empty without a policy."""
    return {} if policy is None else {f"policy_deviation_u{i}": float(std) for i, std in enumerate(policy.deviation)}
