"""PILQR: a model-based update for what the model explains, a model-free one for the rest (Chebotar et al. 2017).

The cost-to-go of each sample i is split in two, S = Ŝ + S̃: the part that the local model reproduces, and the residual.
The update that PI² would make with S then factors (Chebotar et al., their section on the two-stage update):

    p'(u | x)  ∝  p(u | x) exp(−(Ŝ + S̃) / η)  =  [p(u | x) exp(−Ŝ / η)] exp(−S̃ / η)  ∝  p̂(u | x) exp(−S̃ / η)

1.  The split. The fitted dynamics play the samples again, with their own starts and noise e_it = u_it − K_t x_it − k_t:

        x̂_i0 = x_i0,   û_it = K_t x̂_it + k_t + e_it,   x̂_i,t+1 = F_t [x̂_it; û_it] + c_t,
        ĉ_it = ½ ẑᵀ C_t ẑ + g_tᵀ ẑ + const_t  with  ẑ = [x̂_it; û_it],      S̃_it = Σ_{h ≥ t} (c_ih − ĉ_ih).

    With linear dynamics and a quadratic cost, fitted exactly, S̃ is zero.
2.  The model-based stage: p̂ = N(K̂ x + k̂, Σ̂) minimises the expected cost of the local model (LQR with fitted linear
    models) within KL(p̂ ‖ p) ≤ (1 − ρ) ε. This is the whole of `trajopt`, and finds η.
3.  The model-free stage, inside the KL that remains: w_it ∝ exp(−S̃_it / η̃_t), where η̃ is the η of stage 2, as the
    factors above have it, or what the dual of REPS finds for KL(w ‖ 1/N) = ρ ε, whichever is larger. The samples
    are carried over from p to p̂ by their standard noise ξ_it = L_t⁻¹ e_it, Σ_t = L_t L_tᵀ:

        k'_t = k̂_t + L̂_t δ_t,   Σ'_t = L̂_t (I + (1 − λ) D_t) L̂_tᵀ,   K'_t = K̂_t,
        δ_t = Σ_i (w_it − 1/N) ξ_it,   D_t = Σ_i (w_it − 1/N) ξ_it ξ_itᵀ − δ_t δ_tᵀ,

    which is the weighted maximum likelihood with the known moments of ξ as control variates (equal weights change
    nothing), and with the eigenvalues of I + (1 − λ) D_t held above a floor.
4.  The KL of both stages is not the sum of their own: moves that agree add up. So δ_t and D_t are shortened by the
    largest common factor with which KL(p' ‖ p), in the fitted dynamics, is within its bound ε.

The share ρ adjusts itself in each iteration and condition to what the model leaves unexplained of the samples' spread,

    ρ = Σ_t Var_i S̃_it / Σ_t Var_i S_it  ≤  MOST,

so that ρ = 0 is `trajopt`. A model with which the residual varies more than the cost itself explains nothing; then
Ŝ = 0. (In the paper, too, the residual decides how far to trust the model; this ratio is our form of it.)
"""

import dataclasses
from typing import Any, Generic, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.algorithms.local.base import (
    LocalModel,
    LocalState,
    Prior,
    extend_state,
    make_local_record,
    make_model_record,
    make_next_state,
    make_record,
    marginals,
)
from gps.algorithms.local.path_integral import Weights, apply_floor, cost_to_go, fit_shifted_gaussian, weigh
from gps.algorithms.local.pi2 import exploration, predict_gain
from gps.algorithms.local.replay import Replay
from gps.algorithms.local.trajopt import ModelBasedOptimiser, UpdateProblem, predict_cost
from gps.algorithms.local.verdict import align, choose
from gps.backend import jax
from gps.linear_gaussian.kl import kl_in_dynamics
from gps.linear_gaussian.types import Controller
from gps.policies.played import LocalControllers
from gps.records import IterationRecord, Rollouts
from gps.storage.serialization import specialise

MOST = 0.99
"""Largest share of the KL bound for the residual: the model-based stage always has some of it."""

BISECTIONS = 12
"""Steps of the search for the longest move: its length is found to 0.03 %."""

LEAST = 1e-12
"""Nats per step: with a smaller bound the model-free stage does nothing."""


@dataclasses.dataclass(frozen=True)
class PILQRState(LocalState[Prior], Generic[Prior]):
    """The state of the local optimisers, and the model-free stage of the last update."""

    residual: Float[np.ndarray, "M"]  # ρ, the share of the bound that the model-free stage had
    temperature: Float[np.ndarray, "M T"]  # η̃ of that stage, units of cost; 0 where there was nothing to choose


@dataclasses.dataclass(frozen=True, kw_only=True)
class PILQR(ModelBasedOptimiser[PILQRState]):
    """The optimiser.

    Args:
        residual_share: a fixed ρ, at most `MOST`; None adjusts it to the residual.
        covariance_damping: λ, the share of Σ̂ in the new covariance; 1 leaves the covariance to stage 2.
        covariance_floor: smallest standard deviation, relative to that of Σ̂.
    """

    residual_share: float | None = None
    covariance_damping: float = 1.0
    covariance_floor: float = 0.1

    @property
    def state_type(self) -> Any:
        return specialise(PILQRState, self.prior_type)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> PILQRState:
        M, T = len(starts), controllers.horizon
        first = self.make_first_state(controllers, starts)
        return extend_state(PILQRState, first, residual=np.zeros(M), temperature=np.zeros((M, T)))

    def improve(
        self, state: PILQRState, sampled: LocalControllers, rollouts: Rollouts, model: LocalModel
    ) -> tuple[PILQRState, IterationRecord]:
        """Update every controller once.

        The predicted change has two parts: that of the expected cost between the old controllers and those of stage 2,
        both under this iteration's dynamics and cost expansion; and that of the samples' mean residual between equal
        weights and those of the first step, where no dynamics enter.
        In the record, `kl` is that of the new controllers from the old ones in the fitted dynamics, and `eta` is that
        of stage 2.
        """
        old, mask, ran = state.controllers, rollouts.mask, sampled.controllers
        step = self.step_size(state, model.sample_costs, rollouts.counted)
        noise = exploration(rollouts, ran)
        replay = Replay.of(rollouts, sampled.covariance, self.problem.limits)
        residual, share = split_costs(model, old, rollouts, replay)
        share = share if self.residual_share is None else np.full_like(share, self.residual_share)

        problem = UpdateProblem(model, old, (1.0 - share) * step.bound, self.alpha(model, rollouts))
        new = self.solve(problem, state.eta)
        shared = np.broadcast_to(align(new.eta, mask[:, 0]), mask[:, 0].shape)
        second = share * step.bound > LEAST
        weighed = weigh(residual, mask, np.where(second, share * step.bound, LEAST), lowest=shared)
        moves = self._find_moves(ran, noise, mask, weighed)
        length = np.where(second, self._longest_move(model, old, new.controller, moves, step.bound), 0.0)
        both = choose(length > 0, _move(new.controller, moves, length), new.controller)
        kl = np.where(length[:, None] > 0, _kl(model.dynamics, both, old), new.kl)
        replayed = predict_cost(replay, model, old)
        change = predict_cost(replay, model, new.controller) - replayed
        change += length * predict_gain(weighed, residual, mask)

        new = new._replace(controller=both, kl=kl, marginals=marginals(model.dynamics, both))
        result = self.judge(state, rollouts, problem._replace(bound=step.bound), new, change, replayed)
        local = make_local_record(state, old, model.dynamics, new.previous_marginals, step, result)
        record = make_record(
            state, sampled, rollouts, model.sample_costs, result, local, model=make_model_record(model.prior)
        )
        next_state = make_next_state(
            state, rollouts, step, result,
            prior=model.prior,
            reward=model.reward,
            residual=share,
            temperature=np.where(result.usable[:, None], weighed.eta, 0.0),
        )  # fmt: skip
        return next_state, record

    def _find_moves(self, sampled: Controller, noise: np.ndarray, mask: np.ndarray, weighed: Weights) -> "Moves":
        """Stage 3: the moves of the standard noise by the weights of the residual."""
        xi = np.linalg.solve(np.linalg.cholesky(sampled.covariance)[:, None], noise[..., None])[..., 0]
        delta, spread = fit_shifted_gaussian(xi, weighed.weights, mask)
        one = np.eye(delta.shape[-1])
        spread = self.covariance_damping * one + (1.0 - self.covariance_damping) * spread
        spread = apply_floor(spread, self.covariance_floor**2 * one)
        return choose(weighed.distinct, Moves(delta, spread - one), Moves(0.0 * delta, 0.0 * spread))

    def _longest_move(
        self, model: LocalModel, old: Controller, new: Controller, moves: "Moves", bound: Float[np.ndarray, "M"]
    ) -> Float[np.ndarray, "M"]:
        """Stage 4: the factor on the moves, at most 1, within which the KL from `old` keeps its bound."""

        def is_within(length: Float[np.ndarray, "M"]) -> Bool[np.ndarray, "M"]:
            kl = np.asarray(_kl(model.dynamics, _move(new, moves, length), old))
            return (kl.max(axis=1) if self.constraint == "per_step" else kl.mean(axis=1)) <= bound

        longest = np.ones_like(bound)
        within = is_within(longest)
        longest, beyond = np.where(within, 1.0, 0.0), longest
        for _ in range(0 if within.all() else BISECTIONS):
            middle = np.where(within, 1.0, 0.5 * (longest + beyond))
            fits = is_within(middle)
            longest, beyond = np.where(fits, middle, longest), np.where(fits, beyond, middle)
        return longest


class Moves(NamedTuple):
    """The change of the standard noise ξ of each step by stage 3: from N(0, I) to N(δ, I + D)."""

    mean: Float[np.ndarray, "M T du"]
    covariance: Float[np.ndarray, "M T du du"]


def _move(controllers: Controller, moves: Moves, length: Float[np.ndarray, "M"]) -> Controller:
    """The controllers with their noise moved by `length` times the moves."""
    delta, D = (align(length, move) * move for move in moves)
    L = np.linalg.cholesky(controllers.covariance)
    k = controllers.feedforward + np.einsum("mtij,mtj->mti", L, delta)
    return Controller(controllers.feedback, k, L @ (np.eye(delta.shape[-1]) + D) @ L.swapaxes(-1, -2))


_kl = jax.jit(jax.vmap(kl_in_dynamics))


def split_costs(
    model: LocalModel, old: Controller, rollouts: Rollouts, replay: Replay
) -> tuple[Float[np.ndarray, "M N T"], Float[np.ndarray, "M"]]:
    """The residual cost-to-go S̃ of each sample, and ρ, its share of the samples' spread."""
    mask = rollouts.mask
    modelled = replay.costs(model.dynamics, model.cost, old)
    S = cost_to_go(model.sample_costs, rollouts.counted)
    with np.errstate(invalid="ignore", over="ignore"):  # of a model that diverges
        residual = S - cost_to_go(np.where(mask, modelled, 0.0), rollouts.counted)
        left, whole = _spread(residual, mask), _spread(S, mask)
    useful = left < whole  # False where it is not finite
    residual = np.where(align(useful, S), residual, S)
    share = np.where(useful, left, whole) / np.where(whole > 0, whole, 1.0)
    return residual, np.minimum(share, MOST)


def _spread(values: Float[np.ndarray, "M N T"], mask: Bool[np.ndarray, "M N T"]) -> Float[np.ndarray, "M"]:
    """The variance over samples, summed over steps."""
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    mean = np.where(mask, values, 0.0).sum(axis=1, keepdims=True) / count
    return (np.where(mask, values - mean, 0.0) ** 2 / count).sum(axis=(1, 2))
