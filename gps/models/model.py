"""The protocols of a global model of the dynamics, a model of x' given z = [x; u] that holds everywhere.

A model is an immutable JAX pytree. Except for `refit`, its methods are JAX functions of one state and one action, to be
used under `vmap`, `scan` and `jit`: a planner, a policy trained through the model and a rollout all map them as they
need.
"""

from typing import Protocol, Self

from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array
from gps.dynamics.prior import Transitions


class PlanningModel(Protocol):
    """The part of a model that a planner by linearisation needs."""

    @property
    def deviations(self) -> Float[Array, "dz"]:
        """Standard deviation of each entry of z in the data: the planner's unit of length."""

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return the slope F and the offset c of x' = F [x; u] + c around [x; u].

        The planner takes F [x; u] + c for the prediction at [x; u].
        """


class GlobalModel(Protocol):
    """A model of the dynamics that is fitted to transitions and predicts the next state anywhere."""

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the model that has also seen `transitions`. It is deterministic in `seed`."""

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the expected next state."""

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state, with the model's noise and, if it has any, its own uncertainty."""

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return the slope F and the offset c of x' = F [x; u] + c around [x; u], where F [x; u] + c is the mean."""


class MomentMatching(Protocol):
    """A model that propagates a Gaussian over z analytically."""

    def moments(
        self, mean: Float[Array, "dz"], covariance: Float[Array, "dz dz"]
    ) -> tuple[Float[Array, "dx"], Float[Array, "dx dx"], Float[Array, "dz dx"]]:
        """Return the mean of x', its covariance, and the covariance of z with x', for z ~ N(mean, covariance)."""
