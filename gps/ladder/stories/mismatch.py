"""Version 0.5 plans where its random data never went."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gps.evaluation import restore
from gps.ladder.results import RungResult
from gps.ladder.rungs import Ladder
from gps.ladder.stories.material import collect_states, cut_plan, find_planning_source
from gps.ladder.stories.nearness import FAR, Nearness
from gps.ladder.stories.story import Panel, Story, StoryTrace, find_plane
from gps.ladder.stories.words import show_amount, show_percent
from gps.planning.played import find_planned
from gps.runs import Run

NEEDED = "needs a finished run of a rung with mbrl, version 0.5"
"""Why the story is missing."""


def tell_mismatch(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    """Tell it by the final episode of version 0.5; None if there is none."""
    chosen = find_planning_source(results, "0.5")
    if chosen is None:
        return None
    run = chosen.run
    plane, data = find_plane(run, ladder), collect_states(run, len(run.iterations))
    plan = _plan_again(run)
    final = run.evaluation()
    if plan is None or final is None:
        return None
    actual = final.rollouts.states[0, 0][final.rollouts.mask[0, 0]]
    nearness = Nearness(data)
    far, steps = nearness.is_far(plan), min(len(plan), len(actual))
    apart = np.abs(plan[:steps, plane.first] - actual[:steps, plane.first])
    t = np.arange(len(plan))
    first = (
        f"The model learned only from the random episodes (grey), but {show_percent(far.mean())} of its plan (orange) "
        "lies where they never went."
        if far.mean() >= 0.1
        else f"The model learned only from the random episodes (grey), and {show_percent(1 - far.mean())} of its plan "
        "(orange) stays near them."
    )
    second = (
        f"What happened (blue) left the plan by up to {show_amount(apart.max(), plane.names[0])}: a model is right "
        "only about the distribution that it has seen."
    )
    return chosen.tell(
        "mismatch",
        "Does the plan go where the data are?",
        f"{first} {second}",
        (
            Panel(
                "States", *plane.names,
                (plane.cloud("random data", "data", data), plane.path("the plan", "plan", plan),
                 plane.path("what happened", "actual", actual)),
            ),
            Panel(
                "Distance to the nearest data", "time step", "standard deviations of the data",
                (StoryTrace("the plan", "plan", t, nearness.distance(plan)),
                 StoryTrace("what happened", "actual", np.arange(len(actual)), nearness.distance(actual)),
                 StoryTrace(f"{FAR:.0%} of the data", "bound", t[[0, -1]], np.full(2, nearness.reach))),
            ),
        ),
    )  # fmt: skip


def _plan_again(run: Run) -> Float[np.ndarray, "h dx"] | None:
    """The plan from the first start that the last iteration's model makes; None if it makes none.

    An evaluation records where its planner went, not where it wanted to go: the same plan is made again.
    """
    with restore(run) as (built, state):
        policy = built.algorithm.learned(state)
        policy.act(built.starts.states[:, None], 0)
        planned = find_planned(policy)
        return None if planned is None else cut_plan(planned.states[0, 0])
