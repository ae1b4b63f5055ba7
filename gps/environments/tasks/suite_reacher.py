"""The reacher of the DeepMind Control Suite, with a large target or a small one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.mujoco.conditions import Condition, displace
from gps.environments.mujoco.names import read_numbers
from gps.environments.tasks import models
from gps.environments.tasks.seeded import SeededTask, read_generator

FINGER = 0.01
"""The radius of the fingertip, m."""


class SuiteReacher(SeededTask):
    """Bring the fingertip of a planar arm to a target and keep it there; a subclass says how large the target is.

    The tasks `reacher easy` and `reacher hard` of Tassa et al. 2018 ("DeepMind Control Suite"): two links of 0.12 m,
    steps of 20 ms, 1,000 of them. State: joint angles (rad), velocities (rad/s), the fingertip's position relative to
    the target (m, x and y). Actions: the torques in units of 0.05 N m. Start: stretched along x at rest, the target at
    (0.1, 0.1). Reward: 1 while fingertip and target touch, else 0. Success: the same in the end.

    Condition keys: `target = [x, y]`, m; `seed`: the joints are then drawn uniformly, and the target with a distance of
    0.05 to 0.2 m from the shoulder in any direction, as in the suite.
    """

    target: ClassVar[float]
    """The radius of the target, m."""

    condition_keys = ("seed", "target")

    model_name = "suite_reacher"
    default_state = ("qpos", "qvel", "site_position:finger-target[xy]")
    default_frame_skip = 1
    default_max_episode_steps = 1000

    @classmethod
    def read_model(cls) -> str:
        return models.read(cls.model_name).replace('type="sphere" size="0.05"', f'type="sphere" size="{cls.target}"')

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        return rng.uniform([-np.pi, *self.model.jnt_range[1, :1]], [np.pi, *self.model.jnt_range[1, 1:]]), np.zeros(2)

    def resolve(self, condition: Condition) -> Condition:
        place = None
        if (rng := read_generator(condition, stream=1)) is not None:
            angle, radius = rng.uniform([0.0, 0.05], [2.0 * np.pi, 0.2])
            place = radius * np.array([np.sin(angle), np.cos(angle)])
        if "target" in condition:
            place = read_numbers(condition["target"], (2,), "target")
        if place is None:
            return condition
        return displace(condition, "target", place - self.model.body("target").pos[:2])

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return self.at_goal(states).astype(np.float64)

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("finger", "target") <= self.target + FINGER
