"""The environment of an experiment as a Gymnasium environment for one agent: one simulation, whole episodes, a log."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from gps.environments.contract import BatchEnvironment
from gps.problem import Problem

Objective = Literal["cost", "reward"]
"""The reward of an agent: minus the experiment's cost, or the environment's reward."""

_STREAM = 0  # of the environment's noise: that of training episodes


@dataclasses.dataclass(frozen=True)
class EpisodeSum:
    """The result of a training episode."""

    steps: int  # environment steps up to its end, over all episodes
    cost: float  # NaN if the episode was ended from outside
    reward: float
    success: bool | None  # at the last step; None where the environment does not report it


class AgentEpisodes(gymnasium.Env[np.ndarray, np.ndarray]):
    """One simulation for an agent. Observations are the policy's, (do,) float32; actions are scaled to ±1, (du,).

    Args:
        environment: with one simulation.
        problem: its horizon, cost and limits.
        conditions: from which episodes start, in turn.
        seed: of the environment's noise.

    Attributes:
        finished: the sums of the episodes that have ended.
    """

    def __init__(
        self,
        environment: BatchEnvironment,
        problem: Problem,
        conditions: Sequence[Mapping[str, Any]],
        seed: int,
        objective: Objective,
        cost: Callable[..., Any],
    ) -> None:
        self._environment, self._problem, self._conditions = environment, problem, conditions
        self._seed, self._objective, self._cost = seed, objective, cost
        self.finished: list[EpisodeSum] = []
        self._total = 0
        width = len(problem.sight.numbers)
        self.observation_space = Box(-np.inf, np.inf, (width,), np.float32)
        self.action_space = Box(-1.0, 1.0, (problem.du,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start the next episode; the conditions take turns."""
        count = len(self.finished)
        given: dict[str, Any] = {"conditions": [self._conditions[count % len(self._conditions)]]}
        if self._environment.noisy:
            given["episodes"] = [(_STREAM, count)]
        state, info = self._environment.reset(seed=self._seed, options=given)
        self._begin_step(state, info)
        self._t, self._costs, self._rewards = 0, 0.0, 0.0
        return self._observation, {}

    def _begin_step(self, state: np.ndarray, info: Mapping[str, Any]) -> None:
        self._state = np.asarray(info.get("state", state))[0]  # as it is, for the cost
        self._observation = np.asarray(info.get("observation", state), dtype=np.float32)[0]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Apply an action for a control period."""
        space, before = self._environment.single_action_space, self._state
        wanted = scale_actions(action, self._problem)
        state, rewards, terminated, truncated, info = self._environment.step(wanted[None])
        applied = np.asarray(info.get("applied_action", np.clip(wanted, space.low, space.high)[None]))[0]
        reward, cost = float(rewards[0]), self._measure_cost(before, applied, float(rewards[0]))
        self._begin_step(state, info)
        self._t, self._total = self._t + 1, self._total + 1
        self._costs, self._rewards = self._costs + cost, self._rewards + reward
        outside = bool(info.get("diverged", [False])[0]) or bool(info.get("abort", [""])[0])
        ended = bool(terminated[0]) and not outside
        last = self._t == self._problem.horizon
        cut = not ended and (outside or bool(truncated[0]) or last)
        if ended or cut:
            success = bool(info["success"][0]) if "success" in info else None
            known = last or (ended and success is not False)
            self.finished.append(EpisodeSum(self._total, self._costs if known else np.nan, self._rewards, success))
        return self._observation, -cost if self._objective == "cost" else reward, ended, cut, {}

    def _measure_cost(self, state: np.ndarray, action: np.ndarray, reward: float) -> float:
        """The cost of a step: the terms with a formula, and the reward where it is part of the cost."""
        value = float(self._cost(state, action, self._t))
        return value if self._problem.reward is None else value - self._problem.reward.weight * reward


def scale_actions(actions: np.ndarray, problem: Problem) -> np.ndarray:
    """Return actions within the limits for numbers within ±1, (..., du)."""
    low, high = (np.broadcast_to(np.asarray(limit, dtype=float), (problem.du,)) for limit in problem.limits)
    return low + 0.5 * (np.asarray(actions, dtype=float) + 1.0) * (high - low)
