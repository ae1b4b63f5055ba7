"""The cost of PETS' pusher (Chua et al. 2018): minus the reward that its tasks pay."""

import jax.numpy as jnp

HEIGHT = 0.048
"""The cylinder's middle above the goal, m."""


def cost(x, u, t):
    """1.25 ‖cylinder - goal‖₁ + 0.5 ‖cylinder - tip‖₁ + 0.1 ‖2 u‖², in m and N m; 2 u are the torques."""
    away, far = jnp.sum(jnp.abs(x[7:9])) + HEIGHT, jnp.sum(jnp.abs(x[18:21]))
    return 1.25 * away + 0.5 * far + 0.1 * jnp.sum((2.0 * u) ** 2)
