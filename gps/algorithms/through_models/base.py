"""The base of the algorithms that train a policy through a learned model.

    sample    the policy; before there is one, whatever explores (the first controllers)
    fit       the models learn from all samples so far
    improve   the algorithm's own: an objective in the model, and its optimiser

An algorithm gives its state, the policy in it, and `improve`.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Generic

import numpy as np
from jaxtyping import Float

from gps.algorithms.algorithm import Needs
from gps.algorithms.through_models.learned_models import (
    FittedModels,
    SeededModels,
    State,
    World,
    find_world,
    learn_models,
)
from gps.linear_gaussian.types import Controller
from gps.models.model import ModelLearner, restore_learner
from gps.models.reward import RewardLearner
from gps.networks import Bounded
from gps.players import Player
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed
from gps.policies.played import LocalControllers
from gps.policies.remembering import play
from gps.problem import Problem
from gps.records import IterationRecord, Rollouts
from gps.sampling.policy import Policy

DrawNetwork = Callable[[int, Float[np.ndarray, "n do"]], Bounded]
"""Draw a network by a seed, around observations that were seen (n may be 0)."""

STILL = 1e-6
"""Standard deviation of the noise of a policy that has none: its covariance must be positive definite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyThroughModel(abc.ABC, Generic[State]):
    """The settings of every algorithm that trains a policy through a model, and what follows from them alone.

    Args:
        problem: see `Problem`.
        model: learner of the dynamics, before the first samples; it may have learned from recorded data.
        observed: what the policy observes of a state of the model.
        horizon: steps ahead of the model's recorded error.
        reward: learner of the reward where it is part of the cost.
    """

    problem: Problem = dataclasses.field(kw_only=False)
    model: ModelLearner
    observed: Observed
    horizon: int = 20
    reward: RewardLearner | None = None

    needs: ClassVar[Needs] = Needs(observations=True)

    @property
    @abc.abstractmethod
    def state_type(self) -> Any:
        """The type of the state, with its type arguments."""

    @abc.abstractmethod
    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> State:
        """The state before the first iteration."""

    @abc.abstractmethod
    def find_policy(self, state: State) -> NeuralPolicy | None:
        """The trained policy; None before there is one."""

    @abc.abstractmethod
    def improve(
        self, state: State, sampled: Policy, rollouts: Rollouts, fitted: SeededModels
    ) -> tuple[State, IterationRecord]:
        """Improve the policy in the new model, and compare what the last one expected with what happened."""

    def policy(self, state: State) -> Policy:
        """The policy to sample: the trained one, or what explores before there is one."""
        return self._play(state) or self.explore(state)

    def explore(self, state: State) -> Policy:
        """The policy to sample before there is a trained one: the first controllers."""
        return LocalControllers(state.first, Player.FIRST)

    def learned(self, state: State) -> Policy:
        """The trained policy; the first controllers without their noise before there is one."""
        quiet = dataclasses.replace(state.first, covariance=np.zeros_like(state.first.covariance))
        return self._play(state) or LocalControllers(quiet, Player.FIRST)

    def teachers(self, state: State) -> tuple[Policy, ...]:
        return ()

    def fit(self, state: State, rollouts: Rollouts, seed: int) -> SeededModels:
        """Judge the old model by the new samples, and let the models learn from them."""
        costs, before = self.problem.costs(rollouts), restore_learner(state.model, self.model)
        learned = learn_models(before, state.reward, self.clean(rollouts), seed, self.horizon)
        return SeededModels(FittedModels(*learned, costs), seed)

    def clean(self, rollouts: Rollouts) -> Rollouts:
        """The samples as the models learn from them."""
        return rollouts

    def recall_feedback(
        self, first: Controller, rollouts: Rollouts
    ) -> tuple[Float[np.ndarray, "n do"], Float[np.ndarray, "n du"]] | None:
        """Return the first controllers' actions in the sampled states, without noise; None where they have no feedback.

        Returns:
            The observations, and the actions within the limits.
        """
        if not np.any(first.feedback) or not rollouts.mask.any():
            return None
        actions = np.einsum("mtij,mntj->mnti", first.feedback, rollouts.states) + first.feedforward[:, None]
        return rollouts.observed[rollouts.mask], np.clip(actions, *self.problem.limits)[rollouts.mask]

    def new_world(self, models: FittedModels) -> World | None:
        """The new model with its cost; None while either is unknown."""
        return find_world(self.problem.cost, models.learner, models.reward)

    def last_world(self, state: State) -> World | None:
        """The model with its cost before this iteration's samples; None while either is unknown."""
        return find_world(self.problem.cost, restore_learner(state.model, self.model), state.reward)

    def _play(self, state: State) -> Policy | None:
        policy, (M, T) = self.find_policy(state), state.first.feedforward.shape[:2]
        return None if policy is None else play(policy, M, T)
