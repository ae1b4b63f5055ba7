"""The policies that a sampler plays."""

from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Num

from gps.observations import Pixels


class Seen(NamedTuple):
    """What a policy is given that observes both."""

    states: Float[np.ndarray, "M N dx"]
    observations: Num[np.ndarray, "M N do"] | Pixels


class Policy(Protocol):
    @property
    def observes(self) -> Literal["state", "observation", "both"]:
        """What it acts on. Where the environment tells no difference, the observation is the state."""

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        """Of the noise by which it explores, for each condition and step."""

    @property
    def carries_over(self) -> bool:
        """Whether it can be run from other starts than those of its conditions."""

    def act(self, seen: Num[np.ndarray, "M N dx"] | Pixels | Seen, t: int) -> Float[np.ndarray, "M N du"]:
        """The mean action at step t, given what it observes of all episodes.

        The states or the observations (`Pixels` with pictures), or both as `Seen`.
        """

    def repeated(self, count: int) -> "Policy":
        """The same for M·count conditions, each of its own `count` times in a row."""

    # A policy that may have no action in some state has `abstains`, a sentence that says so. It ends the episode there.
