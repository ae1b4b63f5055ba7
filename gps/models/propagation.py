"""Roll out sequences of actions through an uncertain model, by particles.

P particles start at a state. A particle is one imagined episode, and each step of it follows one function that was
drawn from the model's belief. How the functions and the particles of a sequence meet is the *propagation* (Chua et al.
2018, sec. 5):

| name | meaning |
|---|---|
| `ts1` | at each step, the particles take one of the functions each, in a new random order |
| `ts_infinity` | each particle keeps its function: doubt about the system persists, as it does |
| `moment` | at each step, the particles are replaced by draws of the Gaussian with their mean and covariance |
| `mean` | one particle without noise, by the model's mean |

A function with a memory carries one along each particle, at first that of the start of an episode; a particle that is
replaced keeps it.

All sequences share the functions, the orders and the noise, so that they differ by their actions alone. The functions
are the outer axis of every array and the sequences the inner one, so that the networks of an ensemble are evaluated by
batched matrix products, each function's parameters staying where they are.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

from jaxtyping import Float, Int, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.errors import PolicyError, nearest
from gps.models.model import GlobalModel
from gps.models.remembering import advance_function, advance_mean, begin_memory

Propagation = Literal["ts1", "ts_infinity", "moment", "mean"]


class Advance(NamedTuple):
    """How particles take a step.

    Args:
        memories: (P, *memory), of the particles at the start.
        step: from memories (P, S, *memory), states (P, S, dx) and actions (S, du), an order of the particles (P,) and
            their keys (P,) to the next memories and states.
    """

    memories: Array
    step: Callable[[Array, Array, Array, Array, Array], tuple[Array, Array]]


def count_particles(propagation: Propagation, particles: int) -> int:
    """P: one particle follows the mean."""
    return 1 if propagation == "mean" else particles


def draw_beliefs(model: GlobalModel, propagation: Propagation, particles: int, key: PRNGKeyArray) -> Any:
    """Draw the functions that the particles follow (JAX); None for the mean."""
    return None if propagation == "mean" else model.draw(key, particles)


def follow_beliefs(model: GlobalModel, functions: Any, propagation: Propagation, noise: bool = True) -> Advance:
    """Return the step of particles that follow drawn functions, or the model's mean.

    Args:
        functions: of `draw_beliefs`.
        noise: False to leave out the system's noise, and keep the doubt.

    Raises:
        PolicyError: for an unknown propagation.
    """
    names = get_args(Propagation)
    if propagation not in names:
        raise PolicyError(
            f"propagation {propagation!r}: expected one of {', '.join(names)}{nearest(propagation, names)}"
        )
    if propagation == "mean":

        def follow(memories: Array, X: Array, U: Array, order: Array, keys: Array) -> tuple[Array, Array]:
            memory, x = jax.vmap(lambda *at: advance_mean(model, *at))(memories[0], X[0], U)
            return memory[None], x[None]

        return Advance(begin_memory(model)[None], follow)

    def step(memories: Array, X: Array, U: Array, order: Array, keys: Array) -> tuple[Array, Array]:
        if propagation == "ts1":
            memories, X = memories[order], X[order]

        def follow_one(function: Any, memory: Array, x: Array, key: Array) -> tuple[Array, Array]:
            return jax.vmap(lambda m, x, u: advance_function(function, m, x, u, key if noise else None))(memory, x, U)

        memories, X = jax.vmap(follow_one)(functions, memories, X, keys)
        return memories, redraw_particles(X, jax.random.fold_in(keys[0], 1)) if propagation == "moment" else X

    return Advance(jax.vmap(begin_memory)(functions), step)


def follow_prediction(predict: Callable[[Float[Array, "dx"], Float[Array, "du"]], Float[Array, "dx"]]) -> Advance:
    """Return the step of a single particle by a prediction without noise and memory."""
    return Advance(jnp.zeros((1, 0)), lambda memories, X, U, order, keys: (memories, jax.vmap(predict)(X[0], U)[None]))


def redraw_particles(X: Float[Array, "P S dx"], key: PRNGKeyArray) -> Float[Array, "P S dx"]:
    """Draw particles anew from the Gaussian with the mean and the (unbiased) covariance of each sequence's particles.

    Weighting the deviations by standard normal numbers gives such draws without a factor of the covariance, which is
    singular for few particles. A single particle stays where it is.
    """
    P = len(X)
    mean = jnp.mean(X, axis=0)
    weights = jax.random.normal(key, (P, P), X.dtype) / jnp.sqrt(max(P - 1, 1))
    return mean + jnp.einsum("qp,psd->qsd", weights, X - mean)


def roll_out_particles(
    advance: Advance,
    particles: int,
    cost: Cost,
    x: Float[Array, "dx"],
    actions: Float[Array, "S H du"],
    idle: Float[Array, "du"],
    t: Int[Array, ""] | int,
    end: Int[Array, ""] | float,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "h P S"], Float[Array, "h P S dx"]]:
    """Return the costs and the states of P particles along S sequences, h = H + 1 of each (JAX).

    Args:
        advance: of `follow_beliefs`.
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

    def step(carry: tuple[Array, Array], at_h: tuple[Array, ...]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        (memories, X), (U, time, order, noise) = carry, at_h
        memories, after = advance.step(memories, X, U, order, noise)
        return (memories, after.astype(X.dtype)), (charge(X, U, time), X)

    of_one = advance.memories[:, None]
    start = jnp.broadcast_to(of_one, (P, S, *of_one.shape[2:])), jnp.broadcast_to(x, (P, S, len(x)))
    (_, last), (costs, states) = jax.lax.scan(step, start, (actions.swapaxes(0, 1), t + jnp.arange(H), orders, keys))
    after = charge(last, jnp.broadcast_to(idle, (S, du)), t + H)
    return jnp.concatenate([costs, after[None]]), jnp.concatenate([states, last[None]])


def propagate(
    model: GlobalModel,
    start: Float[Array, "dx"],
    actions: Float[Array, "S H du"],
    key: PRNGKeyArray,
    *,
    particles: int = 1,
    propagation: Propagation = "ts_infinity",
    noise: bool = True,
) -> Float[Array, "H+1 P S dx"]:
    """Return the states of P particles of S sequences of H actions, from one state (JAX); see `follow_beliefs`."""
    to_draw, to_roll = jax.random.split(key)
    P = count_particles(propagation, particles)
    advance = follow_beliefs(model, draw_beliefs(model, propagation, P, to_draw), propagation, noise)
    start, actions = jnp.asarray(start, float), jnp.asarray(actions)
    _, states = roll_out_particles(
        advance, P, _charge_nothing, start, actions, jnp.zeros(actions.shape[-1]), 0, 0, to_roll
    )
    return states


def _charge_nothing(x: Array, u: Array, t: Array) -> Array:
    return jnp.zeros(())
