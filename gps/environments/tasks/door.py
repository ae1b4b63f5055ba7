"""An arm opens a latched door."""

from __future__ import annotations

from functools import partial

from gps.environments.contract import Bools, Floats
from gps.environments.mujoco.conditions import Condition, displace
from gps.environments.mujoco.names import read_numbers
from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.task import Task


class Door(Task):
    """Push the handle of a door down, which frees it, and push it open, with the finger of a torque-controlled arm.

    Registered as `gps/Door-v0`. State: the angles of door, handle and the arm's 4 joints (rad), their velocities
    (rad/s), and the finger's tip relative to its place with the handle held down, and to that place with the door open
    by 0.8 rad (m). Actions: joint torques in units of the motors' limits, 15, 20, 10 and 2 N m. Start: the door closed,
    the finger 0.09 m above the handle. The latch holds until the handle is down by 0.25 rad. Success: the door open by
    0.5 rad or more. Reward: the door's angle in radians, at most 0.5, minus half a radian.

    Condition key: `door = [x, y]`, the offset of door and frame from their usual place, m.
    """

    condition_keys = ("door",)

    model_name = "door"
    default_state = ("qpos", "qvel", "site_position:finger-down", "site_position:finger-open")
    default_frame_skip = 10

    def resolve(self, condition: Condition) -> Condition:
        if "door" not in condition:
            return condition
        return displace(condition, "frame", read_numbers(condition["door"], (2,), "door"))

    def angle(self) -> Floats:
        """The opening angle of each door now, (num_envs,), rad."""
        return self._qpos[:, 0]

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return (self.angle() - 0.5).clip(max=0.0)

    def at_goal(self, states: Floats) -> Bools:
        return self.angle() >= 0.5


single = partial(SingleEnv.of, Door)
