"""The expected cost of a Gaussian state and action.

Known terms have a closed form: quadratic ones, and the saturating one,

    E [1 − exp(−½ |V (y − τ)|²)] = 1 − |I + V S Vᵀ|^−½ exp(−½ (m − τ)ᵀ Vᵀ (I + V S Vᵀ)⁻¹ V (m − τ)),   y ~ N(m, S)

(Deisenroth's thesis, eq. 3.43 and 3.44), in which sines and cosines enter by their moments, taken for Gaussian. Any
other term is expanded to second order around the mean, E c = c(m) + ½ tr(∇²c(m) S): exact for a quadratic, good where
the state is known well, and wrong where the cost bends within its spread. `list_expanded` names these terms, so that a
record can say it. A quadrature would need a root of S, whose derivative does not exist where S is singular: and it is
singular wherever a deterministic policy acts in a state that is known.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost, Quadratic, Rate, Saturating, Sum
from gps.linear_gaussian.linalg import invert_psd
from gps.models.features import StateTransforms
from gps.models.moment_matching import encode_moments


def expect(
    cost: Cost, mean: Float[Array, "dz"], covariance: Float[Array, "dz dz"], t: Int[Array, ""], dx: int
) -> Float[Array, ""]:
    """Return E cost(x, u, t) for z = [x; u] ~ N(mean, covariance), with dx entries of x (JAX)."""
    return _EXPECTATIONS.get(type(cost), _expand)(cost, mean, covariance, t, dx)


def list_expanded(cost: Cost) -> list[str]:
    """The names of the terms whose expectation is a second-order expansion."""
    if isinstance(cost, Sum):
        return [name for term in cost.terms for name in list_expanded(term)]
    return [] if type(cost) in _EXPECTATIONS else [type(cost).__name__]


def _expect_sum(cost: Sum, mean: Array, covariance: Array, t: Array, dx: int) -> Array:
    return sum((expect(term, mean, covariance, t, dx) for term in cost.terms), start=jnp.zeros(()))


def _expect_quadratic(cost: Quadratic, mean: Array, covariance: Array, t: Array, dx: int) -> Array:
    places = np.arange(dx, len(mean)) if cost.indices is None else np.array(cost.indices, int)
    square = (mean[places] - cost.target) ** 2 + jnp.diagonal(covariance)[places]
    return 0.5 * cost.ramp(t) * jnp.sum(cost.weight * square)


def _expect_rate(cost: Rate, mean: Array, covariance: Array, t: Array, dx: int) -> Array:
    last, now = np.array(cost.last, int), np.arange(dx, len(mean))
    variance = jnp.diagonal(covariance)
    square = (mean[now] - mean[last]) ** 2 + variance[now] + variance[last] - 2.0 * covariance[now, last]
    return 0.5 * cost.ramp(t) * jnp.sum(cost.weight * square)


def _expect_saturating(cost: Saturating, mean: Array, covariance: Array, t: Array, dx: int) -> Array:
    angles = tuple(sorted({i for i, kind in zip(cost.indices, cost.kinds, strict=True) if kind != "plain"}))
    y, S = mean[:dx], covariance[:dx, :dx]
    places = np.array(cost.indices, int)
    if angles:
        both, places = _place(cost, angles, dx)
        y, S = _encode_both(y, S, both, dx)
    V = cost.matrix
    e, R = V @ (y[places] - cost.target), jnp.eye(len(V)) + V @ S[np.ix_(places, places)] @ V.T
    inverse, half_logdet = invert_psd(R)
    return cost.weight * cost.ramp(t) * -jnp.expm1(-0.5 * e @ inverse @ e - half_logdet)


def _place(cost: Saturating, angles: tuple[int, ...], dx: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Where each y is in [x; sines; cosines]."""
    places = []
    for i, kind in zip(cost.indices, cost.kinds, strict=True):
        offset = {"plain": i, "sin": dx, "cos": dx + len(angles)}[kind]
        places.append(offset if kind == "plain" else offset + angles.index(i))
    return angles, np.array(places, int)


def _encode_both(x: Array, S: Array, angles: tuple[int, ...], dx: int) -> tuple[Array, Array]:
    """Return mean and covariance of [x; sines; cosines]: the angles themselves stay."""
    encoded, spread, cross = encode_moments(x, S, dx, StateTransforms(angles))
    first = dx - len(angles)
    turned = cross[:, first:]
    return jnp.concatenate([x, encoded[first:]]), jnp.block([[S, turned], [turned.T, spread[first:, first:]]])


def _expand(cost: Cost, mean: Array, covariance: Array, t: Array, dx: int) -> Array:
    def at(z: Array) -> Array:
        return cost(z[:dx], z[dx:], t)

    return at(mean) + 0.5 * jnp.sum(jax.hessian(at)(mean) * covariance)


_EXPECTATIONS: dict[type, Callable[[Any, Array, Array, Array, int], Array]] = {
    Sum: _expect_sum,
    Quadratic: _expect_quadratic,
    Rate: _expect_rate,
    Saturating: _expect_saturating,
}
"""Class of a term -> its expectation in closed form."""
