"""A convolutional network with a spatial soft-argmax."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree
from gps.networks.activations import ACTIVATIONS, check_activation
from gps.networks.network import check_vectors
from gps.networks.onnx_graph import OnnxGraph
from gps.networks.perceptron import MLP
from gps.observations import Pixels

_SHARPNESS = 10.0
"""The softmax's first sharpness: with 1, the points of random convolutions hardly move, and are learned late."""

_STATIC = {"static": True}  # metadata of a field that is not a parameter


@pytree
class Convolutional:
    """Convolutions, a spatial soft-argmax, then a perceptron (Levine, Finn, Darrell & Abbeel 2016, sec. 5.1).

    Each channel of the last convolution becomes one point of the image: the mean position under the softmax of its
    responses, in -1..1 from left to right and from top to bottom. The points and the vector enter the perceptron. Its
    inputs are `Pixels`, or bare images if `vector_size` is 0.
    """

    kernels: tuple[Float[Array, "k k channels_in channels_out"], ...]
    offsets: tuple[Float[Array, "channels_out"], ...]
    sharpness: Float[Array, ""]  # the inverse of the softmax's temperature
    head: MLP
    strides: tuple[int, ...] = dataclasses.field(metadata=_STATIC)
    image_shape: tuple[int, int, int] = dataclasses.field(metadata=_STATIC)
    activation: str = dataclasses.field(metadata=_STATIC)

    max_batch: ClassVar[int] = 256  # the layers' outputs for all images of a data set may be gigabytes

    @classmethod
    def create(
        cls,
        image_shape: tuple[int, int, int],
        vector_size: int,
        action_size: int,
        key: jax.Array,
        channels: Sequence[int] = (8, 16),
        kernels: Sequence[int] = (5, 3),
        strides: Sequence[int] = (2, 1),
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
    ) -> Self:
        """Return a network with random weights and zero biases.

        Args:
            image_shape: (H, W, C).
            vector_size: size of the vector that comes with the image, 0 for none.
            key: a JAX key.
            channels, kernels, strides: outputs, side in pixels and step in pixels of each convolution. The object to
                be located should be more than twice as wide as the product of the strides: a smaller object looks
                different at each place between two steps, and is located only where it was in training.
            hidden: sizes of the perceptron's hidden layers.
            activation: "relu" or "tanh".

        Raises:
            PolicyError: if the sizes do not fit each other, or the activation is unknown.
        """
        check_activation(activation)
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise PolicyError(f"image shape {tuple(image_shape)}: expected (H, W, C), height, width and channels")
        if not len(channels) == len(kernels) == len(strides) >= 1:
            raise PolicyError("channels, kernels and strides: expected one of each for every convolution")
        *keys, last = jax.random.split(key, len(channels) + 1)
        weights = []
        height, width, inputs = image_shape
        for one, outputs, side, stride in zip(keys, channels, kernels, strides, strict=True):
            scale = np.sqrt(2.0 / (side * side * inputs))
            weights.append(np.asarray(scale * jax.random.normal(one, (side, side, inputs, outputs)), np.float32))
            height, width, inputs = (height - side) // stride + 1, (width - side) // stride + 1, outputs
        if min(height, width) < 2:
            raise PolicyError(
                f"the convolutions leave {max(height, 0)} x {max(width, 0)} of images of {image_shape[0]} x "
                f"{image_shape[1]} pixels, and a position needs 2 x 2; larger images, or smaller kernels or strides"
            )
        return cls(
            tuple(weights),
            tuple(np.zeros(n, np.float32) for n in channels),
            np.asarray(_SHARPNESS, np.float32),
            MLP.create((2 * channels[-1] + vector_size, *hidden, action_size), last, activation, np.float32),
            tuple(int(stride) for stride in strides),
            (int(image_shape[0]), int(image_shape[1]), int(image_shape[2])),
            activation,
        )

    @property
    def description(self) -> str:
        height, width, colours = self.image_shape
        vector = f" and {self.vector_size} observations" if self.vector_size else ""
        points = len(self.offsets[-1])
        return f"images of {height} x {width} x {colours}{vector} -> {points} points -> {self.action_size} actions"

    @property
    def vector_size(self) -> int:
        return self.head.vector_size - 2 * self.offsets[-1].shape[0]

    @property
    def action_size(self) -> int:
        return self.head.action_size

    @property
    def dtype(self) -> np.dtype:
        """The precision of its parameters, in which it computes."""
        return np.dtype(self.sharpness.dtype)

    @property
    def zero_input(self) -> Pixels:
        return Pixels(np.zeros(self.image_shape, np.uint8), np.zeros(self.vector_size))

    def check(self, inputs: Any, /) -> Pixels:
        if not isinstance(inputs, Pixels):
            inputs = Pixels(inputs, np.zeros((*np.shape(inputs)[:-3], 0)))
        image, vector = inputs.image, check_vectors(inputs.vector, self.vector_size)
        image = image if isinstance(image, jax.Array) else np.asarray(image)
        if image.shape[-3:] != self.image_shape:
            raise PolicyError(
                f"images of shape {image.shape[-3:]}; this network takes images (H, W, C) = {self.image_shape}"
            )
        if image.shape[:-3] != vector.shape[:-1]:
            raise PolicyError(f"{image.shape[:-3]} images and {vector.shape[:-1]} vectors: expected one of each")
        if image.dtype != np.uint8 and image.dtype.kind != "f":
            raise PolicyError(f"images of {image.dtype}; expected uint8 (0..255), or a float (0..1)")
        return Pixels(image, vector)

    def map_vector(self, inputs: Pixels, function: Callable[[Any], Any], /) -> Pixels:
        return inputs._replace(vector=function(inputs.vector))

    def __call__(self, inputs: Pixels, /) -> Float[Array, "du"]:
        function = ACTIVATIONS[self.activation].jax
        h = _scale_image(inputs.image, self.dtype, jnp)
        for i, (kernel, offset, stride) in enumerate(zip(self.kernels, self.offsets, self.strides, strict=True)):
            h = _convolve(h, kernel, stride) + offset
            h = function(h) if i < len(self.strides) - 1 else h  # the last convolution enters the softmax
        points = _find_points(h, self.sharpness, jnp)
        return self.head(jnp.concatenate([points, inputs.vector.astype(self.dtype)]))

    def evaluate(self, inputs: Pixels, /) -> Float[np.ndarray, "... du"]:
        images, vectors = map(np.asarray, inputs)
        u = np.zeros((*vectors.shape[:-1], self.action_size), self.dtype)
        for index in np.ndindex(u.shape[:-1]):
            u[index] = self._evaluate_one(images[index], vectors[index])
        return u

    def _evaluate_one(self, image: np.ndarray, vector: np.ndarray) -> Float[np.ndarray, "du"]:
        # Each convolution is one matrix product.
        function = ACTIVATIONS[self.activation].numpy
        h = _scale_image(image, self.dtype, np)
        for i, (kernel, offset, stride) in enumerate(zip(self.kernels, self.offsets, self.strides, strict=True)):
            patches = np.lib.stride_tricks.sliding_window_view(h, kernel.shape[:2], (0, 1))[::stride, ::stride]
            h = np.tensordot(patches, np.asarray(kernel), ([3, 4, 2], [0, 1, 2])) + np.asarray(offset)
            h = function(h) if i < len(self.strides) - 1 else h
        points = _find_points(h, np.asarray(self.sharpness), np)
        return self.head.evaluate(np.concatenate([points, vector.astype(self.dtype)]))

    @property
    def input_layer(self) -> tuple[Array, Array]:
        # The vector enters the last rows of the perceptron's first layer; the points enter the rows above.
        weights, biases = self.head.input_layer
        return weights[weights.shape[0] - self.vector_size :], biases

    def with_input_layer(self, weights: Array, biases: Array) -> Self:
        old, _ = self.head.input_layer
        kept = old[: old.shape[0] - self.vector_size]
        head = self.head.with_input_layer(np.concatenate([kept, weights]), biases)
        return dataclasses.replace(self, head=head)

    @property
    def output_layer(self) -> tuple[Array, Array]:
        return self.head.output_layer

    def with_output_layer(self, weights: Array, biases: Array) -> Self:
        return dataclasses.replace(self, head=self.head.with_output_layer(weights, biases))

    def to_arrays(self) -> dict[str, np.ndarray]:
        arrays = self.head.to_arrays() | {
            "image_shape": np.array(self.image_shape),
            "strides": np.array(self.strides),
            "sharpness": np.asarray(self.sharpness),
        }
        arrays |= {f"kernel{i}": np.asarray(array) for i, array in enumerate(self.kernels)}
        return arrays | {f"offset{i}": np.asarray(array) for i, array in enumerate(self.offsets)}

    def add_to_graph(self, graph: OnnxGraph, vector: str | None, image: str | None) -> str:
        assert image is not None
        h = self._add_points(graph, image)
        if vector is not None:
            h = graph.add_node("Concat", h, graph.add_cast(vector, self.dtype), axis=1)
        return self.head.add_layers(graph, h)

    def _add_points(self, graph: OnnxGraph, image: str) -> str:
        """Add the convolutions and the soft-argmax to an ONNX graph; return the name of the points."""
        add, constant = graph.add_node, graph.add_constant
        h = graph.add_cast(image, np.float32)
        h = add("Transpose", add("Div", h, constant(np.float32(255))), perm=[0, 3, 1, 2])
        height, width, _ = self.image_shape
        for i, (kernel, offset, stride) in enumerate(zip(self.kernels, self.offsets, self.strides, strict=True)):
            h = add(ACTIVATIONS[self.activation].onnx, h) if i else h
            weights = constant(kernel.transpose(3, 2, 0, 1))
            h = add("Conv", h, weights, constant(offset), strides=[stride, stride])
            height, width = ((n - kernel.shape[0]) // stride + 1 for n in (height, width))
        channels = len(self.offsets[-1])
        h = add("Reshape", h, constant(np.array([0, channels, height * width])))
        e = add("Softmax", add("Mul", h, constant(self.sharpness)), axis=2)
        y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
        grid = np.stack([np.tile(x, height), np.repeat(y, width)], axis=1)
        points = add("Transpose", add("MatMul", e, constant(grid)), perm=[0, 2, 1])  # x's, then y's
        return add("Reshape", points, constant(np.array([0, 2 * channels])))


def _scale_image(image: Any, dtype: np.dtype, module: Any) -> Any:
    """Return an image as floats in 0..1."""
    return image.astype(dtype) / dtype.type(255) if image.dtype == np.uint8 else module.asarray(image, dtype)


def _convolve(h: Float[Array, "H W c"], kernel: Float[Array, "k k c o"], stride: int) -> Float[Array, "H2 W2 o"]:
    """Return the valid convolution, as one matrix product: XLA's own is several times slower in loops."""
    side = len(kernel)
    height, width = ((n - side) // stride + 1 for n in h.shape[:2])
    patches = [
        h[i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
        for i in range(side)
        for j in range(side)
    ]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _find_points(h: Any, sharpness: Any, module: Any) -> Any:
    """Return the mean position of each channel of h (H, W, channels) under its softmax: x's, then y's."""
    e = module.exp(sharpness * (h - h.max((0, 1))))
    e = e / e.sum((0, 1))
    y, x = (np.linspace(-1, 1, n, dtype=h.dtype) for n in h.shape[:2])
    return module.concatenate([x @ e.sum(0), y @ e.sum(1)])
