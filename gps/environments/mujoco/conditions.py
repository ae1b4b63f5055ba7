"""Conditions: from a mapping that a user wrote to the start of a simulation and its changes of the model.

The keys of every MuJoCo environment, none of them required:

| key | meaning |
|---|---|
| `qpos`, `qvel` | the start: a full vector, or `{joint: value}` over the default start |
| `body_offset` | `{body: [dx, dy, dz]}`, added to the body's place in the model, m |
| `body_mass` | `{body: kg}`; the body's inertia scales with it |
| `model` | `{field: {object: value}}`, any field of MjModel for named objects that holds real numbers: \
`body_…`, `geom_…`, `site_…`, `jnt_…`, `dof_…` (by joint), `actuator_…`, `tendon_…` |
| `scale` | `{field: {object: factor}}` on such fields, or a list of such tables, after the other keys; `"*"` is every \
object, a list has one factor for each row of the field, and a body's inertia scales with its mass |

Whatever a condition does not mention has the model's own value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import MODEL_FIELDS, Batch
from numpy.typing import NDArray

from gps.environments.contract import Floats
from gps.environments.mujoco.names import identify, joint_slice, read_numbers, suggest

Condition = Mapping[str, Any]

KEYS = ("qpos", "qvel", "body_offset", "body_mass", "model", "scale")
"""The keys of a condition, as above."""

START_KEYFRAMES = "start", "home"
"""The keyframes that hold a model's default start, the first that is there; without one, it is the reference pose."""

_OBJECTS = {  # prefix of an MjModel field -> the kind of object that its rows belong to
    "body": mujoco.mjtObj.mjOBJ_BODY,
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "site": mujoco.mjtObj.mjOBJ_SITE,
    "jnt": mujoco.mjtObj.mjOBJ_JOINT,
    "dof": mujoco.mjtObj.mjOBJ_JOINT,
    "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR,
    "tendon": mujoco.mjtObj.mjOBJ_TENDON,
}


@dataclass(frozen=True)
class Start:
    """The start of a simulation: a condition with checked names and numbers.

    Attributes:
        qpos: (nq,) positions at the start.
        qvel: (nv,) velocities at the start.
        edits: changes of the model in order: field, rows, values.
    """

    qpos: Floats
    qvel: Floats
    edits: list[tuple[str, int | slice, Floats]] = field(default_factory=list)


class Conditions:
    """Reads conditions for the simulations of a batch and writes their changes of the model.

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
        key = self.keyframe = find_keyframe(self.model, keyframe)
        self.qpos = np.array(self.model.qpos0 if key < 0 else self.model.key_qpos[key])
        self.qvel = np.zeros(self.model.nv) if key < 0 else np.array(self.model.key_qvel[key])

    def read(self, condition: Condition, qpos: Floats, qvel: Floats) -> Start:
        """Resolve the names of a condition; ValueError names what is wrong.

        Args:
            condition: the keys beyond `KEYS` are ignored.
            qpos, qvel: the start where the condition does not mention it.
        """
        model = self.model
        start = Start(
            self._read_joints("qpos", condition.get("qpos", {}), qpos),
            self._read_joints("qvel", condition.get("qvel", {}), qvel),
        )
        for name in _read_mapping(condition, "model"):
            for key, value in _read_mapping(condition["model"], name).items():
                start.edits.append(self._read_edit(name, key, value))
        for body, value in _read_mapping(condition, "body_mass").items():
            _, i, mass = edit = self._read_edit("body_mass", body, value)
            if mass <= 0 or model.body_mass[i] <= 0:
                raise ValueError(f"body_mass of {body!r}: must be positive, here and in the model")
            inertia = model.body_inertia[i] * (mass / model.body_mass[i])
            start.edits.extend([edit, ("body_inertia", i, inertia)])
        for body, value in _read_mapping(condition, "body_offset").items():
            offset = read_numbers(value, (3,), f"body_offset of {body!r}")
            i = identify(model, mujoco.mjtObj.mjOBJ_BODY, body, "body_offset: body")
            start.edits.append(("body_pos", i, model.body_pos[i] + offset))
        given = condition.get("scale", ())
        if not isinstance(given, Mapping | list | tuple):
            raise ValueError(f"scale: must be a mapping, or a list of mappings, got {given!r}")
        for table in [given] if isinstance(given, Mapping) else given:
            for name in _read_mapping({"scale": table}, "scale"):
                self._scale(start, name, _read_factors(model, name, table[name]))
        return start

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

    def _read_joints(self, kind: str, value: Any, default: Floats) -> Floats:
        """Read a full `qpos` or `qvel`, from a vector or from values by joint."""
        if not isinstance(value, Mapping):
            return read_numbers(value, default.shape, kind)
        result = default.copy()
        for name, number in value.items():
            joint = identify(self.model, mujoco.mjtObj.mjOBJ_JOINT, name, f"{kind}: joint")
            part = joint_slice(self.model, kind, joint)
            result[part] = read_numbers(number, result[part].shape, f"{kind} of joint {name!r}")
        return result

    def _read_edit(self, name: str, key: str, value: Any) -> tuple[str, int | slice, Floats]:
        """Read the change of one object's entry in a model field."""
        prefix = name.partition("_")[0]
        found = identify(self.model, _find_kind(name), key, f"{name}: {prefix}")
        rows: int | slice = joint_slice(self.model, "qvel", found) if prefix == "dof" else found
        return name, rows, read_numbers(value, getattr(self.model, name)[rows].shape, f"{name} of {key!r}")


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
    if name not in _EDITABLE:
        raise ValueError(f"model: unknown field {name!r}{suggest(name, _EDITABLE)}")
    return _OBJECTS[name.partition("_")[0]]


def find_keyframe(model: mujoco.MjModel, name: str | None) -> int:
    """The number of the keyframe `name`, or of the first of `START_KEYFRAMES`; -1 if the model has none of these."""
    kind = mujoco.mjtObj.mjOBJ_KEY
    if name is not None:
        return identify(model, kind, name, "keyframe")
    return next((key for start in START_KEYFRAMES if (key := mujoco.mj_name2id(model, kind, start)) >= 0), -1)


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


_EDITABLE = _list_editable_fields()
