"""KL divergence between trajectory distributions that share their dynamics.

The dynamics cancel, so KL(p(τ) ‖ p̄(τ)) is a sum over time of the expected KL between the controllers (Levine & Abbeel
2014, sec. 3). The expectation is over the new controller's marginals, and has a closed form.
"""

from typing import NamedTuple

from jaxtyping import Float

from gps.backend import Array, jnp
from gps.linear_gaussian.linalg import logdet, psd_inverse
from gps.linear_gaussian.riccati import forward
from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals


class Reference(NamedTuple):
    """The controller p̄ that the KL is measured from, with the quantities that each evaluation reuses."""

    feedback: Float[Array, "T du dx"]
    feedforward: Float[Array, "T du"]
    precision: Float[Array, "T du du"]
    logdet: Float[Array, "T"]  # of the covariance

    @classmethod
    def of(cls, controller: Controller) -> "Reference":
        covariance = controller.covariance
        return cls(controller.feedback, controller.feedforward, psd_inverse(covariance), logdet(covariance))

    def in_deviations(self) -> "Reference":
        """The reference in deviations from its own mean: its feedback and feedforward are zero."""
        return self._replace(feedback=jnp.zeros_like(self.feedback), feedforward=jnp.zeros_like(self.feedforward))


def controller_kl(
    controller: Controller, logdet_covariance: Float[Array, "T"], reference: Reference, marginals: Marginals
) -> Float[Array, "T"]:
    """Expected KL(p(· | x_t) ‖ p̄(· | x_t)) at each step, nats, for x_t from `marginals` (one condition).

    ½ [tr(P̄Σ) − du + logdet Σ̄ − logdet Σ + eᵀP̄e + tr(ΔKᵀ P̄ ΔK P)],  e = ΔK m + Δk,  P̄ = Σ̄⁻¹.
    """
    du = controller.feedforward.shape[-1]
    dK = controller.feedback - reference.feedback
    e = jnp.einsum("tij,tj->ti", dK, marginals.mean) + controller.feedforward - reference.feedforward
    P, precision = marginals.covariance, reference.precision
    # tr(P̄Σ) + eᵀP̄e, and tr(ΔKᵀP̄ · ΔKP)
    spread = jnp.sum(precision * (controller.covariance + e[:, :, None] * e[:, None, :]), axis=(1, 2))
    spread += jnp.sum((precision @ dK) * (dK @ P), axis=(1, 2))
    return 0.5 * (spread - du + reference.logdet - logdet_covariance)


def kl_in_dynamics(dynamics: LinearDynamics, new: Controller, old: Controller) -> Float[Array, "T"]:
    """Expected KL of `new` from `old` at each step, nats, over the states that `new` visits (one condition)."""
    return controller_kl(new, logdet(new.covariance), Reference.of(old), forward(dynamics, new))
