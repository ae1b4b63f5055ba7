"""The protocol of a prior over local dynamics, made from past rollouts.

A prior is an immutable object. `fit` fits the local dynamics of new samples under it, and returns the prior that has
also seen them. Whether it sees them before or after the fit is its own business: a mixture describes where the samples
are, and learns from them first; a global model is trained on the iterations before, and learns from them afterwards.

A prior whose belief is a normal-inverse-Wishart of [x; u; x'] at each step implements `refit` and `at`, and inherits
`fit`. Any other one implements `refit` and `fit`.
"""

from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from jaxtyping import Bool, Float

from gps.dynamics.belief import NormalInverseWishart, Transitions
from gps.dynamics.regression import fit_dynamics
from gps.linear_gaussian.types import LinearDynamics
from gps.records import ModelRecord

__all__ = ["DynamicsPrior", "LocalFit", "NormalInverseWishart", "Transitions"]


class LocalFit(NamedTuple):
    """Local dynamics, and the prior that has also seen their samples."""

    dynamics: LinearDynamics
    prior: Any  # of the type of the prior that made the fit


class DynamicsPrior(Protocol):
    """A prior over local dynamics."""

    @property
    def stored_type(self) -> Any:
        """The type by which the prior is read from a stored state; a generic prior adds its type arguments."""
        return type(self)

    def restore(self, stored: Self) -> Self:
        """Return a prior that was read from a file, with what this one has and cannot be stored (a simulator)."""
        return stored

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the prior that has also seen `transitions`. It is deterministic in `seed`."""

    def at(self, transitions: Transitions) -> NormalInverseWishart | None:
        """The belief around the samples of each step; None while nothing is known."""
        return None

    def believe(self, transitions: Transitions, seed: int) -> NormalInverseWishart | None:
        """The belief around samples that the prior may see first; None if it has none of this form."""
        return self.refit(transitions, seed).at(transitions)

    def fit(
        self,
        states: Float[np.ndarray, "M N T dx"],
        actions: Float[np.ndarray, "M N T du"],
        mask: Bool[np.ndarray, "M N T"],
        seed: int,
        ridge: float = 1e-6,
        center: Literal["posterior", "sample"] = "posterior",
        uncertainty: Float[np.ndarray, "M S d d"] | None = None,
    ) -> LocalFit:
        """Fit local dynamics for each condition and step. It is deterministic in `seed`.

        Unless a prior has its own way, it sees the samples first, and its belief around them is that of `fit_dynamics`,
        which says what the arguments are.
        """
        transitions = Transitions.of(states, actions, mask)
        seen = self.refit(transitions, seed)
        dynamics = fit_dynamics(states, actions, mask, seen.at(transitions), ridge, center, uncertainty)
        return LocalFit(dynamics, seen)

    def make_record(self) -> ModelRecord | None:
        """The summary that an iteration's record keeps for the views, or None."""
        return None
