"""Parse the seeds and values that a sweep varies; make one table of values for each setting."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gps.config import parse_value
from gps.errors import SweepError

MAX_RUNS = 100_000
"""The largest sweep; a larger one is taken for a typing error."""

_CLOSING = {"[": "]", "{": "}"}


def parse_seeds(given: str | int | Iterable[int]) -> list[int]:
    """Return the seeds in order and without repetition, from `"0-9"`, `"0,3,5"`, `"0-3,7"`, a number, or numbers.

    Raises:
        SweepError: if the text has another form.
    """
    if isinstance(given, int):
        given = [given]
    if not isinstance(given, str):
        return list(dict.fromkeys(map(int, given)))
    found: dict[int, None] = {}
    for part in given.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise SweepError(f"--seeds {given}: expected a form such as 0-9, 0,3,5 or 0-3,7")
        if last - first >= MAX_RUNS:
            raise SweepError(f"--seeds {given}: more than {MAX_RUNS} seeds")
        found |= dict.fromkeys(range(first, last + 1))
    return list(found)


def split_values(text: str) -> list[str]:
    """Split `1,2,5` at its commas, except those within quotes, brackets or braces."""
    parts, start, quote, open_ = [], 0, "", ""
    for match in re.finditer(r"\\.|[\"'\[\]{},]", text):
        mark = match[0]
        if quote:
            quote = "" if mark == quote else quote
        elif mark in ("'", '"'):
            quote = mark
        elif mark in _CLOSING:
            open_ += _CLOSING[mark]
        elif open_:
            open_ = open_.removesuffix(mark)
        elif mark == ",":
            parts.append(text[start : match.start()])
            start = match.end()
    return [part.strip() for part in [*parts, text[start:]]]


def collect_values(overrides: Sequence[str], settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return key -> list of values, from overrides such as `"a.b=1,2"` and from Python values by key.

    Raises:
        SweepError: if a key has no value or is given twice.
    """
    found: dict[str, list[Any]] = {}
    typed = [(key, split_values(text) if equals else []) for key, equals, text in (o.partition("=") for o in overrides)]
    given = [(key, [*map(parse_value, texts)] if "" not in texts else []) for key, texts in typed]
    given += [(key, list(some) if isinstance(some, list | tuple | range) else [some]) for key, some in settings.items()]
    for spelt, values in given:
        key = ".".join(part.strip() for part in spelt.split("."))
        if not key or not values:
            raise SweepError(f"--set {spelt}: expected section.key=value or section.key=value,value")
        if key in found:
            raise SweepError(f"--set {key}: given twice; give all its values at once: {key}=1,2")
        if key == "seed":
            raise SweepError("--set seed: use --seeds 0-9 instead")
        found[key] = list({to_toml(value, key): value for value in values}.values())
    return found


def make_grid(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values; the last key changes fastest."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def format_overrides(setting: Mapping[str, Any]) -> list[str]:
    """Return a setting as overrides for `gps run --set`."""
    return [f"{key}={to_toml(value, key)}" for key, value in setting.items()]


def describe_setting(setting: Mapping[str, Any]) -> str:
    """Return a setting as readable text, `kl_step=2,samples=5`, with each key as short as it is unambiguous."""
    return ",".join(f"{_shorten_key(key, setting)}={_format_value(value, key)}" for key, value in setting.items())


def make_folder_name(setting: Mapping[str, Any]) -> str:
    """Return a folder name for a setting, unique to it; empty for an empty setting."""
    text = describe_setting(setting)
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "_", text)[:80]
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def to_toml(value: Any, key: str) -> str:
    """Return a Python value as TOML on one line.

    Raises:
        SweepError: if TOML has no such value; the message names the key.
    """
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(str(k))} = {to_toml(v, key)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(to_toml(item, key) for item in value) + "]"
    raise SweepError(f"{key}: expected a number, a string, a list or a table, got {type(value).__name__}")


def _shorten_key(key: str, others: Iterable[str]) -> str:
    """Return the shortest suffix of a dotted key that no other key has: `kl_step` for `algorithm.kl_step`."""
    parts = key.split(".")
    ends = [".".join(parts[-n:]) for n in range(1, len(parts))]
    return next((end for end in ends if not any(k != key and f".{k}".endswith(f".{end}") for k in others)), key)


def _format_value(value: Any, key: str) -> str:
    """Return a value as TOML, without quotes if it is an unambiguous word."""
    is_word = isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) and parse_value(value) == value
    return value if is_word else to_toml(value, key)
