"""Lessons that take no step on the system: recorded episodes of the expert, and practice in the model that it plans in.

A round of practice, with B imagined episodes of L steps:

    start    states that the last samples visited, all at the same step of an episode, drawn at random
    act      the policy, with its exploration noise; the model's draws of the next state carry its noise and doubt
    learn    the expert labels each imagined state, and the policy takes a supervised step

So the policy learns what to do in the states that it would get into itself, which is what DAgger takes samples for. The
states are as good as the model; short episodes from real states stay near them (as in model-based policy optimisation,
Janner et al. 2019).
"""

from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from gps.algorithms.distilled.advice import Lesson, make_lesson
from gps.backend import Array, jax
from gps.experts.contract import Advice
from gps.models.model import GlobalModel
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import NOTHING_OBSERVED, Observed
from gps.problem import Problem
from gps.records import Rollouts

_FAR = 1e10
"""A state entry beyond it has exploded; MuJoCo's own limit."""


@dataclass(frozen=True)
class Practice:
    """The settings of the lessons that take no step.

    Args:
        rounds: of practice after each iteration on the system.
        samples: B, imagined episodes of each round.
        steps: L, at most; an imagined episode ends with the episode.
        observed: what the policy observes of a state.
    """

    rounds: int = 0
    samples: int = 20
    steps: int = 20
    observed: Observed = NOTHING_OBSERVED

    def recall(self, episodes: Rollouts) -> Lesson:
        """The lesson of recorded episodes in which the expert acted: its actions are the labels."""
        there = np.ones(len(episodes.mask), dtype=bool)
        return make_lesson(self._observe(episodes, 0), Advice(episodes.actions, None), there)

    def imagine(
        self, problem: Problem, model: GlobalModel, policy: NeuralPolicy, visited: Rollouts, seed: list[int]
    ) -> tuple[Rollouts, int]:
        """Imagined episodes of the policy, as one condition, (1, B, L), and the step at which they begin."""
        rng = np.random.default_rng(seed)
        length = min(self.steps, problem.horizon)
        states, begin = _choose_starts(visited, self.samples, length, rng)
        low, high = (np.broadcast_to(limit, problem.du) for limit in problem.limits)
        noise = rng.multivariate_normal(np.zeros(problem.du), np.asarray(policy.covariance), (self.samples, length))
        keys = jax.random.split(jax.random.key(int(rng.integers(2**32))), (length, self.samples))
        path, actions = [], []
        for k in range(length):
            path.append(states)
            wanted = policy.act(np.asarray(self.observed(states, begin + k))) + noise[:, k]
            actions.append(np.clip(wanted, low, high))
            states = np.asarray(_advance(model, states, actions[-1], keys[k]))
        made = np.stack(path, axis=1)[None]
        mask = np.cumprod((np.abs(made) < _FAR).all(axis=-1), axis=-1).astype(bool)  # False for NaN too
        rollouts = Rollouts(
            states=np.where(mask[..., None], made, 0.0),
            actions=np.where(mask[..., None], np.stack(actions, axis=1)[None], 0.0),
            noise=noise[None],
            rewards=np.zeros(mask.shape),
            success=None,
            mask=mask,
            saturated=np.zeros(1),
        )
        return self._observe(rollouts, begin), begin

    def _observe(self, rollouts: Rollouts, begin: int) -> Rollouts:
        """The same episodes, whose first step is `begin`, with what the policy observes in them."""
        steps = begin + np.arange(rollouts.states.shape[2])
        return replace(rollouts, observations=np.asarray(self.observed(rollouts.states, steps)))


def _choose_starts(
    visited: Rollouts, count: int, length: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "B dx"], int]:
    """Draw states that were visited at one step, which leaves `length` steps if it can."""
    there = np.asarray(visited.mask.any(axis=(0, 1)))
    last = max(len(there) - length, 0)
    begin = int(rng.choice(np.flatnonzero(there[: last + 1])))
    states = visited.states[:, :, begin][visited.mask[:, :, begin]]
    return states[rng.integers(len(states), size=count)], begin


@eqx.filter_jit
def _advance(
    model: Any, states: Float[Array, "B dx"], actions: Float[Array, "B du"], keys: Array
) -> Float[Array, "B dx"]:
    return jax.vmap(model.sample)(states, actions, keys)
