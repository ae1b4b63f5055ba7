"""Local controllers and the global policy as a sampler runs them (`gps.sampling.Policy`)."""

import dataclasses
from typing import Generic, Self

import numpy as np
from jaxtyping import Float, Num

from gps.backend import jax
from gps.linear_gaussian.types import Controller
from gps.observations import Pixels
from gps.players import Player
from gps.policies.neural import Network, NeuralPolicy
from gps.sampling.policy import Observes


@dataclasses.dataclass(frozen=True)
class LocalControllers:
    """A batch of M controllers, each for the start of its own condition."""

    controllers: Controller
    player: Player = Player.LOCAL

    observes: Observes = "state"
    abstains: str = ""
    carries_over: bool = False  # a controller knows the start of its condition alone

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        return np.asarray(self.controllers.covariance)

    @property
    def parameters(self) -> Controller:
        return self.controllers

    def act(self, seen: Float[np.ndarray, "M N dx"], t: int) -> Float[np.ndarray, "M N du"]:
        return self.controllers.act(seen, t)

    def repeat(self, count: int) -> Self:
        controllers = jax.tree.map(lambda array: np.repeat(array, count, axis=0), self.controllers)
        return dataclasses.replace(self, controllers=controllers)


@dataclasses.dataclass(frozen=True)
class GlobalPolicy(Generic[Network]):
    """One neural policy for M conditions and T steps."""

    policy: NeuralPolicy[Network]
    conditions: int
    horizon: int

    player: Player = Player.POLICY
    observes: Observes = "observation"
    abstains: str = ""
    carries_over: bool = True

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        covariance = np.asarray(self.policy.covariance)
        return np.broadcast_to(covariance, (self.conditions, self.horizon, *covariance.shape))

    @property
    def parameters(self) -> NeuralPolicy[Network]:
        return self.policy

    def act(self, seen: Num[np.ndarray, "M N do"] | Pixels, t: int) -> Float[np.ndarray, "M N du"]:
        return self.policy.act(seen, t)

    def repeat(self, count: int) -> Self:
        return dataclasses.replace(self, conditions=self.conditions * count)
