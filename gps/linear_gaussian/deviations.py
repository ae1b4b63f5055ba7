"""A control problem in deviations from a given controller: δ = u − (K̄ x + k̄) replaces the action.

In deviations the controller p̄ is N(0, Σ̄), so −log p̄ = ½ δᵀ Σ̄⁻¹ δ adds only to the cost of δ. In terms of u it would
also add large terms to the cost of x, which the recursion then has to cancel: with a strong pull towards p̄ (a large η)
and a model in which its feedback is unstable, rounding would decide the sign of Quu.
"""

from gps.backend import jnp
from gps.linear_gaussian.linalg import symmetrize
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics


def to_deviations(
    dynamics: LinearDynamics, cost: CostExpansion, controller: Controller
) -> tuple[LinearDynamics, CostExpansion]:
    """Return the dynamics and cost of one condition in terms of [x; δ]. The cost's constant is set to zero.

    With z = T [x; δ] + s, T = [[1, 0], [K̄, 1]] and s = [0; k̄]: F T, F s + c, Tᵀ C T and Tᵀ (g + C s).
    """
    K, k = controller.feedback, controller.feedforward
    dx = K.shape[-1]

    def transform(rows, offset):  # rows (…, dz) of a matrix that acts on z
        x_part, u_part = rows[..., :dx], rows[..., dx:]
        n = rows.shape[0]
        matrix = jnp.concatenate([x_part + u_part @ K[:n], u_part], axis=-1)
        return matrix, offset + jnp.einsum("tij,tj->ti", u_part, k[:n])

    matrix, offset = transform(dynamics.matrix, dynamics.offset)
    half, slope = transform(cost.hessian, cost.gradient)
    Kt = jnp.swapaxes(K, 1, 2)
    hessian = jnp.concatenate([half[:, :dx] + Kt @ half[:, dx:], half[:, dx:]], axis=1)
    gradient = jnp.concatenate([slope[:, :dx] + jnp.einsum("tij,tj->ti", Kt, slope[:, dx:]), slope[:, dx:]], axis=1)
    moved = LinearDynamics(matrix, offset, dynamics.covariance, dynamics.initial_mean, dynamics.initial_covariance)
    return moved, CostExpansion(symmetrize(hessian), gradient, jnp.zeros_like(cost.constant))


def from_deviations(deviation: Controller, controller: Controller) -> Controller:
    """Convert a controller of δ = u − (K̄ x + k̄) into a controller of u."""
    return Controller(
        controller.feedback + deviation.feedback,
        controller.feedforward + deviation.feedforward,
        deviation.covariance,
    )
