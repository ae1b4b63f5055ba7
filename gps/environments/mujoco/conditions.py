"""Conditions: from a mapping that a user wrote to the start of a simulation and its changes of the model.

The keys of every MuJoCo environment, none of them required:

| key | meaning |
|---|---|
| `keyframe` | the name of the keyframe to start in, instead of the environment's |
| `qpos`, `qvel` | the start: a full vector, or `{joint: value}` over the default start |
| `act` | the activations at the start: a full vector, `{actuator: value}`, or "rest": servos hold the positions |
| `body_offset` | `{body: [dx, dy, dz]}`, added to the body's place, m |
| `body_mass` | `{body: kg}`; the body's inertia scales with it |
| `model` | `{field: {object: value}}`, any field of MjModel for named objects that holds real numbers: \
`body_…`, `geom_…`, `site_…`, `jnt_…`, `dof_…` (by joint), `actuator_…`, `tendon_…` |
| `scale` | `{field: {object: factor}}` on such fields, or a list of such tables, after the other keys; `"*"` is every \
object, a list has one factor for each row of the field, and a body's inertia scales with its mass |

Whatever a condition does not mention has the model's own value. Quaternions are normalised. A body with a free joint
and a mocap body stand where their start says, so `body_offset`, `body_pos` and `body_quat` of one move its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import MODEL_FIELDS, Batch
from numpy.typing import NDArray

from gps.environments.contract import Floats
from gps.environments.mujoco.names import identify, joint_slice, list_names, read_numbers, suggest
from gps.environments.mujoco.resting import find_resting_activations
from gps.environments.mujoco.starts import Start, find_keyframe, make_start

Condition = Mapping[str, Any]

KEYS = ("keyframe", "qpos", "qvel", "act", "body_offset", "body_mass", "model", "scale")
"""The keys of a condition, as above."""

_OBJECTS = {  # prefix of an MjModel field -> the kind of object that its rows belong to
    "body": mujoco.mjtObj.mjOBJ_BODY,
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "site": mujoco.mjtObj.mjOBJ_SITE,
    "jnt": mujoco.mjtObj.mjOBJ_JOINT,
    "dof": mujoco.mjtObj.mjOBJ_JOINT,
    "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR,
    "tendon": mujoco.mjtObj.mjOBJ_TENDON,
}


_QUATERNIONS = {mujoco.mjtJoint.mjJNT_FREE.value: slice(3, 7), mujoco.mjtJoint.mjJNT_BALL.value: slice(0, 4)}
"""The quaternion among the positions of a joint, by its type."""


class Conditions:
    """Reads conditions for the simulations of a batch and writes their starts and their changes of the model.

    Args:
        batch: the simulations; `batch.model` has the model's own values.
        keyframe: the name of the keyframe that holds the default start; None for one of `START_KEYFRAMES`.

    Attributes:
        keyframe: its number; -1 for the reference pose at rest.
        qpos, qvel: the model's default start.

    Raises:
        ValueError: if the model has no such keyframe.
    """

    def __init__(self, batch: Batch, keyframe: str | None = None) -> None:
        self.model, self._batch = batch.model, batch
        self._expanded: dict[str, Floats] = {}  # the fields that some condition has changed
        fields = "qpos", "qvel", "act", "mocap_pos", "mocap_quat"
        self._starts = {name: batch.bind(name) for name in fields}
        self.keyframe = find_keyframe(self.model, keyframe)
        default = make_start(self.model, self.keyframe)
        self.qpos, self.qvel = default.qpos, default.qvel

    def read(self, condition: Condition, qpos: Floats, qvel: Floats) -> Start:
        """Resolve the names of a condition; ValueError names what is wrong.

        Args:
            condition: the keys beyond `KEYS` are ignored.
            qpos, qvel: the start where the condition does not mention it.
        """
        model = self.model
        if "keyframe" in condition:
            start = make_start(model, find_keyframe(model, condition["keyframe"]))
        else:
            start = replace(make_start(model, self.keyframe), qpos=qpos.copy(), qvel=qvel.copy())
        self._read_joints("qpos", condition.get("qpos", {}), start.qpos)
        self._read_joints("qvel", condition.get("qvel", {}), start.qvel)
        if start.resting:
            start.act[:] = find_resting_activations(model, start.qpos)
        for name in _read_mapping(condition, "model"):
            for key, value in _read_mapping(condition["model"], name).items():
                _, rows, numbers = edit = self._read_edit(name, key, value)
                placed = name in ("body_pos", "body_quat")
                pose = start.find_pose(model, rows) if placed and isinstance(rows, int) else None
                if pose is None:
                    start.edits.append(edit)
                else:
                    pose[name == "body_quat"][:] = numbers
        for body, value in _read_mapping(condition, "body_mass").items():
            _, i, mass = edit = self._read_edit("body_mass", body, value)
            if mass <= 0 or model.body_mass[i] <= 0:
                raise ValueError(f"body_mass of {body!r}: must be positive, here and in the model")
            inertia = model.body_inertia[i] * (mass / model.body_mass[i])
            start.edits.extend([edit, ("body_inertia", i, inertia)])
        for body, value in _read_mapping(condition, "body_offset").items():
            offset = read_numbers(value, (3,), f"body_offset of {body!r}")
            i = identify(model, mujoco.mjtObj.mjOBJ_BODY, body, "body_offset: body")
            if (pose := start.find_pose(model, i)) is None:
                start.edits.append(("body_pos", i, model.body_pos[i] + offset))
            else:
                pose[0][:] += offset
        self._read_activations(condition.get("act", {}), start)
        given = condition.get("scale", ())
        if not isinstance(given, Mapping | list | tuple):
            raise ValueError(f"scale: must be a mapping, or a list of mappings, got {given!r}")
        for table in [given] if isinstance(given, Mapping) else given:
            for name in _read_mapping({"scale": table}, "scale"):
                self._scale(start, name, _read_factors(model, name, table[name]))
        return start

    def write_starts(self, ids: NDArray[np.int32], starts: Sequence[Start]) -> None:
        """Write the starts of the simulations `ids`, which have been reset to their keyframes."""
        for name, values in self._starts.items():
            for i, start in zip(ids, starts, strict=True):
                values[i] = getattr(start, name)

    def _scale(self, start: Start, name: str, factors: Floats) -> None:
        """Multiply the rows of a field by factors, one each, on top of the start's edits."""
        for field_name in (name, "body_inertia") if name == "body_mass" else (name,):
            values = getattr(self.model, field_name).astype(np.float64)
            for edited, rows, value in start.edits:
                if edited == field_name:
                    values[rows] = value
            scaled = values * factors.reshape(-1, *[1] * (values.ndim - 1))
            start.edits.append((field_name, slice(None), scaled))

    def write_models(self, ids: NDArray[np.int32], starts: Sequence[Start]) -> None:
        """Give the simulations `ids` the changed values of their starts, and the model's own values elsewhere."""
        for name in {name for start in starts for name, _, _ in start.edits} - self._expanded.keys():
            self._expanded[name] = self._batch.expand(name)
        changed = np.zeros(self._batch.nsim, dtype=bool)
        for name, values in self._expanded.items():
            before = values[ids]
            values[ids] = getattr(self.model, name)
            for i, start in zip(ids, starts, strict=True):
                for edited, rows, value in start.edits:
                    if edited == name:
                        values[i, rows] = value
            if name in mujoco.MjModel._setconst_inputs:
                changed[ids] |= (values[ids] != before).any(axis=tuple(range(1, values.ndim)))
        if changed.any():  # the constants that MuJoCo derives from those fields follow
            self._batch.set_const(changed)

    def _read_joints(self, kind: str, value: Any, result: Floats) -> None:
        """Read a full `qpos` or `qvel` into `result`, from a vector or from values by joint."""
        model = self.model
        read = list(range(model.njnt))
        if isinstance(value, Mapping):
            read = [identify(model, mujoco.mjtObj.mjOBJ_JOINT, name, f"{kind}: joint") for name in value]
            for joint, (name, number) in zip(read, value.items(), strict=True):
                part = joint_slice(model, kind, joint)
                result[part] = read_numbers(number, result[part].shape, f"{kind} of joint {name!r}")
        else:
            result[:] = read_numbers(value, result.shape, kind)
        for joint in read if kind == "qpos" else ():
            if (chosen := _QUATERNIONS.get(int(model.jnt_type[joint]))) is not None:
                quaternion = result[joint_slice(model, kind, joint)][chosen]
                quaternion[:] = _normalize(quaternion, f"qpos of joint {model.joint(joint).name or joint!r}")

    def _read_activations(self, value: Any, start: Start) -> None:
        """Read a full `act` into `start`, from "rest", a vector, or values by actuator."""
        model, result = self.model, start.act
        if isinstance(value, str) and value == "rest":
            result[:] = find_resting_activations(model, start.qpos)
            return
        if not isinstance(value, Mapping):
            result[:] = read_numbers(value, result.shape, "act")
            return
        for name, number in value.items():
            i = identify(model, mujoco.mjtObj.mjOBJ_ACTUATOR, name, "act: actuator")
            first, width = model.actuator_actadr[i], model.actuator_actnum[i]
            if not width:
                stateful = [other for other in list_names(model, mujoco.mjtObj.mjOBJ_ACTUATOR)
                            if model.actuator_actnum[model.actuator(other).id]]  # fmt: skip
                have = f"; those with one: {', '.join(stateful)}" if stateful else ""
                raise ValueError(f"act: actuator {name!r} has no activation{have}")
            result[first : first + width] = read_numbers(number, (width,), f"act of actuator {name!r}")

    def _read_edit(self, name: str, key: str, value: Any) -> tuple[str, int | slice, Floats]:
        """Read the change of one object's entry in a model field."""
        prefix = name.partition("_")[0]
        found = identify(self.model, _find_kind(name), key, f"{name}: {prefix}")
        rows: int | slice = joint_slice(self.model, "qvel", found) if prefix == "dof" else found
        where = f"{name} of {key!r}"
        numbers = read_numbers(value, getattr(self.model, name)[rows].shape, where)
        return name, rows, _normalize(numbers, where) if name.endswith("quat") else numbers


def find_rows(model: mujoco.MjModel, name: str, key: str) -> NDArray[np.intp]:
    """The rows of a model field that belong to an object; all rows for `"*"`.

    Raises:
        ValueError: for an unknown field or object.
    """
    kind = _find_kind(name)
    count = len(getattr(model, name))
    if key == "*":
        return np.arange(count)
    prefix = name.partition("_")[0]
    found = identify(model, kind, key, f"{name}: {prefix}")
    return np.arange(count)[joint_slice(model, "qvel", found)] if prefix == "dof" else np.array([found])


def _read_factors(model: mujoco.MjModel, name: str, given: Any) -> Floats:
    """The factor of each row of a model field; 1 where a table names no object."""
    _find_kind(name)
    result = np.ones(len(getattr(model, name)))
    if isinstance(given, Mapping):
        for key in sorted(given, key=lambda key: key != "*"):  # an object's own factor wins
            result[find_rows(model, name, key)] = read_numbers(given[key], (), f"scale of {name} of {key!r}")
    else:
        result = read_numbers(given, result.shape, f"scale of {name}")
    if name == "body_mass" and (result <= 0).any():
        raise ValueError("scale of body_mass: a factor must be positive")
    return result


def _find_kind(name: str) -> mujoco.mjtObj:
    """The kind of object that the rows of a model field belong to; ValueError unless a condition may change it."""
    if name not in EDITABLE:
        raise ValueError(f"model: unknown field {name!r}{suggest(name, EDITABLE)}")
    return _OBJECTS[name.partition("_")[0]]


def displace(condition: Condition, body: str, offset: Floats) -> Condition:
    """Return the condition with a body moved by `offset`, 2 or 3 numbers in metres, on top of its `body_offset`."""
    offsets = dict(_read_mapping(condition, "body_offset"))
    total = read_numbers(offsets.get(body, np.zeros(3)), (3,), f"body_offset of {body!r}").copy()
    total[: len(offset)] += offset
    offsets[body] = total
    return {**condition, "body_offset": offsets}


def place_joints(condition: Condition, joints: Mapping[str, float]) -> Condition:
    """Return the condition with other start positions of some joints, on top of its `qpos` by joint."""
    return {**condition, "qpos": {**_read_mapping(condition, "qpos"), **joints}}


def _normalize(quaternion: Floats, where: str) -> Floats:
    """Return a quaternion, (4,), with length 1; ValueError, beginning with `where`, if it is zero."""
    length = np.linalg.norm(quaternion)
    if length < mujoco.mjMINVAL:
        raise ValueError(f"{where}: the quaternion is zero; no rotation is [1, 0, 0, 0]")
    return quaternion if abs(length - 1.0) <= mujoco.mjMINVAL else quaternion / length


def _read_mapping(parent: Condition, key: str) -> Mapping[str, Any]:
    """Return the mapping under a key, empty without one."""
    value = parent.get(key, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}: must be a mapping, got {value!r}")
    return value


def _list_editable_fields() -> frozenset[str]:
    """The MjModel fields that a condition may change: not the limits of actions, which belong to the action space."""
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    return frozenset(
        name
        for name in MODEL_FIELDS
        if name.partition("_")[0] in _OBJECTS
        and getattr(model, name).dtype.kind == "f"
        and not name.startswith("actuator_ctrl")
    )


EDITABLE = _list_editable_fields()
"""The fields that a condition may change."""
