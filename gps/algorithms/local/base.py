"""What the optimisers of local controllers share: their state, the policy they sample, the fit, and the record.

An optimiser is a frozen dataclass of settings. The loop (`gps.experiment`) asks it for `begin`, `policy`, `final`,
`costs`, `fit`, `improve` and `state_type`; everything below that is a function of arrays.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.algorithms.local.execution import Execution, executed
from gps.algorithms.local.step_size import adapted
from gps.backend import jax
from gps.costs import RewardModel, evaluate, expand
from gps.dynamics.prior import DynamicsPrior, Transitions
from gps.dynamics.regression import fit_dynamics
from gps.linear_gaussian.riccati import forward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, Marginals
from gps.records import IterationRecord, PolicyRecord, Rollouts, Search, Seconds, Status, mean_of_whole
from gps.sampling import Policy

Prior = TypeVar("Prior", bound=DynamicsPrior)


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


State = TypeVar("State", bound=LocalState)


class LocalModel(NamedTuple):
    """What an iteration knows: dynamics and cost around its samples, and the prior that has seen them."""

    dynamics: LinearDynamics
    cost: CostExpansion
    sample_costs: Float[np.ndarray, "M N T"]
    prior: DynamicsPrior | None
    reward: RewardModel | None


class Step(NamedTuple):
    """How far this iteration may go, from how the last one's prediction came true."""

    cost: Float[np.ndarray, "M"]  # mean of the samples
    actual: Float[np.ndarray, "M"]  # its change since the last iteration
    multiplier: Float[np.ndarray, "M"]
    bound: Float[np.ndarray, "M"]  # nats per time step


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalOptimiser:
    """The settings that all optimisers of local controllers have, and what follows from them alone.

    Args:
        cost: a JAX function of (x, u, t).
        reward: where the environment's reward counts too, its model, which is fitted to the samples.
        kl_step: ε, nats per time step.
        multiplier, min_multiplier, max_multiplier: of ε; see `adapted`.
        execution, noise, smoothing: what runs on the system; see `executed` and `exploration_noise`.
    """

    cost: Callable = dataclasses.field(kw_only=False)
    reward: RewardModel | None = None
    kl_step: float = 1.0
    multiplier: float = 1.0
    min_multiplier: float = 0.1
    max_multiplier: float = 1.0
    execution: Execution = "max_entropy"
    noise: float = 0.1
    smoothing: float = 0.0

    needs_derivatives: ClassVar[bool] = True
    """Whether the cost must have any."""

    learns_from_observations: ClassVar[bool] = False
    """Whether it needs what a policy sees; else nobody looks, and no picture is drawn."""

    def policy(self, state: LocalState) -> Controller:
        """The controllers to sample."""
        return executed(state.controllers, state.planned, self.execution, self.noise)

    def final(self, state: LocalState) -> Controller:
        """The controllers to keep: what runs without exploration."""
        return executed(state.controllers, state.planned, self.execution, 0.0)

    def further(self, state: LocalState) -> dict[str, Policy]:
        """What else to evaluate beside `final`, by name."""
        return {}

    def costs(self, rollouts: Rollouts) -> Float[np.ndarray, "M N T"]:
        """What each step cost."""
        costs = evaluate(self.cost, rollouts.states, rollouts.actions, rollouts.mask)
        return costs if self.reward is None else costs + self.reward.costs(rollouts)

    def step(self, state: LocalState, costs: Float[np.ndarray, "M N T"], mask: Bool[np.ndarray, "M N T"]) -> Step:
        """The bound on this iteration's update."""
        mean_cost = mean_of_whole(costs, mask)
        actual = mean_cost - state.cost
        multiplier = adapted(state.multiplier, state.predicted, actual, self.min_multiplier, self.max_multiplier)
        return Step(mean_cost, actual, multiplier, self.kl_step * multiplier)


def first_state(
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


def extended(kind: type, state: LocalState, **more: Any) -> Any:
    """The state as one of a kind that has `more` fields."""
    shared = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return kind(**shared, **more)


def fit_local_model(
    cost: Callable,
    state: LocalState,
    rollouts: Rollouts,
    seed: int,
    ridge: float = 1e-6,
    center: Literal["posterior", "sample"] = "posterior",
) -> LocalModel:
    """Dynamics and cost around the samples of each condition."""
    states, actions, mask = rollouts.states, rollouts.actions, rollouts.mask
    expansion, sample_costs = expand(cost, states, actions, mask)
    reward = state.reward
    if reward is not None:
        learned, reward = reward.fit(rollouts, seed)
        expansion, sample_costs = expansion + learned, sample_costs + reward.costs(rollouts)
    transitions = Transitions.of(states, actions, mask)
    prior = state.prior and state.prior.refit(transitions, seed)
    dynamics = fit_dynamics(states, actions, mask, prior and prior.at(transitions), ridge, center)
    return LocalModel(dynamics.numpy(), expansion, sample_costs, prior, reward)


@jax.jit
def _marginals(dynamics, controllers) -> Marginals:
    return jax.vmap(forward)(dynamics, controllers)


def marginals(model: Any, controllers: Controller) -> Marginals:
    """Of the state, under the controllers and the fitted dynamics."""
    return _marginals(model.dynamics, controllers).numpy()


# -- what an update was worth ----------------------------------------------------------------------------------------


class Result(NamedTuple):
    """What an update came to, for M conditions: where it is of no use, all is as it was."""

    controllers: Controller
    planned: Float[np.ndarray, "M T dx"]
    predicted: Float[np.ndarray, "M"]  # change of the cost; NaN where the controller is the old one
    search: Search
    status: Int[np.ndarray, "M"]
    usable: Bool[np.ndarray, "M"]
    messages: tuple[str, ...]

    @classmethod
    def of(
        cls,
        state: LocalState,
        rollouts: Rollouts,
        status: Int[np.ndarray, "M"],
        *,
        controllers: Controller,
        planned: Float[np.ndarray, "M T dx"],
        predicted: Float[np.ndarray, "M"],
        search: Search,
        finite: Any,
        details: Callable[[int, int], str] = lambda m, code: "",
    ) -> Self:
        """The new controllers, judged.

        Args:
            status: of the update alone.
            finite: a tree of arrays (M, ...) that must be so, beside the controllers.
            details: see `sentences`.
        """
        status, usable = judged(status, (controllers, finite), rollouts.mask)
        return cls(
            chosen(usable, controllers, state.controllers),
            chosen(usable, planned, state.planned),
            np.where(usable, predicted, np.nan),
            dataclasses.replace(search, kl=np.where(usable[:, None], search.kl, 0.0)),
            status,
            usable,
            tuple(sentences(status, rollouts, details)),
        )


def judged(
    status: Int[np.ndarray, "M"], parts: Any, mask: Bool[np.ndarray, "M N T"]
) -> tuple[Int[np.ndarray, "M"], Bool[np.ndarray, "M"]]:
    """The status of each condition, and whether its new controller may be used.

    Args:
        status: of the update alone.
        parts: a tree of arrays (M, ...) that must be finite.
    """
    status = np.array(status)
    finite = np.array([all(np.isfinite(leaf[m]).all() for leaf in jax.tree.leaves(parts)) for m in range(len(status))])
    new = np.array([Status(code).improved for code in status])
    status[~mask.all(axis=(1, 2)) & (status == Status.OK)] = Status.SAMPLES_DROPPED
    status[~mask.all(axis=2).any(axis=1) & new] = Status.NONE_WHOLE
    status[~finite] = Status.NOT_FINITE
    status[~mask.any(axis=(1, 2))] = Status.NO_VALID_SAMPLES
    return status, np.array([Status(code).improved for code in status])


def sentences(status: Int[np.ndarray, "M"], rollouts: Rollouts, details: Callable[[int, int], str]) -> Iterator[str]:
    """What the status of each condition means here, in words; empty where all is well.

    Args:
        details: what the algorithm has to add of a condition and its status, which is not well.
    """
    for m, code in enumerate(status):
        aborts = _aborts(rollouts, m)
        if Status(code).ok:
            yield aborts.strip()
            continue
        text = Status(code).sentence + details(m, code)
        if code == Status.SAMPLES_DROPPED:
            short = (~rollouts.mask[m].all(axis=1)).sum()
            text += f" {short} of {len(rollouts.mask[m])} ended early."
        yield text + aborts


def _aborts(rollouts: Rollouts, m: int) -> str:
    """Which samples of condition m were aborted, after which step and why; those alike in one sentence."""
    alike: dict[tuple[int, str], list[str]] = {}
    for abort in rollouts.aborts:
        if abort.condition == m:
            alike.setdefault((abort.step, abort.reason), []).append(str(abort.sample))
    return "".join(
        f" {'Samples' if len(samples) > 1 else 'Sample'} {', '.join(samples)} "
        f"{'were' if len(samples) > 1 else 'was'} aborted {f'after step {step}' if step >= 0 else 'at once'}: {reason}."
        for (step, reason), samples in alike.items()
    )


def chosen(usable: Bool[np.ndarray, "M *T"], new: Any, old: Any) -> Any:
    """The arrays of `new` for the conditions (or their steps) that are usable, those of `old` for the others."""
    return jax.tree.map(lambda yes, no: np.where(per_condition(usable, yes), yes, no), new, old)


def per_condition(values: Float[np.ndarray, "M *T"], array: np.ndarray) -> np.ndarray:
    """A value per condition (or step) in a shape that broadcasts against `array`."""
    return values.reshape(*values.shape, *(1,) * (array.ndim - values.ndim))


def recorded(
    state: LocalState,
    rollouts: Rollouts,
    step: Step,
    model: Any,
    marginals: Marginals,
    result: Result,
    policy: PolicyRecord | None = None,
) -> IterationRecord:
    """The record of the iteration that began in `state`.

    Args:
        model: that it fitted, with its `dynamics` and `sample_costs`.
        marginals: of the state, under the controllers that were run.
    """
    return IterationRecord(
        iteration=state.iteration,
        environment_steps=state.environment_steps + rollouts.steps,
        rollouts=rollouts,
        costs=model.sample_costs,
        controllers=state.controllers,
        dynamics=model.dynamics,
        marginals=marginals,
        improved=result.controllers,
        search=result.search,
        multiplier=step.multiplier,
        predicted=state.predicted,
        actual=step.actual,
        entropy=state.controllers.entropy().mean(axis=1),
        status=result.status,
        messages=result.messages,
        seconds=Seconds(0.0, 0.0, 0.0),
        policy=policy,
    )


def advanced(state: State, rollouts: Rollouts, step: Step, result: Result, **more: Any) -> State:
    """The state after the iteration; `more` are the fields that the algorithm has of its own."""
    eta = result.search.eta  # the next search begins where this one ended, if that is a number to begin with
    found = per_condition(result.usable, eta) & (eta > 0) & np.isfinite(eta)
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
