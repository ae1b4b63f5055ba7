"""Linear algebra of symmetric positive (semi-)definite matrices, shared by the whole package."""

import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp


def symmetrize(matrix: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """Return the symmetric part of a matrix: rounding must not decide which triangle is right."""
    return 0.5 * (matrix + jnp.swapaxes(matrix, -1, -2))


def psd_solve(matrix: Float[Array, "*batch n n"], rhs: Float[Array, "*batch n m"]) -> Float[Array, "*batch n m"]:
    """Solve `matrix @ x = rhs` by Cholesky; NaN if the matrix is not positive definite."""
    factor = jnp.linalg.cholesky(matrix)
    half = solve_triangular(factor, rhs, lower=True)
    return solve_triangular(factor, half, lower=True, trans=1)


def half_solve(matrix: Float[Array, "n n"], rhs: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """Return `L⁻¹ @ rhs` for a symmetric `matrix = L Lᵀ`; NaN from the first pivot that is not positive.

    It eliminates row after row and calls no library, so a loop over time that uses it compiles into one kernel. That is
    several times faster than a loop that calls LAPACK at each step.
    """
    n = len(matrix)

    def eliminate(rows, i):
        row = rows[i] / jnp.sqrt(rows[i, i])
        return rows - row[:n, None] * row, row[n:]

    return jax.lax.scan(eliminate, jnp.concatenate([matrix, rhs], axis=1), jnp.arange(n))[1]


def psd_inverse(matrix: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """Return the inverse of a positive definite matrix, symmetric to the last bit; NaN if it is not definite."""
    factor = jnp.linalg.cholesky(matrix)
    half = solve_triangular(factor, jnp.broadcast_to(jnp.eye(matrix.shape[-1]), matrix.shape), lower=True)
    return jnp.swapaxes(half, -1, -2) @ half


def is_semi_definite(matrix: Float[np.ndarray, "*batch n n"]) -> Bool[np.ndarray, "*batch"]:
    """True for symmetric matrices that are finite and positive semi-definite, up to rounding (NumPy)."""
    finite = np.isfinite(matrix).all(axis=(-1, -2))
    symmetric = 0.5 * (matrix + np.swapaxes(matrix, -1, -2))
    eigenvalues = np.linalg.eigvalsh(np.where(finite[..., None, None], symmetric, 0.0))
    return finite & (eigenvalues[..., 0] >= -1e-8 * np.abs(eigenvalues).max(axis=-1))


def logdet(matrix: Float[Array, "*batch n n"]) -> Float[Array, "*batch"]:
    """The logarithm of the determinant of a positive definite matrix; NaN if it is not positive definite."""
    diagonal = jnp.diagonal(jnp.linalg.cholesky(matrix), axis1=-2, axis2=-1)
    return 2.0 * jnp.sum(jnp.log(diagonal), axis=-1)


def gaussian_kl(mean_p, covariance_p, mean_q, covariance_q):
    """The KL divergence KL(p ‖ q) in nats between Gaussians `(..., n)` with covariances `(..., n, n)`."""
    precision = psd_inverse(covariance_q)
    difference = mean_p - mean_q
    mahalanobis = jnp.einsum("...i,...ij,...j->...", difference, precision, difference)
    trace = jnp.einsum("...ij,...ji->...", precision, covariance_p)
    return 0.5 * (trace - mean_p.shape[-1] + logdet(covariance_q) - logdet(covariance_p) + mahalanobis)


@jax.custom_jvp
def invert_psd(A: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Float[Array, ""]]:
    """Return A⁻¹ and ½ log |A| of a small symmetric positive definite matrix; NaN if it is not positive definite.

    For matrices that are well conditioned, such as I + S. The derivative is that of the textbook, −A⁻¹ dA A⁻¹ and
    ½ tr(A⁻¹ dA): that of the Cholesky factor and its solves takes several times as long to compile.
    """
    factor = jnp.linalg.cholesky(A)
    inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(A), dtype=A.dtype))
    return inverse, jnp.sum(jnp.log(jnp.diagonal(factor)))


@invert_psd.defjvp
def _differentiate_inverse(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    inverse, half_logdet = invert_psd(*primals)
    (change,) = tangents
    return (inverse, half_logdet), (-inverse @ change @ inverse, 0.5 * jnp.sum(inverse * change))
