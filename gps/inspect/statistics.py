"""Aggregates over seeds: interquartile means with bootstrap intervals, for numbers and learning curves.

After Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice": with few seeds the
mean depends on the worst seed and the median wastes half of the data; the interquartile mean, the mean of the middle
half, does neither. Everything here is deterministic: equal input gives equal bits.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

LEVEL = 0.95
"""The level of the intervals."""

RESAMPLES = 2000
"""Number of bootstrap samples: with another seed the ends of an interval move by a few percent of its width."""

_CHUNK = 4_000_000  # numbers in memory at once

Statistic = Callable[[np.ndarray], np.ndarray]
"""Maps values (n, ...) to (...)."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A statistic and its interval: arrays of equal shape for a curve, numbers otherwise."""

    value: Float[np.ndarray, "*shape"]
    low: Float[np.ndarray, "*shape"]
    high: Float[np.ndarray, "*shape"]


def interquartile_mean(values: Float[np.ndarray, "n *shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the mean of the middle half along the first axis; NaN where a value is NaN.

    The i-th smallest of n values represents the quantiles i/n to (i+1)/n; its weight is the part of them between 1/4
    and 3/4. For n a multiple of 4 this equals `scipy.stats.trim_mean(values, 0.25)`; for other n that function trims
    too little (nothing of three values), while here a value on the border counts in part: three values have the weights
    1/6, 2/3 and 1/6, five have 0, 0.3, 0.4, 0.3 and 0. One or two values give their mean.
    """
    ordered = np.sort(np.asarray(values, dtype=float), axis=0)
    if not len(ordered):
        return np.full(ordered.shape[1:], np.nan)
    mean = np.tensordot(_compute_weights(len(ordered)), np.nan_to_num(ordered), axes=1)
    return np.where(np.isnan(ordered[-1]), np.nan, mean)  # NaN sorts to the end


def _compute_weights(n: int) -> Float[np.ndarray, "n"]:
    edges = np.clip(np.arange(n + 1) / n, 0.25, 0.75)
    return np.diff(edges) / 0.5


def mean(values: Float[np.ndarray, "n *shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the mean along the first axis, as a statistic for `estimate`."""
    return np.mean(values, axis=0)


def estimate(
    *strata: Float[np.ndarray, "n *shape"], statistic: Statistic = interquartile_mean, level: float = LEVEL
) -> Estimate:
    """Return a statistic of all values together, with its percentile bootstrap interval.

    Args:
        strata: groups of values, (n, ...) each: seeds, or the episodes of a condition. A bootstrap sample draws n
            values from each group, with replacement. The axes after the first one (a curve) are drawn as a whole.
        statistic: the statistic of the groups concatenated along the first axis.
        level: the level of the interval. With one value in each group the interval has no width: one seed carries no
            information about others.
    """
    groups = [np.asarray(group, dtype=float) for group in strata]
    rng = np.random.default_rng(0)
    picks = [rng.integers(len(group), size=(len(group), RESAMPLES)) for group in groups]
    value = statistic(np.concatenate(groups))
    chunk = max(1, _CHUNK // sum(group.size for group in groups))
    samples = np.concatenate([
        statistic(np.concatenate([group[pick[:, b : b + chunk]] for group, pick in zip(groups, picks, strict=True)]))
        for b in range(0, RESAMPLES, chunk)
    ])  # fmt: skip
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Estimate(value, low, high)


def share(successes: int, trials: int) -> Estimate:
    """Return a share of successes with its Wilson interval, valid also at 0 and 1, where a bootstrap has no width."""
    if not trials:
        return Estimate(*np.full(3, np.nan))
    p, z = successes / trials, ndtri((1 + LEVEL) / 2)
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)  # Wilson 1927
    half = z * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return Estimate(np.asarray(p), np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0))


def estimate_improvement(ours: Float[np.ndarray, "n"], theirs: Float[np.ndarray, "m"]) -> Estimate:
    """Return the probability that a run of ours has a larger value than one of theirs, with its bootstrap interval.

    The share of the n m pairs in which ours is larger; an equal pair counts one half (Agarwal et al. 2021, section 4.3:
    the statistic of Mann and Whitney over n m). A bootstrap sample draws from both groups.
    """
    n = len(ours)

    def count(values: np.ndarray) -> np.ndarray:
        difference = values[:n, None] - values[None, n:]
        wins = (difference > 0) + 0.5 * (difference == 0)
        return np.where(np.isnan(difference).any(axis=(0, 1)), np.nan, wins.mean(axis=(0, 1)))

    return estimate(ours, theirs, statistic=count)


def estimate_profile(values: Float[np.ndarray, "n"], thresholds: Float[np.ndarray, "k"]) -> Estimate:
    """Return the share of runs whose value exceeds each threshold, with pointwise bootstrap intervals, (k,) each.

    The performance profile of Agarwal et al. 2021, section 4.2 (their score distribution), for one task.
    """
    return estimate(values, statistic=lambda drawn: np.mean(drawn[..., None] > thresholds, axis=0))


# -- curves ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Curve:
    """The values of one run after given numbers of environment steps."""

    steps: Int[np.ndarray, "n"]
    values: Float[np.ndarray, "n"]

    def drop_missing(self) -> Self:
        """Return the curve without the points that are NaN."""
        there = ~np.isnan(self.values)
        return type(self)(self.steps[there], self.values[there])


@dataclasses.dataclass(frozen=True)
class Aligned:
    """Curves on one grid: the union of their steps, within the range where all of them have values."""

    steps: Int[np.ndarray, "n"]
    values: Float[np.ndarray, "curves n"]
    cut: int  # number of curves with points outside that range


def align_curves(curves: Sequence[Curve]) -> Aligned:
    """Put curves on the union of their steps; between its own points a curve keeps its last value.

    The grid spans the range that all curves cover, so that every part of the aggregate rests on all seeds. Points that
    are NaN (no complete episode) count as missing.
    """
    curves = [curve.drop_missing() for curve in curves]
    if not curves or not all(len(curve.steps) for curve in curves):
        return Aligned(np.zeros(0, int), np.zeros((len(curves), 0)), 0)
    first, last = max(curve.steps[0] for curve in curves), min(curve.steps[-1] for curve in curves)
    union = np.unique(np.concatenate([curve.steps for curve in curves]))
    grid = union[(union >= first) & (union <= last)]
    values = [curve.values[np.searchsorted(curve.steps, grid, side="right") - 1] for curve in curves]
    cut = sum(bool(curve.steps[0] < first or curve.steps[-1] > last) for curve in curves)
    return Aligned(grid, np.array(values).reshape(len(curves), len(grid)), cut)
