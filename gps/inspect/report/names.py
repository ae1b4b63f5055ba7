"""The names of a state vector's entries, and the groups in which they are plotted."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gps.environments.contract import Entry

_AXES = "xyz"
_JOINT = re.compile(r"(qpos|qvel):(.+?)(?:\[(\d+)\])?")
_QUANTITIES = {"rad": "angle", "m": "position", "rad/s": "speed", "m/s": "speed"}
"""The word for a joint's coordinate, by its unit."""
_PER_GROUP = 12  # plots side by side


@dataclasses.dataclass(frozen=True)
class EntryGroup:
    """Entries of the state that are plotted together."""

    name: str
    indices: list[int]


@dataclasses.dataclass(frozen=True)
class SpatialPoint:
    """A part of the state that is a place in space."""

    name: str
    indices: list[int]
    relative: bool  # to a target, which is the origin


def label_entries(layout: Mapping[str, slice] | None, dx: int, entries: Sequence[Entry] = ()) -> list[str]:
    """Name each entry of the state.

    A joint's coordinate by its joint, as in `knee angle`; the others by their part where the layout is known, otherwise
    x0, x1, …

    Args:
        entries: dx names and units, as the environment gives them; empty where they are unknown.
    """
    found = _label_parts(layout, dx)
    for i, entry in enumerate(entries):
        if (match := _JOINT.fullmatch(entry.name)) and (quantity := _QUANTITIES.get(entry.unit)):
            _, joint, number = match.groups()
            found[i] = f"{joint} {quantity}" if number is None else f"{joint} {quantity} {number}"
    return found


def label_actions(du: int, entries: Sequence[Entry] = ()) -> list[str]:
    """Name each entry of the action: by its actuator, otherwise u0, u1, …

    Args:
        entries: du names and units, as the environment gives them; empty where they are unknown.
    """
    named = [f"u{i}" for i in range(du)]
    for i, entry in enumerate(entries):
        if not re.fullmatch(r"(action)?(\[\d+\])?", entry.name):  # the environment knows no name either
            named[i] = entry.name
    return named


def _label_parts(layout: Mapping[str, slice] | None, dx: int) -> list[str]:
    found = [f"x{i}" for i in range(dx)]
    for part, where in (layout or {}).items():
        indices = range(*where.indices(dx))
        kind, _, name = part.partition(":")
        spatial = kind.startswith("site_") and len(indices) == len(_AXES)
        shown = name if kind == "site_position" else f"velocity of {name}" if kind == "site_velocity" else part
        for i, index in enumerate(indices):
            found[index] = shown if len(indices) == 1 else f"{shown} {_AXES[i] if spatial else i}"
    return found


def group_entries(layout: Mapping[str, slice] | None, dx: int) -> list[EntryGroup]:
    """Group the entries by parts of the state, long ones in pieces; first all together where they are few."""
    parts = {part: list(range(*where.indices(dx))) for part, where in (layout or {}).items()}
    named = {index for indices in parts.values() for index in indices}
    if rest := [index for index in range(dx) if index not in named]:
        parts["the rest" if parts else "state"] = rest
    found = [EntryGroup("all", list(range(dx)))] if dx <= _PER_GROUP and len(parts) > 1 else []
    for part, indices in parts.items():
        pieces = [indices[i : i + _PER_GROUP] for i in range(0, len(indices), _PER_GROUP)]
        for i, piece in enumerate(pieces):
            first = i * _PER_GROUP
            name = part if len(pieces) == 1 else f"{part}, {first} to {first + len(piece) - 1}"
            found.append(EntryGroup(name, piece))
    return found


def find_points(layout: Mapping[str, slice] | None, dx: int) -> list[SpatialPoint]:
    """Find the parts that are places in space.

    These are `site_position:A`, and `site_position:A-B`, whose target is the origin.
    """
    found = []
    for part, where in (layout or {}).items():
        kind, _, name = part.partition(":")
        indices = list(range(*where.indices(dx)))
        if kind == "site_position" and len(indices) == len(_AXES):
            found.append(SpatialPoint(name, indices, relative="-" in name))
    return found
