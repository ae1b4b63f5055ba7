"""The moments of a Gaussian process whose inputs are Gaussian (Deisenroth & Rasmussen 2011, sec. 2.2; thesis 2.3).

For ξ ~ N(μ, S) and the squared-exponential kernel, the mean and covariance of the outputs, and their covariance with
the inputs, have closed forms. The covariance of outputs a and b is a sum over all pairs of points,

    Σ_ij W_ij E_ij,   E_ij = exp(A_i + B_j + u_iᵀ T v_j),   W = α_a α_bᵀ, less M where a = b,

of the only objects of size n × n. Two outputs need E alone: the sum is α_aᵀ E α_b, and its derivative takes the
products E [α_b, α_b ∘ V] and Eᵀ [α_a, α_a ∘ U]. One output needs G = W ∘ E, which is symmetric, so that its derivative
takes G [1, U] alone. The rules for derivatives keep these products and let E and G go; and the pairs of outputs are
taken in turn, so that one of them exists at a time.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.errors import ConfigError
from gps.linear_gaussian.linalg import invert_psd, symmetrize
from gps.models.features import StateTransforms

if TYPE_CHECKING:
    from gps.models.gaussian_process import GaussianProcess


def match_moments(
    process: "GaussianProcess", mean: Float[Array, "df"], covariance: Float[Array, "df df"]
) -> tuple[Float[Array, "dx"], Float[Array, "dx dx"], Float[Array, "dx df"]]:
    """Return the mean and the covariance of the targets, noise included, and E ∂target/∂ξ, for ξ ~ N(mean, covariance).

    The covariance of inputs and targets is `covariance` times the transposed mean slope (Stein's lemma), so that no
    inverse of `covariance` is needed: it may be singular.
    """
    process = jax.tree.map(jnp.asarray, process)  # the loop below indexes it by traced numbers
    h = process.hyperparameters
    offsets = process.points - mean
    centre, slope = jax.vmap(match_mean, (None, None, 0, 0, 0))(
        offsets, covariance, h.lengthscales, h.signal, process.weights
    )
    dx = len(centre)

    def take(output: Array) -> tuple[Array, Array]:
        return h.lengthscales[output], h.signal[output]

    def match_pair(pair: tuple[Array, Array]) -> Array:
        a, b = pair
        exponent = pair_logarithms(offsets, covariance, *take(a), *take(b))
        return sum_pairs(process.weights[a], process.weights[b], *exponent)

    def match_one(a: Array) -> Array:
        weights = jnp.outer(process.weights[a], process.weights[a]) - process.precisions[a]
        A, B, U, T, _ = pair_logarithms(offsets, covariance, *take(a), *take(a))
        return sum_symmetric(weights, 0.5 * (A + B), U, T)

    first, second = np.triu_indices(dx, 1)
    own = jax.lax.map(match_one, jnp.arange(dx))
    sums = jax.lax.map(match_pair, (jnp.asarray(first), jnp.asarray(second)))
    spread = jnp.diag(own).at[first, second].set(sums).at[second, first].set(sums) - jnp.outer(centre, centre)
    spread = spread + jnp.diag(h.signal**2 + h.noise**2)
    B = process.slopes
    mixed = B @ covariance @ slope.T
    spread = spread + mixed + mixed.T + B @ covariance @ B.T
    return B @ mean + centre, spread, B + slope


def match_mean(
    offsets: Float[Array, "n df"],
    covariance: Float[Array, "df df"],
    lengthscales: Float[Array, "df"],
    signal: Float[Array, ""],
    weights: Float[Array, "n"],
) -> tuple[Float[Array, ""], Float[Array, "df"]]:
    """Return E f and E ∂f of one output (thesis eq. 2.34 to 2.36 and 2.70)."""
    df = len(lengthscales)
    inverse, half_logdet = invert_psd(covariance / lengthscales / lengthscales[:, None] + jnp.eye(df))
    scaled = offsets / lengthscales
    solved = scaled @ inverse  # LAPACK's solve is slow with as many right-hand sides as points
    log_q = -0.5 * jnp.sum(scaled * solved, axis=1) - half_logdet
    weighted = weights * signal**2 * jnp.exp(log_q)
    return jnp.sum(weighted), weighted @ solved / lengthscales


def pair_logarithms(
    offsets: Float[Array, "n df"],
    covariance: Float[Array, "df df"],
    scale_a: Float[Array, "df"],
    signal_a: Float[Array, ""],
    scale_b: Float[Array, "df"],
    signal_b: Float[Array, ""],
) -> tuple[Float[Array, "n"], Float[Array, "n"], Float[Array, "n df"], Float[Array, "df df"], Float[Array, "n df"]]:
    """Return A, B, U, T and V of log E[k_a(ξ, ξ_i) k_b(ξ, ξ_j)] = A_i + B_j + u_iᵀ T v_j (thesis eq. 2.53).

    With D = Λ_a⁻¹ + Λ_b⁻¹, the matrix R = S D + I has the determinant of the symmetric D^½ S D^½ + I, and T = R⁻¹ S.
    T is symmetric, and of one output, a = b, U = V.
    """
    root = jnp.sqrt(scale_a**-2 + scale_b**-2)
    scaled = covariance * root * root[:, None]
    inverse, half_logdet = invert_psd(scaled + jnp.eye(len(root)))
    T = symmetrize(inverse @ scaled) / root / root[:, None]

    U, V = offsets / scale_a**2, offsets / scale_b**2
    A = 2.0 * jnp.log(signal_a) - half_logdet + 0.5 * jnp.sum((U @ T) * U - U * offsets, axis=1)
    B = 2.0 * jnp.log(signal_b) + 0.5 * jnp.sum((V @ T) * V - V * offsets, axis=1)
    return A, B, U, T, V


@jax.custom_jvp
def sum_pairs(
    a: Float[Array, "n"],
    b: Float[Array, "m"],
    A: Float[Array, "n"],
    B: Float[Array, "m"],
    U: Float[Array, "n d"],
    T: Float[Array, "d d"],
    V: Float[Array, "m d"],
) -> Float[Array, ""]:
    """Return Σ_ij a_i b_j exp(A_i + B_j + u_iᵀ T v_j)."""
    return jnp.sum(a[:, None] * _exponentiate(A, B, U @ T, V) * b)


@sum_pairs.defjvp
def _differentiate_pairs(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """The derivative of `sum_pairs`, whose linear part keeps vectors and n × d matrices only."""
    a, b, A, B, U, T, V = primals
    d_a, d_b, d_A, d_B, d_U, d_T, d_V = tangents
    E = _exponentiate(A, B, U @ T, V)
    by_rows, right = _split(E @ _join(b, V))
    by_columns, left = _split(E.T @ _join(a, U))
    tangent = by_rows @ (d_a + a * d_A) + by_columns @ (d_b + b * d_B)
    tangent = tangent + a @ jnp.sum((d_U @ T + U @ d_T) * right, axis=1) + b @ jnp.sum((left @ T) * d_V, axis=1)
    return a @ by_rows, tangent


@jax.custom_jvp
def sum_symmetric(
    weights: Float[Array, "n n"], A: Float[Array, "n"], U: Float[Array, "n d"], T: Float[Array, "d d"]
) -> Float[Array, ""]:
    """Return Σ_ij weights_ij exp(A_i + A_j + u_iᵀ T u_j) of symmetric `weights` and T."""
    return jnp.sum(weights * _exponentiate(A, A, U @ T, U))


def _differentiate_symmetric(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """The derivative of `sum_symmetric`, whose linear part keeps vectors and n × d matrices only."""
    weights, A, U, T = primals
    d_weights, *others = tangents
    d_A, d_U, d_T = (jnp.zeros(d.shape) if isinstance(d, SymbolicZero) else d for d in others)
    E = _exponentiate(A, A, U @ T, U)
    by_rows, right = _split((weights * E) @ _join(jnp.ones(len(A)), U))
    tangent = 2.0 * by_rows @ d_A + jnp.sum((2.0 * d_U @ T + U @ d_T) * right)
    if not isinstance(d_weights, SymbolicZero):
        tangent = tangent + jnp.sum(E * d_weights)
    return jnp.sum(by_rows), tangent


sum_symmetric.defjvp(_differentiate_symmetric, symbolic_zeros=True)


def _exponentiate(
    A: Float[Array, "n"], B: Float[Array, "m"], left: Float[Array, "n d"], right: Float[Array, "m d"]
) -> Float[Array, "n m"]:
    """Return E_ij = exp(A_i + B_j + left_i · right_j); the sums are part of the matrix product."""
    rows = jnp.concatenate([left, A[:, None], jnp.ones((len(A), 1))], axis=1)
    columns = jnp.concatenate([right, jnp.ones((len(B), 1)), B[:, None]], axis=1)
    return jnp.exp(rows @ columns.T)


def _join(factor: Float[Array, "n"], matrix: Float[Array, "n d"]) -> Float[Array, "n d1"]:
    """Return [factor, factor ∘ matrix]."""
    return jnp.concatenate([factor[:, None], factor[:, None] * matrix], axis=1)


def _split(joint: Float[Array, "n d1"]) -> tuple[Float[Array, "n"], Float[Array, "n d"]]:
    """Return the first column and the others."""
    return joint[:, 0], joint[:, 1:]


def encode_moments(
    mean: Float[Array, "dz"], covariance: Float[Array, "dz dz"], dx: int, transforms: StateTransforms
) -> tuple[Float[Array, "df"], Float[Array, "df df"], Float[Array, "dz df"]]:
    """Return mean and covariance of the encoded z ~ N(mean, covariance) before normalisation, and cov(z, encoded).

    The order of the entries is that of `gps.models.features.encode_input`. The moments of sines and cosines are exact
    (Deisenroth's thesis, app. A.1).

    Raises:
        ConfigError: if the state has quaternions, whose rotation matrices have no such moments here.
    """
    if transforms.quaternions:
        raise ConfigError("the moments of a Gaussian over quaternions are not known; use drawn functions (`draw`)")
    angles = np.array(transforms.angles, int)
    plain = np.setdiff1d(np.arange(dx), angles)
    action = np.arange(dx, len(mean))
    sine, cosine, trigonometric = _match_angles(mean[angles], covariance[np.ix_(angles, angles)])

    unit = jnp.eye(len(mean))
    # E ∂encoded/∂z, transposed: cov(z, encoded) is `covariance` times it (Stein's lemma).
    slope = jnp.concatenate(
        [unit[:, plain], unit[:, angles] * cosine, -unit[:, angles] * sine, unit[:, action]], axis=1
    )
    cross = covariance @ slope
    spread = slope.T @ cross  # exact but for pairs of sines and cosines
    places = len(plain) + np.arange(2 * len(angles))
    spread = spread.at[np.ix_(places, places)].set(trigonometric)
    return jnp.concatenate([mean[plain], sine, cosine, mean[action]]), spread, cross


def _match_angles(
    mean: Float[Array, "k"], covariance: Float[Array, "k k"]
) -> tuple[Float[Array, "k"], Float[Array, "k"], Float[Array, "2*k 2*k"]]:
    """Return the means of the sines and cosines of Gaussian angles, and the covariance of [sines; cosines]."""
    variance = jnp.diagonal(covariance)
    sine, cosine = jnp.exp(-0.5 * variance) * jnp.sin(mean), jnp.exp(-0.5 * variance) * jnp.cos(mean)
    total = variance[:, None] + variance
    minus, plus = jnp.exp(covariance - 0.5 * total), jnp.exp(-covariance - 0.5 * total)  # of θ_i − θ_j, θ_i + θ_j
    difference, addition = mean[:, None] - mean, mean[:, None] + mean
    sines = 0.5 * (minus * jnp.cos(difference) - plus * jnp.cos(addition)) - jnp.outer(sine, sine)
    cosines = 0.5 * (minus * jnp.cos(difference) + plus * jnp.cos(addition)) - jnp.outer(cosine, cosine)
    mixed = 0.5 * (minus * jnp.sin(difference) + plus * jnp.sin(addition)) - jnp.outer(sine, cosine)
    return sine, cosine, jnp.block([[sines, mixed], [mixed.T, cosines]])
