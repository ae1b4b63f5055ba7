"""Lessons: what local controllers teach the global policy, at the samples of their rollouts."""

import numpy as np
from jaxtyping import Bool, Float, Num

from gps.backend import jax
from gps.linear_gaussian.types import Controller
from gps.policies.imitation import imitation_kl, mean_over_samples
from gps.policies.neural import NeuralPolicy
from gps.policies.supervised import Samples
from gps.problem import UNLIMITED, Limits
from gps.records import Rollouts


def can_teach(usable: Bool[np.ndarray, "M"], rollouts: Rollouts) -> Bool[np.ndarray, "M"]:
    """True for each condition that teaches the policy: it has a new controller, and an episode that did not fail.

    Where every episode of a controller failed, its actions are not worth imitating.
    """
    return usable & ~rollouts.failed


def target_actions(teachers: Controller, rollouts: Rollouts, limits: Limits) -> Float[np.ndarray, "M N T du"]:
    """The teachers' mean actions at the samples, within the limits of the environment.

    Where a sample has left the states that its linear controller was made for, the mean may be hundreds of times what a
    motor gives. Such a target would dominate the loss.
    """
    return np.clip(teachers.means(rollouts.states), *limits)


def make_samples(
    teachers: Controller,
    rollouts: Rollouts,
    weights: Float[np.ndarray, "M #T"],
    multipliers: Float[np.ndarray, "M T du"] | None = None,
    limits: Limits = UNLIMITED,
) -> Samples:
    """The samples that the policy imitates: the teachers' actions at the sampled observations, with their precisions.

    Args:
        weights: of each step; 0 where a condition does not teach.
        multipliers: λ of the mean actions, in the same unit as the weights times nats.
        limits: of the actions; see `target_actions`.
    """
    M, N, T = rollouts.mask.shape
    actions = target_actions(teachers, rollouts, limits)
    precisions = np.broadcast_to(precision(teachers)[:, None], (*actions.shape, actions.shape[-1]))
    masked = rollouts.mask * np.nan_to_num(weights)[:, None]
    linear = None
    if multipliers is not None:  # the supervised step has the weight before both terms
        counts = weights[..., None] > 0
        ratio = np.where(counts, multipliers / np.where(counts, weights[..., None], 1.0), 0.0)
        linear = flatten_samples(np.broadcast_to(ratio[:, None], actions.shape))
    episodes = np.broadcast_to(np.arange(M * N).reshape(M, N, 1), (M, N, T))
    parts = (rollouts.observed, actions, precisions, masked)
    observed, actions, precisions, masked = jax.tree.map(flatten_samples, parts)
    return Samples(observed, actions, precisions, masked, linear, flatten_samples(episodes))


def flatten_samples(array: Num[np.ndarray, "M N T *rest"]) -> Num[np.ndarray, "MNT *rest"]:
    """The samples of all conditions and steps along one axis (of no features where there are only pictures)."""
    return array.reshape(np.prod(array.shape[:3]), *array.shape[3:])


def precision(controllers: Controller) -> Float[np.ndarray, "M T du du"]:
    """The inverse covariance of the actions; NaN where the covariance is singular."""
    covariance = np.asarray(controllers.covariance)
    one = np.eye(covariance.shape[-1])
    regular = np.isfinite(covariance).all(axis=(-1, -2))[..., None, None]
    regular &= np.isfinite(np.linalg.slogdet(np.where(regular, covariance, one))[1])[..., None, None]
    return np.where(regular, np.linalg.inv(np.where(regular, covariance, one)), np.nan)


def teacher_kl(
    policy: NeuralPolicy, teachers: Controller, rollouts: Rollouts, limits: Limits = UNLIMITED
) -> Float[np.ndarray, "M T"]:
    """KL(policy ‖ teacher) at each step, nats, mean over the samples; see `gps.policies.imitation.imitation_kl`.

    The teachers' mean actions are clipped to the limits, as in their lessons.
    """
    return imitation_kl(
        np.asarray(policy.covariance),
        precision(teachers)[:, None],
        np.linalg.slogdet(teachers.covariance)[1][:, None],
        _differences(policy, teachers, rollouts, limits),
        rollouts.mask,
    )


def mean_difference(
    policy: NeuralPolicy, teachers: Controller, rollouts: Rollouts, limits: Limits = UNLIMITED
) -> Float[np.ndarray, "M T du"]:
    """The policy's mean actions minus its teachers', averaged over the samples; NaN at a step without samples."""
    return mean_over_samples(_differences(policy, teachers, rollouts, limits), rollouts.mask)


def _differences(
    policy: NeuralPolicy, teachers: Controller, rollouts: Rollouts, limits: Limits
) -> Float[np.ndarray, "M N T du"]:
    return policy.act(rollouts.observed) - target_actions(teachers, rollouts, limits)
