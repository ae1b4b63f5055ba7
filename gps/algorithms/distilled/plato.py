"""PLATO (Kahn, Zhang, Levine & Abbeel 2017): the expert that is sampled is drawn towards the policy that it teaches.

At each step the teacher that acts minimises, over Gaussians p(u) at the state x_t where the policy sees o_t,

    E_p[ Q(x_t, u) ] − α H(p) + λ KL(p ‖ π(· | o_t)),

with the expert's expected cost-to-go Q, quadratic in u, and its temperature α. Of the expert, which is p at λ = 0, we
know N(u*, P⁻¹) with P = Quu/α; of the policy N(μ, Σ). Setting the derivatives in the mean and the covariance to zero,

    p = N(m, S),    S⁻¹ = (P + ρ Σ⁻¹) / (1 + ρ),    m = (P + ρ Σ⁻¹)⁻¹ (P u* + ρ Σ⁻¹ μ),    ρ = λ/α:

both Gaussians pooled, with weights 1 and ρ: the expert for ρ → 0, and the policy for ρ → ∞. So the samples are of
states that the policy gets into, at a cost that the expert still minds. What it teaches is u*, not m.

The noise with which m is played is that of the policy, which is what S is on the average: Σ⁻¹ is the mean of P.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from gps.algorithms.distilled.distillation import (
    Distillation,
    DistillationState,
    PlayedTogether,
    precisions_of,
    usual_precision,
)
from gps.experts.contract import Advice
from gps.sampling import Policy, Seen


@dataclasses.dataclass(frozen=True, kw_only=True)
class PLATO(Distillation):
    """The algorithm.

    Args:
        adaptation: ρ, the weight of the divergence from the policy in units of the expert's temperature.
    """

    adaptation: float = 1.0

    def sampled(self, state: DistillationState, expert: Any, noise: Float[np.ndarray, "M T du du"]) -> Policy:
        usual = usual_precision(state.lessons, self.deviation)
        return Adapted(expert, noise, state.training.policy, self.adaptation, usual)


@dataclasses.dataclass(frozen=True)
class Adapted(PlayedTogether):
    """The expert, drawn towards the policy; the policy alone where the expert has no advice."""

    adaptation: float
    usual: Float[np.ndarray, "du du"]

    def act(self, seen: Seen, t: int) -> Float[np.ndarray, "M N du"]:
        mean, advice = self.policy.act(seen.observations, t), self.advice(seen, t)
        known = np.isfinite(advice.actions).all(axis=-1)[..., None]
        if self.adaptation == 0:  # also where the expert does not care about an action at all
            return np.where(known, advice.actions, mean)
        precisions = precisions_of(advice, self.usual)
        known &= np.isfinite(precisions).all(axis=-1).all(axis=-1, keepdims=True)
        towards = np.where(known, advice.actions, mean)
        precisions = np.where(known[..., None], precisions, self.usual)
        firm = Advice(towards, precisions)
        return pooled(firm, mean, np.asarray(self.policy.covariance), self.adaptation)[0]


def pooled(
    advice: Advice, mean: Float[np.ndarray, "... du"], covariance: Float[np.ndarray, "du du"], adaptation: float
) -> tuple[Float[np.ndarray, "... du"], Float[np.ndarray, "... du du"]]:
    """The adapted teacher's mean m and precision S⁻¹.

    Args:
        mean, covariance: of the policy.
        adaptation: ρ.
    """
    P, towards = advice.precisions, adaptation * np.linalg.inv(covariance)
    right = np.einsum("...ij,...j->...i", P, advice.actions) + np.einsum("ij,...j->...i", towards, mean)
    return np.linalg.solve(P + towards, right[..., None])[..., 0], (P + towards) / (1.0 + adaptation)
