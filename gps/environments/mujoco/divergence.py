"""Find the simulations that diverge, undo their last step, and step them no more."""

from __future__ import annotations

from math import isfinite
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from gps.environments.contract import Bools, Floats
from gps.environments.mujoco.stages import STAGE_NONE

_WARNINGS = slice(mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADCTRL.value + 1)


class Divergence:
    """Which simulations of a batch have diverged.

    A simulation diverges when its numbers leave ±1e10, MuJoCo warns of bad positions, velocities, accelerations or
    controls, or MuJoCo raises an error.

    Args:
        batch: the simulations.
        stage: how far MuJoCo computes after a simulation was set back to its last sound state.

    Attributes:
        diverged: (num_envs,) bool, the simulations that have diverged since their reset.
        alive: the ids of the simulations to step; None for all.
    """

    def __init__(self, batch: Batch, stage: int) -> None:
        model = batch.model
        self.diverged = np.zeros(batch.nsim, dtype=bool)
        self.alive: NDArray[np.int32] | None = None
        self._batch, self._stage = batch, stage
        self._ctrl = batch.bind("ctrl")
        self._physics = batch.state[:, : 1 + model.nq + model.nv + model.na]  # time, qpos, qvel, act
        self._warnings = batch.warning[:, _WARNINGS, 1]
        self._backup = np.empty_like(batch.state)  # the simulations before the step, to undo it

    def clear(self, ids: NDArray[np.int32]) -> None:
        """Step the simulations `ids` again: they have been reset."""
        self.diverged[ids] = False
        self.alive = np.flatnonzero(~self.diverged).astype(np.int32) if self.diverged.any() else None

    def save(self) -> None:
        """Keep the simulations as they are before a step."""
        np.copyto(self._backup, self._batch.state)

    def is_ruled_out(self, states: Floats) -> bool:
        """True if surely no simulation has gone wrong. That is enough after most steps; `freeze` looks closer."""
        numbers = self._batch.state
        within = np.vdot(numbers, numbers) < mujoco.mjMAXVAL**2  # then each is; NaN fails every comparison
        return bool(within and isfinite(states.sum()) and not np.count_nonzero(self._warnings))

    def freeze(self, failed: Bools, states: Floats) -> None:
        """Undo the step of the simulations that `failed`, (num_envs,) bool, or have gone wrong, and stop them.

        Args:
            states: (num_envs, dx) after the step.
        """
        bad = failed | self._warnings.any(axis=1)
        bad |= ~(np.abs(self._physics).max(axis=1) < mujoco.mjMAXVAL)
        bad |= ~(np.abs(states).max(axis=1) < mujoco.mjMAXVAL)
        bad &= ~self.diverged
        if not bad.any():
            return
        self._batch.reset(bad, stage=STAGE_NONE)  # clears the warnings
        before = np.abs(self._backup[:, : self._physics.shape[1]]).max(axis=1)
        sound = bad & (before < mujoco.mjMAXVAL)  # it is not if the caller wrote into `batch` itself
        self._batch.state[sound] = self._backup[sound]
        self._ctrl[bad] = 0.0
        self._batch.forward(bad, stage=self._stage)
        self.diverged |= bad
        self.alive = np.flatnonzero(~self.diverged).astype(np.int32)

    def keep_last(self, now: NDArray[Any], last: NDArray[Any] | None) -> NDArray[Any]:
        """Put the last finite rows, from `last`, into `now` where a simulation has diverged, and return `now`."""
        if self.alive is not None and last is not None:
            now[self.diverged] = last[self.diverged]
        return now
