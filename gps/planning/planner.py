"""The contract of planners: from states at a step to plans of actions, each state as if it were alone."""

from typing import Protocol, Self

import numpy as np
from jaxtyping import Float
from typing_extensions import TypeVar


class Plans(Protocol):
    """Plans from B states, and what the search for better ones goes on from."""

    @property
    def actions(self) -> Float[np.ndarray, "B H du"]:
        """The planned actions, H steps ahead."""

    @property
    def curvature(self) -> Float[np.ndarray, "B du du"]:
        """The curvature Quu of the cost-to-go in the first action."""

    def shift(self) -> Self:
        """The plans for the next step."""


P = TypeVar("P", bound=Plans, default=Plans)


def number_conditions(count: int, conditions: int) -> Float[np.ndarray, "B"]:
    """Return the number of the condition of each of `count` states, which come in equal blocks.

    Raises:
        ValueError: if the blocks are not equal.
    """
    if count % conditions:
        raise ValueError(f"{count} states of {conditions} conditions: each needs the same number of them")
    return np.repeat(np.arange(float(conditions)), count // conditions)


class Planner(Protocol[P]):
    """A planner: cost, limits, horizon and model are its own."""

    def plan(self, states: Float[np.ndarray, "B dx"], t: int, last: P | None) -> P:
        """The plans of B states at step t.

        Args:
            last: the plans of the same episodes at the step before; None where there are none.
        """
