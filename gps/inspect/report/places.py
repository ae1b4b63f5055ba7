"""Place the starts of a run on a map, by the one or two numbers in which their conditions differ."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Places:
    """The names of the axes, and the coordinates of the trained and of the unseen starts."""

    axes: list[str]
    trained: list[list[float]]
    unseen: list[list[float]]


def locate_starts(trained: Sequence[Mapping[str, Any]], unseen: Sequence[Mapping[str, Any]]) -> Places | None:
    """Locate the starts by their conditions.

    None where the conditions differ in more than two numbers, in a value that is no number, or not at all.
    """
    tables = [dict(_list_leaves(condition)) for condition in (*trained, *unseen)]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    varying = [key for key in keys if len({repr(table.get(key)) for table in tables}) > 1]
    known = all(_is_number(table.get(key)) for table in tables for key in varying)
    if not 1 <= len(varying) <= 2 or not known:
        return None
    rows = [[float(table[key]) for key in varying] for table in tables]
    return Places(varying, rows[: len(trained)], rows[len(trained) :])


def _list_leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield `slot[0]`, `slot[1]` for a list, `body.size` for a table within a table, each with its value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _list_leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _list_leaves(item, f"{name}[{i}]")
    else:
        yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
