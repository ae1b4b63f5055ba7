"""Optimisers of action sequences: what they are asked, the range of the actions, warm start and shift.

An optimiser knows neither the system nor its cost. It proposes S sequences of H actions, is told what each of them
costs, and proposes better ones. So the same optimiser runs on a model, where one compiled function holds its whole
search, and on a simulator, where a Python loop asks and tells. It works in *units*: an action is −1 at its lower limit
and 1 at its upper one; where an entry has no limits, 0 is no action and 1 is two standard deviations of the data.

Between two steps a plan is shifted: its first action is over, and its last one is repeated.
"""

from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from gps.backend import Array, jnp

WIDTHS = 2.0
"""Standard deviations of the data that make one unit of an action without limits."""


class ActionRange(NamedTuple):
    """The limits of the actions, and their units: action = middle + width · unit."""

    low: Float[Array, "du"]
    high: Float[Array, "du"]
    middle: Float[Array, "du"]
    width: Float[Array, "du"]

    @classmethod
    def of(
        cls,
        low: Float[np.ndarray, "du"] | float,
        high: Float[np.ndarray, "du"] | float,
        deviations: Float[np.ndarray, "du"],
    ) -> Self:
        """The range between limits, infinite where there are none (NumPy arrays).

        Args:
            deviations: standard deviations of the actions in the data, for entries without limits.
        """
        du = len(deviations)
        low, high = (np.broadcast_to(np.asarray(limit, float), du) for limit in (low, high))
        limited = np.isfinite(low) & np.isfinite(high) & (high > low)
        spread = np.where(np.isfinite(deviations) & (deviations > 0), deviations, 1.0)
        with np.errstate(invalid="ignore"):  # inf - inf where there are no limits
            middle = np.where(limited, 0.5 * (low + high), np.clip(0.0, low, high))
            width = np.where(limited, 0.5 * (high - low), WIDTHS * spread)
        return cls(low, high, middle, width)

    @property
    def idle(self) -> Float[Array, "du"]:
        """The action of who does nothing: zero, or the limit next to it."""
        return jnp.clip(jnp.zeros_like(self.low), self.low, self.high)

    @property
    def bounds(self) -> tuple[Float[Array, "du"], Float[Array, "du"]]:
        """The limits in units."""
        return (self.low - self.middle) / self.width, (self.high - self.middle) / self.width

    def to_units(self, actions: Float[Array, "*batch du"]) -> Float[Array, "*batch du"]:
        """Return actions in units."""
        return (actions - self.middle) / self.width

    def to_actions(self, units: Float[Array, "*batch du"]) -> Float[Array, "*batch du"]:
        """Return the actions, within the limits whatever the rounding."""
        return jnp.clip(self.middle + self.width * units, self.low, self.high)


class Found(NamedTuple):
    """The result of a search, in units."""

    actions: Float[Array, "H du"]  # to execute
    guesses: Float[Array, "G H du"]  # to begin the search of the next step with, after a shift; the plan comes first
    curvature: Float[Array, "du du"]  # of the cost in the first action; positive definite
    effective: Float[Array, ""]  # samples of the last round that decided


S = TypeVar("S")


class SequenceOptimiser(Protocol[S]):
    """The settings of an optimiser; its methods are pure JAX functions of arrays in units."""

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of sequences in each round."""

    @property
    def guesses(self) -> int:
        """G, the number of sequences that it goes on from."""

    def begin(self, guesses: Float[Array, "G H du"], low: Float[Array, "du"], high: Float[Array, "du"]) -> S:
        """Return a new search that begins with `guesses`: the plan so far, and others that were good."""

    def propose(self, search: S, key: PRNGKeyArray, count: int, last: Bool[Array, ""]) -> Float[Array, "count H du"]:
        """Return sequences to evaluate, within the limits.

        Args:
            last: True in the last round.
        """

    def update(self, search: S, sequences: Float[Array, "count H du"], costs: Float[Array, "count"]) -> S:
        """Return the search that also knows the costs of `sequences`; infinite ones teach nothing."""

    def finish(self, search: S) -> Found:
        """Return what was found. Without a finite cost it is what the search began with."""


class Seen(NamedTuple):
    """The best sequence so far."""

    sequence: Float[Array, "H du"]
    cost: Float[Array, ""]

    def look(self, sequences: Float[Array, "count H du"], costs: Float[Array, "count"]) -> "Seen":
        """Return the best of this one and of `sequences`."""
        i = jnp.argmin(costs)
        better = costs[i] < self.cost
        return Seen(jnp.where(better, sequences[i], self.sequence), jnp.where(better, costs[i], self.cost))


def without_nan(costs: Float[Array, "count"]) -> Float[Array, "count"]:
    """Return the costs with +inf where they are not finite."""
    return jnp.where(jnp.isfinite(costs), costs, jnp.inf)


def shift(sequences: Float[np.ndarray, "*batch H du"], steps: int = 1) -> Float[np.ndarray, "*batch H du"]:
    """Return sequences for `steps` steps later: the first actions are over, the last one is repeated (NumPy)."""
    H = sequences.shape[-2]
    return sequences[..., np.minimum(np.arange(H) + steps, H - 1), :]


def widen_guesses(actions: Float[np.ndarray, "*batch H du"], count: int) -> Float[np.ndarray, "*batch G H du"]:
    """Return `count` guesses, all of them the given sequence (NumPy)."""
    return np.repeat(actions[..., None, :, :], count, axis=-3)


def estimate_curvature(
    first: Float[Array, "n du"], excess: Float[Array, "n"], weights: Float[Array, "n"], steps: int, least: float
) -> Float[Array, "du du"]:
    """Return an estimate of the curvature of the cost in the first action, from weighted good sequences.

    Where the cost is ½ δᵀ Q δ in all H du entries and the sequences have the covariance s Q⁻¹, the mean excess over the
    best cost is s H du / 2; the first actions then have the covariance s (Q⁻¹)₁₁, whose inverse is that of the
    cost-to-go in the first action, up to s. It is a Gauss estimate: exact for that Gaussian, a scale elsewhere.

    Args:
        excess: the cost above the best one.
        weights: sum to 1; all 0 if nothing is known, then the curvature is tiny.
        steps: H.
        least: a floor under the standard deviations.
    """
    du = first.shape[-1]
    mean = weights @ first
    deviation = first - mean
    covariance = (weights[:, None] * deviation).T @ deviation + least**2 * jnp.eye(du)
    scale = 2.0 * (weights @ jnp.where(weights > 0, excess, 0.0)) / (steps * du)
    factor = jnp.linalg.cholesky(covariance)
    half = jnp.linalg.inv(factor)  # triangular, du by du
    return jnp.maximum(scale, 1e-12) * (half.T @ half)


def count_rounds(counts: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return the first round, the number of rounds and their count, for rounds of equal counts in a row."""
    groups: list[tuple[int, int, int]] = []
    for number, count in enumerate(counts):
        if groups and groups[-1][2] == count:
            first, rounds, _ = groups[-1]
            groups[-1] = first, rounds + 1, count
        else:
            groups.append((number, 1, count))
    return groups
