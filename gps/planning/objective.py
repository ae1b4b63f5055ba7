"""The expected cost of action sequences from one state, in a model.

The cost of a sequence is the mean over its particles (`gps.models.propagation`). A step costs nothing after the end of
the episode. The state after the last action counts with an idle action, so that a short plan sees where it ends. A
sequence whose state or cost is not finite, or whose state leaves ±1e10 (where MuJoCo calls a simulation diverged),
costs +inf: NaN goes no further.
"""

from typing import NamedTuple

from jaxtyping import Float

from gps.backend import Array, jnp

FAR = 1e10
"""A state entry beyond it has exploded."""


class Course(NamedTuple):
    """The predicted course of one sequence."""

    total: Float[Array, ""]  # as the search counts it: +inf where something is not finite
    costs: Float[Array, "h"]  # of each step, mean over the particles; the last one of the state after the plan
    states: Float[Array, "h dx"]  # mean over the particles
    deviations: Float[Array, "h dx"]  # over the particles


def total_costs(costs: Float[Array, "h P S"], states: Float[Array, "h P S dx"]) -> Float[Array, "S"]:
    """Return the cost of each sequence: the mean over the particles, +inf where something is not finite."""
    total = jnp.mean(jnp.sum(costs, axis=0), axis=0)
    sound = jnp.all(jnp.abs(states) < FAR, axis=(0, 1, 3))  # False for NaN
    return jnp.where(sound & jnp.isfinite(total), total, jnp.inf)


def average_course(costs: Float[Array, "h P 1"], states: Float[Array, "h P 1 dx"]) -> Course:
    """Return the mean course of one sequence and the spread of its particles."""
    return Course(
        total_costs(costs, states)[0],
        jnp.mean(costs[..., 0], axis=1),
        jnp.mean(states[:, :, 0], axis=1),
        jnp.std(states[:, :, 0], axis=1),
    )
