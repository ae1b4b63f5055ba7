"""Name groups by few settings: the fewest that tell the groups apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gps.inspect.comparison.member import EXPERIMENT

_LONGEST = 60


def name_groups(
    settings: Sequence[Mapping[str, Any]], differing: Mapping[str, Sequence[str]], whole: bool = False
) -> list[tuple[str, str]]:
    """Return a short name of each group, and all of its settings that differ, as text.

    A name has the experiment, if there are several, and a value of each setting that is needed to tell the groups
    of the experiment apart: first those that name a kind (`algorithm.name`), which stand without their key, then the
    settings that tell most groups apart.

    Args:
        settings: of each group, by dotted key.
        differing: the keys that define the groups of each experiment.
        whole: name all of them.
    """
    shown = _shorten_keys(list(dict.fromkeys(key for keys in differing.values() for key in keys)))
    names = [("", "")] * len(settings)
    for experiment, keys in differing.items():
        those = [i for i, item in enumerate(settings) if item[EXPERIMENT] == experiment]
        values = [{key: repr(settings[i].get(key)) for key in keys} for i in those]
        chosen = list(keys) if whole else _choose_keys(keys, values)
        for i, item in zip(those, values, strict=True):
            count = (
                len(chosen)
                if whole
                else next(n for n in range(len(chosen) + 1) if _is_unique(item, values, chosen[:n]))
            )
            needed = [key for key in keys if key in (EXPERIMENT, *chosen[:count])]
            short = ", ".join(_format_pair(key, shown[key], settings[i]) for key in needed)
            full = ", ".join(_format_pair(key, shown[key], settings[i]) for key in keys)
            names[i] = short or experiment, full
    return names


def _choose_keys(keys: Sequence[str], values: Sequence[Mapping[str, str]]) -> list[str]:
    """Return few keys that tell the groups apart as well as all do, the most telling first."""

    def count(some: Sequence[str]) -> int:
        return len({tuple(item[key] for key in some) for item in values})

    chosen: list[str] = []
    while count(chosen) < count(keys):
        gains = {key: count([*chosen, key]) for key in keys if count([*chosen, key]) > count(chosen)}
        kinds = [key for key in gains if key.endswith(".name")] or list(gains)
        # Two keys may tell apart only together: then none gains alone.
        chosen.append(max(kinds, key=gains.__getitem__) if kinds else next(key for key in keys if key not in chosen))
    return chosen


def _is_unique(item: Mapping[str, str], items: Sequence[Mapping[str, str]], keys: Sequence[str]) -> bool:
    """True if no more of the items have the same values of these keys than share all values with this one."""
    return sum(all(other[key] == item[key] for key in keys) for other in items) == sum(other == item for other in items)


def _shorten_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return each key with its shortest suffix that no other key has."""
    names = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[i:]) for i in reversed(range(len(parts))) if not parts[i].isdigit()]
        names[key] = next(
            (end for end in ends if sum(other == end or other.endswith("." + end) for other in keys) == 1), key
        )
    return names


def _format_pair(key: str, name: str, settings: Mapping[str, Any]) -> str:
    value = format_setting(settings.get(key))
    return value if key == EXPERIMENT or name == "name" else f"{name}={value}"


def format_setting(value: Any) -> str:
    """Return a value of a setting as text, cut where it is long."""
    if value is None:
        return "unset"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}…"
