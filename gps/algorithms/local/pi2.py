"""PI²: path integral policy improvement under a KL bound, without any model.

Theodorou, Buchli & Schaal 2010; with the temperature from the dual of relative entropy policy search as in
Chebotar et al. 2017 (their section on PI²). For each condition and step t, from N samples of u_t ~ N(K_t x + k_t, Σ_t):

    S_it = Σ_{h ≥ t} c_ih                                                   the cost-to-go of sample i
    w_it ∝ exp(−S_it / η_t),   KL(w_t ‖ 1/N) = ε                            its probability (`path_integral`)
    k_t ← Σ_i w_it (u_it − K_t x_it)                                        weighted maximum likelihood of the mean
    Σ_t ← λ Σ_t + (1 − λ) Σ_i w_it e_it e_itᵀ                               and of the covariance, damped by λ
          with e_it = u_it − K_t x_it − k_t (the new k_t), and nowhere below a floor

The feedback K_t stays as it was. Costs are mere numbers here: nothing is differentiated, and no dynamics are fitted.
PI² weights the applied actions, after the environment's limits.

In the record, the marginals are the moments of the samples, `kl` is that of the weights (which the bound limits), and
`eta` are the temperatures.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from gps.algorithms.algorithm import Needs
from gps.algorithms.local.base import (
    LocalOptimiser,
    LocalState,
    extend_state,
    make_first_state,
    make_local_record,
    make_next_state,
    make_record,
)
from gps.algorithms.local.path_integral import Weights, apply_floor, cost_to_go, fit_weighted_gaussian, weigh
from gps.algorithms.local.verdict import choose, judge_update
from gps.dynamics.mixture import MixturePrior
from gps.linear_gaussian.types import Controller, Marginals
from gps.policies.played import LocalControllers
from gps.records import IterationRecord, Rollouts, Search
from gps.status import Status


@dataclasses.dataclass(frozen=True)
class PI2State(LocalState[MixturePrior]):
    """The state of the local optimisers, and the covariance below which no step may fall."""

    floor: Float[np.ndarray, "M T du du"]


class SampleModel(NamedTuple):
    """The result of `fit`: the costs of the samples and the moments of their states."""

    sample_costs: Float[np.ndarray, "M N T"]
    marginals: Marginals
    dynamics: None = None  # none are fitted
    prior: None = None
    reward: None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PI2(LocalOptimiser[PI2State]):
    """The optimiser.

    Args:
        kl_step: ε, nats per time step, of the weights. Above log N it allows all the weight on the best sample.
        temperature: fixed, in place of the bound, relative to the range of a step's costs-to-go; None uses the bound.
        covariance_damping: λ, the share of the old covariance in the new one.
        covariance_floor: smallest standard deviation, relative to the first controllers'.
        feedback: keep the gains of the first controllers, or set them to zero and play the same actions at the start.
    """

    temperature: float | None = None
    covariance_damping: float = 0.8
    covariance_floor: float = 0.1
    feedback: Literal["keep", "zero"] = "keep"

    @property
    def needs(self) -> Needs:
        return Needs(derivatives=False)

    @property
    def state_type(self) -> Any:
        return PI2State

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> PI2State:
        K, k, covariance = (np.asarray(part) for part in (
            controllers.feedback, controllers.feedforward, controllers.covariance
        ))  # fmt: skip
        if self.feedback == "zero":
            K, k = np.zeros_like(K), k + np.einsum("mtij,mj->mti", K, starts)
        eta = np.zeros(k.shape[:2])
        state = make_first_state(Controller(K, k, covariance), starts, eta, self.multiplier)
        return extend_state(PI2State, state, floor=self.covariance_floor**2 * state.controllers.covariance)

    def fit(self, state: PI2State, rollouts: Rollouts, seed: int) -> SampleModel:
        """Compute costs and moments of the samples; `seed` is not used."""
        return SampleModel(self.problem.costs(rollouts), sample_moments(rollouts.states, rollouts.mask))

    def improve(
        self, state: PI2State, sampled: LocalControllers, rollouts: Rollouts, model: SampleModel
    ) -> tuple[PI2State, IterationRecord]:
        """Update every controller once.

        The predicted change is that of the mean cost of these same samples, from equal weights to those of the first
        step. No dynamics predict anything; with few samples it is the hope that the best of them repeats itself.
        """
        old, mask = state.controllers, rollouts.mask
        step = self.step_size(state, model.sample_costs, rollouts.counted)
        S = cost_to_go(model.sample_costs, rollouts.counted)
        weighed = weigh(S, mask, step.bound, temperature=self.temperature)
        new = self._refit(old, rollouts, weighed, state.floor)
        search = Search(
            bound=step.bound,
            eta=weighed.eta,
            kl=weighed.kl,
            alpha=np.zeros(len(step.bound)),
            evaluations=weighed.evaluations,
            trace_log_eta=weighed.trace_log_eta,
            trace_kl=weighed.trace_kl,
        )
        result = judge_update(
            rollouts, _status(weighed, self.temperature),
            old=(old, state.planned),
            new=(new, model.marginals.mean),
            predicted=predict_gain(weighed, S, mask),
            search=search,
            finite=(weighed.weights, model.sample_costs),
        )  # fmt: skip
        local = make_local_record(state, old, None, model.marginals, step, result)
        record = make_record(state, sampled, rollouts, model.sample_costs, result, local)
        return make_next_state(state, rollouts, step, result), record

    def _refit(self, old: Controller, rollouts: Rollouts, weighed: Weights, floor: np.ndarray) -> Controller:
        """Fit the Gaussians of the weighted actions; a step at which all samples cost the same keeps its own."""
        shift, covariance = fit_weighted_gaussian(exploration(rollouts, old), weighed.weights)
        covariance = self.covariance_damping * old.covariance + (1.0 - self.covariance_damping) * covariance
        new = Controller(old.feedback, old.feedforward + shift, apply_floor(covariance, floor))
        return choose(weighed.distinct, new, old)


def exploration(rollouts: Rollouts, mean: Controller) -> Float[np.ndarray, "M N T du"]:
    """The applied actions minus the controller's mean actions; zero where masked."""
    return np.where(rollouts.mask[..., None], rollouts.actions - mean.means(rollouts.states), 0.0)


def predict_gain(weighed: Weights, S: Float[np.ndarray, "M N T"], mask: np.ndarray) -> Float[np.ndarray, "M"]:
    """The mean cost of whole episodes under the first step's weights, minus that under equal ones."""
    present = mask[..., 0]
    surplus = weighed.weights[..., 0] - present / np.maximum(present.sum(axis=1, keepdims=True), 1)
    return (surplus * S[..., 0]).sum(axis=1)


def sample_moments(states: Float[np.ndarray, "M N T dx"], mask: np.ndarray) -> Marginals:
    """The mean and covariance of the samples at each step."""
    weights = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return Marginals(*fit_weighted_gaussian(states, weights))


def _status(weighed: Weights, temperature: float | None) -> np.ndarray:
    """The status of each condition's choice of weights, (M,)."""
    distinct, active = weighed.distinct.any(axis=1), weighed.active.any(axis=1)
    inactive = Status.OK if temperature is not None else Status.BOUND_INACTIVE
    return np.where(~distinct, Status.NO_PREFERENCE, np.where(active, Status.OK, inactive)).astype(int)
