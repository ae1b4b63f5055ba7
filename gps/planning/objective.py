"""The expected cost of action sequences from one state, in a model.

P particles start at the state. Each of them follows one function that was drawn from the model's belief, and the cost
of a sequence is the mean over its particles. With *TS∞* a particle keeps its function; with *TS1* the functions are
permuted among the particles at each step, so that a particle meets a new belief each time (Chua et al. 2018, sec. 5).
With *mean* there is one particle, which follows the model's mean. All sequences share the functions, the permutations
and the noise, so that they differ by their actions alone.

A step costs nothing after the end of the episode. The state after the last action counts with an idle
action, so that a short plan sees where it ends. A sequence whose state or cost is not finite, or whose state leaves
±1e10 (where MuJoCo calls a simulation diverged), costs +inf: NaN goes no further.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from jaxtyping import Float, Int, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost

Propagation = Literal["ts1", "ts_infinity", "mean"]

Advance = Callable[[Array, Array, Array, Array], Array]
"""From states (P, S, dx) and actions (S, du), an order of the particles (P,) and their keys (P,) to the next states."""

FAR = 1e10
"""A state entry beyond it has exploded."""


class Course(NamedTuple):
    """The predicted course of one sequence."""

    total: Float[Array, ""]  # as the search counts it: +inf where something is not finite
    costs: Float[Array, "h"]  # of each step, mean over the particles; the last one of the state after the plan
    states: Float[Array, "h dx"]  # mean over the particles
    deviations: Float[Array, "h dx"]  # over the particles


def follow_functions(functions: Any, permute: bool) -> Advance:
    """Return the step of particles that follow P drawn functions, with the system's noise; TS1 if `permute`.

    The functions are the outer axis, so that XLA sees products of matrices in a batch.
    """

    def advance(X: Array, U: Array, order: Array, keys: Array) -> Array:
        X = X[order] if permute else X
        return jax.vmap(lambda f, x, key: jax.vmap(f, (0, 0, None))(x, U, key))(functions, X, keys)

    return advance


def follow_mean(predict: Callable[[Float[Array, "dx"], Float[Array, "du"]], Float[Array, "dx"]]) -> Advance:
    """Return the step of a single particle by a prediction without noise."""
    return lambda X, U, order, keys: jax.vmap(predict)(X[0], U)[None]


def roll_out_particles(
    advance: Advance,
    particles: int,
    cost: Cost,
    x: Float[Array, "dx"],
    actions: Float[Array, "S H du"],
    idle: Float[Array, "du"],
    t: Int[Array, ""],
    end: Int[Array, ""],
    key: PRNGKeyArray,
) -> tuple[Float[Array, "h P S"], Float[Array, "h P S dx"]]:
    """Return the costs and the states of P particles along S sequences, h = H + 1 of each (JAX).

    Args:
        idle: the action that the state after the plan counts with.
        t: the step of the first action.
        end: T; the cost is zero from this step on.
    """
    P, (S, H, du) = particles, actions.shape
    bits = jax.random.bits(key, (H, P, 3), "uint32")  # drawn at once: each draw takes time to compile
    orders, keys = jnp.argsort(bits[..., 2], axis=1), jax.random.wrap_key_data(bits[..., :2])

    def charge(X: Array, U: Array, time: Array) -> Array:
        at_each = jax.vmap(jax.vmap(cost, (0, 0, None)), (0, None, None))(X, U, time)
        return jnp.where(time < end, at_each, 0.0)

    def step(X: Array, at_h: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        U, time, order, noise = at_h
        return advance(X, U, order, noise).astype(X.dtype), (charge(X, U, time), X)

    start = jnp.broadcast_to(x, (P, S, len(x)))
    last, (costs, states) = jax.lax.scan(step, start, (actions.swapaxes(0, 1), t + jnp.arange(H), orders, keys))
    after = charge(last, jnp.broadcast_to(idle, (S, du)), t + H)
    return jnp.concatenate([costs, after[None]]), jnp.concatenate([states, last[None]])


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
