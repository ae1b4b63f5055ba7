"""The gated recurrent unit (Cho et al. 2014): a network with a memory of what it has seen in an episode.

With the encoded observation e, the memory m ∈ ℝⁿ, σ the logistic function and ∘ the product of entries:

    r = σ(e W_r + m U_r + b_r)                      what of the memory a proposal sees
    z = σ(e W_z + m U_z + b_z)                      what of the memory stays
    p = tanh(e W_p + (r ∘ m) U_p + b_p)             the proposal
    m' = z ∘ m + (1 − z) ∘ p,   f = m' W + b

The memory is zero at the start of an episode. Where z is near 1, m' = m + small terms: the slope of the memory by the
memory of many steps before stays near 1, and a gradient that flows along it does not vanish.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree
from gps.networks.bounded import Bounded, count_encoded
from gps.networks.onnx_graph import OnnxGraph
from gps.networks.squashing import SQUASHINGS, check_squashing

_KEEPS = 1.0
"""b_z at the start, so that a new network keeps most of its memory (Jozefowicz et al. 2015)."""


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


class Gates(NamedTuple):
    """The parameters of a gated recurrent unit with n units, without its output."""

    from_input: Float[Array, "*E df n3"]  # W_r, W_z, W_p
    from_memory: Float[Array, "*E n n3"]  # U_r, U_z, U_p
    offset: Float[Array, "*E n3"]


def draw_gates(df: int, units: int, of_input: jax.Array, of_memory: jax.Array) -> Gates:
    """Return random parameters for inputs of size df: U orthogonal, and gates that keep most of the memory (NumPy).

    Args:
        of_input, of_memory: JAX keys.
    """
    squares = [np.asarray(jax.random.orthogonal(k, units)) for k in jax.random.split(of_memory, 3)]
    offset = np.zeros(3 * units)
    offset[units : 2 * units] = _KEEPS
    inputs = np.asarray(jax.random.normal(of_input, (df, 3 * units))) / np.sqrt(df)
    return Gates(inputs, np.concatenate(squares, axis=1), offset)


def advance_memory(gates: Gates, memory: Float[Array, "n"], encoded: Float[Array, "df"]) -> Float[Array, "n"]:
    """Return m' (JAX)."""
    W, U, b = gates
    n = memory.shape[-1]
    driven = encoded @ W + b
    r, z = jnp.split(jax.nn.sigmoid(driven[: 2 * n] + memory @ U[:, : 2 * n]), 2)
    p = jnp.tanh(driven[2 * n :] + (r * memory) @ U[:, 2 * n :])
    return z * memory + (1.0 - z) * p


@pytree
class GRU(Bounded):
    """A gated recurrent unit with a linear output. As a plain network it evaluates the first step of an episode."""

    from_input: Float[Array, "df n3"]  # W_r, W_z, W_p
    from_memory: Float[Array, "n n3"]  # U_r, U_z, U_p
    offset: Float[Array, "n3"]
    weights: Float[Array, "n du"]
    bias: Float[Array, "du"]

    @classmethod
    def create(
        cls,
        size: int,
        low: Sequence[float],
        high: Sequence[float],
        key: jax.Array,
        units: int = 32,
        angles: tuple[int, ...] = (),
        squash: str = "tanh",
        gain: float = 0.1,
    ) -> Self:
        """Return a unit with random weights, whose first actions are near the middle.

        Args:
            units: n.
            gain: scale of the last layer's weights, relative to the scale that keeps the variance.

        Raises:
            PolicyError: if an angle is no entry of the input, the squashing does not fit the limits, or there is no
                unit.
        """
        low, high = tuple(map(float, low)), tuple(map(float, high))
        check_squashing(squash, low, high)
        if units < 1:
            raise PolicyError(f"units = {units}: a gated recurrent unit has a memory of at least one number")
        of_input, of_memory, of_output = jax.random.split(key, 3)
        return cls(
            size, angles, squash, low, high,
            *draw_gates(count_encoded(size, angles), units, of_input, of_memory),
            np.asarray(jax.random.normal(of_output, (units, len(low)))) * gain / np.sqrt(units),
            np.zeros(len(low)),
        )  # fmt: skip

    @property
    def memory_size(self) -> int:
        return self.from_memory.shape[-2]

    @property
    def layers(self) -> str:
        return f"a memory of {self.memory_size} (GRU)"

    def step(
        self, memory: Float[Array, "n"], inputs: Float[Array, "dv"], /
    ) -> tuple[Float[Array, "n"], Float[Array, "du"]]:
        memory = self._advance(memory, self.encode(inputs))
        response = memory @ self.weights + self.bias
        return memory, self.middle + self.half_range * SQUASHINGS[self.squash].jax(response)

    def step_each(
        self, memory: Float[np.ndarray, "*batch n"], inputs: Float[np.ndarray, "*batch dv"], /
    ) -> tuple[Float[np.ndarray, "*batch n"], Float[np.ndarray, "*batch du"]]:
        memory = self._advance_each(memory, self.encode_each(np.asarray(inputs, float)))
        response = _multiply(memory, self.weights) + np.asarray(self.bias)
        return memory, self.middle + self.half_range * SQUASHINGS[self.squash].numpy(response)

    def respond(self, encoded: Float[Array, "df"]) -> Float[Array, "du"]:
        return self._advance(jnp.zeros(self.memory_size), encoded) @ self.weights + self.bias

    def respond_to_all(self, encoded: Float[np.ndarray, "... df"]) -> Float[np.ndarray, "... du"]:
        memory = self._advance_each(np.zeros((*encoded.shape[:-1], self.memory_size)), encoded)
        return _multiply(memory, self.weights) + np.asarray(self.bias)

    def list_layers(self) -> dict[str, np.ndarray]:
        arrays = {"gru_input": self.from_input, "gru_memory": self.from_memory, "gru_offset": self.offset}
        arrays |= {"weight0": self.weights, "bias0": self.bias}
        plain = {name: np.asarray(array) for name, array in arrays.items()}
        return {"activation": np.array("tanh"), "layers": np.array(1), **plain}

    def add_layers(self, graph: OnnxGraph, h: str) -> str:
        raise PolicyError("a policy with a memory has no .onnx form; export it as .npz")

    def _advance(self, memory: Float[Array, "n"], encoded: Float[Array, "df"]) -> Float[Array, "n"]:
        """Return m'."""
        return advance_memory(Gates(self.from_input, self.from_memory, self.offset), memory, encoded)

    def _advance_each(
        self, memory: Float[np.ndarray, "*batch n"], encoded: Float[np.ndarray, "*batch df"]
    ) -> Float[np.ndarray, "*batch n"]:
        """Return m' (NumPy)."""
        n, U = self.memory_size, np.asarray(self.from_memory)
        driven = _multiply(encoded, self.from_input) + np.asarray(self.offset)
        # ½ (1 + tanh(a / 2)) is the logistic function without overflow.
        gates = 0.5 * (1.0 + np.tanh(0.5 * (driven[..., : 2 * n] + _multiply(memory, U[:, : 2 * n]))))
        r, z = gates[..., :n], gates[..., n:]
        p = np.tanh(driven[..., 2 * n :] + _multiply(r * memory, U[:, 2 * n :]))
        return z * memory + (1.0 - z) * p


def _multiply(rows: Float[np.ndarray, "*batch k"], matrix: Any) -> Float[np.ndarray, "*batch l"]:
    """A stack of vector-matrix products, one for each row, so that a row has the same bits alone and in a batch."""
    return np.matmul(np.ascontiguousarray(rows)[..., None, :], np.asarray(matrix))[..., 0, :]
