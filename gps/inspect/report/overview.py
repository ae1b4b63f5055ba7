"""The numbers of the whole run: one small piece for each iteration, and what does not change.

A piece depends on its iteration and the one before it, so that a page which watches a run adds piece to piece.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.inspect import tables
from gps.inspect.report import names
from gps.inspect.report.model_error import one_step
from gps.inspect.report.packing import numbers, pack
from gps.inspect.report.places import places
from gps.inspect.report.thinning import kept_samples, kept_steps
from gps.players import TEACHERS
from gps.runs.run import EVALUATIONS

if TYPE_CHECKING:
    from gps.records import IterationRecord, PolicyRecord
    from gps.runs.run import Run

Piece = dict[str, Any]
"""What one iteration contributes. Lists have an entry for each condition."""


def piece(record: IterationRecord, previous: IterationRecord | None) -> Piece:
    """An iteration as the figures of the whole run show it."""
    rows, rollouts, search = tables.rows(record), record.rollouts, record.search
    M, _, T = record.costs.shape
    whole = rollouts.mask.all(axis=2)
    totals = np.where(whole, record.costs.sum(axis=2), np.nan)
    samples = kept_samples(totals.shape[1], most=100)
    error = np.full(M, np.nan) if previous is None else one_step(previous.dynamics, rollouts).overall
    before = np.full(M, np.nan) if previous is None else previous.mean_cost
    steps = kept_steps(T)
    return {
        "iteration": record.iteration,
        "steps": record.environment_steps,
        "episodes": tables.effort(record)[1],
        "costs": numbers(totals[:, samples]),
        "succeeded": rollouts.succeeded[:, samples].astype(int).tolist(),
        "cost": numbers([row.cost for row in rows]),
        "cost_error": numbers(_standard_error(totals)),
        "expected": numbers(before + record.predicted),  # the cost that the last update promised
        "predicted": numbers(record.predicted),
        "successes": None if rollouts.success is None else [row.successes for row in rows],
        "samples": totals.shape[1],
        "short": (~whole).sum(axis=1).tolist(),  # episodes that ended early
        "kl": numbers(record.kl),
        "bound": numbers(record.kl_bound),
        "kl_steps": pack(np.asarray(search.kl)[:, steps, None]),
        "eta": numbers([row.eta for row in rows]),
        "eta_steps": pack(_log10(search.eta)[:, steps, None]) if np.ndim(search.eta) > 1 else None,
        "trace": [_trace(record, m) for m in range(M)],
        "entropy": numbers(record.entropy),
        "multiplier": numbers(record.multiplier),
        "saturated": numbers(rollouts.saturated),
        "model_error": numbers(error),  # of the last iteration's model on this one's data
        "status": [row.status for row in rows],
        "ok": [status.ok for status in record.statuses],
        "sentence": [status.sentence for status in record.statuses],
        "message": list(record.messages),
        "seconds": numbers([record.seconds.sample, record.seconds.fit, record.seconds.improve]),
        "policy": None if record.policy is None else _policy(record, record.policy, steps),
    }


def _policy(record: IterationRecord, policy: PolicyRecord, steps: np.ndarray) -> dict[str, Any]:
    """The global policy's side of an iteration."""
    return {
        "sampled": policy.sampled,
        "player": policy.player,
        "teacher": policy.teacher,
        "status": policy.status.name,
        "sentence": policy.status.sentence,
        "ok": policy.status.ok,
        "trained": trained(record),
        "kl": numbers(tables.policy_kl(policy)),
        "kl_steps": pack(policy.kl[:, steps, None]),
        "loss": numbers(policy.loss),
        "steps": policy.steps,
        "training": numbers(policy.training_loss),
        "held_out": numbers(policy.held_out_loss),
        "deviation": numbers(policy.deviation),
        "message": policy.message,
    }


def trained(record: IterationRecord) -> bool:
    """Whether the iteration began with a global policy: before, its teachers stand for it."""
    policy = record.policy
    if policy is None:
        return False
    same = np.array_equal(policy.linearised.feedforward, record.controllers.feedforward)
    return policy.sampled or not same


def _standard_error(totals: np.ndarray) -> np.ndarray:
    """Of the mean cost of each condition; 0 where a single episode is whole."""
    count = np.isfinite(totals).sum(axis=1)
    mean = np.nansum(totals, axis=1) / np.maximum(count, 1)
    scatter = np.nansum((totals - mean[:, None]) ** 2, axis=1)
    return np.sqrt(scatter / np.maximum(count - 1, 1) / np.maximum(count, 1))


def _log10(eta: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log10(np.asarray(eta))


def _trace(record: IterationRecord, m: int) -> list[Any]:
    """η and KL of each evaluation of the search; a KL of None is an η without a controller."""
    search = record.search
    count = int(search.evaluations[m])
    return numbers(np.stack([np.exp(search.trace_log_eta[m][:count]), search.trace_kl[m][:count]], axis=-1))


def facts(run: Run, first: IterationRecord | None) -> dict[str, Any]:
    """What a run is: where it came from, its sizes, the names of its parts, and how it stands now."""
    config = run.config
    algorithm = config.algorithm
    done, active = len(run.iterations), run.active
    evaluations = {what: run.evaluated_summary(what) for what in EVALUATIONS}
    known: dict[str, Any] = {
        "name": run.name,
        "description": config.description,
        "path": str(run.path),
        "seed": run.seed,
        "started": run.started,
        "algorithm": getattr(algorithm, "plugin", algorithm.name),
        "execute": algorithm.controller.execute,
        "constraint": getattr(algorithm, "constraint", "per_step"),
        "planned": algorithm.iterations,
        "done": done,
        "state": "running" if active else "finished" if done >= algorithm.iterations else "stopped",
        "evaluation": _evaluation(evaluations["final"]),
        "conditions": [_condition(condition) for condition in config.environment.conditions],
        "apart": {
            "unseen": _evaluation(evaluations["unseen"]),
            "teacher": TEACHERS[first.policy.teacher]._asdict(),
            "taught": _evaluation(evaluations[first.policy.teacher]),
            "starts": [_condition(condition) for condition in config.environment.test_conditions],
            "places": places(config.environment.conditions, config.environment.test_conditions),
        }
        if first is not None and first.policy is not None
        else None,
        "environment": config.environment.id or config.environment.mjcf,
        "experiment": config.to_toml(),
        "command": (run.path / "command.txt").read_text(encoding="utf-8").strip(),
        "versions": json.loads((run.path / "versions.json").read_text(encoding="utf-8")),
    }
    if first is not None:
        M, N, T, dx = first.rollouts.states.shape
        du = first.rollouts.actions.shape[-1]
        known |= {
            "sizes": {"M": M, "N": N, "T": T, "dx": dx, "du": du},
            "times": kept_steps(T).tolist(),
            "entries": names.entries(run.state_layout, dx),
            "groups": names.groups(run.state_layout, dx),
            "points": names.points(run.state_layout, dx),
            "actions": [f"u{i}" for i in range(du)],
        }
    return known


def _evaluation(items: Sequence[tables.Evaluation]) -> list[dict[str, Any]]:
    return [
        {
            "cost": numbers(item.cost),
            "successes": item.successes,
            "rollouts": item.rollouts,
            "return": None if item.returns is None else numbers(item.returns),
        }
        for item in items
    ]


def _condition(condition: dict[str, Any]) -> str:
    """`slot = [-0.08, 0.08]`, cut where it is long."""
    text = ", ".join(f"{key} = {value}" for key, value in condition.items())
    return text if len(text) <= 60 else text[:57] + "…"


def best(pieces: list[Piece]) -> tuple[int, float] | None:
    """The iteration whose mean cost over the conditions is lowest, and that cost."""
    means = [(mean, k) for k, item in enumerate(pieces) if (mean := mean_cost(item)) is not None]
    return (min(means)[1], min(means)[0]) if means else None


def mean_cost(item: Piece) -> float | None:
    """Over the conditions; None where one has no whole episode."""
    if any(cost is None for cost in item["cost"]):
        return None
    return math.fsum(item["cost"]) / len(item["cost"])
