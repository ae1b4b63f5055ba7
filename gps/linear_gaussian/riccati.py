"""Maximum-entropy LQR: the backward (Riccati) and the forward (marginals) recursion.

Over controllers p(u | x) the backward pass minimises

    Σ_t  E[ ½ zᵀ C_t z + g_tᵀ z ]  −  τ_t E[ H(p(· | x_t)) ]        subject to  x' = F_t z + c_t + w_t,

with a temperature τ_t > 0 per step. The minimiser is linear-Gaussian: the feedback of ordinary LQR, and the covariance
τ_t Quu⁻¹ (Levine & Abbeel 2014, sec. 2; with τ = 1 the form given there).
"""

from typing import NamedTuple

from jaxtyping import Array, Float

from gps.backend import jax, jnp
from gps.linear_gaussian.linalg import half_solve, symmetrize
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, Marginals


class BackwardPass(NamedTuple):
    """What the backward recursion yields. Everything before an indefinite Quu is NaN, and `feasible` is False."""

    controller: Controller
    logdet: Float[Array, "T"]  # of the controller's covariance
    quu: Float[Array, "T du du"]

    @property
    def feasible(self):
        return jnp.all(jnp.isfinite(self.logdet))


def backward(dynamics: LinearDynamics, cost: CostExpansion, temperature: Float[Array, "T"]) -> BackwardPass:
    """The controller that minimises expected cost minus `temperature` times entropy (one condition)."""
    dz = cost.gradient.shape[-1]
    dx = dynamics.offset.shape[-1]
    du = dz - dx

    def step(value, at_t):
        Vxx, vx = value
        F, c, C, g = at_t
        Q = symmetrize(C + F.T @ (Vxx @ F))
        q = g + F.T @ (vx + Vxx @ c)
        Quu = Q[dx:, dx:]
        # One elimination for everything: Y = L⁻¹ [Qux, qu, I] with Quu = L Lᵀ.
        Y = half_solve(Quu, jnp.concatenate([Q[dx:, :dx], q[dx:, None], jnp.eye(du)], axis=1))
        Yx, yu, Li = Y[:, :dx], Y[:, dx], Y[:, dx + 1 :]
        K, k = -Li.T @ Yx, -Li.T @ yu
        # V = Qxx + Qxu K and v = qx + Qxu k, in the form that stays symmetric.
        value = Q[:dx, :dx] - Yx.T @ Yx, q[:dx] - Yx.T @ yu
        return value, (K, k, Li, Quu)

    end = jnp.zeros((dx, dx)), jnp.zeros(dx)
    # The last step has no successor: its dynamics are zero.
    F = jnp.concatenate([dynamics.matrix, jnp.zeros((1, dx, dz))])
    c = jnp.concatenate([dynamics.offset, jnp.zeros((1, dx))])
    _, (K, k, Li, Quu) = jax.lax.scan(step, end, (F, c, cost.hessian, cost.gradient), reverse=True)
    covariance = temperature[:, None, None] * (jnp.swapaxes(Li, -1, -2) @ Li)
    logdet = du * jnp.log(temperature) + 2.0 * jnp.sum(jnp.log(jnp.diagonal(Li, axis1=1, axis2=2)), axis=-1)
    return BackwardPass(Controller(K, k, covariance), logdet, Quu)


def forward(dynamics: LinearDynamics, controller: Controller) -> Marginals:
    """The marginals N(m, P) of the state under `controller` and the dynamics with their noise (one condition)."""
    dx = dynamics.offset.shape[-1]
    A, B = dynamics.matrix[..., :dx], dynamics.matrix[..., dx:]
    K, k, S = controller.feedback[:-1], controller.feedforward[:-1], controller.covariance[:-1]
    closed = A + B @ K
    drift = jnp.einsum("tij,tj->ti", B, k) + dynamics.offset
    noise = B @ (S @ jnp.swapaxes(B, 1, 2)) + dynamics.covariance

    def step(state, at_t):
        m, P = state
        A, At, b, N = at_t
        after = A @ m + b, symmetrize(A @ P @ At + N)
        return after, after

    start = dynamics.initial_mean, dynamics.initial_covariance
    _, (m, P) = jax.lax.scan(step, start, (closed, jnp.swapaxes(closed, 1, 2), drift, noise))
    return Marginals(jnp.concatenate([start[0][None], m]), jnp.concatenate([start[1][None], P]))


@jax.jit
def expected_cost(marginals: Marginals, cost: CostExpansion, controller: Controller) -> Float[Array, "*M T"]:
    """Expected cost of each step under `controller`, whose state marginals are `marginals`."""
    mean, covariance = marginals.joint(controller)
    quadratic = jnp.sum(cost.hessian * (covariance + mean[..., :, None] * mean[..., None, :]), axis=(-1, -2))
    return 0.5 * quadratic + jnp.sum(cost.gradient * mean, axis=-1) + cost.constant
