"""RealAIGym's double pendulum: swing it up and balance it with one motor, at the elbow or at the shoulder."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks import models
from gps.environments.tasks.task import Task

LINE = 0.45
"""The height of the tip above the shoulder, m, from which on the pendulum counts as swung up: 0.9 of its length."""

TORQUE = 6.0
"""The torque of action 1, N m."""


class DoublePendulum(Task):
    """A double pendulum that hangs, with one motor; a subclass says at which joint.

    The system of RealAIGym's simulation leaderboards, design C.1, model 1.0 (Wiebe et al. 2024, "Open source
    dual-purpose acrobot and pendubot platform"): links of 0.523 and 0.626 kg and 0.2 and 0.3 m, centres of mass at 0.2
    and 0.256 m, inertias about the joints of 0.0319 and 0.0509 kg m², no friction, physics of 2 ms by Runge and Kutta.
    State: the angles of shoulder and elbow (rad; 0 hanging, the goal at π and 0; the elbow's is relative) and their
    velocities (rad/s). Action: the motor's torque in units of 6 N m. Start: hanging at rest. Control period: 20 ms;
    `frame_skip = 5` makes 10 ms. Success: the tip has been more than 0.45 m above the shoulder for the last second.
    Reward: minus the distance of the tip from its upright position in metres. The leaderboards' own score is
    `gps.environments.tasks.real_ai_score.score_v2`.
    """

    driven: ClassVar[str]
    """The joint with the motor, "shoulder" or "elbow"."""

    hold = 1.0

    model_name = "double_pendulum"
    default_state = ("qpos", "qvel")
    default_frame_skip = 10
    default_max_episode_steps = 500

    @classmethod
    def read_model(cls) -> str:
        return models.read(cls.model_name).replace('joint="elbow"', f'joint="{cls.driven}"')

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return -self.distance("tip", "target")

    def at_goal(self, states: Floats) -> Bools:
        return self.site("tip")[:, 2] > LINE


def play_finely(
    task: type[DoublePendulum], actions: Floats, frame_skip: int | None = None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Play a sequence of actions from hanging and record it at every physics step, as `score_v2` needs it.

    The physics is deterministic: the states at the control steps are those of the episode in which the actions were
    recorded, to the last bit, if it started hanging at rest.

    Args:
        task: `Acrobot` or `Pendubot`.
        actions: (T, 1), in units of the limit, one for each control period.
        frame_skip: K / T, physics steps of a control period; None for the default of 10.

    Returns:
        Times (K + 1,) in s, angles (K + 1, 2) in rad, velocities (K + 1, 2) in rad/s and the joints' torques
        (K + 1, 2) in N m; the last torque is that of the last step.
    """
    env = task(1, frame_skip=1, max_episode_steps=None, threads=1)
    applied = np.repeat(np.clip(actions, -1.0, 1.0), frame_skip or task.default_frame_skip, axis=0)
    states = [env.reset()[0][0]]
    states += [env.step(action[None])[0][0] for action in applied]
    torques = np.zeros((len(states), 2))
    torques[:, env.model.joint(task.driven).dofadr[0]] = TORQUE * np.append(applied[:, 0], applied[-1:, 0])
    env.close()
    recorded = np.asarray(states, np.float64)
    times = np.asarray(env.dt * np.arange(len(states)), np.float64)
    return times, recorded[:, :2], recorded[:, 2:], torques
