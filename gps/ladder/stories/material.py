"""The material that several stories share: finished runs, their states and their plans."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gps.config.algorithms.through_models import MBRLConfig
from gps.ladder.results import RungResult
from gps.ladder.stories.story import StorySource
from gps.runs import Run


def list_story_sources(results: Sequence[RungResult]) -> list[StorySource]:
    """All finished runs, those of a rung together."""
    return [
        StorySource(result, member, Run.open(member.path)) for result in results for member in result.group.finished
    ]


def find_planning_source(results: Sequence[RungResult], version: str) -> StorySource | None:
    """The first finished run of a rung that plans by a version of the lecture."""
    for result in results:
        config = result.rung.config
        settings = None if config is None else config.algorithm
        if isinstance(settings, MBRLConfig) and settings.version == version and result.group.finished:
            return open_first(result)
    return None


def open_first(result: RungResult) -> StorySource:
    """The first finished run of a rung."""
    member = result.group.finished[0]
    return StorySource(result, member, Run.open(member.path))


def collect_states(run: Run, iterations: int) -> Float[np.ndarray, "n dx"]:
    """All states of the first iterations."""
    found = [run.rollouts(k)[0] for k in range(iterations)]
    return np.concatenate([rollouts.states[rollouts.mask] for rollouts in found])


def list_plans(run: Run) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return the number of each iteration with a plan, and the planned and actual states of its first sample."""
    found = []
    for k in range(len(run.iterations)):
        record = run.iterations[k]
        if record.planner is None or record.planner.planned_states is None:
            continue
        plan = cut_plan(record.planner.planned_states[0])
        actual = record.rollouts.states[0, 0][record.rollouts.mask[0, 0]]
        steps = min(len(plan), len(actual))
        if steps > 1:
            found.append((k, plan[:steps], actual[:steps]))
    return found


def cut_plan(states: Float[np.ndarray, "h dx"]) -> Float[np.ndarray, "k dx"]:
    """The states up to the first that is not finite."""
    bad = ~np.isfinite(states).all(axis=1)
    return states[: int(np.argmax(bad))] if bad.any() else states
