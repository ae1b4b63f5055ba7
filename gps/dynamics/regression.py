"""Time-varying linear-Gaussian dynamics from rollouts: least squares, or Bayesian under a prior.

Both estimate the joint Gaussian of [x; u; x'] at each step and condition it on z = [x; u]. They differ in the estimate:
the sample covariance with a small ridge, or the posterior under a normal-inverse-Wishart prior (Levine & Abbeel 2014,
sec. 3.1-3.2). They are versions 1.0 and 2.0 of Sergey Levine, CS 294-112 Deep Reinforcement Learning (Fall 2017),
lecture 11, "Model-Based Planning and Control", http://rail.eecs.berkeley.edu/deeprlcourse-fa17/. One call fits all
steps of all conditions.
"""

from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp
from gps.dynamics.belief import NormalInverseWishart, Transitions
from gps.dynamics.units import positive_deviation
from gps.linear_gaussian.linalg import psd_solve, symmetrize
from gps.linear_gaussian.types import LinearDynamics

_AT_REST = 1e-4
"""Least deviation of a dimension among the samples of a step, relative to its deviation over all steps."""


def fit_dynamics(
    states: Float[np.ndarray, "M N T dx"],
    actions: Float[np.ndarray, "M N T du"],
    mask: Bool[np.ndarray, "M N T"],
    prior: NormalInverseWishart | None = None,
    ridge: float = 1e-6,
    center: Literal["posterior", "sample"] = "posterior",
    uncertainty: Float[np.ndarray, "M T-1 d d"] | None = None,
) -> LinearDynamics:
    """Fit local dynamics for each condition and step.

    Args:
        states, actions, mask: the samples; steps whose mask is False are ignored.
        prior: the belief before the samples; None for least squares.
        ridge: added to the diagonal of the covariance of z, relative to each dimension's mean square deviation. It
            makes a fit with fewer samples than dimensions unique.
        center: the point the model passes through: the posterior mean, or the samples' mean. `"sample"` moves only this
            point: the covariance keeps the term of the gap z̄ − μ0 (see `joint_gaussian`), which a prior that says
            nothing of the mean (m = 0) would not have.
        uncertainty: of the points [x; u; x'] around the samples; None where these are exact.
    """
    transitions = Transitions.of(states, actions, mask)
    prior = no_belief(transitions) if prior is None else prior
    floor = ridge * mean_square_deviation(transitions)
    return fit_moments(states[:, :, 0], mask[:, :, 0], transitions, prior, floor, center, uncertainty)


def no_belief(transitions: Transitions) -> NormalInverseWishart:
    """Return a prior without information, under which the fit is least squares."""
    M, _, steps, d = transitions.points.shape
    zero = np.zeros((M, steps))
    return NormalInverseWishart(np.zeros((M, steps, d)), np.zeros((M, steps, d, d)), zero, zero)


def mean_square_deviation(transitions: Transitions) -> Float[np.ndarray, "d"]:
    """Return the mean square deviation of each dimension from its mean at each step, over all conditions and steps.

    It is positive: a dimension that does not vary among the samples of a step counts as varying by a small share of
    its deviation over all steps and conditions.
    """
    points, weight = transitions.points, transitions.mask[..., None]
    mean = (weight * points).sum(axis=1, keepdims=True) / np.maximum(weight.sum(axis=1, keepdims=True), 1)
    square = (weight * (points - mean) ** 2).sum(axis=(0, 1, 2)) / max(weight.sum(), 1)
    return np.maximum(square, (_AT_REST * positive_deviation(points[transitions.mask])) ** 2)


@partial(jax.jit, static_argnames="center")
def fit_moments(first, present, transitions, prior, floor, center, uncertainty=None) -> LinearDynamics:
    """Fit the dynamics of `fit_dynamics`.

    Args:
        first, present: the first states (M, N, dx) and their mask (M, N).
        transitions, prior, center, uncertainty: see `fit_dynamics`.
        floor: added to the diagonal of the covariance of z, (d,).
    """
    dx = first.shape[-1]
    dz = transitions.points.shape[-1] - dx
    mean, covariance = joint_gaussian(transitions.points, transitions.mask, prior, center)
    if uncertainty is not None:
        N = jnp.sum(transitions.mask, axis=1)
        covariance = covariance + (N / jnp.maximum(N + prior.degrees, 1e-300))[..., None, None] * uncertainty
    covariance = covariance.at[..., jnp.arange(dz), jnp.arange(dz)].add(floor[:dz])
    matrix, offset, noise = condition(mean, covariance, dz)

    return LinearDynamics(matrix, offset, noise, *fit_first_state(first, present, floor[:dx]))


def fit_first_state(
    first: Float[Array, "M N dx"], present: Bool[Array, "M N"], floor: Float[Array, "dx"]
) -> tuple[Float[Array, "M dx"], Float[Array, "M dx dx"]]:
    """Return the mean and covariance of the first states, with a floor added to the variances."""
    weight = present[..., None].astype(float)
    count = jnp.maximum(jnp.sum(weight, axis=1), 1.0)
    mean = jnp.sum(weight * first, axis=1) / count
    deviation = weight * (first - mean[:, None])
    covariance = jnp.einsum("mni,mnj->mij", deviation, deviation) / count[..., None]
    return mean, covariance + jnp.diag(floor)


def joint_gaussian(
    points: Float[Array, "M N T d"],
    mask: Bool[Array, "M N T"],
    prior: NormalInverseWishart,
    center: Literal["posterior", "sample"] = "posterior",
) -> tuple[Float[Array, "M T d"], Float[Array, "M T d d"]]:
    """Return the mean and covariance of the joint points at each step, from N samples with mean z̄ and scatter N S.

    Σ̂ = (Φ + N S + (N m/(N+m)) (z̄−μ0)(z̄−μ0)ᵀ) / (N + n0)  and  μ̂ = (N z̄ + m μ0) / (N + m), both of one posterior.
    """
    mu0, Phi, m, n0 = prior
    weight = mask[..., None].astype(float)
    N = jnp.sum(weight, axis=(1, -1))
    mean: Array = jnp.sum(weight * points, axis=1) / jnp.maximum(N, 1.0)[..., None]
    deviation = weight * (points - mean[:, None])
    scatter = jnp.einsum("mnti,mntj->mtij", deviation, deviation)
    gap = mean - mu0
    shrink = N / jnp.maximum(N + m, 1e-300)
    scatter = Phi + scatter + (shrink * m)[..., None, None] * gap[..., :, None] * gap[..., None, :]
    if center == "posterior":
        mean = mu0 + shrink[..., None] * gap
    return mean, scatter / jnp.maximum(N + n0, 1e-300)[..., None, None]


def condition(mean: Float[Array, "... d"], covariance: Float[Array, "... d d"], dz: int):
    """Return F, c and W of x' = F z + c + w: the regression of a Gaussian's last d − dz dimensions on its first dz."""
    zz, zx, xx = covariance[..., :dz, :dz], covariance[..., :dz, dz:], covariance[..., dz:, dz:]
    F = jnp.swapaxes(psd_solve(zz, zx), -1, -2)
    c = mean[..., dz:] - jnp.einsum("...ij,...j->...i", F, mean[..., :dz])
    return F, c, symmetrize(xx - F @ zx)
