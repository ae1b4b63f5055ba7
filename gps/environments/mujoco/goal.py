"""A goal without Python: a distance that shall be small when an episode ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """Success means that two points are near each other.

    Attributes:
        distance: `SITE-TARGET`, as in a part `site_position:SITE-TARGET`.
        within: the largest distance at the goal, m.
        since: which states must be there: the "last" of an episode, "any" of them, or all in the last so many seconds.
    """

    distance: str
    within: float
    since: Literal["last", "any"] | float = "last"

    @property
    def hold(self) -> float:
        """The seconds at the goal without a break."""
        return 0.0 if isinstance(self.since, str) else float(self.since)

    @property
    def stays(self) -> bool:
        """True if a success remains one whatever comes after."""
        return self.since == "any"
