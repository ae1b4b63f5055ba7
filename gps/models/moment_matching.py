"""The moments of a Gaussian process whose inputs are Gaussian (Deisenroth & Rasmussen 2011, sec. 2.2; thesis 2.3).

For ξ ~ N(μ, S) and the squared-exponential kernel, the mean and covariance of the outputs, and their covariance with
the inputs, have closed forms. The covariance of outputs a and b is a sum over all pairs of points,

    Σ_ij W_ij exp(A_i + B_j + u_iᵀ T v_j),   W = α_a α_bᵀ, less M where a = b,

the only object of size n × n. Its derivative needs G = W ∘ exp(·) only as G [1 V] and Gᵀ [1 U], so the rule for
derivatives keeps these and lets G go; and the pairs of outputs are taken in turn, so that one G exists at a time.
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
    first, second = np.triu_indices(dx)

    def match_pair(pair: tuple[Array, Array]) -> Array:
        a, b = pair
        weights = jnp.outer(process.weights[a], process.weights[b])
        weights = weights - jnp.where(a == b, 1.0, 0.0) * process.precisions[a]
        log_pairs = pair_logarithms(offsets, covariance, h.lengthscales[a], h.signal[a], h.lengthscales[b], h.signal[b])
        return sum_pairs(weights, *log_pairs) - centre[a] * centre[b]

    sums = jax.lax.map(match_pair, (jnp.asarray(first), jnp.asarray(second)))
    spread = jnp.zeros((dx, dx)).at[first, second].set(sums).at[second, first].set(sums)
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
) -> tuple[Float[Array, "n"], Float[Array, "n"], Float[Array, "n df"], Float[Array, "n df"]]:
    """Return A, B, U T and V of log E[k_a(ξ, ξ_i) k_b(ξ, ξ_j)] = A_i + B_j + u_iᵀ T v_j (thesis eq. 2.53).

    With D = Λ_a⁻¹ + Λ_b⁻¹, the matrix R = S D + I has the determinant of the symmetric D^½ S D^½ + I, and T = R⁻¹ S.
    """
    root = jnp.sqrt(scale_a**-2 + scale_b**-2)
    scaled = covariance * root * root[:, None]
    inverse, half_logdet = invert_psd(scaled + jnp.eye(len(root)))
    T = symmetrize(inverse @ scaled) / root / root[:, None]

    U, V = offsets / scale_a**2, offsets / scale_b**2
    UT, VT = U @ T, V @ T
    A = 2.0 * jnp.log(signal_a) - half_logdet + 0.5 * jnp.sum(UT * U - U * offsets, axis=1)
    B = 2.0 * jnp.log(signal_b) + 0.5 * jnp.sum(VT * V - V * offsets, axis=1)
    return A, B, UT, V


@jax.custom_jvp
def sum_pairs(
    weights: Float[Array, "n m"],
    rows: Float[Array, "n"],
    columns: Float[Array, "m"],
    left: Float[Array, "n d"],
    right: Float[Array, "m d"],
) -> Float[Array, ""]:
    """Return Σ_ij weights_ij exp(rows_i + columns_j + left_i · right_j)."""
    return jnp.sum(weights * jnp.exp(rows[:, None] + columns + left @ right.T))


def _differentiate_sum(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """The derivative of `sum_pairs`, whose linear part keeps vectors and n × d matrices only."""
    weights, rows, columns, left, right = primals
    d_weights, d_rows, d_columns, d_left, d_right = tangents
    E = jnp.exp(rows[:, None] + columns + left @ right.T)
    G = weights * E
    by_rows, by_columns = jnp.sum(G, axis=1), jnp.sum(G, axis=0)
    tangent = jnp.zeros(())
    for factor, change in ((by_rows, d_rows), (by_columns, d_columns), (G @ right, d_left), (G.T @ left, d_right)):
        if not isinstance(change, SymbolicZero):
            tangent = tangent + jnp.sum(factor * change)
    if not isinstance(d_weights, SymbolicZero):
        tangent = tangent + jnp.sum(E * d_weights)
    return jnp.sum(by_rows), tangent


sum_pairs.defjvp(_differentiate_sum, symbolic_zeros=True)


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
