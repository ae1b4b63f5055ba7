"""DAgger (Ross, Gordon & Bagnell 2011): an expert teaches a policy in the states that the policy itself gets into.

Iteration i samples the mixture π_i = β_i π* + (1 − β_i) π: at each step of each episode the expert π* acts with
probability β_i, and otherwise the policy π. In both cases the expert labels every visited state with the action that
it would have taken, and the policy learns from the samples of all iterations in memory. β is 1 until there is a policy,
and falls by a factor with each supervised step.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt32

from gps.algorithms.distilled.base import Distillation, DistillationState
from gps.algorithms.distilled.played import ExpertAndPolicy
from gps.experts.contract import Expert
from gps.sampling.policy import Policy, StatesAndObservations


@dataclasses.dataclass(frozen=True, kw_only=True)
class DAgger(Distillation):
    """The algorithm.

    Args:
        decay: the factor of β; 0 leaves all but the first samples to the policy.
    """

    decay: float = 0.5

    def beta(self, state: DistillationState) -> float:
        """The expert's share of the steps."""
        return self.decay**state.training.calls

    def mix(self, state: DistillationState, expert: Expert, noise: Float[np.ndarray, "M T du du"]) -> Policy:
        return Alternating(expert, noise, state.training.policy, self.beta(state), state.training.key)


@dataclasses.dataclass(frozen=True)
class Alternating(ExpertAndPolicy):
    """The expert with probability β at each step; otherwise, and where the expert has no advice, the policy.

    Equal keys give equal choices.
    """

    beta: float
    key: UInt32[np.ndarray, "2"]

    def act(self, seen: StatesAndObservations, t: int) -> Float[np.ndarray, "M N du"]:
        actions = self.policy.act(seen.observations, t)
        if self.beta == 0:
            return actions
        draws = np.random.default_rng([*self.key, t]).random(actions.shape[:2])
        advice = self.ask_expert(seen, t)
        known = np.isfinite(advice.actions).all(axis=-1)
        return np.where(((draws < self.beta) & known)[..., None], advice.actions, actions)
