"""Pendulum swing-up of the DeepMind Control Suite."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv

UPRIGHT = float(np.cos(np.radians(8.0)))
"""The cosine of the largest angle from upright, 8°, that is rewarded."""


class SuitePendulum(SeededTask):
    """Swing a pendulum up with a motor that has a fifth of the torque that holds it level, rewarded upright only.

    Registered as `gps/SuitePendulum-v0`. The task `pendulum swingup` of Tassa et al. 2018 ("DeepMind Control Suite"):
    1 kg at 0.5 m, damping 0.1, steps of 20 ms, 1,000 of them. State: the angle (rad; 0 upright) and its velocity
    (rad/s). Action: the torque in N m, ±1. Start: hanging at rest. Reward: 1 within 8° of upright, else 0. Success:
    within 8° for the last second.

    Condition key: `seed`; the angle is then drawn uniformly, as in the suite, at rest.
    """

    hold = 1.0

    model_name = "suite_pendulum"
    default_state = ("qpos", "qvel")
    default_frame_skip = 1
    default_max_episode_steps = 1000

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        return rng.uniform(-np.pi, np.pi, 1), np.zeros(1)

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return self.at_goal(states).astype(np.float64)

    def at_goal(self, states: Floats) -> Bools:
        return np.cos(self._qpos[:, 0]) >= UPRIGHT


single = partial(SingleEnv.of, SuitePendulum)
