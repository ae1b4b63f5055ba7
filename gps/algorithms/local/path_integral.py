"""Weights of samples by their cost: the mathematics of PI².

At each step t of each condition, the N samples get probabilities from their cost-to-go S (lower is better),

    w_i = exp(−S_i / η) / Σ_j exp(−S_j / η),                                                  (soft minimum)

with a temperature η, in units of cost, that minimises the convex dual of relative entropy policy search under the bound
KL(w ‖ 1/N) ≤ ε (Peters, Mülling & Altün 2010),

    g(η) = η ε + η log (1/N) Σ_i exp(−S_i / η),      g'(η) = ε − KL(w ‖ 1/N).                 (dual)

A constant added to S changes nothing. Everything is batched over conditions and steps; samples that had ended by step t
are left out.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

LOWEST = 1e-3
"""The lowest temperature, relative to the range of a step's costs: below it all the weight is on the best sample."""

TOLERANCE = 1e-6
"""Relative tolerance on the KL of the search for the temperature."""

MAX_EVALUATIONS = 50
TIE = 1e-12
"""Costs whose range is smaller than this share of their size are equal up to rounding."""


Trace = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]
"""log η, KL and distance from the bound of each evaluation."""


class Weights(NamedTuple):
    """Probabilities of the samples at each step. Where `distinct` is False, the costs and the weights are equal."""

    weights: Float[np.ndarray, "M N T"]  # sum to 1 over the samples that are there; 0 for the others
    eta: Float[np.ndarray, "M T"]  # units of cost; 0 where not distinct
    kl: Float[np.ndarray, "M T"]  # KL(w ‖ uniform), nats
    distinct: Bool[np.ndarray, "M T"]
    active: Bool[np.ndarray, "M T"]  # True where the bound decides the temperature
    evaluations: Int[np.ndarray, "M"]
    trace_log_eta: Float[np.ndarray, "M evaluations"]  # of the step that was farthest from its bound
    trace_kl: Float[np.ndarray, "M evaluations"]


def cost_to_go(costs: Float[np.ndarray, "M N T"], counted: Bool[np.ndarray, "M N T"]) -> Float[np.ndarray, "M N T"]:
    """S_t = Σ_{h ≥ t} c_h of each sample.

    An early end makes an episode neither better nor worse: a missing step counts as the mean of the samples that have
    that step.

    Args:
        counted: see `Rollouts.counted`.
    """
    count = np.maximum(counted.sum(axis=1, keepdims=True), 1)
    mean = np.where(counted, costs, 0.0).sum(axis=1, keepdims=True) / count
    return np.cumsum(np.where(counted, costs, mean)[..., ::-1], axis=-1)[..., ::-1]


def weigh(
    cost_to_go: Float[np.ndarray, "M N T"],
    mask: Bool[np.ndarray, "M N T"],
    bound: Float[np.ndarray, "M"],
    *,
    temperature: float | None = None,
    lowest: Float[np.ndarray, "M T"] | None = None,
) -> Weights:
    """Find the probabilities of the samples.

    Args:
        bound: ε on KL(w ‖ uniform), nats per step.
        temperature: a fixed temperature instead, relative to the range of the step's costs.
        lowest: the lowest temperature, units of cost; never below `LOWEST` of the range.
    """
    count = mask.sum(axis=1)
    best = np.where(mask, cost_to_go, np.inf).min(axis=1, initial=np.inf)
    worst = np.where(mask, cost_to_go, -np.inf).max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        distinct = (count > 1) & (worst - best > TIE * np.maximum(np.abs(best), np.abs(worst)))
    span = np.where(distinct, worst - best, 1.0)  # the search works on costs within [0, 1]
    above = np.where(mask & distinct[:, None], cost_to_go - np.where(distinct, best, 0.0)[:, None], 0.0) / span[:, None]
    floor = np.full(span.shape, LOWEST) if lowest is None else np.maximum(lowest / span, LOWEST)
    search = _Search(above, mask, count)
    if temperature is None:
        log_eta, active, trace = search.run(bound, np.log(floor), distinct)
    else:
        log_eta, active, trace = np.full(span.shape, np.log(temperature)), np.zeros_like(distinct), ([], [], [])
    weights, kl, _ = search.at(log_eta)
    evaluations, trace_log_eta, trace_kl = _make_trace(trace, span)
    return Weights(
        weights=weights,
        eta=np.where(distinct, np.exp(log_eta) * span, 0.0),
        kl=np.where(distinct, kl, 0.0),
        distinct=distinct,
        active=active & distinct,
        evaluations=evaluations,
        trace_log_eta=trace_log_eta,
        trace_kl=trace_kl,
    )


class _Search(NamedTuple):
    """A Newton method on (log η, log KL) for the dual of all conditions and steps, with costs scaled to [0, 1]."""

    above: Float[np.ndarray, "M N T"]
    mask: Bool[np.ndarray, "M N T"]
    present: Int[np.ndarray, "M T"]  # the number of samples

    def at(
        self, log_eta: Float[np.ndarray, "M T"]
    ) -> tuple[Float[np.ndarray, "M N T"], Float[np.ndarray, "M T"], Float[np.ndarray, "M T"]]:
        """Weights, their KL from uniform ones, and d log KL / d log η = −Var_w(S / η) / KL."""
        scaled = self.above / np.exp(log_eta)[:, None]
        raw = np.where(self.mask, np.exp(-scaled), 0.0)
        total = np.maximum(raw.sum(axis=1), 1e-300)
        weights = raw / total[:, None]
        mean = (weights * scaled).sum(axis=1)
        variance = (weights * (scaled - mean[:, None]) ** 2).sum(axis=1)
        # KL = Σ w log (n w) = −E_w[S/η] − log (1/n) Σ exp(−S/η)
        kl = np.maximum(np.log(np.maximum(self.present, 1) / total) - mean, 0.0)
        return weights, kl, -variance / np.maximum(kl, 1e-300)

    def run(
        self, bound: Float[np.ndarray, "M"], lowest: Float[np.ndarray, "M T"], distinct: Bool[np.ndarray, "M T"]
    ) -> tuple[Float[np.ndarray, "M T"], Bool[np.ndarray, "M T"], Trace]:
        """log η of each step, whether the bound is active there, and the trace of the search."""
        aim = (bound * (1.0 - TOLERANCE))[:, None]  # within the tolerance of the aim is then within the bound
        _, kl, _ = self.at(lowest)
        active = distinct & (kl > aim)
        # For costs within [0, 1], KL <= 1 / (8 η²): the root is below this η (Hoeffding's lemma).
        low, high = lowest.copy(), np.maximum(-0.5 * np.log(8.0 * aim), lowest)
        log_eta = np.where(active, high, lowest)
        trace: Trace = ([], [], [])
        for _ in range(MAX_EVALUATIONS):
            _, kl, slope = self.at(log_eta)
            off = np.where(active, np.abs(kl - aim) / aim, 0.0)
            for row, values in zip(trace, (log_eta, kl, off), strict=True):
                row.append(values)
            open_ = off > TOLERANCE
            if not open_.any():
                break
            low, high = np.where(open_ & (kl > aim), log_eta, low), np.where(open_ & (kl <= aim), log_eta, high)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                newton = log_eta - np.log(kl / aim) / slope
            inside = (newton > low) & (newton < high)  # False where it is NaN
            log_eta = np.where(open_, np.where(inside, newton, 0.5 * (low + high)), log_eta)
        return np.where(off > TOLERANCE, high, log_eta), active, trace


def _make_trace(
    trace: Trace, span: Float[np.ndarray, "M T"]
) -> tuple[Int[np.ndarray, "M"], Float[np.ndarray, "M e"], Float[np.ndarray, "M e"]]:
    """The search of each condition: at each evaluation, the step that was farthest from its bound."""
    M = len(span)
    if not trace[0]:
        return np.zeros(M, dtype=int), np.full((M, 1), np.nan), np.full((M, 1), np.nan)
    log_eta, kl, off = (np.stack(rows) for rows in trace)
    worst = off.argmax(axis=-1)[..., None]
    evaluations = np.minimum((off > TOLERANCE).any(axis=-1).sum(axis=0) + 1, len(off))
    done = np.arange(len(off))[:, None] >= evaluations
    rows = (np.take_along_axis(values, worst, axis=-1)[..., 0] for values in (log_eta + np.log(span), kl))
    return evaluations, *(np.where(done, np.nan, row).T for row in rows)


# -- from weighted samples to a Gaussian -----------------------------------------------------------------------------


def fit_weighted_gaussian(
    noise: Float[np.ndarray, "M N T du"], weights: Float[np.ndarray, "M N T"]
) -> tuple[Float[np.ndarray, "M T du"], Float[np.ndarray, "M T du du"]]:
    """The mean and covariance of the weighted samples, by maximum likelihood."""
    mean = np.einsum("mnt,mnti->mti", weights, noise)
    deviation = noise - mean[:, None]
    return mean, np.einsum("mnt,mnti,mntj->mtij", weights, deviation, deviation)


def fit_shifted_gaussian(
    noise: Float[np.ndarray, "M N T du"], weights: Float[np.ndarray, "M N T"], mask: Bool[np.ndarray, "M N T"]
) -> tuple[Float[np.ndarray, "M T du"], Float[np.ndarray, "M T du du"]]:
    """The mean and covariance to which the weights move the standard Gaussian that the samples were drawn from.

    The known moments of N(0, I) are control variates: E_w[f] ≈ Σ_i (w_i − 1/N) f_i + E[f]. With many samples this is
    the weighted maximum likelihood. With few, weights that say little change little, whereas maximum likelihood would
    fit the scatter of the samples. The covariance may be indefinite; see `apply_floor`.
    """
    surplus = np.where(mask, weights - 1.0 / np.maximum(mask.sum(axis=1, keepdims=True), 1), 0.0)
    mean = np.einsum("mnt,mnti->mti", surplus, noise)
    second = np.einsum("mnt,mnti,mntj->mtij", surplus, noise, noise) + np.eye(noise.shape[-1])
    return mean, second - mean[..., :, None] * mean[..., None, :]


def apply_floor(
    covariance: Float[np.ndarray, "... n n"], floor: Float[np.ndarray, "... n n"]
) -> Float[np.ndarray, "... n n"]:
    """The nearest covariance that is nowhere below `floor` (both symmetric, `floor` positive definite).

    Nearest in the coordinates in which `floor` is the identity: eigenvalues below 1 become 1.
    """
    L = np.linalg.cholesky(floor)
    whitened = np.linalg.solve(L, np.linalg.solve(L, covariance).swapaxes(-1, -2))
    eigenvalues, vectors = np.linalg.eigh(0.5 * (whitened + whitened.swapaxes(-1, -2)))
    half = L @ (vectors * np.sqrt(np.maximum(eigenvalues, 1.0))[..., None, :])
    floored = half @ half.swapaxes(-1, -2)
    return 0.5 * (floored + floored.swapaxes(-1, -2))  # rounding must not decide which triangle is right
