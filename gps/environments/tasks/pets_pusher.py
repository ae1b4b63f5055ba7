"""The pusher of PETS: a 7-joint arm pushes a cylinder to a place on the table."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv


class PetsPusher(SeededTask):
    """Push a cylinder to a place on the table with the fork of a 7-joint arm, as in PETS.

    Registered as `gps/PetsPusher-v0`. The system of Chua et al. 2018 ("Deep reinforcement learning in a handful of
    trials"), from the numbers of their program; steps of 40 ms, 150 of them. State: the 7 angles (rad) and the
    cylinder's offset along y and x (m), their velocities, and the position of the fork's tips' middle (m). (Theirs has
    the cylinder's position and not its velocity.) Actions: joint torques in units of 2 N m. Start: the arm stretched
    along x, the cylinder off the goal by -0.25 m along y and 0.15 m along x. Reward: -1.25 ‖cylinder - goal‖₁ - 0.5
    ‖cylinder - tip‖₁ - 0.1 ‖u‖², with distances in m and torques u in N m. Theirs counts the state before the step,
    this one the state after it. Success: the cylinder is within 0.05 m of the goal on the table.

    Condition key: `seed`; each coordinate of the cylinder is then drawn with a standard deviation of 0.025 m, each of
    the arm's velocities within ±0.005 rad/s.
    """

    model_name = "pets_pusher"
    default_state = ("qpos", "qvel", "site_position:tip")
    default_frame_skip = 4
    default_max_episode_steps = 150

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        qpos = np.concatenate([np.zeros(7), [-0.25, 0.15] + rng.normal(0.0, 0.025, 2)])
        return qpos, np.concatenate([rng.uniform(-0.005, 0.005, 7), np.zeros(2)])

    def reward(self, states: Floats, actions: Floats) -> Floats:
        place = self.site("object")
        away, far = np.abs(place - self.site("goal")).sum(axis=1), np.abs(place - self.site("tip")).sum(axis=1)
        return -1.25 * away - 0.5 * far - 0.1 * ((2.0 * actions) ** 2).sum(axis=1)

    def at_goal(self, states: Floats) -> Bools:
        return np.linalg.norm(self.site("object")[:, :2] - self.site("goal")[:, :2], axis=1) < 0.05


single = partial(SingleEnv.of, PetsPusher)
