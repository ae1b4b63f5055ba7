"""A puck that must get around a post."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gps.environments import models
from gps.environments.mujoco import Bools, Floats, MujocoEnv
from gps.environments.single import SingleEnv


class PointMass(MujocoEnv):
    """Push a puck of 1 kg to the goal, 2 m away, past the post that stands between.

    Registered as `gps/PointMass-v0`. State: position (m) and velocity (m/s) in the plane. Actions: the force
    along x and y in units of 2 N. Start: (-1, 0) at rest; goal: (1, 0). Success: within 0.1 m of the goal.
    Reward: minus the distance in metres. A condition may set `qpos`, or move the post: `body_offset = {post =
    [0, 0.1, 0]}`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        state: Sequence[str] = ("qpos", "qvel"),
        threads: int | None = None,
        max_episode_steps: int | None = 100,
    ) -> None:
        super().__init__(
            num_envs,
            mjcf=models.read("point_mass"),
            state=state,
            frame_skip=10,
            threads=threads,
            max_episode_steps=max_episode_steps,
        )

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return -self.distance("mass", "goal")

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("mass", "goal") < 0.1


single = partial(SingleEnv.of, PointMass)
