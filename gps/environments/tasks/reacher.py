"""A planar arm of two links reaches for a point."""

from __future__ import annotations

from functools import partial

from gps.environments.contract import Bools, Floats
from gps.environments.mujoco.conditions import Condition, displace
from gps.environments.mujoco.names import read_numbers
from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.task import Task


class Reacher(Task):
    """Bring the fingertip to the target and rest there.

    Registered as `gps/Reacher-v0`. State: joint angles (rad) and velocities (rad/s), the fingertip's position
    relative to the target (m) and its velocity (m/s). Actions: the torques of shoulder and elbow in units of
    0.05 and 0.03 N m. Start: stretched along x, reach 0.24 m. Success: within 0.02 m of the target. Reward:
    minus the distance in metres.

    Condition key: `target = [x, y]`, the position of the target, m; (0.1, 0.1) by default.
    """

    condition_keys = ("target",)

    model_name = "reacher"
    default_state = ("qpos", "qvel", "site_position:fingertip-target", "site_velocity:fingertip")
    default_frame_skip = 5

    def resolve(self, condition: Condition) -> Condition:
        if "target" not in condition:
            return condition
        place = read_numbers(condition["target"], (2,), "target")
        return displace(condition, "target", place - self.model.body("target").pos[:2])

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return -self.distance("fingertip", "target")

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("fingertip", "target") < 0.02


single = partial(SingleEnv.of, Reacher)
