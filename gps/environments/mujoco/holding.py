"""Find the action that keeps a MuJoCo simulation where it is."""

from __future__ import annotations

import copy

import mujoco
import numpy as np
from scipy.optimize import lsq_linear

from gps.environments.contract import Floats

_STEADY = {
    mujoco.mjtDyn.mjDYN_FILTER.value,
    mujoco.mjtDyn.mjDYN_FILTEREXACT.value,
    mujoco.mjtDyn.mjDYN_MUSCLE.value,
}
"""Activation dynamics whose activation comes to rest at the control."""

_WORTHWHILE = 0.9
"""An action must lower the acceleration to this share of that without any."""

_RIDGE = 1e-9
"""Of the least squares, relative to the largest singular value: it shares a force among redundant actuators."""


def find_holding_action(model: mujoco.MjModel, data: mujoco.MjData) -> Floats | None:
    """The action (nu,) that accelerates a simulation least, from rest in this pose.

    It is the balance of forces (see `_balance`), the controls of a keyframe with this pose, or no action at all,
    whichever accelerates least: a walking robot, whose contacts hold it, may need others than the balance.

    Args:
        model, data: copies of a simulation, which are changed. An activation that integrates its control keeps its
            value, and its control is zero.

    Returns:
        The action, at its limit where an actuator is too weak; None if MuJoCo finds no forces in this pose.
    """
    data.qvel[:] = 0.0
    start = np.array(data.act)
    balance = _balance(copy.copy(model), data)
    poses = [key for key in range(model.nkey) if np.allclose(model.key_qpos[key], data.qpos, atol=1e-9)]
    known = [np.array(model.key_ctrl[key]) for key in poses if model.key_ctrl[key].any()]
    limited = model.actuator_ctrllimited.astype(bool)
    nothing = np.where(limited, np.clip(0.0, *model.actuator_ctrlrange.T), 0.0)
    candidates = [nothing, *(action for action in (balance, *known) if action is not None)]
    acceleration = []
    for action in candidates:
        _set_controls(model, data, start, action)
        mujoco.mj_forward(model, data)
        acceleration.append(np.linalg.norm(data.qacc))
    if not np.isfinite(acceleration).any():
        return None
    acceleration[0] *= _WORTHWHILE
    return candidates[int(np.nanargmin(acceleration))]


def _balance(model: mujoco.MjModel, data: mujoco.MjData) -> Floats | None:
    """The action (nu,) whose forces balance gravity and all passive and constraint forces; None if there are none.

    The force of an actuator is affine in its control (or in an activation that has come to rest), so the balance is a
    least-squares problem within the limits. What the actuators cannot reach (an unactuated joint) stays unbalanced.
    """
    limited = model.actuator_ctrllimited[:, None].astype(bool)
    low, high = np.where(limited, model.actuator_ctrlrange, [[-np.inf, np.inf]]).T
    model.actuator_forcelimited[:] = 0  # the limits of forces are no part of the affine map
    model.actuator_ctrllimited[:] = 0
    model.jnt_actfrclimited[:] = 0
    mujoco.mj_forward(model, data)
    data.qacc[:] = 0.0
    mujoco.mj_inverse(model, data)
    wanted, start = np.array(data.qfrc_inverse), np.array(data.act)

    def find_forces(control: Floats) -> Floats:
        _set_controls(model, data, start, control)
        mujoco.mj_fwdActuation(model, data)
        return np.array(data.qfrc_actuator)

    rest = find_forces(np.zeros(model.nu))
    effect = np.stack([find_forces(unit) - rest for unit in np.eye(model.nu)], axis=1)  # (nv, nu)
    if not (np.isfinite(effect).all() and np.isfinite(wanted - rest).all()):
        return None
    scale = np.linalg.norm(effect, axis=0)
    scale[scale == 0.0] = 1.0
    rows = np.concatenate([effect / scale, _RIDGE * np.eye(model.nu)])
    forces = np.concatenate([wanted - rest, np.zeros(model.nu)])
    return lsq_linear(rows, forces, (low * scale, high * scale)).x / scale


def _set_controls(model: mujoco.MjModel, data: mujoco.MjData, start: Floats, control: Floats) -> None:
    """Set the controls, and the activations as they are after a while; others stay at their `start`."""
    data.ctrl[:], data.act[:] = control, start
    for i in range(model.nactuator):
        if model.actuator_dyntype[i] in _STEADY and model.actuator_actnum[i] == 1:
            data.act[model.actuator_actadr[i]] = control[model.actuator_ctrladr[i]]
