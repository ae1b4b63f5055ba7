"""The noise of recorded states: how large it is, and how it correlates the errors of predictions.

A recorded state is y_t = x_t + v_t, v ~ N(0, R), of a system x_{t+1} = f(x_t, u_t) + w_{t+1}, w ~ N(0, Q). A window is
predicted from its first recorded state, so its error after h steps is, to first order,

    r_h = v_h − Φ(h, 0) v_0 + Σ_{j=1..h} Φ(h, j) w_j,    Φ(h, j) = F_{h−1} … F_j,

with the slopes F of f. The errors of a window are correlated, and so are those of neighbours, which share a recorded
state. R and Q are diagonal and found from the second moments of the errors, which are linear in them; the errors are
then whitened by the Cholesky factor of their covariance, which is block tridiagonal over the windows.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import Bool, Float

_PASSES = 3
"""How often the moments are weighted anew by their variances."""

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
) -> NoiseSizes:
    """Find R and Q from the products r_g r_h of the errors at two steps of a window, by weighted least squares.

    Args:
        errors: of the predictions, zero where masked.
        scales: typical changes of the entries.
        surplus: factor on the variances for the parameters that were fitted to the same errors, n / (n − dp).
    """
    H, ds = errors.shape[1:]
    factors, floor = propagation.factors, (_FLOOR * scales) ** 2
    pairs = [(g, h) for g in range(H) for h in range(g, H)]
    rows, moments, counts, where = [], [], [], []
    for g, h in pairs:
        count = max(int(mask[:, h].sum()), 1)
        both = (factors[:, g] * factors[:, h]).sum(axis=0) / count  # (J, ds, ds)
        R = both[0] + (np.eye(ds) if g == h else 0.0)
        rows.append(np.concatenate([R, both[1:].sum(axis=0)], axis=1))
        moments.append(surplus * (errors[:, g] * errors[:, h]).sum(axis=0) / count)
        counts.append(count)
        where.append((g, h))
    design, target = np.stack(rows), np.stack(moments)  # (pairs, ds, 2 ds), (pairs, ds)
    diagonal = {g: i for i, (g, h) in enumerate(where) if g == h}
    variances = np.maximum(target[list(diagonal.values())], floor)  # (H, ds)
    sizes = np.zeros(2 * ds)
    for _ in range(_PASSES):
        product = np.stack([np.sqrt(variances[g] * variances[h]) for g, h in where])
        weights = np.sqrt(np.array(counts))[:, None] / product
        unit = np.concatenate([scales, scales]) ** 2
        A = (design * weights[..., None] * unit).reshape(-1, 2 * ds)
        size = np.linalg.norm(A, axis=0)
        size = np.where(size > 0, size, 1.0)
        found, _ = scipy.optimize.nnls(A / size, (target * weights).ravel(), maxiter=100 * len(size))
        sizes = found / size * unit
        predicted = np.stack([design[diagonal[g]] @ sizes for g in range(H)])
        variances = np.maximum(predicted, floor)
    return NoiseSizes(sizes[:ds], np.maximum(sizes[ds:], floor))


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
