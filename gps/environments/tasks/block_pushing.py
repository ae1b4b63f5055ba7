"""An arm pushes a block to a goal with its open gripper."""

from __future__ import annotations

from functools import partial

from gps.environments.contract import Bools, Floats
from gps.environments.mujoco.conditions import Condition, displace, place_joints
from gps.environments.mujoco.names import read_numbers
from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.task import Task


class BlockPushing(Task):
    """Push the block over the table to the goal, 0.18 m away, with the open gripper of a torque-controlled arm.

    Registered as `gps/BlockPushing-v0`. State: the positions of the block (m, m, rad) and of the arm's 3 joints (rad),
    their velocities; the gripper's middle relative to the block's, and a point 0.1 m ahead of the gripper relative
    to a point 0.1 m ahead of the block (m); the block relative to the goal (m). All three are zero when the gripper
    holds the block straight at the goal. Actions: joint torques in units of the motors' limits, 10, 5 and 1 N m. Start:
    the gripper open towards the block, 0.08 m away. Success: the block's middle within 0.03 m of the goal. Reward:
    minus that distance in metres.

    Condition keys: `block = [x, y]` and `goal = [x, y]`, the offset of each from its usual place, m.
    """

    condition_keys = ("block", "goal")

    model_name = "block_pushing"
    default_state = (
        "qpos", "qvel", "site_position:grip-block", "site_position:grip_ahead-block_ahead", "site_position:block-goal",
    )  # fmt: skip
    default_frame_skip = 10

    def resolve(self, condition: Condition) -> Condition:
        if "goal" in condition:
            condition = displace(condition, "goal", read_numbers(condition["goal"], (2,), "goal"))
        if "block" in condition:
            x, y = read_numbers(condition["block"], (2,), "block")
            condition = place_joints(condition, {"block_x": x, "block_y": y})
        return condition

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return -self.distance("block", "goal")

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("block", "goal") < 0.03


single = partial(SingleEnv.of, BlockPushing)
