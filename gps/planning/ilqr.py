"""Iterative LQR (Li & Todorov 2004; Tassa, Erez & Todorov 2012) in a model that is linearised along the plan.

A plan is a sequence of actions from one state. Each round takes the model's slopes along the plan and the cost's exact
second-order expansion, and solves the LQR problem in deviations from the plan,

    minimise  Σ_h ½ δz_hᵀ (C_h + μ D) δz_h + g_hᵀ δz_h      subject to  δx_{h+1} = F_h δz_h,   δx_0 = 0,

where μ D (Levenberg and Marquardt; D in the units of the data) keeps the new plan near the old one. The result is
rolled out in the model with its feedback. If it costs no more, it becomes the new plan and μ falls; otherwise μ rises.
So a cost that is not convex needs no projection: a μ at which Quu is not positive definite only wastes a round.

Actions stay within the limits: an action that is at a limit and would be pushed beyond it is held for a round (the
active set of Tassa, Mansard & Todorov 2014, estimated by the sign of the gradient: see `riccati.lqr_step`).
"""

from typing import NamedTuple, Self

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.linear_gaussian.riccati import ActiveSet, Value, lqr_step
from gps.models.model import PlanningModel, for_condition

FIRST, FALL, RISE, LEAST, MOST = 1e-2, 0.1, 10.0, 1e-8, 1e8
"""The first μ, its factors after a round that helped and after one that did not, and its limits."""


class PlanningProblem(NamedTuple):
    """The model, the limits of the actions and the end of the episode: a planning problem without its initial state."""

    model: PlanningModel
    low: Float[Array, "du"]
    high: Float[Array, "du"]
    scale: Float[Array, "dz"]  # of the data; D is the diagonal matrix of its inverse squares
    end: Int[Array, ""]  # the cost is zero from this step on

    def for_condition(self, number: Float[Array, ""]) -> Self:
        """The problem of another condition (JAX)."""
        return self._replace(model=for_condition(self.model, number))


class Plan(NamedTuple):
    """H actions from one state, and the state of the search for better ones. A batch of B has a leading axis."""

    actions: Float[Array, "H du"]
    mu: Float[Array, ""]
    curvature: Float[Array, "du du"]  # Quu: of the cost-to-go in the first action

    @classmethod
    def none(cls, count: int, horizon: int, du: int) -> Self:
        """Return plans of zero actions from `count` states."""
        return cls(np.zeros((count, horizon, du)), np.full(count, FIRST), np.tile(np.eye(du), (count, 1, 1)))

    def shift(self) -> Self:
        """Return the plans (a batch) for the next step; the last action is repeated."""
        actions = np.concatenate([self.actions[:, 1:], self.actions[:, -1:]], axis=1)
        return self._replace(actions=actions, mu=np.minimum(self.mu, FIRST))


def draw_guesses(
    problem: PlanningProblem, horizon: int, count: int, t: int, attempts: int = 0
) -> Float[np.ndarray, "G H du"]:
    """Sequences of two actions, each held for a while; the same ones in each call for step t after as many attempts.

    They lie within the limits or, where there are none, within three standard deviations of the samples' actions.
    """
    du = len(problem.low)
    rng, far = np.random.default_rng([t, attempts]), 3.0 * np.asarray(problem.scale)[-du:]
    low = np.where(np.isfinite(problem.low), problem.low, -far)
    high = np.where(np.isfinite(problem.high), problem.high, far)
    size = rng.random((count, 1, 1))
    first, second = rng.uniform(low, high, (2, count, 1, du)) * size
    early = np.arange(horizon)[None, :, None] < rng.integers(1, horizon + 1, (count, 1, 1))
    return np.where(early, first, second)


class _Path(NamedTuple):
    """A plan rolled out in the model."""

    states: Float[Array, "H dx"]
    actions: Float[Array, "H du"]
    slopes: Float[Array, "H dx dz"]
    cost: Float[Array, ""]


def improve_plans(
    problem: PlanningProblem,
    cost: Cost,
    states: Float[np.ndarray, "B dx"],
    t: int,
    plans: Plan,
    rounds: int,
    guesses: Float[np.ndarray, "G H du"] | None = None,
    conditions: Float[np.ndarray, "B"] | None = None,
    starts: int = 1,
) -> Plan:
    """Improve the plans of B states at step t; each plan is independent of the others.

    Args:
        cost: a JAX function of (x, u, t).
        rounds: of linearisation, LQR and rollout.
        guesses: other actions to start from; the best of them replaces a plan that costs more.
        conditions: the number of the condition of each state; None for the first.
        starts: plan and guesses that are improved, the cheapest ones; the best result is the new plan.
    """
    guesses = plans.actions[:0] if guesses is None else guesses
    where = np.zeros(len(states)) if conditions is None else conditions
    new = _improve_all(problem, cost, states, where, np.int32(t), plans, np.int32(rounds), guesses, starts)
    return jax.tree.map(np.asarray, new)


@eqx.filter_jit
def _improve_all(
    problem: PlanningProblem,
    cost: Cost,
    states: Array,
    conditions: Array,
    t: Array,
    plans: Plan,
    rounds: Array,
    guesses: Array,
    starts: int,
) -> Plan:
    def improve(x: Array, number: Array, plan: Plan) -> Plan:
        return improve_plan(problem.for_condition(number), cost, x, t, plan, rounds, guesses, starts)

    return jax.vmap(improve)(states, conditions, plans)


def improve_plan(
    problem: PlanningProblem,
    cost: Cost,
    x: Array,
    t: Array,
    plan: Plan,
    rounds: Array,
    guesses: Array,
    starts: int = 1,
) -> Plan:
    """Improve the plan of one state: the JAX function that `improve_plans` maps over all states."""
    H, du = plan.actions.shape
    dx = x.shape[-1]
    times = t + jnp.arange(H)
    counts = times < problem.end

    def of_z(z: Array, time: Array, count: Array) -> Array:
        return jnp.where(count, cost(z[:dx], z[dx:], time), 0.0)

    def roll_out(feedback: Array, correction: Array, around: _Path) -> _Path:
        def step(state: Array, at_h: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
            K, k, x_old, u_old, time, count = at_h
            u = jnp.clip(u_old + k + K @ (state - x_old), problem.low, problem.high)
            z = jnp.concatenate([state, u])
            F, c = problem.model.linearise(state, u)
            return F @ z + c, (state, u, F, of_z(z, time, count))

        along = feedback, correction, around.states, around.actions, times, counts
        _, (states, actions, slopes, costs) = jax.lax.scan(step, x, along)
        return _Path(states, actions, slopes, jnp.sum(costs))

    def expand(path: _Path) -> tuple[Array, Array, Array, Array, Array]:
        """Return the LQR problem in deviations from the path, and which actions are at a limit."""
        z = jnp.concatenate([path.states, path.actions], axis=-1)
        g = jax.vmap(jax.grad(of_z))(z, times, counts)
        C = jax.vmap(jax.hessian(of_z))(z, times, counts)
        size = jnp.mean(jnp.abs(jnp.diagonal(C, axis1=1, axis2=2)) * problem.scale**2) + 1e-12
        return C, size * jnp.diag(problem.scale**-2), g, path.actions <= problem.low, path.actions >= problem.high

    def improve_path(_: Array, at: tuple[_Path, Array]) -> tuple[_Path, Array]:
        path, mu = at
        C, D, g, low, high = expand(path)
        K, k, _ = solve_deviations(path.slopes, C + mu * D, g, low, high)
        new = roll_out(K, k, path)
        better = new.cost <= path.cost + 1e-9 * jnp.abs(path.cost)  # False for NaN
        path = jax.tree.map(lambda yes, no: jnp.where(better, yes, no), new, path)
        return path, jnp.clip(mu * jnp.where(better, FALL, RISE), LEAST, MOST)

    def from_actions(actions: Array) -> _Path:
        start = _Path(jnp.zeros((H, dx)), actions, jnp.zeros((H, dx, dx + du)), jnp.zeros(()))
        return roll_out(jnp.zeros((H, du, dx)), jnp.zeros((H, du)), start)

    def improve_from(number: Array) -> tuple[_Path, Array]:
        path = jax.tree.map(lambda array: array[number], paths)
        return jax.lax.fori_loop(0, rounds, improve_path, (path, jnp.where(number == 0, plan.mu, FIRST)))

    paths = jax.vmap(from_actions)(jnp.concatenate([plan.actions[None], guesses]))
    if starts == 1:
        path, mu = improve_from(_find_cheapest(paths.cost))
    else:
        _, numbers = jax.lax.top_k(-_without_nan(paths.cost), min(starts, len(paths.cost)))
        improved, mus = jax.vmap(improve_from)(numbers)
        best = _find_cheapest(improved.cost)
        path, mu = jax.tree.map(lambda array: array[best], improved), mus[best]
    C, D, g, low, high = expand(path)
    _, _, quu = solve_deviations(path.slopes, C + LEAST * D, g, low, high)
    definite = jnp.isfinite(jnp.linalg.cholesky(quu)).all()  # with an action at a limit it need not be
    return Plan(path.actions, mu, jnp.where(definite, quu, plan.curvature))


def _find_cheapest(costs: Float[Array, "n"]) -> Int[Array, ""]:
    return jnp.argmin(_without_nan(costs))


def _without_nan(costs: Float[Array, "n"]) -> Float[Array, "n"]:
    return jnp.where(jnp.isnan(costs), jnp.inf, costs)


def solve_deviations(
    F: Float[Array, "H dx dz"],
    C: Float[Array, "H dz dz"],
    g: Float[Array, "H dz"],
    at_low: Bool[Array, "H du"],
    at_high: Bool[Array, "H du"],
) -> tuple[Float[Array, "H du dx"], Float[Array, "H du"], Float[Array, "du du"]]:
    """Return the feedback and correction of each step in deviations from the plan, and Quu of the first step.

    The cost-to-go after the last of the H steps is zero, so the last slope has no effect.
    """

    def step(value: Value, at_h: tuple[Array, ...]) -> tuple[Value, tuple[Array, ...]]:
        F, C, g, low, high = at_h
        value, result = lqr_step(value, F, C, g, at_limits=ActiveSet(low, high))
        return value, (result.feedback, result.feedforward, result.quu)

    _, (K, k, quu) = jax.lax.scan(step, Value.zero(F.shape[1]), (F, C, g, at_low, at_high), reverse=True)
    return K, k, quu[0]
