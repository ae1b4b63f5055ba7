"""The cross-entropy method: a Gaussian over sequences moves to the best of its samples (Chua et al. 2018, alg. 1).

Each round draws S sequences from N(mean, deviation²), independent in every entry, and takes the mean and the deviation
of the K cheapest, mixed with the old ones by α.
"""

import dataclasses

from jaxtyping import Bool, Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.planning.elites import EliteOptions, GaussianSearch


@dataclasses.dataclass(frozen=True, kw_only=True)
class CEM(EliteOptions):
    """The settings: those of `EliteOptions`, with the same number of samples in each round."""

    samples: int = 400
    elites: int = 40
    rounds: int = 5
    best: bool = False

    @property
    def counts(self) -> tuple[int, ...]:
        return (self.samples,) * self.rounds

    def begin(
        self, guesses: Float[Array, "G H du"], low: Float[Array, "du"], high: Float[Array, "du"]
    ) -> GaussianSearch:
        return GaussianSearch.begin(guesses, low, high, self.spread, self.elites)

    def propose(
        self, search: GaussianSearch, key: PRNGKeyArray, count: int, last: Bool[Array, ""]
    ) -> Float[Array, "count H du"]:
        noise = jax.random.normal(key, (count, *search.mean.shape))
        return jnp.clip(search.mean + search.deviation * noise, search.low, search.high)
