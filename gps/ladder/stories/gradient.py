"""A gradient through many steps of a model vanishes or explodes."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gps.ladder.results import RungResult
from gps.ladder.rungs import Ladder
from gps.ladder.stories.material import list_story_sources
from gps.ladder.stories.story import Panel, Story, StorySource, StoryTrace
from gps.ladder.stories.words import show_number
from gps.runs import Run

NEEDED = "needs a finished run of a rung that follows a gradient through a model"
"""Why the story is missing."""


def tell_gradient(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    """Tell it by the run whose gradients differ most; None if there is none."""
    best: tuple[float, StorySource, list[Gradient]] | None = None
    for source in list_story_sources(results):
        found = _list_gradients(source.run)
        span = max((gradient.span for gradient in found), default=0.0)
        if found and (best is None or span > best[0]):
            best = span, source, found
    if best is None:
        return None
    _, source, found = best
    worst = max(found, key=lambda gradient: gradient.span)
    low, high = int(worst.ahead[np.argmin(worst.norms)]), int(worst.ahead[np.argmax(worst.norms)])
    chosen = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(len(found), 5)).round().astype(int))]
    return source.tell(
        "gradient",
        "Does the gradient vanish, or explode?",
        "The gradient of the cost h steps ahead is a product of h slopes of model and policy, and products shrink or "
        f"grow: in iteration {worst.iteration} its size {'grows' if high > low else 'shrinks'} by a factor of "
        f"{show_number(10**worst.span)} between {min(low, high)} and {max(low, high)} steps ahead. A step along the "
        "sum of these gradients follows the largest ones and hears nothing of the others.",
        (
            Panel(
                "Gradient of the cost by how far ahead it is", "steps ahead, h", "norm of the gradient",
                tuple(
                    StoryTrace(f"iteration {g.iteration}", "early", g.ahead, g.norms, shade=(n + 1) / len(chosen))
                    for n, g in enumerate(chosen)
                ),
                log=True,
            ),
        ),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Gradient:
    """The norms of the gradient of the cost h steps ahead, where they are positive and finite."""

    iteration: int
    ahead: Int[np.ndarray, "k"]  # h
    norms: Float[np.ndarray, "k"]

    @property
    def span(self) -> float:
        """The powers of ten between the smallest and the largest."""
        return float(np.ptp(np.log10(self.norms)))


def _list_gradients(run: Run) -> list[Gradient]:
    """The gradients of each iteration that has some."""
    found = []
    for k in range(len(run.iterations)):
        side = run.iterations[k].optimisation
        if side is None or side.gradient_norms is None:
            continue
        norms = side.gradient_norms
        there = np.flatnonzero(np.isfinite(norms) & (norms > 0))
        if len(there) > 1:
            found.append(Gradient(k, there + 1, norms[there]))
    return found
