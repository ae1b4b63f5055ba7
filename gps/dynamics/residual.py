"""Bayesian regression of the residuals of a global model, for each condition and step.

A global model f predicts the N samples of a step with the residuals r_n = x'_n − f(z_n), z = [x; u]. Around their mean
z̄ the residuals are regressed on z, with a matrix-normal-inverse-Wishart prior (Minka 2000, "Bayesian linear
regression"; Levine & Abbeel 2014, sec. 3.2, is the same in the joint space of [x; u; x']):

    r = b + B (z − z̄) + w,      w ~ N(0, W),      W ~ IW(n0 W0, n0 + dx + 1),
    b_i | W ~ N(0, W_ii v_i / m),      row i of B | W ~ N(0, W_ii V_i / m),

where the model states all but m and n0: W0 is the variance of its noise, v_i = s_i² / W0_ii with its doubt s_i about
the value, and V_i = Σ_i / W0_ii with its covariance Σ_i of the slope of output i. The strength m scales that belief (1
takes the model at its word), and the degrees n0 say how many samples its noise is worth. With G_i = v_i 1 1ᵀ + D V_i Dᵀ
(N × N; the rows of D are z_n − z̄) and K_i = I + G_i / m, the posterior mean is

    b̂_i = v_i 1ᵀ K_i⁻¹ r_i / m,   B̂_i = V_i Dᵀ K_i⁻¹ r_i / m,   Ŵ = (n0 W0 + Rᵀ R) / (n0 + N),   R_i = K_i^(-1/2) r_i,

and the local dynamics are x' = f̄ + b̂ + (J + B̂) (z − z̄) + w, w ~ N(0, Ŵ), with f̄ the mean of f over the samples and
J its slope at z̄. No prior covariance is inverted, so a slope that is known exactly is no special case, nor is N = 0,
where F = J, c and W0 are the model's own. As m and n0 go to zero the fit tends to least squares of the residuals.

Where all v_i and all V_i are equal, all of this is exact, and is `fit_dynamics` under the normal-inverse-Wishart prior
with μ0 = [z̄; f(z̄)], strength m / v, Φ_zz = m V⁻¹, the regression J and n0 W0 on top. Where they differ (as those of a
Gaussian process per output do), no conjugate prior exists: each output then has its own regression, and W keeps its
off-diagonal entries from the whitened residuals of pairs of outputs.

The strength and the degrees are chosen by the marginal likelihood of all residuals of an iteration. That of one output
at one step is a multivariate t, p(r_i) = t_{n0+2}(0, n0/(n0+2) W0_ii K_i); outputs are taken as independent there.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

from gps.dynamics.belief import Transitions
from gps.linear_gaussian.linalg import symmetrize

LEAST, MOST = 1e-3, 1e4
"""The range of the strength and of the degrees."""

_TOLERANCE = 0.02
"""Tolerance of the searches in the logarithm: a strength is worth two digits."""

_GRID = 12
"""Points of the grid on which a search begins: the likelihood may have several maxima."""

_ROUNDS = 3
"""Number of alternating searches for strength and degrees."""


class ModelBelief(NamedTuple):
    """The predictions and the doubt of a global model for the samples of each condition and step, S = T − 1 steps."""

    values: Float[np.ndarray, "M N S dx"]  # f(z_n)
    points: Float[np.ndarray, "M S dz"]  # z̄, around which the dynamics are linear
    slopes: Float[np.ndarray, "M S dx dz"]  # J, at z̄
    noise: Float[np.ndarray, "M S dx"]  # W0 > 0, the variance of the system's noise at z̄
    doubt: Float[np.ndarray, "M S dx"]  # s², the variance of what the model does not know of f(z̄)
    slope_covariances: Float[np.ndarray, "M S dx dz dz"]  # Σ_i, at z̄
    at_points: Float[np.ndarray, "M S dx"]  # f(z̄), which stands for f̄ where there are no samples


class Trust(NamedTuple):
    """The trust in a prior: the strength of its slopes, and the degrees of freedom of its noise."""

    strength: float  # m, of the prediction, relative to the model's own belief
    degrees: float  # n0, of its noise, in samples


class Residuals(NamedTuple):
    """The residuals of a global model, in the eigenvectors Q of G_i = Q λ Qᵀ."""

    belief: ModelBelief
    deviations: Float[np.ndarray, "M S N dz"]  # D
    projected: Float[np.ndarray, "M S dx dz N"]  # V_i Dᵀ
    vectors: Float[np.ndarray, "M S dx N N"]  # Q
    values: Float[np.ndarray, "M S dx N"]  # λ ≥ 0
    rotated: Float[np.ndarray, "M S dx N"]  # Qᵀ r_i
    weight: Float[np.ndarray, "M S N"]  # 1 for a sample, 0 where masked
    mean: Float[np.ndarray, "M S dx"]  # of the residuals
    counts: Int[np.ndarray, "M S"]  # N of each step

    @classmethod
    def of(cls, transitions: Transitions, belief: ModelBelief) -> Self:
        """Measure the residuals of the transitions."""
        dx = belief.noise.shape[-1]
        mask = transitions.mask.swapaxes(1, 2)
        points = transitions.points.swapaxes(1, 2)
        dz = points.shape[-1] - dx
        deviations = np.where(mask[..., None], points[..., :dz] - belief.points[:, :, None], 0.0)
        residuals = np.where(mask[..., None], points[..., dz:] - belief.values.swapaxes(1, 2), 0.0)
        weight, count = mask.astype(float), mask.sum(axis=-1)
        v = belief.doubt / belief.noise
        V = belief.slope_covariances / belief.noise[..., None, None]
        projected = V @ deviations[:, :, None].swapaxes(-1, -2)
        G = (
            deviations[:, :, None] @ projected
            + v[..., None, None] * (weight[..., :, None] * weight[..., None, :])[:, :, None]
        )
        values, vectors = np.linalg.eigh(0.5 * (G + G.swapaxes(-1, -2)))
        rotated = np.einsum("msinj,msni->msij", vectors, residuals)
        mean = residuals.sum(axis=2) / np.maximum(count, 1)[..., None]
        return cls(belief, deviations, projected, vectors, np.maximum(values, 0.0), rotated, weight, mean, count)

    def log_likelihood(self, weights: Trust) -> float:
        """Return the logarithm of the marginal likelihood of all residuals under a prior with these weights."""
        from scipy.special import gammaln

        m, n0 = weights
        N, W0 = self.counts[..., None], self.belief.noise
        quadratic = (self.rotated**2 / (1.0 + self.values / m)).sum(axis=-1)
        shape = 0.5 * (n0 + 2.0 + N)
        terms = (
            gammaln(shape)
            - gammaln(0.5 * (n0 + 2.0))
            - 0.5 * N * np.log(np.pi * n0 * W0)
            - 0.5 * np.log1p(self.values / m).sum(axis=-1)
            - shape * np.log1p(quadratic / (n0 * W0))
        )
        return float(terms.sum())

    def choose_weights(self, strength: float | None = None, degrees: float | None = None) -> Trust:
        """Return the weights of the largest marginal likelihood, within `LEAST` and `MOST`; 1 where nothing is known.

        Strength and degrees are searched in turn, each in its logarithm, unless they are given.
        """
        m, n0 = (1.0 if given is None else given for given in (strength, degrees))
        for _ in range(_ROUNDS if self.counts.any() else 0):
            if strength is None:
                m = _maximise(partial(self._log_likelihood_of_logs, log_degrees=np.log(n0)))
            if degrees is None:
                n0 = _maximise(partial(self._log_likelihood_of_logs, np.log(m)))
        return Trust(m, n0)

    def _log_likelihood_of_logs(self, log_strength: float, log_degrees: float) -> float:
        return self.log_likelihood(Trust(np.exp(log_strength), np.exp(log_degrees)))

    def count_samples(self, strength: float) -> float:
        """Return how many samples the model's prediction is worth at this strength; 0 without samples.

        The N samples of a step decide a share s of what is fitted to them, the mean of λ / (m + λ) over the λ > 0. A
        prediction that is worth m' samples would leave them N / (N + m'), so m' = N (1 − s) / s. For the prior of
        `fit_dynamics` this is its strength.
        """
        counts = self.values > 1e-12 * self.values.max(initial=0.0)
        if not counts.any():
            return 0.0
        share = float((self.values[counts] / (strength + self.values[counts])).mean())
        return float(self.counts[self.counts > 0].mean()) * (1.0 - share) / share

    def fit(
        self, weights: Trust, center: Literal["posterior", "sample"] = "posterior"
    ) -> tuple[Float[np.ndarray, "M S dx dz"], Float[np.ndarray, "M S dx"], Float[np.ndarray, "M S dx dx"]]:
        """Return F, c and W of x' = F z + c + w at each step.

        Args:
            center: the point that the dynamics pass through: (z̄, f̄ + b̂), or the samples' mean (z̄, x̄').
        """
        m, n0 = weights
        belief, N = self.belief, self.counts[..., None]
        shrunk = 1.0 + self.values / m
        alpha = np.einsum("msinj,msij->msin", self.vectors, self.rotated / shrunk)  # K⁻¹ r
        b = belief.doubt / belief.noise * np.einsum("msn,msin->msi", self.weight, alpha) / m
        B = np.einsum("msizn,msin->msiz", self.projected, alpha) / m
        R = np.einsum("msinj,msij->msin", self.vectors, self.rotated / np.sqrt(shrunk))
        scatter = R @ R.swapaxes(-1, -2) + n0 * belief.noise[..., None] * np.eye(R.shape[2])
        known = self.weight[..., None] * belief.values.swapaxes(1, 2)
        f = np.where(N > 0, known.sum(axis=2) / np.maximum(N, 1), belief.at_points)
        F = belief.slopes + B
        passed = f + (b if center == "posterior" else self.mean)
        c = passed - np.einsum("msiz,msz->msi", F, belief.points)
        return F, c, np.asarray(symmetrize(scatter / (n0 + N[..., None])))


def _maximise(function: Callable[[float], float]) -> float:
    """Return the exponential of the maximiser of a function of a logarithm: the best of a grid, refined."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(np.log(LEAST), np.log(MOST), _GRID)
    best = int(np.argmax([function(log) for log in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = minimize_scalar(lambda log: -function(log), bounds=bounds, method="bounded", options={"xatol": _TOLERANCE})
    return float(np.exp(found.x if -found.fun >= function(grid[best]) else grid[best]))
