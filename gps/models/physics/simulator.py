"""The protocol of a simulator with unknown parameters. Environments implement it; models know nothing else of them."""

from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from gps.models.physics.parameters import Known, Parameter


class Simulator(Protocol):
    """A simulator of an environment's system for any values of its parameters. It is compared by identity.

    The system may differ between the conditions of an experiment in what is known, such as where a slot is; the
    parameters are those of all of them.

    The result depends on the arguments alone: neither on earlier calls nor on the other simulations of a call.
    """

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its unknown parameters, dp of them."""

    @property
    def known(self) -> Known:
        """The known delay and the assumed entries."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """A text for each condition, by which it is known again; they are numbered in this order."""

    @property
    def varies(self) -> bool:
        """True if the system differs between the conditions, and not only where it starts."""

    @property
    def determining(self) -> tuple[int, ...]:
        """The entries of the state that determine the next one and are measured.

        The others follow from them, as a site's position does, or are `remembered`.
        """

    @property
    def remembered(self) -> tuple[int, ...]:
        """The entries of the state that are known exactly, such as earlier commands."""

    @property
    def dx(self) -> int:
        """The number of entries of the state."""

    @property
    def du(self) -> int:
        """The number of entries of the action."""

    def simulate(
        self,
        states: Float[np.ndarray, "B dx"],
        actions: Float[np.ndarray, "B H du"],
        values: Float[np.ndarray, "B dp"],
        conditions: Int[np.ndarray, "B"] | None = None,
    ) -> Float[np.ndarray, "B H dx"]:
        """Return the states after each of H control periods. From the step on at which one diverges they are NaN.

        Args:
            conditions: the number of the condition of each; None for the first. Where there is one, it is that of all.
        """
