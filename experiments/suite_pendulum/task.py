"""Two costs of the suite's pendulum: its reward, and a smooth one for methods that need slopes."""

import jax.numpy as jnp


def minus_reward(x, u, t):
    """-1 within 8° of upright, else 0."""
    return -jnp.where(jnp.cos(x[0]) >= jnp.cos(jnp.radians(8.0)), 1.0, 0.0)


def cost(x, u, t):
    """(1 - cos angle)/2, plus 0.005 velocity² and 0.02 torque² (rad/s and N m)."""
    return 0.5 * (1.0 - jnp.cos(x[0])) + 0.005 * x[1] ** 2 + 0.02 * jnp.sum(u**2)


def swing(x, u, t):
    """At most 1, so that haste pays: energy unlike that of rest upright, height, and the angle near the top.

    The energy is in units of its value upright, m g l: cos angle + velocity²/39, with I/(2 m g l) = 1/39 s².
    """
    below = 1.0 - jnp.cos(x[0])
    energy = jnp.cos(x[0]) + x[1] ** 2 / 39.0
    return 0.15 * jnp.abs(1.0 - energy) + 0.1 * below + 0.5 * (1.0 - jnp.exp(-below / 0.01)) + 0.002 * jnp.sum(u**2)
