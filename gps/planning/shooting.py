"""Random shooting: the best of many random sequences (Nagabandi et al. 2018, sec. IV-C).

The actions of a sequence are uniform within the limits. Independent ones average out over time, so an action may be
held for some steps: with `hold` = H each sequence is one constant action.
"""

import dataclasses
from typing import NamedTuple

from jaxtyping import Bool, Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.planning.elites import choose_elites
from gps.planning.sequences import Found, Seen, estimate_curvature, without_nan


class Shots(NamedTuple):
    """The state of random shooting."""

    low: Float[Array, "du"]
    high: Float[Array, "du"]
    seen: Seen
    elites: Float[Array, "K H du"]
    excess: Float[Array, "K"]
    weights: Float[Array, "K"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomShooting:
    """The settings; the plan so far is one of the sequences.

    Args:
        samples: S.
        hold: steps for which each action is held.
    """

    samples: int = 1000
    hold: int = 1

    @property
    def counts(self) -> tuple[int, ...]:
        return (self.samples,)

    @property
    def guesses(self) -> int:
        return 1

    @property
    def _kept(self) -> int:
        return max(2, self.samples // 20)

    def begin(self, guesses: Float[Array, "G H du"], low: Float[Array, "du"], high: Float[Array, "du"]) -> Shots:
        elites = jnp.repeat(guesses[:1], self._kept, axis=0)
        none = jnp.zeros(self._kept)
        return Shots(low, high, Seen(guesses[0], jnp.array(jnp.inf)), elites, none, none)

    def propose(
        self, search: Shots, key: PRNGKeyArray, count: int, last: Bool[Array, ""]
    ) -> Float[Array, "count H du"]:
        H, du = search.seen.sequence.shape
        pieces = -(-H // self.hold)
        low, high = jnp.maximum(search.low, -1.0), jnp.minimum(search.high, 1.0)
        pieces_drawn = jax.random.uniform(key, (count, pieces, du), minval=low, maxval=high)
        drawn = jnp.repeat(pieces_drawn, self.hold, axis=1)[:, :H]
        return drawn.at[0].set(search.seen.sequence)

    def update(self, search: Shots, sequences: Float[Array, "count H du"], costs: Float[Array, "count"]) -> Shots:
        costs = without_nan(costs)
        elites, excess, weights = choose_elites(sequences, costs, self._kept)
        return search._replace(seen=search.seen.look(sequences, costs), elites=elites, excess=excess, weights=weights)

    def finish(self, search: Shots) -> Found:
        plan = search.seen.sequence
        curvature = estimate_curvature(search.elites[:, 0], search.excess, search.weights, len(plan), 1e-3)
        return Found(plan, plan[None], curvature, jnp.sum(search.weights > 0).astype(float))
