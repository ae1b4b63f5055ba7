"""The versions of everything that a run depends on."""

import contextlib
import importlib.metadata
import platform

from gps.version import __version__

_PACKAGES = ("numpy", "scipy", "scikit-learn", "jax", "jaxlib", "equinox", "optax", "mujoco", "gymnasium", "pydantic")


def list_versions() -> dict[str, str]:
    """Package -> version, with those of Python and of the platform."""
    versions = {"gps": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions | {"platform": platform.platform()}
