"""The transitions of rollouts, and a belief about their Gaussian at each step."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class NormalInverseWishart(NamedTuple):
    """The prior belief about a Gaussian's mean and covariance, for each condition and step.

    Args:
        mean: μ0.
        scatter: Φ, the prior's sum of squares: `degrees` times its covariance.
        strength: m, the weight of the prior mean, in samples.
        degrees: n0, the weight of the prior covariance, in samples.
    """

    mean: Float[np.ndarray, "M T-1 d"]
    scatter: Float[np.ndarray, "M T-1 d d"]
    strength: Float[np.ndarray, "M T-1"]
    degrees: Float[np.ndarray, "M T-1"]


class Transitions(NamedTuple):
    """The joint points [x; u; x'] of rollouts; the mask is False after the end of an episode."""

    points: Float[np.ndarray, "M N T-1 d"]
    mask: Bool[np.ndarray, "M N T-1"]

    @classmethod
    def of(cls, states: np.ndarray, actions: np.ndarray, mask: np.ndarray) -> "Transitions":
        """Make them from states (M, N, T, dx), actions (M, N, T, du) and their mask (M, N, T)."""
        points = np.concatenate([states[:, :, :-1], actions[:, :, :-1], states[:, :, 1:]], axis=-1)
        return cls(points, mask[:, :, :-1] & mask[:, :, 1:])
