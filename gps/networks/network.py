"""The protocol of a network, which maps a vector, or an image with a vector, to a vector of actions.

Each network is written twice. `network(inputs)` is JAX, for one input, and training differentiates it.
`network.evaluate(inputs)` is NumPy, for any number of inputs, and acts in closed loop: a call costs tens of
microseconds, which is less than handing arrays to compiled code. It computes each input by itself, so that its output
has the same bits alone and in a batch.

A network computes in the precision of its parameters: float64 for the small perceptron, which is bound by overheads,
and float32 for convolutions, which compile well in float32 only. Parameters are the only leaves of these pytrees.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax
from gps.errors import PolicyError
from gps.networks.onnx_graph import OnnxGraph


class Network(Protocol):
    """A network: an immutable pytree whose leaves are its parameters.

    Its inputs are vectors (..., dv) or, for a network that takes images, `gps.observations.Pixels`.
    """

    max_batch: ClassVar[int]
    """Largest number of inputs that training evaluates together: it bounds the memory of a look at many samples."""

    @property
    def vector_size(self) -> int:
        """Size dv of the vector, 0 if the network takes images only."""
        ...

    @property
    def action_size(self) -> int:
        """Size du of the output."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Shape (H, W, C) of the images; None if the network takes vectors only."""
        ...

    @property
    def description(self) -> str:
        """Its inputs, layers and outputs, in words."""
        ...

    @property
    def zero_input(self) -> Any:
        """One input of zeros."""
        ...

    def check(self, inputs: Any, /) -> Any:
        """Return inputs with any leading axes in the form that `evaluate` takes.

        Raises:
            PolicyError: if their shape or type does not fit.
        """
        ...

    def map_vector(self, inputs: Any, function: Callable[[Any], Any], /) -> Any:
        """Return the inputs with `function` applied to their vector, the part that is normalised."""
        ...

    def __call__(self, inputs: Any, /) -> Float[Array, "du"]:
        """Evaluate one input; JAX."""
        ...

    def evaluate(self, inputs: Any, /) -> Float[np.ndarray, "... du"]:
        """Evaluate inputs with any leading axes; NumPy, with the same bits for each input alone and in a batch."""
        ...

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of an exported `.npz` from which `gps/policies/load_policy.py` evaluates the network."""
        ...

    def add_to_graph(self, graph: OnnxGraph, vector: str | None, image: str | None) -> str:
        """Add the network to an ONNX graph, for a batch of inputs.

        Args:
            vector: name of the vectors (batch, dv); None if dv is 0.
            image: name of the images (batch, H, W, C), uint8; None if the network takes vectors only.

        Returns:
            The name of the output (batch, du), in the network's precision.
        """
        ...


class LayeredNetwork(Network, Protocol):
    """A network whose first and last layers are affine, as the supervised step needs it.

    `input_layer` and `output_layer` let training change the normalisation of vectors and actions without changing the
    function.
    """

    @property
    def input_layer(self) -> tuple[Array, Array]:
        """The weights (dv, fan_out) that multiply the vector, and the biases (fan_out,) of that layer."""
        ...

    def with_input_layer(self, weights: Array, biases: Array) -> Self:
        """Return the network with other weights and biases in `input_layer`."""
        ...

    @property
    def output_layer(self) -> tuple[Array, Array]:
        """The weights (fan_in, du) and biases (du,) of the last layer, which is linear."""
        ...

    def with_output_layer(self, weights: Array, biases: Array) -> Self:
        """Return the network with other weights and biases in `output_layer`."""
        ...


def check_vectors(vectors: Any, size: int) -> Any:
    """Return vectors (..., size) as an array of floats; PolicyError if their shape is another."""
    if isinstance(vectors, np.ndarray) or not isinstance(vectors, jax.Array):  # the second check is slow
        vectors = np.asarray(vectors, dtype=float)
    if vectors.ndim < 1 or vectors.shape[-1] != size:
        raise PolicyError(f"vectors of shape {vectors.shape}; this network takes (..., {size})")
    return vectors
