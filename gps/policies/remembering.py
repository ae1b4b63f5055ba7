"""A policy with a memory: how it acts in episodes, and how it is followed within a JAX computation.

For a network without a memory everything here works too, with a memory of size 0.
"""

from typing import Any, ClassVar, Generic, Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.networks.recurrent import Recurrent
from gps.players import Player
from gps.policies.neural import Network, NeuralPolicy, mean_of_one
from gps.policies.played import GlobalPolicy
from gps.sampling.policy import Observes, Policy


def memory_size(policy: NeuralPolicy) -> int:
    """Return the size of the policy's memory; 0 if it has none."""
    return policy.network.memory_size if isinstance(policy.network, Recurrent) else 0


def follow_step(
    policy: NeuralPolicy, memory: Float[Array, "n"], observation: Float[Array, "do"]
) -> tuple[Float[Array, "n"], Float[Array, "du"]]:
    """Return the next memory and the mean action at one observation (JAX)."""
    network = policy.network
    if not isinstance(network, Recurrent):
        return memory, mean_of_one(policy, observation)
    memory, output = network.step(memory, (observation - policy.input_mean) / policy.input_scale)
    return memory, policy.output_scale * output


def follow_sequence(
    policy: NeuralPolicy, memory: Float[Array, "n"], observations: Float[Array, "H do"]
) -> tuple[Float[Array, "H n"], Float[Array, "H du"]]:
    """Return the memory before each observation, and the mean action at each (JAX)."""

    def step(memory: Array, observation: Array) -> tuple[Array, tuple[Array, Array]]:
        after, action = follow_step(policy, memory, observation)
        return after, (memory, action)

    return jax.lax.scan(step, memory, observations)[1]


@jax.jit
def recall(policy: NeuralPolicy, observations: Float[Array, "E T do"]) -> Float[Array, "E T n"]:
    """Return the policy's memory before each observation of E episodes."""
    start = jnp.zeros(memory_size(policy))
    return jax.vmap(lambda episode: follow_sequence(policy, start, episode)[0])(observations)


def play(policy: NeuralPolicy, conditions: int, horizon: int) -> Policy:
    """Return the policy as a sampler runs it, with its memory if it has one."""
    if memory_size(policy):
        return RememberingPolicy(policy, conditions, horizon)
    return GlobalPolicy(policy, conditions, horizon)


class RememberingPolicy(Generic[Network]):
    """One neural policy with a memory, for M conditions and T steps: `gps.sampling.policy.Policy`.

    Each episode has a memory of its own, which is zero at step 0.
    """

    player: ClassVar[Player] = Player.POLICY
    observes: ClassVar[Observes] = "observation"
    abstains: ClassVar[str] = ""
    carries_over: ClassVar[bool] = True

    def __init__(self, policy: NeuralPolicy[Network], conditions: int, horizon: int) -> None:
        self.policy, self.conditions, self.horizon = policy, conditions, horizon
        self._memory: np.ndarray | None = None

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        covariance = np.asarray(self.policy.covariance)
        return np.broadcast_to(covariance, (self.conditions, self.horizon, *covariance.shape))

    @property
    def parameters(self) -> NeuralPolicy[Network]:
        return self.policy

    def act(self, seen: Any, t: int) -> Float[np.ndarray, "M N du"]:
        """The mean actions at step t, which is 0 or one more than in the last call.

        Raises:
            PolicyError: if the observations do not fit the network.
        """
        policy = self.policy
        network: Any = policy.network
        seen = network.check(seen)
        if t == 0 or self._memory is None:
            self._memory = np.zeros((*seen.shape[:-1], network.memory_size))
        inputs = (seen - np.asarray(policy.input_mean)) / np.asarray(policy.input_scale)
        self._memory, output = network.step_each(self._memory, inputs)
        return output * np.asarray(policy.output_scale)

    def repeat(self, count: int) -> Self:
        """A policy of its own for M·count conditions, without the memory."""
        return type(self)(self.policy, self.conditions * count, self.horizon)
