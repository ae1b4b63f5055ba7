"""The cost of this experiment. Replace it with your own."""

import jax.numpy as jnp


def cost(x, u, t):
    """The cost of one time step: a JAX function of the state x, the action u and the step t.

    The state is listed in experiment.toml: two angles, two velocities, and the tip's offset from the goal (m).
    """
    velocity, offset = x[2:4], x[4:7]
    return jnp.sqrt(jnp.sum(offset**2) + 1e-4) + 2.0 * jnp.sum(offset**2) + 0.001 * jnp.sum(velocity**2)
