"""A local quadratic cost from observed rewards, for environments whose reward has no formula.

At each step, −r is regressed on the quadratic features of z = [x; u], in the same way as the dynamics: the joint
Gaussian of features and −r has a normal-inverse-Wishart prior, is updated with the samples of that step, and is
conditioned on the features. The prior comes from a mixture over [z; −r] of the recent rollouts: the moments of the
features in each cluster, averaged under the responsibilities of the step's samples (the recipe of Levine & Abbeel 2014,
sec. 3.2, for the dynamics). The Hessian is then projected to the nearest positive semi-definite matrix.

A slope or a curvature without evidence in the nearby samples is assumed small. Curvature needs stronger evidence than
slope: a spurious curvature keeps the controller where it is, a missed one only makes a step too long.

Noise looks like curvature to a few samples with many features, so the ridge grows with it. For weights that are a
priori N(0, v_j / Var φ_j), noise of the variance s² and n samples, the most probable weights have the ridge
s² Var φ_j / (n v_j). A curvature has v = 1/f: all f features together explain the variance of −r in the pool, which is
the unit of s². The v of a slope is larger by the ratio of the two ridges in the settings. s² comes from the errors of
leave-one-out predictions at the step, in a first fit with the ridges of the settings. These errors hold the misfit of a
reward without noise, too: in each condition, the fit that predicts left-out samples better is kept.

Rewards are assumed to depend on z and not on time itself.
"""

import dataclasses
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp
from gps.costs.expansion import project_psd
from gps.dynamics.mixture import MixturePrior, mix_moments
from gps.dynamics.prior import NormalInverseWishart, Transitions
from gps.dynamics.regression import condition, joint_gaussian
from gps.dynamics.units import positive_deviation
from gps.linear_gaussian.linalg import psd_solve
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
        ridge: added to the variance of each linear feature, relative to its variance in the pool; more with noise.
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
        units = _Units(pool.mean(axis=0), positive_deviation(pool))
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
        moments = _cluster_moments(features, membership)
        d = features.shape[1]
        variance = np.maximum(features[:, :-1].var(axis=0), 1e-8)
        ridge = np.where(np.arange(d - 1) < n - 1, self.ridge, self.curvature_ridge)

        parts = []
        length = max(1, _CHUNK_BYTES // (8 * M * d * d))  # the moments of all steps at once may not fit in memory
        for start in range(0, T, length):
            steps = slice(start, start + length)
            mu, covariance = mix_moments(shares[:, steps], *moments)
            count = np.full(mu.shape[:2], self.strength)
            prior = NormalInverseWishart(mu, self.strength * covariance, count, count)
            points = _features(units.standardise(samples.points[:, :, steps]))
            parts.append(_fit_weights(points, samples.mask[:, :, steps], prior, variance, ridge))
        plain, firm = jax.tree.map(lambda *arrays: np.concatenate(arrays, axis=1), *parts)
        noisy = firm.noise.sum(axis=1) < plain.noise.sum(axis=1)
        weights = np.where(noisy[:, None, None], firm.weights, plain.weights)
        return weights, np.where(noisy[:, None], firm.intercepts, plain.intercepts)


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
    """Return the mean and covariance of the points in each cluster, (K, d) and (K, d, d)."""
    means, covariances = [], []
    for weight in membership.T:
        members = weight > _NEGLIGIBLE * weight.max()  # most points belong to only one cluster
        own, share = features[members], weight[members] / max(weight[members].sum(), 1e-300)
        mean = share @ own
        deviation = np.sqrt(share)[:, None] * (own - mean)
        means.append(mean)
        covariances.append(deviation.T @ deviation)
    return np.stack(means), np.stack(covariances)


class _Fit(NamedTuple):
    """The fit of each step, in standard units."""

    weights: Float[Array, "M T f"]
    intercepts: Float[Array, "M T"]
    noise: Float[Array, "M T"]  # s², see `_noise`


@jax.jit
def _fit_weights(
    points: Float[Array, "M N T d"],
    mask: Bool[Array, "M N T"],
    prior: NormalInverseWishart,
    variance: Float[Array, "f"],
    ridge: Float[Array, "f"],
):
    """Return two fits of f features, with the ridge of the settings and with one that grows with the noise."""
    mean, covariance = joint_gaussian(points, mask, prior)
    count, f = jnp.sum(mask, axis=1) + prior.degrees, ridge.size

    def fit(growth: Float[Array, "M T"]) -> _Fit:
        ridged = _add(covariance, growth[..., None] * ridge * variance)
        matrix, offset, _ = condition(mean, ridged, f)
        return _Fit(matrix[..., 0, :], offset[..., 0], _noise(points, mask, mean, ridged, count))

    plain = fit(jnp.ones_like(count))
    return plain, fit(1.0 + f * plain.noise / (count * ridge[-1]))


def _add(covariance: Float[Array, "... d d"], diagonal: Float[Array, "... f"]) -> Float[Array, "... d d"]:
    """Return the covariance with `diagonal` added to that of the features."""
    entries = jnp.arange(diagonal.shape[-1])
    return covariance.at[..., entries, entries].add(diagonal)


def _noise(
    points: Float[Array, "M N T d"],
    mask: Bool[Array, "M N T"],
    mean: Float[Array, "M T d"],
    covariance: Float[Array, "M T d d"],
    count: Float[Array, "M T"],
) -> Float[Array, "M T"]:
    """Return the mean square error of predicting each sample from the prior and the other samples of its step.

    It is the residual of the fit to all of them, divided by 1 − h, where h is the sample's leverage. The residual
    itself says nothing of the noise, as a few samples with many features are fitted exactly.
    """
    f = points.shape[-1] - 1
    deviation = jnp.moveaxis(points - mean[:, None], 1, -1)  # (M, T, d, N)
    s, y = deviation[..., :f, :], deviation[..., f, :]
    solved = psd_solve(covariance[..., :f, :f], jnp.concatenate([s, covariance[..., :f, f:]], axis=-1))
    leverage = (1.0 + jnp.sum(s * solved[..., :-1], axis=-2)) / count[..., None]
    residual = y - jnp.einsum("mtfn,mtf->mtn", s, solved[..., -1])
    error = jnp.where(jnp.moveaxis(mask, 1, -1), residual / jnp.maximum(1.0 - leverage, 1e-6), 0.0)
    return jnp.sum(error**2, axis=-1) / jnp.maximum(jnp.sum(mask, axis=1), 1)


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
