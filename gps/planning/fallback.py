"""What is done when a plan is late or not finite: the plan of the step before goes on, and it is counted."""

import enum

import numpy as np
from jaxtyping import Bool, Float, Int


class Trouble(enum.IntEnum):
    """What was wrong with a plan."""

    NONE = 0
    LATE = 1  # it took longer than the time limit
    NOT_FINITE = 2  # no sequence had a finite cost in the model, or the state was not finite


def find_troubles(
    costs: Float[np.ndarray, "B"],
    actions: Float[np.ndarray, "B H du"],
    seconds: Float[np.ndarray, "B"],
    limit: float | None,
) -> Int[np.ndarray, "B"]:
    """The trouble of each plan, codes of `Trouble`.

    Args:
        costs: predicted.
        seconds: that each plan took.
        limit: on them; None for none.
    """
    finite = np.isfinite(costs) & np.isfinite(actions).all(axis=(1, 2))
    late = np.zeros(len(costs), dtype=bool) if limit is None else seconds > limit
    return np.where(finite, np.where(late, Trouble.LATE, Trouble.NONE), Trouble.NOT_FINITE).astype(np.int32)


def replace_failed(
    failed: Bool[np.ndarray, "B"],
    actions: Float[np.ndarray, "B H du"],
    before: Float[np.ndarray, "B H du"] | None,
    hold: Float[np.ndarray, "du"],
) -> Float[np.ndarray, "B H du"]:
    """The actions, with those of the shifted plans of the step `before` for the failed rows; without it `hold`."""
    instead = np.broadcast_to(hold, actions.shape) if before is None else before
    return np.where(failed[:, None, None], instead, actions)


def describe_troubles(troubles: Int[np.ndarray, "..."], limit: float | None = None) -> str:
    """A sentence about the plans that were replaced; empty if there are none."""
    late, broken = (int(np.count_nonzero(troubles == trouble)) for trouble in (Trouble.LATE, Trouble.NOT_FINITE))
    if not late + broken:
        return ""
    why = [f"{late} late"] * (late > 0) + [f"{broken} without a finite cost in the model"] * (broken > 0)
    if late and limit is not None:
        why[0] += f" (more than {limit:g} s)"
    plans = "plan was" if late + broken == 1 else "plans were"
    return (
        f"{late + broken} of {troubles.size} {plans} replaced by that of the step before, "
        f"or by holding still at the first step: {', '.join(why)}."
    )
