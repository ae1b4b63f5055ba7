"""Local dynamics from noisy measurements of the state: expectation-maximisation with a smoother.

    y_t = x_t + e_t,   e_t ~ N(0, R),        x_{t+1} = F_t [x_t; u_t] + c_t + w_t,   w_t ~ N(0, W_t),

where R is known and the commands u are exact. A regression of y_{t+1} on [y_t; u_t] has errors in its variables: it
underestimates F, the more so the less the samples differ, and over an episode such errors multiply. So the states are
estimated along with the model (Shumway & Stoffer 1982; Ghahramani & Hinton 1996): the E-step is a Kalman filter and the
Rauch-Tung-Striebel smoother of each sample, the M-step the regression of `fit_dynamics` on the expected moments of the
smoothed states. That u depends on y does not matter: given the measurements, it says nothing more of x.

The covariances of the smoother are the same for all samples of a condition.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp
from gps.dynamics.prior import NormalInverseWishart, Transitions
from gps.dynamics.regression import fit_moments, mean_square_deviation, no_belief
from gps.dynamics.units import positive_deviation
from gps.linear_gaussian.linalg import psd_solve, symmetrize

ROUNDS = 10
"""Rounds of expectation-maximisation."""

NEIGHBOURS = 3.0
"""W is averaged over neighbouring steps with a Gaussian of this deviation: the samples of one step say too little."""

_FIRST = 0.1
"""The least share of the residuals of the first fit that is no sensor noise."""

_FLOOR = 1e-6
"""Floor under the variances of w, relative to the variance of all states; that of R is a thousandth of it."""


class SmoothedStates(NamedTuple):
    """The states as they probably were: their means, and the covariance of [x_t; u_t; x_{t+1}] around these."""

    states: Float[np.ndarray, "M N T dx"]
    uncertainty: Float[np.ndarray, "M T-1 d d"]


def smooth_states(
    measured: Float[np.ndarray, "M N T dx"],
    actions: Float[np.ndarray, "M N T du"],
    mask: Bool[np.ndarray, "M N T"],
    deviation: Float[np.ndarray, "dx"],
    prior: NormalInverseWishart | None = None,
    ridge: float = 1e-6,
) -> SmoothedStates:
    """Estimate the states of N samples from each of M conditions.

    Args:
        measured: y; steps whose mask is False are ignored.
        deviation: of the noise of each entry, √diag R; 0 where the measurement is exact.
        prior, ridge: of the fit; see `fit_dynamics`.
    """
    known = np.where(mask[..., None], measured, 0.0), np.where(mask[..., None], actions, 0.0)
    transitions = Transitions.of(*known, mask)
    prior = no_belief(transitions) if prior is None else prior
    unit = positive_deviation(measured[mask]) ** 2
    floor = ridge * mean_square_deviation(transitions)
    states, uncertainty = _estimate(*known, mask, prior, floor, deviation**2, _FLOOR * unit, _weigh(mask.shape[2] - 1))
    good = np.isfinite(states).all(axis=(1, 2, 3))  # otherwise the measurements stay as they are
    return SmoothedStates(
        np.where(good[:, None, None, None] & mask[..., None], states, measured),
        np.where(good[:, None, None, None], uncertainty, 0.0),
    )


def _weigh(steps: int) -> Float[np.ndarray, "steps steps"]:
    """The weights of the average over neighbouring steps; each row sums to 1."""
    distance = np.subtract.outer(np.arange(steps), np.arange(steps))
    weights = np.exp(-0.5 * (distance / NEIGHBOURS) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


@jax.jit
def _estimate(measured, actions, mask, prior, ridge, noise, floor, weights):
    M, _, T, dx = measured.shape
    R, least, scale = jnp.diag(noise + 1e-3 * floor), jnp.diag(floor), jnp.sqrt(floor)
    dz = dx + actions.shape[-1]
    degrees = jnp.maximum(jnp.sum(mask[:, :, 1:], axis=1) + prior.degrees, 1.0)
    correction = (degrees / jnp.maximum(degrees - dz - 1, 1.0))[..., None, None]  # for the parameters of the fit

    def fit(states, uncertainty):
        points = jnp.concatenate([states[:, :, :-1], actions[:, :, :-1], states[:, :, 1:]], axis=-1)
        transitions = Transitions(points, mask[:, :, :-1] & mask[:, :, 1:])
        return fit_moments(states[:, :, 0], mask[:, :, 0], transitions, prior, ridge, "sample", uncertainty)

    def smooth(dynamics, W):
        W = jnp.einsum("ts,msij->mtij", weights, W)
        P0 = clip_semi_definite(first.initial_covariance - jnp.diag(noise), scale) + least
        W = clip_semi_definite(W, scale) + least
        F, c, mean = dynamics.matrix, dynamics.offset, first.initial_mean
        return jax.vmap(partial(_smooth, R=R))(F, c, W, mean, P0, measured, actions, mask)

    def improve(_, smoothed):
        dynamics = fit(*smoothed)
        return smooth(dynamics, correction * dynamics.covariance)

    first = fit(measured, jnp.zeros((M, T - 1, dz + dx, dz + dx)))
    A = first.matrix[..., :dx]
    residual = correction * first.covariance
    W = clip_semi_definite(residual - jnp.diag(noise) - (A * noise) @ jnp.swapaxes(A, -1, -2), scale)
    return jax.lax.fori_loop(1, ROUNDS, improve, smooth(first, W + _FIRST * residual))


def clip_semi_definite(matrix: Float[Array, "*batch n n"], unit: Float[Array, "n"]) -> Float[Array, "*batch n n"]:
    """Return the nearest positive semi-definite matrix, in units of each dimension."""
    units = unit[:, None] * unit
    values, vectors = jnp.linalg.eigh(symmetrize(matrix / units))
    return units * ((vectors * jnp.maximum(values, 0.0)[..., None, :]) @ jnp.swapaxes(vectors, -1, -2))


def _smooth(
    F: Float[Array, "T-1 dx dz"],
    c: Float[Array, "T-1 dx"],
    W: Float[Array, "T-1 dx dx"],
    mean: Float[Array, "dx"],
    covariance: Float[Array, "dx dx"],
    measured: Float[Array, "N T dx"],
    actions: Float[Array, "N T du"],
    mask: Bool[Array, "N T"],
    R: Float[Array, "dx dx"],
) -> tuple[Float[Array, "N T dx"], Float[Array, "T-1 d d"]]:
    """The smoothed means, and the covariance of [x_t; u_t; x_{t+1}] (one condition)."""
    dx, du, unit = len(mean), actions.shape[-1], jnp.eye(len(mean))
    A, B = F[..., :dx], F[..., dx:]
    drive = jnp.einsum("tij,ntj->tni", B, actions[:, :-1]) + c[:, None]
    by_step = jnp.swapaxes(measured, 0, 1), jnp.swapaxes(mask, 0, 1)

    def update(predicted, y, there):
        m, P = predicted
        K = psd_solve(P + R, P).T
        L = unit - K
        return m + jnp.where(there[:, None], (y - m) @ K.T, 0.0), symmetrize(L @ P @ L.T + K @ R @ K.T)

    def filter_step(filtered, at_t):
        (m, P), (A, b, W, y, there) = filtered, at_t
        predicted = m @ A.T + b, symmetrize(A @ P @ A.T + W)
        after = update(predicted, y, there)
        return after, (filtered, predicted)

    def smooth_step(later, at_t):
        (x, S), (A, (m, P), (m_next, P_next)) = later, at_t
        J = psd_solve(P_next, A @ P).T
        x_now, S_now = m + (x - m_next) @ J.T, symmetrize(P + J @ (S - P_next) @ J.T)
        zero = jnp.zeros
        joint = jnp.block([
            [S_now, zero((dx, du)), J @ S],
            [zero((du, dx)), zero((du, du)), zero((du, dx))],
            [S @ J.T, zero((dx, du)), S],
        ])  # fmt: skip
        return (x_now, S_now), (x_now, joint)

    start = update((jnp.broadcast_to(mean, measured[:, 0].shape), covariance), measured[:, 0], mask[:, 0])
    last, (filtered, predicted) = jax.lax.scan(filter_step, start, (A, drive, W, by_step[0][1:], by_step[1][1:]))
    _, (states, joint) = jax.lax.scan(smooth_step, last, (A, filtered, predicted), reverse=True)
    return jnp.swapaxes(jnp.concatenate([states, last[0][None]]), 0, 1), joint
