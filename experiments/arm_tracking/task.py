"""The cost of the arm that follows a circle: how far the joints are from a pose with the tool on the target."""

import jax.numpy as jnp

from gps.environments.tasks.arm_tracking import find_reference

REFERENCE = jnp.asarray(find_reference())
WEIGHTS = jnp.array([100.0] * 6 + [1.0] * 6)  # angles (rad), velocities (rad/s)


def follow(x, u, t):
    """½ Σ weight (x - reference)² at the time of the state."""
    return 0.5 * jnp.sum(WEIGHTS * (x - REFERENCE[t]) ** 2)


def saturated(x, u, t):
    """MC-PILCO's cost, 1 - exp(-Σ ((x - reference)/l)²), with l = 0.5 rad for angles and 1 rad/s for velocities."""
    lengths = jnp.array([0.5] * 6 + [1.0] * 6)
    return -jnp.expm1(-jnp.sum(((x - REFERENCE[t]) / lengths) ** 2))
