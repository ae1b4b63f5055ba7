"""PI²: path integral policy improvement under a KL bound, without any model.

Theodorou, Buchli & Schaal 2010; with the temperature from the dual of relative entropy policy search as in
Chebotar et al. 2017 (their section on PI²). For each condition and step t, from N samples of u_t ~ N(K_t x + k_t, Σ_t):

    S_it = Σ_{h ≥ t} c_ih                                                   the cost-to-go of sample i
    w_it ∝ exp(−S_it / η_t),   KL(w_t ‖ 1/N) = ε                            its probability (`path_integral`)
    k_t ← Σ_i w_it (u_it − K_t x_it)                                        weighted maximum likelihood of the mean
    Σ_t ← λ Σ_t + (1 − λ) Σ_i w_it e_it e_itᵀ                               and of the covariance, damped by λ
          with e_it = u_it − K_t x_it − k_t (the new k_t), and nowhere below a floor

The feedback K_t stays as it was. Costs are mere numbers here: nothing is differentiated, and no dynamics enter.
What is weighed are the actions as applied, after the environment's limits.

The record has dynamics all the same, a least-squares fit to the samples, and marginals, the samples' own moments:
a description of what was seen, which the update does not use. Its `kl` is that of the weights, which is what
the bound holds; its `eta` are the temperatures.
"""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from gps.algorithms.local.base import (
    LocalOptimiser,
    LocalState,
    Result,
    advanced,
    chosen,
    extended,
    first_state,
    recorded,
)
from gps.algorithms.local.path_integral import Weights, cost_to_go, floored, weigh, weighted_gaussian
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.regression import fit_dynamics
from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals
from gps.records import IterationRecord, Rollouts, Search, Status


@dataclasses.dataclass(frozen=True)
class PI2State(LocalState[MixturePrior]):
    """The state of the local optimisers, and the covariance below which no step may fall."""

    floor: Float[np.ndarray, "M T du du"]


class Seen(NamedTuple):
    """What an iteration knows: what its samples cost, and how they went."""

    sample_costs: Float[np.ndarray, "M N T"]
    dynamics: LinearDynamics
    marginals: Marginals


@dataclasses.dataclass(frozen=True, kw_only=True)
class PI2(LocalOptimiser):
    """The optimiser.

    Args:
        kl_step: ε, nats per time step, of the weights. Above log N it allows all the weight on the best sample.
        temperature: a fixed one in place of the bound, relative to the range of a step's costs-to-go; None for ε.
        covariance_damping: λ, the share of the old covariance in the new one.
        covariance_floor: of the standard deviation, relative to the first controllers'.
        feedback: keep that of the first controllers, or let them play the same actions at the start without any.
    """

    temperature: float | None = None
    covariance_damping: float = 0.8
    covariance_floor: float = 0.1
    feedback: Literal["keep", "zero"] = "keep"

    state_type = PI2State
    needs_derivatives = False

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> PI2State:
        """The state before the first iteration."""
        K, k, covariance = (np.asarray(part) for part in (
            controllers.feedback, controllers.feedforward, controllers.covariance
        ))  # fmt: skip
        if self.feedback == "zero":
            K, k = np.zeros_like(K), k + np.einsum("mtij,mj->mti", K, starts)
        eta = np.zeros(k.shape[:2])
        state = first_state(Controller(K, k, covariance), starts, eta, self.multiplier)
        return extended(PI2State, state, floor=self.covariance_floor**2 * state.controllers.covariance)

    def fit(self, state: PI2State, rollouts: Rollouts, seed: int) -> Seen:
        """What the samples cost and how they went. Nothing is drawn: `seed` is not used."""
        states, mask = rollouts.states, rollouts.mask
        dynamics = fit_dynamics(states, rollouts.actions, mask, None, center="sample").numpy()
        return Seen(self.costs(rollouts), dynamics, moments(states, mask))

    def improve(self, state: PI2State, rollouts: Rollouts, seen: Seen) -> tuple[PI2State, IterationRecord]:
        """One update of every controller, and the record of the iteration.

        The change that it predicts is that of the mean cost of these same samples, from equal weights to those of the
        first step. No dynamics predict anything; with few samples it is the hope that the best of them repeats itself.
        """
        old, mask = state.controllers, rollouts.mask
        step = self.step(state, seen.sample_costs, mask)
        S = cost_to_go(seen.sample_costs, mask)
        weighed = weigh(S, mask, step.bound, temperature=self.temperature)
        new = self._refitted(old, rollouts, weighed, state.floor)
        search = Search(
            bound=step.bound,
            eta=weighed.eta,
            kl=weighed.kl,
            alpha=np.zeros(len(step.bound)),
            evaluations=weighed.evaluations,
            trace_log_eta=weighed.trace_log_eta,
            trace_kl=weighed.trace_kl,
        )
        result = Result.of(
            state, rollouts, _status(weighed, self.temperature),
            controllers=new,
            planned=seen.marginals.mean,
            predicted=gain(weighed, S, mask),
            search=search,
            finite=(weighed.weights, seen.sample_costs),
        )  # fmt: skip
        record = recorded(state, rollouts, step, seen, seen.marginals, result)
        return advanced(state, rollouts, step, result), record

    def _refitted(self, old: Controller, rollouts: Rollouts, weighed: Weights, floor) -> Controller:
        """The Gaussians of the weighed actions; a step at which all samples cost the same keeps its own."""
        shift, covariance = weighted_gaussian(exploration(rollouts, old), weighed.weights)
        covariance = self.covariance_damping * old.covariance + (1.0 - self.covariance_damping) * covariance
        new = Controller(old.feedback, old.feedforward + shift, floored(covariance, floor))
        return chosen(weighed.told, new, old)


def exploration(rollouts: Rollouts, mean: Controller) -> Float[np.ndarray, "M N T du"]:
    """How far the applied actions were from the controller's mean; zero where masked."""
    asked = np.einsum("mtij,mntj->mnti", mean.feedback, rollouts.states) + mean.feedforward[:, None]
    return np.where(rollouts.mask[..., None], rollouts.actions - asked, 0.0)


def gain(weighed: Weights, S: Float[np.ndarray, "M N T"], mask) -> Float[np.ndarray, "M"]:
    """The mean cost of whole episodes under the first step's weights, less that under equal ones."""
    present = mask[..., 0]
    surplus = weighed.weights[..., 0] - present / np.maximum(present.sum(axis=1, keepdims=True), 1)
    return (surplus * S[..., 0]).sum(axis=1)


def moments(states: Float[np.ndarray, "M N T dx"], mask) -> Marginals:
    """Mean and covariance of the samples at each step."""
    weights = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return Marginals(*weighted_gaussian(states, weights))


def _status(weighed: Weights, temperature: float | None) -> np.ndarray:
    """How the choice of the weights ended, (M,)."""
    told, active = weighed.told.any(axis=1), weighed.active.any(axis=1)
    inactive = Status.OK if temperature is not None else Status.BOUND_INACTIVE
    return np.where(~told, Status.NO_PREFERENCE, np.where(active, Status.OK, inactive)).astype(int)
