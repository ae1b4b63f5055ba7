"""Experts that replan at each step, from the state that they are in, in learned dynamics.

The dynamics are those of a Gaussian mixture over [x; u; x'], fitted to the samples of the last iterations, which are
linear around any point (`gps.models.mixture`). The plan reaches `horizon` steps ahead, and no farther than the episode.
Each step goes on from the last one's plan, with a few rounds of iterative LQR; the first one begins with many.
"""

import dataclasses
from typing import ClassVar, Generic

import numpy as np
from jaxtyping import Float

from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior
from gps.experts.contract import Advice
from gps.models.mixture import MixtureRegression
from gps.planning.ilqr import Plan, PlanningProblem, draw_guesses, improve_plans
from gps.planning.planner import P, Planner
from gps.problem import Problem
from gps.records import Rollouts


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplanningExpert:
    """The settings of an expert that replans by iterative LQR: `gps.experts.contract.ExpertSource`.

    Args:
        problem: see `Problem`; its cost must have a formula.
        prior: the mixture, before the first samples.
        horizon: steps of a plan, H.
        rounds, first_rounds: of iterative LQR, at each step and at the first one.
        guesses: random plans that are tried at each step: one may lead out of where small changes do not help.
        entropy: temperature α of the plan's entropy, relative to the mean absolute cost of a step.
    """

    problem: Problem = dataclasses.field(kw_only=False)
    prior: MixturePrior
    horizon: int = 20
    rounds: int = 2
    first_rounds: int = 20
    guesses: int = 8
    entropy: float = 1e-2

    model: ClassVar[None] = None
    episodes: ClassVar[tuple[Rollouts, ...]] = ()

    def make_expert(self, prior: DynamicsPrior | None, cost_unit: float) -> "Replanner[Plan] | None":
        """The expert that plans in the dynamics of the prior; None before there is a mixture."""
        assert isinstance(prior, MixturePrior)
        if prior.mixture is None:
            return None
        problem, (low, high) = self.problem, map(np.asarray, self.problem.limits)
        model = MixtureRegression.of(prior.mixture, problem.dx, prior.clusters)
        planning = PlanningProblem(model, low, high, model.deviations, np.int32(problem.horizon))
        return Replanner(ILQRPlanner(self, planning), max(self.entropy * cost_unit, 1e-12))


@dataclasses.dataclass(frozen=True)
class ILQRPlanner:
    """Iterative LQR as a `Planner`."""

    settings: ReplanningExpert
    planning: PlanningProblem

    def plan(self, states: Float[np.ndarray, "B dx"], t: int, last: Plan | None) -> Plan:
        settings, problem = self.settings, self.settings.problem
        horizon = min(settings.horizon, problem.horizon)
        if last is None:
            plans, rounds = Plan.none(len(states), horizon, problem.du), settings.first_rounds
        else:
            plans, rounds = last.shift(), settings.rounds
        guesses = draw_guesses(self.planning, horizon, settings.guesses, t)
        return improve_plans(self.planning, problem.cost, states, t, plans, rounds, guesses)


class Replanner(Generic[P]):
    """The expert. It remembers the plans of the step before, and forgets them at step 0.

    Args:
        planner: any planner.
        temperature: α, in units of cost: the precision of an action is Quu / α.
    """

    carries_over: ClassVar[bool] = True

    def __init__(self, planner: Planner[P], temperature: float) -> None:
        self._planner, self._temperature = planner, temperature
        self._plans: P | None = None

    def advise(self, states: Float[np.ndarray, "B dx"], t: int) -> Advice:
        """The first action of each plan, and Quu / α."""
        self._plans = self._planner.plan(states, t, None if t == 0 else self._plans)
        return Advice(self._plans.actions[:, 0], self._plans.curvature / self._temperature)
