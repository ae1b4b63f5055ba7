"""The contract between the loop and an algorithm.

The loop (`gps.experiment`) runs any algorithm that has these members, without knowing which:

    state = algorithm.begin(first controllers, starts)
    repeat
        sampled  = algorithm.policy(state)                             what to sample
        rollouts = sample(sampled)
        model    = algorithm.fit(state, rollouts, seed)                what the samples tell
        state, record = algorithm.improve(state, sampled, rollouts, model)
    evaluate algorithm.learned(state), and algorithm.teachers(state)

`gps check` examines an algorithm by this contract, ours and those of other packages alike.
"""

from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from jaxtyping import Float

from gps.linear_gaussian.types import Controller
from gps.problem import Problem
from gps.records import IterationRecord, Rollouts
from gps.sampling.policy import Policy


class AlgorithmState(Protocol):
    """Everything that the next iteration needs: an immutable record that `gps.storage.serialization` can store."""

    @property
    def iteration(self) -> int:
        """The number of iterations that are done; each `improve` adds one."""

    @property
    def environment_steps(self) -> int:
        """The number of environment steps so far."""


class Needs(NamedTuple):
    """The requirements of an algorithm on its experiment."""

    observations: bool = False
    """It learns from what a policy observes. Otherwise no observations are recorded, and no pictures drawn."""

    derivatives: bool = True
    """The cost must be differentiable."""


State = TypeVar("State", bound=AlgorithmState)
Sampled = TypeVar("Sampled", bound=Policy)
Model = TypeVar("Model")


class Algorithm(Protocol[State, Sampled, Model]):
    """An algorithm: immutable settings and pure functions of its state."""

    @property
    def problem(self) -> Problem:
        """The problem that it was made for."""

    @property
    def needs(self) -> Needs:
        """The requirements on the experiment."""

    @property
    def state_type(self) -> Any:
        """The type of the state, with type arguments where it is generic: by it a stored state is read back."""

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> State:
        """The state before the first iteration.

        Args:
            controllers: the first controllers, a batch of M, which explore.
            starts: the state in which each condition starts.
        """

    def policy(self, state: State) -> Sampled:
        """The policy to sample."""

    def fit(self, state: State, rollouts: Rollouts, seed: int) -> Model:
        """Fit models to the samples."""

    def improve(
        self, state: State, sampled: Sampled, rollouts: Rollouts, model: Model
    ) -> tuple[State, IterationRecord]:
        """The state after the iteration, and its record.

        Args:
            sampled: the policy that acted in the rollouts, as `policy` returned it.
            model: as `fit` returned it.
        """

    def learned(self, state: State) -> Policy:
        """The learned policy, without exploration."""

    def teachers(self, state: State) -> tuple[Policy, ...]:
        """The policies to evaluate in addition to `learned`, such as its teachers. Each is a different player."""


AnyAlgorithm = Algorithm[Any, Any, Any]
"""An algorithm of any state, policy and model."""
