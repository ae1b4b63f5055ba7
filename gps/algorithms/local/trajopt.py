"""Trajectory optimisation with local models (Levine & Abbeel 2014): the lecture's loop.

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
    Result,
    advanced,
    first_state,
    fit_local_model,
    recorded,
)
from gps.backend import jax
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior
from gps.linear_gaussian.riccati import expected_cost
from gps.linear_gaussian.trust_region import Update, find_indefinite, update
from gps.linear_gaussian.types import Controller
from gps.records import IterationRecord, Rollouts, Search, Status

KL_TOLERANCE = 1e-2
"""Relative, of the search for η: the model is not worth a third digit, and each evaluation has its price."""


class Problem(NamedTuple):
    """Of M conditions: better controllers in the local model, within `bound` of those that they begin from."""

    model: LocalModel
    around: Controller
    bound: Float[np.ndarray, "M"]  # nats per time step
    alpha: Float[np.ndarray, "M ..."]  # cost per nat of entropy; (M, T) where each step has its own


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrajOpt(LocalOptimiser):
    """The trajectory optimiser.

    Args:
        prior: of the dynamics; None fits them by least squares (version 1.0).
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
    def state_type(self) -> Any:
        """Of what `begin` and `improve` return."""
        return LocalState[MixturePrior if self.prior is None else type(self.prior)]

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> LocalState:
        """The state before the first iteration."""
        eta = np.ones(len(starts) if self.constraint == "total" else (len(starts), controllers.horizon))
        return first_state(controllers, starts, eta, self.multiplier, self.prior, self.reward)

    def fit(self, state: LocalState, rollouts: Rollouts, seed: int) -> LocalModel:
        """The local model around the samples."""
        return fit_local_model(self.cost, state, rollouts, seed, self.ridge, self.center)

    def improve(self, state: LocalState, rollouts: Rollouts, model: LocalModel) -> tuple[LocalState, IterationRecord]:
        """One update of every controller, and the record of the iteration.

        The change that it predicts is that of the expected cost between the old controllers and the new ones, both
        under this iteration's dynamics and cost expansion.
        """
        old, step = state.controllers, self.step(state, model.sample_costs, rollouts.mask)
        problem = Problem(model, old, step.bound, self.alpha(model, rollouts))
        new = self.solved(problem, state.eta)
        result = self.result(state, rollouts, problem, new, predicted(model, old, new))
        record = recorded(state, rollouts, step, model, new.previous_marginals, result)
        return advanced(state, rollouts, step, result, prior=model.prior, reward=model.reward), record

    def alpha(self, model: LocalModel, rollouts: Rollouts) -> Float[np.ndarray, "M"]:
        """α of each condition, in units of its cost."""
        return temperature(self.entropy, model.sample_costs, rollouts.mask, axis=(1, 2))

    def solved(self, problem: Problem, eta: Float[np.ndarray, "M ..."]) -> Update:
        """The best controllers; `eta` is the first to be tried."""
        model, around, bound, alpha = problem
        new = update(
            model.dynamics, model.cost, around, bound, alpha, eta,
            constraint=self.constraint, solver=self.solver, tolerance=KL_TOLERANCE,
        )  # fmt: skip
        return jax.tree.map(np.asarray, new)

    def result(
        self, state: LocalState, rollouts: Rollouts, problem: Problem, new: Update, change: Float[np.ndarray, "M"]
    ) -> Result:
        """What the update came to; `change` is that of the cost, as predicted."""
        alpha = problem.alpha
        return Result.of(
            state,
            rollouts,
            new.status,
            controllers=new.controller,
            planned=new.marginals.mean,
            predicted=change,
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
            details=lambda m, code: indefinite(m, code, problem, new),
        )


def temperature(
    entropy: float,
    costs: Float[np.ndarray, "M N T"],
    mask: Bool[np.ndarray, "M N T"],
    axis: tuple[int, ...] | None = None,
) -> Float[np.ndarray, "..."]:
    """α: `entropy` in units of the mean absolute cost of a step, over `axis`; None is over all conditions."""
    return entropy * np.abs(costs).sum(axis=axis) / np.maximum(mask.sum(axis=axis), 1)


def predicted(model: LocalModel, old: Controller, new: Update) -> Float[np.ndarray, "M"]:
    """The change of the expected cost between the old and the new controllers, in the same local model."""
    before = np.asarray(expected_cost(new.previous_marginals, model.cost, old)).sum(axis=1)
    after = np.asarray(expected_cost(new.marginals, model.cost, new.controller)).sum(axis=1)
    return after - before


def indefinite(m: int, status: int, problem: Problem, new: Update) -> str:
    """Where the backward pass of condition m met an indefinite Quu, if that is what its search failed of."""
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
