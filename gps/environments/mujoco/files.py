"""The files that a MuJoCo model consists of: what it includes, its meshes, textures and height fields."""

from __future__ import annotations

import os
from pathlib import Path

import mujoco


def list_files(mjcf: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The files of a model by their absolute paths, the one at `mjcf` first; empty if it is the XML itself.

    A file that MuJoCo cannot read is left out: to compile the model says what is wrong with it.
    """
    if is_xml(mjcf):
        return ()
    main = Path(os.path.abspath(mjcf))  # without resolving links: MuJoCo looks beside the path that it is given
    found = {main, *_list_dependencies(main), *_list_meshes(main)}
    return (main, *sorted(path for path in found - {main} if path.is_file()))


def is_xml(mjcf: str | os.PathLike[str]) -> bool:
    """True for the XML of a model in place of its path."""
    return isinstance(mjcf, str) and mjcf.lstrip().startswith("<")


def _list_dependencies(main: Path) -> list[Path]:
    try:
        return [Path(os.path.normpath(main.parent / name)) for name in mujoco.mju_getXMLDependencies(str(main))]
    except Exception:  # its own type, for a file that is missing or no XML
        return []


def _list_meshes(main: Path) -> list[Path]:
    """The meshes of a URDF, which are no dependencies for MuJoCo."""
    if main.suffix.lower() != ".urdf":
        return []
    try:
        spec = mujoco.MjSpec.from_file(str(main))
    except ValueError:
        return []
    return [Path(os.path.normpath(main.parent / spec.meshdir / mesh.file)) for mesh in spec.meshes]
