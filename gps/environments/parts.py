"""Parts of a state by name: `"qvel"`, or some of a part's entries: `"qvel[0,2]"`, `"site_position:tip[xy]"`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gps.errors import nearest

Layout = Mapping[str, slice]


def entries(part: str, layout: Layout) -> list[int]:
    """The entries of the state that a name stands for, in order.

    Args:
        layout: the slice of each part.

    Raises:
        ValueError: if there is no such part, or it has fewer entries.
    """
    if part in layout:
        return list(range(layout[part].start, layout[part].stop))
    name, chosen = re.fullmatch(r"(.*?)(?:\[([xyz]+|\d+(?:,\d+)*)\])?", part, re.S).groups()  # type: ignore[union-attr]
    if name not in layout:
        raise ValueError(f"unknown part {name!r} of the state{nearest(name, layout)}; known: {list(layout)}")
    whole = range(layout[name].start, layout[name].stop)
    numbers = ["xyz".index(c) for c in chosen] if chosen[0] in "xyz" else [int(n) for n in chosen.split(",")]
    if max(numbers) >= len(whole):
        raise ValueError(f"{part!r}: the part has {len(whole)} entries, counted from 0")
    return [whole[n] for n in numbers]
