"""The base of guided policy search: a global policy, and the local controllers that teach it.

An algorithm is composed of an optimiser of local controllers and a learner of the policy, and its state of theirs. Each
iteration fits the policy around the samples of each condition and step, in addition to the local models, and trains it
on what the new local controllers would do there.
"""

import abc
import dataclasses
from typing import Any, Generic, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from typing_extensions import TypeVar

from gps.algorithms.algorithm import Needs
from gps.algorithms.guided.lessons import can_teach, make_samples, teacher_kl
from gps.algorithms.local.base import LocalOptimiser, LocalState, marginals
from gps.algorithms.local.verdict import choose
from gps.dynamics.mixture import MixturePrior
from gps.linear_gaussian.types import Controller, LinearDynamics
from gps.players import Player
from gps.policies.learner import Learner
from gps.policies.linearised import linearise, policy_points
from gps.policies.neural import Layered
from gps.policies.played import GlobalPolicy, LocalControllers
from gps.policies.supervised import Fit, Training, not_trained, train
from gps.problem import Problem
from gps.records import IterationRecord, PolicyRecord, Rollouts
from gps.sampling.policy import Policy
from gps.status import PolicyStatus
from gps.storage.serialization import specialise

Local = TypeVar("Local", bound=LocalState, default=LocalState, covariant=True)


@dataclasses.dataclass(frozen=True)
class GuidedState(Generic[Local, Layered]):
    """The state of the optimiser, and that of the policy with the prior of its linearisation."""

    local: Local
    training: Training[Layered]
    policy_prior: MixturePrior | None  # of [x; u]

    @property
    def iteration(self) -> int:
        return self.local.iteration

    @property
    def environment_steps(self) -> int:
        return self.local.environment_steps

    @property
    def trained(self) -> bool:
        """True if there is a global policy yet."""
        return self.training.trained


class GuidedModel(NamedTuple):
    """The result of `fit`: the local model, and the global policy linearised around the samples."""

    local: Any  # the optimiser's
    linearised: Controller
    policy_prior: MixturePrior | None


class Taught(NamedTuple):
    """The outcome of a supervised step."""

    training: Training
    record: PolicyRecord
    conditions: Bool[np.ndarray, "M"]  # that taught


State = TypeVar("State", bound=GuidedState, default=GuidedState)
Optimiser = TypeVar("Optimiser", bound=LocalOptimiser[Any], default=LocalOptimiser[Any])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guided(abc.ABC, Generic[Optimiser, State]):
    """The settings of every guided algorithm, and what follows from them alone.

    Args:
        local: the optimiser of local controllers.
        learner: the policy and its training.
        warm_up: iterations at the start that improve the local controllers alone, as trajectory optimisation does. A
            policy that imitates the first controllers, which are far from good and seen around few states, is far
            worse than they are, and holds them back.
    """

    local: Optimiser = dataclasses.field(kw_only=False)
    learner: Learner = dataclasses.field(kw_only=False)
    warm_up: int = 0

    @property
    def problem(self) -> Problem:
        return self.local.problem

    @property
    def needs(self) -> Needs:
        return self.local.needs._replace(observations=True)

    @property
    def state_type(self) -> Any:
        return specialise(GuidedState, self.local.state_type, self.learner.network_type)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> State:
        first = self.local.begin(controllers, starts)
        return GuidedState(first, self.learner.training, self.learner.prior)  # type: ignore[return-value]

    def policy(self, state: State) -> Policy:
        """The policy to sample: the local controllers."""
        return self.local.policy(state.local)

    def learned(self, state: State) -> Policy:
        """The global policy; the local controllers before there is one."""
        return global_policy(state) if state.trained else self.local.learned(state.local)

    def teachers(self, state: State) -> tuple[Policy, ...]:
        """The local controllers, once there is a policy."""
        return (self.local.learned(state.local),) if state.trained else ()

    def fit(self, state: State, rollouts: Rollouts, seed: int) -> GuidedModel:
        """Fit the local model around the samples, and linearise the global policy around them."""
        return GuidedModel(self.local.fit(state.local, rollouts, seed), *linearise_policy(state, rollouts, seed))

    @abc.abstractmethod
    def improve(
        self, state: State, sampled: Policy, rollouts: Rollouts, model: GuidedModel
    ) -> tuple[State, IterationRecord]:
        """Update the controllers and the policy once."""

    def teach(
        self,
        state: State,
        rollouts: Rollouts,
        model: GuidedModel,
        teachers: Controller,
        usable: Bool[np.ndarray, "M"],
        *,
        weights: Float[np.ndarray, "M #T"] | None = None,
        multipliers: Float[np.ndarray, "M T du"] | None = None,
    ) -> Taught:
        """Take a supervised step, from iteration `warm_up` on: the policy imitates the teachers at the samples.

        Args:
            usable: True for teachers that are new; see `can_teach`.
            weights, multipliers: see `make_samples`; None for equal weights.
        """
        limits, teach = self.problem.limits, can_teach(usable, rollouts)
        if state.iteration < self.warm_up:
            training, fit = state.training, not_trained(PolicyStatus.WARM_UP)
        else:
            masked = teach[:, None] * (np.ones((len(teach), 1)) if weights is None else weights)
            samples = make_samples(teachers, rollouts, masked, multipliers, limits)
            training, fit = train(state.training, samples, self.learner.options)
        unknown = np.full(teachers.feedforward.shape[:2], np.nan)
        kl = teacher_kl(training.policy, teachers, rollouts, limits) if training.trained else unknown
        silent: Any = [] if fit.outcome == PolicyStatus.WARM_UP else np.flatnonzero(~teach)
        message = " ".join(filter(None, [fit.message, *(f"Condition {m} taught it nothing." for m in silent)]))
        record = make_policy_record(Player.LOCAL, state.training, training, fit, kl, message)
        return Taught(training, add_linearised(record, model.linearised, model.local.dynamics), teach)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedSampling(Guided[Optimiser, State]):
    """A guided algorithm that samples the global policy, or the local controllers.

    Args:
        on_policy: sample the global policy once there is one; otherwise always the local controllers.
    """

    on_policy: bool = True

    def policy(self, state: State) -> Policy:
        """The policy to sample: on-policy the global policy, once there is one; otherwise the local controllers."""
        return global_policy(state) if self.on_policy and state.trained else self.local.policy(state.local)


def global_policy(state: GuidedState) -> GlobalPolicy:
    """The policy as a sampler runs it."""
    M, T = state.local.controllers.feedforward.shape[:2]
    return GlobalPolicy(state.training.policy, M, T)


def represent(sampled: Policy, model: GuidedModel) -> LocalControllers:
    """The sampled controllers; if the policy was sampled, its linearisation around the samples."""
    return sampled if isinstance(sampled, LocalControllers) else LocalControllers(model.linearised)


def linearise_policy(state: GuidedState, rollouts: Rollouts, seed: int) -> tuple[Controller, MixturePrior | None]:
    """The global policy around the samples of each condition and step, and the prior that has seen it there.

    The local controllers take its place before there is a policy, and at steps that no sample has reached.
    """
    prior = state.policy_prior
    if not state.trained:
        return state.local.controllers, prior
    policy = state.training.policy
    points = policy_points(rollouts.states, policy.act(rollouts.observed), rollouts.mask)
    prior = None if prior is None else prior.refit(points, seed)
    belief = None if prior is None else prior.at(points)
    dx, seen = rollouts.states.shape[-1], np.asarray(rollouts.mask.any(axis=1))
    around = linearise(points, dx, policy.covariance, belief)
    return choose(seen, around, state.local.controllers), prior


def make_policy_record(
    teacher: Player, before: Training, training: Training, fit: Fit, kl: Float[np.ndarray, "M T"], message: str
) -> PolicyRecord:
    """The policy's side of the record, after its training.

    Args:
        before, training: the training before and after.
        kl, message: see `PolicyRecord`.
    """
    return PolicyRecord(
        teacher=teacher,
        existed=before.trained,
        trained=training.trained,
        linearised=None,
        marginals=None,
        kl=kl,
        deviation=training.deviation,
        steps=fit.steps,
        training_loss=fit.training_loss,
        held_out_loss=fit.held_out_loss,
        mean_status=fit.outcome,
        covariance_status=fit.covariance_outcome,
        message=message,
    )


def add_linearised(record: PolicyRecord, around: Controller, dynamics: LinearDynamics | None) -> PolicyRecord:
    """The record with the policy around the samples, and its states in the fitted dynamics where there are some."""
    there = None if dynamics is None else marginals(dynamics, around)
    return dataclasses.replace(record, linearised=around, marginals=there)
