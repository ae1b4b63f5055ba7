"""The multi-layer perceptron."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree
from gps.networks.activations import ACTIVATIONS, check_activation
from gps.networks.network import check_vectors
from gps.networks.onnx_graph import OnnxGraph
from gps.observations import Pixels


@pytree
class MLP:
    """A multi-layer perceptron; with no hidden layer, an affine map. Its inputs are vectors (..., dv).

    Perceptrons whose arrays have a leading axis E are a batch of E of them, for `vmap`.
    """

    weights: tuple[Float[Array, "*E fan_in fan_out"], ...]
    biases: tuple[Float[Array, "*E fan_out"], ...]
    activation: str = dataclasses.field(metadata={"static": True})

    max_batch: ClassVar[int] = 1 << 20

    @classmethod
    def create(
        cls, sizes: Sequence[int], key: jax.Array, activation: str = "relu", dtype: Any = np.float64, gain: float = 0.1
    ) -> Self:
        """Return a perceptron with random weights and zero biases.

        Args:
            sizes: of the input, the hidden layers and the output.
            key: a JAX key.
            activation: "relu" or "tanh", for the hidden layers.
            gain: scale of the last layer's weights, relative to the scale that keeps the variance; a small gain makes
                the first outputs small.

        Raises:
            PolicyError: for fewer than two sizes, a size below 1 or an unknown activation.
        """
        check_activation(activation)
        if len(sizes) < 2 or min(sizes) < 1:
            raise PolicyError(f"sizes {tuple(sizes)}: expected those of the input, hidden layers and output, all >= 1")
        power = 2.0 if activation == "relu" else 1.0
        keys = jax.random.split(key, len(sizes) - 1)
        weights = [
            jax.random.normal(one, (n, m), dtype) * np.sqrt(power / n)
            for one, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]
        weights[-1] = weights[-1] * (gain / np.sqrt(power))
        arrays = tuple(np.asarray(weight, dtype) for weight in weights)
        return cls(arrays, tuple(np.zeros(m, dtype) for m in sizes[1:]), activation)

    @property
    def description(self) -> str:
        sizes = [self.vector_size, *(len(b) for b in self.biases)]
        hidden = " -> ".join(["", *map(str, sizes[1:-1])])
        return f"{sizes[0]} observations{hidden} {self.activation} -> {sizes[-1]} actions"

    @property
    def vector_size(self) -> int:
        return self.weights[0].shape[-2]

    @property
    def action_size(self) -> int:
        return self.biases[-1].shape[-1]

    @property
    def image_shape(self) -> None:
        return None

    @property
    def zero_input(self) -> Float[np.ndarray, "dv"]:
        return np.zeros(self.vector_size)

    def check(self, inputs: Any, /) -> Any:
        if isinstance(inputs, Pixels):
            raise PolicyError("this network takes vectors, not images; a Convolutional network takes images")
        return check_vectors(inputs, self.vector_size)

    def map_vector(self, inputs: Any, function: Callable[[Any], Any], /) -> Any:
        return function(inputs)

    def __call__(self, inputs: Float[Array, "dv"], /) -> Float[Array, "du"]:
        return self.compute_hidden(inputs) @ self.weights[-1] + self.biases[-1]

    def compute_hidden(self, inputs: Float[Array, "dv"]) -> Float[Array, "fan_in"]:
        """Return what the last layer, which is linear, takes in for one input (JAX)."""
        function = ACTIVATIONS[self.activation].jax
        h = inputs.astype(self.biases[0].dtype)
        for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = function(h @ W + b)
        return h

    def evaluate(self, inputs: Float[np.ndarray, "... dv"], /) -> Float[np.ndarray, "... du"]:
        # A stack of vector-matrix products, one for each input.
        function = ACTIVATIONS[self.activation].numpy
        h = np.ascontiguousarray(inputs, dtype=self.biases[0].dtype)[..., None, :]
        last = len(self.weights) - 1
        for i, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = np.matmul(h, np.asarray(W))
            h += np.asarray(b)
            h = function(h) if i < last else h
        return h[..., 0, :]

    @property
    def input_layer(self) -> tuple[Array, Array]:
        return self.weights[0], self.biases[0]

    def with_input_layer(self, weights: Array, biases: Array) -> Self:
        return type(self)((weights, *self.weights[1:]), (biases, *self.biases[1:]), self.activation)

    @property
    def output_layer(self) -> tuple[Array, Array]:
        return self.weights[-1], self.biases[-1]

    def with_output_layer(self, weights: Array, biases: Array) -> Self:
        return type(self)((*self.weights[:-1], weights), (*self.biases[:-1], biases), self.activation)

    def to_arrays(self) -> dict[str, np.ndarray]:
        arrays = {"activation": np.array(self.activation), "layers": np.array(len(self.weights))}
        arrays |= {f"weight{i}": np.asarray(array) for i, array in enumerate(self.weights)}
        return arrays | {f"bias{i}": np.asarray(array) for i, array in enumerate(self.biases)}

    def add_to_graph(self, graph: OnnxGraph, vector: str | None, image: str | None = None) -> str:
        assert vector is not None and image is None
        return self.add_layers(graph, graph.add_cast(vector, self.weights[0].dtype))

    def add_layers(self, graph: OnnxGraph, h: str) -> str:
        """Add the layers to an ONNX graph; `h` (batch, fan_in) has the network's precision."""
        for i, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = graph.add_node(ACTIVATIONS[self.activation].onnx, h) if i else h
            h = graph.add_node("MatMul", h, graph.add_constant(W))
            h = graph.add_node("Add", h, graph.add_constant(b))
        return h
