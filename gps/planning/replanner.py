"""An expert that replans: at each step, from the state it is in, by iterative LQR in learned dynamics.

The dynamics are those of a Gaussian mixture over [x; u; x'], fitted to the samples of the last iterations, which are
linear around any point (`gps.models.mixture`). The plan reaches `horizon` steps ahead, and no farther
than the episode. Each step goes on from the last one's plan, with a few rounds; the first one begins with many.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from gps.dynamics.mixture import MixturePrior
from gps.models.mixture import MixtureRegression
from gps.planning.ilqr import Plan, PlanningProblem, improve_plans


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planner:
    """The planner's settings: what becomes an expert once the dynamics are known.

    Args:
        cost: a JAX function of (x, u, t).
        low, high: limits of the actions.
        steps: T, of an episode.
        prior: the mixture, before the first samples.
        horizon: steps of a plan, H.
        rounds, first_rounds: of iterative LQR, at each step and at the first one.
        guesses: random plans that are tried at each step: one may lead out of where small changes do not help.
        entropy: temperature α of the plan's entropy, relative to the mean absolute cost of a step.
    """

    cost: Callable
    low: Float[np.ndarray, "du"]
    high: Float[np.ndarray, "du"]
    steps: int
    prior: MixturePrior
    horizon: int = 20
    rounds: int = 2
    first_rounds: int = 20
    guesses: int = 8
    entropy: float = 1e-2

    def knowing(self, prior: MixturePrior, unit: float) -> "Replanner | None":
        """The expert that plans in the dynamics of the prior; None before there is a mixture."""
        if prior.mixture is None:
            return None
        dx = (prior.mixture.means.shape[1] - len(self.low)) // 2
        model = MixtureRegression.of(prior.mixture, dx, prior.clusters)
        problem = PlanningProblem(model, self.low, self.high, model.deviations, np.int32(self.steps))
        return Replanner(self, problem, max(self.entropy * unit, 1e-12))


class Replanner:
    """The expert. It remembers the plans of the step before, and forgets them at step 0."""

    carries_over: ClassVar[bool] = True

    def __init__(self, planner: Planner, problem: PlanningProblem, temperature: float) -> None:
        self._planner, self._problem, self._temperature = planner, problem, temperature
        self._plans: Plan | None = None

    def act(self, states: Float[np.ndarray, "B dx"], t: int) -> Float[np.ndarray, "B du"]:
        return self.advise(states, t)[0]

    def advise(self, states: Float[np.ndarray, "B dx"], t: int):
        """The first action of each plan, and Quu / α."""
        planner = self._planner
        horizon = min(planner.horizon, planner.steps)
        if t == 0 or self._plans is None:
            plans, rounds = Plan.none(len(states), horizon, len(planner.low)), planner.first_rounds
        else:
            plans, rounds = self._plans.shift(), planner.rounds
        guesses = self._guesses(horizon, t)
        self._plans = improve_plans(self._problem, planner.cost, states, t, plans, rounds, guesses)
        return self._plans.actions[:, 0], self._plans.curvature / self._temperature

    def _guesses(self, horizon: int, t: int) -> Float[np.ndarray, "G H du"]:
        """Two actions, each held for a while; the same ones whenever it is asked about step t.

        They lie within the limits, or, where there are none, within three standard deviations of what was seen.
        """
        planner, rng = self._planner, np.random.default_rng(t)
        count, du = planner.guesses, len(planner.low)
        far = 3.0 * np.asarray(self._problem.scale)[-du:]
        low = np.where(np.isfinite(planner.low), planner.low, -far)
        high = np.where(np.isfinite(planner.high), planner.high, far)
        size = rng.random((count, 1, 1))
        first, second = rng.uniform(low, high, (2, count, 1, du)) * size
        early = np.arange(horizon)[None, :, None] < rng.integers(1, horizon + 1, (count, 1, 1))
        return np.where(early, first, second)
