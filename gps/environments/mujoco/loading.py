"""Find a model's file and compile it for a batch of simulations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import mujoco

from gps.environments.folder import current_folder
from gps.environments.mujoco.actuators import add_actuators
from gps.environments.mujoco.files import is_xml
from gps.environments.parts import whole


def locate_model(mjcf: str | os.PathLike[str], environment: type) -> str | Path:
    """Return the XML itself, or the path of the file.

    A relative path is looked up beside the module of the class, beside those of the classes that it derives from, and
    in the experiment's folder. Without any of these, as for `MujocoEnv` itself in a script, it is relative to the
    working directory.

    Args:
        environment: the class of the environment.
    """
    if is_xml(mjcf):
        return os.fspath(mjcf)
    folders = [*_find_folders(environment), *filter(None, [current_folder()])] or [Path()]
    places = [folder / mjcf for folder in folders]
    return next(filter(_is_file, places), places[0])


def load_model(mjcf: str | Path, parts: Sequence[str], actuators: Mapping[str, Any] | None = None) -> mujoco.MjModel:
    """Compile the model, with a sensor for each site velocity, and switch off the stages that a batch does not need.

    Args:
        mjcf: path of an MJCF or URDF file, or the XML itself.
        parts: the parts of the state and the observation.
        actuators: actuators to add, see `gps.environments.mujoco.actuators.add_actuators`.

    Raises:
        ValueError: if the model cannot be read or compiled, or has no actuators; begins with the path.
    """
    inline = is_xml(mjcf)
    name = "MJCF string" if inline else _shorten(os.fspath(mjcf))
    if not inline and not _is_file(Path(mjcf)):
        raise ValueError(f"{name}: no such MJCF file")
    try:
        spec = mujoco.MjSpec.from_string(str(mjcf)) if inline else mujoco.MjSpec.from_file(os.fspath(mjcf))
        if actuators is not None:
            add_actuators(spec, actuators)
        sites = [site.name for site in spec.sites]
        listed = [name for part in parts for name in (part, whole(part))]
        for part in dict.fromkeys(listed):
            kind, _, site = part.partition(":")
            if kind == "site_velocity" and site in sites:
                spec.add_sensor(name=part, type=mujoco.mjtSensor.mjSENS_FRAMELINVEL,
                                objtype=mujoco.mjtObj.mjOBJ_SITE, objname=site)  # fmt: skip
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET.value
        model = spec.compile()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not model.nu:
        raise ValueError(
            f"{name}: the model has no actuators, so there is nothing to control; add them to the file, or with "
            'environment.options.actuators = { kind = "motor" } (or "position", "velocity")'
        )
    _disable_idle_stages(model)
    return model


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _shorten(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:100]}...{name[-100:]}"


def _find_folders(environment: type) -> list[Path]:
    """The folders of the source files of a class and of its base classes, except those of this library."""
    files = [
        member.__globals__.get("__file__")  # a module loaded from a path is not in `sys.modules`
        for base in environment.__mro__
        if base.__module__.partition(".")[0] not in (__name__.partition(".")[0], "gymnasium")
        for member in vars(base).values()
        if isinstance(member, FunctionType) and member.__module__ == base.__module__
    ]
    return list(dict.fromkeys(Path(file).resolve().parent for file in files if file))


def _disable_idle_stages(model: mujoco.MjModel) -> None:
    """Switch off stages without effect on this model: no bit changes, and small models save a fifth of their time."""
    if model.ntree == 1 and not model.opt.enableflags & mujoco.mjtEnableBit.mjENBL_SLEEP.value:
        # The constraints of one tree are one island, so MuJoCo need not search for islands.
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND.value
    types, affinities = model.geom_contype, model.geom_conaffinity
    if not (types[:, None] & affinities).any() and not model.npair and not model.nflex:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT.value  # no two geoms can ever touch
