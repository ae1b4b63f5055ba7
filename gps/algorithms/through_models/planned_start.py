"""A policy that imitates a plan: where the optimisation of a policy begins, if a planner has found the way.

A swing-up has many bad local optima for a policy, and fewer for a sequence of actions from one state, which iterative
LQR improves step by step. The lesson is the plan, and what its feedback makes of other starts around it
(`gps.planning.feedback`): the policy learns to return to the plan too. The optimisation then makes a feedback of it
that stands the doubt and the noise.
"""

from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int

from gps.backend import Array, jax, jnp
from gps.networks import Affine, RadialBasis
from gps.planning.feedback import follow_plan
from gps.planning.ilqr import PlanningProblem
from gps.planning.played import find_planned
from gps.planning.sources import PlanningTask, PolicySource
from gps.policies.lbfgs import minimise

ITERATIONS = 200
"""The most iterations of L-BFGS that fit a policy to planned actions."""

_AROUND, _SPREAD = 16, 0.1
"""The episodes around each plan, and the deviation of their starts relative to that of the data."""


class PlannedEpisodes(NamedTuple):
    """The states of plans, and of episodes around them, with the steps and the actions there."""

    states: Float[np.ndarray, "n dx"]
    actions: Float[np.ndarray, "n du"]
    steps: Int[np.ndarray, "n"]


def plan_episodes(
    planner: PolicySource, task: PlanningTask, starts: Float[np.ndarray, "M dx"], seed: int
) -> PlannedEpisodes | None:
    """Plan an episode from each start, in the model of the task; None where no plan can be made, or none is finite.

    Args:
        seed: of the starts around them.
    """
    policy, model, cost = planner.make_policy(task._replace(replans=False)), task.model, task.cost
    if policy is None or model is None or cost is None:
        return None
    seen, T = starts[:, None], task.problem.horizon
    actions = np.stack([policy.act(seen, t)[:, 0] for t in range(T)], axis=1)
    planned = find_planned(policy)
    if planned is None:
        return None
    states, good = planned.states[:, 0, :T], (planned.troubles[:, 0] == 0).all(axis=1)
    dx, du = states.shape[-1], actions.shape[-1]
    units = np.asarray(model.deviations)
    units = np.where(np.isfinite(units) & (units > 0), units, 1.0)
    low, high = (np.broadcast_to(np.asarray(limit, float), du) for limit in task.problem.limits)
    problem = PlanningProblem(model, low, high, units, np.int32(T))
    draws = _SPREAD * units[:dx] * np.random.default_rng(seed).normal(size=(len(starts), _AROUND, dx))
    lessons = [(states[m], actions[m]) for m in np.flatnonzero(good)]
    for m in np.flatnonzero(good):
        around = follow_plan(problem, cost, states[m], actions[m], starts[m] + draws[m])
        lessons += [
            (x, u) for x, u in zip(*map(np.asarray, around), strict=True) if np.isfinite([*x.flat, *u.flat]).all()
        ]
    if not lessons:
        return None
    states, actions = map(np.concatenate, zip(*lessons, strict=True))
    return PlannedEpisodes(states, actions, np.concatenate([np.arange(len(x)) for x, _ in lessons]))


def imitate(network: Any, inputs: Float[np.ndarray, "n dv"], actions: Float[np.ndarray, "n du"]) -> Any:
    """Return the network with the parameters that give these actions for these inputs, by least squares."""
    if isinstance(network, RadialBasis | Affine):
        return network.fit_weights(inputs, actions)
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
