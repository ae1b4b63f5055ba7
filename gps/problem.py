"""The problem that an algorithm is given: built once, the same object for ours and for those of other packages."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gps.costs import RewardModel, evaluate_cost
from gps.costs.terms import Cost
from gps.dynamics.velocity_filter import VelocityFilter
from gps.environments.contract import Entry
from gps.linear_gaussian.mechanics import Mechanics
from gps.observations import Sight
from gps.records import Rollouts


class Limits(NamedTuple):
    """Limits of the actions, as the environment applies them; infinite where it has none."""

    low: Float[np.ndarray, "du"] | float = -np.inf
    high: Float[np.ndarray, "du"] | float = np.inf


UNLIMITED = Limits()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A control problem: the system, its limits and its cost.

    Args:
        cost: a JAX function of (x, u, t), the sum of the terms that have a formula.
        dx, du: dimensions of state and action.
        horizon: T, steps of an episode.
        reward: the model of the environment's reward, if the reward is part of the cost.
        limits: of the actions.
        dt: control period in seconds; NaN where it is unknown.
        mechanics: what is known of a second-order system; None where nothing is.
        state_layout: the slice of each part in the state vector.
        state_entries, action_entries: name and unit of each entry; empty where nothing is known of them.
        sensor_noise: standard deviation of the noise on each measured entry of the state, as far as it is known.
        filter: what made the states from measured positions, where the velocities are estimates; None where they are
            measured.
        conditions: the M initial situations, as the environment understands them; a simulator that is fitted to the
            data is set to each. Empty where they are unknown.
        observation: what a policy observes: numbers, pictures, or both; None where it observes the state.
    """

    cost: Cost
    dx: int
    du: int
    horizon: int
    reward: RewardModel | None = None
    limits: Limits = UNLIMITED
    dt: float = np.nan
    mechanics: Mechanics | None = None
    state_layout: Mapping[str, slice] = dataclasses.field(default_factory=dict)
    state_entries: tuple[Entry, ...] = ()
    action_entries: tuple[Entry, ...] = ()
    sensor_noise: Float[np.ndarray, "dx"] | float = 0.0
    filter: VelocityFilter | None = None
    conditions: tuple[Mapping[str, Any], ...] = ()
    observation: Sight | None = None

    @property
    def sight(self) -> Sight:
        """The policy's observation: its vectors and its images."""
        return Sight(np.arange(self.dx)) if self.observation is None else self.observation

    def costs(self, rollouts: Rollouts) -> Float[np.ndarray, "M N T"]:
        """The cost of each step, the reward included; zero where masked.

        Raises:
            CostFault: if a cost raises or is not finite.
        """
        costs = evaluate_cost(self.cost, rollouts.states, rollouts.actions, rollouts.mask)
        return costs if self.reward is None else costs + self.reward.costs(rollouts)
