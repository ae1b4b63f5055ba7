"""PLATO (Kahn, Zhang, Levine & Abbeel 2017): the expert that is sampled is drawn towards the policy that it teaches.

At each step the adapted teacher minimises, over Gaussians p(u) at the state x_t where the policy observes o_t,

    E_p[ Q(x_t, u) ] − α H(p) + λ KL(p ‖ π(· | o_t)),

with the expert's expected cost-to-go Q, quadratic in u, and its temperature α. The expert is p at λ = 0: N(u*, P⁻¹)
with P = Quu/α. The policy is N(μ, Σ). Setting the derivatives in the mean and the covariance to zero,

    p = N(m, S),    S⁻¹ = (P + ρ Σ⁻¹) / (1 + ρ),    m = (P + ρ Σ⁻¹)⁻¹ (P u* + ρ Σ⁻¹ μ),    ρ = λ/α:

the product of both Gaussians, with weights 1 and ρ: the expert for ρ → 0, and the policy for ρ → ∞. So the samples are
of states that the policy gets into, at a cost that the expert keeps low. It teaches u*, not m.

The noise around m is that of the policy, which is S on average: Σ⁻¹ is the mean of P.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from gps.algorithms.distilled.advice import precisions_of, usual_precision
from gps.algorithms.distilled.base import Distillation, DistillationState
from gps.algorithms.distilled.played import ExpertAndPolicy
from gps.experts.contract import Expert
from gps.sampling.policy import Policy, StatesAndObservations


@dataclasses.dataclass(frozen=True, kw_only=True)
class PLATO(Distillation):
    """The algorithm.

    Args:
        adaptation: ρ, the weight of the divergence from the policy in units of the expert's temperature.
    """

    adaptation: float = 1.0

    def mix(self, state: DistillationState, expert: Expert, noise: Float[np.ndarray, "M T du du"]) -> Policy:
        usual = usual_precision(state.lessons, self.deviation)
        return AdaptedTeacher(expert, noise, state.training.policy, self.adaptation, usual)


@dataclasses.dataclass(frozen=True)
class AdaptedTeacher(ExpertAndPolicy):
    """The expert, drawn towards the policy; the policy alone where the expert has no advice."""

    adaptation: float
    usual: Float[np.ndarray, "du du"]

    def act(self, seen: StatesAndObservations, t: int) -> Float[np.ndarray, "M N du"]:
        mean, advice = self.policy.act(seen.observations, t), self.ask_expert(seen, t)
        known = np.isfinite(advice.actions).all(axis=-1)[..., None]
        if self.adaptation == 0:  # also where the expert does not care about an action at all
            return np.where(known, advice.actions, mean)
        precisions = precisions_of(advice, self.usual)
        known &= np.isfinite(precisions).all(axis=-1).all(axis=-1, keepdims=True)
        actions = np.where(known, advice.actions, mean)
        precisions = np.where(known[..., None], precisions, self.usual)
        return pool(actions, precisions, mean, np.asarray(self.policy.covariance), self.adaptation)[0]


def pool(
    actions: Float[np.ndarray, "... du"],
    precisions: Float[np.ndarray, "... du du"],
    mean: Float[np.ndarray, "... du"],
    covariance: Float[np.ndarray, "du du"],
    adaptation: float,
) -> tuple[Float[np.ndarray, "... du"], Float[np.ndarray, "... du du"]]:
    """The adapted teacher's mean m and precision S⁻¹.

    Args:
        actions, precisions: u* and P, of the expert.
        mean, covariance: μ and Σ, of the policy.
        adaptation: ρ.
    """
    P, towards = precisions, adaptation * np.linalg.inv(covariance)
    right = np.einsum("...ij,...j->...i", P, actions) + np.einsum("ij,...j->...i", towards, mean)
    return np.linalg.solve(P + towards, right[..., None])[..., 0], (P + towards) / (1.0 + adaptation)
