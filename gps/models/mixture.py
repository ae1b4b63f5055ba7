"""Mixture regression: a Gaussian mixture over [x; u; x'] as a global model of the dynamics.

Given z = [x; u], each cluster k predicts x' = F_k z + c_k, the regression of its Gaussian, and the mixture predicts
their mean under the clusters' responsibilities r_k(z) (Ghahramani & Jordan 1994). The slope of the prediction is taken
to be Σ r_k F_k. The slopes of r_k are left out: they are large where clusters of different levels overlap, and carry no
information about the system.

The next state is a mixture too: of N(F_k z + c_k, S_k), with S_k the covariance of x' given z in cluster k. The doubt
about F_k and c_k is that of a regression on the N_k points of the cluster, their posterior under a flat prior:
cov(F_k z + c_k) = S_k (1 + d_k²) / N_k, with d_k the distance of z from the cluster in its own deviations.
"""

import dataclasses
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.dynamics.mixture import Mixture
from gps.linear_gaussian.types import pytree


class _Near(NamedTuple):
    """The clusters as one z = [x; u] sees them."""

    responsibilities: Float[Array, "K"]
    means: Float[Array, "K dx"]  # F_k z + c_k
    doubt: Float[Array, "K"]  # (1 + d_k²) / N_k


@pytree
class MixtureRegression:
    """x' = Σ_k r_k(z) (F_k z + c_k), with K clusters. A `gps.models.model.GlobalModel`.

    It is made from a mixture and has no `refit`: `MixtureLearner` makes a new one, and so does who refits a
    `gps.dynamics.mixture.MixturePrior`, which also serves as a prior of local dynamics.
    """

    log_weights: Float[Array, "*count K"]  # including the normalisation of the densities of z
    means: Float[Array, "*count K dz"]
    whiteners: Float[Array, "*count K dz dz"]  # L⁻¹ of the covariances L Lᵀ of z
    matrices: Float[Array, "*count K dx dz"]  # F_k
    offsets: Float[Array, "*count K dx"]  # c_k
    deviations: Float[Array, "*count dz"]  # standard deviations of z under the mixture
    factors: Float[Array, "*count K dx dx"]  # L with S_k = L Lᵀ, the covariances of x' given z
    counts: Float[Array, "*count K"]  # N_k, the points of each cluster; infinite where F_k and c_k are beyond doubt

    @classmethod
    def of(cls, mixture: Mixture, dx: int, clusters: int = 0, points: float = np.inf) -> Self:
        """Return the regression of x' on [x; u] in a mixture over [x; u; x'] (NumPy arrays).

        The floor under the variances of x counts as variation that x' follows: where a cluster has no evidence about an
        entry of the state, the entry is predicted to stay constant.

        Args:
            clusters: pad to this many clusters, so that mixtures of different sizes share their compiled functions.
            points: that the mixture was fitted to; without a number nothing is in doubt but the next state's noise.
        """
        K, d = mixture.means.shape
        dz = d - dx
        zz, xz = mixture.covariances[:, :dz, :dz], mixture.covariances[:, dz:, :dz]
        if mixture.floor is not None:
            xz = xz + np.diag(mixture.floor[:dx]) @ np.eye(dx, dz)
        F = np.linalg.solve(zz, xz.swapaxes(1, 2)).swapaxes(1, 2)
        factors = np.linalg.cholesky(zz)
        _, overall = mixture.moments(mixture.weights)
        variances = np.diagonal(overall)[:dz]
        means = mixture.means[:, :dz]
        log_weights = np.log(mixture.weights) - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        offsets = mixture.means[:, dz:] - np.einsum("kij,kj->ki", F, means)
        left = _factor(mixture.covariances[:, dz:, dz:] - F @ zz @ F.swapaxes(1, 2))
        arrays = means, np.linalg.inv(factors), F, offsets, left, mixture.weights * points
        missing = max(clusters - K, 0)
        means, whiteners, slopes, offsets, left, counts = (
            np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) for array in arrays
        )
        log_weights = np.concatenate([log_weights, np.full(missing, -np.inf)])
        return cls(log_weights, means, whiteners, slopes, offsets, np.sqrt(variances), left, counts)

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the predicted next state (JAX)."""
        F, c = self.linearise(x, u)
        return F @ jnp.concatenate([x, u]) + c

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return F and c of x' = F z + c at one z = [x; u] (JAX)."""
        whitened = jnp.einsum("kij,kj->ki", self.whiteners, jnp.concatenate([x, u]) - self.means)
        log_joint = self.log_weights - 0.5 * jnp.sum(whitened**2, axis=-1)
        r = jnp.exp(log_joint - jnp.max(log_joint))
        r = r / jnp.sum(r)
        return jnp.tensordot(r, self.matrices, 1), r @ self.offsets

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state: within the clusters and between them (JAX)."""
        r, means, doubt = self._look(x, u)
        within = jnp.sum(jnp.asarray(self.factors) ** 2, axis=-1) * (1.0 + doubt[:, None])
        return jnp.sqrt(r @ (within + (means - r @ means) ** 2))

    def slope_covariance(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx dz dz"]:
        """Return the covariance of each row of the slope Σ r_k F_k: Σ r_k² S_k,ii cov_k(z)⁻¹ / N_k of row i (JAX)."""
        r, _, _ = self._look(x, u)
        inverses = jnp.einsum("kab,kac->kbc", self.whiteners, self.whiteners)
        variances = jnp.sum(jnp.asarray(self.factors) ** 2, axis=-1)
        return jnp.einsum("k,ki,kbc->ibc", r**2 / jnp.asarray(self.counts), variances, inverses)

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state: of a cluster, of its regression, and of its noise (JAX)."""
        r, means, doubt = self._look(x, u)
        k, error = _draw_cluster(key, r, jnp.asarray(self.factors))
        return means[k] + jnp.sqrt(1.0 + doubt[k]) * error

    def draw(self, key: PRNGKeyArray, count: int) -> "MixtureFunction":
        """Return `count` systems, each with slopes and offsets drawn from the posterior of each cluster (JAX)."""
        of_slopes, of_offsets = jax.random.split(key)
        K, dx, dz = self.matrices.shape
        L = jnp.asarray(self.factors) / jnp.sqrt(jnp.asarray(self.counts))[:, None, None]
        whitened = jax.random.normal(of_slopes, (count, K, dx, dz)) @ jnp.asarray(self.whiteners)
        slopes = L @ whitened  # rows of F vary as S_k / N_k, columns as the inverse covariance of z
        level = jnp.einsum("kij,nkj->nki", L, jax.random.normal(of_offsets, (count, K, dx)))
        shared = jax.tree.map(lambda array: jnp.broadcast_to(array, (count, *np.shape(array))), self)
        drawn = dataclasses.replace(
            shared,
            matrices=self.matrices + slopes,
            offsets=self.offsets + level - jnp.einsum("nkij,kj->nki", slopes, self.means),
        )
        return MixtureFunction(drawn)

    def _look(self, x: Array, u: Array) -> _Near:
        z = jnp.concatenate([x, u])
        whitened = jnp.einsum("kij,kj->ki", self.whiteners, z - self.means)
        distance = jnp.sum(whitened**2, axis=-1)
        r = jax.nn.softmax(self.log_weights - 0.5 * distance)
        return _Near(r, jnp.asarray(self.matrices) @ z + self.offsets, (1.0 + distance) / self.counts)


@pytree
class MixtureFunction:
    """One system of a mixture's belief: its own slopes and offsets. A `gps.models.model.Function`."""

    regression: MixtureRegression

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the mean of the next state; with a `key` a draw of a cluster and of its noise."""
        if key is None:
            return self.regression.mean(x, u)
        r, means, _ = self.regression._look(x, u)
        k, error = _draw_cluster(key, r, self.regression.factors)
        return means[k] + error


def _draw_cluster(key: PRNGKeyArray, r: Float[Array, "K"], factors: Float[Array, "K dx dx"]) -> tuple[Array, Array]:
    """Return the index of a cluster, and a draw of its noise, (dx,)."""
    of_cluster, of_noise = jax.random.split(key)
    k = jax.random.categorical(of_cluster, jnp.log(r))
    return k, factors[k] @ jax.random.normal(of_noise, factors.shape[-1:])


def _factor(covariances: Float[np.ndarray, "K dx dx"]) -> Float[np.ndarray, "K dx dx"]:
    """Return L with L Lᵀ = Σ of matrices that are semi-definite up to rounding."""
    values, vectors = np.linalg.eigh(0.5 * (covariances + covariances.swapaxes(1, 2)))
    return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
