"""DAgger (Ross, Gordon & Bagnell 2011): a policy is taught by an expert in the states that it gets into itself.

Iteration i samples the mixture π_i = β_i π* + (1 − β_i) π: at each step of each episode the expert π* acts with
probability β_i, and the policy π else. Whoever acted, the expert says of every visited state what it would have done
there, and the policy learns from the samples of all iterations that are remembered. β is 1 until there is a policy,
and falls by a factor with each supervised step.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, UInt32

from gps.algorithms.distilled.distillation import Distillation, DistillationState, PlayedTogether
from gps.sampling import Policy, Seen


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

    def sampled(self, state: DistillationState, expert: Any, noise: Float[np.ndarray, "M T du du"]) -> Policy:
        return InTurn(expert, noise, state.training.policy, self.beta(state), state.training.key)


@dataclasses.dataclass(frozen=True)
class InTurn(PlayedTogether):
    """The expert with probability β at each step, and the policy else, also where the expert has no advice.

    Equal keys give equal choices.
    """

    beta: float
    key: UInt32[np.ndarray, "2"]

    def act(self, seen: Seen, t: int) -> Float[np.ndarray, "M N du"]:
        actions = self.policy.act(seen.observations, t)
        if self.beta == 0:
            return actions
        draws = np.random.default_rng([*self.key, t]).random(actions.shape[:2])
        advice = self.advice(seen, t)
        known = np.isfinite(advice.actions).all(axis=-1)
        return np.where(((draws < self.beta) & known)[..., None], advice.actions, actions)
