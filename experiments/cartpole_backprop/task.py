"""The cost of PETS' cart-pole (Chua et al. 2018): minus the reward that its tasks pay."""

import jax.numpy as jnp


def cost(x, u, t):
    """0.01 v² - exp(-d²/0.36): the tip's distance d (m) from upright over the middle, v = 3 u in units of 100 N."""
    tip = jnp.stack([x[0] - 0.6 * jnp.sin(x[1]), -0.6 * jnp.cos(x[1])])
    offset = tip - jnp.array([0.0, 0.6])
    return 0.01 * jnp.sum((3.0 * u) ** 2) - jnp.exp(-(offset @ offset) / 0.36)
