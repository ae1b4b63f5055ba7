"""Experts that plan: the planner of a run of model-based reinforcement learning."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from gps.experts.contract import Advice
from gps.planning.played import PlanningPolicy


class PlanningExpert:
    """A policy that plans in a model. It replans at every step, from the last step's plan.

    A step that does not follow the last one begins new episodes, at whatever time.

    Args:
        policy: for one condition.
    """

    carries_over: ClassVar[bool] = True

    def __init__(self, policy: PlanningPolicy) -> None:
        self._policy, self._next = policy.replan(), 0

    def advise(self, states: Float[np.ndarray, "B dx"], t: int) -> Advice:
        """The first action of each plan, without a precision."""
        if t != self._next:
            self._policy = self._policy.replan()
        self._next = t + 1
        return Advice(self._policy.act(states[None], t)[0], None)
