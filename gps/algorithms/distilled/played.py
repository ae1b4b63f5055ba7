"""The expert as a sampler runs it, alone or together with the policy (`gps.sampling.Policy`)."""

import abc
import dataclasses
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float

from gps.experts.contract import Advice, Expert, ask
from gps.players import Player
from gps.policies.neural import NeuralPolicy
from gps.sampling.policy import Observes, StatesAndObservations


@dataclasses.dataclass(frozen=True)
class ExpertPolicy:
    """The expert alone."""

    expert: Expert
    covariance: Float[np.ndarray, "M T du du"]

    player: ClassVar[Player] = Player.EXPERT
    observes: ClassVar[Observes] = "state"
    abstains: ClassVar[str] = "the expert had no advice"
    parameters: ClassVar[None] = None

    @property
    def carries_over(self) -> bool:
        return self.expert.carries_over

    def act(self, seen: Float[np.ndarray, "M N dx"], t: int) -> Float[np.ndarray, "M N du"]:
        return ask(self.expert, seen, t, self.covariance.shape[-1]).actions

    def repeat(self, count: int) -> Self:
        return dataclasses.replace(self, covariance=np.repeat(self.covariance, count, axis=0))


@dataclasses.dataclass(frozen=True)
class ExpertAndPolicy(abc.ABC):
    """The expert and the policy; how they share the actions is up to `act`."""

    expert: Expert
    covariance: Float[np.ndarray, "M T du du"]
    policy: NeuralPolicy

    player: ClassVar[Player] = Player.BOTH
    observes: ClassVar[Observes] = "both"
    abstains: ClassVar[str] = ""  # the policy acts where the expert has no advice
    carries_over: ClassVar[bool] = False
    parameters: ClassVar[None] = None

    @abc.abstractmethod
    def act(self, seen: StatesAndObservations, t: int) -> Float[np.ndarray, "M N du"]:
        """The actions at step t."""

    def ask_expert(self, seen: StatesAndObservations, t: int) -> Advice:
        """The expert's advice. It is asked for at every step, because an expert may follow the whole episode."""
        return ask(self.expert, seen.states, t, self.covariance.shape[-1])

    def repeat(self, count: int) -> Self:
        return dataclasses.replace(self, covariance=np.repeat(self.covariance, count, axis=0))
