"""The cost of the cart-pole: how far the pole's tip is from its place, as PILCO has it."""

import jax.numpy as jnp

LENGTH = 0.6  # m


def tip(x, u, t):
    """Half the squared distance, in units of the pole's length, between the tip and the upright tip over the middle."""
    cart, angle = x[0] / LENGTH, x[1]
    return 0.5 * ((cart + jnp.sin(angle)) ** 2 + (1 - jnp.cos(angle)) ** 2)
