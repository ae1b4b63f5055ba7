"""Small experiments for tests: their files, and what a run of one must reach."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from gps.runs import Run

TO_THE_RIGHT = ({"name": "quadratic", "on": "qpos", "target": [1.0, 0.0]}, {"name": "quadratic", "weight": 0.01})

POINT_MASS = {
    "environment": {"id": "gps/PointMass-v0", "horizon": 12, "conditions": [{}, {"qpos": [0.6, 0.2]}]},
    "algorithm": {"iterations": 2, "samples": 3, "controller": {"initial": {"name": "lqr"}}},
    "cost": TO_THE_RIGHT,
}  # dx = 4, du = 2

SLIDER = {
    "environment": {
        "mjcf": "slider.xml", "frame_skip": 5, "horizon": 12, "conditions": [{"qpos": [0.0]}, {"qpos": [-0.5]}],
    },
    "algorithm": {"iterations": 6, "samples": 4, "controller": {"initial": {"name": "lqr", "noise": 0.3}}},
    "cost": ({"name": "quadratic", "on": "qpos", "target": 1.0}, {"name": "quadratic", "weight": 0.01}),
}  # a joint that slides: dx = 2, du = 1  # fmt: skip

SLIDER_MJCF = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body><joint name="x" type="slide" axis="1 0 0" damping="0.1"/><geom size="0.1" mass="1"/><site name="tip"/></body>
    <site name="goal" pos="1 0 0"/>
  </worldbody>
  <actuator><motor joint="x" gear="5" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""

REWARDED_SLIDER = """
from gps.environments.mujoco import MujocoEnv

class Slider(MujocoEnv):
    def __init__(self, num_envs, **options):
        super().__init__(num_envs, mjcf="{mjcf}", state=["qpos", "qvel"], **options)

    def reward(self, states, actions):
        return -0.5 * (states[:, 0] - 1.0) ** 2 - 0.005 * actions[:, 0] ** 2
"""


def changed(base: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """`base` with changed keys. The keys of a table that is in both are merged; None removes a key."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            result[key] = changed(base[key], **value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def toml(base: Mapping[str, Any], **changes: Any) -> str:
    """The text of an experiment file: `base` with `changes` (see `changed`)."""
    return tomli_w.dumps(changed(base, **changes))


def write(folder: Path, base: Mapping[str, Any], task: str | None = None, **changes: Any) -> Path:
    """Write `experiment.toml` (`base` with `changes`) and `task.py`; return the folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.toml").write_text(toml(base, **changes), encoding="utf-8")
    if task is not None:
        (folder / "task.py").write_text(task, encoding="utf-8")
    return folder


def write_slider(folder: Path, task: str | None = None, **changes: Any) -> Path:
    """Write the experiment of the slider: dx = 2, du = 1, T = 12."""
    write(folder, SLIDER, task, **changes)
    (folder / "slider.xml").write_text(SLIDER_MJCF)
    return folder


def write_rewarded_slider(folder: Path) -> Path:
    """Write the experiment of the slider whose cost is known from its rewards alone.

    The task names the model by its absolute path, because a run keeps a copy of the task in another place.
    """
    task = REWARDED_SLIDER.replace("{mjcf}", str(folder / "slider.xml"))
    return write_slider(folder, task, environment={"mjcf": None, "id": "task:Slider"}, cost="reward")


def full_thrust(after_the_step: bool = False) -> np.ndarray:
    """The cost of pushing the slider with all force from each start: the goal is too far to be reached within T."""
    costs = []
    for x in (0.0, -0.5):
        v = cost = 0.0
        for _ in range(12):
            before = x
            for _ in range(5):
                v += 0.01 * (5.0 - 0.1 * v)
                x += 0.01 * v
            cost += 0.5 * ((x if after_the_step else before) - 1.0) ** 2 + 0.5 * 0.01
        costs.append(cost)
    return np.array(costs)


def digest(run: Run) -> dict[str, str]:
    """The checksum of every file of a run's iterations except the times."""
    files = sorted((run.path / "iterations").rglob("*.npz"))
    return {
        str(file.relative_to(run.path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.name != "timing.npz"
    }
