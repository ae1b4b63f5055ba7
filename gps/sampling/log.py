"""The log of a sampling: arrays with a row for each step and a column for each episode, filled in while they run."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8
from numpy.typing import DTypeLike

from gps.observations import Pixels, Sight
from gps.records import Abort, Rollouts
from gps.sampling.policy import Observes, StatesAndObservations


class ObservationLog(NamedTuple):
    """The observations: numbers, and pictures where there are some."""

    sight: Sight
    vectors: Num[np.ndarray, "T MN dv"]
    images: UInt8[np.ndarray, "T MN H W C"] | None

    @classmethod
    def empty(cls, T: int, episodes: int, sight: Sight, dtype: DTypeLike) -> "ObservationLog":
        """A log without entries; `dtype` is that of the numbers where there are no pictures."""
        shape, numbers = (T, episodes), len(sight.numbers)
        if sight.image_shape is None:
            return cls(sight, np.zeros((*shape, numbers), dtype), None)
        return cls(sight, np.zeros((*shape, numbers)), np.zeros((*shape, *sight.image_shape), np.uint8))

    def write(self, t: int, group: slice, observations: Num[np.ndarray, "n do"]) -> None:
        """Write the observations of a group of episodes at step t."""
        self.vectors[t, group] = self.sight.vector(observations)
        if self.images is not None:
            self.images[t, group] = self.sight.image(observations)


class Log(NamedTuple):
    """Everything that happens."""

    states: Float[np.ndarray, "T MN dx"]
    wanted: Float[np.ndarray, "T MN du"]  # the actions before the limits
    actions: Float[np.ndarray, "T MN du"]
    rewards: Float[np.ndarray, "T MN"]
    success: Int[np.ndarray, "T MN"]  # 1 for yes, 0 for no, -1 where the environment has no success flag
    mask: Bool[np.ndarray, "T MN"]
    distance: Float[np.ndarray, "MN"]  # to the goal after the last step; NaN where the environment says none
    finished: Bool[np.ndarray, "MN"]  # ended early, yet whole
    aborts: list[tuple[int, int, str]]  # episode, step, reason
    observations: ObservationLog | None  # None where there are none, or none are recorded
    truth: Float[np.ndarray, "T MN dx"] | None  # the states without sensor noise; None where there is none

    @classmethod
    def empty(
        cls, T: int, episodes: int, dx: int, du: int, observations: ObservationLog | None = None, noisy: bool = False
    ) -> "Log":
        """A log without entries; `noisy` if the states may have sensor noise."""
        shape = T, episodes
        return cls(
            states=np.zeros((*shape, dx)),
            wanted=np.zeros((*shape, du)),
            actions=np.zeros((*shape, du)),
            rewards=np.zeros(shape),
            success=np.full(shape, -1, dtype=np.int8),
            mask=np.zeros(shape, dtype=bool),
            distance=np.full(episodes, np.nan),
            finished=np.zeros(episodes, dtype=bool),
            aborts=[],
            observations=observations,
            truth=np.zeros((*shape, dx)) if noisy else None,
        )

    def view_inputs(self, M: int, observes: Observes) -> tuple[np.ndarray, ...]:
        """Live views, (T, M, N, ...), of the input of a policy; `pack_input` packs those of one step."""
        if self.observations is None:
            observed: tuple[np.ndarray, ...] = (self.states,)
        elif self.observations.images is None:
            observed = (self.observations.vectors,)
        else:
            observed = self.observations.images, self.observations.vectors
        parts = {"state": (self.states,), "observation": observed, "both": (self.states, *observed)}[observes]
        return tuple(part.reshape(len(part), M, part.shape[1] // M, *part.shape[2:]) for part in parts)  # may be empty

    def to_rollouts(self, noise: Float[np.ndarray, "M N T du"], clipped: Bool[np.ndarray, "T MN du"]) -> Rollouts:
        """The rollouts, ordered by condition.

        Args:
            noise: the exploration noise within the actions.
            clipped: the entries of the actions that the limits changed.
        """
        M, N, _, du = noise.shape
        mask = self.mask

        def by_condition(array: np.ndarray) -> np.ndarray:
            array[~mask] = 0  # in place: a copy of pictures would take much memory
            return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(M, N, *array.shape[:1], *array.shape[2:])

        saturated = by_condition(clipped).sum(axis=(1, 2, 3)) / np.maximum(by_condition(mask).sum(axis=(1, 2)) * du, 1)
        observed = self.observations
        images = None if observed is None else observed.images
        truth = None if self.truth is None or np.array_equal(self.truth, self.states) else self.truth
        return Rollouts(
            states=by_condition(self.states),
            actions=by_condition(self.actions),
            noise=noise,
            rewards=by_condition(self.rewards),
            success=by_condition(self.success > 0).astype(bool) if (self.success >= 0).any() else None,
            mask=by_condition(mask).astype(bool),
            saturated=saturated,
            aborts=tuple(Abort(i // N, i % N, t, reason) for i, t, reason in self.aborts),
            observations=None if observed is None else by_condition(observed.vectors),
            images=None if images is None else by_condition(images),
            distance=None if np.isnan(self.distance).all() else self.distance.reshape(M, N),
            truth=None if truth is None else by_condition(truth),
            finished=self.finished.reshape(M, N) if self.finished.any() else None,
        )


def pack_input(parts: Sequence[np.ndarray], observes: Observes) -> np.ndarray | Pixels | StatesAndObservations:
    """The input of a policy at one step, from the parts of `Log.view_inputs`."""
    if observes == "both":
        return StatesAndObservations(parts[0], _pack_observations(parts[1:]))
    return _pack_observations(parts)


def _pack_observations(parts: Sequence[np.ndarray]) -> np.ndarray | Pixels:
    return Pixels(*parts) if len(parts) > 1 else parts[0]
