"""Trajectory optimisation with local models (Levine & Abbeel 2014): the lecture's loop.

Sample the controllers, fit time-varying linear-Gaussian dynamics to the samples, expand the cost around them, and
improve each controller by maximum-entropy LQR inside a KL trust region. Repeat.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from gps.algorithms.execution import Execution, executed
from gps.algorithms.step_size import adapted
from gps.backend import jax
from gps.costs import RewardModel, evaluate, expand
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior, Transitions
from gps.dynamics.regression import fit_dynamics
from gps.linear_gaussian.riccati import expected_cost
from gps.linear_gaussian.trust_region import Update, first_indefinite, update
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics
from gps.records import IterationRecord, Rollouts, Search, Seconds, Status, mean_of_whole

Prior = TypeVar("Prior", bound=DynamicsPrior)


@dataclasses.dataclass(frozen=True)
class TrajOptState(Generic[Prior]):
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


KL_TOLERANCE = 1e-2
"""Relative, of the search for η: the model is not worth a third digit, and each evaluation has its price."""


class LocalModel(NamedTuple):
    """What an iteration knows: dynamics and cost around its samples, and the prior that has seen them."""

    dynamics: LinearDynamics
    cost: CostExpansion
    sample_costs: Float[np.ndarray, "M N T"]
    prior: DynamicsPrior | None
    reward: RewardModel | None


@dataclasses.dataclass(frozen=True)
class TrajOpt:
    """The trajectory optimiser.

    Args:
        cost: a JAX function of (x, u, t).
        reward: where the environment's reward counts too, its model, which is fitted to the samples.
        prior: of the dynamics; None fits them by least squares (version 1.0).
        kl_step: ε, nats per time step.
        entropy: temperature α of the entropy, relative to the mean absolute cost of a step.
        execution, noise, smoothing: what runs on the system; see `executed` and `exploration_noise`.
    """

    cost: Callable
    reward: RewardModel | None = None
    prior: DynamicsPrior | None = None
    ridge: float = 1e-6
    center: Literal["posterior", "sample"] = "posterior"
    kl_step: float = 1.0
    constraint: Literal["total", "per_step"] = "total"
    solver: Literal["secant", "gradient"] = "secant"
    entropy: float = 1e-3
    multiplier: float = 1.0
    min_multiplier: float = 0.1
    max_multiplier: float = 10.0
    execution: Execution = "max_entropy"
    noise: float = 0.1
    smoothing: float = 0.0

    @property
    def state_type(self) -> Any:
        """Of what `begin` and `improve` return."""
        return TrajOptState[MixturePrior if self.prior is None else type(self.prior)]

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> TrajOptState:
        """The state before the first iteration."""
        M, T = len(starts), controllers.horizon
        unknown = np.full(M, np.nan)
        return TrajOptState(
            iteration=0,
            environment_steps=0,
            controllers=controllers.numpy(),
            planned=np.repeat(starts[:, None], T, axis=1),
            prior=self.prior,
            reward=self.reward,
            eta=np.ones(M if self.constraint == "total" else (M, T)),
            multiplier=np.full(M, self.multiplier),
            predicted=unknown,
            cost=unknown,
        )

    def policy(self, state: TrajOptState) -> Controller:
        """The controllers to sample."""
        return executed(state.controllers, state.planned, self.execution, self.noise)

    def final(self, state: TrajOptState) -> Controller:
        """The controllers to keep: what runs without exploration."""
        return executed(state.controllers, state.planned, self.execution, 0.0)

    def costs(self, rollouts: Rollouts) -> Float[np.ndarray, "M N T"]:
        """What each step cost."""
        costs = evaluate(self.cost, rollouts.states, rollouts.actions, rollouts.mask)
        return costs if self.reward is None else costs + self.reward.costs(rollouts)

    def fit(self, state: TrajOptState, rollouts: Rollouts, seed: int) -> LocalModel:
        """The local model around the samples."""
        states, actions, mask = rollouts.states, rollouts.actions, rollouts.mask
        cost, sample_costs = expand(self.cost, states, actions, mask)
        reward = state.reward
        if reward is not None:
            learned, reward = reward.fit(rollouts, seed)
            cost, sample_costs = cost + learned, sample_costs + reward.costs(rollouts)
        transitions = Transitions.of(states, actions, mask)
        prior = state.prior and state.prior.refit(transitions, seed)
        dynamics = fit_dynamics(states, actions, mask, prior and prior.at(transitions), self.ridge, self.center)
        return LocalModel(dynamics.numpy(), cost, sample_costs, prior, reward)

    def improve(
        self, state: TrajOptState, rollouts: Rollouts, model: LocalModel
    ) -> tuple[TrajOptState, IterationRecord]:
        """One update of every controller, and the record of the iteration."""
        old = state.controllers
        mean_cost = mean_of_whole(model.sample_costs, rollouts.mask)
        actual = mean_cost - state.cost
        multiplier = adapted(state.multiplier, state.predicted, actual, self.min_multiplier, self.max_multiplier)
        steps = np.maximum(rollouts.mask.sum(axis=(1, 2)), 1)
        alpha = self.entropy * np.abs(model.sample_costs).sum(axis=(1, 2)) / steps
        bound = self.kl_step * multiplier

        new = update(
            model.dynamics, model.cost, old, bound, alpha, state.eta,
            constraint=self.constraint, solver=self.solver, tolerance=KL_TOLERANCE,
        )  # fmt: skip
        new = jax.tree.map(np.asarray, new)
        status, usable = self._judge(new, model, rollouts.mask)
        kept = jax.tree.map(lambda yes, no: np.where(_like(usable, yes), yes, no), new.controller, old)
        before = np.asarray(expected_cost(new.previous_marginals, model.cost, old)).sum(axis=1)
        after = np.asarray(expected_cost(new.marginals, model.cost, new.controller)).sum(axis=1)
        predicted = np.where(usable, after - before, np.nan)
        eta = new.eta

        record = IterationRecord(
            iteration=state.iteration,
            environment_steps=state.environment_steps + rollouts.steps,
            rollouts=rollouts,
            costs=model.sample_costs,
            controllers=old,
            dynamics=model.dynamics,
            marginals=new.previous_marginals,
            improved=kept,
            search=Search(
                bound=bound,
                eta=eta,
                kl=np.where(usable[:, None], new.kl, 0.0),
                alpha=alpha,
                evaluations=new.evaluations,
                trace_log_eta=new.trace_log_eta,
                trace_kl=new.trace_kl,
            ),
            multiplier=multiplier,
            predicted=state.predicted,
            actual=actual,
            entropy=old.entropy().mean(axis=1),
            status=status,
            messages=tuple(
                self._message(m, status[m], model, old, new, alpha[m], rollouts) for m in range(len(status))
            ),
            seconds=Seconds(0.0, 0.0, 0.0),
        )
        next_state = TrajOptState(
            iteration=state.iteration + 1,
            environment_steps=record.environment_steps,
            controllers=kept,
            planned=np.where(_like(usable, new.marginals.mean), new.marginals.mean, state.planned),
            prior=model.prior,
            reward=model.reward,
            eta=np.where(_like(usable, eta) & (eta > 0) & np.isfinite(eta), eta, state.eta),
            multiplier=multiplier,
            predicted=predicted,
            cost=mean_cost,
        )
        return next_state, record

    def _judge(self, new: Update, model: LocalModel, mask):
        """The status of each condition, and whether its new controller may be used."""
        status = np.array(new.status)
        finite = np.array([
            all(np.isfinite(leaf[m]).all() for leaf in jax.tree.leaves((new.controller, new.kl, model.dynamics)))
            for m in range(len(status))
        ])  # fmt: skip
        status[~mask.all(axis=(1, 2)) & (status == Status.OK)] = Status.SAMPLES_DROPPED
        status[~finite] = Status.NOT_FINITE
        status[~mask.any(axis=(1, 2))] = Status.NO_VALID_SAMPLES
        unusable = (Status.NO_FEASIBLE_ETA, Status.NO_VALID_SAMPLES, Status.NOT_FINITE)
        return status, ~np.isin(status, unusable)

    def _message(self, m, status, model, old, new, alpha, rollouts) -> str:
        """What the status of condition m means here, in words; empty where all is well."""
        aborts = "".join(
            f" Sample {abort.sample} was aborted after step {abort.step}: {abort.reason}."
            for abort in rollouts.aborts
            if abort.condition == m
        )
        if Status(status).ok:
            return aborts.strip()
        text = Status(status).sentence
        if status in (Status.NO_FEASIBLE_ETA, Status.SEARCH_EXHAUSTED):
            tried = new.trace_log_eta[m][np.isnan(new.trace_kl[m])]
            tried = tried[~np.isnan(tried)]
            where = tried.size and first_indefinite(
                model.dynamics[m], model.cost[m], old[m], float(alpha), float(np.exp(tried.max()))
            )
            if where:
                t, eigenvalue = where
                text += f" At eta = {np.exp(tried.max()):.1e}, Quu at t = {t} has the eigenvalue {eigenvalue:.1e}."
        if status == Status.SAMPLES_DROPPED:
            short = (~rollouts.mask[m].all(axis=1)).sum()
            text += f" {short} of {len(rollouts.mask[m])} ended early."
        return text + aborts


def _like(per_condition: np.ndarray, array) -> np.ndarray:
    """A value per condition in a shape that broadcasts against `array`."""
    return per_condition.reshape(-1, *(1,) * (array.ndim - 1))
