"""The cost of acrobot and pendubot: the tip's distance from upright, and little motion and torque."""

import jax.numpy as jnp


def swing_up(x, u, t):
    """|tip - upright|² in units of the pendulum's length, plus 0.002 |velocities|² and 0.05 u²; u = 1 is 6 N m."""
    first, both = x[0], x[0] + x[1]
    tip = jnp.stack([0.2 * jnp.sin(first) + 0.3 * jnp.sin(both), -0.2 * jnp.cos(first) - 0.3 * jnp.cos(both)])
    offset = (tip - jnp.array([0.0, 0.5])) / 0.5
    return offset @ offset + 0.002 * (x[2:] @ x[2:]) + 0.05 * (u @ u)


def swing_up_gently(x, u, t):
    """A cost for planners, in steps of 10 ms: little motion and torque, and upright after 2.2 s.

    It weighs motion and torque as the score of the leaderboards does around its best swing-ups, and leaves the way up
    to the planner, but for a slight pull.
    """
    first, both = x[0], x[0] + x[1]
    tip = jnp.stack([0.2 * jnp.sin(first) + 0.3 * jnp.sin(both), -0.2 * jnp.cos(first) - 0.3 * jnp.cos(both)])
    offset = (tip - jnp.array([0.0, 0.5])) / 0.5
    pull = jnp.where(t < 220, 0.1, 20.0)
    return pull * (offset @ offset) + 0.02 * (x[2:] @ x[2:]) + 24.0 * (u @ u)
