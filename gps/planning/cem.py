"""The cross-entropy method: a Gaussian over sequences moves to the best of its samples (Chua et al. 2018, alg. 1).

Each round draws S sequences from N(mean, deviation²), independent in every entry, and takes the mean and the deviation
of the K cheapest, mixed with the old ones by α.
"""

import dataclasses

from jaxtyping import Bool, Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.planning.elites import GaussianSearch
from gps.planning.sequences import Found


@dataclasses.dataclass(frozen=True, kw_only=True)
class CEM:
    """The settings.

    Args:
        samples: S, sequences in each round.
        elites: K, of them, that the Gaussian moves to.
        rounds: in each search.
        momentum: α, the share of the old Gaussian.
        spread: the first standard deviation, in units (half the range between the limits).
        least_spread: a floor under the standard deviation.
        best: execute the best sequence seen; otherwise the mean.
    """

    samples: int = 400
    elites: int = 40
    rounds: int = 5
    momentum: float = 0.1
    spread: float = 0.5
    least_spread: float = 0.01
    best: bool = False

    @property
    def counts(self) -> tuple[int, ...]:
        return (self.samples,) * self.rounds

    @property
    def guesses(self) -> int:
        return 1

    def begin(
        self, guesses: Float[Array, "G H du"], low: Float[Array, "du"], high: Float[Array, "du"]
    ) -> GaussianSearch:
        return GaussianSearch.begin(guesses, low, high, self.spread, self.elites)

    def propose(
        self, search: GaussianSearch, key: PRNGKeyArray, count: int, last: Bool[Array, ""]
    ) -> Float[Array, "count H du"]:
        noise = jax.random.normal(key, (count, *search.mean.shape))
        return jnp.clip(search.mean + search.deviation * noise, search.low, search.high)

    def update(
        self, search: GaussianSearch, sequences: Float[Array, "count H du"], costs: Float[Array, "count"]
    ) -> GaussianSearch:
        return search.refit(sequences, costs, self.momentum, self.least_spread)

    def finish(self, search: GaussianSearch) -> Found:
        return search.finish(self.best, 0, self.least_spread)
