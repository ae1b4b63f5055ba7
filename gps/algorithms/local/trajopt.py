"""Trajectory optimisation with local models (Levine & Abbeel 2014).

Sample the controllers, fit time-varying linear-Gaussian dynamics to the samples, expand the cost around them, and
improve each controller by maximum-entropy LQR inside a KL trust region. Repeat.
"""

import dataclasses
from typing import Any, Generic, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.algorithms.local.accepted import Accepted, Rise, find_rise
from gps.algorithms.local.base import (
    LocalModel,
    LocalOptimiser,
    LocalState,
    Prior,
    State,
    extend_state,
    fit_local_model,
    make_first_state,
    make_local_record,
    make_model_record,
    make_next_state,
    make_record,
    marginals,
)
from gps.algorithms.local.imagination import imagine, linearise_along
from gps.algorithms.local.replay import Replay
from gps.algorithms.local.verdict import OPTIMAL, UpdateResult, choose, judge_update
from gps.backend import jax
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior
from gps.linear_gaussian.trust_region import Update, find_indefinite, update
from gps.linear_gaussian.types import Controller
from gps.models.model import GlobalModel
from gps.models.prior import ModelPrior
from gps.policies.played import LocalControllers
from gps.records import IterationRecord, Rollouts, Search, mean_of_whole
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
    def prior_type(self) -> Any:
        """The type of the prior in the state."""
        return MixturePrior if self.prior is None else self.prior.stored_type

    def make_first_state(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> LocalState:
        """The fields of the state that all of these optimisers have, before the first iteration."""
        eta = np.ones(len(starts) if self.constraint == "total" else (len(starts), controllers.horizon))
        return make_first_state(controllers, starts, eta, self.multiplier, self.prior, self.problem.reward)

    def fit(self, state: State, rollouts: Rollouts, seed: int) -> LocalModel:
        """Fit the local model around the samples."""
        if self.prior is not None and state.prior is not None:
            state = dataclasses.replace(state, prior=self.prior.restore(state.prior))
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
        replayed: Float[np.ndarray, "M"],
    ) -> UpdateResult:
        """Judge the update.

        Args:
            predicted: change of the expected cost.
            replayed: L̂ of what was sampled.
        """
        alpha = problem.alpha
        rewards = rollouts.rewards[rollouts.mask]
        flat = self.problem.reward is not None and rewards.size > 0 and rewards.min() == rewards.max()
        return judge_update(
            rollouts,
            np.where(flat & np.isin(new.status, (*OPTIMAL, Status.SEARCH_EXHAUSTED)), Status.FLAT_REWARD, new.status),
            old=(state.controllers, state.planned),
            new=(new.controller, new.marginals.mean),
            predicted=predicted,
            trust=measure_trust(replayed, problem.model.sample_costs, rollouts.counted),
            size=total_cost(problem.model.sample_costs, rollouts.mask),
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


@dataclasses.dataclass(frozen=True)
class TrajOptState(LocalState[Prior], Generic[Prior]):
    """The state of the local optimisers, and the last controllers that were not much worse than those before."""

    accepted: Accepted | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrajOpt(ModelBasedOptimiser[TrajOptState]):
    """The trajectory optimiser.

    Args:
        imagined: iterations in the prior's global model after each one on the system, and before the first one if the
            prior has its model already; see `gps.algorithms.local.imagination`.
        imagined_samples: samples of each of them.
        imagined_fit: the local dynamics of the imagined episodes: the model's slopes along their mean, or a regression
            on the samples under the prior that there was before the model.
    """

    max_multiplier: float = 2.0
    imagined: int = 0
    imagined_samples: int = 5
    imagined_fit: Literal["slopes", "samples"] = "slopes"

    @property
    def state_type(self) -> Any:
        return specialise(TrajOptState, self.prior_type)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> TrajOptState:
        state = extend_state(TrajOptState, self.make_first_state(controllers, starts), accepted=None)
        if not self.imagined or self._find_model(state) is None:
            return state
        imagined = self._imagine(state, np.repeat(starts[:, None], self.imagined_samples, axis=1))
        return dataclasses.replace(state, **imagined.best._asdict())

    def improve(
        self, state: TrajOptState, sampled: LocalControllers, rollouts: Rollouts, model: LocalModel
    ) -> tuple[TrajOptState, IterationRecord]:
        """Update every controller once, or take its last update back where that made the cost rise much.

        The predicted change is that of the expected cost between the old controllers and the new ones as the model
        replays the samples (`Replay`), under this iteration's dynamics and cost expansion. The actual one, in the next
        iteration, is that of the samples' mean cost.
        """
        old, step = state.controllers, self.step_size(state, model.sample_costs, rollouts.counted)
        rise = find_rise(state.accepted, step.cost)
        here = Accepted(
            iteration=np.full(len(step.cost), state.iteration),
            controllers=old,
            planned=state.planned,
            dynamics=model.dynamics,
            expansion=model.cost,
            alpha=self.alpha(model, rollouts),
            cost=step.cost,
            size=total_cost(model.sample_costs, rollouts.mask),
            rises=np.zeros(len(step.cost), int),
        )
        base = here if state.accepted is None else choose(rise.any, state.accepted, here)
        problem = UpdateProblem(
            model._replace(dynamics=base.dynamics, cost=base.expansion), base.controllers, step.bound, base.alpha
        )
        new = self.solve(problem, state.eta)
        replay = Replay.of(rollouts, sampled.covariance, self.problem.limits)
        predicted = predict_cost(replay, problem.model, new.controller) - predict_cost(
            replay, problem.model, base.controllers
        )
        result = self.judge(state, rollouts, problem, new, predicted, predict_cost(replay, model, old))
        result = take_back(result, base, rise)
        local = make_local_record(state, old, model.dynamics, marginals(model.dynamics, old), step, result)
        record = make_record(
            state, sampled, rollouts, model.sample_costs, result, local, model=make_model_record(model.prior)
        )
        accepted = dataclasses.replace(base, rises=base.rises + rise.any)
        after = make_next_state(
            state, rollouts, step._replace(cost=base.cost), result,
            prior=model.prior, reward=model.reward, accepted=accepted,
        )  # fmt: skip
        if self.imagined and not rise.any.any():
            return self.go_on_in_model(after, record, read_improvement(state))
        return after, record

    def go_on_in_model(
        self, state: TrajOptState, record: IterationRecord, before: "Improvement"
    ) -> tuple[TrajOptState, IterationRecord]:
        """Iterate in the prior's model, if there is one, and keep what cost least there; the record gets it.

        Args:
            before: the controllers that were sampled. The update that the samples suggested is where the iterations
                begin; those by regression begin with these where the model says that the update is worse.
        """
        model = self._find_model(state)
        if model is None:
            return state, record
        firsts = record.rollouts.states[:, np.arange(self.imagined_samples) % record.rollouts.states.shape[1], 0]
        back = np.zeros(len(firsts), bool)
        if self.imagined_fit == "samples":
            back = self._find_worse(model, firsts, state, before)
        best, lowest, moved = self._imagine(
            dataclasses.replace(state, **choose(back, before, read_improvement(state))._asdict()), firsts
        )
        assert record.local is not None
        # From the samples' cost to the imagined one: that is what the next samples judge.
        predicted = np.where(moved, lowest - state.cost, np.where(back, np.nan, state.predicted))
        local = dataclasses.replace(record.local, improved=best.controllers, predicted=predicted)
        after = dataclasses.replace(state, predicted=predicted, **best._asdict())
        return after, dataclasses.replace(record, local=local)

    def _imagine(self, state: TrajOptState, firsts: Float[np.ndarray, "M N dx"]) -> "ImaginedImprovement":
        """Iterate in the prior's model, from the controllers of a state."""
        prior, model = state.prior, self._find_model(state)
        assert isinstance(prior, ModelPrior) and model is not None
        before_model = prior.before if self.imagined_fit == "samples" else None
        inner = dataclasses.replace(self, imagined=0, prior=before_model)
        dream = dataclasses.replace(state, prior=before_model, accepted=None)
        best, lowest, moved = read_improvement(dream), np.full(len(firsts), np.inf), np.zeros(len(firsts), bool)
        for i in range(self.imagined + 1):
            policy = inner.policy(dream)
            seed = int(np.random.SeedSequence([state.iteration, i]).generate_state(1)[0])
            rollouts = imagine(self.problem, model, policy.controllers, firsts, seed)
            by_slopes = self.imagined_fit == "slopes"
            local_model = (
                linearise_along(self.problem, model, rollouts) if by_slopes else inner.fit(dream, rollouts, seed)
            )
            cost = mean_of_whole(local_model.sample_costs, rollouts.counted)
            best = choose(cost < lowest, read_improvement(dream), best)
            moved = (cost < lowest) & (i > 0) | moved
            lowest = np.fmin(cost, lowest)
            if i == self.imagined or not rollouts.whole.any(axis=1).all():  # the model exploded
                break
            dream, _ = inner.improve(dream, policy, rollouts, local_model)
        return ImaginedImprovement(best, lowest, moved)

    @staticmethod
    def _find_model(state: TrajOptState) -> GlobalModel | None:
        """The global model of the prior; None while there is none."""
        return state.prior.learner.model if isinstance(state.prior, ModelPrior) else None

    def _find_worse(
        self, model: GlobalModel, firsts: Float[np.ndarray, "M N dx"], dream: TrajOptState, before: "Improvement"
    ) -> Bool[np.ndarray, "M"]:
        """True for each condition whose update is worse, in the model, than what there was before."""
        costs = []
        for controllers, planned, _ in (read_improvement(dream), before):
            played = self.policy(dataclasses.replace(dream, controllers=controllers, planned=planned)).controllers
            rollouts = imagine(self.problem, model, played, firsts, dream.iteration)
            costs.append(mean_of_whole(self.problem.costs(rollouts), rollouts.counted))
        return np.isfinite(costs[1]) & ~(costs[0] <= costs[1])


class Improvement(NamedTuple):
    """The controllers of each condition, the states that they plan for, and η of their update."""

    controllers: Controller
    planned: Float[np.ndarray, "M T dx"]
    eta: Float[np.ndarray, "M ..."]


class ImaginedImprovement(NamedTuple):
    """The result of iterations in a model: the best controllers of each condition, and their cost there.

    Attributes:
        best: the controllers that cost least there.
        lowest: their cost in the model; infinite where the model exploded at once.
        moved: True where they are others than those of the beginning.
    """

    best: Improvement
    lowest: Float[np.ndarray, "M"]
    moved: Bool[np.ndarray, "M"]


def read_improvement(state: LocalState) -> Improvement:
    """Read the improvement from a state."""
    return Improvement(*(getattr(state, name) for name in Improvement._fields))


def take_back(result: UpdateResult, base: Accepted, rise: Rise) -> UpdateResult:
    """The result where the update starts from the accepted controllers, or goes back to them."""
    fine = np.isin(result.status, (*OPTIMAL, Status.CLIPPED))
    status = np.where(rise.shorten & fine, Status.SHORTENED, np.where(rise.back, Status.RETURNED, result.status))
    messages = tuple(
        _describe_taken_back(Status(code), int(base.iteration[m]))
        if rise.any[m] and code in (Status.SHORTENED, Status.RETURNED)
        else message
        for m, (code, message) in enumerate(zip(status, result.messages, strict=True))
    )
    controllers, planned = choose(
        rise.back | ~result.usable & rise.any, (base.controllers, base.planned), (result.controllers, result.planned)
    )
    predicted = np.where(rise.back, np.nan, result.predicted)
    return result._replace(
        controllers=controllers, planned=planned, predicted=predicted, status=status, messages=messages
    )


def _describe_taken_back(status: Status, iteration: int) -> str:
    """The sentence of an update taken back; a view that knows the run writes its path in the place of RUN."""
    text = f"{status.sentence} It is that of iteration {iteration}"
    return f"{text}; to go back to it: `gps resume RUN --from {iteration}`" if status is Status.RETURNED else f"{text}."


def temperature(
    entropy: float,
    costs: Float[np.ndarray, "M N T"],
    mask: Bool[np.ndarray, "M N T"],
    axis: tuple[int, ...] | None = None,
) -> Float[np.ndarray, "..."]:
    """α: `entropy` times the mean absolute cost of a step over `axis`; None is over all conditions."""
    return entropy * np.abs(costs).sum(axis=axis) / np.maximum(mask.sum(axis=axis), 1)


def total_cost(costs: Float[np.ndarray, "M N T"], mask: Bool[np.ndarray, "M N T"]) -> Float[np.ndarray, "M"]:
    """The mean absolute cost of an episode, the unit in which predictions are judged."""
    return np.abs(np.where(mask, costs, 0.0)).sum(axis=(1, 2)) / np.maximum(mask.sum(axis=(1, 2)), 1) * mask.shape[2]


def measure_trust(
    replayed: Float[np.ndarray, "M"], costs: Float[np.ndarray, "M N T"], mask: Bool[np.ndarray, "M N T"]
) -> Float[np.ndarray, "M"]:
    """The trust in the model, |L̂ − J| / |J|: how far the replayed cost of the samples is from their own, relative.

    J is the mean over whole episodes; NaN where there is none. The denominator is the mean absolute cost.
    """
    size = total_cost(costs, mask)
    return np.abs(replayed - mean_of_whole(costs, mask)) / np.where(size > 0, size, 1.0)


def predict_cost(replay: Replay, model: LocalModel, controllers: Controller) -> Float[np.ndarray, "M"]:
    """L̂(controllers): the cost of an episode as the local model replays the samples."""
    return replay.expected_cost(model.dynamics, model.cost, controllers)


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
