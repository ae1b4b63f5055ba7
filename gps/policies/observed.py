"""What a policy observes within a model: entries of the state, and references, which depend on the time step alone.

A model predicts the state. A policy that follows something needs to know where that is now: a *reference* r_t, such as
a point on a circle. It is known beforehand, so that no model learns it: an observation is

    o_t = [x_t; r_t][entries]

and a Gaussian over x_t is one over [x_t; r_t], in which r_t has no variance.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gps.backend import Array, jnp
from gps.linear_gaussian.types import pytree


@pytree
class Observed:
    """The observation as a function of the state and the step.

    Args:
        entries: the entry of [x; r] that each entry of the policy's observation is.
        references: r, in each step of an episode; dr may be 0. After its end the last row stays.
    """

    entries: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    references: Float[Array, "T dr"] = dataclasses.field(default_factory=lambda: np.zeros((1, 0)))

    @property
    def size(self) -> int:
        """The size do of an observation."""
        return len(self.entries)

    def __call__(self, states: Float[Any, "*lead dx"], t: Int[Any, "..."] | int) -> Float[Any, "*lead do"]:
        """Return the observations of states, at steps whose shape broadcasts to their leading axes (JAX)."""
        entries = np.array(self.entries, int)
        if not self.references.shape[1]:
            return states[..., entries]
        now = self.find_reference(t)
        return jnp.concatenate([states, jnp.broadcast_to(now, (*states.shape[:-1], now.shape[-1]))], axis=-1)[
            ..., entries
        ]

    def find_reference(self, t: Int[Any, "*lead"] | int) -> Float[Array, "*lead dr"]:
        """Return r at some steps (JAX)."""
        return jnp.asarray(self.references)[jnp.minimum(t, len(self.references) - 1)]

    def find_units(self, deviations: Float[np.ndarray, "dx"]) -> Float[np.ndarray, "do"]:
        """The deviation of each entry of the observation; 1 for a reference that is constant (NumPy).

        Args:
            deviations: of the state's entries; positive.
        """
        spread = np.asarray(self.references).std(axis=0)
        return np.concatenate([deviations, np.where(spread > 0, spread, 1.0)])[np.array(self.entries, int)]


NOTHING_OBSERVED = Observed(())
"""For a policy that is never rolled out in a model: no entries."""
