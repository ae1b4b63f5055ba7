"""The base of the networks that are optimised through a model: angles in, actions within the limits out.

    u = c + r ∘ squash(f(e(o))),   c, r the middle and half the range of the actions

e leaves plain entries, then has the sines and the cosines of the angles: the order of
`gps.models.features.encode_input`. A subclass is the function f. The numbers that a policy through a model is
optimised by are of order 1 then, whatever the units of the action are.
"""

import abc
import dataclasses
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Int

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree
from gps.networks.network import check_vectors
from gps.networks.onnx_graph import OnnxGraph
from gps.networks.squashing import SQUASHINGS
from gps.observations import Pixels

_STATIC = {"static": True}  # metadata of a field that is not a parameter


@pytree
class Bounded(abc.ABC):
    """What the networks share; a subclass adds parameters and the methods at the end. Inputs are vectors (..., dv).

    Args:
        size: dv.
        angles: entries of the input that are angles in rad.
        squash: a key of `gps.networks.squashing.SQUASHINGS`.
        low, high: limits of the actions, du of each; without squashing they are not used.
    """

    size: int = dataclasses.field(metadata=_STATIC)
    angles: tuple[int, ...] = dataclasses.field(metadata=_STATIC)
    squash: str = dataclasses.field(metadata=_STATIC)
    low: tuple[float, ...] = dataclasses.field(metadata=_STATIC)
    high: tuple[float, ...] = dataclasses.field(metadata=_STATIC)

    max_batch: ClassVar[int] = 1 << 16

    @property
    def encoded_size(self) -> int:
        """The size df of e(o)."""
        return count_encoded(self.size, self.angles)

    @property
    def middle(self) -> Float[np.ndarray, "du"]:
        """c; zero without squashing."""
        low, high = np.array(self.low), np.array(self.high)
        return np.zeros_like(low) if self.squash == "none" else (low + high) / 2

    @property
    def half_range(self) -> Float[np.ndarray, "du"]:
        """r; one without squashing."""
        low, high = np.array(self.low), np.array(self.high)
        return np.ones_like(low) if self.squash == "none" else (high - low) / 2

    @property
    def vector_size(self) -> int:
        return self.size

    @property
    def action_size(self) -> int:
        return len(self.low)

    @property
    def image_shape(self) -> None:
        return None

    @property
    def description(self) -> str:
        angles = f", {len(self.angles)} of them angles" if self.angles else ""
        squashed = "" if self.squash == "none" else f", squashed by {self.squash}"
        return f"{self.size} observations{angles} -> {self.layers} -> {self.action_size} actions{squashed}"

    @property
    def zero_input(self) -> Float[np.ndarray, "dv"]:
        return np.zeros(self.size)

    def check(self, inputs: Any, /) -> Any:
        if isinstance(inputs, Pixels):
            raise PolicyError("this network takes vectors, not images; a Convolutional network takes images")
        return check_vectors(inputs, self.size)

    def map_vector(self, inputs: Any, function: Any, /) -> Any:
        return function(inputs)

    def encode(self, inputs: Float[Array, "dv"]) -> Float[Array, "df"]:
        """Return e(o) of one input (JAX)."""
        turns = inputs[self._turns]
        return jnp.concatenate([inputs[self._plain], jnp.sin(turns), jnp.cos(turns)])

    def encode_each(self, inputs: Float[np.ndarray, "... dv"]) -> Float[np.ndarray, "... df"]:
        """Return e(o) of inputs with any leading axes (NumPy)."""
        inputs = np.ascontiguousarray(inputs, dtype=float)
        plain, turns = (np.take(inputs, entries, axis=-1) for entries in (self._plain, self._turns))
        return np.concatenate([plain, np.sin(turns), np.cos(turns)], axis=-1)

    def __call__(self, inputs: Float[Array, "dv"], /) -> Float[Array, "du"]:
        return self.middle + self.half_range * SQUASHINGS[self.squash].jax(self.respond(self.encode(inputs)))

    def evaluate(self, inputs: Float[np.ndarray, "... dv"], /) -> Float[np.ndarray, "... du"]:
        encoded = self.encode_each(inputs)
        return self.middle + self.half_range * SQUASHINGS[self.squash].numpy(self.respond_to_all(encoded))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {
            "angles": self._turns,
            "squash": np.array(self.squash),
            "middle": self.middle,
            "half_range": self.half_range,
            **self.list_layers(),
        }

    def add_to_graph(self, graph: OnnxGraph, vector: str | None, image: str | None = None) -> str:
        assert vector is not None and image is None
        plain, turns = (
            graph.add_node("Gather", vector, graph.add_constant(entries), axis=1)
            for entries in (self._plain, self._turns)
        )
        parts = plain, graph.add_node("Sin", turns), graph.add_node("Cos", turns)
        h = SQUASHINGS[self.squash].onnx(graph, self.add_layers(graph, graph.add_node("Concat", *parts, axis=1)))
        h = graph.add_node("Mul", h, graph.add_constant(self.half_range))
        return graph.add_node("Add", h, graph.add_constant(self.middle))

    @property
    def _plain(self) -> Int[np.ndarray, "plain"]:
        return np.array([i for i in range(self.size) if i not in self.angles], int)

    @property
    def _turns(self) -> Int[np.ndarray, "angles"]:
        return np.array(self.angles, int)

    @property
    def bounds(self) -> tuple[Self, Self]:
        """How far an optimiser may go from the parameters that it begins with, to either side; infinite if anywhere."""
        sides = (jax.tree.map(lambda array, to=to: np.full(np.shape(array), to), self) for to in (-np.inf, np.inf))
        low, high = sides
        return low, high

    @property
    def units(self) -> Self:
        """The change of each parameter that an optimiser takes for 1."""
        return jax.tree.map(lambda array: np.ones(np.shape(array)), self)

    # -- the function f: what a subclass adds -------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def layers(self) -> str:
        """f in words."""

    @abc.abstractmethod
    def respond(self, encoded: Float[Array, "df"]) -> Float[Array, "du"]:
        """Return f(e) of one encoded input (JAX)."""

    @abc.abstractmethod
    def respond_to_all(self, encoded: Float[np.ndarray, "... df"]) -> Float[np.ndarray, "... du"]:
        """Return f(e) of encoded inputs (NumPy), with the same bits for each alone and in a batch."""

    @abc.abstractmethod
    def list_layers(self) -> dict[str, np.ndarray]:
        """Return the arrays of f for `gps/policies/load_policy.py`."""

    @abc.abstractmethod
    def add_layers(self, graph: OnnxGraph, h: str) -> str:
        """Add f to an ONNX graph; `h` (batch, df) is float64."""


def count_encoded(size: int, angles: tuple[int, ...]) -> int:
    """Return the size of an encoded input; PolicyError if an angle is no entry of it."""
    if size < 1 or len(set(angles)) < len(angles) or any(not 0 <= i < size for i in angles):
        raise PolicyError(f"angles {angles} of {size} observations: expected different entries from 0 to {size - 1}")
    return size + len(angles)
