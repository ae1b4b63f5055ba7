"""The input of a policy that takes images: pictures, and a vector of numbers.

An environment gives an observation as one row of numbers. Its attribute `observation_pictures` names the parts of
`observation_layout` that are pictures, and `Sight` splits a row: pictures stay bytes up to the mini-batch, because they
would be eight times as large as doubles.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from jaxtyping import Int, Num, UInt8

from gps.errors import ConfigError

if TYPE_CHECKING:
    from gps.environments.contract import BatchEnvironment


class Pixels(NamedTuple):
    """An image and a vector, such as joint angles (dv may be 0)."""

    image: Any  # a NumPy or JAX array (..., H, W, C), uint8, or a float in 0..1
    vector: Any  # the same, (..., dv)


@dataclasses.dataclass(frozen=True)
class Sight:
    """The vector entries and the images of an observation.

    Several pictures form one image: the channels of the second follow those of the first.
    """

    numbers: Int[np.ndarray, "dv"]
    pictures: tuple[slice, ...] = ()
    image_shape: tuple[int, int, int] | None = None  # (H, W, C); None where there are no pictures

    @classmethod
    def of(cls, environment: "BatchEnvironment") -> Self:
        """The sight of an environment's observations, or of its states if it has no `observation_layout`.

        Raises:
            ConfigError: if its pictures are not all of the same height and width.
        """
        layout = environment.observation_layout
        if layout is None:
            return cls(np.arange(environment.single_observation_space.shape[0]))
        named = environment.observation_pictures
        numbers = [np.arange(where.start, where.stop) for part, where in layout.items() if part not in named]
        shapes = [environment.observation_shapes[part] for part in named]
        if len({shape[:2] for shape in shapes}) > 1:
            sizes = ", ".join(
                f"{part} {height} x {width}" for part, (height, width, _) in zip(named, shapes, strict=True)
            )
            raise ConfigError(f"environment.observation: pictures of one height and width are needed, got {sizes}")
        shape = (shapes[0][0], shapes[0][1], sum(channels for *_, channels in shapes)) if shapes else None
        return cls(np.concatenate([np.zeros(0, int), *numbers]), tuple(layout[part] for part in named), shape)

    @property
    def width(self) -> int:
        """The width of an observation, do."""
        return len(self.numbers) + sum(where.stop - where.start for where in self.pictures)

    def vector(self, observations: Num[np.ndarray, "B do"]) -> Num[np.ndarray, "B dv"]:
        """The numbers in the observations."""
        return observations[:, self.numbers] if self.pictures else observations

    def image(self, observations: Num[np.ndarray, "B do"]) -> UInt8[np.ndarray, "B H W C"]:
        """The pictures in the observations, as one image each."""
        assert self.image_shape is not None
        size = len(observations), *self.image_shape[:2], -1
        parts = [observations[:, where].astype(np.uint8).reshape(size) for where in self.pictures]
        return np.concatenate(parts, axis=-1)
