"""A Gaussian mixture over [x; u; x'] read as a model of the dynamics everywhere: mixture regression.

Given z = [x; u], each cluster k predicts x' = F_k z + c_k, the regression of its Gaussian, and the mixture predicts
their mean under the clusters' responsibilities r_k(z) for z (Ghahramani & Jordan 1994). The slope of the prediction is
taken to be Σ r_k F_k: what the slopes of r_k would add is large where clusters of different levels overlap, and says
nothing about the system.
"""

from typing import Self

import numpy as np
from jaxtyping import Array, Float

from gps.backend import jnp
from gps.dynamics.mixture import Mixture
from gps.linear_gaussian.types import pytree


@pytree
class MixtureRegression:
    """x' = Σ_k r_k(z) (F_k z + c_k), of K clusters."""

    log_weights: Float[Array, "K"]  # with what normalises the densities of z
    means: Float[Array, "K dz"]
    whiteners: Float[Array, "K dz dz"]  # L⁻¹, of the covariances L Lᵀ of z
    matrices: Float[Array, "K dx dz"]
    offsets: Float[Array, "K dx"]
    deviations: Float[Array, "dz"]  # of all points

    @classmethod
    def of(cls, mixture: Mixture, dx: int, clusters: int = 0) -> Self:
        """The regression of x' on [x; u] in a mixture over [x; u; x'] (NumPy arrays).

        The floor under the variances of x counts as variation that x' follows: what a cluster does not tell is
        believed to stay as it is.

        Args:
            clusters: it is padded to this many, so that mixtures of many sizes share their compiled functions.
        """
        K, d = mixture.means.shape
        dz = d - dx
        zz, xz = mixture.covariances[:, :dz, :dz], mixture.covariances[:, dz:, :dz]
        if mixture.floor is not None:
            xz = xz + np.diag(mixture.floor[:dx]) @ np.eye(dx, dz)
        F = np.linalg.solve(zz, xz.swapaxes(1, 2)).swapaxes(1, 2)
        factors = np.linalg.cholesky(zz)
        _, overall = mixture.moments(mixture.weights)
        variances = np.maximum(np.diagonal(overall)[:dz], 1e-12)
        means = mixture.means[:, :dz]
        log_weights = np.log(mixture.weights) - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        arrays = means, np.linalg.inv(factors), F, mixture.means[:, dz:] - np.einsum("kij,kj->ki", F, means)
        missing = max(clusters - K, 0)
        padded = [np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) for array in arrays]
        return cls(np.concatenate([log_weights, np.full(missing, -np.inf)]), *padded, np.sqrt(variances))

    def at(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """F and c of x' = F z + c at one z = [x; u] (JAX)."""
        whitened = jnp.einsum("kij,kj->ki", self.whiteners, jnp.concatenate([x, u]) - self.means)
        log_joint = self.log_weights - 0.5 * jnp.sum(whitened**2, axis=-1)
        r = jnp.exp(log_joint - jnp.max(log_joint))
        r = r / jnp.sum(r)
        return jnp.tensordot(r, self.matrices, 1), r @ self.offsets
