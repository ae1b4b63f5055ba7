"""Add actuators to a model that has none, such as a URDF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from gps.environments.mujoco.names import read_numbers, require, suggest

_KEYS = {"motor": ("gear",), "position": ("kp", "kv"), "velocity": ("kv",)}
_DRIVEN = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE


def add_actuators(spec: mujoco.MjSpec, settings: Mapping[str, Any]) -> None:
    """Give each hinge and slide joint that has no actuator one of its own, with the joint's name.

    Args:
        spec: the model, which is changed.
        settings: `kind`, "motor" (N m, N), "position" (rad, m) or "velocity" (rad/s, m/s); `joints`, the names of the
            joints, if not all; `range`, the lowest and highest control, by default the joint's limit of force or of
            position; `gear` of a motor, 1; `kp` of a position servo, and its `kv`, by default that of critical damping;
            `kv` of a velocity servo. Each of the last four is one value for all, or `{joint: value}`.

    Raises:
        ValueError: begins with `actuators`.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"actuators: must be a mapping, got {settings!r}")
    kind = settings.get("kind")
    if kind not in _KEYS:
        raise ValueError(f"actuators.kind: expected {', '.join(map(repr, _KEYS))}, got {kind!r}")
    known = ("kind", "joints", "range", *_KEYS[kind])
    for key in settings:
        if key not in known:
            raise ValueError(f"actuators: a {kind} has no key {key!r}{suggest(str(key), known)}")
    for joint in _find_joints(spec, settings.get("joints")):
        _add(spec, joint, kind, settings)


def _find_joints(spec: mujoco.MjSpec, names: Any) -> list[mujoco.MjsJoint]:
    """The joints to drive."""
    movable = {joint.name: joint for joint in spec.joints if joint.name and joint.type in _DRIVEN}
    if names is None:
        driven = {actuator.target for actuator in spec.actuators}
        names = [name for name in movable if name not in driven]
        if not names:
            raise ValueError("actuators: the model has no hinge or slide joint with a name and without an actuator")
    elif not isinstance(names, list | tuple):
        raise ValueError(f"actuators.joints: expected a list of names, got {names!r}")
    for name in names:
        require(name, movable, "actuators: joint")
    return [movable[name] for name in names]


def _add(spec: mujoco.MjSpec, joint: mujoco.MjsJoint, kind: str, settings: Mapping[str, Any]) -> None:
    actuator = spec.add_actuator(target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    if joint.name not in {other.name for other in spec.actuators}:
        actuator.name = joint.name
    limits = _read(settings, "range", joint.name, (2,))
    if kind == "motor":
        gear = _read(settings, "gear", joint.name, default=1.0)
        actuator.set_to_motor()
        actuator.gear[0] = gear
        if limits is None and joint.actfrcrange[0] < joint.actfrcrange[1]:
            limits = np.sort(joint.actfrcrange / gear)
    elif kind == "position":
        kp, kv = _read(settings, "kp", joint.name), _read(settings, "kv", joint.name, default=-1.0)
        if kp is None:
            raise ValueError("actuators.kp: missing; a position servo needs its stiffness, N m/rad or N/m")
        inherits = limits is None and joint.range[0] < joint.range[1]
        actuator.set_to_position(float(kp), float(kv), 1.0 if kv < 0 else -1.0, inheritrange=inherits)
        if inherits:
            return
    else:
        if (kv := _read(settings, "kv", joint.name)) is None:
            raise ValueError("actuators.kv: missing; a velocity servo needs its gain, N m s/rad or N s/m")
        actuator.set_to_velocity(float(kv))
    if limits is None:
        lacking = {"motor": "limit of force", "position": "range", "velocity": "limit of velocity"}[kind]
        raise ValueError(
            f"actuators.range: the joint {joint.name!r} has no {lacking} in the model; "
            "give the lowest and highest control, range = [lowest, highest]"
        )
    if not limits[0] < limits[1]:
        raise ValueError(f"actuators.range of {joint.name!r}: expected [lowest, highest], got {limits.tolist()}")
    actuator.ctrllimited, actuator.ctrlrange = True, limits


def _read(settings: Mapping[str, Any], key: str, joint: str, shape: tuple[int, ...] = (), default: Any = None) -> Any:
    """The value of a key for a joint, an array of that shape; `default` if there is none."""
    value = settings.get(key)
    if isinstance(value, Mapping):
        value = value.get(joint)
    if value is None:
        return default
    numbers = read_numbers(value, shape, f"actuators.{key} of {joint!r}")
    if shape == () and not numbers > 0:
        raise ValueError(f"actuators.{key} of {joint!r}: must be positive, got {value!r}")
    return numbers
