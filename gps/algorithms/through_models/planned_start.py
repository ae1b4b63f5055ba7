"""A first policy that imitates a plan: where the optimisation of a policy begins, if a planner has found the way.

A swing-up has many bad local optima for a policy, and fewer for a sequence of actions from one state, which iterative
LQR improves step by step. The policy's parameters are those that give the planned actions in the planned states, by
least squares; the optimisation then makes a feedback of it that stands the doubt and the noise.
"""

from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.planning.played import find_planned
from gps.planning.sources import PlanningTask, PolicySource
from gps.policies.lbfgs import minimise

ITERATIONS = 200
"""The most iterations of L-BFGS that fit a policy to planned actions."""


class PlannedEpisodes(NamedTuple):
    """The states of plans, one from each start, and their actions."""

    states: Float[np.ndarray, "n dx"]
    actions: Float[np.ndarray, "n du"]


def plan_episodes(
    planner: PolicySource, task: PlanningTask, starts: Float[np.ndarray, "M dx"]
) -> PlannedEpisodes | None:
    """Plan an episode from each start, in the model of the task; None where no plan can be made, or none is finite."""
    policy = planner.make_policy(task._replace(replans=False))
    if policy is None:
        return None
    seen, T = starts[:, None], task.problem.horizon
    actions = np.stack([policy.act(seen, t)[:, 0] for t in range(T)], axis=1)
    planned = find_planned(policy)
    if planned is None or (planned.troubles > 0).all():
        return None
    states = planned.states[:, 0, :T]
    good = (planned.troubles[:, 0] == 0).all(axis=1)
    return PlannedEpisodes(states[good].reshape(-1, states.shape[-1]), actions[good].reshape(-1, actions.shape[-1]))


def imitate(network: Any, inputs: Float[np.ndarray, "n dv"], actions: Float[np.ndarray, "n du"]) -> Any:
    """Return the network with the parameters that give these actions for these inputs."""
    start, unravel = ravel_pytree(network)

    def miss(parameters: Float[np.ndarray, "p"]) -> tuple[float, Float[np.ndarray, "p"]]:
        value, gradient = _miss(network, jnp.asarray(parameters), jnp.asarray(inputs), jnp.asarray(actions))
        return float(value), np.asarray(gradient)

    found = minimise(miss, [np.asarray(start)], iterations=ITERATIONS)
    return network if found.parameters is None else jax.tree.map(np.asarray, unravel(jnp.asarray(found.parameters)))


@eqx.filter_jit
def _miss(network: Any, parameters: Array, inputs: Array, actions: Array) -> tuple[Array, Array]:
    _, unravel = ravel_pytree(network)

    def error(parameters: Array) -> Array:
        played = jax.vmap(unravel(parameters))(inputs)
        return jnp.mean(jnp.sum((played - actions) ** 2, axis=-1))

    return jax.value_and_grad(error)(parameters)
