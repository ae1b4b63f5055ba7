"""Maximum-entropy LQR: the backward (Riccati) and the forward (marginals) recursion.

Over controllers p(u | x) the backward pass minimises

    Σ_t  E[ ½ zᵀ C_t z + g_tᵀ z ]  −  τ_t E[ H(p(· | x_t)) ]        subject to  x' = F_t z + c_t + w_t,

with a temperature τ_t > 0 per step. The minimiser is linear-Gaussian: the feedback of ordinary LQR, and the covariance
τ_t Quu⁻¹ (Levine & Abbeel 2014, sec. 2; with τ = 1 the form given there).
"""

from typing import NamedTuple, Self

from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.linalg import half_solve, symmetrize
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, Marginals


class Value(NamedTuple):
    """The cost-to-go `½ xᵀ Vxx x + vxᵀ x` from a state, without its constant."""

    hessian: Float[Array, "dx dx"]  # Vxx
    gradient: Float[Array, "dx"]  # vx

    @classmethod
    def zero(cls, dx: int) -> Self:
        """The cost-to-go after the last step."""
        return cls(jnp.zeros((dx, dx)), jnp.zeros(dx))


class StepResult(NamedTuple):
    """The minimiser u = K x + k of one step, and the curvature of its cost in the action."""

    feedback: Float[Array, "du dx"]  # K
    feedforward: Float[Array, "du"]  # k
    whitener: Float[Array, "du du"]  # L⁻¹ of Quu = L Lᵀ, so that Quu⁻¹ = L⁻ᵀ L⁻¹
    quu: Float[Array, "du du"]


class ActiveSet(NamedTuple):
    """Which actions are at their lower and at their upper limit."""

    low: Bool[Array, "du"]
    high: Bool[Array, "du"]


def lqr_step(
    after: Value,
    F: Float[Array, "dx dz"],
    C: Float[Array, "dz dz"],
    g: Float[Array, "dz"],
    c: Float[Array, "dx"] | None = None,
    at_limits: ActiveSet | None = None,
) -> tuple[Value, StepResult]:
    """Minimise the cost of one step plus the cost-to-go `after` it; the backward step of LQR and of iterative LQR.

        Q = C + Fᵀ Vxx F      q = g + Fᵀ (vx + Vxx c)
        K = −Quu⁻¹ Qux        k = −Quu⁻¹ qu
        Vxx = Qxx + Qxu K     vx = qx + Qxu k

    (Levine & Abbeel 2014, sec. 2; Tassa, Erez & Todorov 2012, eqs. 5-6). One Cholesky elimination gives all of it; the
    value is formed from its rows, so that it stays symmetric. Where Quu is not positive definite the result is NaN.

    Args:
        F, c: the dynamics x' = F z + c; no `c` means zero, as in deviations from a trajectory.
        C, g: the cost ½ zᵀ C z + gᵀ z.
        at_limits: an action that is at a limit, and that a step down the gradient qu would push beyond it, is held: its
            rows of K and k are zero, and the value is that of the free actions. `quu` is that of all actions.
    """
    Vxx, vx = after
    dx = len(F)
    du = len(g) - dx
    Q = symmetrize(C + F.T @ (Vxx @ F))
    q = g + F.T @ (vx if c is None else vx + Vxx @ c)
    Quu, Qux, qu = Q[dx:, dx:], Q[dx:, :dx], q[dx:]
    solvable, right = Quu, jnp.concatenate([Qux, qu[:, None], jnp.eye(du)], axis=1)
    if at_limits is not None:
        free = ~((at_limits.low & (qu > 0)) | (at_limits.high & (qu < 0)))
        solvable = jnp.where(free[:, None] & free, Quu, jnp.eye(du))
        right = jnp.where(free[:, None], right, 0.0)
    Y = half_solve(solvable, right)  # L⁻¹ [Qux, qu, I]
    Yx, yu, Li = Y[:, :dx], Y[:, dx], Y[:, dx + 1 :]
    # Qxu K = −Yxᵀ Yx and Qxu k = −Yxᵀ yu.
    value = Value(Q[:dx, :dx] - Yx.T @ Yx, q[:dx] - Yx.T @ yu)
    return value, StepResult(-Li.T @ Yx, -Li.T @ yu, Li, Quu)


class BackwardPass(NamedTuple):
    """The result of the backward recursion. Everything before an indefinite Quu is NaN, and `feasible` is False."""

    controller: Controller
    logdet: Float[Array, "T"]  # of the controller's covariance
    quu: Float[Array, "T du du"]

    @property
    def feasible(self):
        return jnp.all(jnp.isfinite(self.logdet))


def backward(dynamics: LinearDynamics, cost: CostExpansion, temperature: Float[Array, "T"]) -> BackwardPass:
    """Return the controller that minimises expected cost minus `temperature` times entropy (one condition).

    The cost has T steps and the dynamics T − 1: the last action is paid for but leads nowhere, and the cost-to-go after
    it is zero. There is no state x_T; a terminal cost is the cost of step T − 1.
    """
    dz = cost.gradient.shape[-1]
    dx = dynamics.offset.shape[-1]
    du = dz - dx

    def step(value, at_t):
        F, c, C, g = at_t
        value, result = lqr_step(value, F, C, g, c)
        return value, (result.feedback, result.feedforward, result.whitener, result.quu)

    # The last step has no successor: its dynamics are zero.
    F = jnp.concatenate([dynamics.matrix, jnp.zeros((1, dx, dz))])
    c = jnp.concatenate([dynamics.offset, jnp.zeros((1, dx))])
    _, (K, k, Li, Quu) = jax.lax.scan(step, Value.zero(dx), (F, c, cost.hessian, cost.gradient), reverse=True)
    covariance = temperature[:, None, None] * (jnp.swapaxes(Li, -1, -2) @ Li)
    logdet = du * jnp.log(temperature) + 2.0 * jnp.sum(jnp.log(jnp.diagonal(Li, axis1=1, axis2=2)), axis=-1)
    return BackwardPass(Controller(K, k, covariance), logdet, Quu)


def forward(dynamics: LinearDynamics, controller: Controller) -> Marginals:
    """Return the marginals N(m, P) of the state under `controller` and the noisy dynamics (one condition)."""
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
    """Return the expected cost of each step under `controller`, whose state marginals are `marginals`."""
    mean, covariance = marginals.joint(controller)
    quadratic = jnp.sum(cost.hessian * (covariance + mean[..., :, None] * mean[..., None, :]), axis=(-1, -2))
    return 0.5 * quadratic + jnp.sum(cost.gradient * mean, axis=-1) + cost.constant
