"""Gymnasium's pendulum swings up from hanging."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.task import Task


class PendulumSwingUp(Task):
    """Swing a rod up with a motor too weak to lift it at once.

    Registered as `gps/PendulumSwingUp-v0`. The physics is that of Gymnasium's Pendulum-v1 without the
    velocity limit, in finer steps. State: angle (rad; 0 upright, the start hanging at pi) and velocity
    (rad/s). Action: the torque in units of 2 N m. Success: the angle, modulo a turn, is now within 0.2 rad of
    upright. Reward: that of Pendulum-v1, minus angle² + 0.1 velocity² + 0.001 torque².
    """

    model_name = "pendulum"
    default_state = ("qpos", "qvel")
    default_frame_skip = 2

    def _angle(self) -> Floats:
        """The angle from upright, in [-pi, pi)."""
        return (self._qpos[:, 0] + np.pi) % (2 * np.pi) - np.pi

    def reward(self, states: Floats, actions: Floats) -> Floats:
        torque = 2.0 * actions[:, 0]
        return -(self._angle() ** 2 + 0.1 * self._qvel[:, 0] ** 2 + 0.001 * torque**2)

    def at_goal(self, states: Floats) -> Bools:
        return np.abs(self._angle()) < 0.2


single = partial(SingleEnv.of, PendulumSwingUp)
