"""The elites: the sequences of the lowest costs, and the Gaussian that is fitted to them."""

import dataclasses
from typing import NamedTuple

from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.planning.sequences import Found, Seen, estimate_curvature, without_nan


def choose_elites(
    sequences: Float[Array, "count H du"], costs: Float[Array, "count"], kept: int
) -> tuple[Float[Array, "K H du"], Float[Array, "K"], Float[Array, "K"]]:
    """Return the K best sequences, their costs above the best one, and their weights.

    The weights are equal and sum to 1 over those with a finite cost; all are 0 if there is none. There are K = `kept`
    of them even if there are fewer sequences; the missing ones have no weight.
    """
    missing = max(kept - len(costs), 0)
    sequences = jnp.concatenate([sequences, jnp.repeat(sequences[:1], missing, axis=0)])
    costs = jnp.concatenate([without_nan(costs), jnp.full(missing, jnp.inf)])
    lowest, places = jax.lax.top_k(-costs, kept)
    finite = jnp.isfinite(lowest)
    weights = finite / jnp.maximum(jnp.sum(finite), 1)
    return sequences[places], jnp.where(finite, lowest[0] - lowest, 0.0), weights


class GaussianSearch(NamedTuple):
    """A search by a Gaussian over sequences, independent in every entry."""

    mean: Float[Array, "H du"]
    deviation: Float[Array, "H du"]
    low: Float[Array, "du"]
    high: Float[Array, "du"]
    seen: Seen
    elites: Float[Array, "K H du"]  # the best first
    excess: Float[Array, "K"]
    weights: Float[Array, "K"]

    @classmethod
    def begin(
        cls,
        guesses: Float[Array, "G H du"],
        low: Float[Array, "du"],
        high: Float[Array, "du"],
        spread: float,
        elites: int,
    ) -> "GaussianSearch":
        """Return a search around the first of `guesses`, with all of them among the elites, which have no weight."""
        guesses = jnp.clip(guesses, low, high)
        mean, missing = guesses[0], max(elites - len(guesses), 0)
        padded = jnp.concatenate([guesses, jnp.repeat(guesses[:1], missing, axis=0)])[:elites]
        none = jnp.zeros(elites)
        return cls(mean, jnp.full(mean.shape, spread), low, high, Seen(mean, jnp.array(jnp.inf)), padded, none, none)

    def refit(
        self, sequences: Float[Array, "count H du"], costs: Float[Array, "count"], momentum: float, least: float
    ) -> "GaussianSearch":
        """Return the search whose Gaussian moves to the best of `sequences`.

        Args:
            momentum: α, the weight of the old mean and deviation.
            least: a floor under the deviation.
        """
        costs = without_nan(costs)
        elites, excess, weights = choose_elites(sequences, costs, len(self.weights))
        mean = jnp.einsum("k,khi->hi", weights, elites)
        deviation = jnp.sqrt(jnp.einsum("k,khi->hi", weights, (elites - mean) ** 2))
        known = jnp.sum(weights) > 0
        alpha = jnp.where(known, momentum, 1.0)
        return self._replace(
            mean=jnp.where(known, alpha * self.mean + (1.0 - alpha) * mean, self.mean),
            deviation=jnp.maximum(alpha * self.deviation + (1.0 - alpha) * deviation, least),
            seen=self.seen.look(sequences, costs),
            elites=jnp.where(known, elites, self.elites),
            excess=excess,
            weights=weights,
        )

    def finish(self, best: bool, kept: int, least: float) -> Found:
        """Return what was found: the `best` sequence seen, or else the mean; the guesses are it and `kept` elites."""
        plan = self.seen.sequence if best else self.mean
        curvature = estimate_curvature(self.elites[:, 0], self.excess, self.weights, len(plan), least)
        guesses = jnp.concatenate([self.mean[None], self.elites[:kept]])
        return Found(plan, guesses, curvature, jnp.sum(self.weights > 0).astype(float))


@dataclasses.dataclass(frozen=True, kw_only=True)
class EliteOptions:
    """The settings of an optimiser that moves a Gaussian to its elites, and the half of it that all of them share.

    Args:
        samples: S, sequences in the first round.
        elites: K, of them, that the Gaussian moves to.
        rounds: in each search.
        momentum: α, the share of the old Gaussian.
        spread: the first standard deviation, in units (half the range between the limits).
        least_spread: a floor under the standard deviation.
        best: execute the best sequence seen; otherwise the mean.
    """

    samples: int
    elites: int
    rounds: int
    momentum: float = 0.1
    spread: float = 0.5
    least_spread: float = 0.01
    best: bool

    @property
    def guesses(self) -> int:
        """G: the mean, from which a search goes on; a method may keep elites, too."""
        return 1

    def update(
        self, search: GaussianSearch, sequences: Float[Array, "count H du"], costs: Float[Array, "count"]
    ) -> GaussianSearch:
        return search.refit(sequences, costs, self.momentum, self.least_spread)

    def finish(self, search: GaussianSearch) -> Found:
        return search.finish(self.best, self.guesses - 1, self.least_spread)
