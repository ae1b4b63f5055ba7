"""The settings of planners, from which a planner is made for each new model."""

import dataclasses
from typing import Any, Protocol

import numpy as np

from gps.costs.terms import Cost
from gps.models.model import GlobalModel
from gps.planning.linearising import LinearisingPlanner
from gps.planning.model_planner import ModelPlanner
from gps.planning.objective import Propagation
from gps.planning.planner import Planner
from gps.planning.sequences import ActionRange, SequenceOptimiser
from gps.problem import Problem


class PlannerSource(Protocol):
    """The settings of a planner."""

    def make_planner(self, problem: Problem, model: GlobalModel, cost: Cost, whole: bool) -> Planner[Any]:
        """The planner in a model.

        Args:
            cost: a JAX function of (x, u, t).
            whole: True if a plan is to reach the end of the episode, whatever the settings say.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequencePlanning:
    """Action sequences by an optimiser; see `gps.planning.model_planner.ModelPlanner`."""

    optimiser: SequenceOptimiser[Any]
    horizon: int = 25
    particles: int = 5
    propagation: Propagation = "ts1"
    seconds: float | None = None
    parts: int = 1
    seed: int = 0

    def make_planner(self, problem: Problem, model: GlobalModel, cost: Cost, whole: bool) -> ModelPlanner:
        low, high = problem.limits
        return ModelPlanner(
            model=model,
            cost=cost,
            optimiser=self.optimiser,
            range=ActionRange.of(low, high, np.asarray(model.deviations)[-problem.du :]),
            end=problem.horizon,
            horizon=problem.horizon if whole else min(self.horizon, problem.horizon),
            particles=self.particles,
            propagation=self.propagation,
            seed=self.seed,
            seconds=self.seconds,
            parts=self.parts,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ILQRPlanning:
    """Iterative LQR; see `gps.planning.linearising`."""

    horizon: int = 25
    rounds: int = 2
    first_rounds: int = 20
    guesses: int = 8
    seconds: float | None = None
    seed: int = 0

    def make_planner(self, problem: Problem, model: GlobalModel, cost: Cost, whole: bool) -> LinearisingPlanner:
        low, high = problem.limits
        return LinearisingPlanner(
            model=model,
            cost=cost,
            range=ActionRange.of(low, high, np.asarray(model.deviations)[-problem.du :]),
            end=problem.horizon,
            horizon=problem.horizon if whole else min(self.horizon, problem.horizon),
            rounds=self.rounds,
            first_rounds=self.first_rounds,
            tries=self.guesses,
            seconds=self.seconds,
        )
