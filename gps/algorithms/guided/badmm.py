"""Guided policy search by Bregman ADMM (Levine, Finn, Darrell & Abbeel 2016, sec. 4).

The local controllers p and the global policy π must agree in their mean action at each step, E[u_p] = E[u_π], with
Lagrange multipliers λ_t. Penalties on their divergence, with weights ν_t, draw them together. Each iteration:

    sample    the local controllers, with their noise
    fit       local dynamics and cost; π̄, the global policy linearised around the samples of each condition and step
    C-step    p ← argmin Σ_t E_p[ℓ_t − λ_tᵀ u_t] + ν_t E KL(p ‖ π̄)  subject to  KL(p ‖ last p) ≤ ε
    S-step    π ← argmin Σ_t E[λ_tᵀ u_t] + ν_t E KL(π ‖ p) over the samples
    λ-step    λ_t ← λ_t + ρ ν_t Σ⁻¹ (E[u_π] − E[u_p]), both at the samples, Σ the policy's covariance
    ν-step    ν_t is raised by a factor where π and p are too far apart, and lowered where they are close (`Penalty`)

KL(p ‖ π̄) is the cost −log π̄ and ν_t times p's entropy, so that the C-step is the trust region's own problem with a
cost that is augmented and a temperature of α + ν_t. Of the mean actions it is the quadratic form of ν_t Σ⁻¹, for which
the λ-step is that of the method of multipliers, damped by ρ. (The paper has no Σ⁻¹: its step depends on the actions'
unit.) In the first iteration there is no policy yet, and no penalty; λ and ν of a condition wait until it teaches.
The step rule is that of trajectory optimisation: it compares changes of ℓ under the local controllers alone.
"""

import dataclasses
from typing import Any, Generic, Literal

import numpy as np
from jaxtyping import Float

from gps.algorithms.guided.base import Guided, GuidedModel, GuidedState, Local
from gps.algorithms.guided.lessons import mean_difference, precision
from gps.algorithms.local.base import make_local_record, make_model_record, make_next_state, make_record
from gps.algorithms.local.replay import Replay
from gps.algorithms.local.trajopt import TrajOpt, UpdateProblem, predict_cost
from gps.algorithms.local.verdict import choose
from gps.linear_gaussian.types import Controller, CostExpansion
from gps.policies.neural import Layered
from gps.records import IterationRecord, Rollouts
from gps.sampling.policy import Policy
from gps.storage.serialization import specialise


@dataclasses.dataclass(frozen=True)
class Penalty:
    """The weights ν_t, in units of the mean absolute cost of a step in the first iteration, and their schedule.

    Args:
        initial, least, most: first, smallest and largest weight.
        schedule: `average`: raise where KL(π ‖ p) is more than twice its mean over time, lower where it is less than
            half of it; `progress`: raise where it fell by less than 5 % in this iteration, lower where by more than
            20 %; `fixed`: raise all of them.
        factor: by which a weight is raised or lowered.
    """

    initial: float = 0.01
    least: float = 1e-4
    most: float = 1.0
    schedule: Literal["average", "progress", "fixed"] = "average"
    factor: float = 2.0

    def adapt(
        self,
        weights: Float[np.ndarray, "M T"],
        kl: Float[np.ndarray, "M T"],
        last: Float[np.ndarray, "M T"],
        scale: Float[np.ndarray, "M"],
    ) -> Float[np.ndarray, "M T"]:
        """The next weights, from the KL after this iteration and after the last; a KL that is NaN changes nothing."""
        match self.schedule:
            case "average":
                mean = np.nanmean(np.where(np.isfinite(kl).any(axis=1)[:, None], kl, 0.0), axis=1, keepdims=True)
                far, close = kl > 2.0 * mean, kl < 0.5 * mean
            case "progress":
                far, close = kl > 0.95 * last, kl < 0.8 * last
            case "fixed":
                far, close = np.ones_like(kl, dtype=bool), np.zeros_like(kl, dtype=bool)
        weights = np.where(far, self.factor * weights, np.where(close, weights / self.factor, weights))
        return np.clip(weights, self.least * scale[:, None], self.most * scale[:, None])


@dataclasses.dataclass(frozen=True)
class BADMMState(GuidedState[Local, Layered], Generic[Local, Layered]):
    """The state of guided policy search, the multipliers and the weights."""

    multipliers: Float[np.ndarray, "M T du"]  # λ, cost per unit of action
    weights: Float[np.ndarray, "M T"]  # ν, cost per nat
    scale: Float[np.ndarray, "M"]  # of the cost of a step, in the first iteration with a cost
    kl: Float[np.ndarray, "M T"]  # after the last iteration


@dataclasses.dataclass(frozen=True, kw_only=True)
class BADMM(Guided[TrajOpt, BADMMState]):
    """The algorithm.

    Args:
        penalty: see `Penalty`.
        dual_rate: ρ, of the step of the multipliers.
    """

    penalty: Penalty = dataclasses.field(default_factory=Penalty)
    dual_rate: float = 0.1

    @property
    def state_type(self) -> Any:
        return specialise(BADMMState, self.local.state_type, self.learner.network_type)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> BADMMState:
        local, k = self.local.begin(controllers, starts), np.asarray(controllers.feedforward)
        unknown = np.full(k.shape[:2], np.nan)
        return BADMMState(
            local,
            self.learner.training,
            self.learner.prior,
            multipliers=np.zeros_like(k),
            weights=unknown,
            scale=unknown[:, 0],
            kl=unknown,
        )

    def improve(
        self, state: BADMMState, sampled: Policy, rollouts: Rollouts, model: GuidedModel
    ) -> tuple[BADMMState, IterationRecord]:
        """Take the four steps.

        The predicted change is that of the expected cost ℓ between the old local controllers and the new ones, both in
        this iteration's local model; the actual one is that of the samples' mean.
        """
        before, local, around = state.local, model.local, model.linearised
        old = before.controllers
        step = self.local.step_size(before, local.sample_costs, rollouts.counted)
        scale = np.where(state.scale > 0, state.scale, mean_step_cost(local.sample_costs, rollouts.mask))
        nu = np.where(state.weights > 0, state.weights, self.penalty.initial * scale[:, None])
        alpha = self.local.alpha(local, rollouts)[:, None] + (nu if state.trained else np.zeros_like(nu))
        cost = local.cost + penalties(around, state.multipliers, nu) if state.trained else local.cost
        problem = UpdateProblem(local._replace(cost=cost), old, step.bound, alpha)
        new = self.local.solve(problem, before.eta)
        replay = Replay.of(rollouts, sampled.covariance, self.problem.limits)
        replayed = predict_cost(replay, local, old)
        change = predict_cost(replay, local, new.controller) - replayed
        result = self.local.judge(before, rollouts, problem, new, change, replayed)
        taught = self.teach(
            state, rollouts, model, result.controllers, result.usable, weights=nu, multipliers=state.multipliers
        )
        side = make_local_record(before, old, local.dynamics, new.previous_marginals, step, result)
        global_model = make_model_record(local.prior)
        record = make_record(before, sampled, rollouts, local.sample_costs, result, side, taught.record, global_model)

        multipliers, kl = state.multipliers, taught.record.kl
        if taught.training.trained:  # the multipliers and the weights wait for a policy, and for its teachers
            policy = taught.training.policy
            apart = mean_difference(policy, result.controllers, rollouts, self.problem.limits)
            slope = nu[..., None] * apart @ np.linalg.inv(policy.covariance)
            raised = multipliers + self.dual_rate * np.nan_to_num(slope)
            stepped = raised, self.penalty.adapt(nu, kl, state.kl, scale)
            multipliers, nu = choose(taught.conditions, stepped, (multipliers, nu))
        after = make_next_state(before, rollouts, step, result, prior=local.prior, reward=local.reward)
        return BADMMState(after, taught.training, model.policy_prior, multipliers, nu, scale, kl), record


def mean_step_cost(costs: Float[np.ndarray, "M N T"], mask: np.ndarray) -> Float[np.ndarray, "M"]:
    """The mean absolute cost of a step; NaN without any."""
    count = mask.sum(axis=(1, 2))
    return np.abs(np.where(mask, costs, 0.0)).sum(axis=(1, 2)) / np.where(count > 0, count, np.nan)


def penalties(
    around: Controller, multipliers: Float[np.ndarray, "M T du"], weights: Float[np.ndarray, "M T"]
) -> CostExpansion:
    """−λᵀu − ν log π̄(u | x) for each condition and step, without its constant."""
    K, k, P = around.feedback, around.feedforward, precision(around)
    J = np.concatenate([-K, np.broadcast_to(np.eye(k.shape[-1]), (*k.shape, k.shape[-1]))], axis=-1)  # u − K x = J z
    JtP = weights[..., None, None] * np.swapaxes(J, -1, -2) @ P
    gradient = -np.einsum("mtij,mtj->mti", JtP, k)
    gradient[..., -k.shape[-1] :] -= multipliers
    return CostExpansion(JtP @ J, gradient, np.zeros(k.shape[:2]))
