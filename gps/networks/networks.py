"""Networks that map an observation to a mean action: a multi-layer perceptron, and one that looks at an image.

Each is written twice. `network(observation)` is JAX, for one observation, and is what training differentiates.
`network.evaluate(observations)` is NumPy, for any number of them, and is what acts in closed loop: a call costs tens of
microseconds, which is less than handing arrays to compiled code, and computes every observation by itself, so that its
action has the same bits alone and among others (trap 10).

A network computes in the precision of its parameters: float64 for the small perceptron, where the time goes into
overheads, and float32 for convolutions, which are compiled well for that alone. Parameters are the only leaves of these
pytrees.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Array, Float

from gps.backend import jax, jnp
from gps.errors import PolicyError, nearest
from gps.linear_gaussian.types import pytree
from gps.observations import Pixels

ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "relu": (jax.nn.relu, lambda h: np.maximum(h, 0, out=h)),
    "tanh": (jnp.tanh, lambda h: np.tanh(h, out=h)),
}
"""Name -> the function in JAX, and in NumPy, where it works in place."""

_SHARPNESS = 10.0
"""Of the softmax, at first: with 1, the points of random convolutions hardly move, and are learned late."""

_STATIC = {"static": True}  # of a field that is no parameter


@pytree
class MLP:
    """A multi-layer perceptron; with no hidden layer, an affine map. Observations are vectors (do,)."""

    weights: tuple[Float[Array, "fan_in fan_out"], ...]
    biases: tuple[Float[Array, "fan_out"], ...]
    activation: str = dataclasses.field(metadata=_STATIC)

    at_once: ClassVar[int] = 1 << 20
    """Observations that training hands to it together, at most."""

    @classmethod
    def create(
        cls, sizes: Sequence[int], key: jax.Array, activation: str = "relu", dtype: Any = np.float64, gain: float = 0.1
    ) -> Self:
        """Random weights, zero biases.

        Args:
            sizes: of the observation, the hidden layers and the action.
            key: a JAX key.
            activation: "relu" or "tanh", of the hidden layers.
            gain: of the last layer, relative to one that keeps the variance: the first actions are small.
        """
        _known(activation)
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
    def described(self) -> str:
        """In words: its inputs, its layers, its outputs."""
        sizes = [self.vector_size, *(len(b) for b in self.biases)]
        hidden = " -> ".join(["", *map(str, sizes[1:-1])])
        return f"{sizes[0]} observations{hidden} {self.activation} -> {sizes[-1]} actions"

    @property
    def vector_size(self) -> int:
        return self.weights[0].shape[0]

    @property
    def action_size(self) -> int:
        return self.biases[-1].shape[0]

    @property
    def nothing(self) -> np.ndarray:
        """An observation of zeros."""
        return np.zeros(self.vector_size)

    def checked(self, observations: Any) -> Any:
        """The observations (..., do) as this network takes them.

        Raises:
            PolicyError: if their shape is another.
        """
        if isinstance(observations, Pixels):
            raise PolicyError("this policy has no eyes: it takes vectors, not Pixels; a Convolutional network sees")
        return _vectors(observations, self.vector_size)

    def with_vector(self, observation: Any, function: Callable) -> Any:
        """The observation with `function` applied to the vector in it (the part that is normalised)."""
        return function(observation)

    def __call__(self, observation: Float[Array, "do"]) -> Float[Array, "du"]:
        function = ACTIVATIONS[self.activation][0]
        h = observation.astype(self.biases[0].dtype)
        for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = function(h @ W + b)
        return h @ self.weights[-1] + self.biases[-1]

    def evaluate(self, observations: Float[np.ndarray, "... do"]) -> Float[np.ndarray, "... du"]:
        """The same in NumPy: a stack of vector-matrix products, one for each observation."""
        function = ACTIVATIONS[self.activation][1]
        h = np.ascontiguousarray(observations, dtype=self.biases[0].dtype)[..., None, :]
        last = len(self.weights) - 1
        for i, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = np.matmul(h, np.asarray(W))
            h += np.asarray(b)
            h = function(h) if i < last else h
        return h[..., 0, :]

    @property
    def entry(self) -> tuple[Array, Array]:
        """The layer that the vector enters: its weights (dv, fan_out) and biases."""
        return self.weights[0], self.biases[0]

    def with_entry(self, weights: Array, biases: Array) -> Self:
        return type(self)((weights, *self.weights[1:]), (biases, *self.biases[1:]), self.activation)

    @property
    def exit(self) -> tuple[Array, Array]:
        """The layer that the action leaves: its weights (fan_in, du) and biases."""
        return self.weights[-1], self.biases[-1]

    def with_exit(self, weights: Array, biases: Array) -> Self:
        return type(self)((*self.weights[:-1], weights), (*self.biases[:-1], biases), self.activation)


@pytree
class Convolutional:
    """Convolutions, a spatial soft-argmax, then a perceptron (Levine, Finn, Darrell & Abbeel 2016, sec. 5.1).

    Each channel of the last convolution becomes one point of the image: the mean position under the softmax of its
    responses, in -1..1 from left to right and from top to bottom. The points, with the vector observation, enter
    the perceptron. Observations are `Pixels`, or bare images where there is no vector.
    """

    kernels: tuple[Float[Array, "k k channels_in channels_out"], ...]
    offsets: tuple[Float[Array, "channels_out"], ...]
    sharpness: Float[Array, ""]  # of the softmax: the inverse of its temperature
    head: MLP
    strides: tuple[int, ...] = dataclasses.field(metadata=_STATIC)
    image_shape: tuple[int, int, int] = dataclasses.field(metadata=_STATIC)
    activation: str = dataclasses.field(metadata=_STATIC)

    at_once: ClassVar[int] = 256
    """As of `MLP`."""

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
        """Random weights.

        Args:
            image_shape: (H, W, C).
            vector_size: of the observations beside the image, 0 for none.
            key: a JAX key.
            channels, kernels, strides: of each convolution: its outputs, side in pixels and step in pixels. What is
                to be found should be more than twice as wide as the product of the strides: a smaller thing looks
                another in each place between two steps, and is found where it was in training alone.
            hidden: sizes of the perceptron's hidden layers.
            activation: "relu" or "tanh".
        """
        _known(activation)
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
            tuple(int(n) for n in image_shape),
            activation,
        )

    @property
    def described(self) -> str:
        """In words: its inputs, its layers, its outputs."""
        height, width, colours = self.image_shape
        beside = f" and {self.vector_size} observations" if self.vector_size else ""
        points = len(self.offsets[-1])
        return f"images of {height} x {width} x {colours}{beside} -> {points} points -> {self.action_size} actions"

    @property
    def vector_size(self) -> int:
        return self.head.vector_size - 2 * self.offsets[-1].shape[0]

    @property
    def action_size(self) -> int:
        return self.head.action_size

    @property
    def dtype(self) -> np.dtype:
        """Of its parameters, in which it computes."""
        return np.dtype(self.sharpness.dtype)

    @property
    def nothing(self) -> Pixels:
        """An observation of zeros."""
        return Pixels(np.zeros(self.image_shape, np.uint8), np.zeros(self.vector_size))

    def checked(self, observations: Any) -> Pixels:
        """The observations as `Pixels`.

        Raises:
            PolicyError: if the image or the vector has another shape, or the image is neither uint8 nor a float.
        """
        if not isinstance(observations, Pixels):
            observations = Pixels(observations, np.zeros((*np.shape(observations)[:-3], 0)))
        image, vector = observations.image, _vectors(observations.vector, self.vector_size)
        image = image if isinstance(image, jax.Array) else np.asarray(image)
        if image.shape[-3:] != self.image_shape:
            raise PolicyError(
                f"images of shape {image.shape[-3:]}, and this policy sees (H, W, C) = {self.image_shape}"
            )
        if image.shape[:-3] != vector.shape[:-1]:
            raise PolicyError(f"{image.shape[:-3]} images and {vector.shape[:-1]} vectors: expected one of each")
        if image.dtype != np.uint8 and image.dtype.kind != "f":
            raise PolicyError(f"images of {image.dtype}; expected uint8 (0..255), or a float (0..1)")
        return Pixels(image, vector)

    def with_vector(self, observation: Pixels, function: Callable) -> Pixels:
        return observation._replace(vector=function(observation.vector))

    def __call__(self, observation: Pixels) -> Float[Array, "du"]:
        function = ACTIVATIONS[self.activation][0]
        h = _unit(observation.image, self.dtype, jnp)
        for i, (kernel, offset, stride) in enumerate(zip(self.kernels, self.offsets, self.strides, strict=True)):
            h = _convolved(h, kernel, stride) + offset
            h = function(h) if i < len(self.strides) - 1 else h  # the softmax is the last one's
        points = _points(h, self.sharpness, jnp)
        return self.head(jnp.concatenate([points, observation.vector.astype(self.dtype)]))

    def evaluate(self, observations: Pixels) -> Float[np.ndarray, "... du"]:
        """The same in NumPy, image by image: each convolution is one matrix product."""
        images, vectors = map(np.asarray, observations)
        u = np.zeros((*vectors.shape[:-1], self.action_size), self.dtype)
        for index in np.ndindex(u.shape[:-1]):
            u[index] = self._evaluate_one(images[index], vectors[index])
        return u

    def _evaluate_one(self, image: np.ndarray, vector: np.ndarray) -> Float[np.ndarray, "du"]:
        function = ACTIVATIONS[self.activation][1]
        h = _unit(image, self.dtype, np)
        for i, (kernel, offset, stride) in enumerate(zip(self.kernels, self.offsets, self.strides, strict=True)):
            patches = np.lib.stride_tricks.sliding_window_view(h, kernel.shape[:2], (0, 1))[::stride, ::stride]
            h = np.tensordot(patches, np.asarray(kernel), ([3, 4, 2], [0, 1, 2])) + np.asarray(offset)
            h = function(h) if i < len(self.strides) - 1 else h
        points = _points(h, np.asarray(self.sharpness), np)
        return self.head.evaluate(np.concatenate([points, vector.astype(self.dtype)]))

    @property
    def entry(self) -> tuple[Array, Array]:
        """The rows of the perceptron's first layer that the vector enters, and its biases."""
        weights, biases = self.head.entry
        return weights[weights.shape[0] - self.vector_size :], biases

    def with_entry(self, weights: Array, biases: Array) -> Self:
        old, _ = self.head.entry
        kept = old[: old.shape[0] - self.vector_size]
        head = self.head.with_entry(np.concatenate([kept, weights]), biases)
        return dataclasses.replace(self, head=head)

    @property
    def exit(self) -> tuple[Array, Array]:
        """As of `MLP`."""
        return self.head.exit

    def with_exit(self, weights: Array, biases: Array) -> Self:
        return dataclasses.replace(self, head=self.head.with_exit(weights, biases))


def _known(activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise PolicyError(
            f"activation {activation!r}: expected {' or '.join(ACTIVATIONS)}{nearest(activation, ACTIVATIONS)}"
        )


def _vectors(vectors: Any, size: int) -> Any:
    if isinstance(vectors, np.ndarray) or not isinstance(vectors, jax.Array):  # the second question takes time
        vectors = np.asarray(vectors, dtype=float)
    if vectors.ndim < 1 or vectors.shape[-1] != size:
        raise PolicyError(f"observations of shape {vectors.shape}, and this policy takes (..., {size})")
    return vectors


def _unit(image: Any, dtype: np.dtype, module: Any) -> Any:
    """An image as floats in 0..1."""
    return image.astype(dtype) / dtype.type(255) if image.dtype == np.uint8 else module.asarray(image, dtype)


def _convolved(h: Float[Array, "H W c"], kernel: Float[Array, "k k c o"], stride: int) -> Float[Array, "H2 W2 o"]:
    """The valid convolution, as one matrix product: XLA's own is several times slower in loops."""
    side = len(kernel)
    height, width = ((n - side) // stride + 1 for n in h.shape[:2])
    patches = [
        h[i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
        for i in range(side)
        for j in range(side)
    ]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _points(h: Any, sharpness: Any, module: Any) -> Any:
    """The mean position of each channel of h (H, W, channels) under the softmax of its responses: x's, then y's."""
    e = module.exp(sharpness * (h - h.max((0, 1))))
    e = e / e.sum((0, 1))
    y, x = (np.linspace(-1, 1, n, dtype=h.dtype) for n in h.shape[:2])
    return module.concatenate([x @ e.sum(0), y @ e.sum(1)])
