"""Where a simulation starts: in a keyframe or the reference pose, with free and mocap bodies anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import mujoco
import numpy as np

from gps.environments.contract import Floats
from gps.environments.mujoco.names import identify, joint_slice
from gps.environments.mujoco.resting import find_resting_activations

START_KEYFRAMES = "start", "home"
"""The keyframes that hold a model's default start, the first that is there; without one, it is the reference pose."""

_FREE = mujoco.mjtJoint.mjJNT_FREE.value


@dataclass(frozen=True)
class Start:
    """The start of a simulation.

    Attributes:
        keyframe: the number of the keyframe that holds everything else, such as the controls; -1 for none.
        qpos: (nq,) positions.
        qvel: (nv,) velocities.
        act: (na,) activations.
        resting: True if they are those with which the servos are at rest in `qpos`.
        mocap_pos, mocap_quat: (nmocap, 3) and (nmocap, 4), the poses of the mocap bodies.
        edits: changes of the model in order: field, rows, values.
    """

    keyframe: int
    qpos: Floats
    qvel: Floats
    act: Floats
    resting: bool
    mocap_pos: Floats
    mocap_quat: Floats
    edits: list[tuple[str, int | slice, Floats]] = field(default_factory=list)

    def find_pose(self, model: mujoco.MjModel, body: int) -> tuple[Floats, Floats] | None:
        """The position (3,) and the quaternion (4,) here of a body with a free joint or a mocap body; None for others.

        Both are views: writing to them moves the body.
        """
        if (mocap := model.body_mocapid[body]) >= 0:
            return self.mocap_pos[mocap], self.mocap_quat[mocap]
        joint = model.body_jntadr[body]
        if joint < 0 or model.jnt_type[joint] != _FREE:
            return None
        pose = self.qpos[joint_slice(model, "qpos", joint)]
        return pose[:3], pose[3:]


def find_keyframe(model: mujoco.MjModel, name: str | None) -> int:
    """The number of the keyframe `name`, or of the first of `START_KEYFRAMES`; -1 if the model has none of these.

    Raises:
        ValueError: if the model has no keyframe called `name`.
    """
    kind = mujoco.mjtObj.mjOBJ_KEY
    if name is not None:
        if not isinstance(name, str):
            raise ValueError(f"keyframe: expected a name, got {name!r}")
        return identify(model, kind, name, "keyframe")
    return next((key for start in START_KEYFRAMES if (key := mujoco.mj_name2id(model, kind, start)) >= 0), -1)


def make_start(model: mujoco.MjModel, keyframe: int) -> Start:
    """The start in a keyframe, or in the reference pose at rest if its number is -1.

    The activations are those of the keyframe; where it has none, those with which the servos are at rest there.
    """
    if keyframe >= 0:
        qpos, qvel, act = model.key_qpos[keyframe], model.key_qvel[keyframe], model.key_act[keyframe]
        places, turns = model.key_mpos[keyframe].reshape(-1, 3), model.key_mquat[keyframe].reshape(-1, 4)
    else:
        bodies = np.flatnonzero(model.body_mocapid >= 0)
        bodies = bodies[np.argsort(model.body_mocapid[bodies])]
        qpos, qvel, act = model.qpos0, np.zeros(model.nv), np.zeros(model.na)
        places, turns = model.body_pos[bodies], model.body_quat[bodies]
    if resting := not act.any():  # MuJoCo fills in zeros where a keyframe has none
        act = find_resting_activations(model, qpos)
    return Start(keyframe, np.array(qpos), np.array(qvel), np.array(act), resting, np.array(places), np.array(turns))
