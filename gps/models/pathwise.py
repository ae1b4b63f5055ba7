"""Whole functions drawn from a Gaussian process by pathwise conditioning (Wilson et al. 2020, eq. 13; Matheron's rule).

A draw of the prior is a sum of random Fourier features, φ(ξ)ᵀ w; a data-dependent term then moves it to the posterior,

    f(ξ) = φ(ξ)ᵀ w + k(ξ, P) v,   v = M (y − φ(P) w − ε),   ε ~ N(0, σ² I).

Each draw has frequencies of its own, so that the mean and the covariance over draws are those of the process, whatever
the number of features; a single draw is the closer to Gaussian the more it has. The result is smooth, and it is the
same function at each call, which makes an objective over particles deterministic.

A rollout's gradient needs of each step only the slope ∂f/∂ξ, a dx × df matrix. It is computed along with the value, in
little more time, so that nothing of the size of the points is kept for the way back.
"""

from typing import TYPE_CHECKING, Any

from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.features import Differences, Encoding

if TYPE_CHECKING:
    from gps.models.gaussian_process import GaussianProcess

_QUARTER = 1.57079632673412561417, 6.07710050650619224932e-11
"""π/2 in two parts, the first with so few digits that a multiple of it is exact."""

_SINE = (
    1.58962301576546568060e-10, -2.50507477628578072866e-8, 2.75573136213857245213e-6, -1.98412698295895385996e-4,
    8.33333333332211858878e-3, -1.66666666666666307295e-1,
)  # fmt: skip
_COSINE = (
    -1.13585365213876817300e-11, 2.08757008419747316778e-9, -2.75573141792967388112e-7, 2.48015872888517045348e-5,
    -1.38888888888730564116e-3, 4.16666666666665929218e-2,
)  # fmt: skip

FREQUENCIES = 128
"""Random frequencies of each draw; each gives a sine and a cosine."""


@pytree
class PathwiseFunction:
    """x' = x + mean change + deviation ∘ (B ξ + f(ξ)) for one f. A `gps.models.model.Function`.

    Args:
        noise: σ of each target, of the system.
        slopes: B, of the prior mean.
        scales: 1 / l.
        frequencies: ω of unit lengthscales, shared by the outputs; transposed.
        features: w of the sines and of the cosines, times the features' amplitude.
        coordinates: P, transposed.
        updates: v, times the signal's variance.
    """

    encoding: Encoding
    differences: Differences
    noise: Float[Array, "*count dx"]
    slopes: Float[Array, "*count dx df"]
    scales: Float[Array, "*count dx df"]
    frequencies: Float[Array, "*count df m"]
    features: Float[Array, "*count dx 2 m"]
    coordinates: Float[Array, "*count df n"]
    updates: Float[Array, "*count dx n"]

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the next state; with a draw of the system's noise if there is a key (JAX)."""
        inputs = self.encoding(x, u)
        parts = self.scales, self.frequencies, self.features, self.coordinates, self.updates
        target = self.slopes @ inputs + evaluate_path(inputs, *parts)
        if key is not None:
            target = target + self.noise * jax.random.normal(key, target.shape)
        return self.differences.decode(x, target)


def _evaluate(
    inputs: Float[Array, "df"],
    scales: Float[Array, "dx df"],
    frequencies: Float[Array, "df m"],
    features: Float[Array, "dx 2 m"],
    coordinates: Float[Array, "df n"],
    updates: Float[Array, "dx n"],
) -> tuple[Float[Array, "dx"], Float[Array, "dx df"]]:
    """Return f(ξ) and ∂f/∂ξ of a drawn function without its prior mean."""
    phase = (scales * inputs) @ frequencies
    sine, cosine = evaluate_sine_and_cosine(phase)
    prior = jnp.sum(features[:, 0] * sine + features[:, 1] * cosine, axis=1)
    by_phase = features[:, 0] * cosine - features[:, 1] * sine

    # Summed input by input: loops over the points are fast, loops over the few inputs within them are not.
    terms = [((inputs[d] - coordinates[d]) * scales[:, d, None]) ** 2 for d in range(len(inputs))]
    weighted = updates * jnp.exp(-0.5 * sum(terms))
    update = jnp.sum(weighted, axis=1)
    pull = update[:, None] * inputs - weighted @ coordinates.T
    return prior + update, scales * (by_phase @ frequencies.T) - scales**2 * pull


def evaluate_sine_and_cosine(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Return sin x and cos x to 1e-15 where |x| is below 1e5 (JAX), several times faster than XLA on a CPU.

    XLA calls a scalar function of the C library for each number. Here x = k π/2 + r, with |r| at most π/4, and Cephes'
    polynomials of r (Moshier 1989) are computed for many numbers at a time. There is no derivative.
    """
    k = jnp.round(x * (2.0 / jnp.pi))
    r = (x - k * _QUARTER[0]) - k * _QUARTER[1]
    square = r * r
    sine = r + r * square * _sum_powers(square, _SINE)
    cosine = 1.0 - 0.5 * square + square * square * _sum_powers(square, _COSINE)
    turns = k.astype(jnp.int32)
    odd = (turns & 1) == 1
    return (
        jnp.where(odd, cosine, sine) * jnp.where((turns & 2) == 0, 1.0, -1.0),
        jnp.where(odd, sine, cosine) * jnp.where(((turns + 1) & 2) == 0, 1.0, -1.0),
    )


def _sum_powers(x: Array, coefficients: tuple[float, ...]) -> Array:
    total = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


@jax.custom_jvp
def evaluate_path(inputs: Float[Array, "df"], *parts: Float[Array, "..."]) -> Float[Array, "dx"]:
    """Return f(ξ) of a drawn function without its prior mean; the parts are those of `PathwiseFunction` (JAX)."""
    return _evaluate(inputs, *parts)[0]


def _differentiate_path(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """The derivative of `evaluate_path`: by the inputs through the slope; by the parts, which is rare, as JAX does."""
    if all(isinstance(change, SymbolicZero) for change in tangents[1:]):
        value, slope = _evaluate(*primals)
        return value, slope @ tangents[0]
    changes = tuple(jnp.zeros(change.shape) if isinstance(change, SymbolicZero) else change for change in tangents)
    value, tangent = jax.jvp(lambda *arguments: _evaluate(*arguments)[0], primals, changes)
    return value, tangent


evaluate_path.defjvp(_differentiate_path, symbolic_zeros=True)


def draw_functions(
    process: "GaussianProcess", key: PRNGKeyArray, count: int, frequencies: int = FREQUENCIES
) -> PathwiseFunction:
    """Return `count` functions from the posterior of a process: a batch with a leading axis."""
    h = process.hyperparameters
    n, df = process.points.shape
    dx = len(h.noise)

    def draw(key: PRNGKeyArray) -> PathwiseFunction:
        first, second, third = jax.random.split(key, 3)
        omega = jax.random.normal(first, (df, frequencies))  # the spectrum of exp(−½ r²) is N(0, I)
        # sin² + cos² = 1, so the features have the variance s² together.
        w = jax.random.normal(second, (dx, 2, frequencies)) * h.signal[:, None, None] / jnp.sqrt(frequencies)
        phase = jnp.einsum("nd,ad,dm->anm", process.points, 1.0 / h.lengthscales, omega)
        prior = jnp.einsum("anm,am->an", jnp.sin(phase), w[:, 0]) + jnp.einsum("anm,am->an", jnp.cos(phase), w[:, 1])
        noise = jax.random.normal(third, (dx, n))
        if process.shares is None:
            prior, moved = prior + h.noise[:, None] * noise, jnp.zeros((dx, n))
        else:
            moved = jnp.einsum("aji,aj->ai", process.whiteners, process.shares * noise)
        update = process.weights - jnp.einsum("aij,aj->ai", process.precisions, prior) - moved
        return PathwiseFunction(
            process.encoding,
            process.differences,
            h.noise,
            process.slopes,
            1.0 / h.lengthscales,
            omega,
            w,
            jnp.asarray(process.points).T,
            h.signal[:, None] ** 2 * update,
        )

    return jax.vmap(draw)(jax.random.split(key, count))
