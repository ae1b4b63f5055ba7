"""Model-predictive path integral control: the plan moves to the mean of weighted samples (Williams et al. 2017).

S sequences around the plan get the weights

    w_i = exp(−S_i / λ) / Σ_j exp(−S_j / λ)

from their costs S_i. The temperature λ has the unit of the cost, so no number suits two tasks. Here a bisection in
log λ finds, at each update, the one whose effective sample size 1 / Σ w² is the wanted one. The noise is coloured
(`gps.planning.colour`), so that plans are smooth.

The same weights make a local optimiser of a policy: with the policy's log-probabilities log π_i, λ_π of a policy's
weight, and a bound on the divergence from equal weights,

    w_i ∝ exp(−(S_i − λ_π log π_i) / λ),       λ such that KL(w ‖ 1/N) = ε            (`weigh_with_policy`)
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Bool, Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.planning.colour import draw_coloured
from gps.planning.sequences import Found, Seen, estimate_curvature, without_nan

LOWEST, HIGHEST = 1e-6, 1e6
"""The limits of the temperature, relative to the range of the costs."""

HALVINGS = 50
"""Of the interval of log λ: it ends narrower than rounding."""


class SoftMinimum(NamedTuple):
    """Weights of samples by their cost."""

    weights: Float[Array, "N"]  # sum to 1; 0 for infinite costs, and all 0 if there is no finite one
    temperature: Float[Array, ""]  # λ, units of cost
    effective: Float[Array, ""]  # 1 / Σ w²
    kl: Float[Array, ""]  # KL(w ‖ equal weights), nats


def weigh_at(costs: Float[Array, "N"], temperature: Float[Array, ""] | float) -> SoftMinimum:
    """Return the weights at a given temperature (JAX)."""
    finite = jnp.isfinite(costs)
    excess = jnp.where(finite, costs - jnp.min(jnp.where(finite, costs, jnp.inf)), 0.0)
    raw = jnp.where(finite, jnp.exp(-excess / temperature), 0.0)
    weights = raw / jnp.maximum(jnp.sum(raw), 1e-300)
    known = jnp.any(finite)
    effective = jnp.where(known, 1.0 / jnp.maximum(jnp.sum(weights**2), 1e-300), 0.0)
    entropy = -jnp.sum(jnp.where(weights > 0, weights * jnp.log(jnp.maximum(weights, 1e-300)), 0.0))
    kl = jnp.where(known, jnp.maximum(jnp.log(jnp.maximum(jnp.sum(finite), 1)) - entropy, 0.0), 0.0)
    return SoftMinimum(weights, jnp.asarray(temperature), effective, kl)


def weigh_by_effective_size(costs: Float[Array, "N"], wanted: float) -> SoftMinimum:
    """Return weights whose effective sample size is `wanted`, as far as the samples allow (JAX)."""
    return _search_temperature(costs, lambda soft: soft.effective < wanted)


def weigh_by_kl(costs: Float[Array, "N"], bound: Float[Array, ""] | float) -> SoftMinimum:
    """Return weights with KL(w ‖ equal weights) at most `bound`, in nats, and equal to it where it can be (JAX)."""
    return _search_temperature(costs, lambda soft: soft.kl > bound)


def weigh_with_policy(
    costs: Float[Array, "N"],
    log_probabilities: Float[Array, "N"],
    policy_weight: Float[Array, ""] | float,
    bound: Float[Array, ""] | float,
) -> SoftMinimum:
    """Return w ∝ exp(−(S − λ_π log π) / λ) with KL(w ‖ equal weights) at most `bound` (JAX).

    Args:
        log_probabilities: log π of each sample under the policy, up to a constant; where it is −inf the weight is 0.
        policy_weight: λ_π, units of cost per nat; 0 ignores the policy.
    """
    penalty = jnp.where(policy_weight == 0, 0.0, -policy_weight * jnp.asarray(log_probabilities))
    return weigh_by_kl(costs + penalty, bound)


def _search_temperature(costs: Array, too_cold: Callable[[SoftMinimum], Array]) -> SoftMinimum:
    """Bisect log λ for the lowest temperature that is not too cold."""
    costs = without_nan(costs)
    finite = jnp.isfinite(costs)
    span = jnp.max(jnp.where(finite, costs, -jnp.inf)) - jnp.min(costs)
    span = jnp.where(jnp.isfinite(span) & (span > 0), span, 1.0)

    def halve(_: Array, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = 0.5 * (low + high)
        cold = too_cold(weigh_at(costs, span * jnp.exp(middle)))
        return jnp.where(cold, middle, low), jnp.where(cold, high, middle)

    _, high = jax.lax.fori_loop(0, HALVINGS, halve, (jnp.log(LOWEST), jnp.log(HIGHEST)))
    return weigh_at(costs, span * jnp.exp(high))


class PathIntegral(NamedTuple):
    """The state of the search."""

    mean: Float[Array, "H du"]
    deviation: Float[Array, "H du"]
    low: Float[Array, "du"]
    high: Float[Array, "du"]
    seen: Seen
    first: Float[Array, "S du"]  # the first actions of the last round
    excess: Float[Array, "S"]
    weights: Float[Array, "S"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MPPI:
    """The settings.

    Args:
        samples: S, the plan itself among them.
        rounds: updates in each step.
        effective: the wanted effective sample size.
        beta: the exponent of the noise's spectrum; 0 for white noise.
        spread: the standard deviation of the noise, in units (half the range between the limits).
        adapt: adapt the deviations to the weighted samples from round to round, by half.
        least_spread: a floor under adapted deviations.
    """

    samples: int = 256
    rounds: int = 1
    effective: float = 10.0
    beta: float = 1.0
    spread: float = 0.4
    adapt: bool = False
    least_spread: float = 0.01

    @property
    def counts(self) -> tuple[int, ...]:
        return (self.samples,) * self.rounds

    @property
    def guesses(self) -> int:
        return 1

    def begin(self, guesses: Float[Array, "G H du"], low: Float[Array, "du"], high: Float[Array, "du"]) -> PathIntegral:
        mean, none = jnp.clip(guesses[0], low, high), jnp.zeros(self.samples)
        first = jnp.repeat(mean[:1], self.samples, axis=0)
        deviation = jnp.full(mean.shape, self.spread)
        return PathIntegral(mean, deviation, low, high, Seen(mean, jnp.array(jnp.inf)), first, none, none)

    def propose(
        self, search: PathIntegral, key: PRNGKeyArray, count: int, last: Bool[Array, ""]
    ) -> Float[Array, "count H du"]:
        noise = draw_coloured(key, count, search.mean.shape, self.beta).at[0].set(0.0)
        return jnp.clip(search.mean + search.deviation * noise, search.low, search.high)

    def update(
        self, search: PathIntegral, sequences: Float[Array, "count H du"], costs: Float[Array, "count"]
    ) -> PathIntegral:
        costs = without_nan(costs)
        soft = weigh_by_effective_size(costs, self.effective)
        known = jnp.sum(soft.weights) > 0
        mean = jnp.where(known, jnp.einsum("k,khi->hi", soft.weights, sequences), search.mean)
        deviation = search.deviation
        if self.adapt:
            weighted = jnp.sqrt(jnp.einsum("k,khi->hi", soft.weights, (sequences - mean) ** 2))
            deviation = jnp.where(known, jnp.maximum(0.5 * (deviation + weighted), self.least_spread), deviation)
        return search._replace(
            mean=mean,
            deviation=deviation,
            seen=search.seen.look(sequences, costs),
            first=sequences[:, 0],
            excess=jnp.where(jnp.isfinite(costs), costs - jnp.min(costs), 0.0),
            weights=soft.weights,
        )

    def finish(self, search: PathIntegral) -> Found:
        plan = search.mean
        curvature = estimate_curvature(search.first, search.excess, search.weights, len(plan), self.least_spread)
        squares = jnp.sum(search.weights**2)
        effective = jnp.where(squares > 0, 1.0 / jnp.maximum(squares, 1e-300), 0.0)
        return Found(plan, plan[None], curvature, effective)
