"""A sum of Gaussian bumps of the encoded observation."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree
from gps.networks.bounded import Bounded, count_encoded
from gps.networks.onnx_graph import OnnxGraph
from gps.networks.squashing import SQUASHINGS, check_squashing

_REACH = 3.0
"""An optimiser may change a lengthscale by a factor of exp(3)."""

_NARROW, _RIDGE = 0.6, 0.1
"""The lengthscales of a network that imitates, in deviations of its inputs, and the ridge of its weights."""


@pytree
class RadialBasis(Bounded):
    """f(e) = Σ_i w_i exp(−½ Σ_d (e_d − c_id)² / l_d²), k bumps that share their lengthscales.

    Args:
        centres: c.
        log_lengthscales: log l, so that every number that an optimiser finds is a lengthscale.
        weights: w.
    """

    centres: Float[Array, "k df"]
    log_lengthscales: Float[Array, "df"]
    weights: Float[Array, "k du"]

    @classmethod
    def create(
        cls,
        size: int,
        low: Sequence[float],
        high: Sequence[float],
        key: jax.Array,
        features: int = 50,
        angles: tuple[int, ...] = (),
        squash: str = "sine",
        spread: float = 0.1,
        seen: Float[np.ndarray, "n dv"] | None = None,
    ) -> Self:
        """Return a network with random centres and weights.

        Args:
            features: k.
            spread: standard deviation of the weights.
            seen: observations to draw the centres around, whose deviation is the lengthscale; without any, the centres
                are standard normal.

        Raises:
            PolicyError: if there is no feature, an angle is no entry of the input, or the squashing does not fit the
                limits.
        """
        low, high = tuple(map(float, low)), tuple(map(float, high))
        check_squashing(squash, low, high)
        if features < 1:
            raise PolicyError(f"features = {features}: a radial basis needs at least one")
        df = count_encoded(size, angles)
        of_choice, of_centres, of_weights = jax.random.split(key, 3)
        noise = np.asarray(jax.random.normal(of_centres, (features, df)))
        weights = spread * np.asarray(jax.random.normal(of_weights, (features, len(low))))
        network = cls(size, angles, squash, low, high, noise, np.zeros(df), weights)
        if seen is None or not len(seen):
            return network
        encoded = network.encode_each(np.asarray(seen, float))
        scale = _measure_spread(encoded)
        chosen = np.asarray(jax.random.randint(of_choice, (features,), 0, len(encoded)))
        centres = encoded[chosen] + 0.1 * scale * noise
        return cls(size, angles, squash, low, high, centres, np.log(scale), weights)

    def fit_weights(self, inputs: Float[np.ndarray, "n dv"], actions: Float[np.ndarray, "n du"]) -> Self:
        """Return the network that plays these actions for these inputs, by ridge regression of the weights.

        The centres are inputs, evenly spread over their order, and the lengthscales follow from their deviation.
        """
        encoded = self.encode_each(inputs)
        centres = encoded[np.linspace(0, len(encoded) - 1, self.features).round().astype(int)]
        log_lengthscales = np.log(_NARROW * _measure_spread(encoded))
        bumps = np.exp(-0.5 * np.square((encoded[:, None] - centres) / np.exp(log_lengthscales)).sum(axis=-1))
        targets = SQUASHINGS[self.squash].invert((np.asarray(actions) - self.middle) / self.half_range)
        gram = bumps.T @ bumps + _RIDGE * np.eye(self.features)
        weights = np.linalg.solve(gram, bumps.T @ targets)
        return dataclasses.replace(self, centres=centres, log_lengthscales=log_lengthscales, weights=weights)

    @property
    def units(self) -> Self:
        """The lengthscale is the unit of the centres."""
        return dataclasses.replace(super().units, centres=np.broadcast_to(self.lengthscales, np.shape(self.centres)))

    @property
    def lengthscales(self) -> Float[np.ndarray, "df"]:
        """l (NumPy)."""
        return np.exp(np.asarray(self.log_lengthscales))

    @property
    def bounds(self) -> tuple[Self, Self]:
        low, high = super().bounds
        reach = np.full(np.shape(self.log_lengthscales), _REACH)
        return dataclasses.replace(low, log_lengthscales=-reach), dataclasses.replace(high, log_lengthscales=reach)

    @property
    def features(self) -> int:
        """The number k of bumps."""
        return len(self.weights)

    def drop(self, kept: Bool[Array, "k"], share: float | Array) -> Self:
        """Return the network with some bumps left out; the others weigh more, for the `share` that is left out."""
        weights = self.weights * (kept / (1.0 - share))[:, None]
        return dataclasses.replace(self, weights=weights)

    @property
    def layers(self) -> str:
        return f"{len(self.weights)} radial basis functions"

    def respond(self, encoded: Float[Array, "df"]) -> Float[Array, "du"]:
        scaled = (encoded - self.centres) * jnp.exp(-self.log_lengthscales)
        return jnp.exp(-0.5 * jnp.sum(scaled**2, axis=1)) @ self.weights

    def respond_to_all(self, encoded: Float[np.ndarray, "... df"]) -> Float[np.ndarray, "... du"]:
        scaled = (encoded[..., None, :] - np.asarray(self.centres)) / self.lengthscales
        bumps = np.exp(-0.5 * np.square(scaled).sum(axis=-1))
        return np.matmul(bumps[..., None, :], np.asarray(self.weights))[..., 0, :]

    def list_layers(self) -> dict[str, np.ndarray]:
        weights = np.asarray(self.weights)
        return {
            "activation": np.array("none"),
            "centres": np.asarray(self.centres),
            "lengthscales": self.lengthscales,
            "layers": np.array(1),
            "weight0": weights,
            "bias0": np.zeros(weights.shape[1]),
        }

    def add_layers(self, graph: OnnxGraph, h: str) -> str:
        h = graph.add_node("Unsqueeze", h, graph.add_constant(np.array([1], np.int64)))
        h = graph.add_node("Sub", h, graph.add_constant(np.asarray(self.centres)))
        h = graph.add_node("Div", h, graph.add_constant(self.lengthscales))
        h = graph.add_node("Mul", h, h)
        h = graph.add_node("ReduceSum", h, graph.add_constant(np.array([2], np.int64)), keepdims=0)
        h = graph.add_node("Exp", graph.add_node("Mul", h, graph.add_constant(np.array(-0.5))))
        return graph.add_node("MatMul", h, graph.add_constant(np.asarray(self.weights)))


def _measure_spread(encoded: Float[np.ndarray, "n df"]) -> Float[np.ndarray, "df"]:
    """The deviation of each entry; 1 where it does not vary."""
    deviation = encoded.std(axis=0)
    return np.where(deviation > 1e-6 * np.maximum(1.0, np.abs(encoded).max(axis=0)), deviation, 1.0)
