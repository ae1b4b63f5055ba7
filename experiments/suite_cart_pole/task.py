"""The cost of the suite's cart-pole: minus its reward, which is smooth."""

import jax.numpy as jnp


def cost(x, u, t):
    """-(1 + cos angle)/2 · (1 + b(x, 2))/2 · (1 + b(ω, 5))/2 · (4 + max(0, 1 - u²))/5, with b(z, m) = 0.1^(z²/m²)."""
    upright, centred, slow = 1.0 + jnp.cos(x[1]), 1.0 + 0.1 ** ((x[0] / 2.0) ** 2), 1.0 + 0.1 ** ((x[3] / 5.0) ** 2)
    return -upright * centred * slow / 8.0 * (4.0 + jnp.maximum(0.0, 1.0 - u[0] ** 2)) / 5.0


def swing(x, u, t):
    """The same, plus how far the pole's energy is from that of rest upright, so that a swing pays before it arrives.

    The energy is in units of its value upright: cos angle + velocity²/29.4, with l/(3 g) = 1/29.4 s².
    """
    energy = jnp.cos(x[1]) + x[3] ** 2 / 29.4
    return cost(x, u, t) + 0.2 * jnp.abs(1.0 - energy)
