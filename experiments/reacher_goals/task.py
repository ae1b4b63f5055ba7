"""What a step costs, for the local controllers: minus the environment's reward, smooth at the goal."""

import jax.numpy as jnp
from jax.lax import stop_gradient

SMOOTH = 3e-4
"""Square metres: within the root of it, 1.7 cm, the distance is no longer a cone."""


def cost(x, u, t):
    """By the angles of the two links, of 10 and 11 cm, and the place of the goal."""
    shoulder, elbow = x[0], x[0] + x[1]
    finger = jnp.stack(
        [0.1 * jnp.cos(shoulder) + 0.11 * jnp.cos(elbow), 0.1 * jnp.sin(shoulder) + 0.11 * jnp.sin(elbow)]
    )
    return _distance(finger - x[2:4]) + jnp.sum(u**2)


def cost_of_observation(x, u, t):
    """By the observation, which ends with the finger's place relative to the goal."""
    return _distance(x[-2:]) + jnp.sum(u**2)


def _distance(d):
    """sqrt(d·d + SMOOTH), whose second derivative is that of the parabola in d that touches it from above.

    The true curvature is nearly zero along d: far from the goal a step is believed to gain on and on. No parabola from
    above promises more than there is. (The root is concave in d·d, so that its tangent there is such a parabola.)
    """
    square = d @ d
    length = stop_gradient(jnp.sqrt(square + SMOOTH))
    return length + (square - stop_gradient(square)) / (2 * length)
