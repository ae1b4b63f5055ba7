"""The hyperparameters of a Gaussian process by the marginal likelihood (Rasmussen & Williams 2006, eq. 5.8 and 5.9).

The kernel is k(ξ, ξ') = s² exp(−½ Σ_d (ξ_d − ξ'_d)² / l_d²), the noise has variance σ². Inputs and targets have
deviation 1, so one set of bounds serves every system: they keep the signal-to-noise ratio, and with it the condition of
the kernel matrix, within what float64 can factor (PILCO penalises the same quantities, Deisenroth's thesis sec. 2.4).

Points are padded to a few sizes, so that refits on growing data share their compiled code; padding changes no digit but
rounding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tinygp
from jaxtyping import Float
from tinygp import kernels, transforms

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree

LENGTHSCALES = (0.05, 100.0)
"""Bounds of a lengthscale, in deviations of the input."""

SIGNALS = (0.05, 30.0)
"""Bounds of the signal s, in deviations of the target."""

MOST_NOISE = 1.5
"""Largest noise σ, in deviations of the target."""

_SIZES = np.array([32, 64, 96, 128, 192, 256, 384, 512, 768])
_FAILED = 1e25  # the objective where it is not finite: the line search turns back


@pytree
class Hyperparameters:
    """Lengthscales, signal and noise, as standard deviations in normalised units; one row for each output.

    Args:
        lengthscales: l of each input.
        signal: s, the deviation of the function around its prior mean.
        noise: σ.
    """

    lengthscales: Float[Array, "*dx df"]
    signal: Float[Array, "*dx"]
    noise: Float[Array, "*dx"]

    def to_logarithms(self) -> Float[Array, "*dx df+2"]:
        """Return log [l, s, σ]."""
        return jnp.log(jnp.concatenate([self.lengthscales, self.signal[..., None], self.noise[..., None]], axis=-1))

    @classmethod
    def of_logarithms(cls, logarithms: Float[Array, "*dx df+2"]) -> "Hyperparameters":
        """Return the hyperparameters with the logarithms [l, s, σ]."""
        values = jnp.exp(logarithms)
        return cls(values[..., :-2], values[..., -2], values[..., -1])

    @property
    def kernel(self) -> kernels.Kernel:
        """The kernel of one output, tinygp's."""
        return self.signal**2 * transforms.Linear(1.0 / self.lengthscales, kernels.ExpSquared())


class LikelihoodFit(NamedTuple):
    """The hyperparameters of one output, and how their search ended."""

    hyperparameters: Hyperparameters
    loss: float  # negative log marginal likelihood, nats
    converged: bool
    evaluations: int


def pad_size(n: int, most: int) -> int:
    """Return the size to which n points are padded: the next of a few, at most `most`."""
    fitting = _SIZES[n <= _SIZES]
    size = int(fitting[0]) if len(fitting) else -(-n // 256) * 256
    return max(n, min(size, most))


def pad_rows(array: Float[np.ndarray, "n *rest"], size: int) -> Float[np.ndarray, "size *rest"]:
    """Return the array with rows of zeros up to `size` (NumPy)."""
    return np.pad(array, [(0, size - len(array)), *[(0, 0)] * (array.ndim - 1)])


@jax.jit
def evaluate_likelihood(
    logarithms: Float[Array, "p"], inputs: Float[Array, "n df"], targets: Float[Array, "n"], present: Float[Array, "n"]
) -> tuple[Float[Array, ""], Float[Array, "p"]]:
    """Return the negative log marginal likelihood of one output, and its gradient for log [l, s, σ].

    The gradient is −½ tr((ααᵀ − K⁻¹) ∂K) (Rasmussen & Williams 2006, eq. 5.9), where the sums over pairs of points
    that the lengthscales need are products of matrices: half the time of differentiating through the factor.

    Args:
        present: 1 for points, 0 for padding, whose targets are 0.
    """
    h = Hyperparameters.of_logarithms(logarithms)
    diagonal = jnp.where(present > 0, h.noise**2, 1.0)
    K = h.kernel(inputs, inputs) * present * present[:, None]  # padding is independent of all points
    process = tinygp.GaussianProcess(h.kernel, inputs, diag=diagonal, covariance_value=K + jnp.diag(diagonal))
    padding = 0.5 * np.log(2.0 * np.pi) * jnp.sum(1.0 - present)  # each padded target has the density of N(0; 0, 1)
    loss = -process.log_probability(targets) - padding

    half = process.solver.solve_triangular(jnp.eye(len(inputs)))  # L⁻¹
    alpha = half.T @ (half @ targets)
    G = 0.5 * (half.T @ half - jnp.outer(alpha, alpha))
    A = G * K
    Z = inputs / h.lengthscales
    lengthscales = 2.0 * (jnp.sum(A, axis=1) @ Z**2 - jnp.sum(Z * (A @ Z), axis=0))
    noise = 2.0 * jnp.sum(jnp.diagonal(G) * h.noise**2 * present)
    return loss, jnp.concatenate([lengthscales, jnp.array([2.0 * jnp.sum(A), noise])])


def fit_hyperparameters(
    inputs: Float[np.ndarray, "n df"],
    targets: Float[np.ndarray, "n"],
    starts: Sequence[Hyperparameters],
    noise_floor: float,
    iterations: int,
    most: int,
) -> LikelihoodFit | None:
    """Return the best local optimum of the marginal likelihood of one output, by L-BFGS-B from each start.

    Args:
        noise_floor: the smallest noise, in deviations of the target.
        iterations: of each search.
        most: the largest size to pad to.

    Returns:
        The fit of the lowest loss; None where the likelihood is finite at no start.
    """
    from scipy.optimize import minimize

    size = pad_size(len(inputs), most)
    data = pad_rows(inputs, size), pad_rows(targets, size), pad_rows(np.ones(len(inputs)), size)

    def objective(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = evaluate_likelihood(logarithms, *data)
        gradient = np.asarray(gradient)
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            return _FAILED, np.zeros_like(gradient)
        return float(loss), gradient

    noises = (noise_floor, max(MOST_NOISE, 10.0 * noise_floor))
    bounds = np.log([*[LENGTHSCALES] * inputs.shape[1], SIGNALS, noises])
    best = None
    for start in starts:
        first = np.clip(np.asarray(start.to_logarithms()), *bounds.T)
        options = {"maxiter": iterations, "ftol": 1e-8, "gtol": 1e-3}
        found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        if found.fun < _FAILED and (best is None or found.fun < best.loss):
            hyperparameters = jax.tree.map(np.asarray, Hyperparameters.of_logarithms(found.x))
            best = LikelihoodFit(hyperparameters, float(found.fun), found.status != 1, int(found.nfev))
    return best
