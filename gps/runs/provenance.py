"""The versions of everything that a run depends on, and whether they are still the same."""

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping

from gps.version import __version__

_PACKAGES = ("numpy", "scipy", "scikit-learn", "jax", "jaxlib", "equinox", "optax", "mujoco", "gymnasium", "pydantic")

_NUMERICAL = ("gps", "mujoco", "jax", "jaxlib", "numpy", "scipy")
"""The packages whose versions decide the bits of a result."""


def list_versions() -> dict[str, str]:
    """Package -> version, with those of Python and of the platform."""
    versions = {"gps": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions | {"platform": platform.platform()}


def describe_change(began: Mapping[str, str]) -> str:
    """A sentence about the versions that have changed since a run began, and with them its bits; "" if none has.

    Args:
        began: package -> version, of the run.
    """
    now = list_versions()
    changed = [name for name in _NUMERICAL if began.get(name) != now.get(name)]
    if not changed:
        return ""
    then, today = (", ".join(f"{name} {versions.get(name, '(none)')}" for name in changed) for versions in (began, now))
    return f"the run began with {then}, and this is {today}: equal seeds give other bits"
