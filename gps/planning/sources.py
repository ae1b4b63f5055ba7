"""The settings of planners, from which the policy that plans is made for each new model."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from gps.costs.terms import Cost
from gps.environments.contract import BatchEnvironment
from gps.models.model import GlobalModel, varies
from gps.models.propagation import Propagation
from gps.planning.adaptive import Adaptation, AdaptivePolicy
from gps.planning.linearising import LinearisingPlanner
from gps.planning.model_planner import ModelPlanner
from gps.planning.planner import Planner
from gps.planning.played import PlannerPolicy, PlanningPolicy
from gps.planning.sequences import ActionRange, SequenceOptimiser
from gps.planning.simulator import Copies, SimulatorPlanner
from gps.problem import Problem


class PlanningTask(NamedTuple):
    """What a policy that plans is made for.

    Args:
        model: of the dynamics; None while there is none, or where the planner needs none.
        cost: a JAX function of (x, u, t); None while it is unknown.
        conditions: M.
        noise: standard deviation of the exploration around the plans, relative to half the range of each action (two
            standard deviations of the data where it has no limits).
        replans: True to plan again and again; False to follow each plan to the end of the episode.
        turn: added to the planner's seed. With another one in each iteration, even a model that a fit has left as it
            was brings new episodes.
        tried: the actions of the best episodes so far, E of them, for planners that can begin with them; None for none.
        attempts: iterations of the planner so far; what it tries at random differs between them.
    """

    problem: Problem
    model: GlobalModel | None
    cost: Cost | None
    conditions: int
    noise: float = 0.0
    replans: bool = True
    turn: int = 0
    tried: Float[np.ndarray, "E T du"] | None = None
    attempts: int = 0

    @property
    def systems(self) -> int:
        """The number of systems that are planned for: M where the model differs between the conditions, or else 1."""
        return self.conditions if varies(self.model) else 1

    def choose_horizon(self, horizon: int) -> int:
        """The steps of a plan: as configured, or to the end of the episode."""
        return min(horizon, self.problem.horizon) if self.replans else self.problem.horizon

    def find_range(self, deviations: Float[np.ndarray, "du"]) -> ActionRange:
        """The range of the actions; `deviations` are their units where they have no limits."""
        return ActionRange.of(*self.problem.limits, deviations)

    def play(self, planner: Planner[Any], range: ActionRange, every: int) -> PlannerPolicy:
        """The policy that follows the plans of a planner; where it replans, it does so in each `every`-th step."""
        covariance = np.diag(self.noise * np.asarray(range.width)) ** 2
        shape = self.conditions, self.problem.horizon, *covariance.shape
        every_step = every if self.replans else None
        return PlannerPolicy(planner, np.broadcast_to(covariance, shape), every_step, not varies(self.model))


class PolicySource(Protocol):
    """The settings of a planner."""

    def make_policy(self, task: PlanningTask) -> PlanningPolicy | None:
        """The policy that plans; None while the model or the cost that it needs is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequencePlanning:
    """Action sequences by an optimiser; see `gps.planning.model_planner.ModelPlanner`."""

    optimiser: SequenceOptimiser[Any]
    horizon: int = 25
    every: int = 1
    particles: int = 5
    propagation: Propagation = "ts1"
    seconds: float | None = None
    parts: int = 1
    seed: int = 0

    def make_policy(self, task: PlanningTask) -> PlannerPolicy | None:
        if task.model is None or task.cost is None:
            return None
        range = _find_range_of_data(task, task.model)
        planner = ModelPlanner(
            model=task.model,
            cost=task.cost,
            optimiser=self.optimiser,
            range=range,
            end=task.problem.horizon,
            horizon=task.choose_horizon(self.horizon),
            particles=self.particles,
            propagation=self.propagation,
            seed=self.seed + task.turn,
            seconds=self.seconds,
            parts=self.parts,
            conditions=task.systems,
        )
        return task.play(planner, range, self.every)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ILQRPlanning:
    """Iterative LQR; see `gps.planning.linearising`."""

    horizon: int = 25
    every: int = 1
    rounds: int = 2
    first_rounds: int = 20
    guesses: int = 8
    first_guesses: int | None = None
    first_starts: int = 1
    seconds: float | None = None
    seed: int = 0

    def make_policy(self, task: PlanningTask) -> PlannerPolicy | None:
        if task.model is None or task.cost is None:
            return None
        range = _find_range_of_data(task, task.model)
        planner = LinearisingPlanner(
            model=task.model,
            cost=task.cost,
            range=range,
            end=task.problem.horizon,
            horizon=task.choose_horizon(self.horizon),
            rounds=self.rounds,
            first_rounds=self.first_rounds,
            tries=self.guesses,
            first_tries=self.first_guesses,
            first_starts=self.first_starts,
            tried=task.tried,
            attempts=task.attempts,
            seconds=self.seconds,
            conditions=task.systems,
        )
        return task.play(planner, range, self.every)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptivePlanning:
    """A model that is adapted within each episode; see `gps.planning.adaptive`. It replans at every step."""

    adaptation: Adaptation
    seed: int = 0

    def make_policy(self, task: PlanningTask) -> AdaptivePolicy | None:
        if task.model is None or task.cost is None:
            return None
        problem = dataclasses.replace(task.problem, cost=task.cost)
        return AdaptivePolicy(problem, task.model, task.conditions, self.adaptation, self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulatorPlanning:
    """Action sequences on the true simulator; see `gps.planning.simulator.SimulatorPlanner`. It needs no model."""

    live: BatchEnvironment
    copies: Copies
    optimiser: SequenceOptimiser[Any]
    horizon: int = 25
    every: int = 1
    seconds: float | None = None
    seed: int = 0

    def make_policy(self, task: PlanningTask) -> PlannerPolicy | None:
        if task.cost is None:
            return None
        range = task.find_range(np.ones(task.problem.du))
        reward = task.problem.reward
        planner = SimulatorPlanner(
            live=self.live,
            copies=self.copies,
            cost=task.cost,
            reward_weight=0.0 if reward is None else reward.weight,
            optimiser=self.optimiser,
            range=range,
            end=task.problem.horizon,
            horizon=task.choose_horizon(self.horizon),
            seed=self.seed + task.turn,
            seconds=self.seconds,
        )
        return task.play(planner, range, self.every)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrueModelPlanning:
    """Planning in a model that is given, not learned: iLQR in the simulator with slopes by differences.

    Args:
        planning: the settings of the planner.
        model: of the dynamics.
    """

    planning: PolicySource
    model: GlobalModel

    def make_policy(self, task: PlanningTask) -> PlanningPolicy | None:
        return self.planning.make_policy(task._replace(model=self.model))


def _find_range_of_data(task: PlanningTask, model: GlobalModel) -> ActionRange:
    """The range of the actions, in the deviations of the model's data where they have no limits."""
    return task.find_range(np.asarray(model.deviations)[-task.problem.du :])
