"""Read an experiment file: from TOML and overrides to a validated `ExperimentConfig`, or a `ConfigError`."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gps.config.algorithms.shared import OnTrouble
from gps.config.experiment import ExperimentConfig
from gps.config.explaining import KeyPath, explain, has_kinds, kinds_at, usual_at
from gps.config.finding import FILE_NAME, find_experiment
from gps.config.section import Section
from gps.errors import ConfigError
from gps.storage.folders import open_regular

MAX_BYTES = 1 << 20
"""Largest size of an experiment file."""

T = TypeVar("T", bound=Section)


def load(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment.

    Args:
        path: its directory, the file itself, or a name; see `find_experiment`.
        overrides: `section.key=value`, the value in TOML or a bare string; `cost.0.weight=2` changes an item of a list.

    Raises:
        ConfigError: with one line for each error.
    """
    path = find_experiment(path)
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with open_regular(file) as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{file}: larger than {MAX_BYTES >> 20} MiB, the limit for an experiment file")
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
    """Read an experiment from the text of a file; messages call the file `place`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: {_explain_syntax(error)}") from None
    except ValueError:  # Python reads no integer of thousands of digits
        raise ConfigError(f"{place}: an integer has too many digits") from None
    except RecursionError:
        raise ConfigError(f"{place}: nested too deeply") from None
    return validate(ExperimentConfig, raw, place, overrides)


def validate(model: type[T], raw: dict[str, Any], place: str, overrides: Sequence[str] = ()) -> T:
    """Apply overrides to a table, which changes it, and return it as a section.

    Args:
        model: the section at the top: `ExperimentConfig`, or that of a command.
        place: where the table is from, for messages.

    Raises:
        ConfigError: with one line for each error.
    """
    places: dict[KeyPath, str] = {}
    for override in overrides:
        places[_apply_override(model, raw, override, places)] = f"--set {override}"
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = [
            ": ".join(filter(None, (_find_override(path, places) or place, ".".join(map(str, path)), message)))
            for path, message in explain(error, model, raw)
        ]
        raise ConfigError("\n".join(lines)) from None


def replace_settings(
    config: ExperimentConfig,
    *,
    seed: int | None = None,
    iterations: int | None = None,
    on_trouble: OnTrouble | None = None,
) -> ExperimentConfig:
    """Return the config with another seed, number of iterations or reaction to trouble, if given.

    Raises:
        ConfigError: if one is out of range.
    """
    given = {"seed": seed, "algorithm.iterations": iterations, "algorithm.on_trouble": on_trouble}
    overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
    return parse(config.to_toml(), FILE_NAME, overrides) if overrides else config


def _explain_syntax(error: tomllib.TOMLDecodeError) -> str:
    """Turn `Invalid value (at line 3, column 5)` into `line 3, column 5: invalid value`."""
    message, _, where = str(error).rpartition(" (at ")
    return f"{where.rstrip(')')}: {message[:1].lower()}{message[1:]}" if message else str(error)


def _apply_override(model: type[Section], raw: dict[str, Any], override: str, earlier: Iterable[KeyPath]) -> KeyPath:
    """Write an override into the table; return its path.

    The bare name of a table's kind (`algorithm=pi2`) stands for `algorithm.name=pi2`, also in the file.
    Naming another kind of a table drops the file's keys that only the old kind has. Keys that
    both kinds share stay. Keys written by `earlier` overrides stay too, so that validation rejects wrong ones.
    """
    target, equals, text = override.partition("=")
    parts = [part.strip() for part in target.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {override}: expected section.key=value")
    value = parse_value(text)
    place = tuple(int(part) if part.isdecimal() else part for part in parts)
    bare = isinstance(value, str) and has_kinds(model, place)
    if bare:
        parts.append("name")
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
            inner = node[key] if isinstance(node, list) else node.setdefault(key, {})
            if isinstance(inner, str) and has_kinds(model, path):
                inner = node[key] = {"name": inner}
            node = inner
    if key == "name" and len(kinds := kinds_at(model, path[:-1])) > 1:
        old = node.get("name", usual_at(model, path[:-1]) or value)
        if old != value:
            keep = _shared_keys(*(kinds.get(str(name), kinds.get("plugin")) for name in (old, value)))
            keep |= {
                where[len(path) - 1]
                for where in earlier
                if len(where) >= len(path) and where[: len(path) - 1] == path[:-1]
            }
            for other in [other for other in node if other not in keep]:
                del node[other]
    node[key] = value
    return path[:-1] if bare else path


def _shared_keys(*kinds: type[BaseModel] | None) -> set[Any]:
    """Return the keys that sections inherit from a common base."""
    bases = set.intersection(*({*kind.__mro__} if kind else set() for kind in kinds))
    return {key for base in bases if issubclass(base, Section) for key in base.model_fields}


def parse_value(text: str) -> Any:
    """Return the TOML value that the text is, otherwise the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # not TOML, or an integer of thousands of digits
        return text
    return table["value"] if table.keys() == {"value"} else text


def _find_override(path: KeyPath, places: dict[KeyPath, str]) -> str | None:
    """Return the last override of `path` or of a key above or below it."""
    related = [text for where, text in places.items() if where == path[: len(where)] or path == where[: len(path)]]
    return related[-1] if related else None
