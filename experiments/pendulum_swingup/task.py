"""The cost of the pendulum: how far from upright, the same after every turn, and how fast."""

import jax.numpy as jnp


def upright(x, u, t):
    """1 - cos of the angle: 0 upright, 2 hanging; and a little of the squared velocity."""
    angle, velocity = x
    return 1 - jnp.cos(angle) + 0.01 * velocity**2
