"""Two rewards as formulas, for a comparison with learning from the rewards themselves.

gps run experiments/gymnasium --set 'cost=[{name="task", function="reacher"}]'
"""

import jax.numpy as jnp


def reacher(x, u, t):
    """Minus the reward of Reacher-v5; the observation contains the offset from the target."""
    return jnp.sqrt(jnp.sum(x[8:10] ** 2) + 1e-6) + 0.1 * jnp.sum(u**2)


def pendulum(x, u, t):
    """Minus the reward of Pendulum-v1, from cosine, sine and velocity."""
    angle = jnp.arctan2(x[1], x[0])
    return angle**2 + 0.1 * x[2] ** 2 + 0.001 * jnp.sum(u**2)
