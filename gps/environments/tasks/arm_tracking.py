"""A six-joint arm follows a circle by torques."""

from __future__ import annotations

from functools import partial
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from gps.environments.contract import Bools, Floats
from gps.environments.tasks import models
from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.task import Task

RADIUS = 0.12
"""Of the circle, m."""

DURATION = 4.0
"""The time of one turn, s."""


class ArmTracking(Task):
    """Follow a circle with the tool of a torque-controlled arm.

    Registered as `gps/ArmTracking-v0`. An arm with the lengths and masses of a UR5, after the task of Amadio et al.
    2022 ("Model-based policy search using Monte Carlo gradient estimation with real systems application"); the model,
    with less friction than theirs, and the circle are our own. Steps of 20 ms, 200 of them. State: 6 joint angles (rad)
    and velocities (rad/s). Actions: joint torques in units of the motors' limits, 150 and 28 N m; gravity is not
    compensated. Start: at rest with the tool at the target. The target goes once around a vertical circle of 0.12 m in
    front of the arm in 4 s, from rest to rest. Success: the tool within 0.01 m of the moving target for the last 3 s.
    Reward: minus that distance in metres.

    A part of its own, for the observation: `reference`, the joints' angles and velocities with which the tool is at the
    target now, as `find_reference` computes them. `site_position:tool-target` is the tool's error (m).
    """

    hold = 3.0

    model_name = "arm_tracking"
    default_state = ("qpos", "qvel")
    default_frame_skip = 10
    default_max_episode_steps = 200

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return -self.distance("tool", "target")

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("tool", "target") < 0.01

    def _bind(self) -> dict[str, NDArray[Any]]:
        self._target, self._time = self.batch.bind("mocap_pos")[:, 0], self.batch.bind("time")
        self._joints = find_reference(round(DURATION / self.dt), self.dt)
        self._reference = np.tile(self._joints[0], (self.num_envs, 1))
        self.references = {"reference": self._joints}
        return {"reference": self._reference}

    def _record_start(self, ids: NDArray[np.int32]) -> None:
        self._reference[ids] = self._joints[0]

    def _advance(self, actions: NDArray[Any], failed: Bools) -> None:
        for i, time in enumerate(self._time.reshape(-1)):  # the target's place depends on MuJoCo's own state alone
            self._target[i] += find_offset(time + self.dt)[0] - find_offset(time)[0]
            self._reference[i] = self._joints[min(round(time / self.dt) + 1, len(self._joints) - 1)]
        super()._advance(actions, failed)


def find_offset(time: float) -> tuple[Floats, Floats]:
    """The target's offset from its start, (3,) m, and its velocity, (3,) m/s, at a time in seconds.

    The angle on the circle is 2πs - sin 2πs of the share s of the time, so that the target starts and stops smoothly.
    """
    turn = 2 * np.pi * min(time / DURATION, 1.0)
    angle, rate = turn - np.sin(turn), 2 * np.pi / DURATION * (1 - np.cos(turn))
    offset = RADIUS * np.array([0.0, np.sin(angle), 1 - np.cos(angle)])
    return offset, RADIUS * rate * np.array([0.0, np.cos(angle), np.sin(angle)])


def find_reference(steps: int = 200, dt: float = 0.02) -> Floats:
    """The joints' angles (rad) and velocities (rad/s) that keep the tool at the target, (steps + 1, 12).

    The tool keeps the direction of the start. Newton's method from the step before solves for the angles.
    """
    model = mujoco.MjModel.from_xml_string(models.read(ArmTracking.model_name))
    data, tool = mujoco.MjData(model), model.site("tool").id
    mujoco.mj_resetDataKeyframe(model, data, model.key("start").id)
    mujoco.mj_forward(model, data)
    start, turn = data.site_xpos[tool].copy(), data.site_xmat[tool].reshape(3, 3).copy()
    jacobian, result = np.zeros((6, model.nv)), np.zeros((steps + 1, 2 * model.nv))
    for i in range(steps + 1):
        offset, velocity = find_offset(i * dt)
        for _ in range(20):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], tool)
            away = start + offset - data.site_xpos[tool]
            twist = turn @ data.site_xmat[tool].reshape(3, 3).T  # the rotation that is missing, small
            missing = 0.5 * np.array([twist[2, 1] - twist[1, 2], twist[0, 2] - twist[2, 0], twist[1, 0] - twist[0, 1]])
            change = np.linalg.solve(jacobian, np.concatenate([away, missing]))
            if np.abs(change).max() < 1e-12:
                break
            data.qpos += change
        result[i] = np.concatenate([data.qpos, np.linalg.solve(jacobian, np.concatenate([velocity, np.zeros(3)]))])
    return result


single = partial(SingleEnv.of, ArmTracking)
