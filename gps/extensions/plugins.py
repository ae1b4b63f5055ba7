"""Find the plug-ins of other packages by their entry points.

A package declares in its metadata names in these groups, each for an object:

- `gps.environments`, used as `environment.id = "NAME"`: a `gymnasium.Env`, a `MujocoEnv` or another class of batch
  environments;
- `gps.costs`, used as `[[cost]]` with `name = "NAME"`: `factory(layout, horizon, **options)` returns a cost, a JAX
  function of (x, u, t); `layout` has the slice of each part of the state;
- `gps.dynamics`, used as `algorithm.dynamics.prior.name = "NAME"`: `factory(problem, **options)` returns a
  `gps.dynamics.prior.DynamicsPrior`;
- `gps.algorithms`, used as `algorithm.name = "NAME"`: `factory(problem, config)` returns a
  `gps.algorithms.algorithm.Algorithm`; its own keys are `config.algorithm.options`.

`problem` is the `gps.problem.Problem`, `config` the whole experiment, and `options` are the keys of the section that
are specific to the plug-in.
"""

import functools
import os
import sys
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from gps.errors import ConfigError, nearest, one_line


def names(group: str) -> tuple[str, ...]:
    """Return the names that the installed packages declare in a group."""
    return tuple(sorted({point.name for point in _installed(group)}))


def find(group: str, name: str, key: str) -> EntryPoint:
    """Return the entry point of a name.

    Args:
        key: the key of the experiment, for messages.

    Raises:
        ConfigError: if no installed package declares the name.
    """
    found = [point for point in _installed(group) if point.name == name]
    if not found:
        known = names(group)
        have = f"; installed are {', '.join(known)}" if known else "; no installed package adds any"
        raise ConfigError(f"{key}: no entry point {name!r} in the group {group}{nearest(name, known)}{have}")
    return found[0]


def load(group: str, name: str, key: str) -> Any:
    """Import and return the object that a name stands for.

    Raises:
        ConfigError: if no installed package declares the name, or the object cannot be imported.
    """
    point = find(group, name, key)
    try:
        return point.load()
    except Exception as error:
        text = one_line(error)
        raise ConfigError(f"{key}: the entry point {point.value} failed: {type(error).__name__}: {text}") from error


def _installed(group: str) -> EntryPoints:
    return _read(group, tuple((folder, _find_change(folder)) for folder in sys.path))


def _find_change(folder: str) -> int:
    """When a folder last changed, as it does when a package is installed there; 0 where it is none."""
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=16)
def _read(group: str, path: tuple[tuple[str, int], ...]) -> EntryPoints:
    """Read the metadata of all packages on Python's path: some 10 ms, for which each configuration asks often."""
    return entry_points(group=group)
