"""The time of an action: what a policy costs where it acts, beside its teacher."""

import time
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from gps.backend import jax
from gps.players import Player
from gps.policies.neural import NeuralPolicy
from gps.records import Rollouts
from gps.sampling.policy import Observes, Policy

_CALLS = 200
"""The most actions of a neural policy that are timed."""


class Timed:
    """A policy that measures how long its actions take: a `gps.sampling.policy.Policy`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._seconds: list[float] = []  # of one action, at each step

    def act(self, seen: Any, t: int) -> Float[np.ndarray, "M N du"]:
        began = time.perf_counter()
        actions = self._policy.act(seen, t)
        self._seconds.append((time.perf_counter() - began) / (actions.shape[0] * actions.shape[1]))
        return actions

    def measure(self, rollouts: Rollouts) -> float:
        """The median time of an action in seconds; NaN where there was none.

        That of a neural policy is the time of one observation alone, as a robot asks for it. Any other policy's is its
        time in these episodes, divided by the number of episodes that it acted in at once.

        Args:
            rollouts: the episodes that it has just played.
        """
        policy = self._policy.parameters
        if isinstance(policy, NeuralPolicy) and rollouts.mask[0, 0].any():
            return _time_alone(policy, rollouts)
        return float(np.median(self._seconds)) if self._seconds else np.nan

    @property
    def player(self) -> Player:
        return self._policy.player

    @property
    def observes(self) -> Observes:
        return self._policy.observes

    @property
    def abstains(self) -> str:
        return self._policy.abstains

    @property
    def carries_over(self) -> bool:
        return self._policy.carries_over

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        return self._policy.covariance

    @property
    def parameters(self) -> Any:
        return self._policy.parameters

    def repeat(self, count: int) -> Self:
        return type(self)(self._policy.repeat(count))


def _time_alone(policy: NeuralPolicy, rollouts: Rollouts) -> float:
    """The median time of the actions in the first episode, each asked for alone."""
    steps = np.flatnonzero(rollouts.mask[0, 0])[:_CALLS]
    seconds = []
    for t in steps:
        observation = jax.tree.map(lambda array, t=t: array[0, 0, t], rollouts.observed)
        began = time.perf_counter()
        policy.act(observation, int(t))
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))
