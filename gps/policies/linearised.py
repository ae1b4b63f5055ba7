"""A policy around the samples of each condition and step, as a time-varying linear-Gaussian controller.

The joint Gaussian of [x; u] at each step, u the policy's mean action at the sample's state, is estimated under a prior
and conditioned on x, like local dynamics (Montgomery & Levine 2016). The policy's own covariance is added to the
regression's residual. One call fits all steps of all conditions. With a mixture prior:

    points = policy_points(rollouts.states, policy.mean(...), rollouts.mask)
    prior = prior.refit(points, seed)
    controllers = linearise(points, dx, policy.covariance, prior.at(points))

The policy's observation may differ from the state: it does not enter here.
"""

import numpy as np
from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp
from gps.dynamics.prior import NormalInverseWishart, Transitions
from gps.dynamics.regression import condition, joint_gaussian, mean_square_deviation, no_belief
from gps.errors import PolicyError
from gps.linear_gaussian.types import Controller


def policy_points(
    states: Float[np.ndarray, "M N T dx"], means: Float[np.ndarray, "M N T du"], mask: Bool[np.ndarray, "M N T"]
) -> Transitions:
    """Return the joint points [x; u], which a prior is refitted to and `linearise` takes.

    Args:
        means: the policy's mean actions for its observations of these states.

    Raises:
        PolicyError: if the shapes do not fit each other, or an action within the mask is not finite.
    """
    states, means, mask = np.asarray(states), np.asarray(means), np.asarray(mask)
    if not states.shape[:3] == means.shape[:3] == mask.shape:
        raise PolicyError(
            f"states {states.shape}, mean actions {means.shape} and mask {mask.shape}: expected (M, N, T) of each"
        )
    bad = np.argwhere(~np.isfinite(means).all(axis=-1) & mask)
    if len(bad):
        m, n, t = bad[0]
        raise PolicyError(f"the policy's mean action is not finite at condition {m}, sample {n}, step {t}")
    return Transitions(np.where(mask[..., None], np.concatenate([states, means], axis=-1), 0.0), mask)


def linearise(
    points: Transitions,
    dx: int,
    covariance: Float[np.ndarray, "... du du"],
    belief: NormalInverseWishart | None = None,
    ridge: float = 1e-6,
) -> Controller:
    """Return controllers u ~ N(K x + k, Σ) that approximate the policy around its samples, a batch of M.

    Args:
        points: from `policy_points`.
        dx: size of the state, the first entries of a point.
        covariance: the policy's, (du, du), or one for each sample, (M, N, T, du, du), which is averaged over samples.
        belief: a prior's belief about the points at each step; None for least squares.
        ridge: added to the variances of the state, relative to each entry's mean square deviation.
    """
    belief = no_belief(points) if belief is None else belief
    covariance = np.asarray(covariance)
    if covariance.ndim > 2:
        weight = points.mask[..., None, None]
        covariance = (weight * covariance).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    floor = ridge * mean_square_deviation(points)
    return _fit(points, belief, floor[:dx], covariance).numpy()


@jax.jit
def _fit(points: Transitions, belief: NormalInverseWishart, floor: Float[Array, "dx"], covariance: Array) -> Controller:
    dx = len(floor)
    mean, joint = joint_gaussian(*points, belief)
    joint = joint.at[..., jnp.arange(dx), jnp.arange(dx)].add(floor)
    K, k, residual = condition(mean, joint, dx)
    # Rounding may leave a residual of an exactly linear policy below zero.
    eigenvalues, vectors = jnp.linalg.eigh(residual)
    residual = (vectors * jnp.maximum(eigenvalues, 0.0)[..., None, :]) @ jnp.swapaxes(vectors, -1, -2)
    return Controller(K, k, residual + covariance)
