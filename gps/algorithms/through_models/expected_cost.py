"""The expected cost of an episode of a policy, by a Gaussian over the state that is propagated through a model.

    x_0 ~ N(m_0, S_0);   for each step:  [x_t; u_t] by the policy,  E c(x_t, u_t),  x_{t+1} by the model

All three have closed forms (`gps.policies.moments`, `gps.costs.expectations`, `gps.models.moment_matching`), so value
and gradient are exact for the chain of Gaussians (Deisenroth & Rasmussen 2011, sec. 2.2 to 2.4).
"""

from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.costs.expectations import expect
from gps.costs.terms import Cost
from gps.linear_gaussian.linalg import symmetrize
from gps.networks import Bounded
from gps.policies.moments import match_action
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed

_LEAST = 1e-10
"""Share of the data's variance that every state keeps: rounding does not make a covariance indefinite."""


class StartBelief(NamedTuple):
    """A Gaussian over the state for each of M conditions."""

    mean: Float[Array, "M dx"]
    covariance: Float[Array, "M dx dx"]


class Imagined(NamedTuple):
    """Expected costs and states of an episode, as the model predicts them."""

    costs: Float[Array, "M T"]
    means: Float[Array, "M T dx"]
    deviations: Float[Array, "M T dx"]


class Scene(NamedTuple):
    """The inputs of an expected cost besides the policy. A pytree whose other leaves are static."""

    model: Any  # a GlobalModel with MomentMatching
    cost: Cost
    start: StartBelief
    horizon: int  # T
    observed: Observed
    kinds: str  # the classes in model and cost, which JAX does not tell apart if they have equally many fields


def propagate_start(scene: Scene, policy: NeuralPolicy[Bounded]) -> Imagined:
    """Return the episode of each condition that the model expects (JAX)."""
    dx = scene.start.mean.shape[1]
    floor = jnp.diag(_LEAST * jnp.asarray(scene.model.deviations)[:dx] ** 2)

    def act(belief: tuple[Array, Array], t: Array) -> tuple[Array, Array, Array]:
        mean, covariance = match_action(policy, *belief, scene.observed, t)
        return mean, covariance, expect(scene.cost, mean, covariance, t, dx)

    def step(belief: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        mean, covariance, cost = act(belief, t)
        after, spread, _ = scene.model.moments(mean, covariance)
        deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(jax.lax.stop_gradient(belief[1])), 0.0))
        return (after, symmetrize(spread) + floor), (cost, belief[0], deviation)

    def follow(mean: Array, covariance: Array) -> tuple[Array, Array, Array]:
        last, outputs = jax.lax.scan(step, (mean, covariance), jnp.arange(scene.horizon - 1))
        cost = act(last, jnp.asarray(scene.horizon - 1))[2]
        ends = cost, last[0], jnp.sqrt(jnp.maximum(jnp.diagonal(last[1]), 0.0))
        return jax.tree.map(lambda array, end: jnp.concatenate([array, end[None]]), outputs, ends)

    parts = [follow(*start) for start in zip(*scene.start, strict=True)]
    return Imagined(*(jnp.stack(arrays) for arrays in zip(*parts, strict=True)))


@eqx.filter_jit
def expect_course(scene: Scene, policy: NeuralPolicy[Bounded]) -> Imagined:
    """`imagine`, compiled."""
    return propagate_start(scene, policy)


@eqx.filter_jit
def value_and_gradient(scene: Scene, policy: NeuralPolicy[Bounded]) -> tuple[Float[Array, ""], Bounded]:
    """Return the expected cost of an episode, mean over the conditions, and its gradient by the network."""

    def total(network: Bounded) -> Array:
        imagined = propagate_start(scene, eqx.tree_at(lambda p: p.network, policy, network))
        return jnp.mean(jnp.sum(imagined.costs, axis=1))

    return jax.value_and_grad(total)(policy.network)


def to_vector(network: Bounded) -> Float[np.ndarray, "p"]:
    """Return the parameters of a network as one vector."""
    return np.concatenate([np.asarray(leaf, float).ravel() for leaf in jax.tree.leaves(network)])


def from_vector(like: Bounded, vector: Float[np.ndarray, "p"]) -> Bounded:
    """Return the network with the parameters of a vector; NumPy arrays."""
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])
    parts = np.split(np.asarray(vector, float), ends[:-1])
    return jax.tree.unflatten(
        structure, [part.reshape(np.shape(leaf)) for part, leaf in zip(parts, leaves, strict=True)]
    )
