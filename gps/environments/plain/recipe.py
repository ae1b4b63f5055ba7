"""Make a plain Gymnasium environment, in this process or in another one."""

from __future__ import annotations

import dataclasses
import importlib
import tomllib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import tomli_w
from gymnasium.envs.registration import EnvSpec

from gps.errors import ConfigError, GpsError, nearest, one_line
from gps.extensions import task_file
from gps.extensions.clash import find_clash


@dataclass(frozen=True)
class Recipe:
    """The construction of an environment from a Gymnasium id or a `task.py`.

    Attributes:
        name: its name in messages: the experiment's `environment.id`.
        origin: Gymnasium's specification, or the file with a `"task:Class"`.
        options: keyword arguments of its constructor.
    """

    name: str
    origin: EnvSpec | Path
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> gymnasium.Env[Any, Any]:
        """Make a new environment.

        Raises:
            ConfigError: if its constructor raises.
        """
        try:
            if isinstance(self.origin, Path):
                return task_file.find(self.origin, self.name.partition(":")[2], "environment.id")(**self.options)
            # We check observations and rewards ourselves: better messages, and no cost of a wrapper.
            return gymnasium.make(self.origin, disable_env_checker=True, **self.options)
        except GpsError:
            raise
        except Exception as error:
            raise ConfigError(f"environment.id: {self.name!r} cannot be made: {describe_exception(error)}") from error

    def to_text(self) -> str | None:
        """Write the recipe for another process; None if it holds a function or an object that cannot be sent."""
        try:
            if isinstance(self.origin, Path):
                origin = {"file": str(self.origin.resolve())}
            else:
                origin = {"spec": dataclasses.replace(self.origin, vector_entry_point=None).to_json()}
            return tomli_w.dumps({"name": self.name, **origin, "options": dict(self.options)})
        except (TypeError, ValueError):
            return None

    @classmethod
    def from_text(cls, text: str) -> Recipe:
        """Read what `to_text` wrote."""
        table = tomllib.loads(text)
        origin = Path(table["file"]) if "file" in table else EnvSpec.from_json(table["spec"])
        return cls(table["name"], origin, table["options"])


def find_spec(name: str) -> EnvSpec:
    """Find Gymnasium's specification of an id, which may be `"package.module:Env-v0"`.

    Raises:
        ConfigError: if the module cannot be imported, or there is no such id.
    """
    module, _, id = name.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except Exception as error:
            why = f"the module {module!r} cannot be imported: {describe_exception(error)}"
            raise ConfigError(f"environment.id: {name!r}: {why}") from error
    if id not in gymnasium.registry:
        where = f"Gymnasium, also after importing {module!r}" if module else "Gymnasium"
        guess = nearest(id, gymnasium.registry)
        raise ConfigError(f"environment.id: no environment {id!r} is registered with {where}{guess}")
    return gymnasium.registry[id]


def describe_exception(error: BaseException) -> str:
    """Describe an exception in one line, with the place of its cause: `ValueError: too hot (robot.py:12)`.

    A package that was written for another MuJoCo is named.
    """
    text, clash = one_line(error), find_clash(error)
    if not clash and isinstance(error, gymnasium.error.Error | ModuleNotFoundError):
        return text  # their messages are complete
    frames = traceback.extract_tb(error.__traceback__)
    place = f"({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    described = " ".join(part for part in (f"{type(error).__name__}:", text, place) if part)
    return f"{described}; {clash}" if clash else described
