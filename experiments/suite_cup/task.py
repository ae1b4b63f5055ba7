"""Two costs of ball in cup: the suite's reward, and a smooth one for methods that need slopes."""

import jax.numpy as jnp


def find_offset(x):
    """The ball's middle relative to the middle of the cup's inside, x and z, m."""
    return x[2:4] - x[:2] + jnp.array([0.0, 0.2 - 0.55])


def minus_reward(x, u, t):
    """-1 while the ball is in the cup, within 0.025 m of the middle along x and along z, else 0."""
    return -jnp.where(jnp.all(jnp.abs(find_offset(x)) < 0.025), 1.0, 0.0)


def cost(x, u, t):
    """The squared distance from the middle in units of 0.3 m, plus 0.02 ‖u‖²; u = 1 is 5 N."""
    offset = find_offset(x) / 0.3
    return offset @ offset + 0.02 * (u @ u)
