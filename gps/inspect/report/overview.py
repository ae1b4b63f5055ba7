"""The numbers of the whole run: a small piece for each iteration, and the facts that do not change.

A piece depends on its iteration and the one before it, so a live page adds piece to piece.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.config.algorithms import PluginAlgorithmConfig
from gps.inspect.first import describe_first, describe_first_samples
from gps.inspect.formatting import format_condition, name_run
from gps.inspect.iteration import search_trace
from gps.inspect.report.forms import (
    Axes,
    Facts,
    LocalPiece,
    ModelPiece,
    OptimisationPiece,
    Piece,
    PlannerPiece,
    PolicyFacts,
    PolicyPiece,
    Role,
    Sizes,
    StartScore,
)
from gps.inspect.report.measures import compute_one_step_error, measure_loop, measure_spread
from gps.inspect.report.names import SpatialPoint, find_points, group_entries, label_actions, label_entries
from gps.inspect.report.packing import pack, round_number, round_numbers
from gps.inspect.report.places import locate_starts
from gps.inspect.report.thinning import choose_samples, choose_steps
from gps.players import FINAL, UNSEEN, Player

if TYPE_CHECKING:
    from gps.records import IterationRecord, LocalRecord, ModelRecord, OptimisationRecord, PlannerRecord, PolicyRecord
    from gps.runs import Run


# -- pieces ----------------------------------------------------------------------------------------------------------


def make_piece(record: IterationRecord, previous: IterationRecord | None, run: Path | None = None) -> Piece:
    """Make the piece of an iteration, with the sides that its record has.

    Args:
        run: its directory, for the commands in its messages.
    """
    rollouts = record.rollouts
    whole = rollouts.whole
    totals = np.where(whole, record.costs.sum(axis=2), np.nan)
    samples = choose_samples(totals.shape[1], most=100)
    steps = choose_steps(record.costs.shape[2])
    return Piece(
        iteration=record.iteration,
        steps=record.environment_steps,
        episodes=record.episodes,
        player=record.player,
        costs=round_numbers(totals[:, samples]),
        succeeded=rollouts.succeeded[:, samples].astype(int).tolist(),
        cost=round_numbers(record.mean_cost),
        cost_error=round_numbers(_compute_standard_error(totals)),
        successes=None if rollouts.success is None else record.successes.tolist(),
        samples=totals.shape[1],
        short=(~whole).sum(axis=1).tolist(),
        saturated=round_numbers(rollouts.saturated),
        status=[status.name for status in record.statuses],
        ok=[status.ok for status in record.statuses],
        message=[name_run(text, run) for text in record.messages],
        seconds=round_numbers([record.seconds.sample, record.seconds.fit, record.seconds.improve]),
        horizon=record.costs.shape[2],
        excitation=None if totals.shape[1] < 2 else round_numbers(measure_spread(rollouts.actions, rollouts.mask)),
        local=None if record.local is None else _make_local_piece(record, record.local, previous, steps),
        policy=None if record.policy is None else _make_policy_piece(record.policy, steps),
        model=None if record.model is None else _make_model_piece(record.model),
        planner=None if record.planner is None else _make_planner_piece(record.planner, record.seconds.plan, steps),
        optimisation=None if record.optimisation is None else _make_optimisation_piece(record.optimisation),
    )


def _make_local_piece(
    record: IterationRecord, local: LocalRecord, previous: IterationRecord | None, steps: np.ndarray
) -> LocalPiece:
    M = len(record.costs)
    before = np.full(M, np.nan) if previous is None else previous.mean_cost
    return LocalPiece(
        expected=round_numbers(before + local.last.predicted),
        predicted=round_numbers(local.last.predicted),
        kl=round_numbers(local.kl),
        bound=round_numbers(local.kl_bound),
        per_step=np.ndim(local.search.eta) > 1,
        kl_steps=pack(np.asarray(local.search.kl)[:, steps, None]),
        eta=round_numbers(np.asarray(local.search.eta).reshape(M, -1).max(axis=1)),
        trace=[round_numbers(search_trace(local, m)) for m in range(M)],
        trust=round_numbers(local.trust),
        entropy=round_numbers(local.entropy),
        multiplier=round_numbers(local.multiplier),
        fitted=local.dynamics is not None,
        model_error=round_numbers(_judge_dynamics(previous, record)),
        radius=[None] * M if local.dynamics is None else round_numbers(measure_loop(local.controllers, local.dynamics)),
    )


def _judge_dynamics(previous: IterationRecord | None, record: IterationRecord) -> np.ndarray:
    """The one-step error of the dynamics fitted in the previous iteration, (M,); NaN without them."""
    if previous is None or previous.local is None or previous.local.dynamics is None:
        return np.full(len(record.costs), np.nan)
    return compute_one_step_error(previous.local.dynamics, record.rollouts).overall


def _make_policy_piece(policy: PolicyRecord, steps: np.ndarray) -> PolicyPiece:
    before, after = policy.loss
    return PolicyPiece(
        teacher=policy.teacher,
        existed=policy.existed,
        trained=policy.trained,
        status=policy.status.name,
        label=policy.status.label,
        severity=policy.status.severity.name.lower(),
        sentence=policy.status.sentence,
        remedy=policy.status.remedy,
        ok=policy.status.ok,
        kl=round_numbers(policy.kl_step),
        kl_steps=pack(policy.kl[:, steps, None]),
        loss=(round_number(before), round_number(after)),
        steps=policy.steps,
        training=round_numbers(policy.training_loss),
        held_out=round_numbers(policy.held_out_loss),
        deviation=round_numbers(policy.deviation),
        message=policy.message,
    )


def _make_model_piece(model: ModelRecord) -> ModelPiece:
    def as_lists(array: np.ndarray | None) -> Any:
        return None if array is None else round_numbers(array)

    return ModelPiece(
        name=model.name,
        points=model.points,
        status=model.status.name,
        sentence=model.status.sentence,
        remedy=model.status.remedy,
        ok=model.status.ok,
        message=model.message,
        coverage=as_lists(model.coverage),
        mixture=model.mixture is not None,
        training=as_lists(model.training_loss),
        held_out=as_lists(model.held_out_loss),
        one_step=as_lists(model.one_step_error),
        horizon=as_lists(model.horizon_error),
    )


def _make_planner_piece(planner: PlannerRecord, seconds: float, steps: np.ndarray) -> PlannerPiece:
    effective = planner.effective_samples
    return PlannerPiece(
        predicted=round_numbers(planner.predicted),
        actual=round_numbers(planner.actual),
        seconds=round_numbers([seconds])[0] if np.isfinite(seconds) else None,
        fallbacks=None if planner.fallbacks is None else np.asarray(planner.fallbacks).tolist(),
        steps=planner.steps,
        planned=planner.planned_states is not None,
        effective=None if effective is None else pack(np.asarray(effective)[:, steps, None]),
    )


def _make_optimisation_piece(optimisation: OptimisationRecord) -> OptimisationPiece:
    status, norms = optimisation.status, optimisation.gradient_norms
    before, after = optimisation.loss
    return OptimisationPiece(
        status=status.name,
        label=status.label,
        sentence=status.sentence,
        remedy=status.remedy,
        ok=status.ok,
        message=optimisation.message,
        loss=(round_number(before), round_number(after)),
        losses=round_numbers(optimisation.losses),
        kl=round_number(optimisation.kl),
        gradients=None if norms is None else round_numbers(norms),
    )


def _compute_standard_error(totals: np.ndarray) -> np.ndarray:
    """The standard error of each condition's mean cost; 0 where a single episode is whole."""
    count = np.isfinite(totals).sum(axis=1)
    mean = np.nansum(totals, axis=1) / np.maximum(count, 1)
    scatter = np.nansum((totals - mean[:, None]) ** 2, axis=1)
    return np.sqrt(scatter / np.maximum(count - 1, 1) / np.maximum(count, 1))


def find_best(pieces: Sequence[Piece]) -> tuple[int, float] | None:
    """Find the iteration whose mean cost over the conditions is lowest, and that cost."""
    means = [(mean, k) for k, item in enumerate(pieces) if (mean := compute_mean_cost(item)) is not None]
    return (min(means)[1], min(means)[0]) if means else None


def compute_mean_cost(item: Piece) -> float | None:
    """Compute the mean cost over the conditions; None if one has no whole episode."""
    costs = [cost for cost in item.cost if cost is not None]
    return math.fsum(costs) / len(costs) if len(costs) == len(item.cost) else None


# -- facts -----------------------------------------------------------------------------------------------------------


def collect_facts(run: Run, first: IterationRecord | None) -> Facts:
    """Collect what a run is: its origin, its sizes, the names of its parts, and its state now.

    Args:
        first: the record of its first iteration; None if there is none yet.
    """
    config = run.config
    algorithm = config.algorithm
    done = len(run.iterations) >= algorithm.iterations
    return Facts(
        name=run.name,
        description=config.description,
        path=str(run.path),
        seed=run.seed,
        started=run.started,
        algorithm=algorithm.plugin if isinstance(algorithm, PluginAlgorithmConfig) else algorithm.name,
        execute=algorithm.controller.execute,
        planned=algorithm.iterations,
        state="running" if run.active else "finished" if done else "stopped",
        players={player.value: Role.of(player) for player in Player},
        evaluation=_make_scores(run, FINAL),
        conditions=[format_condition(condition) for condition in config.environment.conditions],
        first=_describe_beginning(run, first),
        policy=None if first is None or first.policy is None else _collect_policy_facts(run, first.policy.teacher),
        environment=config.environment.id or str(config.environment.mjcf),
        experiment=config.to_toml(),
        command=(run.path / "command.txt").read_text(encoding="utf-8").strip(),
        versions=json.loads((run.path / "versions.json").read_text(encoding="utf-8")),
        axes=None if first is None else _describe_axes(run, first),
        goal=_describe_goal(run),
    )


def _describe_beginning(run: Run, first: IterationRecord | None) -> list[str]:
    if run.first is None:
        return []
    said = describe_first(run.first)
    return said if first is None else [*said, describe_first_samples(run.first, first)]


def _collect_policy_facts(run: Run, teacher: Player) -> PolicyFacts:
    environment = run.config.environment
    return PolicyFacts(
        teacher=teacher,
        unseen=_make_scores(run, UNSEEN),
        taught=_make_scores(run, teacher.value),
        starts=[format_condition(condition) for condition in environment.test_conditions],
        places=locate_starts(environment.conditions, environment.test_conditions),
    )


def _describe_axes(run: Run, first: IterationRecord) -> Axes:
    M, N, T, dx = first.rollouts.states.shape
    du = first.rollouts.actions.shape[-1]
    interface = run.interface
    state, action = ((), ()) if interface is None else (interface.state, interface.action)
    unlimited = (np.inf,) * du
    return Axes(
        sizes=Sizes(M, N, T, dx, du),
        times=choose_steps(T).tolist(),
        entries=label_entries(run.state_layout, dx, state),
        groups=group_entries(run.state_layout, dx),
        points=find_points(run.state_layout, dx),
        actions=label_actions(du, action),
        units=[entry.unit for entry in state] or [""] * dx,
        action_units=[entry.unit for entry in action] or [""] * du,
        low=round_numbers(unlimited if interface is None else interface.low),
        high=round_numbers(unlimited if interface is None else interface.high),
        dt=None if interface is None else round_number(interface.dt),
    )


def _make_scores(run: Run, what: str) -> list[StartScore]:
    """Make the scores of an evaluation, a key of `gps.players.EVALUATIONS`; empty without it."""
    rows = run.evaluation_rows(what)
    distances = [row.distance for row in rows]
    if rows and None in distances and (goal := _find_goal(run)) is not None:
        distances = _measure_distances(run, what, goal)
    return [
        StartScore(
            player=Player(row.player),
            cost=round_number(row.cost),
            successes=row.successes,
            rollouts=row.rollouts,
            returns=None if row.returns is None else round_number(row.returns),
            seconds=None if row.seconds is None else round_number(row.seconds),
            distance=None if distance is None else round_number(distance),
        )
        for row, distance in zip(rows, distances, strict=True)
    ]


def _describe_goal(run: Run) -> str:
    goal = _find_goal(run)
    return "the distance to the goal" if goal is None else "the distance of {} to {}".format(*goal.name.split("-", 1))


def _find_goal(run: Run) -> SpatialPoint | None:
    """The first part of the state that is a place relative to a target; None if the environment reports a distance."""
    if any(row.distance is not None for row in run.evaluation_rows()):
        return None
    points = find_points(run.state_layout, max((where.stop for where in (run.state_layout or {}).values()), default=0))
    return next((point for point in points if point.relative), None)


def _measure_distances(run: Run, what: str, goal: SpatialPoint) -> list[float | None]:
    """The distance to the target in the last states of an evaluation, mean over the episodes of a start, m."""
    made = run.evaluation(what)
    assert made is not None
    last = np.maximum(made.rollouts.mask.sum(axis=2) - 1, 0)[..., None, None]
    states = np.take_along_axis(made.rollouts.true.states, last, axis=2)[:, :, 0]
    return [float(one) for one in np.linalg.norm(states[..., goal.indices], axis=-1).mean(axis=1)]
