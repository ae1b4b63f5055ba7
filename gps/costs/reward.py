"""A local quadratic cost from observed rewards, for environments whose reward has no formula.

At each step, −r is regressed on the quadratic features of z = [x; u], in the same way as the dynamics: the joint
Gaussian of features and −r has a normal-inverse-Wishart prior, is updated with the samples of that step, and is
conditioned on the features. The prior comes from a mixture over [z; −r] of the recent rollouts: the moments of the
features in each cluster, averaged under the responsibilities of the step's samples (the recipe of Levine & Abbeel 2014,
sec. 3.2, for the dynamics). The Hessian is then projected to the nearest positive semi-definite matrix.

A slope or a curvature without evidence in the nearby samples is assumed small. Curvature needs stronger evidence than
slope: a spurious curvature keeps the controller where it is, a missed one only makes a step too long.

Rewards are assumed to depend on z and not on time itself.
"""

import dataclasses
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.costs.expansion import project_psd
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import NormalInverseWishart, Transitions
from gps.dynamics.regression import condition, joint_gaussian
from gps.linear_gaussian.types import CostExpansion
from gps.records import Rollouts

_CHUNK_BYTES = 64 << 20
_NEGLIGIBLE = 1e-9  # membership in a cluster, relative to that of its strongest member


@dataclasses.dataclass(frozen=True)
class RewardModel:
    """A model of the cost, learned from the rewards seen so far.

    Args:
        mixture: over [x; u; −r], with its pool of remembered points.
        weight: factor on the reward.
        strength: pseudo-count of the prior at a step, in samples.
        ridge: added to the variance of each linear feature, relative to its variance in the pool.
        curvature_ridge: the same for the quadratic features.
    """

    mixture: MixturePrior
    weight: float = 1.0
    strength: float = 1.0
    ridge: float = 1e-4
    curvature_ridge: float = 3e-3

    def costs(self, rollouts: Rollouts) -> Float[np.ndarray, "M N T"]:
        """Return the cost of each step."""
        return -self.weight * rollouts.rewards

    def fit(self, rollouts: Rollouts, seed: int) -> tuple[CostExpansion, Self]:
        """Return the expansion of −r around each condition's samples, and the model that has also seen them."""
        points = np.concatenate([rollouts.states, rollouts.actions, self.costs(rollouts)[..., None]], axis=-1)
        samples = Transitions(points, rollouts.mask)
        pool = np.concatenate([*self.mixture.pool, samples.points[samples.mask]])
        units = _Units(pool.mean(axis=0), np.maximum(pool.std(axis=0), 1e-6))
        model = dataclasses.replace(self, mixture=self.mixture.refit(samples, seed))
        weights, intercept = model._regress(samples, pool, units)
        return _expansion(weights, intercept, samples, units), model

    def _regress(self, samples: Transitions, pool, units):
        """Return weights (M, T, f) of the features and intercepts (M, T), all in standard units."""
        M, _, T, n = samples.points.shape
        mixture = self.mixture.mixture
        shares = np.ones((M, T, 1)) if mixture is None else self.mixture.weights(samples)
        membership = np.ones((len(pool), 1)) if mixture is None else mixture.responsibilities(pool)
        features = _features(units.standardise(pool))
        mean, second = _cluster_moments(features, membership)
        d = features.shape[1]
        floor = np.maximum(features[:, :-1].var(axis=0), 1e-8)
        floor *= np.where(np.arange(d - 1) < n - 1, self.ridge, self.curvature_ridge)

        parts = []
        length = max(1, _CHUNK_BYTES // (8 * M * d * d))  # the moments of all steps at once may not fit in memory
        for start in range(0, T, length):
            steps = slice(start, start + length)
            mu, covariance = _mix(shares[:, steps], mean, second)
            count = np.full(mu.shape[:2], self.strength)
            prior = NormalInverseWishart(mu, self.strength * covariance, count, count)
            points = _features(units.standardise(samples.points[:, :, steps]))
            parts.append(_fit_weights(points, samples.mask[:, :, steps], prior, floor))
        weights, intercepts = zip(*parts, strict=True)
        return np.concatenate(weights, axis=1), np.concatenate(intercepts, axis=1)


class _Units(NamedTuple):
    """Origin and scale of [z; −r] in the pool, so that the regression works on numbers of order one."""

    center: Float[np.ndarray, "d"]
    scale: Float[np.ndarray, "d"]

    def standardise(self, points):
        return (points - self.center) / self.scale


def _features(points: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "... f+1"]:
    """Return [s; ½ s_i² ; s_i s_j; y] for [s; y]: linear and quadratic features, and the unchanged target."""
    s, target = points[..., :-1], points[..., -1:]
    i, j = np.triu_indices(s.shape[-1])
    return np.concatenate([s, s[..., i] * s[..., j] * np.where(i == j, 0.5, 1.0), target], axis=-1)


def _cluster_moments(features: Float[np.ndarray, "n d"], membership: Float[np.ndarray, "n K"]):
    """Return the first and second moments of the points in each cluster, (K, d) and (K, d, d)."""
    share = membership / np.maximum(membership.sum(axis=0), 1e-300)
    second = []
    for weight in share.T:
        members = weight > _NEGLIGIBLE * weight.max()  # most points belong to only one cluster
        own = features[members]
        second.append((own * weight[members, None]).T @ own)
    return share.T @ features, np.stack(second)


def _mix(shares: Float[np.ndarray, "M T K"], mean, second):
    """Return the mean (M, T, d) and covariance (M, T, d, d) of the clusters under their shares."""
    d = mean.shape[-1]
    mu = shares @ mean
    covariance = (shares @ second.reshape(-1, d * d)).reshape(*mu.shape, d)
    return mu, covariance - mu[..., :, None] * mu[..., None, :]


@jax.jit
def _fit_weights(points: Float[Array, "M N T d"], mask, prior: NormalInverseWishart, floor: Float[Array, "f"]):
    mean, covariance = joint_gaussian(points, mask, prior)
    f = floor.size
    covariance = covariance.at[..., jnp.arange(f), jnp.arange(f)].add(floor)
    matrix, offset, _ = condition(mean, covariance, f)
    return matrix[..., 0, :], offset[..., 0]


def _expansion(weights, intercept, samples: Transitions, units: _Units) -> CostExpansion:
    """Return the convex quadratic in units of z, with the value and the slope of the fit at the samples' mean."""
    present = samples.mask[..., None]
    z = samples.points[..., :-1]
    z = np.where(present, z, 0.0).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    center, scale, unit = units.center[:-1], units.scale[:-1], units.scale[-1]
    s = (z - center) / scale

    n = z.shape[-1]
    i, j = np.triu_indices(n)
    hessian = np.zeros((*z.shape, n))
    hessian[..., i, j] = hessian[..., j, i] = weights[..., n:]
    slope = weights[..., :n] + np.einsum("...ij,...j->...i", hessian, s)
    value = intercept + np.einsum("...i,...i->...", weights[..., :n] + slope, s) / 2

    hessian = unit * project_psd(hessian) / np.outer(scale, scale)
    slope = unit * slope / scale
    value = unit * value + units.center[-1]
    Cz = np.einsum("...ij,...j->...i", hessian, z)
    constant = value - np.einsum("...i,...i->...", slope - 0.5 * Cz, z)
    absent = ~samples.mask.any(axis=1)
    hessian[absent], slope[absent], Cz[absent], constant[absent] = 0.0, 0.0, 0.0, 0.0
    return CostExpansion(hessian, slope - Cz, constant)
