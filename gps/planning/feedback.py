"""A plan from one state as a controller for the states around it: the feedback of LQR along the plan.

    u_t = clip(ū_t + K_t (x_t − x̄_t)),   K of the LQR problem in deviations from the plan (`gps.planning.ilqr`)

The cost's Hessian along the plan is projected to the nearest positive semi-definite matrix, as a saturating cost is
concave far from the goal.
"""

import equinox as eqx

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.planning.ilqr import FIRST, PlanningProblem, solve_deviations


@eqx.filter_jit
def follow_plan(
    problem: PlanningProblem, cost: Cost, states: Array, actions: Array, starts: Array
) -> tuple[Array, Array]:
    """Return states (n, H, dx) and actions (n, H, du) of a plan that is followed with feedback in the model's mean.

    Args:
        states, actions: of the plan, (H, dx) and (H, du).
        starts: n other states to begin in, (n, dx).
    """
    dx, z = states.shape[1], jnp.concatenate([states, actions], axis=1)

    def of_z(z: Array, t: Array) -> Array:
        return cost(z[:dx], z[dx:], t)

    values, vectors = jnp.linalg.eigh(jax.vmap(jax.hessian(of_z))(z, jnp.arange(len(z))))
    C = vectors * jnp.maximum(values, 0.0)[:, None] @ jnp.swapaxes(vectors, 1, 2)
    size = jnp.mean(jnp.diagonal(C, axis1=1, axis2=2) * problem.scale**2) + 1e-12
    F = jax.vmap(problem.model.linearise)(states, actions)[0]
    free = jnp.zeros(actions.shape, bool)
    K, _, _ = solve_deviations(F, C + FIRST * size * jnp.diag(problem.scale**-2), jnp.zeros_like(z), free, free)

    def step(x: Array, along: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        K, planned, action = along
        u = jnp.clip(action + K @ (x - planned), problem.low, problem.high)
        slope, offset = problem.model.linearise(x, u)
        return slope @ jnp.concatenate([x, u]) + offset, (x, u)

    def follow(start: Array) -> tuple[Array, Array]:
        return jax.lax.scan(step, start, (K, states, actions))[1]

    return jax.vmap(follow)(starts)
