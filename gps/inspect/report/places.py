"""Where on a map the starts of a run lie: by the one or two numbers in which their conditions differ."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def places(trained: Sequence[Mapping[str, Any]], unseen: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The names of the axes, and the coordinates of the trained and the unseen starts.

    None where the conditions differ in more than two numbers, in something that is no number, or not at all.
    """
    tables = [dict(_leaves(condition)) for condition in (*trained, *unseen)]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    varying = [key for key in keys if len({repr(table.get(key)) for table in tables}) > 1]
    known = all(_is_number(table.get(key)) for table in tables for key in varying)
    if not 1 <= len(varying) <= 2 or not known:
        return None
    rows = [[float(table[key]) for key in varying] for table in tables]
    return {"axes": varying, "trained": rows[: len(trained)], "unseen": rows[len(trained) :]}


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """`slot[0]`, `slot[1]` for a list, `body.size` for a table within a table."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}[{i}]")
    else:
        yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
