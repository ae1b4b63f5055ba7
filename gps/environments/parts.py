"""Parts of a state by name: `"qvel"`, or some of a part's entries: `"qvel[0,2]"`, `"site_position:tip[xy]"`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gps.errors import nearest

Layout = Mapping[str, slice]

_ENTRIES = re.compile(r"(.*?)(?:\[([xyz]+|\d+(?:,\d+)*)\])?", re.S)


class PartError(ValueError):
    """A part that cannot be.

    Args:
        of: what it was to be a part of: "state" or "observation".
    """

    def __init__(self, of: str, what: str) -> None:
        super().__init__(f"{of}: {what}")


def whole(part: str) -> str:
    """The part that a name speaks of, without its choice of entries."""
    return _ENTRIES.fullmatch(part).group(1)  # type: ignore[union-attr]


def listed_twice(parts: Sequence[str]) -> str:
    """What to say of parts of which one is there twice; empty where none is."""
    twice = [part for i, part in enumerate(parts) if part in parts[:i]]
    return f"part {twice[0]!r} is listed twice" if twice else ""


def entries(part: str, layout: Layout) -> list[int]:
    """The entries of the state that a name stands for, in order.

    Args:
        layout: the slice of each part.

    Raises:
        ValueError: if there is no such part, or it has fewer entries.
    """
    if part in layout:
        return list(range(layout[part].start, layout[part].stop))
    name, chosen = _ENTRIES.fullmatch(part).groups()  # type: ignore[union-attr]
    if name not in layout:
        raise ValueError(f"unknown part {name!r} of the state{nearest(name, layout)}; known: {list(layout)}")
    all_of_it = range(layout[name].start, layout[name].stop)
    numbers = ["xyz".index(c) for c in chosen] if chosen[0] in "xyz" else [int(n) for n in chosen.split(",")]
    if max(numbers) >= len(all_of_it):
        raise ValueError(f"part {part!r}: {name!r} has {len(all_of_it)} entries, counted from 0")
    return [all_of_it[n] for n in numbers]
