"""One policy for all conditions, as a sampler plays it."""

import dataclasses
from typing import ClassVar, Generic, Self

import numpy as np
from jaxtyping import Float, Num

from gps.policies.neural import Network, NeuralPolicy


@dataclasses.dataclass(frozen=True)
class Shared(Generic[Network]):
    """A neural policy that plays M conditions for T steps each: `gps.sampling.Policy`."""

    policy: NeuralPolicy[Network]
    conditions: int
    horizon: int

    observes: ClassVar[str] = "observation"
    carries_over: ClassVar[bool] = True

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        covariance = np.asarray(self.policy.covariance)
        return np.broadcast_to(covariance, (self.conditions, self.horizon, *covariance.shape))

    def act(
        self, seen: Num[np.ndarray, "... do"], t: int, rng: np.random.Generator | None = None
    ) -> Float[np.ndarray, "... du"]:
        return self.policy.act(seen, t, rng)

    def repeated(self, count: int) -> Self:
        return dataclasses.replace(self, conditions=self.conditions * count)
