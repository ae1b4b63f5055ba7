"""Plans that an optimiser of action sequences has found."""

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from gps.planning.sequences import shift


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
