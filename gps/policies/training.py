"""A policy under training: the policy, Adam's moments, and the key of the next call's random choices."""

import dataclasses
from typing import Generic, Self

import numpy as np
from jaxtyping import Float, Int, UInt32

from gps.backend import jax, jnp
from gps.policies.neural import Layered, NeuralPolicy


@dataclasses.dataclass(frozen=True)
class Training(Generic[Layered]):
    """A policy and the state of its training; `gps.storage.serialization` stores it as `Training[MLP]`."""

    policy: NeuralPolicy[Layered]
    first: Layered  # Adam's moments
    second: Layered
    count: Int[np.ndarray, ""]  # Adam's steps
    calls: int
    key: UInt32[np.ndarray, "2"]  # for the next call's random choices

    @classmethod
    def begin(cls, policy: NeuralPolicy[Layered], key: jax.Array, trained: bool = False) -> Self:
        """Return the state before the first call, which sets the policy's scales from its samples.

        Args:
            key: a JAX key.
            trained: True if the policy is trained already: it keeps its scales, and the first call is a warm start.
        """
        zeros = jax.tree.map(np.zeros_like, policy.network)
        data = np.asarray(jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key)
        return cls(policy.numpy(), zeros, zeros, np.zeros((), np.int32), int(trained), data.astype(np.uint32))

    @property
    def trained(self) -> bool:
        """True if the policy was trained at least once, so that it can act."""
        return self.calls > 0

    @property
    def deviation(self) -> Float[np.ndarray, "du"]:
        """Standard deviations of the policy's noise; NaN before the first call."""
        deviation = np.sqrt(np.diagonal(np.asarray(self.policy.covariance)))
        return deviation if self.calls else np.full_like(deviation, np.nan)
