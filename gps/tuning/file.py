"""Read `tune.toml`: the parameters to search, and how long."""

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from gps.config.reading import validate
from gps.config.section import ListOf, Section
from gps.errors import ConfigError
from gps.storage.folders import read_text

SPACE = "tune.toml"


class ParameterConfig(Section):
    """`[[parameter]]`: a key of `experiment.toml` with its range, or with its values."""

    key: str = Field(min_length=1, description="a dotted key, such as algorithm.kl_step")
    low: float | int | None = Field(default=None, description="lowest value of a range; whole numbers make an integer")
    high: float | int | None = Field(default=None, description="highest value of a range")
    log: bool = Field(default=False, description="search the logarithm of a range")
    values: ListOf[Any] = Field(default=(), description="the values, in place of a range")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        ranged = self.low is not None and self.high is not None
        if ranged == bool(self.values) or (self.low is None) != (self.high is None):
            raise ValueError(f"{self.key}: expected low and high, or values")
        if self.low is not None and self.high is not None:
            if not self.low < self.high:
                raise ValueError(f"{self.key}: low must be less than high, got {self.low} and {self.high}")
            if self.log and self.low <= 0:
                raise ValueError(f"{self.key}: log needs a positive low, got {self.low}")
        elif len(self.values) < 2:
            raise ValueError(f"{self.key}: expected at least two values")
        return self

    @property
    def examples(self) -> tuple[Any, ...]:
        """The values, or the ends of the range."""
        return tuple(self.values) or (self.low, self.high)


class SpaceConfig(Section):
    """The whole file."""

    trials: int = Field(default=16, ge=2, description="settings that are tried with the first seed")
    seeds: str = Field(default="0-3", description="of the best settings; the others get the first 1, 2, 4, … of them")
    measure: Literal["cost", "return", "success"] = Field(default="cost", description="what the final score is")
    parameter: ListOf[ParameterConfig] = Field(min_length=1, description="the parameters")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        keys = [parameter.key for parameter in self.parameter]
        if doubled := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"parameter: {doubled} is there twice")
        return self


def read_space(path: Path) -> SpaceConfig:
    """Read a file.

    Raises:
        ConfigError: if there is none, or it is invalid: one line for each error.
    """
    try:
        raw = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: not there; gps tune needs [[parameter]] tables, see docs/sweeps.md") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    return validate(SpaceConfig, raw, str(path))
