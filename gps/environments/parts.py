"""Parts of a state by name: `"qvel"`, or some of a part's entries: `"qvel[0,2]"`, `"site_position:tip[xy]"`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gps.errors import nearest

Layout = Mapping[str, slice]

_ENTRIES = re.compile(r"(.*?)(?:(?<!-)\[([xyz]+|\d+(?:,\d+)*)\])?", re.S)  # "tip-[0,0,1]" ends with a point


class PartError(ValueError):
    """A part that is unknown or not allowed.

    Args:
        of: "state" or "observation", which lists the part.
    """

    def __init__(self, of: str, what: str) -> None:
        super().__init__(f"{of}: {what}")


def whole(part: str) -> str:
    """The part without its choice of entries: "qvel" for "qvel[0,2]"."""
    return _ENTRIES.fullmatch(part).group(1)  # type: ignore[union-attr]


def require_distinct(parts: Sequence[str]) -> None:
    """ValueError if a part is listed twice."""
    twice = [part for i, part in enumerate(parts) if part in parts[:i]]
    if twice:
        raise ValueError(f"part {twice[0]!r} is listed twice")


def find_entries(part: str, layout: Layout, names: Sequence[str] = ()) -> list[int]:
    """Return the indices of a part's entries in the state, in order.

    Args:
        layout: the slice of each part.
        names: the name of each entry of the state; with them, a joint is a part where all joints are, as "qpos:elbow"
            is where "qpos" is in the layout.

    Raises:
        ValueError: if there is no such part, or it has fewer entries.
    """
    layout = {**_find_inner_parts(layout, names), **layout}
    if part in layout:
        return list(range(layout[part].start, layout[part].stop))
    name, chosen = _ENTRIES.fullmatch(part).groups()  # type: ignore[union-attr]
    if name not in layout:
        raise ValueError(f"unknown part {name!r} of the state{nearest(name, layout)}; known: {', '.join(layout)}")
    all_of_it = range(layout[name].start, layout[name].stop)
    numbers = ["xyz".index(c) for c in chosen] if chosen[0] in "xyz" else [int(n) for n in chosen.split(",")]
    if max(numbers) >= len(all_of_it):
        raise ValueError(f"part {part!r}: {name!r} has {len(all_of_it)} entries, counted from 0")
    return [all_of_it[n] for n in numbers]


def _find_inner_parts(layout: Layout, names: Sequence[str]) -> dict[str, slice]:
    """The slices of the parts within the whole parts of a layout, such as "qpos:elbow" in "qpos"."""
    inner: dict[str, slice] = {}
    for part, where in layout.items():
        for i in range(where.start, min(where.stop, len(names))):
            name = whole(names[i])
            if name.startswith(f"{part}:"):
                inner[name] = slice(inner[name].start if name in inner else i, i + 1)
    return inner


def name_part(part: str, width: int) -> list[str]:
    """Name each of a part's `width` entries: `PART[i]`, or `PART` for a part of one entry.

    A choice of entries keeps the numbers or letters of the whole part: "qvel[0,2]" gives "qvel[0]" and "qvel[2]".
    """
    name, chosen = _ENTRIES.fullmatch(part).groups()  # type: ignore[union-attr]
    marks = [] if chosen is None else list(chosen) if chosen[0] in "xyz" else chosen.split(",")
    if len(marks) == width:
        return [f"{name}[{mark}]" for mark in marks]
    return [part] if width == 1 else [f"{part}[{i}]" for i in range(width)]
