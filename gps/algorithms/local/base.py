"""The base of the optimisers of local controllers: settings, state, the fit of the local model, and the record.

An optimiser is a frozen dataclass of settings that satisfies `gps.algorithms.algorithm.Algorithm`; everything below it
is a function of arrays.
"""

import abc
import dataclasses
from typing import Any, Generic, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from typing_extensions import TypeVar

from gps.algorithms.algorithm import Needs
from gps.algorithms.local.execution import Execution, make_executable
from gps.algorithms.local.step_size import adapt_multiplier
from gps.algorithms.local.verdict import UpdateResult, align
from gps.backend import jax
from gps.costs import RewardModel, expand
from gps.dynamics.prior import DynamicsPrior, Transitions
from gps.dynamics.regression import fit_dynamics
from gps.dynamics.smoothing import smooth_states
from gps.linear_gaussian.riccati import forward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, Marginals
from gps.policies.played import LocalControllers
from gps.problem import Problem
from gps.records import Change, IterationRecord, LocalRecord, ModelRecord, PolicyRecord, Rollouts, mean_of_whole
from gps.sampling.policy import Policy

ENOUGH = 2
"""Samples beyond dx + du with which states are smoothed: fewer do not determine a model without its prior."""

Prior = TypeVar("Prior", bound=DynamicsPrior, default=DynamicsPrior, covariant=True)


@dataclasses.dataclass(frozen=True)
class LocalState(Generic[Prior]):
    """Everything that the next iteration needs, for M conditions."""

    iteration: int
    environment_steps: int
    controllers: Controller
    planned: Float[np.ndarray, "M T dx"]  # the states that the plan expects
    prior: Prior | None
    reward: RewardModel | None
    eta: Float[np.ndarray, "M ..."]  # of the last update: where the next search begins
    multiplier: Float[np.ndarray, "M"]  # of the KL bound of the last update
    predicted: Float[np.ndarray, "M"]  # change of the cost by the last update
    cost: Float[np.ndarray, "M"]  # mean of the last samples


State = TypeVar("State", bound=LocalState, default=LocalState)


class LocalModel(NamedTuple):
    """The result of `fit`: dynamics and cost around the samples, and the prior updated with them."""

    dynamics: LinearDynamics
    cost: CostExpansion
    sample_costs: Float[np.ndarray, "M N T"]
    prior: DynamicsPrior | None
    reward: RewardModel | None


class StepSize(NamedTuple):
    """Adapt the size of this update to the error of the last prediction."""

    cost: Float[np.ndarray, "M"]  # mean of the samples
    actual: Float[np.ndarray, "M"]  # its change since the last iteration
    multiplier: Float[np.ndarray, "M"]
    bound: Float[np.ndarray, "M"]  # nats per time step


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalOptimiser(abc.ABC, Generic[State]):
    """The settings of every optimiser of local controllers, and what follows from them alone.

    Args:
        problem: see `Problem`.
        kl_step: ε, nats per time step.
        multiplier, min_multiplier, max_multiplier: of ε; see `adapt_multiplier`.
        execution, noise: which controller runs on the system; see `make_executable`.
    """

    problem: Problem = dataclasses.field(kw_only=False)
    kl_step: float = 1.0
    multiplier: float = 1.0
    min_multiplier: float = 0.1
    max_multiplier: float = 1.0
    execution: Execution = "max_entropy"
    noise: float = 0.1

    @property
    def needs(self) -> Needs:
        return Needs()

    @property
    @abc.abstractmethod
    def state_type(self) -> Any:
        """The type of the state, with its type arguments."""

    @abc.abstractmethod
    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> State:
        """The state before the first iteration."""

    @abc.abstractmethod
    def fit(self, state: State, rollouts: Rollouts, seed: int) -> Any:
        """Fit what the update needs to the samples."""

    @abc.abstractmethod
    def improve(
        self, state: State, sampled: LocalControllers, rollouts: Rollouts, model: Any
    ) -> tuple[State, IterationRecord]:
        """Update every controller once."""

    def policy(self, state: State) -> LocalControllers:
        """The controllers to sample."""
        return LocalControllers(make_executable(state.controllers, state.planned, self.execution, self.noise))

    def learned(self, state: State) -> LocalControllers:
        """The current controllers without exploration."""
        return LocalControllers(make_executable(state.controllers, state.planned, self.execution, 0.0))

    def teachers(self, state: State) -> tuple[Policy, ...]:
        return ()

    def step_size(
        self, state: LocalState, costs: Float[np.ndarray, "M N T"], counted: Bool[np.ndarray, "M N T"]
    ) -> StepSize:
        """The bound on this iteration's update."""
        mean_cost = mean_of_whole(costs, counted)
        actual = mean_cost - state.cost
        multiplier = adapt_multiplier(
            state.multiplier, state.predicted, actual, self.min_multiplier, self.max_multiplier
        )
        return StepSize(mean_cost, actual, multiplier, self.kl_step * multiplier)


def make_first_state(
    controllers: Controller,
    starts: Float[np.ndarray, "M dx"],
    eta: Float[np.ndarray, "M ..."],
    multiplier: float,
    prior: DynamicsPrior | None = None,
    reward: RewardModel | None = None,
) -> LocalState:
    """The state before the first iteration, which plans to stay at the starts."""
    M, T = len(starts), controllers.horizon
    unknown = np.full(M, np.nan)
    return LocalState(
        iteration=0,
        environment_steps=0,
        controllers=controllers.numpy(),
        planned=np.repeat(starts[:, None], T, axis=1),
        prior=prior,
        reward=reward,
        eta=eta,
        multiplier=np.full(M, multiplier),
        predicted=unknown,
        cost=unknown,
    )


def extend_state(kind: type[State], state: LocalState, **more: Any) -> State:
    """The state as one of a `kind` that has `more` fields."""
    shared = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return kind(**shared, **more)


def fit_local_model(
    problem: Problem,
    state: LocalState,
    rollouts: Rollouts,
    seed: int,
    ridge: float = 1e-6,
    center: Literal["posterior", "sample"] = "posterior",
) -> LocalModel:
    """Fit dynamics and expand the cost around the samples of each condition.

    Where the sensors are noisy, and there are enough samples, the dynamics are those of the states as they probably
    were; see `smooth_states`.
    """
    states, actions, mask = rollouts.states, rollouts.actions, rollouts.mask
    expansion, sample_costs = expand(problem.cost, states, actions, mask)
    reward = state.reward
    if reward is not None:
        learned, reward = reward.fit(rollouts, seed)
        expansion, sample_costs = expansion + learned, sample_costs + reward.costs(rollouts)
    if rollouts.finished is not None:  # a finished episode is one of the samples of a step, at no cost
        expansion = expansion.scale(mask.sum(axis=1) / np.maximum(rollouts.counted.sum(axis=1), 1))
    prior, uncertainty = state.prior, None
    deviation = np.broadcast_to(np.asarray(problem.sensor_noise, float), problem.dx)
    if deviation.any() and mask.shape[1] >= problem.dx + problem.du + ENOUGH:
        belief = None if prior is None else prior.believe(Transitions.of(states, actions, mask), seed)
        states, uncertainty = smooth_states(states, actions, mask, deviation, belief, ridge)
    if prior is None:
        dynamics = fit_dynamics(states, actions, mask, None, ridge, center, uncertainty)
    else:
        dynamics, prior = prior.fit(states, actions, mask, seed, ridge, center, uncertainty)
    return LocalModel(dynamics.numpy(), expansion, sample_costs, prior, reward)


@jax.jit
def _marginals(dynamics: LinearDynamics, controllers: Controller) -> Marginals:
    return jax.vmap(forward)(dynamics, controllers)


def marginals(dynamics: LinearDynamics, controllers: Controller) -> Marginals:
    """The Gaussians of the state under the controllers, in the fitted dynamics."""
    return _marginals(dynamics, controllers).numpy()


# -- record and next state -------------------------------------------------------------------------------------------


def make_record(
    state: LocalState,
    sampled: Policy,
    rollouts: Rollouts,
    costs: Float[np.ndarray, "M N T"],
    result: UpdateResult,
    local: LocalRecord,
    policy: PolicyRecord | None = None,
    model: ModelRecord | None = None,
) -> IterationRecord:
    """The record of the iteration that began in `state`."""
    return IterationRecord(
        iteration=state.iteration,
        environment_steps=state.environment_steps + rollouts.steps,
        player=sampled.player,
        rollouts=rollouts,
        costs=costs,
        status=result.status,
        messages=result.messages,
        local=local,
        policy=policy,
        model=model,
    )


def make_local_record(
    state: LocalState,
    controllers: Controller,
    dynamics: LinearDynamics | None,
    marginals: Marginals,
    step: StepSize,
    result: UpdateResult,
) -> LocalRecord:
    """The local side of the record.

    Args:
        controllers: the sampled ones; if the policy was sampled, its linearisation around the samples.
        marginals: of the state, under `controllers`.
    """
    return LocalRecord(
        controllers=controllers,
        improved=result.controllers,
        dynamics=dynamics,
        marginals=marginals,
        search=result.search,
        multiplier=step.multiplier,
        last=Change(state.predicted, step.actual),
        predicted=result.predicted,
        trust=result.trust,
        entropy=controllers.entropy().mean(axis=1),
    )


def make_model_record(prior: DynamicsPrior | None) -> ModelRecord | None:
    """The global model's side of the record: the prior's, if there is one."""
    return None if prior is None else prior.make_record()


def make_next_state(state: State, rollouts: Rollouts, step: StepSize, result: UpdateResult, **more: Any) -> State:
    """The state after the iteration; `more` are fields that only some optimisers change."""
    eta = result.search.eta  # the next search begins where this one ended, if that is a number to begin with
    found = align(result.usable, eta) & (eta > 0) & np.isfinite(eta)
    return dataclasses.replace(
        state,
        iteration=state.iteration + 1,
        environment_steps=state.environment_steps + rollouts.steps,
        controllers=result.controllers,
        planned=result.planned,
        eta=np.where(found, eta, state.eta),
        multiplier=step.multiplier,
        predicted=result.predicted,
        cost=step.cost,
        **more,
    )
