"""Mixture regression of a state with angles or quaternions: a mixture over the encoded inputs and the differences.

The clusters lie in the space of `gps.models.features`: sines and cosines, rotation matrices, and the shortest change of
each entry. So a pendulum has no cluster of its own for each turn, and none that averages over the jump from π to −π.
"""

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.dynamics.mixture import Mixture
from gps.dynamics.units import positive_deviation
from gps.linear_gaussian.types import pytree
from gps.models.data import Dataset
from gps.models.features import Differences, Encoding, StateTransforms
from gps.models.mixture import MixtureFunction, MixtureRegression


@pytree
class EncodedMixture:
    """x' = x ⊕ Σ_k r_k(φ) (F_k φ + c_k), φ the encoded z. A `gps.models.model.GlobalModel`.

    Args:
        regression: of the targets on the inputs.
        encoding, differences: of the inputs and the targets.
        deviations: of each entry of z in the data.
    """

    regression: MixtureRegression
    encoding: Encoding
    differences: Differences
    deviations: Float[Array, "dz"]

    @classmethod
    def of(
        cls, mixture: Mixture, data: Dataset, transforms: StateTransforms, clusters: int = 0, points: float = np.inf
    ) -> Self:
        """Return the model of a mixture over `join_points` of the same data; see `MixtureRegression.of`."""
        encoding, differences = Encoding.of(data, transforms), Differences.of(data, transforms)
        free = dataclasses.replace(mixture, floor=None)  # a floor holds x' to x, and the targets are differences
        regression = MixtureRegression.of(free, data.states.shape[1], clusters, points)
        return cls(regression, encoding, differences, positive_deviation(data.inputs))

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the predicted next state (JAX)."""
        return self.differences.decode(x, self.regression.mean(*self._inputs(x, u)))

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state (JAX)."""
        return self.differences.deviation * self.regression.deviation(*self._inputs(x, u))

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return F and c of x' = F z + c at one z = [x; u], without the slopes of the responsibilities (JAX)."""
        F, c = self.regression.linearise(*self._inputs(x, u))

        def follow(x: Array, u: Array) -> Array:
            return self.differences.decode(x, F @ self.encoding(x, u) + c)

        slope = jnp.concatenate(jax.jacfwd(follow, (0, 1))(x, u), axis=1)
        return slope, follow(x, u) - slope @ jnp.concatenate([x, u])

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state (JAX)."""
        return self.differences.decode(x, self.regression.sample(*self._inputs(x, u), key))

    def draw(self, key: PRNGKeyArray, count: int) -> "EncodedFunction":
        """Return `count` systems with drawn slopes and offsets (JAX)."""
        both = self.encoding, self.differences
        shared = jax.tree.map(lambda array: jnp.broadcast_to(array, (count, *np.shape(array))), both)
        return EncodedFunction(self.regression.draw(key, count), *shared)

    def _inputs(self, x: Array, u: Array) -> tuple[Array, Array]:
        return _split(self.encoding(x, u), x)


@pytree
class EncodedFunction:
    """One system of the belief of an `EncodedMixture`. A `gps.models.model.Function`."""

    function: MixtureFunction
    encoding: Encoding
    differences: Differences

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the mean of the next state; with a `key` a draw of a cluster and of its noise."""
        return self.differences.decode(x, self.function(*_split(self.encoding(x, u), x), key))


def _split(inputs: Float[Array, "df"], x: Float[Array, "dx"]) -> tuple[Array, Array]:
    """Return the inputs in two parts, the first as long as the state: the regression takes them as its x and u."""
    return inputs[: len(x)], inputs[len(x) :]


def join_points(data: Dataset, transforms: StateTransforms) -> Float[np.ndarray, "n df+dx"]:
    """Return the points [φ; y] of inputs and targets over which the mixture is fitted."""
    encoding, differences = Encoding.of(data, transforms), Differences.of(data, transforms)
    return np.concatenate([encoding.encode_all(data), differences.encode_all(data)], axis=1)
