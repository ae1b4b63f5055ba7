"""The samples played again in the fitted dynamics, under the limits of the actions: what the model expects.

For sample n of condition m, with its own start and its own standard normal noise ξ_t = L̄_t⁻¹ e_t (Σ̄ = L̄ L̄ᵀ of the
controller that was sampled, e its noise), a controller with Σ = L Lᵀ is played as

    x̂_0 = x_0,   û_t = clip(K_t x̂_t + k_t + L_t ξ_t),   x̂_{t+1} = F_t [x̂_t; û_t] + c_t,

and costs what the quadratic expansion says. Two controllers that are played with the same noise can be compared with
few samples. Without the limits a controller that relies on them, and whose linear closed loop is unstable, would seem
to cost any amount: the limits hold the real system, so they must hold the model.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics
from gps.problem import Limits
from gps.records import Rollouts


class Replay(NamedTuple):
    """The samples to play again: their starts, their noise, and the limits of the actions."""

    starts: Float[np.ndarray, "M N dx"]
    noise: Float[np.ndarray, "M N T du"]  # ξ, standard normal; 0 where the controller had none
    present: Bool[np.ndarray, "M N"]  # False for a sample without a first step
    charged: Bool[np.ndarray, "M N T"]  # False after the end of an episode that finished early
    limits: Limits

    @classmethod
    def of(cls, rollouts: Rollouts, covariance: Float[np.ndarray, "M T du du"], limits: Limits) -> "Replay":
        """The samples that were drawn with this `covariance`."""
        still = ~covariance.any(axis=(-1, -2), keepdims=True)
        factor = np.linalg.cholesky(np.where(still, np.eye(covariance.shape[-1]), covariance))
        noise = np.linalg.solve(factor[:, None], rollouts.noise[..., None])[..., 0]
        finished = np.zeros(rollouts.mask.shape[:2], bool) if rollouts.finished is None else rollouts.finished
        charged = rollouts.mask | ~finished[..., None]
        low, high = (np.broadcast_to(np.asarray(limit, float), noise.shape[-1:]) for limit in limits)
        return cls(rollouts.states[:, :, 0], noise, rollouts.mask[..., 0], charged, Limits(low, high))

    def costs(
        self, dynamics: LinearDynamics, cost: CostExpansion, controllers: Controller
    ) -> Float[np.ndarray, "M N T"]:
        """The cost of each step under the `controllers`; it is not finite where the model diverges."""
        return np.asarray(_play(dynamics, cost, controllers, self.starts, self.noise, *self.limits)[1])

    def expected_cost(
        self, dynamics: LinearDynamics, cost: CostExpansion, controllers: Controller
    ) -> Float[np.ndarray, "M"]:
        """L̂(controllers): the mean cost of an episode; NaN where the model diverges."""
        with np.errstate(invalid="ignore", over="ignore"):
            total = np.where(self.charged, self.costs(dynamics, cost, controllers), 0.0).sum(axis=2)
            mean = np.where(self.present, total, 0.0).sum(axis=1) / np.maximum(self.present.sum(axis=1), 1)
        return np.where(np.isfinite(mean), mean, np.nan)


@jax.jit
def _play(
    dynamics: LinearDynamics,
    cost: CostExpansion,
    controllers: Controller,
    starts: Float[Array, "M N dx"],
    noise: Float[Array, "M N T du"],
    low: Float[Array, "du"],
    high: Float[Array, "du"],
) -> tuple[Float[Array, "M N T dz"], Float[Array, "M N T"]]:
    """The states and actions [x̂; û], and the cost of each step."""
    still = ~jnp.any(controllers.covariance, axis=(-1, -2), keepdims=True)
    unit = jnp.eye(controllers.feedforward.shape[-1])
    factors = jnp.where(still, 0.0, jnp.linalg.cholesky(jnp.where(still, unit, controllers.covariance)))

    def play_one(
        dynamics: LinearDynamics, cost: CostExpansion, controller: Controller, L: Array, start: Array, noise: Array
    ) -> tuple[Array, Array]:
        K, k = controller.feedback, controller.feedforward
        (_, dx), dz = dynamics.offset.shape, cost.gradient.shape[-1]
        F = jnp.concatenate([dynamics.matrix, jnp.zeros((1, dx, dz))])  # the last step has no successor
        c = jnp.concatenate([dynamics.offset, jnp.zeros((1, dx))])

        def step(x: Array, at_t: tuple[Array, ...]) -> tuple[Array, Array]:
            F, c, K, k, e = at_t
            z = jnp.concatenate([x, jnp.clip(K @ x + k + e, low, high)])
            return F @ z + c, z

        _, z = jax.lax.scan(step, start, (F, c, K, k, jnp.einsum("tij,tj->ti", L, noise)))
        quadratic = jnp.einsum("ti,tij,tj->t", z, cost.hessian, z)
        return z, 0.5 * quadratic + jnp.sum(cost.gradient * z, axis=-1) + cost.constant

    samples = jax.vmap(play_one, (None, None, None, None, 0, 0))
    return jax.vmap(samples)(dynamics, cost, controllers, factors, starts, noise)
