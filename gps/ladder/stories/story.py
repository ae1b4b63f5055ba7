"""A story of a ladder: a picture with its caption, and the run that it came from."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Num

from gps.inspect.comparison.member import Member
from gps.ladder.results import RungResult
from gps.ladder.rungs import Ladder
from gps.ladder.stories.words import name_entry
from gps.runs import Run

Role = Literal["data", "plan", "actual", "bound", "early", "late"]
"""What a trace stands for, which decides its colour and its line."""

_MOST_DOTS = 1500


@dataclasses.dataclass(frozen=True)
class StoryTrace:
    """A line or a cloud of dots."""

    name: str
    role: Role
    x: Num[np.ndarray, "n"]
    y: Num[np.ndarray, "n"]
    dots: bool = False
    bars: bool = False
    shade: float = 1.0  # 0 to 1, from the first of several lines to the last


@dataclasses.dataclass(frozen=True)
class Panel:
    """A plot of a story."""

    title: str
    x: str
    y: str
    traces: tuple[StoryTrace, ...]
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Story:
    """A picture with its caption of two sentences, and the run that it came from."""

    key: str
    heading: str
    caption: str
    rung: str
    seed: int
    path: Path
    panels: tuple[Panel, ...]


class StorySource(NamedTuple):
    """A finished run of a rung, of which a story can be told."""

    result: RungResult
    member: Member
    run: Run

    def tell(self, key: str, heading: str, caption: str, panels: Sequence[Panel]) -> Story:
        """The story of this run."""
        return Story(key, heading, caption, self.result.rung.name, self.member.seed, self.run.path, tuple(panels))


@dataclasses.dataclass(frozen=True)
class Plane:
    """The two entries of the state in which data and plans are drawn."""

    first: int
    second: int
    names: tuple[str, str]  # with units

    def cloud(self, name: str, role: Role, states: Float[np.ndarray, "n dx"]) -> StoryTrace:
        """States as dots."""
        thin = states[:: -(-len(states) // _MOST_DOTS) or 1]
        return StoryTrace(name, role, thin[:, self.first], thin[:, self.second], dots=True)

    def path(self, name: str, role: Role, states: Float[np.ndarray, "n dx"]) -> StoryTrace:
        """States as a line."""
        return StoryTrace(name, role, states[:, self.first], states[:, self.second])


def find_plane(run: Run, ladder: Ladder) -> Plane:
    """The plane of a ladder in the state of a run."""
    known = [] if run.interface is None else list(run.interface.state)
    found = [i for name in ladder.plane for i, entry in enumerate(known) if entry.name == name]
    dx = len(known) or run.rollouts(0)[0].states.shape[-1]
    first, second = found if len(found) == 2 else (0, min(1, dx - 1))
    labels = ladder.labels or [name_entry(*known[i][:2]) if known else f"x[{i}]" for i in (first, second)]
    return Plane(first, second, (labels[0], labels[1]))
