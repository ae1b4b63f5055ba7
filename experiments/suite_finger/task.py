"""Two costs of finger spin: the suite's reward, and a smooth one for methods that need slopes."""

import jax.numpy as jnp


def minus_reward(x, u, t):
    """-1 while the body turns with -15 rad/s or faster, else 0."""
    return -jnp.where(x[5] <= -15.0, 1.0, 0.0)


def cost(x, u, t):
    """The square of what lacks to -15 rad/s, relative to it, plus 0.02 ‖u‖²."""
    return (jnp.maximum(0.0, x[5] + 15.0) / 15.0) ** 2 + 0.02 * (u @ u)
