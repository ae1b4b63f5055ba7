"""The 3-D reacher of PETS: a 7-joint arm brings its gripper to a point in space."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.mujoco.conditions import Condition, displace
from gps.environments.mujoco.names import read_numbers
from gps.environments.tasks.seeded import SeededTask, read_generator
from gps.environments.tasks.single import SingleEnv

_MIDDLE = (0.0, 0.25, 0.0)


class PetsReacher(SeededTask):
    """Bring the gripper of a 7-joint arm to a point in space, as in PETS.

    Registered as `gps/PetsReacher-v0`. The system of Chua et al. 2018 ("Deep reinforcement learning in a handful of
    trials"), from the numbers of their program; steps of 20 ms, 150 of them. State: the 7 angles (rad) and velocities
    (rad/s), and the gripper's position relative to the target (m). (Theirs has the target's position instead: 17
    numbers, as here.) Actions: joint torques in units of 20 N m. Start: the arm stretched along x at rest. Reward: -d²
    - 0.01 ‖u‖², with the distance d in m and the torques u in N m. Success: within 0.05 m of the target.

    Condition keys: `target = [x, y, z]`, m, [0, 0.25, 0] by default; `seed`: each coordinate of the target is then
    drawn about that place with a standard deviation of 0.1 m. The start of the arm is always the same.
    """

    condition_keys = ("seed", "target")

    model_name = "pets_reacher"
    default_state = ("qpos", "qvel", "site_position:grip-target")
    default_frame_skip = 2
    default_max_episode_steps = 150

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        return np.zeros(7), np.zeros(7)

    def resolve(self, condition: Condition) -> Condition:
        offset = np.zeros(3)
        if (rng := read_generator(condition)) is not None:
            offset = rng.normal(0.0, 0.1, 3)
        if "target" in condition:
            offset = read_numbers(condition["target"], (3,), "target") - _MIDDLE
        return displace(condition, "target", offset) if offset.any() else condition

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return -(self.distance("grip", "target") ** 2) - 0.01 * ((20.0 * actions) ** 2).sum(axis=1)

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("grip", "target") < 0.05


single = partial(SingleEnv.of, PetsReacher)
