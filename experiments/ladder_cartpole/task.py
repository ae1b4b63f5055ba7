"""Two costs of the cart-pole swing-up: for algorithms that plan or follow a gradient far, and for local models."""

import jax.numpy as jnp

LENGTH = 0.6  # of the pole, m
ARRIVAL = 29  # the step at which the pole must be up; success is judged over the last second, steps 30 to 39
WEIGHTS = jnp.array([30.0, 1.0, 0.1, 0.1])  # cart (m), angle (rad), their velocities


def tip(x, u, t):
    """1 - ½ exp(-d²/2w²) - ½ exp(-d²/2v²), with the tip's distance d from upright over the middle, in m.

    w = 0.25 m is that of the reward, v = 0.6 m leads there from far away.
    """
    d2 = (x[0] + LENGTH * jnp.sin(x[1])) ** 2 + LENGTH**2 * (jnp.cos(x[1]) - 1.0) ** 2
    return 1.0 - 0.5 * jnp.exp(-d2 / (2 * 0.25**2)) - 0.5 * jnp.exp(-d2 / (2 * 0.6**2))


def swing_up(x, u, t):
    """½ Σ weight x², once at the arrival with a weight of 30, then a little at every step; nothing before.

    It is quadratic, and the slope of the angle is not zero where the pole hangs.
    """
    return 0.5 * jnp.sum(WEIGHTS * x**2) * jnp.where(t == ARRIVAL, 30.0, jnp.where(t > ARRIVAL, 0.1, 0.0))
