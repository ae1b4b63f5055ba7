"""The gated recurrent unit (Cho et al. 2014), a network with a memory of what it has seen in an episode.

With the inputs v, the memory m ∈ ℝⁿ, σ the logistic function and ⊙ the product of entries:

    r = σ(v W_r + m U_r + b_r)                      what of the memory a proposal sees
    z = σ(v W_z + m U_z + b_z)                      what of the memory stays
    p = tanh(v W_p + (r ⊙ m) U_p + b_p)             the proposal
    m' = z ⊙ m + (1 − z) ⊙ p,   output = m' W + b

The memory is zero at the start of an episode. Where z is near 1, m' = m + small terms: the slope of the memory by the
memory of many steps before stays near 1, and a gradient that flows along it does not vanish.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree
from gps.networks.network import check_vectors
from gps.networks.onnx_graph import OnnxGraph
from gps.observations import Pixels

_KEEPS = 1.0
"""The bias of z at the start, so that a new network keeps most of its memory (Jozefowicz et al. 2015)."""


@runtime_checkable
class Recurrent(Protocol):
    """A network with a memory."""

    @property
    def memory_size(self) -> int:
        """Size n of the memory, which is zero at the start of an episode."""
        ...

    def step(self, memory: Float[Array, "n"], inputs: Any, /) -> tuple[Float[Array, "n"], Float[Array, "du"]]:
        """Return the next memory and the output; JAX."""
        ...

    def step_each(
        self, memory: Float[np.ndarray, "*batch n"], inputs: Any, /
    ) -> tuple[Float[np.ndarray, "*batch n"], Float[np.ndarray, "*batch du"]]:
        """Return the same for inputs with any leading axes; NumPy, with the same bits alone and in a batch."""
        ...


@pytree
class GRU:
    """A gated recurrent unit with a linear output. Its inputs are vectors (..., dv).

    As a `gps.networks.network.Network`, it evaluates the first step of an episode.
    """

    from_input: Float[Array, "dv 3n"]  # W_r, W_z, W_p
    from_memory: Float[Array, "n 3n"]  # U_r, U_z, U_p
    offset: Float[Array, "3n"]
    output: Float[Array, "n du"]
    output_offset: Float[Array, "du"]

    max_batch: ClassVar[int] = 1 << 20

    @classmethod
    def create(cls, inputs: int, units: int, outputs: int, key: jax.Array, gain: float = 0.1) -> Self:
        """Return a unit with random weights, whose first outputs are small.

        Args:
            units: n, the size of the memory.
            key: a JAX key.
            gain: scale of the last layer's weights, relative to the scale that keeps the variance.

        Raises:
            PolicyError: if a size is below 1.
        """
        if min(inputs, units, outputs) < 1:
            raise PolicyError(f"sizes {inputs}, {units}, {outputs}: expected inputs, units and outputs, all >= 1")
        of_input, of_memory, of_output = jax.random.split(key, 3)
        squares = [np.asarray(jax.random.orthogonal(k, units)) for k in jax.random.split(of_memory, 3)]
        offset = np.zeros(3 * units)
        offset[units : 2 * units] = _KEEPS
        return cls(
            np.asarray(jax.random.normal(of_input, (inputs, 3 * units))) / np.sqrt(inputs),
            np.concatenate(squares, axis=1),
            offset,
            np.asarray(jax.random.normal(of_output, (units, outputs))) * gain / np.sqrt(units),
            np.zeros(outputs),
        )

    @property
    def memory_size(self) -> int:
        return self.from_memory.shape[-2]

    @property
    def description(self) -> str:
        return f"{self.vector_size} observations -> a memory of {self.memory_size} (GRU) -> {self.action_size} actions"

    @property
    def vector_size(self) -> int:
        return self.from_input.shape[-2]

    @property
    def action_size(self) -> int:
        return self.output_offset.shape[-1]

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

    def step(
        self, memory: Float[Array, "n"], inputs: Float[Array, "dv"], /
    ) -> tuple[Float[Array, "n"], Float[Array, "du"]]:
        n = memory.shape[-1]
        driven, U = inputs @ self.from_input + self.offset, self.from_memory
        r, z = jnp.split(jax.nn.sigmoid(driven[: 2 * n] + memory @ U[:, : 2 * n]), 2)
        proposal = jnp.tanh(driven[2 * n :] + (r * memory) @ U[:, 2 * n :])
        memory = z * memory + (1.0 - z) * proposal
        return memory, memory @ self.output + self.output_offset

    def step_each(
        self, memory: Float[np.ndarray, "*batch n"], inputs: Float[np.ndarray, "*batch dv"], /
    ) -> tuple[Float[np.ndarray, "*batch n"], Float[np.ndarray, "*batch du"]]:
        n, U = self.memory_size, np.asarray(self.from_memory)
        driven = _multiply(inputs, self.from_input) + np.asarray(self.offset)
        # 0.5 (1 + tanh(a / 2)) is the logistic function without overflow.
        gates = 0.5 * (1.0 + np.tanh(0.5 * (driven[..., : 2 * n] + _multiply(memory, U[:, : 2 * n]))))
        r, z = gates[..., :n], gates[..., n:]
        proposal = np.tanh(driven[..., 2 * n :] + _multiply(r * memory, U[:, 2 * n :]))
        memory = z * memory + (1.0 - z) * proposal
        return memory, _multiply(memory, self.output) + np.asarray(self.output_offset)

    def __call__(self, inputs: Float[Array, "dv"], /) -> Float[Array, "du"]:
        return self.step(jnp.zeros(self.memory_size), inputs)[1]

    def evaluate(self, inputs: Float[np.ndarray, "... dv"], /) -> Float[np.ndarray, "... du"]:
        return self.step_each(np.zeros((*np.shape(inputs)[:-1], self.memory_size)), np.asarray(inputs, float))[1]

    @property
    def input_layer(self) -> tuple[Array, Array]:
        return self.from_input, self.offset

    def with_input_layer(self, weights: Array, biases: Array) -> Self:
        return dataclasses.replace(self, from_input=weights, offset=biases)

    @property
    def output_layer(self) -> tuple[Array, Array]:
        return self.output, self.output_offset

    def with_output_layer(self, weights: Array, biases: Array) -> Self:
        return dataclasses.replace(self, output=weights, output_offset=biases)

    def to_arrays(self) -> dict[str, np.ndarray]:
        names = {"from_input": "gru_input", "from_memory": "gru_memory", "offset": "gru_offset"}
        arrays = {"activation": np.array("tanh"), "layers": np.array(1)}
        arrays |= {stored: np.asarray(getattr(self, name)) for name, stored in names.items()}
        return arrays | {"weight0": np.asarray(self.output), "bias0": np.asarray(self.output_offset)}

    def add_to_graph(self, graph: OnnxGraph, vector: str | None, image: str | None) -> str:
        raise PolicyError("a policy with a memory has no .onnx form; export it as .npz")


def _multiply(rows: Float[np.ndarray, "*batch k"], matrix: Any) -> Float[np.ndarray, "*batch l"]:
    """A stack of vector-matrix products, one for each row, so that a row has the same bits alone and in a batch."""
    return np.matmul(np.ascontiguousarray(rows)[..., None, :], np.asarray(matrix))[..., 0, :]
