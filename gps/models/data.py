"""The data of a global model: all transitions so far, in one pool."""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

from gps.dynamics.prior import Transitions

_LARGEST = 1e100


class Dataset(NamedTuple):
    """n transitions, and the number of the episode that each belongs to."""

    states: Float[np.ndarray, "n dx"]
    actions: Float[np.ndarray, "n du"]
    successors: Float[np.ndarray, "n dx"]
    episodes: Int[np.ndarray, "n"]

    @classmethod
    def empty(cls, dx: int, du: int) -> Self:
        return cls(np.zeros((0, dx)), np.zeros((0, du)), np.zeros((0, dx)), np.zeros(0, int))

    @classmethod
    def of(cls, transitions: Transitions, dx: int) -> Self:
        """Pool the transitions that are finite and not masked; the episodes are numbered from 0."""
        points, mask = transitions
        M, N, steps, d = points.shape
        known = (mask & np.isfinite(points).all(axis=-1)).reshape(-1)
        episodes = np.repeat(np.arange(M * N), steps)[known]
        flat = points.reshape(-1, d)[known]
        return cls(flat[:, :dx], flat[:, dx : d - dx], flat[:, d - dx :], episodes)

    @property
    def size(self) -> int:
        return len(self.states)

    @property
    def bounded(self) -> bool:
        """True if no number is so large that its square overflows, as those of rollouts that exploded."""
        arrays = self.states, self.actions, self.successors
        return all(np.abs(array).max(initial=0.0) < _LARGEST for array in arrays)

    @property
    def inputs(self) -> Float[np.ndarray, "n dz"]:
        """z = [x; u]."""
        return np.concatenate([self.states, self.actions], axis=1)

    def add(self, other: "Dataset") -> Self:
        """The pool with the transitions of another one, whose episodes count on from its own."""
        first = int(self.episodes.max()) + 1 if self.size else 0
        moved = other._replace(episodes=other.episodes + first)
        return type(self)(*(np.concatenate(pair) for pair in zip(self, moved, strict=True)))

    def take(self, rows: Int[np.ndarray, "k"]) -> Self:
        """The transitions of some rows."""
        return type(self)(*(array[rows] for array in self))

    def thin(self, most: int) -> Self:
        """At most `most` transitions, evenly spread, as neighbours in time are similar."""
        return self if self.size <= most else self.take(thin_rows(self.size, most))


def thin_rows(size: int, most: int) -> Int[np.ndarray, "k"]:
    """Return the numbers of at most `most` of `size` rows, evenly spread."""
    return np.arange(size) if size <= most else np.linspace(0, size - 1, most).round().astype(int)
