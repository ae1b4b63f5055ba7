"""The cost of PETS' reacher (Chua et al. 2018): minus the reward that its tasks pay."""

import jax.numpy as jnp


def cost(x, u, t):
    """d² + 0.01 ‖20 u‖²: the gripper's distance d from the target in m, 20 u are the torques in N m."""
    return jnp.sum(x[14:17] ** 2) + 0.01 * jnp.sum((20.0 * u) ** 2)
