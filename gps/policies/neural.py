"""A neural policy: `u ~ N(s · network((o - m) / d), Σ)`, with one covariance for all observations.

`mean` is JAX, batched and differentiable; `act` is NumPy and fast, and samplers call it. They agree to rounding (1e-12
of the scale for a float64 network, 1e-5 for float32). `act` without `rng` guarantees that an observation's action
depends on the policy and the observation alone, and has the same bits alone and in a batch of any shape.
"""

from typing import Any, Generic, Self

import numpy as np
from jaxtyping import Float
from typing_extensions import TypeVar

from gps.backend import Array, jax
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree
from gps.networks import network as networks

Network = TypeVar("Network", bound=networks.Network, default=networks.Network, covariant=True)
Layered = TypeVar("Layered", bound=networks.LayeredNetwork, default=networks.LayeredNetwork, covariant=True)


@pytree
class NeuralPolicy(Generic[Network]):
    """A Gaussian policy whose mean is a network's output. Immutable, and a pytree.

    `gps.storage.serialization` reads one back by the hint `NeuralPolicy[MLP]` or `NeuralPolicy[Convolutional]`.
    """

    network: Network
    input_mean: Float[Array, "dv"]  # m, in the units of the vector
    input_scale: Float[Array, "dv"]  # d
    output_scale: Float[Array, "du"]  # s, in the units of the action
    covariance: Float[Array, "du du"]

    @classmethod
    def untrained(cls, network: Network, deviation: float = 1.0) -> Self:  # type: ignore[misc]  # a constructor
        """Return a policy that does not scale its inputs and outputs, with standard deviation `deviation`."""
        dv, du = network.vector_size, network.action_size
        return cls(network, np.zeros(dv), np.ones(dv), np.ones(du), deviation**2 * np.eye(du))

    def mean(self, observations: Any) -> Float[Array, "... du"]:
        """Return the mean actions of observations with any leading axes; JAX.

        Raises:
            PolicyError: if the observations do not fit the network.
        """
        return _means(self, self.network.check(observations))

    def act(self, observation: Any, t: int | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return the mean actions of observations with any leading axes, or draws if `rng` is given.

        Args:
            t: not used: the policy does not depend on time.

        Raises:
            PolicyError: if the observations do not fit the network.
        """
        network, shift, scale = self.network, np.asarray(self.input_mean), np.asarray(self.input_scale)
        inputs = network.map_vector(network.check(observation), lambda vector: (vector - shift) / scale)
        mean = network.evaluate(inputs) * np.asarray(self.output_scale)
        if rng is None:
            return mean
        factor = np.linalg.cholesky(np.asarray(self.covariance))
        return mean + (factor * rng.standard_normal(mean.shape)[..., None, :]).sum(-1)

    def numpy(self) -> Self:
        """Return the same policy with NumPy arrays, as records hold them."""
        return jax.tree.map(np.asarray, self)


def find_fault(policy: NeuralPolicy) -> str:
    """Return why a policy that was read from a file cannot be evaluated; "" if it can."""
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(policy)]
    if any(array.dtype.kind != "f" for array in arrays):
        return "its arrays are not all of real numbers"
    if not all(np.isfinite(array).all() for array in arrays):
        return "its numbers are not all finite"
    try:
        policy.act(policy.network.zero_input, rng=np.random.default_rng(0))
    except np.linalg.LinAlgError:
        return "its covariance is not positive definite"
    except KeyError:
        return "its activation function is unknown"
    except (PolicyError, ValueError, IndexError):
        return "its arrays do not fit together"
    return ""


def mean_of_one(policy: NeuralPolicy, observation: Any) -> Float[Array, "du"]:
    """Return the mean action of one observation that was checked; JAX, for use within other transformations."""
    network = policy.network
    inputs = network.map_vector(observation, lambda vector: (vector - policy.input_mean) / policy.input_scale)
    return policy.output_scale * network(inputs)


@jax.jit
def _means(policy: NeuralPolicy, observations: Any) -> Array:
    lead = jax.tree.leaves(observations)[-1].shape[:-1]
    function = mean_of_one
    for _ in lead:
        function = jax.vmap(function, (None, 0))
    return function(policy, observations)
