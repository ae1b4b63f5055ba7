"""One linear model of all steps, by Bayesian regression: what a short probe says about a system.

    x' = A x + B u + w,   w ~ N(0, diag σ²),

in deviations from a trajectory that is known. Each row of [A B] has the prior N([A₀ B₀], σ² (λ D)⁻¹), where D has the
mean squares of the regressors on its diagonal, so that the fit has no units; λ, the number of samples that the prior is
worth, maximises the marginal likelihood (Bishop 2006, sec. 3.5). The posterior is N(mean, σ² S) for each row.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

STRENGTHS = np.logspace(-10, 2, 25)
"""The values of λ that are compared."""


class PooledModel(NamedTuple):
    """The posterior: mean [A B], its covariance S over the entries of a row, in units of each row's noise σ²."""

    A: Float[np.ndarray, "dx dx"]
    B: Float[np.ndarray, "dx du"]
    S: Float[np.ndarray, "dz dz"]
    noise: Float[np.ndarray, "dx"]  # σ²
    strength: float  # λ, samples


def fit_pooled_model(
    z: Float[np.ndarray, "n dz"], after: Float[np.ndarray, "n dx"], prior: Float[np.ndarray, "dx dz"], weight
) -> PooledModel:
    """Fit the model to n transitions from z = [x; u] to `after`, with the prior mean [A₀ B₀]."""
    n, dz = z.shape
    z, after = z * np.sqrt(weight)[:, None], after * np.sqrt(weight)[:, None]
    n = weight.sum()
    dx = after.shape[1]
    scale = np.sqrt(np.mean(z**2, axis=0))
    scale[scale == 0.0] = 1.0
    unit = z / scale
    residual = after - z @ prior.T
    size = np.maximum(np.mean(residual**2, axis=0), 1e-300)
    values, vectors = np.linalg.eigh(unit.T @ unit)
    values = np.maximum(values, 0.0)
    projected = vectors.T @ (unit.T @ residual)  # (dz, dx)
    energy = np.sum(residual**2, axis=0)

    def explain(strength: float) -> tuple[float, np.ndarray]:
        """The log marginal likelihood up to a constant, and σ² of each row (with one pseudo-observation of a small σ²)."""
        left = energy - np.sum(projected**2 / (values + strength)[:, None], axis=0)
        noise = (np.maximum(left, 0.0) + 1e-12 * size) / (n + 1.0)
        logdet = np.sum(np.log1p(values / strength))
        return float(-0.5 * (dx * logdet + (n + 1.0) * np.sum(np.log(noise / size)))), noise

    strength = max(STRENGTHS, key=lambda value: explain(value)[0])
    noise = explain(strength)[1]
    mean = prior + ((vectors / (values + strength)) @ projected).T / scale
    S = (vectors / (values + strength)) @ vectors.T / np.outer(scale, scale)
    return PooledModel(mean[:, :dx], mean[:, dx:-1], S[:-1, :-1], noise, float(strength))


def hold_cautiously(
    model: PooledModel, Q: Float[np.ndarray, "dx dx"], R: Float[np.ndarray, "du du"], steps: int
) -> Float[np.ndarray, "du dx"]:
    """The feedback gain of the first of `steps` that minimises Σ ½ (xᵀ Q x + uᵀ R u) in expectation over the posterior.

    With z = [x; u] and V the Hessian of the cost-to-go, E[x'ᵀ V x'] = zᵀ [A B]ᵀ V [A B] z + tr(V diag σ²) zᵀ S z: where
    the model is uncertain, feedback costs more.
    """
    dx = len(model.A)
    F = np.concatenate([model.A, model.B], axis=1)
    C = np.zeros((F.shape[1],) * 2)
    C[:dx, :dx], C[dx:, dx:] = Q, R
    V = np.array(Q)
    K = np.zeros((F.shape[1] - dx, dx))
    for _ in range(steps):
        H = C + F.T @ V @ F + np.sum(np.diag(V) * model.noise) * model.S
        K = -np.linalg.solve(H[dx:, dx:], H[dx:, :dx])
        V = H[:dx, :dx] + H[:dx, dx:] @ K
        V = 0.5 * (V + V.T)
        if not np.isfinite(V).all() or np.abs(V).max() > 1e12 * (1.0 + np.abs(Q).max()):
            break
    return K
