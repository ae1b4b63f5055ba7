"""The protocol of the policies that a sampler runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from jaxtyping import Float, Num

from gps.observations import Pixels
from gps.players import Player

if TYPE_CHECKING:
    from gps.linear_gaussian.types import Controller
    from gps.policies.neural import NeuralPolicy

Observes = Literal["state", "observation", "both"]
"""The input of a policy. Where the environment makes no difference, the observation is the state."""


class StatesAndObservations(NamedTuple):
    """The input of a policy that observes "both"."""

    states: Float[np.ndarray, "M N dx"]
    observations: Num[np.ndarray, "M N do"] | Pixels


class Policy(Protocol):
    """A policy for M conditions and T steps, as a sampler runs it."""

    @property
    def player(self) -> Player:
        """Who acts."""

    @property
    def observes(self) -> Observes:
        """The input of `act`."""

    @property
    def abstains(self) -> str:
        """Why the policy may have no action in some state (an action that is not finite ends the episode there).

        Empty if it always has one.
        """

    @property
    def carries_over(self) -> bool:
        """True if it can run from other starts than those of its conditions."""

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        """The covariance of its exploration noise, for each condition and step."""

    @property
    def parameters(self) -> NeuralPolicy | Controller | None:
        """The parameters that a run directory stores and can restore the policy from; None if there are none."""

    def act(self, seen: Any, t: int) -> Float[np.ndarray, "M N du"]:
        """The mean actions at step t.

        Args:
            seen: what it `observes` in all episodes: states (M, N, dx); observations (M, N, do) or `Pixels`; or both,
                as `StatesAndObservations`.
        """

    def repeat(self, count: int) -> Self:
        """The policy for M·count conditions, each of its own `count` times in a row."""
