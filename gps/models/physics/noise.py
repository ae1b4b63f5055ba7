"""The noise of recorded states: how large it is, and how it correlates the errors of predictions.

A recorded state is y_t = x_t + v_t, v ~ N(0, R), of a system x_{t+1} = f(x_t, u_t) + w_{t+1}, w ~ N(0, Q). A window is
predicted from its first recorded state, so its error after h steps is, to first order,

    r_h = v_h − Φ(h, 0) v_0 + Σ_{j=1..h} Φ(h, j) w_j,    Φ(h, j) = F_{h−1} … F_j,

with the slopes F of f. The errors of a window are correlated, and so are those of neighbours, which share a recorded
state. R and Q are diagonal and found by their likelihood; the errors are then whitened by the Cholesky factor of their
covariance, which is block tridiagonal over the windows.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import Bool, Float

_PASSES = 8
"""The most steps of the scoring."""

_SETTLED = 0.02
"""The scoring ends when no variance changes by more than this share."""

_MOST_WINDOWS = 100
"""More windows than these are thinned to find the sizes of the noise."""

_SHRINK = 0.01
"""The least factor on a variance in one step: one that falls to zero could not rise again."""

_NEGLIGIBLE = 1e-5
"""Noise of the measurements below this share of the errors' variance counts as none."""

_FLOOR = 1e-8
"""The least noise, as a share of the changes of an entry: data of a simulator have none."""


class NoiseSizes(NamedTuple):
    """Variances of the noise of the ds determining entries of the state."""

    measurement: Float[np.ndarray, "ds"]  # R
    process: Float[np.ndarray, "ds"]  # Q


class Propagation(NamedTuple):
    """Φ(h, j) of each window, from after step j to after step h; zero for j > h, and where the window is shorter."""

    factors: Float[np.ndarray, "W H J ds ds"]  # h = 1..H, j = 0..H

    @classmethod
    def of(cls, slopes: Float[np.ndarray, "W H ds ds"], mask: Bool[np.ndarray, "W H"]) -> "Propagation":
        """Multiply the slopes F_0 … F_{H−1} of each window."""
        W, H, ds, _ = slopes.shape
        factors = np.zeros((W, H, H + 1, ds, ds))
        for h in range(H):
            if h:
                factors[:, h, : h + 1] = slopes[:, h, None] @ factors[:, h - 1, : h + 1]
            else:
                factors[:, 0, 0] = slopes[:, 0]
            factors[:, h, h + 1] = np.eye(ds)
        return cls(factors * mask[:, :, None, None, None])


def estimate_noise(
    errors: Float[np.ndarray, "W H ds"],
    mask: Bool[np.ndarray, "W H"],
    propagation: Propagation,
    scales: Float[np.ndarray, "ds"],
    surplus: float = 1.0,
    start: NoiseSizes | None = None,
) -> NoiseSizes:
    """Find the R and Q under which the errors of the windows are most likely, by Fisher scoring.

    The covariance of a window's errors is Σ_k θ_k V_k, linear in the variances θ = (R, Q). With S that of the present
    θ, scoring solves A θ = b for θ ≥ 0, A_kl = Σ tr(S⁻¹ V_k S⁻¹ V_l), b_k = Σ rᵀ S⁻¹ V_k S⁻¹ r (Harville 1977,
    section 4). Neighbouring windows count as independent here.

    Args:
        errors: of the predictions, zero where masked.
        scales: typical changes of the entries.
        surplus: factor on the variances for the parameters that were fitted to the same errors, n / (n − dp).
        start: sizes of the noise that are nearly right; None without any.
    """
    few = np.linspace(0, len(errors) - 1, min(len(errors), _MOST_WINDOWS)).round().astype(int)
    errors, mask, propagation = errors[few], mask[few], Propagation(propagation.factors[few])
    W, H, ds = errors.shape
    n, floor = H * ds, np.tile((_FLOOR * scales) ** 2, 2)
    parts = _list_components(propagation, mask)  # (W, n, K, c)
    K, c = parts.shape[2:]
    masked = np.repeat(~mask, ds, axis=1).reshape(W, n)
    spread = np.sqrt(surplus * (errors**2).sum(axis=(0, 1)) / max(mask.sum(), 1))
    sizes = np.tile(0.3 * spread**2, 2) if start is None else np.concatenate(start)
    sizes = np.maximum(sizes, np.maximum(_SHRINK**2 * np.tile(spread**2, 2), floor))
    for _ in range(_PASSES):
        weighted = (parts * np.sqrt(sizes)[:, None]).reshape(W, n, K * c)
        S = weighted @ weighted.swapaxes(1, 2)
        S[:, np.arange(n), np.arange(n)] += np.where(masked, 1.0, 1e-12 * floor.min())
        factors = np.linalg.cholesky(S)
        # in units of the present sizes, so that A is well scaled
        Z = np.linalg.solve(factors, np.concatenate([weighted, errors.reshape(W, n, 1)], axis=2))
        Z, r = Z[..., :-1], Z[..., -1]
        A = ((Z.swapaxes(1, 2) @ Z) ** 2).reshape(W, K, c, K, c).sum(axis=(0, 2, 4))
        b = surplus * ((r[:, None] @ Z)[:, 0] ** 2).reshape(W, K, c).sum(axis=(0, 2))
        root = np.linalg.cholesky(A + 1e-10 * np.trace(A) / K * np.eye(K))
        found, _ = scipy.optimize.nnls(root.T, scipy.linalg.solve_triangular(root, b, lower=True), maxiter=100 * K)
        before, sizes = sizes, np.maximum(sizes * np.clip(found, _SHRINK, 1.0 / _SHRINK), floor)
        if (np.abs(sizes - before) <= _SETTLED * sizes + _NEGLIGIBLE * np.tile(spread**2, 2)).all():
            break
    negligible = sizes[:ds] <= _NEGLIGIBLE * spread**2
    return NoiseSizes(np.where(negligible, 0.0, sizes[:ds]), sizes[ds:])


def _list_components(propagation: Propagation, mask: Bool[np.ndarray, "W H"]) -> Float[np.ndarray, "W n K c"]:
    """Return a factor G of each component V = G Gᵀ of the covariance of a window's errors, first R, then Q."""
    factors = propagation.factors  # (W, H, J, ds, ds)
    W, H, _, ds, _ = factors.shape
    parts = np.zeros((W, H, ds, 2 * ds, H + 1))
    for j in range(ds):
        parts[:, np.arange(H), j, j, np.arange(H)] = mask
    parts[..., :ds, H] = factors[:, :, 0]
    parts[..., ds:, :H] = factors[:, :, 1:].transpose(0, 1, 3, 4, 2)
    return parts.reshape(W, H * ds, 2 * ds, H + 1)


class Whitener(NamedTuple):
    """The inverse of the Cholesky factor of the errors' covariance, for windows in order.

    Args:
        inverses: L_w⁻¹, the diagonal blocks, over the stacked errors of a window.
        couplings: L_w⁻¹ C_w, with the block C_w before the diagonal; zero where a window follows none.
        coupled: True for each window with a coupling.
    """

    inverses: Float[np.ndarray, "W n n"]
    couplings: Float[np.ndarray, "W n n"]
    coupled: Bool[np.ndarray, "W"]

    @classmethod
    def of(
        cls,
        noise: NoiseSizes,
        propagation: Propagation,
        mask: Bool[np.ndarray, "W H"],
        follows: Bool[np.ndarray, "W"],
    ) -> "Whitener":
        """Factorise the covariance. The noise must be positive."""
        factors = propagation.factors
        W, H, _, ds, _ = factors.shape
        n = H * ds
        weights = np.concatenate([noise.measurement[None], np.repeat(noise.process[None], H, axis=0)])  # (J, ds)
        spread = (factors * np.sqrt(weights)[None, None, :, None, :]).transpose(0, 1, 3, 2, 4).reshape(W, n, -1)
        own = np.where(mask[..., None], noise.measurement, 1.0).reshape(W, n)
        covariances = spread @ spread.swapaxes(1, 2)
        covariances[:, np.arange(n), np.arange(n)] += own
        crossing = np.zeros((W, n, n))  # cov(r_w, r_{w−1}): the last error of the one before shares v_0
        crossing[:, :, n - ds :] = -(factors[:, :, 0] * noise.measurement).reshape(W, n, ds)
        coupled = follows & np.concatenate([[False], mask[:-1, -1]]) & bool(noise.measurement.any())
        inverses, couplings = np.empty((W, n, n)), np.zeros((W, n, n))
        for w in range(W):
            S = covariances[w]
            if coupled[w]:
                C = crossing[w] @ inverses[w - 1].T
                S = S - C @ C.T
            factor = np.linalg.cholesky(S)
            inverses[w] = scipy.linalg.solve_triangular(factor, np.eye(n), lower=True, check_finite=False)
            if coupled[w]:
                couplings[w] = inverses[w] @ C
        return cls(inverses, couplings, coupled)

    def whiten(self, errors: Float[np.ndarray, "W n m"]) -> Float[np.ndarray, "W n m"]:
        """Return L⁻¹ r for m vectors of errors: their covariance is the identity."""
        result = self.inverses @ errors
        for w in np.flatnonzero(self.coupled):
            result[w] -= self.couplings[w] @ result[w - 1]
        return result
