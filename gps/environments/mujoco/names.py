"""Check names of objects in a MuJoCo model and numbers that a user wrote, with errors that suggest a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

_QPOS_WIDTH = {0: 7, 1: 4, 2: 1, 3: 1}  # by mjtJoint: free, ball, slide, hinge
_QVEL_WIDTH = {0: 6, 1: 3, 2: 1, 3: 1}


def list_names(model: mujoco.MjModel, kind: mujoco.mjtObj) -> list[str]:
    """List the names of the model's objects of one kind."""
    count = {
        mujoco.mjtObj.mjOBJ_BODY: model.nbody,
        mujoco.mjtObj.mjOBJ_GEOM: model.ngeom,
        mujoco.mjtObj.mjOBJ_SITE: model.nsite,
        mujoco.mjtObj.mjOBJ_CAMERA: model.ncam,
        mujoco.mjtObj.mjOBJ_JOINT: model.njnt,
        mujoco.mjtObj.mjOBJ_ACTUATOR: model.nactuator,
        mujoco.mjtObj.mjOBJ_TENDON: model.ntendon,
        mujoco.mjtObj.mjOBJ_SENSOR: model.nsensor,
        mujoco.mjtObj.mjOBJ_KEY: model.nkey,
    }[kind]
    return [name for i in range(count) if (name := mujoco.mj_id2name(model, kind, i))]


def identify(model: mujoco.MjModel, kind: mujoco.mjtObj, name: str, where: str) -> int:
    """Find the id of an object; ValueError, beginning with `where`, if no object has that name."""
    require(name, list_names(model, kind), where)
    return int(mujoco.mj_name2id(model, kind, name))


def joint_slice(model: mujoco.MjModel, kind: str, joint: int) -> slice:
    """The slice of a joint in `qpos` or `qvel`."""
    address, width = (model.jnt_qposadr, _QPOS_WIDTH) if kind == "qpos" else (model.jnt_dofadr, _QVEL_WIDTH)
    first = int(address[joint])
    return slice(first, first + width[int(model.jnt_type[joint])])


def require(name: str, known: Iterable[str], where: str) -> None:
    """ValueError, beginning with `where`, if a name is not among the known ones."""
    known = list(known)
    if name not in known:
        raise ValueError(f"{where} {name!r} is unknown{suggest(name, known)}")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return '; did you mean ...?' with the nearest known name, or a list of known names if none is near."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not known:
        return ""
    return f"; known are {', '.join(map(repr, known[:12]))}{', ...' if len(known) > 12 else ''}"


def read_numbers(value: ArrayLike, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """Return a value as an array of finite numbers of that shape, or raise ValueError. One number needs no brackets."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: expected numbers, got {value!r}") from None
    if shape == (1,) and array.ndim == 0:
        array = array[None]
    if array.shape != shape:
        expected = "one number" if shape in ((), (1,)) else f"{' x '.join(map(str, shape))} numbers"
        raise ValueError(f"{where}: expected {expected}, got {value!r}")
    if not (np.abs(array) < mujoco.mjMAXVAL).all():
        raise ValueError(f"{where}: {value!r} is not finite, or not below {mujoco.mjMAXVAL:g}")
    return array
