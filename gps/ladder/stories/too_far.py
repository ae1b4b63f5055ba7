"""A linear model is followed beyond the place where it was fitted."""

from collections.abc import Sequence

import numpy as np

from gps.config.algorithms.local import TrajOptConfig
from gps.ladder.results import RungResult
from gps.ladder.rungs import Ladder
from gps.ladder.stories.material import open_first
from gps.ladder.stories.story import Panel, Story, StorySource, StoryTrace
from gps.ladder.stories.words import show_number
from gps.runs import Run

NEEDED = "needs two rungs that differ only in kl_step, one of them 100 times the other"
"""Why the story is missing."""

_FURTHER = 100.0  # times the KL step of another rung: no trust region any more


def tell_too_far(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    """Tell it by two runs that differ only in their trust region; None if there are none."""
    pair = _find_unbounded(results)
    if pair is None:
        return None
    panels = []
    counts = []
    for source, title in zip(pair, ("Within the trust region", "Without a trust region"), strict=True):
        changes = list_changes(source.run)
        if not changes:
            return None
        k, promised, came = (np.array(column) for column in zip(*changes, strict=True))
        counts.append((int((came < 0).sum()), len(k), promised, came))
        panels.append(
            Panel(
                f"{title} ({source.result.rung.name})", "update", "change of the cost",
                (StoryTrace("promised by the linear model", "plan", k, promised, bars=True),
                 StoryTrace("what came", "actual", k, came, bars=True)),
            )
        )  # fmt: skip
    (good, of, _, _), (bad, of_far, promised, came) = counts
    worst = int(np.argmax(came - promised))
    return pair[1].tell(
        "too_far",
        "What if the linear model is left too far?",
        "Every update was promised a lower cost by linear models that hold only near the samples they were fitted to. "
        f"Within the trust region {good} of {of} updates lowered the cost; without it {bad} of {of_far} did, and the "
        f"worst promised a change of {show_number(float(promised[worst]))} and brought one of "
        f"{show_number(float(came[worst]))}.",
        panels,
    )


def _find_unbounded(results: Sequence[RungResult]) -> tuple[StorySource, StorySource] | None:
    """Runs of two rungs that differ only in their KL step: within a trust region, and as good as without."""
    bounded = [
        (result, result.rung.config.algorithm)
        for result in results
        if result.rung.config is not None
        and isinstance(result.rung.config.algorithm, TrajOptConfig)
        and result.group.finished
    ]
    for near, settings in bounded:
        for far, other in bounded:
            same = settings.model_copy(update={"kl_step": other.kl_step}) == other
            if same and other.kl_step >= _FURTHER * settings.kl_step:
                return open_first(near), open_first(far)
    return None


def list_changes(run: Run) -> list[tuple[int, float, float]]:
    """Of each update: its number, the change of the cost that was predicted, and the one that came."""
    found = []
    for k in range(1, len(run.iterations)):
        rows = [row for row in run.rows(k) if row.predicted is not None and row.actual is not None]
        pair = [(row.predicted or 0.0, row.actual or 0.0) for row in rows]
        if pair and np.isfinite(pair).all():
            predicted, actual = np.mean(pair, axis=0)
            found.append((k, float(predicted), float(actual)))
    return found
