"""Version 1.0 follows a plan whose small errors add up."""

from collections.abc import Sequence

import numpy as np

from gps.ladder.results import RungResult
from gps.ladder.rungs import Ladder
from gps.ladder.stories.material import find_planning_source, list_plans
from gps.ladder.stories.story import Panel, Story, StoryTrace, find_plane
from gps.ladder.stories.words import show_amount
from gps.runs import Run

NEEDED = "needs a finished run of a rung with mbrl, version 1.0"
"""Why the story is missing."""


def tell_drift(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    """Tell it by the last plan of version 1.0; None if there is none."""
    chosen = find_planning_source(results, "1.0")
    if chosen is None:
        return None
    run = chosen.run
    plans = list_plans(run)
    if not plans:
        return None
    k, plan, actual = plans[-1]
    plane = find_plane(run, ladder)
    error = np.abs(plan[:, plane.first] - actual[:, plane.first])
    t, unit = np.arange(len(plan)), plane.names[0]
    ahead = _list_horizon_errors(run, plane.first)
    early = int(np.argmax(t >= min(5, len(t) - 1)))
    grows = "So version 1.5 makes a new plan at every step."
    if ahead:
        errors = ahead[-1][1]
        grows = (
            f"Over all starts the model's error goes from {show_amount(errors[0], unit)} one step ahead to "
            f"{show_amount(errors[-1], unit)} at {len(errors)}, so version 1.5 makes a new plan at every step."
        )
    return chosen.tell(
        "drift",
        "Do small errors add up?",
        f"After {early} steps the prediction (orange) and what happened (blue) are {show_amount(error[early], unit)} "
        f"apart and at worst {show_amount(error.max(), unit)}, for every step starts from the error of the one before. "
        f"{grows}",
        (
            Panel(
                f"Plan and episode of iteration {k}", "time step", unit,
                (StoryTrace("predicted", "plan", t, plan[:, plane.first]),
                 StoryTrace("actual", "actual", t, actual[:, plane.first])),
            ),
            Panel(
                "Error of the model on new episodes", "steps ahead", f"root mean square, {unit}",
                tuple(
                    StoryTrace(f"iteration {i}", "early", 1 + np.arange(len(rms)), rms, shade=(n + 1) / len(ahead))
                    for n, (i, rms) in enumerate(ahead)
                ),
                log=True,
            ),
        ),
    )  # fmt: skip


def _list_horizon_errors(run: Run, entry: int, most: int = 3) -> list[tuple[int, np.ndarray]]:
    """Return the number of a few iterations, evenly spread, and their error of an entry 1 … H steps ahead."""
    found = []
    for k in range(len(run.iterations)):
        model = run.model_record(k)
        if model is not None and model.horizon_error is not None:
            errors = model.horizon_error[:, entry]
            if np.isfinite(errors).all() and (errors > 0).all():
                found.append((k, errors))
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(len(found), most)).round().astype(int))]
