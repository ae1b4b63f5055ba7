"""A neural policy: `u ~ N(s · network((o - m) / d), Σ)`, with one covariance for all observations.

`mean` is JAX, batched, and can be differentiated; `act` is NumPy and fast, and is what a sampler calls. They agree to
rounding (1e-12 of the scale for a float64 network, 1e-5 for one of float32). What `act` guarantees: without `rng` an
observation's action depends on nothing but the policy and the observation, and has the same bits alone and in a batch
of any shape.
"""

from typing import Any, Generic, Self, TypeVar

import numpy as np
from jaxtyping import Array, Float

from gps.backend import jax
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree

Network = TypeVar("Network")


@pytree
class NeuralPolicy(Generic[Network]):
    """A Gaussian policy whose mean is a network's. Immutable, and a pytree.

    `NeuralPolicy[MLP]` and `NeuralPolicy[Convolutional]` are the hints by which `gps.storage.serialization` reads one back.
    """

    network: Network
    input_mean: Float[Array, "dv"]  # of the (vector) observations
    input_scale: Float[Array, "dv"]
    output_scale: Float[Array, "du"]  # units of action
    covariance: Float[Array, "du du"]

    @classmethod
    def untrained(cls, network: Network, deviation: float = 1.0) -> Self:
        """Around a network as it is, with noise of standard deviation `deviation` in each action."""
        dv, du = network.vector_size, network.action_size
        return cls(network, np.zeros(dv), np.ones(dv), np.ones(du), deviation**2 * np.eye(du))

    def mean(self, observations: Any) -> Float[Array, "... du"]:
        """The mean actions of observations with any leading axes (JAX).

        Raises:
            PolicyError: for observations of another shape.
        """
        return _means(self, self.network.checked(observations))

    def act(self, observation: Any, t: int | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
        """The mean actions of observations with any leading axes, or draws where `rng` is given.

        Args:
            t: not used: the policy does not depend on time.

        Raises:
            PolicyError: for observations of another shape.
        """
        network, shift, scale = self.network, np.asarray(self.input_mean), np.asarray(self.input_scale)
        inputs = network.with_vector(network.checked(observation), lambda vector: (vector - shift) / scale)
        mean = network.evaluate(inputs) * np.asarray(self.output_scale)
        if rng is None:
            return mean
        factor = np.linalg.cholesky(np.asarray(self.covariance))
        return mean + (factor * rng.standard_normal(mean.shape)[..., None, :]).sum(-1)

    def numpy(self) -> Self:
        """The same policy with NumPy arrays, as records hold them."""
        return jax.tree.map(np.asarray, self)


def fault(policy: NeuralPolicy) -> str:
    """Why nobody can act by a policy that was read from a file; empty where one can."""
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(policy)]
    if any(array.dtype.kind != "f" for array in arrays):
        return "its arrays are not all of real numbers"
    if not all(np.isfinite(array).all() for array in arrays):
        return "its numbers are not all finite"
    try:
        policy.act(policy.network.nothing, rng=np.random.default_rng(0))
    except np.linalg.LinAlgError:
        return "its covariance is not positive definite"
    except (PolicyError, ValueError, IndexError):
        return "its arrays do not fit together"
    return ""


def mean_of_one(policy: NeuralPolicy, observation: Any) -> Float[Array, "du"]:
    """The mean action of one checked observation; JAX, for use within other transformations."""
    network = policy.network
    inputs = network.with_vector(observation, lambda vector: (vector - policy.input_mean) / policy.input_scale)
    return policy.output_scale * network(inputs)


@jax.jit
def _means(policy: NeuralPolicy, observations: Any) -> Array:
    lead = jax.tree.leaves(observations)[-1].shape[:-1]
    function = mean_of_one
    for _ in lead:
        function = jax.vmap(function, (None, 0))
    return function(policy, observations)
