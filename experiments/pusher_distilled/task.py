"""The cost of PETS' pusher (Chua et al. 2018): minus the reward that its tasks pay."""

import jax.numpy as jnp

GOAL = jnp.array([0.45, -0.05, -0.323])  # m
HEIGHT = -0.275  # of the cylinder's middle, m


def cost(x, u, t):
    """1.25 ‖cylinder - goal‖₁ + 0.5 ‖cylinder - tip‖₁ + 0.1 ‖2 u‖², in m and N m; 2 u are the torques."""
    cylinder = jnp.stack([GOAL[0] + x[8], GOAL[1] + x[7], jnp.asarray(HEIGHT, x.dtype)])
    away, far = jnp.sum(jnp.abs(cylinder - GOAL)), jnp.sum(jnp.abs(cylinder - x[18:21]))
    return 1.25 * away + 0.5 * far + 0.1 * jnp.sum((2.0 * u) ** 2)
