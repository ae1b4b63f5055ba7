"""Initial controllers. None needs a model of the system, and all work for any number of states and actions.

`lqr` and `pd` need the places of positions and velocities in the state, and which action drives which degree of
freedom (`Mechanics`). An undriven degree of freedom has a zero row there, so underactuated systems work too.
"""

import numpy as np
from jaxtyping import Float

from gps.backend import jax, jnp
from gps.linear_gaussian.mechanics import Mechanics
from gps.linear_gaussian.riccati import backward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics


def zero(M: int, T: int, dx: int, du: int, noise: float | Float[np.ndarray, "du"]) -> Controller:
    """Return M controllers of zero-mean noise with standard deviation `noise`: one number, or one per action."""
    covariance = np.broadcast_to(noise**2 * np.eye(du), (M, T, du, du))
    return Controller(np.zeros((M, T, du, dx)), np.zeros((M, T, du)), covariance.copy())


def pd(
    starts: Float[np.ndarray, "M dx"], T: int, mechanics: Mechanics, stiffness: float, damping: float, noise: float
) -> Controller:
    """Return controllers that hold each start: u = −actuationᵀ (stiffness · (q − q₀) + damping · q̇) + constant noise.

    Args:
        stiffness, damping: action per unit of position and of velocity.
        noise: standard deviation of the action.
    """
    M, dx = starts.shape
    du = mechanics.actuation.shape[1]
    controller = zero(M, T, dx, du, noise)
    gain = np.zeros((du, dx))
    gain[:, mechanics.position] = -stiffness * mechanics.actuation.T
    gain[:, mechanics.velocity] = -damping * mechanics.actuation.T
    hold = -gain[:, mechanics.position] @ starts[:, mechanics.position].T
    feedforward = np.broadcast_to(hold.T[:, None], (M, T, du))
    return Controller(np.broadcast_to(gain, (M, T, du, dx)).copy(), feedforward.copy(), controller.covariance)


def lqr(
    starts: Float[np.ndarray, "M dx"],
    T: int,
    mechanics: Mechanics,
    stiffness: float,
    damping: float,
    gain: Float[np.ndarray, "du"],
    noise: float,
) -> Controller:
    """Return LQR controllers that hold each start under assumed double-integrator dynamics q̈ = actuation · (gain u).

    The assumed cost is ½ (stiffness |q − q₀|² + stiffness · damping |q̇|² + |u|²). The covariance is Quu⁻¹ of that
    problem, scaled so that the first step's largest standard deviation is `noise` (Levine & Abbeel 2014, sec. 5).

    Args:
        gain: acceleration per unit of each action.
        noise: largest standard deviation at the first step, in units of action.
    """
    dx = starts.shape[1]
    du = mechanics.actuation.shape[1]
    q, v, dt = mechanics.position, mechanics.velocity, mechanics.dt
    F = np.zeros((dx, dx + du))
    F[:, :dx] = np.eye(dx)  # other entries of the state are assumed constant
    B = mechanics.actuation * gain
    F[q, v] += dt * np.eye(len(B))
    F[v, dx:] = dt * B
    F[q, dx:] = 0.5 * dt**2 * B
    C = np.zeros((dx + du, dx + du))
    C[q, q] = stiffness * np.eye(len(B))
    C[v, v] = stiffness * damping * np.eye(len(B))
    C[dx:, dx:] = np.eye(du)

    def hold(start):
        target = jnp.zeros(dx + du).at[q].set(start[q])
        cost = CostExpansion(jnp.tile(C, (T, 1, 1)), jnp.tile(-C @ target, (T, 1)), jnp.zeros(T))
        dynamics = LinearDynamics(
            jnp.tile(F, (T - 1, 1, 1)), jnp.zeros((T - 1, dx)), jnp.zeros((T - 1, dx, dx)), start, jnp.zeros((dx, dx))
        )
        return backward(dynamics, cost, jnp.ones(T)).controller

    controller = jax.jit(jax.vmap(hold))(jnp.asarray(starts)).numpy()
    largest = np.linalg.eigvalsh(controller.covariance[:, :1])[..., -1:, None]
    return Controller(controller.feedback, controller.feedforward, controller.covariance * (noise**2 / largest))
