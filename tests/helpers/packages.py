"""Packages that tests install: a folder with modules and the metadata by which Python finds their entry points."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def install(
    patch: pytest.MonkeyPatch, site: Path, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
) -> None:
    """Install a package for the length of a test.

    Args:
        site: an own folder for it, which is put on Python's path.
        modules: name -> text.
        entry_points: group -> name -> "module:object".
    """
    info = site / "robots_of_mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: robots-of-mine\nVersion: 1.0\n")
    sections = (
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in named.items())])
        for group, named in entry_points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(sections))
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)
        patch.delitem(sys.modules, name, raising=False)  # another test may have installed one of that name
    patch.syspath_prepend(site)
    importlib.invalidate_caches()
