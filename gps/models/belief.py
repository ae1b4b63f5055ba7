"""What a global model believes at one point z = [x; u]: its prediction, its doubt about it, and the system's noise.

Any global model can say it by its drawn functions: how far they differ is its doubt, and what a call with a key adds is
the noise. A model that states the covariance of its slopes is a `SlopeBelief`; for any other one it is that of the
slopes of the drawn functions.
"""

from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.models.model import GlobalModel

DRAWS = 32
"""Functions drawn from a model: its doubt and its noise are known to an eighth."""

_SURE = 1e-9
"""A doubt whose variance is below this share of the noise is rounding: the model has none."""


@runtime_checkable
class SlopeBelief(GlobalModel, Protocol):
    """A global model that says how sure it is of its slopes: what the prior of a local regression needs."""

    def slope_covariance(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx dz dz"]:
        """Return the covariance of each row of the slope F at [x; u]: of ∂x'_i/∂z for each output i (JAX)."""


class PointBelief(NamedTuple):
    """The belief at a point."""

    value: Float[Array, "dx"]  # f(z)
    slope: Float[Array, "dx dz"]  # J
    noise: Float[Array, "dx"]  # variance of the system's noise
    doubt: Float[Array, "dx"]  # variance of what the model does not know of f(z)
    slope_covariances: Float[Array, "dx dz dz"]  # of each row of the slope

    def complete(self, least_noise: Float[Array, "dx"], spread: Float[Array, "dz"]) -> "PointBelief":
        """Return the belief with a floor under the noise, and with a doubt where the model has none.

        An output about which the drawn functions do not differ, as those of a single network, is given the belief that
        one sample would leave: a doubt as large as the noise, and slopes that explain as much over the spread.

        Args:
            least_noise: variance.
            spread: of the data, a standard deviation.
        """
        noise = jnp.maximum(self.noise, least_noise)
        explained = self.doubt + jnp.einsum("ijj,j->i", self.slope_covariances, spread**2)
        sure = explained <= _SURE * noise
        unit = noise[:, None, None] * jnp.diag(spread**-2.0)
        return self._replace(
            noise=noise,
            doubt=jnp.where(sure, noise, self.doubt),
            slope_covariances=jnp.where(sure[:, None, None], unit, self.slope_covariances),
        )


def believe_at(
    model: GlobalModel, functions: Any, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray
) -> PointBelief:
    """Return the belief of a model at one point (JAX).

    Args:
        functions: a batch of `DRAWS` functions that were drawn from the model.
    """
    z = jnp.concatenate([x, u])
    dx = len(x)
    drawn = jax.vmap(lambda function: function(x, u))(functions)
    noisy = jax.vmap(lambda function, key: function(x, u, key))(functions, jax.random.split(key, len(drawn)))
    if isinstance(model, SlopeBelief):
        covariances = model.slope_covariance(x, u)
    else:
        covariances = slope_spread(jax.vmap(lambda function: jax.jacfwd(partial(_call, function, dx))(z))(functions))
    slope, _ = model.linearise(x, u)
    noise = jnp.mean((noisy - drawn) ** 2, axis=0)
    return PointBelief(model.mean(x, u), slope, noise, jnp.var(drawn, axis=0, ddof=1), covariances)


def slope_spread(slopes: Float[Array, "E dx dz"]) -> Float[Array, "dx dz dz"]:
    """Return the covariance of each output's slopes over the E ≥ 2 members of an ensemble (JAX).

    E members span E − 1 directions, and in all others their covariance would be zero: perfect knowledge. So a share
    1/E of it is spread over the entries, by their own variances: ((E − 1) S + diag S) / E.
    """
    E = len(slopes)
    deviation = slopes - jnp.mean(slopes, axis=0)
    S = jnp.einsum("eij,eik->ijk", deviation, deviation) / (E - 1)
    return ((E - 1) * S + S * jnp.eye(S.shape[-1])) / E


def _call(function: Any, dx: int, z: Array) -> Array:
    return function(z[:dx], z[dx:])
