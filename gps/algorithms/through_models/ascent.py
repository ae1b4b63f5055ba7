"""Two ways to follow the gradient of an imagined cost: the natural gradient within a KL bound, or Adam.

Both go along batches of imagined episodes, a new one with new functions and noise for each update.
"""

import dataclasses
from typing import Any, Generic, NamedTuple, Protocol, Self

import equinox as eqx
import numpy as np
import optax
from jaxtyping import Int

from gps.algorithms.through_models.imagining import (
    ExpectedCost,
    ImaginedSetting,
    ImaginedStarts,
    find_means_along,
    imagine_observations,
)
from gps.backend import Array, jax, jnp
from gps.policies.natural_gradient import Means, find_means, improve_policy
from gps.policies.neural import Network, NeuralPolicy
from gps.policies.remembering import memory_size

_MOST_STATES = 2000
"""States over which the KL divergence of an update is averaged; more are thinned evenly."""


@dataclasses.dataclass(frozen=True)
class PolicyInTraining(Generic[Network]):
    """A policy and the state of its optimiser."""

    policy: NeuralPolicy[Network]
    first: Network  # Adam's moments
    second: Network
    count: Int[np.ndarray, ""]  # Adam's steps
    trained: bool  # False before the first update

    @classmethod
    def begin(cls, policy: NeuralPolicy[Network]) -> Self:
        """Return the state before the first update."""
        zeros = jax.tree.map(np.zeros_like, policy.network)
        return cls(policy.numpy(), zeros, zeros, np.zeros((), np.int32), False)


class Ascended(NamedTuple):
    """The policy after some updates."""

    training: PolicyInTraining
    updates: int  # that changed the policy
    lost: int  # updates whose gradient was not finite


class Ascent(Protocol):
    """A rule that improves a policy by the gradient of its imagined cost."""

    @property
    def check_every(self) -> int:
        """The number of updates between two checks in held-out episodes."""
        ...

    def advance(self, training: PolicyInTraining, setting: ImaginedSetting, batches: ImaginedStarts) -> Ascended:
        """Return the policy after an update by each of the batches (leading axis)."""
        ...


@dataclasses.dataclass(frozen=True)
class NaturalAscent:
    """Each update is the natural gradient's step within a KL bound: `gps.policies.natural_gradient`.

    Args:
        kl_step: bound on each update, nats, mean over the states of its imagined episodes.
    """

    kl_step: float = 0.05
    check_every: int = 1

    def advance(self, training: PolicyInTraining, setting: ImaginedSetting, batches: ImaginedStarts) -> Ascended:
        policy, updates, lost = training.policy, 0, 0
        for i in range(len(batches.seed)):
            starts = jax.tree.map(lambda array, i=i: array[i], batches)
            sequences, weights = imagine_observations(policy, setting, starts)
            observations: Any
            means: Means
            if memory_size(policy):
                observations, means = sequences, find_means_along
            else:
                rows = np.unique(np.linspace(0, weights.size - 1, min(weights.size, _MOST_STATES)).astype(int))
                flat = sequences.observations.reshape(weights.size, -1)
                observations, weights, means = flat[rows], weights.reshape(-1)[rows], find_means
            step = improve_policy(
                policy,
                observations,
                ExpectedCost(setting, starts),
                self.kl_step,
                weights=weights,
                learn_covariance=False,
                means=means,
            )
            policy = step.policy
            updates += step.moved
            lost += "not finite" in step.message
        if not updates:
            return Ascended(training, 0, lost)
        changed = dataclasses.replace(training, policy=policy.numpy(), trained=True)
        return Ascended(changed, updates, lost)


@dataclasses.dataclass(frozen=True)
class AdamAscent:
    """Each update is a step of Adam. An update whose gradient is not finite is left out."""

    learning_rate: float = 1e-3
    check_every: int = 10

    def advance(self, training: PolicyInTraining, setting: ImaginedSetting, batches: ImaginedStarts) -> Ascended:
        start = (training.policy.network, training.first, training.second, training.count)
        end, fine = jax.tree.map(
            np.asarray, _ascend(start, training.policy, setting, batches, np.asarray(self.learning_rate))
        )
        network, first, second, count = end
        if not fine.any():
            return Ascended(training, 0, len(fine))
        policy = dataclasses.replace(training.policy, network=network)
        changed = dataclasses.replace(training, policy=policy, first=first, second=second, count=count, trained=True)
        return Ascended(changed, int(fine.sum()), int((~fine).sum()))


@eqx.filter_jit
def _ascend(start: Any, policy: Any, setting: ImaginedSetting, batches: ImaginedStarts, rate: Array) -> Any:
    """Return the network with Adam's moments after an update by each batch, and True for each that was finite."""
    adam = optax.scale_by_adam()

    def update(at: Any, starts: ImaginedStarts) -> tuple[Any, Array]:
        network, first, second, count = at

        def gain(network: Any) -> Array:
            return ExpectedCost(setting, starts)(dataclasses.replace(policy, network=network))

        gradient = jax.grad(gain)(network)
        state: Any
        direction, state = adam.update(gradient, optax.ScaleByAdamState(count, first, second))
        new = (jax.tree.map(lambda p, d: p + rate * d, network, direction), state.mu, state.nu, state.count)
        fine = jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)]))
        return jax.tree.map(lambda new, old: jnp.where(fine, new, old), new, at), fine

    return jax.lax.scan(update, jax.tree.map(jnp.asarray, start), batches)
