"""The failures that the lecture tells, as pictures of the ladder's own runs.

    mismatch    version 0.5 plans where its random data never went
    drift       version 1.0 follows a plan whose small errors add up
    exploit     a planner finds the place where the model is wrong in its favour
    too_far     a linear model is followed beyond the place where it was fitted
    gradient    a gradient through many steps of a model vanishes or explodes

Each story is told if the ladder has a rung that it can be told of, by the numbers of one run, which it names. A caption
says what its picture shows, so its words depend on the numbers: a run that does well is not called a failure.
"""

from collections.abc import Callable, Sequence

from gps.errors import GpsError
from gps.ladder.results import RungResult
from gps.ladder.rungs import Ladder
from gps.ladder.stories import drift, exploit, gradient, mismatch, too_far
from gps.ladder.stories.story import Story

_STORIES: dict[str, tuple[Callable[[Sequence[RungResult], Ladder], Story | None], str]] = {
    "distribution mismatch": (mismatch.tell_mismatch, mismatch.NEEDED),
    "accumulated error": (drift.tell_drift, drift.NEEDED),
    "exploited model": (exploit.tell_exploit, exploit.NEEDED),
    "linear model too far": (too_far.tell_too_far, too_far.NEEDED),
    "gradient": (gradient.tell_gradient, gradient.NEEDED),
}
"""Name of a story -> the function that tells it, and what it needs. A new story adds a file and a line."""


def tell_stories(results: Sequence[RungResult], ladder: Ladder) -> tuple[list[Story], list[str]]:
    """Return the stories that these results can tell, and why others are missing, a sentence each."""
    told, missing = [], []
    for name, (tell, needed) in _STORIES.items():
        try:
            story = tell(results, ladder)
        except GpsError as error:
            missing.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        if story is not None:
            told.append(story)
        else:
            missing.append(f"{name}: {needed}")
    return told, missing
