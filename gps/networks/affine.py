"""An affine function of the encoded observation."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax
from gps.linear_gaussian.types import pytree
from gps.networks.bounded import Bounded, count_encoded
from gps.networks.onnx_graph import OnnxGraph
from gps.networks.squashing import SQUASHINGS, check_squashing

_RIDGE = 1e-6
"""Of the weights of a network that imitates, for each sample, in deviations of its inputs."""


@pytree
class Affine(Bounded):
    """f(e) = e W + b."""

    weights: Float[Array, "df du"]
    bias: Float[Array, "du"]

    @classmethod
    def create(
        cls,
        size: int,
        low: Sequence[float],
        high: Sequence[float],
        key: jax.Array,
        angles: tuple[int, ...] = (),
        squash: str = "sine",
        spread: float = 0.1,
    ) -> Self:
        """Return a network with random numbers of standard deviation `spread`.

        Raises:
            PolicyError: if an angle is no entry of the input, or the squashing does not fit the limits.
        """
        low, high = tuple(map(float, low)), tuple(map(float, high))
        check_squashing(squash, low, high)
        drawn = spread * np.asarray(jax.random.normal(key, (count_encoded(size, angles) + 1, len(low))))
        return cls(size, angles, squash, low, high, drawn[1:], drawn[0])

    def fit_weights(self, inputs: Float[np.ndarray, "n dv"], actions: Float[np.ndarray, "n du"]) -> Self:
        """Return the network that plays these actions for these inputs, by ridge regression.

        An entry that the actions do not depend on has no weight, though it varies along with another one.
        """
        encoded = self.encode_each(inputs)
        middle, scale = encoded.mean(axis=0), encoded.std(axis=0)
        scale = np.where(scale > 1e-6 * np.maximum(1.0, np.abs(middle)), scale, 1.0)
        e = (encoded - middle) / scale
        targets = SQUASHINGS[self.squash].invert((np.asarray(actions) - self.middle) / self.half_range)
        gram = e.T @ e + _RIDGE * len(e) * np.eye(e.shape[1])
        weights = np.linalg.solve(gram, e.T @ (targets - targets.mean(axis=0))) / scale[:, None]
        return dataclasses.replace(self, weights=weights, bias=targets.mean(axis=0) - middle @ weights)

    @property
    def layers(self) -> str:
        return "affine"

    def respond(self, encoded: Float[Array, "df"]) -> Float[Array, "du"]:
        return encoded @ self.weights + self.bias

    def respond_to_all(self, encoded: Float[np.ndarray, "... df"]) -> Float[np.ndarray, "... du"]:
        return np.matmul(encoded[..., None, :], np.asarray(self.weights))[..., 0, :] + np.asarray(self.bias)

    def list_layers(self) -> dict[str, np.ndarray]:
        weights, bias = np.asarray(self.weights), np.asarray(self.bias)
        return {"activation": np.array("none"), "layers": np.array(1), "weight0": weights, "bias0": bias}

    def add_layers(self, graph: OnnxGraph, h: str) -> str:
        h = graph.add_node("MatMul", h, graph.add_constant(np.asarray(self.weights)))
        return graph.add_node("Add", h, graph.add_constant(np.asarray(self.bias)))
