"""Plans that an optimiser of action sequences has found."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from gps.backend import jax
from gps.planning.fallback import find_troubles, replace_failed
from gps.planning.objective import Course
from gps.planning.sequences import ActionRange, Found, shift, widen_guesses


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequencePlans:
    """Plans from B states: `gps.planning.planner.Plans`.

    Args:
        actions: H steps ahead.
        guesses: in units, what the next search begins with.
        curvature: an estimate, positive definite, see `gps.planning.sequences.estimate_curvature`.
        costs: predicted for each step, with that of the state after the plan; not finite where the plan failed.
        states: predicted, mean over the particles.
        deviations: of the predicted states over the particles.
        effective: samples that decided.
        seconds: that each plan took.
        troubles: codes of `gps.planning.fallback.Trouble`; the actions are the fallback's where it is not 0.
    """

    actions: Float[np.ndarray, "B H du"]
    guesses: Float[np.ndarray, "B G H du"]
    curvature: Float[np.ndarray, "B du du"]
    costs: Float[np.ndarray, "B h"]
    states: Float[np.ndarray, "B h dx"]
    deviations: Float[np.ndarray, "B h dx"]
    effective: Float[np.ndarray, "B"]
    seconds: Float[np.ndarray, "B"]
    troubles: Int[np.ndarray, "B"]

    def shift(self, steps: int = 1) -> Self:
        """The plans for `steps` later; the predictions stay those of the step when they were made."""
        return dataclasses.replace(self, actions=shift(self.actions, steps), guesses=shift(self.guesses, steps))


def begin_guesses(
    range: ActionRange, still: Float[np.ndarray, "du"], count: int, horizon: int, guesses: int
) -> Float[np.ndarray, "B G H du"]:
    """The guesses for `count` states without a last plan, in units: the action `still` in every step."""
    sequence = np.broadcast_to(np.asarray(range.to_units(still)), (count, horizon, len(still)))
    return widen_guesses(sequence, guesses)


def assemble_plans(
    answers: Sequence[tuple[Found, Course, float]],
    before: SequencePlans | None,
    range: ActionRange,
    still: Float[np.ndarray, "du"],
    limit: float | None,
) -> SequencePlans:
    """The plans of B states from their searches, with the fallback's where a search failed.

    Args:
        answers: of each state what was found, in the unit of the actions (the guesses in units), the course that it
            predicts, and the seconds that it took.
        before: the shifted plans of the step before.
        still: the action of the fallback where there are none.
        limit: on the seconds; None for none.
    """
    found: Found = jax.tree.map(lambda *rows: np.stack(rows), *[answer[0] for answer in answers])
    course: Course = jax.tree.map(lambda *rows: np.stack(rows), *[answer[1] for answer in answers])
    seconds = np.array([answer[2] for answer in answers])
    troubles = find_troubles(course.total, found.actions, seconds, limit)
    failed = troubles > 0
    actions = replace_failed(failed, found.actions, None if before is None else before.actions, still)
    instead = widen_guesses(np.asarray(range.to_units(actions)), found.guesses.shape[1])
    sound = np.isfinite(found.curvature).all(axis=(1, 2), keepdims=True) & ~failed[:, None, None]
    return SequencePlans(
        actions=actions,
        guesses=np.where(failed[:, None, None, None], instead, found.guesses),
        curvature=np.where(sound, found.curvature, 1e-12 * np.eye(actions.shape[-1])),
        costs=course.costs,
        states=course.states,
        deviations=course.deviations,
        effective=found.effective,
        seconds=seconds,
        troubles=troubles,
    )
