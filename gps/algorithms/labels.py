"""What an expert says of visited states: the labels that a policy learns from, and how firmly they are meant."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8

from gps.algorithms.guided import mean_over_samples
from gps.backend import jax
from gps.experts import Advice, asked
from gps.pixels import Pixels
from gps.policies.neural import NeuralPolicy
from gps.policies.supervised import Samples
from gps.records import Rollouts


class Lesson(NamedTuple):
    """The labelled samples of an iteration, those that count."""

    observations: Num[np.ndarray, "n do"]
    actions: Float[np.ndarray, "n du"]
    precisions: Float[np.ndarray, "n du du"] | None
    episodes: Int[np.ndarray, "n"]
    images: UInt8[np.ndarray, "n H W C"] | None = None

    @property
    def observed(self) -> Num[np.ndarray, "n do"] | Pixels:
        """What the policy saw."""
        return self.observations if self.images is None else Pixels(self.images, self.observations)


def advised(expert: Any, rollouts: Rollouts) -> Advice:
    """What the expert would do in each visited state, asked along the episodes; zero where masked, and for no expert.

    The actions are NaN where it does not give numbers, or a precision that is none.
    """
    M, N, T, du = rollouts.actions.shape
    if expert is None:
        return Advice(np.zeros((M, N, T, du)), None)
    answers = [asked(expert, rollouts.states[:, :, t], t, du) for t in range(T)]
    actions = np.stack([answer.actions for answer in answers], axis=2)
    if any(answer.precisions is None for answer in answers):
        precisions = None
    else:
        precisions = np.stack([answer.precisions for answer in answers], axis=2)
        actions = np.where(np.isfinite(precisions).all(axis=(-1, -2))[..., None], actions, np.nan)
    return Advice(np.where(rollouts.mask[..., None], actions, 0.0), precisions)


def lesson(rollouts: Rollouts, advice: Advice, usable: Bool[np.ndarray, "M"]) -> Lesson:
    """The labelled samples of the conditions that are usable."""
    counts = rollouts.mask & usable[:, None, None]
    precisions = None if advice.precisions is None else advice.precisions[counts]
    m, n, _ = np.nonzero(counts)
    vectors = rollouts.states if rollouts.observations is None else rollouts.observations
    images = None if rollouts.images is None else rollouts.images[counts]
    return Lesson(vectors[counts], advice.actions[counts], precisions, m * counts.shape[1] + n, images)


def usual_precision(lessons: tuple[Lesson, ...], deviation: float) -> Float[np.ndarray, "du du"]:
    """Of actions that are meant within `deviation` of their usual size."""
    actions = np.concatenate([one.actions for one in lessons])
    size = np.sqrt((actions**2).mean(axis=0)) if len(actions) else np.zeros(actions.shape[1])
    return np.diag((deviation * np.where(size > 0, size, 1.0)) ** -2)


def precisions_of(advice: Advice | Lesson, usual: Float[np.ndarray, "du du"]) -> Float[np.ndarray, "... du du"]:
    """How firmly the expert means its actions: as it says, or as usual."""
    if advice.precisions is not None:
        return advice.precisions
    return np.broadcast_to(usual, (*advice.actions.shape, len(usual)))


def samples(lessons: tuple[Lesson, ...], usual: Float[np.ndarray, "du du"]) -> Samples:
    """All that there is to imitate."""
    parts = [(one.observed, one.actions, precisions_of(one, usual)) for one in lessons]
    observations, actions, precisions = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    firsts = np.cumsum([0, *(1 + one.episodes.max(initial=-1) for one in lessons)])
    episodes = np.concatenate([first + one.episodes for first, one in zip(firsts, lessons, strict=False)])
    return Samples(observations, actions, precisions, np.ones(len(actions)), None, episodes)


def inverse(advice: Advice, usual: Float[np.ndarray, "du du"]) -> Float[np.ndarray, "M N T du du"]:
    """The covariances of the expert's actions; zero where there is none."""
    P = precisions_of(advice, usual)
    regular = (np.isfinite(P).all(axis=(-1, -2)) & (np.linalg.slogdet(np.nan_to_num(P))[0] > 0))[..., None, None]
    return np.where(regular, np.linalg.inv(np.where(regular, P, np.eye(len(usual)))), 0.0)


def divergence(
    policy: NeuralPolicy, advice: Advice, usual: Float[np.ndarray, "du du"], rollouts: Rollouts, usable: np.ndarray
) -> Float[np.ndarray, "M T"]:
    """KL(π(· | o) ‖ expert(· | x)) at each step, nats, mean over the samples; NaN where nothing was taught.

    ½ [tr(PΣ) − du − log det P − log det Σ + eᵀPe], P the expert's precision and e what the mean actions differ by.
    """
    P, covariance = precisions_of(advice, usual), np.asarray(policy.covariance)
    P = np.where(np.isfinite(P).all(axis=(-1, -2))[..., None, None], P, usual)
    e = policy.act(rollouts.observed) - advice.actions
    squares = np.einsum("mnti,mntij,mntj->mnt", e, P, e)
    spread = np.einsum("mntij,ji->mnt", P, covariance) - len(covariance)
    kl = 0.5 * (spread - np.linalg.slogdet(P)[1] - np.linalg.slogdet(covariance)[1] + squares)
    return np.where(usable[:, None], mean_over_samples(kl[..., None], rollouts)[..., 0], np.nan)


def where_wrong(wrong: Bool[np.ndarray, "N T"]) -> str:
    """Where the expert's answer was of no use, if it was somewhere."""
    if not wrong.any():
        return ""
    n, t = np.argwhere(wrong)[0]
    return (
        f" The expert's action or precision at sample {n}, step {t} is not finite, or the precision has an eigenvalue "
        "below zero; nothing is learned from this condition."
    )
