"""Compile an MJCF model for a batch of simulations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import mujoco

from gps.environments.mujoco.files import is_xml
from gps.environments.parts import whole


def load_model(mjcf: str | os.PathLike[str], parts: Sequence[str]) -> mujoco.MjModel:
    """Compile the model, with a sensor for each site velocity, and switch off the stages that a batch does not need.

    Args:
        mjcf: path of an MJCF file, or the XML itself.
        parts: the parts of the state and the observation.

    Raises:
        ValueError: if the model cannot be read or compiled; begins with the path.
    """
    inline = is_xml(mjcf)
    name = "MJCF string" if inline else os.fspath(mjcf)
    if not inline and not Path(mjcf).is_file():
        raise ValueError(f"{name}: no such MJCF file")
    try:
        spec = mujoco.MjSpec.from_string(str(mjcf)) if inline else mujoco.MjSpec.from_file(name)
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
    _disable_idle_stages(model)
    return model


def _disable_idle_stages(model: mujoco.MjModel) -> None:
    """Switch off stages without effect on this model: no bit changes, and small models save a fifth of their time."""
    if model.ntree == 1 and not model.opt.enableflags & mujoco.mjtEnableBit.mjENBL_SLEEP.value:
        # The constraints of one tree are one island, so MuJoCo need not search for islands.
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND.value
    types, affinities = model.geom_contype, model.geom_conaffinity
    if not (types[:, None] & affinities).any() and not model.npair and not model.nflex:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT.value  # no two geoms can ever touch
