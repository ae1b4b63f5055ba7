"""Roll out sequences of actions through an uncertain model, by particles.

A particle is one imagined episode under one function drawn from the model. How the functions and the particles of a
sequence meet is the *propagation* (Chua et al. 2018, sec. 5.1):

| name | meaning |
|---|---|
| `ts1` | at each step, the particles of a sequence take one of the functions each, in a new random order |
| `ts_infinity` | each particle keeps its function: doubt about the system persists, as it does |
| `moment` | at each step, the particles are replaced by draws of the Gaussian with their mean and covariance |
| `mean` | one particle without noise, by the model's mean |

The functions are the outer axis of every array and the sequences the inner one, so that the networks of an ensemble
are evaluated by batched matrix products, each function's parameters staying where they are.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError, nearest
from gps.models.model import GlobalModel

Propagation = Literal["ts1", "ts_infinity", "moment", "mean"]

Cost = Callable[..., Float[Array, ""]]
"""`cost(x, u, t)`, a scalar (JAX)."""


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
    """Return the states of P particles of S sequences of H actions, from one state (JAX).

    Args:
        particles: P; 1 for `mean`.
        noise: False to leave out the system's noise, and keep the doubt.

    Raises:
        PolicyError: for an unknown propagation.
    """
    first, step = _prepare(model, start, actions, key, particles, propagation, noise)

    def go(x: Array, at: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        after = step(x, *at)
        return after, after

    _, rest = jax.lax.scan(go, first, _steps(actions, key))
    return jnp.concatenate([first[None], rest])


def accumulate_costs(
    model: GlobalModel,
    cost: Cost,
    start: Float[Array, "dx"],
    actions: Float[Array, "S H du"],
    key: PRNGKeyArray,
    *,
    particles: int = 1,
    propagation: Propagation = "ts_infinity",
    noise: bool = True,
    begin: int | Array = 0,
    final: Callable[[Float[Array, "dx"]], Float[Array, ""]] | None = None,
) -> Float[Array, "P S"]:
    """Return the sum of the costs of each particle (JAX), without keeping the states. See `propagate`.

    A particle that is not finite at some step costs infinity.

    Args:
        cost: of a state, an action and the step of the episode.
        begin: the episode's step at the start.
        final: cost of the last state, if it counts.
    """
    x, step = _prepare(model, start, actions, key, particles, propagation, noise)
    price = jax.vmap(jax.vmap(cost, (0, 0, None)), (0, None, None))
    total = jnp.zeros(x.shape[:2])

    def go(carry: tuple[Array, Array], at: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        (x, total), (t, u, _) = carry, at
        return (step(x, *at), total + price(x, u, begin + t)), None

    (x, total), _ = jax.lax.scan(go, (x, total), _steps(actions, key))
    if final is not None:
        total = total + jax.vmap(jax.vmap(final))(x)
    lost = ~jnp.isfinite(total) | ~jnp.isfinite(x).all(axis=-1)
    return jnp.where(lost, jnp.inf, total)


def _steps(actions: Float[Array, "S H du"], key: PRNGKeyArray) -> tuple[Array, Array, Array]:
    H = actions.shape[1]
    return jnp.arange(H), jnp.swapaxes(actions, 0, 1), jax.random.split(jax.random.fold_in(key, 1), H)


def _prepare(
    model: GlobalModel,
    start: Float[Array, "dx"],
    actions: Float[Array, "S H du"],
    key: PRNGKeyArray,
    particles: int,
    propagation: Propagation,
    noise: bool,
) -> tuple[Float[Array, "P S dx"], Callable[..., Array]]:
    """Return the particles at the start, and the function that takes them from a step to the next."""
    names = get_args(Propagation)
    if propagation not in names:
        raise PolicyError(
            f"propagation {propagation!r}: expected one of {', '.join(names)}{nearest(propagation, names)}"
        )
    P, S = 1 if propagation == "mean" else particles, len(actions)
    first = jnp.broadcast_to(jnp.asarray(start, float), (P, S, len(start)))
    if propagation == "mean":
        return first, lambda x, t, u, key: jax.vmap(model.mean)(x[0], u)[None]
    functions = model.draw(jax.random.fold_in(key, 0), P)

    def advance(x: Array, t: Array, u: Array, key: Array) -> Array:
        shuffling, noises = jax.random.split(key)
        if propagation == "ts1":
            x = _shuffle(x, shuffling)
        x = _apply(functions, x, u, noises if noise else None)
        return _match_moments(x, shuffling) if propagation == "moment" else x

    return first, advance


def _apply(functions: Any, x: Float[Array, "P S dx"], u: Float[Array, "S du"], key: PRNGKeyArray | None) -> Array:
    """Advance particle p of each sequence by function p."""
    if key is None:
        return jax.vmap(lambda f, xs: jax.vmap(f)(xs, u))(functions, x)
    keys = jax.random.split(key, x.shape[:2])
    return jax.vmap(lambda f, xs, own: jax.vmap(f)(xs, u, own))(functions, x, keys)


def _shuffle(x: Float[Array, "P S dx"], key: PRNGKeyArray) -> Float[Array, "P S dx"]:
    """Permute the particles of each sequence; TS1 then gives each another function."""
    order = jnp.argsort(jax.random.uniform(key, x.shape[:2], jnp.float32), axis=0)
    return jnp.take_along_axis(x, order[..., None], axis=0)


def _match_moments(x: Float[Array, "P S dx"], key: PRNGKeyArray) -> Float[Array, "P S dx"]:
    """Draw particles anew from the Gaussian with the mean and the (unbiased) covariance of each sequence's particles.

    Weighting the deviations by standard normal numbers gives such draws without a factor of the covariance, which is
    singular for few particles.
    """
    P = len(x)
    mean = jnp.mean(x, axis=0)
    weights = jax.random.normal(key, (P, *x.shape[:2]), x.dtype) / jnp.sqrt(max(P - 1, 1))
    return mean + jnp.einsum("qps,psd->qsd", weights, x - mean)
