"""A 7-joint arm inserts a peg into a hole."""

from __future__ import annotations

from functools import partial

from gps.environments.contract import Bools, Floats
from gps.environments.mujoco.conditions import Condition, displace
from gps.environments.mujoco.names import read_numbers
from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.task import Task


class PegInsertion(Task):
    """Insert the peg that a torque-controlled arm holds into a hole, 4 mm wider on each side.

    Registered as `gps/PegInsertion-v0`. State: 7 joint angles (rad) and velocities (rad/s); the peg's tip
    relative to the hole's bottom, and a point 0.12 m up the peg relative to the point 0.12 m up the hole's
    axis (m), so that both are zero when the peg is in and upright.
    Actions: joint torques in units of the motors' limits, 2 to 30 N m. Start: the tip 0.2 m above the mouth
    of the hole's central place. Success: the tip within 0.06 m of the bottom, half way down the hole. Reward:
    minus the tip's distance from the bottom in metres.

    Condition key: `slot = [x, y]`, the offset of the hole from its central place, m; ±0.08 is well within
    reach.
    """

    condition_keys = ("slot",)

    model_name = "peg_insertion"
    default_state = ("qpos", "qvel", "site_position:peg_tip-slot_bottom", "site_position:peg_base-slot_axis")
    default_frame_skip = 10

    def resolve(self, condition: Condition) -> Condition:
        if "slot" not in condition:
            return condition
        return displace(condition, "slot", read_numbers(condition["slot"], (2,), "slot"))

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return -self.distance("peg_tip", "slot_bottom")

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("peg_tip", "slot_bottom") < 0.06


single = partial(SingleEnv.of, PegInsertion)
