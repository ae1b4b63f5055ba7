"""Small robots in every kind of drive, as MJCF."""

from pathlib import Path

import numpy as np

from gps.environments.mujoco import MujocoEnv
from gps.linear_gaussian.types import Controller
from gps.policies.played import LocalControllers
from gps.sampling import collect
from helpers.experiments import write

ARM = """
<mujoco>
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast">{option}</option>
  <worldbody>
    <body>
      <joint name="a" axis="0 1 0" range="-3 3" limited="true" damping="0.3" armature="0.02" {a}/>
      <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.03" mass="1"/>
      <body pos="0.3 0 0">
        <joint name="b" axis="0 1 0" range="-2.5 2.5" limited="true" damping="0.3" armature="0.02" {b}/>
        <geom type="capsule" fromto="0 0 0 0.25 0 0" size="0.03" mass="0.6"/>
        <site name="tool" pos="0.25 0 0"/>
      </body>
    </body>
    <site name="goal" pos="0.3 0 0.35"/>
  </worldbody>
  {extra}
  <actuator>{drive}</actuator>
</mujoco>
"""
"""A two-joint arm in a vertical plane."""

POSE = (-0.6, 1.2)

DRIVES = {
    "motor": '<motor joint="a" gear="10" ctrllimited="true" ctrlrange="-1 1"/>'
             '<motor joint="b" gear="4" ctrllimited="true" ctrlrange="-1 1"/>',
    "millimotor": '<motor joint="a" gear="0.001" ctrllimited="true" ctrlrange="-10000 10000"/>'
                  '<motor joint="b" gear="0.001" ctrllimited="true" ctrlrange="-4000 4000"/>',
    "position": '<position joint="a" kp="40" kv="4" inheritrange="1"/><position joint="b" kp="20" kv="2" '
                'inheritrange="1"/>',
    "velocity": '<velocity joint="a" kv="20" ctrllimited="true" ctrlrange="-2 2"/>'
                '<velocity joint="b" kv="10" ctrllimited="true" ctrlrange="-2 2"/>',
}  # fmt: skip


def make_arm(drive: str, a: str = "", b: str = "", extra: str = "", option: str = "") -> str:
    """The arm with this drive, one of `DRIVES` or MJCF; `a` and `b` are more attributes of its joints."""
    return ARM.format(drive=DRIVES.get(drive, drive), a=a, b=b, extra=extra, option=option)


def make_environment(folder: Path, mjcf: str, num_envs: int = 1, **options) -> MujocoEnv:
    """The environment of a model; `options` are its own."""
    (folder / "robot.xml").write_text(mjcf)
    return MujocoEnv(num_envs, mjcf=str(folder / "robot.xml"), **options)


def play(environment, controllers: Controller, conditions, noise=None) -> np.ndarray:
    """The states of an episode of each condition, (M, T, dx), without noise where none is given."""
    M, T, du = controllers.feedforward.shape
    noise = np.zeros((M, 1, T, du)) if noise is None else noise
    return collect(environment, LocalControllers(controllers), conditions, noise, 0, observe=False).states[:, 0]


POLE = """
<mujoco>
  <option timestep="0.02" integrator="RK4"/>
  <worldbody>
    <body name="cart">
      <joint name="slider" type="slide" axis="1 0 0" range="-1 1" limited="true" damping="1"/>
      <geom type="capsule" size="0.05 0.1" euler="0 90 0" mass="10"/>
      <body name="pole">
        <joint name="hinge" type="hinge" axis="0 1 0" damping="0.1"/>
        <geom type="capsule" fromto="0 0 0 0 0 0.6" size="0.03" mass="3"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="slider" gear="100" ctrlrange="-3 3" ctrllimited="true"/></actuator>
</mujoco>
"""
"""A pole on a cart, upright: an unstable start."""

POLE_EXPERIMENT = {
    "environment": {
        "mjcf": "robot.xml", "frame_skip": 2, "horizon": 100,
        "conditions": [{"qpos": [0.0, 0.01]}, {"qpos": [0.0, -0.01]}],
    },
    "algorithm": {"iterations": 4, "samples": 2},
    "cost": ({"name": "quadratic", "on": "qpos[1]", "weight": 2.0},),
}  # fmt: skip

ARM_EXPERIMENT = {
    "environment": {
        "mjcf": "robot.xml", "frame_skip": 5, "horizon": 50, "conditions": [{"qpos": list(POSE)}],
        "state": ["qpos", "qvel", "site_position:tool-goal"],
    },
    "algorithm": {"iterations": 8, "samples": 5},
    "cost": ({"name": "distance", "on": "site_position:tool-goal"},),
}  # fmt: skip
"""Bring the arm's tool to its goal within a second."""


def write_robot(folder: Path, mjcf: str, experiment, **changes) -> Path:
    """Write the experiment of a robot, whose model is `robot.xml`; return the folder."""
    write(folder, experiment, **changes)
    (folder / "robot.xml").write_text(mjcf)
    return folder


HEATER = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box

class Heater(gymnasium.Env):
    observation_space = Box(-50, 80, (1,), np.float32)
    action_space = Box(15.0, 25.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.room = 12.0
        return np.array([self.room], np.float32), {}

    def step(self, action):
        self.room += 0.1 * (float(action[0]) - self.room)
        return np.array([self.room], np.float32), -abs(self.room - 21), False, False, {}
"""
"""A room that follows the set point of its radiator, in °C: zero is far outside the range of the action."""

HEATER_EXPERIMENT = {
    "environment": {"id": "task:Heater", "horizon": 30, "threads": 1},
    "algorithm": {"iterations": 6, "samples": 6},
    "cost": ({"name": "quadratic", "on": "observation", "target": 21.0},),
}
