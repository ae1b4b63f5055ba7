"""The data of a global model: all transitions so far, in one pool."""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.dynamics.prior import Transitions

_LARGEST = 1e100

_ABSURD, _ABOVE_OWN, _ABOVE_ALL = 1e5, 1e4, 1e3
"""A number is absurd if it is larger than 1e5, than 1e4 times the upper quartile of its entry, and than 1e3 times the
largest upper quartile of all entries. So a system may be large throughout, or move far from a rest.
"""


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


class PooledTransitions(NamedTuple):
    """All transitions so far, the new ones among them, and a sentence about those that were left out; often empty."""

    data: Dataset
    new: Dataset
    message: str


def pool_transitions(data: Dataset | None, new: Dataset) -> PooledTransitions:
    """Add new transitions to those so far, without absurd ones: a single 1e8 would set the units of all the others."""
    together = new if data is None else data.add(new)
    if not new.size:
        return PooledTransitions(together, new, "")
    x = np.concatenate([together.states, together.successors])
    absurd = _find_absurd([x, together.actions], [(new.states, new.successors), (new.actions,)])
    count = int(absurd.sum())
    if not count:
        return PooledTransitions(together, new, "")
    largest = max(float(np.abs(array[absurd]).max(initial=0.0)) for array in new[:3])
    kept = new.take(np.flatnonzero(~absurd))
    what = "transition was" if count == 1 else "transitions were"
    message = f"{count} {what} left out: a number as large as {largest:.0e} is not of the scale of the others."
    return PooledTransitions(kept if data is None else data.add(kept), kept, message)


def _find_absurd(
    known: list[Float[np.ndarray, "n d"]], new: list[tuple[Float[np.ndarray, "k d"], ...]]
) -> Bool[np.ndarray, "k"]:
    """Return True for each new transition with an absurd number, as the known states and actions tell."""
    usual = [np.quantile(np.abs(array), 0.75, axis=0) for array in known]
    largest = max(float(size.max(initial=0.0)) for size in usual)
    limits = [np.maximum(max(_ABSURD, _ABOVE_ALL * largest), _ABOVE_OWN * size) for size in usual]
    found = [(np.abs(array) > limit).any(axis=1) for arrays, limit in zip(new, limits, strict=True) for array in arrays]
    return np.logical_or.reduce(found)
