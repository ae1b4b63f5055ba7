"""Finger spin of the DeepMind Control Suite."""

from __future__ import annotations

from functools import partial

import mujoco
import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv

SPEED = -15.0
"""The velocity of the body, rad/s, up to which it counts as spinning."""


class SuiteFinger(SeededTask):
    """Spin a body on a hinge by striking it with a finger of two links, again and again.

    Registered as `gps/SuiteFinger-v0`. The task `finger spin` of Tassa et al. 2018 ("DeepMind Control Suite"), in the
    plane without gravity: steps of 20 ms, 1,000 of them. State: the angles of the finger's joints and of the body
    (rad), their velocities (rad/s). Actions: the torques in units of 30 and 15 N m. Start: the finger straight down,
    0.4 m beside the body, at rest. Reward: 1 while the body turns with -15 rad/s or faster in that direction, else 0.
    Success: the same in the end.

    Condition key: `seed`; the angles are then drawn uniformly where nothing touches, as in the suite.
    """

    model_name = "suite_finger"
    default_state = ("qpos", "qvel")
    default_frame_skip = 2
    default_max_episode_steps = 1000

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        data = mujoco.MjData(self.model)
        low, high = np.array([*self.model.jnt_range[:2], [-np.pi, np.pi]]).T
        while True:
            data.qpos[:] = rng.uniform(low, high)
            mujoco.mj_forward(self.model, data)
            if not data.ncon:
                return np.array(data.qpos), np.zeros(3)

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return self.at_goal(states).astype(np.float64)

    def at_goal(self, states: Floats) -> Bools:
        return self._qvel[:, 2] <= SPEED


single = partial(SingleEnv.of, SuiteFinger)
