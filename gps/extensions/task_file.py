"""Load the experiment's `task.py`, the Python definitions of a user, with the modules beside it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from gps.errors import ConfigError, nearest, one_line
from gps.extensions import isolated
from gps.extensions.clash import find_clash

NAME = "task.py"


def find(path: Path, name: str, key: str) -> Any:
    """Return the object called `name` in the file at `path`.

    Args:
        key: the key of `experiment.toml` that refers to the name, for messages.

    Raises:
        ConfigError: if the file is missing, raises an exception, or lacks the name.
    """
    module = _load(path, key)
    if not hasattr(module, name):
        public = [other for other in vars(module) if not other.startswith("_")]
        raise ConfigError(f"{path}: no {name!r}, which {key} refers to{nearest(name, public)}")
    return getattr(module, name)


def _load(path: Path, key: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{path}: missing, but {key} refers to it")
    try:
        return isolated.load(path)
    except Exception as error:
        text = isolated.strip_names(one_line(error))
        said = "; ".join(filter(None, (text, find_clash(error))))
        raise ConfigError(f"{path}: {type(error).__name__}: {said}") from error
