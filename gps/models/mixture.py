"""Mixture regression: a Gaussian mixture over [x; u; x'] as a global model of the dynamics.

Given z = [x; u], each cluster k predicts x' = F_k z + c_k, the regression of its Gaussian, and the mixture predicts
their mean under the clusters' responsibilities r_k(z) (Ghahramani & Jordan 1994). The slope of the prediction is taken
to be Σ r_k F_k. The slopes of r_k are left out: they are large where clusters of different levels overlap, and carry no
information about the system.
"""

from typing import Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jnp
from gps.dynamics.mixture import Mixture
from gps.linear_gaussian.types import pytree


@pytree
class MixtureRegression:
    """x' = Σ_k r_k(z) (F_k z + c_k), with K clusters. A `gps.models.model.PlanningModel`.

    It is made from a mixture and has no `refit`: refit the mixture (`gps.dynamics.mixture.MixturePrior`), which also
    serves as a prior of local dynamics, and make a new one. It has no `sample`: it keeps no covariances of x'.
    """

    log_weights: Float[Array, "K"]  # including the normalisation of the densities of z
    means: Float[Array, "K dz"]
    whiteners: Float[Array, "K dz dz"]  # L⁻¹ of the covariances L Lᵀ of z
    matrices: Float[Array, "K dx dz"]  # F_k
    offsets: Float[Array, "K dx"]  # c_k
    deviations: Float[Array, "dz"]  # standard deviations of z under the mixture

    @classmethod
    def of(cls, mixture: Mixture, dx: int, clusters: int = 0) -> Self:
        """Return the regression of x' on [x; u] in a mixture over [x; u; x'] (NumPy arrays).

        The floor under the variances of x counts as variation that x' follows: where a cluster has no evidence about an
        entry of the state, the entry is predicted to stay constant.

        Args:
            clusters: pad to this many clusters, so that mixtures of different sizes share their compiled functions.
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
        arrays = means, np.linalg.inv(factors), F, mixture.means[:, dz:] - np.einsum("kij,kj->ki", F, means)
        missing = max(clusters - K, 0)
        means, whiteners, slopes, offsets = (
            np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) for array in arrays
        )
        log_weights = np.concatenate([log_weights, np.full(missing, -np.inf)])
        return cls(log_weights, means, whiteners, slopes, offsets, np.sqrt(variances))

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
