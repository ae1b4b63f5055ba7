"""Whole functions drawn from a Gaussian process by pathwise conditioning (Wilson et al. 2020, eq. 13; Matheron's rule).

A draw of the prior is a sum of random Fourier features, φ(ξ)ᵀ w; a data-dependent term then moves it to the posterior,

    f(ξ) = φ(ξ)ᵀ w + k(ξ, P) v,   v = M (y − φ(P) w − ε),   ε ~ N(0, σ² I).

Each draw has frequencies of its own, so that the mean and the covariance over draws are those of the process, whatever
the number of features; a single draw is the closer to Gaussian the more it has. The result is smooth, and it is the
same function at each call, which makes an objective over particles deterministic.
"""

from typing import TYPE_CHECKING

from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.features import Differences, Encoding

if TYPE_CHECKING:
    from gps.models.gaussian_process import GaussianProcess

FREQUENCIES = 128
"""Random frequencies of each draw; each gives a sine and a cosine."""


@pytree
class PathwiseFunction:
    """x' = x + mean change + deviation ∘ (B ξ + f(ξ)) for one f. A `gps.models.model.Function`.

    Args:
        noise: σ of each target, of the system.
        slopes: B, of the prior mean.
        scales: 1 / l.
        frequencies: ω of unit lengthscales, shared by the outputs.
        features: w of the sines and of the cosines, times the features' amplitude.
        points: P.
        updates: v, times the signal's variance.
    """

    encoding: Encoding
    differences: Differences
    noise: Float[Array, "*count dx"]
    slopes: Float[Array, "*count dx df"]
    scales: Float[Array, "*count dx df"]
    frequencies: Float[Array, "*count m df"]
    features: Float[Array, "*count dx 2 m"]
    points: Float[Array, "*count n df"]
    updates: Float[Array, "*count dx n"]

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the next state; with a draw of the system's noise if there is a key (JAX)."""
        inputs = self.encoding(x, u)
        phase = (self.scales * inputs) @ self.frequencies.T
        prior = jnp.sum(self.features[:, 0] * jnp.sin(phase) + self.features[:, 1] * jnp.cos(phase), axis=-1)
        distance = (inputs - self.points) * self.scales[:, None]
        k = jnp.exp(-0.5 * jnp.sum(distance**2, axis=-1))
        target = self.slopes @ inputs + prior + jnp.sum(self.updates * k, axis=-1)
        if key is not None:
            target = target + self.noise * jax.random.normal(key, target.shape)
        return self.differences.decode(x, target)


def draw_functions(
    process: "GaussianProcess", key: PRNGKeyArray, count: int, frequencies: int = FREQUENCIES
) -> PathwiseFunction:
    """Return `count` functions from the posterior of a process: a batch with a leading axis."""
    h = process.hyperparameters
    n, df = process.points.shape
    dx = len(h.noise)

    def draw(key: PRNGKeyArray) -> PathwiseFunction:
        first, second, third = jax.random.split(key, 3)
        omega = jax.random.normal(first, (frequencies, df))  # the spectrum of exp(−½ r²) is N(0, I)
        # sin² + cos² = 1, so the features have the variance s² together.
        w = jax.random.normal(second, (dx, 2, frequencies)) * h.signal[:, None, None] / jnp.sqrt(frequencies)
        phase = jnp.einsum("nd,ad,md->anm", process.points, 1.0 / h.lengthscales, omega)
        prior = jnp.einsum("anm,am->an", jnp.sin(phase), w[:, 0]) + jnp.einsum("anm,am->an", jnp.cos(phase), w[:, 1])
        noisy = prior + h.noise[:, None] * jax.random.normal(third, (dx, n))
        update = process.weights - jnp.einsum("aij,aj->ai", process.precisions, noisy)
        return PathwiseFunction(
            process.encoding,
            process.differences,
            h.noise,
            process.slopes,
            1.0 / h.lengthscales,
            omega,
            w,
            process.points,
            h.signal[:, None] ** 2 * update,
        )

    return jax.vmap(draw)(jax.random.split(key, count))
