"""The episodes of the last iterations: where imagined episodes begin."""

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from gps.records import Rollouts


@dataclasses.dataclass(frozen=True)
class Visited:
    """The states and actions of E episodes of at most T steps; the rows after an episode's end are zero."""

    states: Float[np.ndarray, "E T dx"]
    actions: Float[np.ndarray, "E T du"]
    lengths: Int[np.ndarray, "E"]

    @classmethod
    def of(cls, rollouts: Rollouts) -> Self:
        """The episodes of an iteration, up to the first step that is masked or not finite."""
        states, actions = (a.reshape(-1, *a.shape[2:]) for a in (rollouts.states, rollouts.actions))
        there = rollouts.mask.reshape(states.shape[:2]) & np.isfinite(states).all(axis=2)
        lengths = np.logical_and.accumulate(there, axis=1).sum(axis=1)
        used = (np.arange(states.shape[1]) < lengths[:, None])[..., None]
        some = lengths > 0
        known = used & np.isfinite(actions)
        return cls(np.where(used, states, 0.0)[some], np.where(known, actions, 0.0)[some], lengths[some])

    def add(self, new: Self, most: int) -> Self:
        """The last `most` of these episodes and the new ones."""
        pairs = (self.states, new.states), (self.actions, new.actions), (self.lengths, new.lengths)
        return type(self)(*(np.concatenate(pair)[-most:] for pair in pairs))

    @property
    def all_states(self) -> Float[np.ndarray, "n dx"]:
        """All states, without the rows after an end."""
        return self.states[np.arange(self.states.shape[1]) < self.lengths[:, None]]

    @property
    def all_steps(self) -> Int[np.ndarray, "n"]:
        """The step t of each of `all_states`."""
        return np.concatenate([np.zeros(0, int), *map(np.arange, self.lengths)])

    def pad(self) -> Self:
        """The same with empty episodes at the end, a power of two in all, so that few shapes are compiled."""
        more = (1 << (len(self.lengths) - 1).bit_length()) - len(self.lengths)
        arrays = self.states, self.actions, self.lengths
        return type(self)(*(np.concatenate([a, np.zeros((more, *a.shape[1:]), a.dtype)]) for a in arrays))

    def draw(
        self, shape: tuple[int, ...], share: float, rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, "*shape"], Int[np.ndarray, "*shape"]]:
        """The episode and the step of some states: along the last axis a `share` of them any that was visited.

        The others are starts. Each visited state is equally likely, and so is the start of each episode.
        """
        of_state = np.repeat(np.arange(len(self.lengths)), self.lengths)
        step_of = self.all_steps
        any_state, start_of = rng.integers(len(of_state), size=shape), rng.integers(len(self.lengths), size=shape)
        anywhere = np.arange(shape[-1]) < round(share * shape[-1])
        return np.where(anywhere, of_state[any_state], start_of), np.where(anywhere, step_of[any_state], 0)
