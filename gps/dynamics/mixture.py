"""A Gaussian mixture over [x; u; x'] as the prior of local dynamics (Levine & Abbeel 2014, sec. 3.2).

One mixture serves all conditions. It is fitted to the pooled transitions of the last rollouts, and each refit starts
from the last one's parameters, so that a few steps of EM are enough. The prior at a time step has the mixture's mean
and covariance under the mean responsibilities of that step's samples.
"""

import dataclasses
import warnings

import numpy as np
from jaxtyping import Float

from gps.dynamics.prior import DynamicsPrior, NormalInverseWishart, Transitions
from gps.dynamics.units import positive_deviation
from gps.records import MixtureRecord, ModelRecord

_FLOOR, _FIRM_FLOOR = 1e-6, 1e-3
"""Added to the variances of the clusters, in units of the variance of all points."""


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Parameters of a Gaussian mixture with full covariances."""

    weights: Float[np.ndarray, "K"]
    means: Float[np.ndarray, "K d"]
    covariances: Float[np.ndarray, "K d d"]
    floor: Float[np.ndarray, "d"] | None = None  # added to the variances; None if unknown

    def responsibilities(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n K"]:
        """Return the posterior probability of each cluster for each point."""
        from scipy.special import softmax

        return softmax(self._log_joint(points), axis=1)

    def _log_joint(self, points):
        factors = np.linalg.cholesky(self.covariances)
        log_joint = np.empty((len(points), len(self.weights)))
        for k, (weight, mean, factor) in enumerate(zip(self.weights, self.means, factors, strict=True)):
            whitened = np.linalg.inv(factor) @ (points - mean).T
            log_joint[:, k] = (
                np.log(weight) - np.log(np.diagonal(factor)).sum() - 0.5 * np.einsum("in,in->n", whitened, whitened)
            )
        return log_joint

    def moments(self, weights: Float[np.ndarray, "... K"]):
        """Return the mean (..., d) and covariance (..., d, d) of the mixture under other `weights` of its clusters."""
        return mix_moments(weights, self.means, self.covariances)


def mix_moments(
    weights: Float[np.ndarray, "... K"], means: Float[np.ndarray, "K d"], covariances: Float[np.ndarray, "K d d"]
) -> tuple[Float[np.ndarray, "... d"], Float[np.ndarray, "... d d"]]:
    """Return the mean and covariance of mixtures of the same K Gaussians; each row of `weights` sums to 1.

    Σ_k w_k (Σ_k + (μ_k − μ)(μ_k − μ)ᵀ), a sum of semi-definite matrices. The difference of the second moment and μ μᵀ
    would cancel far from the origin.
    """
    K, d = means.shape
    mean = weights @ means
    within = (weights @ covariances.reshape(K, d * d)).reshape(*weights.shape[:-1], d, d)
    between = np.sqrt(weights)[..., None] * (means - mean[..., None, :])
    return mean, within + between.swapaxes(-1, -2) @ between


@dataclasses.dataclass(frozen=True)
class MixturePrior(DynamicsPrior):
    """A prior from a Gaussian mixture: its settings, and the content learned from the transitions seen so far.

    Args:
        clusters: largest number of clusters.
        points_per_cluster: smallest number of points per cluster; with fewer points, fewer clusters are used.
        memory: number of refits whose transitions the mixture is fitted to, including the newest.
        strength: scales both pseudo-counts of the prior; 1 makes it worth about one sample.
        em_steps: steps of EM in each refit.
        max_points: largest number of points that the mixture is fitted to, evenly spread, as neighbours in time are
            similar.
        pool: learned: the points of the last `memory` − 1 refits.
        mixture: learned: the mixture; None while there are too few points.
    """

    clusters: int = 20
    points_per_cluster: int = 40
    memory: int = 2
    strength: float = 1.0
    em_steps: int = 5
    max_points: int = 4000
    pool: tuple[Float[np.ndarray, "n d"], ...] = ()
    mixture: Mixture | None = None

    def refit(self, transitions: Transitions, seed: int) -> "MixturePrior":
        """Return the prior with its mixture fitted to `transitions` and the remembered ones."""
        new = transitions.points[transitions.mask]
        points = np.concatenate([*self.pool, new])
        points = points[:: -(-len(points) // self.max_points) or 1]
        pool = (*self.pool, new)[1 - self.memory :] if self.memory > 1 else ()
        clusters = min(self.clusters, len(points) // self.points_per_cluster)
        if clusters == 0:
            return dataclasses.replace(self, pool=pool)
        return dataclasses.replace(self, pool=pool, mixture=self._fit(points, clusters, seed))

    def _fit(self, points, clusters, seed) -> Mixture:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        # Standardise, so that k-means, the floor under the covariances and rounding do not depend on units and origin.
        origin, scale = points.mean(axis=0), positive_deviation(points, at_rest=1e-4)
        start = {}
        if self.mixture is not None and len(self.mixture.weights) == clusters:
            precisions = np.linalg.inv(self.mixture.covariances / np.outer(scale, scale))
            start = dict(
                weights_init=self.mixture.weights,
                means_init=(self.mixture.means - origin) / scale,
                precisions_init=0.5 * (precisions + precisions.transpose(0, 2, 1)),
            )
        settings = dict(max_iter=self.em_steps, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the next refit continues
            try:
                em = GaussianMixture(clusters, reg_covar=_FLOOR, **settings, **start).fit((points - origin) / scale)
            except ValueError:  # a covariance lost its rank: start anew, with a higher floor
                em = GaussianMixture(clusters, reg_covar=_FIRM_FLOOR, **settings).fit((points - origin) / scale)
        means, covariances = em.means_ * scale + origin, em.covariances_ * np.outer(scale, scale)
        return Mixture(em.weights_, means, covariances, em.reg_covar * scale**2)

    def weights(self, transitions: Transitions) -> Float[np.ndarray, "M T-1 K"]:
        """Return the weights of the clusters at each step: the mean responsibilities of its samples."""
        assert self.mixture is not None
        points, mask = transitions
        M, N, steps, d = points.shape
        weights = self.mixture.responsibilities(points.reshape(-1, d)).reshape(M, N, steps, -1)
        weights = np.where(mask[..., None], weights, 0.0).sum(axis=1)
        total = weights.sum(axis=-1, keepdims=True)
        # A step without samples has the weights of the whole mixture.
        return np.where(total > 0, weights / np.maximum(total, 1e-300), self.mixture.weights)

    def at(self, transitions: Transitions) -> NormalInverseWishart | None:
        """Return the belief at each step, given the step's samples; None while there is no mixture."""
        if self.mixture is None:
            return None
        mean, covariance = self.mixture.moments(self.weights(transitions))
        count = np.full(mean.shape[:2], self.strength)
        return NormalInverseWishart(mean, count[..., None, None] * covariance, count, count)

    def make_record(self) -> ModelRecord | None:
        mixture = self.mixture
        if mixture is None:
            return None
        return ModelRecord(MixtureRecord(mixture.weights, mixture.means, mixture.covariances))
