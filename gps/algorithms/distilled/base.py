"""The base of distillation: a policy learns to do what an expert would do.

Each iteration, for M conditions:

    sample    the expert and the policy in turn (`DAgger`), or the expert drawn towards the policy (`PLATO`)
    fit       an expert that learns the dynamics sees the samples
    improve   the expert labels each visited state with an action; the policy learns from the labels,

                  π ← argmin Σ_i KL(π(· | o_i) ‖ N(u_i, P_i⁻¹))

              over the samples of the last iterations: `gps.policies.supervised`, with a warm start; then, where the
              expert plans in a model, from episodes imagined there: `gps.algorithms.distilled.practice`.

Recorded episodes of the expert are the first lessons: the policy learns from them before the first iteration.

If the expert reports no precision, each of its actions gets a standard deviation of a fixed share of its usual size
(`deviation`). Before the expert knows enough to give advice, the first controllers are sampled. The exploration noise
is theirs until there is a policy, and then the policy's, whose precision is the mean of the expert's.
"""

import abc
import dataclasses
from typing import Any, ClassVar, Generic

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.algorithms.algorithm import Needs
from gps.algorithms.distilled.advice import (
    Lesson,
    expert_kl,
    join_lessons,
    label,
    make_lesson,
    make_lesson_samples,
    usual_precision,
)
from gps.algorithms.distilled.played import ExpertPolicy
from gps.algorithms.distilled.practice import Practice
from gps.algorithms.guided.base import make_policy_record
from gps.algorithms.local.base import Prior, make_model_record
from gps.algorithms.local.execution import Execution, make_executable
from gps.algorithms.local.verdict import judge, make_messages
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior, Transitions
from gps.experts.contract import Expert, ExpertSource
from gps.linear_gaussian.types import Controller
from gps.players import Player
from gps.policies.learner import Learner
from gps.policies.neural import Layered
from gps.policies.played import GlobalPolicy, LocalControllers
from gps.policies.supervised import Fit, Training, not_trained, train
from gps.problem import Problem
from gps.records import IterationRecord, Rollouts, mean_of_whole
from gps.sampling.policy import Policy
from gps.status import PolicyStatus, Status
from gps.storage.serialization import specialise


@dataclasses.dataclass(frozen=True)
class DistillationState(Generic[Prior, Layered]):
    """Everything that the next iteration needs, for M conditions."""

    iteration: int
    environment_steps: int
    first: Controller  # the first controllers
    starts: Float[np.ndarray, "M dx"]
    prior: Prior | None  # what the expert knows of the dynamics
    cost: Float[np.ndarray, "M"]  # mean of the last samples
    training: Training[Layered]
    lessons: tuple[Lesson, ...]

    @property
    def trained(self) -> bool:
        """True if there is a policy yet."""
        return self.training.trained


@dataclasses.dataclass(frozen=True)
class DistillationModel:
    """The result of `fit`: the samples before the expert labels them."""

    sample_costs: Float[np.ndarray, "M N T"]
    prior: DynamicsPrior | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation(abc.ABC):
    """The settings of every distillation, and what follows from them alone.

    Args:
        problem: see `Problem`; it is the expert's business to make the cost small.
        learner: the policy and its training.
        expert: where the expert comes from.
        memory: iterations whose samples the policy learns from.
        deviation: standard deviation of the actions of an expert that reports no precision, relative to their size.
        practice: lessons that take no step on the system.
        execution, noise: of the first controllers, and of the exploration; see `make_executable`.
    """

    problem: Problem = dataclasses.field(kw_only=False)
    learner: Learner = dataclasses.field(kw_only=False)
    expert: ExpertSource
    memory: int = 10
    deviation: float = 0.1
    practice: Practice = dataclasses.field(default_factory=Practice)
    execution: Execution = "max_entropy"
    noise: float = 0.1

    needs: ClassVar[Needs] = Needs(observations=True)

    @property
    def state_type(self) -> Any:
        prior = self.expert.prior
        kind = MixturePrior if prior is None else prior.stored_type
        return specialise(DistillationState, kind, self.learner.network_type)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> DistillationState:
        """The state with the first lessons, and the policy that has learned from them."""
        lessons = tuple(self.practice.recall(episodes) for episodes in self.expert.episodes[-self.memory :])
        training = self._learn(self.learner.training, lessons)[0] if lessons else self.learner.training
        return DistillationState(
            iteration=0,
            environment_steps=0,
            first=controllers.numpy(),
            starts=starts,
            prior=self.expert.prior,
            cost=np.full(len(starts), np.nan),
            training=training,
            lessons=lessons,
        )

    def policy(self, state: DistillationState) -> Policy:
        """The policy to sample: the first controllers, then the expert, then expert and policy."""
        expert = self._make_expert(state.prior, state.cost)
        if expert is None:
            return self._first_policy(state, self.noise)
        if not state.trained:
            return ExpertPolicy(expert, self._noise(state))
        return self.mix(state, expert, self._noise(state))

    @abc.abstractmethod
    def mix(self, state: DistillationState, expert: Expert, noise: Float[np.ndarray, "M T du du"]) -> Policy:
        """The policy to sample once there are both expert and policy."""

    def learned(self, state: DistillationState) -> Policy:
        """The policy; the first controllers before there is one."""
        if not state.trained:
            return self._first_policy(state, 0.0)
        M, T = state.first.feedforward.shape[:2]
        return GlobalPolicy(state.training.policy, M, T)

    def teachers(self, state: DistillationState) -> tuple[Policy, ...]:
        """The expert, if it knows enough to act."""
        expert = self._make_expert(state.prior, state.cost)
        return () if expert is None else (ExpertPolicy(expert, self._noise(state)),)

    def fit(self, state: DistillationState, rollouts: Rollouts, seed: int) -> DistillationModel:
        """Let the expert's model learn from the samples."""
        transitions = Transitions.of(rollouts.states, rollouts.actions, rollouts.mask)
        prior = state.prior and state.prior.refit(transitions, seed)
        return DistillationModel(self.problem.costs(rollouts), prior)

    def improve(
        self, state: DistillationState, sampled: Policy, rollouts: Rollouts, model: DistillationModel
    ) -> tuple[DistillationState, IterationRecord]:
        """Let the expert label the samples, and take the supervised step."""
        cost = mean_of_whole(model.sample_costs, rollouts.counted)
        expert = self._make_expert(model.prior, cost)
        advice = label(expert, rollouts)
        missing = ~np.isfinite(advice.actions).all(axis=-1)
        status, usable = _judge_advice(expert, rollouts, missing)

        lessons = (*state.lessons, make_lesson(rollouts, advice, usable))[-self.memory :]
        training, fit = state.training, not_trained(PolicyStatus.WARM_UP)
        if expert is not None:
            training, fit = self._learn(training, lessons)
            lessons, training, fit = self._practise(state.iteration, expert, rollouts, lessons, training, fit)
        kl = expert_kl(training.policy, advice, usual_precision(lessons, self.deviation), rollouts, usable)

        steps = state.environment_steps + rollouts.steps
        record = IterationRecord(
            iteration=state.iteration,
            environment_steps=steps,
            player=sampled.player,
            rollouts=rollouts,
            costs=model.sample_costs,
            status=status,
            messages=tuple(
                make_messages(status, rollouts, lambda m, _: _describe_missing(missing[m], rollouts.mask[m]))
            ),
            policy=make_policy_record(Player.EXPERT, state.training, training, fit, kl, fit.message),
            model=make_model_record(model.prior),
        )
        after = dataclasses.replace(
            state,
            iteration=state.iteration + 1,
            environment_steps=steps,
            prior=model.prior,
            cost=cost,
            training=training,
            lessons=lessons,
        )
        return after, record

    def _make_expert(self, prior: DynamicsPrior | None, cost: Float[np.ndarray, "M"]) -> Expert | None:
        """The expert that has learned from the samples; None while it knows too little."""
        known = np.abs(cost[np.isfinite(cost)]) / self.problem.horizon
        return self.expert.make_expert(prior, float(known.mean()) if known.any() else 1.0)

    def _first_policy(self, state: DistillationState, noise: float) -> LocalControllers:
        return LocalControllers(self._executable(state, noise), Player.FIRST)

    def _executable(self, state: DistillationState, noise: float) -> Controller:
        planned = np.repeat(state.starts[:, None], state.first.horizon, axis=1)
        return make_executable(state.first, planned, self.execution, noise)

    def _learn(self, training: Training, lessons: tuple[Lesson, ...]) -> tuple[Training, Fit]:
        """Take the supervised step."""
        samples = make_lesson_samples(lessons, usual_precision(lessons, self.deviation))
        return train(training, samples, self.learner.options)

    def _practise(
        self,
        iteration: int,
        expert: Expert,
        visited: Rollouts,
        lessons: tuple[Lesson, ...],
        training: Training,
        fit: Fit,
    ) -> tuple[tuple[Lesson, ...], Training, Fit]:
        """Let the policy learn in the expert's model, if it has one; the last lesson gets what was practised."""
        model = self.expert.model
        for i in range(self.practice.rounds if training.trained and visited.mask.any() else 0):
            assert model is not None  # the configuration requires it
            imagined, begin = self.practice.imagine(self.problem, model, training.policy, visited, [iteration, i])
            new = make_lesson(imagined, label(expert, imagined, begin), np.ones(1, dtype=bool))
            lessons = (*lessons[:-1], join_lessons((lessons[-1], new)))
            training, fit = self._learn(training, lessons)
        return lessons, training, fit

    def _noise(self, state: DistillationState) -> Float[np.ndarray, "M T du du"]:
        """The covariance of the exploration."""
        first = self._executable(state, self.noise).covariance
        if not state.trained or self.execution != "max_entropy":
            return first
        return np.broadcast_to(state.training.policy.covariance, first.shape)


def _judge_advice(
    expert: Expert | None, rollouts: Rollouts, missing: Bool[np.ndarray, "M N T"]
) -> tuple[Int[np.ndarray, "M"], Bool[np.ndarray, "M"]]:
    """The status of each condition, and True where its samples can teach; `missing` is where there is no advice."""
    M = len(missing)
    if expert is None:
        return np.full(M, Status.NO_EXPERT), np.zeros(M, dtype=bool)
    status, usable = judge(np.full(M, Status.OK), (), rollouts.counted)
    some, none = missing.any(axis=(1, 2)), ~(rollouts.mask & ~missing).any(axis=(1, 2))
    status = np.where(status == Status.OK, Status.TAUGHT, status)
    status = np.where(usable & some, np.where(none, Status.NO_ADVICE, Status.ADVICE_MISSING), status)
    return status, usable & ~none


def _describe_missing(missing: Bool[np.ndarray, "N T"], mask: Bool[np.ndarray, "N T"]) -> str:
    """Name the samples without the expert's advice; empty if there are none."""
    if not missing.any():
        return ""
    n, t = np.argwhere(missing)[0]
    return (
        f" They are {missing.sum()} of {mask.sum()}, the first at sample {n}, step {t}: its action or precision is not "
        "finite there, or the precision has an eigenvalue below zero."
    )
