"""Find the package behind an exception that was written for another version of MuJoCo."""

from __future__ import annotations

import re
import traceback
from importlib import metadata

_MISFITS = (AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError)
"""The exceptions of a program that finds an interface other than the one that it was written for."""

_OURS = ("gps", "mujoco")
"""The modules whose distributions are not to blame."""


def find_clash(error: BaseException) -> str:
    """A sentence that names the package and both versions; "" unless a package that needs MuJoCo raised a misfit."""
    if not isinstance(error, _MISFITS):
        return ""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    owners = metadata.packages_distributions()
    tops = [module.partition(".")[0] for module in reversed(modules)]  # the innermost first
    for top in tops:
        for package in owners.get(top, ()) if top not in _OURS else ():
            if _needs_mujoco(package):
                return (
                    f"{package} {metadata.version(package)} does not seem to fit MuJoCo {metadata.version('mujoco')}: "
                    "update that package, or take the MJCF file of its robot as environment.mjcf"
                )
    return ""


def _needs_mujoco(package: str) -> bool:
    """True if a distribution cannot do without MuJoCo."""
    needs = [text for text in metadata.requires(package) or () if "extra ==" not in text]
    return any(re.match(r"mujoco(?![\w.-])", text) for text in needs)
