"""The cost of this experiment. Replace it by your own."""

import jax.numpy as jnp


def cost(x, u, t):
    """The cost of one time step: a JAX function of the state x, the action u and the step t.

    The state is what experiment.toml lists: two angles, two velocities, and the tip's way from the goal (m).
    """
    velocity, way = x[2:4], x[4:7]
    return jnp.sqrt(jnp.sum(way**2) + 1e-4) + 2.0 * jnp.sum(way**2) + 0.001 * jnp.sum(velocity**2)
