"""A puck moves around a post to a goal."""

from __future__ import annotations

from functools import partial

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.task import Task


class PointMass(Task):
    """Push a puck of 1 kg to the goal, 2 m away, past the post that stands between.

    Registered as `gps/PointMass-v0`. State: position (m) and velocity (m/s) in the plane. Actions: the force
    along x and y in units of 2 N. Start: (-1, 0) at rest; goal: (1, 0). Success: within 0.1 m of the goal.
    Reward: minus the distance in metres. A condition may set `qpos`, or move the post: `body_offset = {post =
    [0, 0.1, 0]}`.
    """

    model_name = "point_mass"
    default_state = ("qpos", "qvel")
    default_frame_skip = 10

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return -self.distance("mass", "goal")

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("mass", "goal") < 0.1


single = partial(SingleEnv.of, PointMass)
