"""What a prior over local dynamics is: a normal-inverse-Wishart for each step, made from what was seen so far.

A prior is an immutable object. `refit` returns the prior that has also seen new rollouts; `at` says what it believes
about the joint Gaussian of [x; u; x'] at each step of each condition. Mixtures, Gaussian processes and neural models
all fit behind these two methods.
"""

from typing import NamedTuple, Protocol, Self

import numpy as np
from jaxtyping import Bool, Float

from gps.records import ModelRecord


class NormalInverseWishart(NamedTuple):
    """Prior belief about a Gaussian's mean and covariance, for each condition and step.

    `scatter` is the prior's sum of squares: `degrees` times its covariance. `strength` is how many samples the prior
    mean is worth.
    """

    mean: Float[np.ndarray, "M T-1 d"]
    scatter: Float[np.ndarray, "M T-1 d d"]
    strength: Float[np.ndarray, "M T-1"]
    degrees: Float[np.ndarray, "M T-1"]


class Transitions(NamedTuple):
    """The joint points [x; u; x'] of rollouts, and which of them happened."""

    points: Float[np.ndarray, "M N T-1 d"]
    mask: Bool[np.ndarray, "M N T-1"]

    @classmethod
    def of(cls, states: np.ndarray, actions: np.ndarray, mask: np.ndarray) -> "Transitions":
        """From states (M, N, T, dx), actions (M, N, T, du) and their mask (M, N, T)."""
        points = np.concatenate([states[:, :, :-1], actions[:, :, :-1], states[:, :, 1:]], axis=-1)
        return cls(points, mask[:, :, :-1] & mask[:, :, 1:])


class DynamicsPrior(Protocol):
    def refit(self, transitions: Transitions, seed: int) -> Self:
        """The prior that has also seen `transitions`."""

    def at(self, transitions: Transitions) -> NormalInverseWishart | None:
        """The belief around the samples of each step; None while nothing is known."""

    def make_record(self) -> ModelRecord | None:
        """What an iteration's record keeps of it, for the views; None for nothing."""
        return None
