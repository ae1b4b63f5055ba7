"""What a global model believes about its own slopes: their covariance, one output at a time."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float

from gps.backend import Array, jnp
from gps.models.model import GlobalModel


@runtime_checkable
class SlopeBelief(GlobalModel, Protocol):
    """A global model that says how sure it is of its slopes: what the prior of a local regression needs."""

    def slope_covariance(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx dz dz"]:
        """Return the covariance of each row of the slope F at [x; u]: of ∂x'_i/∂z for each output i (JAX)."""


def slope_spread(slopes: Float[Array, "E dx dz"]) -> Float[Array, "dx dz dz"]:
    """Return the covariance of each output's slopes over the E ≥ 2 members of an ensemble (JAX).

    E members span E − 1 directions, and in all others their covariance would be zero: perfect knowledge. So a share
    1/E of it is spread over the entries, by their own variances: ((E − 1) S + diag S) / E.
    """
    E = len(slopes)
    deviation = slopes - jnp.mean(slopes, axis=0)
    S = jnp.einsum("eij,eik->ijk", deviation, deviation) / (E - 1)
    return ((E - 1) * S + S * jnp.eye(S.shape[-1])) / E
