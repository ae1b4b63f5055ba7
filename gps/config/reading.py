"""Reading an experiment file: TOML and overrides in, a validated `ExperimentConfig` or a `ConfigError` out."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gps.config.algorithm import OnTrouble
from gps.config.experiment import ExperimentConfig
from gps.config.explaining import KeyPath, explain, kinds_at, usual_at
from gps.config.section import Section
from gps.errors import ConfigError, nearest

FILE_NAME = "experiment.toml"
MAX_BYTES = 1 << 20
"""A larger experiment file is refused."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment.

    Args:
        path: its directory, or the file itself.
        overrides: `section.key=value`, the value in TOML or a bare string; `cost.0.weight=2` reaches into a list.

    Raises:
        ConfigError: one line for everything that is wrong.
    """
    path = Path(path)
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: there is no such experiment{nearest(path.name, siblings)}")
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{file}: larger than {MAX_BYTES >> 20} MiB, which no experiment file is")
        text = content.decode()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no {FILE_NAME} in this directory") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: line {line}: not UTF-8 text") from None
    return parse(text, str(file), overrides)


def parse(text: str, place: str = FILE_NAME, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """As `load`, from the text of a file that messages call `place`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: {_syntax_error(error)}") from None
    except RecursionError:
        raise ConfigError(f"{place}: nested too deeply") from None
    places: dict[KeyPath, str] = {}
    for override in overrides:
        places[_override(raw, override, places)] = f"--set {override}"
    try:
        return ExperimentConfig.model_validate(raw)
    except ValidationError as error:
        lines = [
            ": ".join(filter(None, (_place(path, places) or place, ".".join(map(str, path)), message)))
            for path, message in explain(error, ExperimentConfig, raw)
        ]
        raise ConfigError("\n".join(lines)) from None


def replaced(
    config: ExperimentConfig,
    *,
    seed: int | None = None,
    iterations: int | None = None,
    on_trouble: OnTrouble | None = None,
) -> ExperimentConfig:
    """The same with another seed, number of iterations or way to take trouble, where one is given.

    Raises:
        ConfigError: if one is out of range.
    """
    given = {"seed": seed, "algorithm.iterations": iterations, "algorithm.on_trouble": on_trouble}
    overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
    return parse(config.to_toml(), FILE_NAME, overrides) if overrides else config


def _syntax_error(error: tomllib.TOMLDecodeError) -> str:
    """`line 3, column 5: invalid value` from `Invalid value (at line 3, column 5)`."""
    message, _, where = str(error).rpartition(" (at ")
    return f"{where.rstrip(')')}: {message[:1].lower()}{message[1:]}" if message else str(error)


def _override(raw: dict[str, Any], override: str, earlier: Iterable[KeyPath]) -> KeyPath:
    """Write an override into the table; returns where.

    Naming another kind of a table (`algorithm.name=pi2`) drops the file's keys that only the kind it was has. Those
    that both kinds share stay, and so does what `earlier` overrides have written, to be refused where it is wrong.
    """
    target, equals, text = override.partition("=")
    parts = [part.strip() for part in target.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {override}: expected section.key=value")
    node: Any = raw
    path: KeyPath = ()
    key: Any = None
    for part in parts:
        where, key = ".".join(map(str, path)), part
        if isinstance(node, list):
            if not re.fullmatch(r"\d{1,9}", part) or int(part) >= len(node):
                raise ConfigError(f"--set {override}: {where} is a list of {len(node)}, counted from 0; got {part!r}")
            key = int(part)
        elif not isinstance(node, dict):
            raise ConfigError(f"--set {override}: {where} is not a section")
        path += (key,)
        if len(path) < len(parts):
            node = node[key] if isinstance(node, list) else node.setdefault(key, {})
    value = value_of(text)
    if key == "name" and len(kinds := kinds_at(ExperimentConfig, path[:-1])) > 1:
        old = node.get("name", usual_at(ExperimentConfig, path[:-1]) or value)
        if old != value:
            keep = _shared(*(kinds.get(str(name), kinds.get("plugin")) for name in (old, value)))
            keep |= {
                where[len(path) - 1]
                for where in earlier
                if len(where) >= len(path) and where[: len(path) - 1] == path[:-1]
            }
            for other in [other for other in node if other not in keep]:
                del node[other]
    node[key] = value
    return path


def _shared(*kinds: type[Section] | None) -> set[Any]:
    """The keys that sections have from a common base."""
    bases = set.intersection(*({*kind.__mro__} if kind else set() for kind in kinds))
    return {key for base in bases if issubclass(base, Section) for key in base.model_fields}


def value_of(text: str) -> Any:
    """A TOML value, or the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return table["value"] if table.keys() == {"value"} else text


def _place(path: KeyPath, places: dict[KeyPath, str]) -> str | None:
    """The last override that had to do with `path`."""
    related = [text for where, text in places.items() if where == path[: len(where)] or path == where[: len(path)]]
    return related[-1] if related else None
