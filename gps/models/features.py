"""The inputs and targets of a learned model: state and action encoded and normalised; differences of the state.

An angle enters as its sine and cosine, so that the model knows no difference between φ and φ + 2π; a quaternion enters
as its rotation matrix, so that q and −q are the same. An entry that is constant in the data is left out: it enters as
zero, and a change that is constant is predicted as that constant. An entry that is ignored enters as zero, too; its own
change is predicted. The numbers of inputs and targets do not depend on
the data, so that compiled functions serve every refit.
"""

import dataclasses
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.data import Dataset

_ROUNDING = 1e-10
"""A deviation below this share of an entry's size is rounding: the entry is constant."""


class StateTransforms(NamedTuple):
    """What is known of the entries of a state."""

    angles: tuple[int, ...] = ()
    """Entries that are angles in rad."""

    quaternions: tuple[int, ...] = ()
    """First entries of unit quaternions (w, x, y, z)."""

    ignored: tuple[int, ...] = ()
    """Entries that are no inputs: nothing that the state does next depends on them."""


NO_TRANSFORMS = StateTransforms()


@runtime_checkable
class TransformingLearner(Protocol):
    """A learner of a model that knows which entries of the state are angles, quaternions or no inputs."""

    @property
    def transforms(self) -> StateTransforms:
        """What is known of the entries of the state."""


def find_learned_transforms(learner: object) -> StateTransforms:
    """Return what a learner knows of the entries of the state, be it new or from a file; nothing for a simulator."""
    return learner.transforms if isinstance(learner, TransformingLearner) else NO_TRANSFORMS


@pytree
class Encoding:
    """The inputs of a model: the encoded z = [x; u], less its mean, over its deviation; 0 for constant ones.

    Args:
        mean: of the encoded data.
        weight: 1 / deviation; 0 where an input is constant in the data or ignored.
        transforms: see `StateTransforms`.
    """

    mean: Float[Array, "*count df"]
    weight: Float[Array, "*count df"]
    transforms: StateTransforms = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, data: Dataset, transforms: StateTransforms = NO_TRANSFORMS) -> Self:
        """The encoding whose inputs have mean 0 and deviation 1 in the data (NumPy arrays)."""
        raw = np.asarray(_encode_all(data.states, data.actions, transforms))
        deviation, varies = _measure(raw)
        used = varies & ~np.isin(
            list_sources(data.states.shape[1], data.actions.shape[1], transforms), transforms.ignored
        )
        return cls(raw.mean(axis=0), np.where(used, 1.0 / deviation, 0.0), transforms)

    @property
    def size(self) -> int:
        """The number of inputs, df."""
        return self.mean.shape[-1]

    def __call__(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "df"]:
        """Return the inputs at one state and action (JAX)."""
        return (encode_input(x, u, self.transforms) - self.mean) * self.weight

    def encode_all(self, data: Dataset) -> Float[np.ndarray, "n df"]:
        """Return the inputs of all transitions (NumPy)."""
        raw = np.asarray(_encode_all(data.states, data.actions, self.transforms))
        return (raw - self.mean) * self.weight


@pytree
class Differences:
    """The targets of a model: x' − x, less its mean, over its deviation; 0 for entries that never vary.

    Args:
        mean: of x' − x in the data.
        deviation: of x' − x; 0 where it is constant in the data.
        transforms: angles differ by the shortest way; quaternions are compared with the same sign.
    """

    mean: Float[Array, "*count dx"]
    deviation: Float[Array, "*count dx"]
    transforms: StateTransforms = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, data: Dataset, transforms: StateTransforms = NO_TRANSFORMS) -> Self:
        """The targets that have mean 0 and deviation 1 in the data (NumPy arrays)."""
        raw = _subtract_all(data, transforms)
        deviation, varies = _measure(raw, np.abs(data.successors).max(axis=0, initial=0.0))
        return cls(raw.mean(axis=0), np.where(varies, deviation, 0.0), transforms)

    @property
    def varies(self) -> Bool[Array, "dx"]:
        """True for each entry whose change is to be learned."""
        return self.deviation > 0

    def encode_all(self, data: Dataset) -> Float[np.ndarray, "n dx"]:
        """Return the targets of all transitions (NumPy)."""
        raw = _subtract_all(data, self.transforms) - self.mean
        return np.where(self.varies, raw / np.where(self.varies, self.deviation, 1.0), 0.0)

    def decode(self, x: Float[Array, "dx"], target: Float[Array, "dx"]) -> Float[Array, "dx"]:
        """Return x' for one state and a target (JAX)."""
        after = x + self.mean + self.deviation * target
        for first in self.transforms.quaternions:
            q = after[first : first + 4]
            after = after.at[first : first + 4].set(q / jnp.sqrt(jnp.sum(q**2) + 1e-300))
        return after


def encode_input(x: Float[Array, "dx"], u: Float[Array, "du"], transforms: StateTransforms) -> Float[Array, "df"]:
    """Return plain entries, sines and cosines, rotation matrices, and the action, before normalisation (JAX)."""
    plain = _find_plain(x.shape[-1], transforms)
    angles = np.array(transforms.angles, int)
    parts = [x[plain], jnp.sin(x[angles]), jnp.cos(x[angles])]
    parts += [_rotation(x[first : first + 4]).reshape(-1) for first in transforms.quaternions]
    return jnp.concatenate([*parts, u])


def list_sources(dx: int, du: int, transforms: StateTransforms) -> Int[np.ndarray, "df"]:
    """Return the entry of z = [x; u] that each encoded input is made of; of a quaternion the first one."""
    plain, angles = _find_plain(dx, transforms), np.array(transforms.angles, int)
    quaternions = np.repeat(np.array(transforms.quaternions, int), 9)
    return np.concatenate([plain, angles, angles, quaternions, np.arange(dx, dx + du)])


def _find_plain(dx: int, transforms: StateTransforms) -> Int[np.ndarray, "_"]:
    """Return the entries of the state that enter as they are."""
    special = {*transforms.angles, *(first + i for first in transforms.quaternions for i in range(4))}
    return np.array([i for i in range(dx) if i not in special], int)


def _rotation(q: Float[Array, "4"]) -> Float[Array, "3 3"]:
    """Return the rotation matrix of a quaternion of any length but zero; R(q) = R(−q)."""
    w, v = q[0], q[1:]
    cross = jnp.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    square = jnp.sum(q**2) + 1e-300
    return jnp.eye(3) + 2.0 * (w * cross + cross @ cross) / square


def _encode_all(states: np.ndarray, actions: np.ndarray, transforms: StateTransforms) -> Array:
    if transforms == StateTransforms():
        return np.concatenate([states, actions], axis=1)
    return jax.vmap(lambda x, u: encode_input(x, u, transforms))(jnp.asarray(states), jnp.asarray(actions))


def _subtract_all(data: Dataset, transforms: StateTransforms) -> Float[np.ndarray, "n dx"]:
    successors = data.successors.copy()
    for first in transforms.quaternions:
        part = slice(first, first + 4)
        sign = np.sign((data.states[:, part] * successors[:, part]).sum(axis=1, keepdims=True))
        successors[:, part] *= np.where(sign == 0, 1.0, sign)
    difference = successors - data.states
    turns = np.array(transforms.angles, int)
    difference[:, turns] = (difference[:, turns] + np.pi) % (2.0 * np.pi) - np.pi
    return difference


def _measure(
    raw: Float[np.ndarray, "n d"], size: Float[np.ndarray, "d"] | None = None
) -> tuple[Float[np.ndarray, "d"], Bool[np.ndarray, "d"]]:
    """Return the deviation of each column, positive, and True for each that varies by more than rounding.

    Args:
        size: of the numbers that were subtracted, whose rounding counts.
    """
    size = np.abs(raw).max(axis=0, initial=0.0) if size is None else size
    deviation = (raw - raw.mean(axis=0)).std(axis=0) if len(raw) else np.zeros(raw.shape[1])
    varies = deviation > _ROUNDING * size
    return np.where(varies, deviation, 1.0), varies
