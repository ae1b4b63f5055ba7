"""Exploration noise."""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from gps.errors import PolicyError
from gps.sampling.policy import Policy


def draw_noise(
    policy: Policy, samples: int, smoothing: float, rng: np.random.Generator
) -> Float[np.ndarray, "M N T du"]:
    """Draw noise with the policy's covariances, white or smoothed in time.

    Args:
        smoothing: standard deviation, in time steps, of the Gaussian filter over each episode's noise; 0 for white.
            The filtered noise is scaled back to unit variance at every step, so that smoothing changes how
            the noise moves and not how large it is.

    Raises:
        PolicyError: if a covariance is neither zero nor positive definite.
    """
    covariance = np.asarray(policy.covariance)
    M, T, du, _ = covariance.shape
    white = rng.standard_normal((M, samples, T, du))
    if smoothing > 0:
        # The filter's rows have the variance of the filtered noise at every step.
        variance = np.sum(gaussian_filter1d(np.eye(T), smoothing, axis=0, mode="constant") ** 2, axis=1)
        white = gaussian_filter1d(white, smoothing, axis=2, mode="constant")
        white /= np.sqrt(variance)[:, None]
    still = ~covariance.any(axis=(-1, -2), keepdims=True)  # a covariance of zero does not explore
    factors = np.where(still, 0.0, _factorise(np.where(still, np.eye(du), covariance)))
    return np.einsum("mtij,mntj->mnti", factors, white)


def make_filter(T: int, smoothing: float) -> Float[np.ndarray, "T T"]:
    """The matrix that makes smoothed noise of unit variance from T independent numbers; see `draw_noise`."""
    if smoothing == 0:
        return np.eye(T)
    response = gaussian_filter1d(np.eye(T), smoothing, axis=0, mode="constant")
    return response / np.sqrt(np.sum(response**2, axis=1, keepdims=True))


def _factorise(covariance: Float[np.ndarray, "M T du du"]) -> Float[np.ndarray, "M T du du"]:
    """The Cholesky factors; PolicyError where a covariance has none."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(covariance)[..., 0]
        m, t = np.unravel_index(least.argmin(), least.shape)
        raise PolicyError(
            f"the covariance of the policy's noise is not positive definite: condition {m}, step {t}, with the least "
            f"eigenvalue {least[m, t]:.3g}"
        ) from None
