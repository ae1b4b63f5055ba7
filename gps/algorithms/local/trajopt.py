"""Trajectory optimisation with local models (Levine & Abbeel 2014).

Sample the controllers, fit time-varying linear-Gaussian dynamics to the samples, expand the cost around them, and
improve each controller by maximum-entropy LQR inside a KL trust region. Repeat.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.algorithms.local.base import (
    LocalModel,
    LocalOptimiser,
    LocalState,
    State,
    fit_local_model,
    make_first_state,
    make_local_record,
    make_model_record,
    make_next_state,
    make_record,
    marginals,
)
from gps.algorithms.local.verdict import UpdateResult, judge_update
from gps.backend import jax
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior
from gps.linear_gaussian.riccati import expected_cost
from gps.linear_gaussian.trust_region import Update, find_indefinite, update
from gps.linear_gaussian.types import Controller
from gps.policies.played import LocalControllers
from gps.records import IterationRecord, Rollouts, Search
from gps.status import Status
from gps.storage.serialization import specialise

KL_TOLERANCE = 1e-2
"""Relative tolerance of the search for η: the model is not worth a third digit, and each evaluation has its price."""


class UpdateProblem(NamedTuple):
    """Improve the controllers of M conditions in the local model, within the KL `bound`."""

    model: LocalModel
    around: Controller
    bound: Float[np.ndarray, "M"]  # nats per time step
    alpha: Float[np.ndarray, "M ..."]  # cost per nat of entropy; (M, T) where each step has its own


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelBasedOptimiser(LocalOptimiser[State]):
    """The settings of optimisers that update controllers by LQR in a local model, inside a trust region.

    Args:
        prior: of the dynamics; None fits them by least squares (version 1.0 of the fit).
        ridge, center: of the fit; see `fit_dynamics`.
        constraint, solver: of the trust region; see `gps.linear_gaussian.trust_region.update`.
        entropy: temperature α of the entropy, relative to the mean absolute cost of a step.
    """

    prior: DynamicsPrior | None = None
    ridge: float = 1e-6
    center: Literal["posterior", "sample"] = "posterior"
    constraint: Literal["total", "per_step"] = "total"
    solver: Literal["secant", "gradient"] = "secant"
    entropy: float = 1e-3

    @property
    def prior_type(self) -> type:
        """The type of the prior in the state."""
        return MixturePrior if self.prior is None else type(self.prior)

    def make_first_state(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> LocalState:
        """The fields of the state that all of these optimisers have, before the first iteration."""
        eta = np.ones(len(starts) if self.constraint == "total" else (len(starts), controllers.horizon))
        return make_first_state(controllers, starts, eta, self.multiplier, self.prior, self.problem.reward)

    def fit(self, state: State, rollouts: Rollouts, seed: int) -> LocalModel:
        """Fit the local model around the samples."""
        return fit_local_model(self.problem, state, rollouts, seed, self.ridge, self.center)

    def alpha(self, model: LocalModel, rollouts: Rollouts) -> Float[np.ndarray, "M"]:
        """α of each condition, in units of its cost."""
        return temperature(self.entropy, model.sample_costs, rollouts.mask, axis=(1, 2))

    def solve(self, problem: UpdateProblem, eta: Float[np.ndarray, "M ..."]) -> Update:
        """Find the best controllers; `eta` is the first to be tried."""
        model, around, bound, alpha = problem
        new = update(
            model.dynamics, model.cost, around, bound, alpha, eta,
            constraint=self.constraint, solver=self.solver, tolerance=KL_TOLERANCE,
        )  # fmt: skip
        return jax.tree.map(np.asarray, new)

    def judge(
        self,
        state: LocalState,
        rollouts: Rollouts,
        problem: UpdateProblem,
        new: Update,
        predicted: Float[np.ndarray, "M"],
    ) -> UpdateResult:
        """Judge the update; `predicted` is the change of the expected cost."""
        alpha = problem.alpha
        return judge_update(
            rollouts,
            new.status,
            old=(state.controllers, state.planned),
            new=(new.controller, new.marginals.mean),
            predicted=predicted,
            search=Search(
                bound=problem.bound,
                eta=new.eta,
                kl=new.kl,
                alpha=alpha if alpha.ndim == 1 else alpha.mean(axis=1),
                evaluations=new.evaluations,
                trace_log_eta=new.trace_log_eta,
                trace_kl=new.trace_kl,
            ),
            finite=(new.kl, problem.model.dynamics),
            details=lambda m, code: describe_indefinite(m, code, problem, new),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrajOpt(ModelBasedOptimiser[LocalState]):
    """The trajectory optimiser; its settings are those of `ModelBasedOptimiser`."""

    @property
    def state_type(self) -> Any:
        return specialise(LocalState, self.prior_type)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> LocalState:
        return self.make_first_state(controllers, starts)

    def improve(
        self, state: LocalState, sampled: LocalControllers, rollouts: Rollouts, model: LocalModel
    ) -> tuple[LocalState, IterationRecord]:
        """Update every controller once.

        The predicted change is that of the expected cost between the old controllers and the new ones, both under this
        iteration's dynamics and cost expansion.
        """
        old, step = state.controllers, self.step_size(state, model.sample_costs, rollouts.counted)
        problem = UpdateProblem(model, old, step.bound, self.alpha(model, rollouts))
        new = self.solve(problem, state.eta)
        result = self.judge(state, rollouts, problem, new, predict_change(model, old, new))
        local = make_local_record(state, old, model.dynamics, new.previous_marginals, step, result)
        record = make_record(
            state, sampled, rollouts, model.sample_costs, result, local, model=make_model_record(model.prior)
        )
        return make_next_state(state, rollouts, step, result, prior=model.prior, reward=model.reward), record


def temperature(
    entropy: float,
    costs: Float[np.ndarray, "M N T"],
    mask: Bool[np.ndarray, "M N T"],
    axis: tuple[int, ...] | None = None,
) -> Float[np.ndarray, "..."]:
    """α: `entropy` times the mean absolute cost of a step over `axis`; None is over all conditions."""
    return entropy * np.abs(costs).sum(axis=axis) / np.maximum(mask.sum(axis=axis), 1)


def predict_change(model: LocalModel, old: Controller, new: Update) -> Float[np.ndarray, "M"]:
    """The change of the expected cost between the old and the new controllers, in the same local model."""
    before = np.asarray(expected_cost(new.previous_marginals, model.cost, old)).sum(axis=1)
    after = np.asarray(expected_cost(new.marginals, model.cost, new.controller)).sum(axis=1)
    return after - before


def predict_cost(model: LocalModel, controllers: Controller) -> Float[np.ndarray, "M"]:
    """L(controllers): the expected cost of an episode in the local model."""
    costs = expected_cost(marginals(model.dynamics, controllers), model.cost, controllers)
    return np.asarray(costs).sum(axis=1)


def describe_indefinite(m: int, status: int, problem: UpdateProblem, new: Update) -> str:
    """Name the step at which Quu of condition m was indefinite, if that ended its search."""
    if status not in (Status.NO_FEASIBLE_ETA, Status.SEARCH_EXHAUSTED):
        return ""
    tried = new.trace_log_eta[m][np.isnan(new.trace_kl[m])]
    tried = tried[~np.isnan(tried)]
    if not tried.size:
        return ""
    model, around, _, alpha = problem
    eta = float(np.exp(tried.max()))
    where = find_indefinite(model.dynamics[m], model.cost[m], around[m], alpha[m], eta)
    if not where:
        return ""
    t, eigenvalue = where
    return f" At eta = {eta:.1e}, Quu at t = {t} has the eigenvalue {eigenvalue:.1e}."
