"""The activations with which the actuators of a model are at rest at given positions."""

from __future__ import annotations

import mujoco
import numpy as np

from gps.environments.contract import Floats

_FOLLOWING = [
    mujoco.mjtDyn.mjDYN_INTEGRATOR.value,
    mujoco.mjtDyn.mjDYN_FILTER.value,
    mujoco.mjtDyn.mjDYN_FILTEREXACT.value,
]


def find_resting_activations(model: mujoco.MjModel, qpos: Floats) -> Floats:
    """The activations, (na,), with which the servos hold `qpos`, (nq,), against gravity and passive forces.

    A servo whose set point is its activation (`intvelocity`, and `position` with a time constant) would otherwise start
    by moving to 0. The activations of all other actuators are 0.
    """
    act = np.zeros(model.na)
    gain, offset, slope = model.actuator_gainprm[:, 0], model.actuator_biasprm[:, 0], model.actuator_biasprm[:, 1]
    servos = np.flatnonzero(
        (model.actuator_actnum == 1)
        & np.isin(model.actuator_dyntype, _FOLLOWING)
        & (model.actuator_gaintype == mujoco.mjtGain.mjGAIN_FIXED.value)
        & (model.actuator_biastype == mujoco.mjtBias.mjBIAS_AFFINE.value)
        & (gain != 0)
        & (slope != 0)
    )
    if not servos.size:
        return act
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    mujoco.mj_fwdVelocity(model, data)
    moment = np.zeros((model.nout, model.nv))
    mujoco.mju_sparse2dense(moment, data.actuator_moment, data.moment_rownnz, data.moment_rowadr, data.moment_colind)
    outputs = model.actuator_outadr[servos]
    force = np.linalg.lstsq(moment[outputs].T, data.qfrc_bias - data.qfrc_passive, rcond=None)[0]
    limited, where = model.actuator_forcelimited[servos].astype(bool), model.actuator_actadr[servos]
    force[limited] = np.clip(force, *model.actuator_forcerange[servos].T)[limited]
    # force = gain · activation + offset + slope · length, at rest
    act[where] = (force - offset[servos] - slope[servos] * data.actuator_length[outputs]) / gain[servos]
    for i in servos[model.actuator_actlimited[servos] != 0]:
        k = model.actuator_actadr[i]
        act[k] = act[k].clip(*model.actuator_actrange[i])
    return act
