"""Find the mechanical system in the state of a MuJoCo environment."""

from __future__ import annotations

import mujoco
import numpy as np

from gps.environments.contract import Floats
from gps.environments.parts import Layout
from gps.linear_gaussian.mechanics import Mechanics


def find_mechanics(model: mujoco.MjModel, layout: Layout, dt: float) -> Mechanics | None:
    """Return the mechanics; None if the state lacks the whole `qpos` or `qvel`, or has quaternions.

    Args:
        layout: the slice of each part in the state.
        dt: control period in seconds.
    """
    if "qpos" not in layout or "qvel" not in layout or model.nq != model.nv:
        return None
    return Mechanics(layout["qpos"], layout["qvel"], _compute_actuation(model), dt)


def _compute_actuation(model: mujoco.MjModel) -> Floats:
    """Return which control drives which degree of freedom, (nv, nu), without the gears; see `Mechanics`."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    moment = np.zeros((model.nout, model.nv))
    sparse = data.actuator_moment, data.moment_rownnz, data.moment_rowadr, data.moment_colind
    mujoco.mju_sparse2dense(moment, *sparse)
    actuation = np.zeros((model.nv, model.nu))
    for i in range(model.nactuator):
        width, gear = model.actuator_outnum[i], np.linalg.norm(model.actuator_gear[i])
        if gear > 0 and width == model.actuator_ctrlnum[i]:
            control, output = model.actuator_ctrladr[i], model.actuator_outadr[i]
            actuation[:, control : control + width] = moment[output : output + width].T / gear
    return actuation
