"""Recorded transitions, cut into windows of a few steps."""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.models.data import Dataset


class Windows(NamedTuple):
    """W windows of at most H successive transitions each.

    Args:
        states: the recorded state before each step; zero where the window is shorter.
        actions: of each step.
        successors: the recorded state after each step.
        mask: True for each step that the window has; the first always.
        follows: True where the window before it ends in the state in which this one begins.
        conditions: the number of the condition of each.
    """

    states: Float[np.ndarray, "W H dx"]
    actions: Float[np.ndarray, "W H du"]
    successors: Float[np.ndarray, "W H dx"]
    mask: Bool[np.ndarray, "W H"]
    follows: Bool[np.ndarray, "W"]
    conditions: Int[np.ndarray, "W"]

    @classmethod
    def cut(cls, data: Dataset, length: int, conditions: Int[np.ndarray, "n"] | None = None) -> Self:
        """Cut the data into windows of `length` steps. Transitions that are not finite are left out.

        Args:
            conditions: the number of the condition of each transition, the same for all of an episode; None for the
                first.
        """
        finite = np.flatnonzero(np.isfinite(np.concatenate(data[:3], axis=1)).all(axis=1))
        data, where = data.take(finite), (np.zeros(data.size, int) if conditions is None else conditions)[finite]
        rows, follows = _lay_out(data, length)
        mask = rows >= 0
        arrays = [np.where(mask[..., None], array[rows], 0.0) for array in data[:3]]
        return cls(arrays[0], arrays[1], arrays[2], mask, follows, where[rows[:, 0]])

    @property
    def size(self) -> int:
        return len(self.mask)

    def take(self, chosen: Bool[np.ndarray, "W"]) -> Self:
        """The chosen windows. One that followed a window which is left out follows none."""
        before = np.concatenate([[False], chosen[:-1]])
        arrays = [array[chosen] for array in (*self[:4], self.follows & before, self.conditions)]
        return type(self)(*arrays)


def _lay_out(data: Dataset, length: int) -> tuple[Int[np.ndarray, "W H"], Bool[np.ndarray, "W"]]:
    """Return the transition of each step of each window, -1 for none, and whether a window follows the one before."""
    if not data.size:
        return np.zeros((0, length), int), np.zeros(0, bool)
    same = data.episodes[1:] == data.episodes[:-1]
    joined = same & (data.successors[:-1] == data.states[1:]).all(axis=1)
    starts = np.flatnonzero(np.concatenate([[True], ~joined]))
    ends = np.append(starts[1:], data.size)
    rows, follows = [], []
    for start, end in zip(starts, ends, strict=True):
        whole = np.full(-(-(end - start) // length) * length, -1)
        whole[: end - start] = np.arange(start, end)
        rows.append(whole.reshape(-1, length))
        follows.append(np.arange(len(rows[-1])) > 0)
    return np.concatenate(rows), np.concatenate(follows)
