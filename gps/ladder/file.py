"""Read `ladder.toml`: the budget, the seeds and the rungs."""

import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from gps.config.reading import validate
from gps.config.section import ListOf, Section
from gps.errors import ConfigError, nearest
from gps.storage.folders import read_text

LADDER = "ladder.toml"


class RungConfig(Section):
    """`[[rung]]`: an algorithm on the task of the ladder. Its tables replace those of `experiment.toml`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}$", description="short, without spaces; unique")
    family: str = Field(min_length=1, description="heading under which the rungs stand together")
    title: str = Field(min_length=1, description="what it does, in a few words")
    seeds: str | None = Field(default=None, description="such as 0-4; default: the ladder's")
    budget: int | None = Field(default=None, ge=1, description="environment steps of a run; default: the ladder's")
    environment: dict[str, Any] = Field(default={}, description="keys that differ, such as `state`; the task may not")
    algorithm: dict[str, Any] = Field(description="`[algorithm]` of an experiment, without `iterations`")
    cost: ListOf[dict[str, Any]] | None = Field(default=None, description="`[[cost]]`; default: the experiment's")


class LadderConfig(Section):
    """The whole file."""

    title: str = Field(min_length=1, description="heading of the page")
    about: str = Field(default="", description="a paragraph below the heading: the task, and what to look at")
    budget: int = Field(ge=1, description="environment steps of each run, a probe before the first iteration included")
    seeds: str = Field(default="0-2", description="of each rung, such as 0-4")
    plane: ListOf[str] = Field(
        default=(),
        description="two entries of the state, by name, in which data and plans are drawn; default: the first two",
    )
    labels: ListOf[str] = Field(
        default=(), description="what the page calls these two, such as `angle, rad`; default: names and units"
    )
    rung: ListOf[RungConfig] = Field(min_length=1, description="the rungs, from the lowest to the highest")

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if len(self.plane) not in (0, 2):
            raise ValueError(f"plane: expected the names of two entries of the state, got {len(self.plane)}")
        if len(self.labels) not in (0, 2):
            raise ValueError(f"labels: expected one for each of two entries of the state, got {len(self.labels)}")
        return self

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [rung.name for rung in self.rung]
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"rung: two rungs have the name {doubled}")
        return self

    def choose(self, names: list[str] | None) -> list[RungConfig]:
        """The rungs of these names, in the order of the file; all for None.

        Raises:
            ConfigError: for a name that no rung has.
        """
        known = [rung.name for rung in self.rung]
        for name in names or ():
            if name not in known:
                hint = nearest(name, known) or f"; there are {', '.join(known)}"
                raise ConfigError(f"--rungs {name}: no such rung{hint}")
        return [rung for rung in self.rung if names is None or rung.name in names]


def read_ladder(directory: Path) -> LadderConfig:
    """Read the ladder in a directory.

    Raises:
        ConfigError: if there is none, or it is invalid: one line for each error.
    """
    file = directory / LADDER
    try:
        raw = tomllib.loads(read_text(file))
    except FileNotFoundError:
        parent, name = directory.parent, directory.name
        beside = [path.parent.name for path in parent.glob(f"*/{LADDER}")] if parent.is_dir() else []
        raise ConfigError(f"{directory}: no {LADDER} in this directory{nearest(name, beside)}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{file}: {error}") from None
    return validate(LadderConfig, raw, str(file))
