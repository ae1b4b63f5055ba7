"""The cost of a step for the local controllers: minus the environment's reward, smoothed at the goal."""

import jax.numpy as jnp
from jax.lax import stop_gradient

SMOOTH = 3e-4
"""m²; within its root, 1.7 cm, the distance is smooth instead of a cone."""


def cost(x, u, t):
    """The cost from the angles of the two links, 10 and 11 cm long, and the position of the goal."""
    shoulder, elbow = x[0], x[0] + x[1]
    finger = jnp.stack(
        [0.1 * jnp.cos(shoulder) + 0.11 * jnp.cos(elbow), 0.1 * jnp.sin(shoulder) + 0.11 * jnp.sin(elbow)]
    )
    return _distance(finger - x[2:4]) + jnp.sum(u**2)


def cost_of_observation(x, u, t):
    """The cost from the observation, which ends with the finger's position relative to the goal."""
    return _distance(x[-2:]) + jnp.sum(u**2)


def _distance(d):
    """sqrt(d·d + SMOOTH), with the second derivative of the parabola in d that touches it from above.

    The true curvature along d is nearly zero, so far from the goal the expansion predicts an unlimited gain. A parabola
    from above never predicts more gain than exists. (The root is concave in d·d, so its tangent there is such a
    parabola.)
    """
    square = d @ d
    length = stop_gradient(jnp.sqrt(square + SMOOTH))
    return length + (square - stop_gradient(square)) / (2 * length)
