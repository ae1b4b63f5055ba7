"""A planner as a sampler runs it: the version of the lecture is the number of steps between two plans.

With `every` = 1 it replans at each step (version 1.5, model-predictive control), with k it follows a plan for k steps,
and with None it follows the plan of the first step to its end (versions 0.5 and 1.0). A plan that is shorter than that
is followed to its end, and then a new one is made.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from gps.planning.fallback import describe_troubles
from gps.planning.objective import Course
from gps.planning.planner import Planner, Plans
from gps.planning.sequence_plans import SequencePlans
from gps.players import Player
from gps.sampling.policy import Observes, Policy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planned:
    """What was planned in M·N episodes: the forecast of the first step, and how the planning went.

    Args:
        costs: predicted at t = 0 for each step of the plan, and for the state after it.
        states, deviations: of it: the mean and the spread of the particles.
        steps: at which plans were made.
        seconds: that the plan of one episode took, at each of these steps.
        effective: samples that decided.
        troubles: codes of `gps.planning.fallback.Trouble`.
    """

    costs: Float[np.ndarray, "M N h"]
    states: Float[np.ndarray, "M N h dx"]
    deviations: Float[np.ndarray, "M N h dx"]
    steps: Int[np.ndarray, "K"]
    seconds: Float[np.ndarray, "M N K"]
    effective: Float[np.ndarray, "M N K"]
    troubles: Int[np.ndarray, "M N K"]

    @classmethod
    def of(
        cls, forecast: SequencePlans | Course, conditions: int, steps: Sequence[int], **by_step: Sequence[np.ndarray]
    ) -> Self:
        """What was planned in B episodes, the same number for each of the conditions.

        Args:
            forecast: of the first step, B plans.
            steps: K of them, at which plans were made.
            by_step: `seconds`, `effective` and `troubles` at each of the steps, (B,).
        """
        arrays = {name: np.asarray(getattr(forecast, name)) for name in ("costs", "states", "deviations")}
        arrays |= {name: np.stack(values, axis=1) for name, values in by_step.items()}
        shared = {name: a.reshape(conditions, len(a) // conditions, *a.shape[1:]) for name, a in arrays.items()}
        return cls(steps=np.array(steps), **shared)

    @property
    def horizon(self) -> int:
        """H, the steps of the first plan."""
        return self.costs.shape[2] - 1

    def compare(self, costs: Float[np.ndarray, "M N T"]) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M"]]:
        """The predicted and the actual cost of the first min(H, T) steps, mean over the samples of a condition.

        Args:
            costs: that happened.
        """
        steps = min(self.horizon, costs.shape[2])
        predicted = self.costs[:, :, :steps].sum(axis=2).mean(axis=1)
        return predicted, costs[:, :, :steps].sum(axis=2).mean(axis=1)

    def describe_troubles(self, limit: float | None = None) -> list[str]:
        """A sentence for each condition about plans that were replaced; empty where there were none."""
        return [describe_troubles(troubles, limit) for troubles in self.troubles]


@runtime_checkable
class PlanningPolicy(Policy, Protocol):
    """A policy that plans, and remembers what it planned."""

    @property
    def planned(self) -> Planned | None:
        """What was planned in the last episodes; None if nothing is known of it."""

    def replan(self) -> Self:
        """The same policy, with a new plan at every step, and without the memory."""


def find_planned(policy: Policy) -> Planned | None:
    """What a policy planned in the last episodes; None if it does not plan."""
    return policy.planned if isinstance(policy, PlanningPolicy) else None


class PlannerPolicy:
    """The planner for M conditions and T steps: `gps.sampling.policy.Policy`.

    It remembers its plans between the steps, and forgets them at step 0.

    Args:
        planner: any planner.
        covariance: of the exploration noise.
        every: the steps between two plans; None to follow each plan to its end.
        carries_over: False if the planner knows the systems of its conditions alone.
    """

    player: ClassVar[Player] = Player.PLANNER
    observes: ClassVar[Observes] = "state"
    abstains: ClassVar[str] = ""
    parameters: ClassVar[None] = None

    def __init__(
        self,
        planner: Planner,
        covariance: Float[np.ndarray, "M T du du"],
        every: int | None = 1,
        carries_over: bool = True,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every: must be at least 1, or None, got {every}")
        self.planner, self.covariance, self.every, self.carries_over = planner, covariance, every, carries_over
        self._plans: Plans | None = None
        self._made: list[int] = []  # the steps at which plans were made
        self._log: list[SequencePlans] = []

    def act(self, seen: Float[np.ndarray, "M N dx"], t: int) -> Float[np.ndarray, "M N du"]:
        """The planned actions at step t."""
        M, N, dx = seen.shape
        if t == 0:
            self._plans, self._made, self._log = None, [], []
        if self._plans is None or self._is_due(self._plans, t - self._made[-1]):
            self._replan(seen.reshape(M * N, dx), t)
        assert self._plans is not None
        return self._plans.actions[:, t - self._made[-1]].reshape(M, N, -1)

    def _is_due(self, plans: Plans, age: int) -> bool:
        """True if a new plan is to be made `age` steps after the last one."""
        return age >= min(plans.actions.shape[1], self.every or age + 1)

    def _replan(self, states: Float[np.ndarray, "MN dx"], t: int) -> None:
        last = self._plans
        if last is not None:
            for _ in range(t - self._made[-1] - 1):  # the planner shifts by the last step itself
                last = last.shift()
        self._plans = self.planner.plan(states, t, last)
        self._made.append(t)
        if isinstance(self._plans, SequencePlans):
            self._log.append(self._plans)

    @property
    def planned(self) -> Planned | None:
        """What was planned in the last episodes; None if nothing, or by a planner without forecasts."""
        if not self._log:
            return None
        return Planned.of(
            self._log[0],
            len(self.covariance),
            self._made,
            seconds=[plans.seconds for plans in self._log],
            effective=[plans.effective for plans in self._log],
            troubles=[plans.troubles for plans in self._log],
        )

    def replan(self) -> Self:
        return type(self)(self.planner, self.covariance, 1, self.carries_over)

    def repeat(self, count: int) -> Self:
        """A policy of its own for M·count conditions, without the memory."""
        return type(self)(self.planner, np.repeat(self.covariance, count, axis=0), self.every, self.carries_over)
