"""Experts from runs: a Gaussian policy that some run has learned."""

import dataclasses

import numpy as np
from jaxtyping import Float

from gps.experts.contract import Advice
from gps.linear_gaussian.types import Controller
from gps.policies.neural import NeuralPolicy


@dataclasses.dataclass(frozen=True)
class StoredExpert:
    """A neural policy, or the controllers of M conditions, each for the episodes of its own condition."""

    policy: NeuralPolicy | Controller

    @property
    def carries_over(self) -> bool:
        return not isinstance(self.policy, Controller)

    def act(self, states: Float[np.ndarray, "B dx"], t: int) -> Float[np.ndarray, "B du"]:
        if isinstance(self.policy, Controller):
            M = len(self.policy.feedforward)
            return self.policy.act(states.reshape(M, -1, states.shape[-1]), t).reshape(len(states), -1)
        return self.policy.act(states, t)

    def advise(self, states: Float[np.ndarray, "B dx"], t: int) -> Advice:
        """The mean actions, and the inverse of the covariance if it is regular."""
        covariance = np.asarray(self.policy.covariance)
        if isinstance(self.policy, Controller):
            covariance = np.repeat(covariance[:, t], len(states) // len(covariance), axis=0)
        regular = np.isfinite(np.linalg.slogdet(covariance)[1]).all()
        du = covariance.shape[-1]
        firm = np.broadcast_to(np.linalg.inv(covariance), (len(states), du, du)) if regular else None
        return Advice(self.act(states, t), firm)
