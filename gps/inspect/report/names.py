"""What a state vector's entries are called, and in which groups a person looks at them."""

from collections.abc import Mapping
from typing import Any

_AXES = "xyz"
_PER_GROUP = 12  # plots side by side


def entries(layout: Mapping[str, slice] | None, dx: int) -> list[str]:
    """A name for each entry of the state: of its part where the layout is known, else x0, x1, …"""
    found = [f"x{i}" for i in range(dx)]
    for part, where in (layout or {}).items():
        indices = range(*where.indices(dx))
        kind, _, name = part.partition(":")
        spatial = kind.startswith("site_") and len(indices) == len(_AXES)
        shown = name if kind == "site_position" else f"velocity of {name}" if kind == "site_velocity" else part
        for i, index in enumerate(indices):
            found[index] = shown if len(indices) == 1 else f"{shown} {_AXES[i] if spatial else i}"
    return found


def groups(layout: Mapping[str, slice] | None, dx: int) -> list[dict[str, Any]]:
    """The parts of the state with their indices, long ones in pieces; all together first where they are few."""
    parts = {part: list(range(*where.indices(dx))) for part, where in (layout or {}).items()}
    named = {index for indices in parts.values() for index in indices}
    if rest := [index for index in range(dx) if index not in named]:
        parts["the rest" if parts else "state"] = rest
    found = [{"name": "all", "indices": list(range(dx))}] if dx <= _PER_GROUP and len(parts) > 1 else []
    for part, indices in parts.items():
        pieces = [indices[i : i + _PER_GROUP] for i in range(0, len(indices), _PER_GROUP)]
        for i, piece in enumerate(pieces):
            first = i * _PER_GROUP
            name = part if len(pieces) == 1 else f"{part}, {first} to {first + len(piece) - 1}"
            found.append({"name": name, "indices": piece})
    return found


def points(layout: Mapping[str, slice] | None, dx: int) -> list[dict[str, Any]]:
    """The parts that are places in space: `site_position:A-B`, whose target is the origin, and `site_position:A`."""
    found = []
    for part, where in (layout or {}).items():
        kind, _, name = part.partition(":")
        indices = list(range(*where.indices(dx)))
        if kind == "site_position" and len(indices) == len(_AXES):
            found.append({"name": name, "indices": indices, "relative": "-" in name})
    return found
