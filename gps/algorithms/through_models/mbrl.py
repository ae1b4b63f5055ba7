"""Model-based reinforcement learning by planning: versions 0.5, 1.0 and 1.5 of Sergey Levine, CS 294-112 Deep
Reinforcement Learning (Fall 2017), lecture 11, "Model-Based Planning and Control".

Each iteration:

    sample    the base policy (the first controllers), and once there is a model the planner that plans in it
    fit       the model learns x' = f(x, u) from all samples so far
    improve   nothing but the model changes: the next plans are made in the new one

    version 0.5   only the base policy is sampled; the planner is evaluated at the end, and goes where no data are
    version 1.0   the samples of the planner join the data; each plan is followed to its end
    version 1.5   a new plan is made at every step (or every few), from the state that came of the last one (Nagabandi
                  et al. 2018; PETS, Chua et al. 2018)

With the true simulator in place of a model nothing is learned, and every iteration samples the planner.

The best episode of the planner is not forgotten: iterative LQR tries its actions too when the next episode begins. So
an attempt that failed in a model that is right is followed by another, and not by its repetition.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, Literal, Self

import numpy as np
from jaxtyping import Float, Int

from gps.algorithms.algorithm import Needs
from gps.algorithms.through_models.learned_models import (
    FittedModels,
    L,
    complete_cost,
    learn_models,
    learn_reward,
    record_iteration,
)
from gps.linear_gaussian.types import Controller
from gps.models.model import GlobalModel, ModelLearner, find_stored_type, restore_learner
from gps.models.reward import RewardLearner
from gps.planning.played import PlanningPolicy, find_planned
from gps.planning.sources import PlanningTask, PolicySource
from gps.players import Player
from gps.policies.played import LocalControllers
from gps.problem import Problem
from gps.records import IterationRecord, PlannerRecord, Rollouts, Seconds
from gps.sampling.policy import Policy
from gps.storage.serialization import specialise

Version = Literal["0.5", "1.0", "1.5"]


@dataclasses.dataclass(frozen=True)
class BestEpisodes:
    """The cheapest whole episode that the planner has played in each of M conditions."""

    attempts: int  # iterations that sampled the planner
    costs: Float[np.ndarray, "M"]  # infinite where there is none
    actions: Float[np.ndarray, "M T du"]

    @classmethod
    def none(cls, shape: tuple[int, int, int]) -> Self:
        """Begin without episodes, for a shape of (M, T, du)."""
        return cls(0, np.full(shape[0], np.inf), np.zeros(shape))

    def update(self, rollouts: Rollouts, costs: Float[np.ndarray, "M N T"]) -> "BestEpisodes":
        """Return the cheapest of these and of new episodes, after one attempt more."""
        totals = np.where(rollouts.mask.all(axis=2), costs.sum(axis=2), np.inf)
        every, which = np.arange(len(totals)), totals.argmin(axis=1)
        new = totals[every, which]
        better = new < self.costs
        actions = np.where(better[:, None, None], rollouts.actions[every, which], self.actions)
        return BestEpisodes(self.attempts + 1, np.where(better, new, self.costs), actions)


@dataclasses.dataclass(frozen=True)
class MBRLState(Generic[L]):
    """Everything that the next iteration needs, for M conditions."""

    iteration: int
    environment_steps: int
    first: Controller  # the base policy
    learner: L | None  # of the dynamics, with all data so far; None where nothing is learned
    reward: RewardLearner | None  # where the cost has no formula
    best: BestEpisodes | None = None  # of the planner; None before its first one


@dataclasses.dataclass(frozen=True, kw_only=True)
class MBRL:
    """The algorithm.

    Args:
        problem: see `Problem`.
        learner: of the dynamics, before the first samples; it may have learned from recorded data. None where the
            planner needs no model.
        planner: makes the policy that plans.
        version: see above.
        base_iterations: iterations that sample the base policy; more than these only while there is no model.
        noise: standard deviation of the exploration around the plans, relative to half the range of each action
            (two standard deviations of the data where it has no limits).
        horizon: steps ahead of the model's recorded error.
        reward: learner of the reward where it is part of the cost.
    """

    problem: Problem = dataclasses.field(kw_only=False)
    learner: ModelLearner | None
    planner: PolicySource
    version: Version = "1.5"
    base_iterations: int = 1
    noise: float = 0.0
    horizon: int = 20
    reward: RewardLearner | None = None

    needs: ClassVar[Needs] = Needs(derivatives=False)

    @property
    def state_type(self) -> Any:
        return specialise(MBRLState, ModelLearner if self.learner is None else find_stored_type(self.learner))

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> MBRLState:
        return MBRLState(0, 0, controllers.numpy(), self.learner, self.reward)

    def policy(self, state: MBRLState) -> Policy:
        """The policy to sample: the base policy, or the planner in the model."""
        if self.version == "0.5" or state.iteration < self.base_iterations:
            return self._base_policy(state)
        return self.make_planner(state, self.noise) or self._base_policy(state)

    def fit(self, state: MBRLState, rollouts: Rollouts, seed: int) -> FittedModels:
        """Judge the old model by the new samples, and let the models learn from them."""
        costs = self.problem.costs(rollouts)
        before = self._restore_learner(state)
        if before is None:
            reward = state.reward and learn_reward(state.reward, rollouts, seed)
            return FittedModels(None, reward, None, costs)
        return FittedModels(*learn_models(before, state.reward, rollouts, seed, self.horizon), costs)

    def improve(
        self, state: MBRLState, sampled: Policy, rollouts: Rollouts, model: FittedModels
    ) -> tuple[MBRLState, IterationRecord]:
        """Take over the models, and compare the plans with what happened."""
        record = record_iteration(
            state,
            sampled,
            rollouts,
            model,
            planner=make_planner_record(sampled, model.sample_costs),
            seconds=Seconds(0.0, 0.0, 0.0, measure_planning(sampled)),
        )
        record = dataclasses.replace(record, messages=_add_troubles(record.messages, sampled))
        after = dataclasses.replace(
            state,
            iteration=state.iteration + 1,
            environment_steps=record.environment_steps,
            learner=model.learner,
            reward=model.reward,
            best=_update_best(state.best, sampled, rollouts, model.sample_costs),
        )
        return after, record

    def learned(self, state: MBRLState) -> Policy:
        """The planner in the last model; the base policy while there is none."""
        return self.make_planner(state) or self._base_policy(state, quiet=True)

    def teachers(self, state: MBRLState) -> tuple[Policy, ...]:
        return ()

    def make_planner(self, state: MBRLState, noise: float = 0.0) -> PlanningPolicy | None:
        """The policy that plans; None while there is no model to plan in, or no cost."""
        cost = complete_cost(self.problem.cost, state.reward)
        conditions, replans = len(state.first.feedforward), self.version == "1.5"
        task = PlanningTask(self.problem, self.find_model(state), cost, conditions, noise, replans, state.iteration)
        if state.best is not None:
            tried = state.best.actions[np.isfinite(state.best.costs)]
            task = task._replace(tried=tried, attempts=state.best.attempts)
        return self.planner.make_policy(task)

    def find_model(self, state: MBRLState) -> GlobalModel | None:
        """The model that is planned in; None while there is none, or where none is needed."""
        learner = self._restore_learner(state)
        return None if learner is None else learner.model

    def _restore_learner(self, state: MBRLState) -> ModelLearner | None:
        if state.learner is None or self.learner is None:
            return None
        return restore_learner(state.learner, self.learner)

    def _base_policy(self, state: MBRLState, quiet: bool = False) -> LocalControllers:
        first = state.first
        if quiet:
            first = dataclasses.replace(first, covariance=np.zeros_like(first.covariance))
        return LocalControllers(first, Player.FIRST)


def _update_best(
    best: BestEpisodes | None, sampled: Policy, rollouts: Rollouts, costs: Float[np.ndarray, "M N T"]
) -> BestEpisodes | None:
    """The planner's best episodes after these, if it was the planner that acted."""
    if find_planned(sampled) is None:
        return best
    M, _, T, du = rollouts.actions.shape
    return (best or BestEpisodes.none((M, T, du))).update(rollouts, costs)


def make_planner_record(sampled: Policy, costs: Float[np.ndarray, "M N T"]) -> PlannerRecord | None:
    """The planner's side of a record, if a planner with forecasts was sampled."""
    planned = find_planned(sampled)
    if planned is None:
        return None
    predicted, actual = planned.compare(costs)
    return PlannerRecord(
        predicted,
        actual,
        planned_states=_spread(planned.states[:, 0], np.arange(planned.states.shape[2]), costs.shape[2]),
        effective_samples=_spread(planned.effective.mean(axis=1), planned.steps, costs.shape[2]),
        steps=planned.horizon if planned.horizon < costs.shape[2] else None,
        fallbacks=(planned.troubles > 0).sum(axis=(1, 2)),
    )


def _spread(
    values: Float[np.ndarray, "M K *rest"], steps: Int[np.ndarray, "K"], T: int
) -> Float[np.ndarray, "M T *rest"]:
    """The values at their steps of an episode; NaN at the others."""
    spread = np.full((len(values), T, *values.shape[2:]), np.nan)
    there = steps < T
    spread[:, steps[there]] = values[:, there]
    return spread


def measure_planning(sampled: Policy) -> float:
    """The mean time of a plan in seconds; NaN where nothing was planned."""
    planned = find_planned(sampled)
    return np.nan if planned is None else float(planned.seconds.mean())


def _add_troubles(messages: Iterable[str], sampled: Policy) -> tuple[str, ...]:
    """The messages of the conditions, and what is to be said of plans that failed."""
    planned = find_planned(sampled)
    if planned is None:
        return tuple(messages)
    return tuple(" ".join(filter(None, pair)) for pair in zip(messages, planned.describe_troubles(), strict=True))
