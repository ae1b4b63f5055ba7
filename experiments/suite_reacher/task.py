"""Two costs of the suite's reacher: its reward, and a smooth one for methods that need slopes."""

import jax.numpy as jnp


def minus_reward(x, u, t):
    """-1 while the fingertip touches the large target, within 0.05 + 0.01 m, else 0."""
    return -jnp.where(jnp.sum(x[4:6] ** 2) <= 0.06**2, 1.0, 0.0)


def minus_reward_hard(x, u, t):
    """The same of the small target, within 0.015 + 0.01 m."""
    return -jnp.where(jnp.sum(x[4:6] ** 2) <= 0.025**2, 1.0, 0.0)


def cost(x, u, t):
    """The squared distance in units of 0.1 m, plus 0.02 ‖u‖²; u = 1 is 0.05 N m."""
    return jnp.sum((x[4:6] / 0.1) ** 2) + 0.02 * (u @ u)
