"""From an expert's advice to the samples that a policy imitates."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8

from gps.backend import jax
from gps.experts.contract import Advice, Expert, ask
from gps.observations import Pixels
from gps.policies.imitation import imitation_kl
from gps.policies.neural import NeuralPolicy
from gps.policies.supervised import Samples
from gps.records import Rollouts


class Lesson(NamedTuple):
    """The labelled samples of an iteration that count."""

    observations: Num[np.ndarray, "n do"]
    actions: Float[np.ndarray, "n du"]
    precisions: Float[np.ndarray, "n du du"] | None
    episodes: Int[np.ndarray, "n"]
    images: UInt8[np.ndarray, "n H W C"] | None = None

    @property
    def observed(self) -> Num[np.ndarray, "n do"] | Pixels:
        """The input of the policy."""
        return self.observations if self.images is None else Pixels(self.images, self.observations)


def label(expert: Expert | None, rollouts: Rollouts, begin: int = 0) -> Advice:
    """The expert's advice in each visited state, requested along the episodes; zero where masked.

    The actions are not finite where it has no advice. Without an expert, all actions are zero.

    Args:
        begin: the step of an episode that the first of these states is at.
    """
    M, N, T, du = rollouts.actions.shape
    if expert is None:
        return Advice(np.zeros((M, N, T, du)), None)
    answers = [ask(expert, rollouts.states[:, :, t], begin + t, du) for t in range(T)]
    actions = np.stack([answer.actions for answer in answers], axis=2)
    firm = [answer.precisions for answer in answers if answer.precisions is not None]
    precisions = np.stack(firm, axis=2) if len(firm) == T else None
    if precisions is not None:
        actions = np.where(np.isfinite(precisions).all(axis=(-1, -2))[..., None], actions, np.nan)
    return Advice(np.where(rollouts.mask[..., None], actions, 0.0), precisions)


def make_lesson(rollouts: Rollouts, advice: Advice, usable: Bool[np.ndarray, "M"]) -> Lesson:
    """The labelled samples of the conditions that are usable, where the expert had advice."""
    counts = rollouts.mask & usable[:, None, None] & np.isfinite(advice.actions).all(axis=-1)
    precisions = None if advice.precisions is None else advice.precisions[counts]
    m, n, _ = np.nonzero(counts)
    vectors = rollouts.states if rollouts.observations is None else rollouts.observations
    images = None if rollouts.images is None else rollouts.images[counts]
    return Lesson(vectors[counts], advice.actions[counts], precisions, m * counts.shape[1] + n, images)


def join_lessons(lessons: tuple[Lesson, ...]) -> Lesson:
    """Several lessons of one expert as one."""
    firm = [one.precisions for one in lessons if one.precisions is not None]
    pictures = [one.images for one in lessons if one.images is not None]
    return Lesson(
        np.concatenate([one.observations for one in lessons]),
        np.concatenate([one.actions for one in lessons]),
        np.concatenate(firm) if len(firm) == len(lessons) else None,
        _number_episodes(lessons),
        np.concatenate(pictures) if len(pictures) == len(lessons) else None,
    )


def _number_episodes(lessons: tuple[Lesson, ...]) -> Int[np.ndarray, "n"]:
    """The numbers of the episodes of several lessons, each episode with one of its own."""
    firsts = np.cumsum([0, *(1 + one.episodes.max(initial=-1) for one in lessons)])
    return np.concatenate([first + one.episodes for first, one in zip(firsts, lessons, strict=False)])


def usual_precision(lessons: tuple[Lesson, ...], deviation: float) -> Float[np.ndarray, "du du"]:
    """The precision of actions with a standard deviation of `deviation` times their usual size."""
    actions = np.concatenate([one.actions for one in lessons])
    size = np.sqrt((actions**2).mean(axis=0)) if len(actions) else np.zeros(actions.shape[1])
    return np.diag((deviation * np.where(size > 0, size, 1.0)) ** -2)


def precisions_of(advice: Advice | Lesson, usual: Float[np.ndarray, "du du"]) -> Float[np.ndarray, "... du du"]:
    """The precision of each action: the expert's own, or the default one."""
    if advice.precisions is not None:
        return advice.precisions
    return np.broadcast_to(usual, (*advice.actions.shape, len(usual)))


def make_lesson_samples(lessons: tuple[Lesson, ...], usual: Float[np.ndarray, "du du"]) -> Samples:
    """All lessons as the samples that the policy imitates."""
    parts = [(one.observed, one.actions, precisions_of(one, usual)) for one in lessons]
    observations, actions, precisions = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    return Samples(observations, actions, precisions, np.ones(len(actions)), None, _number_episodes(lessons))


def expert_kl(
    policy: NeuralPolicy, advice: Advice, usual: Float[np.ndarray, "du du"], rollouts: Rollouts, usable: np.ndarray
) -> Float[np.ndarray, "M T"]:
    """KL(policy ‖ expert) at each step, nats, mean over the samples with advice; NaN where nothing was taught.

    See `gps.policies.imitation.imitation_kl`.
    """
    P = precisions_of(advice, usual)
    P = np.where(np.isfinite(P).all(axis=(-1, -2))[..., None, None], P, usual)
    known = rollouts.mask & np.isfinite(advice.actions).all(axis=-1)
    differences = policy.act(rollouts.observed) - advice.actions
    kl = imitation_kl(np.asarray(policy.covariance), P, -np.linalg.slogdet(P)[1], differences, known)
    return np.where(usable[:, None], kl, np.nan)
