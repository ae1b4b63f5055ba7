"""Experts that are there already: a Gaussian policy that some run has learned."""

import dataclasses

import numpy as np
from jaxtyping import Float

from gps.linear_gaussian.types import Controller
from gps.policies.neural import NeuralPolicy


@dataclasses.dataclass(frozen=True)
class Stored:
    """A neural policy, or the controllers of M conditions, asked for the episodes of each in turn."""

    policy: NeuralPolicy | Controller

    @property
    def carries_over(self) -> bool:
        return not isinstance(self.policy, Controller)

    def act(self, states: Float[np.ndarray, "B dx"], t: int) -> Float[np.ndarray, "B du"]:
        if isinstance(self.policy, Controller):
            M = len(self.policy.feedforward)
            return self.policy.act(states.reshape(M, -1, states.shape[-1]), t).reshape(len(states), -1)
        return self.policy.act(states, t)

    def advise(self, states: Float[np.ndarray, "B dx"], t: int):
        """The mean actions, and the inverse of the covariance where it has one."""
        covariance = np.asarray(self.policy.covariance)
        if isinstance(self.policy, Controller):
            covariance = np.repeat(covariance[:, t], len(states) // len(covariance), axis=0)
        regular = np.isfinite(np.linalg.slogdet(covariance)[1]).all()
        du = covariance.shape[-1]
        firm = np.broadcast_to(np.linalg.inv(covariance), (len(states), du, du)) if regular else None
        return self.act(states, t), firm
