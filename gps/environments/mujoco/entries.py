"""Name the entries of a MuJoCo environment's state and action, with their units and spans.

A name in the state is a part by itself, such as `qpos:elbow` or `site_position:tip[x]`, unless the environment has
parts of its own. The name in the action is the actuator's, or that of the joint, tendon or site that it moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np

from gps.environments.contract import Entry
from gps.environments.mujoco.names import joint_slice
from gps.environments.parts import Layout, find_entries, name_part

_Joint, _Sensor, _Trn = mujoco.mjtJoint, mujoco.mjtSensor, mujoco.mjtTrn

_POSITIONS = {
    _Joint.mjJNT_FREE: ("m",) * 3 + ("",) * 4,
    _Joint.mjJNT_BALL: ("",) * 4,
    _Joint.mjJNT_SLIDE: ("m",),
    _Joint.mjJNT_HINGE: ("rad",),
}
_VELOCITIES = {
    _Joint.mjJNT_FREE: ("m/s",) * 3 + ("rad/s",) * 3,
    _Joint.mjJNT_BALL: ("rad/s",) * 3,
    _Joint.mjJNT_SLIDE: ("m/s",),
    _Joint.mjJNT_HINGE: ("rad/s",),
}
_SENSORS = {
    _Sensor.mjSENS_TOUCH: "N",
    _Sensor.mjSENS_ACCELEROMETER: "m/s²",
    _Sensor.mjSENS_VELOCIMETER: "m/s",
    _Sensor.mjSENS_GYRO: "rad/s",
    _Sensor.mjSENS_FORCE: "N",
    _Sensor.mjSENS_TORQUE: "N m",
    _Sensor.mjSENS_BALLANGVEL: "rad/s",
    _Sensor.mjSENS_FRAMEPOS: "m",
    _Sensor.mjSENS_FRAMELINVEL: "m/s",
    _Sensor.mjSENS_FRAMEANGVEL: "rad/s",
    _Sensor.mjSENS_FRAMELINACC: "m/s²",
    _Sensor.mjSENS_FRAMEANGACC: "rad/s²",
    _Sensor.mjSENS_SUBTREECOM: "m",
    _Sensor.mjSENS_SUBTREELINVEL: "m/s",
    _Sensor.mjSENS_GEOMDIST: "m",
    _Sensor.mjSENS_CLOCK: "s",
}
_FORCES = {"rad": "N m", "m": "N", "": ""}
"""The unit of a generalised force, by that of the generalised position."""


def name_state(
    model: mujoco.MjModel, layout: Layout, wholes: Mapping[str, str], own: Mapping[str, Any]
) -> tuple[Entry, ...]:
    """Name the entries of the state.

    Args:
        layout: the slice of each part.
        wholes: each part without its choice of entries.
        own: parts that are not the model's; their units are unknown.
    """
    result: list[Entry] = []
    for part, where in layout.items():
        width = where.stop - where.start
        if (whole := wholes[part]) in own:
            result += map(Entry, name_part(part, width))
        else:
            known = _name_whole(model, whole)
            chosen = range(width) if part == whole else find_entries(part, {whole: slice(0, len(known))})
            result += [known[i] for i in chosen]
    return tuple(result)


def name_actions(model: mujoco.MjModel) -> tuple[Entry, ...]:
    """Name the entries of the action, `action[i]` if the model gives no unique name.

    The unit is that of a force, torque, position or velocity if the actuator's gain, bias and gear make one unit of
    the action one unit of it; else "", as for a motor with a gear of 20.
    """
    names = [_name_actuator(model, i) for i in range(model.nactuator)]
    result = [Entry(name) for name in name_part("action", model.nu)]
    for i, name in enumerate(names):
        width, first = int(model.actuator_ctrlnum[i]), int(model.actuator_ctrladr[i])
        unit = _find_control_unit(model, i) if width == 1 else ""
        for k in range(first, first + width):
            unique = bool(name) and names.count(name) == 1
            own = name_part(name, width)[k - first] if unique else result[k].name
            result[k] = Entry(own, unit)
    return tuple(result)


# -- the state -------------------------------------------------------------------------------------------


def _name_whole(model: mujoco.MjModel, part: str) -> list[Entry]:
    """Name all entries of a part of the model."""
    kind, _, name = part.partition(":")
    if kind in ("qpos", "qvel"):
        joints = [model.joint(name).id] if name else range(model.njnt)
        return [entry for joint in joints for entry in _name_joint(model, kind, joint)]
    if kind == "act":
        return [Entry(entry) for entry in name_part(part, model.na)]
    if kind == "site_position":
        return [Entry(f"{part}[{axis}]", "m") for axis in "xyz"]
    if kind == "site_velocity":
        return [Entry(f"{part}[{axis}]", "m/s") for axis in "xyz"]
    sensor = model.sensor(name).id
    width = int(model.sensor_dim[sensor])
    return [Entry(entry, _find_sensor_unit(model, sensor)) for entry in name_part(part, width)]


def _name_joint(model: mujoco.MjModel, kind: str, joint: int) -> list[Entry]:
    """Name the entries of a joint in `qpos` or `qvel`; without a name it has those of the whole vector."""
    units = (_POSITIONS if kind == "qpos" else _VELOCITIES)[_Joint(model.jnt_type[joint])]
    if name := model.joint(joint).name:
        names = name_part(f"{kind}:{name}", len(units))
    else:
        first = joint_slice(model, kind, joint).start
        names = [f"{kind}[{first + k}]" for k in range(len(units))]
    span = _find_span(model, joint) if kind == "qpos" else np.nan
    return [Entry(name, unit, span if unit else np.nan) for name, unit in zip(names, units, strict=True)]


def _find_span(model: mujoco.MjModel, joint: int) -> float:
    """The width of a joint's range; without limits that of a turn, or the size of the model."""
    hinged = model.jnt_type[joint] == _Joint.mjJNT_HINGE
    free = 2 * np.pi if hinged else float(model.stat.extent)
    low, high = model.jnt_range[joint]
    return min(float(high - low), free) if model.jnt_limited[joint] else free


def _find_sensor_unit(model: mujoco.MjModel, sensor: int) -> str:
    """The unit of a sensor's numbers."""
    kind, object_id = _Sensor(model.sensor_type[sensor]), int(model.sensor_objid[sensor])
    if kind in (_Sensor.mjSENS_JOINTPOS, _Sensor.mjSENS_JOINTVEL):
        units = _POSITIONS if kind == _Sensor.mjSENS_JOINTPOS else _VELOCITIES
        return units[_Joint(model.jnt_type[object_id])][0]
    if kind == _Sensor.mjSENS_JOINTACTFRC:
        return _FORCES[_POSITIONS[_Joint(model.jnt_type[object_id])][0]]
    if kind == _Sensor.mjSENS_ACTUATORFRC:
        return _FORCES[_find_length_unit(model, object_id)]
    return _SENSORS.get(kind, "")


# -- the action ------------------------------------------------------------------------------------------


def _name_actuator(model: mujoco.MjModel, i: int) -> str:
    """The actuator's name, or that of what it moves; "" if neither has one."""
    if name := model.actuator(i).name:
        return name
    targets: dict[mujoco.mjtTrn, Callable[[int], Any]] = {
        _Trn.mjTRN_JOINT: model.joint,
        _Trn.mjTRN_JOINTINPARENT: model.joint,
        _Trn.mjTRN_TENDON: model.tendon,
        _Trn.mjTRN_SITE: model.site,
    }
    find = targets.get(_Trn(model.actuator_trntype[i]))
    return "" if find is None else find(int(model.actuator_trnid[i, 0])).name


def _find_length_unit(model: mujoco.MjModel, i: int) -> str:
    """The unit of the position that an actuator moves; "" if it is a mixture or unknown."""
    kind, target = _Trn(model.actuator_trntype[i]), int(model.actuator_trnid[i, 0])
    if kind in (_Trn.mjTRN_JOINT, _Trn.mjTRN_JOINTINPARENT):
        hinged = {_Joint.mjJNT_HINGE: "rad", _Joint.mjJNT_BALL: "rad", _Joint.mjJNT_SLIDE: "m"}
        return hinged.get(_Joint(model.jnt_type[target]), "")
    if kind == _Trn.mjTRN_TENDON:  # a fixed tendon is a sum over joints
        fixed = mujoco.mjtWrap(model.wrap_type[model.tendon_adr[target]]) == mujoco.mjtWrap.mjWRAP_JOINT
        return "" if fixed else "m"
    if kind == _Trn.mjTRN_SLIDERCRANK:
        return "m"
    if kind == _Trn.mjTRN_SITE:
        translates, rotates = (bool(half.any()) for half in np.split(model.actuator_gear[i], 2))
        return "" if translates == rotates else "m" if translates else "rad"
    return ""


def _find_control_unit(model: mujoco.MjModel, i: int) -> str:
    """The unit of an actuator's control: of a force, a target position or a target velocity."""
    length = _find_length_unit(model, i)
    dynamics = mujoco.mjtDyn(model.actuator_dyntype[i])
    gain, bias = mujoco.mjtGain(model.actuator_gaintype[i]), mujoco.mjtBias(model.actuator_biastype[i])
    factor, (offset, stiffness, damping) = model.actuator_gainprm[i, 0], model.actuator_biasprm[i, :3]
    one_to_one = np.isclose(np.linalg.norm(model.actuator_gear[i]), 1.0)
    if not length or not one_to_one or gain != mujoco.mjtGain.mjGAIN_FIXED or not factor or offset:
        return ""
    direct = dynamics in (mujoco.mjtDyn.mjDYN_NONE, mujoco.mjtDyn.mjDYN_FILTER, mujoco.mjtDyn.mjDYN_FILTEREXACT)
    if bias == mujoco.mjtBias.mjBIAS_NONE:
        return _FORCES[length] if direct and factor == 1 else ""
    if bias != mujoco.mjtBias.mjBIAS_AFFINE:
        return ""
    if stiffness == -factor:  # a position servo; its target is the integral of the control in an `intvelocity`
        integrates = dynamics == mujoco.mjtDyn.mjDYN_INTEGRATOR
        return length if direct else f"{length}/s" if integrates else ""
    return f"{length}/s" if direct and stiffness == 0 and damping == -factor else ""
