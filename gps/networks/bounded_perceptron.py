"""A perceptron of the encoded observation."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax
from gps.linear_gaussian.types import pytree
from gps.networks.bounded import Bounded, count_encoded
from gps.networks.onnx_graph import OnnxGraph
from gps.networks.perceptron import MLP
from gps.networks.squashing import check_squashing


@pytree
class BoundedPerceptron(Bounded):
    """f is an `MLP` in float64."""

    perceptron: MLP

    @classmethod
    def create(
        cls,
        size: int,
        low: Sequence[float],
        high: Sequence[float],
        key: jax.Array,
        hidden: Sequence[int] = (64, 64),
        activation: str = "tanh",
        angles: tuple[int, ...] = (),
        squash: str = "sine",
    ) -> Self:
        """Return a network with random weights and zero biases, whose first actions are near the middle.

        Raises:
            PolicyError: if an angle is no entry of the input, the squashing does not fit the limits, or the layers or
                the activation do not exist.
        """
        low, high = tuple(map(float, low)), tuple(map(float, high))
        check_squashing(squash, low, high)
        perceptron = MLP.create((count_encoded(size, angles), *hidden, len(low)), key, activation)
        return cls(size, angles, squash, low, high, perceptron)

    @property
    def layers(self) -> str:
        sizes = " -> ".join(str(len(bias)) for bias in self.perceptron.biases[:-1])
        return f"{sizes} {self.perceptron.activation}" if sizes else "affine"

    def respond(self, encoded: Float[Array, "df"]) -> Float[Array, "du"]:
        return self.perceptron(encoded)

    def respond_to_all(self, encoded: Float[np.ndarray, "... df"]) -> Float[np.ndarray, "... du"]:
        return self.perceptron.evaluate(encoded)

    def list_layers(self) -> dict[str, np.ndarray]:
        return self.perceptron.to_arrays()

    def add_layers(self, graph: OnnxGraph, h: str) -> str:
        return self.perceptron.add_layers(graph, h)
