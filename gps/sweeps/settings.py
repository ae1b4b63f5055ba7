"""What a sweep varies: seeds and values as they are typed, to one table of values for each setting."""

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
"""A larger sweep is taken for a slip of the keyboard."""

_CLOSING = {"[": "]", "{": "}"}


def seeds(given: str | int | Iterable[int]) -> list[int]:
    """Seeds in order, each once, from `"0-9"`, `"0,3,5"`, `"0-3,7"`, one number, or numbers.

    Raises:
        SweepError: if the text is none of these.
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
            raise SweepError(f"--seeds {given}: expected such as 0-9, 0,3,5 or 0-3,7")
        if last - first >= MAX_RUNS:
            raise SweepError(f"--seeds {given}: more than {MAX_RUNS} seeds")
        found |= dict.fromkeys(range(first, last + 1))
    return list(found)


def split_values(text: str) -> list[str]:
    """The values in `1,2,5`. A comma within quotes, brackets or braces separates nothing."""
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


def values_of(overrides: Sequence[str], settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Key -> its values, from `"a.b=1,2"` as typed and from Python values by key.

    Raises:
        SweepError: for a key without a value, or given twice.
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
            raise SweepError(f"--set {key}: given twice; write all its values in one: {key}=1,2")
        if key == "seed":
            raise SweepError("--set seed: say --seeds 0-9 instead")
        found[key] = list({to_toml(value, key): value for value in values}.values())
    return found


def grid(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values, the last key changing fastest."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def overrides_of(setting: Mapping[str, Any]) -> list[str]:
    """As `--set` of `gps run` takes it."""
    return [f"{key}={to_toml(value, key)}" for key, value in setting.items()]


def describe(setting: Mapping[str, Any]) -> str:
    """A setting for people: `kl_step=2,samples=5`; each key as short as it can be told from the others."""
    return ",".join(f"{_label(key, setting)}={_plain(value, key)}" for key, value in setting.items())


def folder_name(setting: Mapping[str, Any]) -> str:
    """The same as a name for a folder; empty for an empty setting. Two settings never share one."""
    text = describe(setting)
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "_", text)[:80]
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def to_toml(value: Any, key: str) -> str:
    """A Python value as TOML on one line.

    Raises:
        SweepError: names the key, where TOML has no such value.
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


def _label(key: str, others: Iterable[str]) -> str:
    """The shortest end of a dotted key that no other key has: `kl_step` for `algorithm.kl_step`."""
    parts = key.split(".")
    ends = [".".join(parts[-n:]) for n in range(1, len(parts))]
    return next((end for end in ends if not any(k != key and f".{k}".endswith(f".{end}") for k in others)), key)


def _plain(value: Any, key: str) -> str:
    """A value as TOML, but a word that can be nothing else without its quotes."""
    is_word = isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) and parse_value(value) == value
    return value if is_word else to_toml(value, key)
