"""Protect a robot from a policy: limits of the actions, an abort condition, a confirmation of each reset."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from gps.environments.contract import BatchEnvironment, Floats
from gps.environments.plain.recipe import describe_exception
from gps.environments.wrapper import Wrapper
from gps.errors import ConfigError, EnvironmentFault, SimulationFault

Abort = Callable[[Floats, Floats, int], object]
"""`abort(state, action, t)`, after each step: the new state (dx,), the action (du,) that led to it, the step from 0.
True, or a sentence with the reason, ends the episode; False, None or an empty string does not."""
Confirm = Callable[[str], bool]
"""`confirm(question)`: True to go on. It may take any time."""


class Guarded(Wrapper):
    """A batch environment with action limits, an abort condition and a confirmation of resets.

    Everything is the inner environment's but the action space, `reset` and `step`.

    Args:
        env: the inner environment.
        limits: lowest and highest action, (du,) each; the tighter of these and the action space's holds.
        abort: ends an episode, see `Abort`; the steps up to then count.
        confirm: called before each reset; False ends the run, whose finished iterations stay on disk.

    Raises:
        ConfigError: if no action lies within both limits.
    """

    def __init__(
        self,
        env: BatchEnvironment,
        limits: tuple[Floats, Floats] | None = None,
        abort: Abort | None = None,
        confirm: Confirm | None = None,
    ) -> None:
        super().__init__(env)
        self._abort, self._confirm = abort, confirm
        self._limits: tuple[Floats, Floats] | None = None
        self._t = 0
        self._aborted = np.zeros(env.num_envs, dtype=bool)
        if limits is not None:
            space = env.single_action_space
            self._limits = low, high = np.maximum(space.low, limits[0]), np.minimum(space.high, limits[1])
            if not (low < high).all():
                raise ConfigError(
                    f"environment.action_limits: no action lies within {limits[0].tolist()} to {limits[1].tolist()} "
                    f"and the environment's own {space.low.tolist()} to {space.high.tolist()}"
                )
            self.set_spaces(env.single_observation_space, Box(low, high, dtype=np.float64))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the inner environment after `confirm` agrees.

        Raises:
            EnvironmentFault: if it does not agree.
        """
        if self._confirm is not None and not self._confirm(_compose_question(options or {})):
            raise EnvironmentFault("the reset was declined")
        self._t = 0
        self._aborted[:] = False
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Floats) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the inner environment with limited actions; `info["abort"]` has the reason of each abort."""
        if self._limits is not None:
            actions = np.clip(actions, *self._limits)
        states, rewards, terminated, truncated, info = self.env.step(actions)
        if self._abort is not None:
            reasons = list(info.get("abort", [""] * self.num_envs))
            for i in np.flatnonzero(~(terminated | truncated | self._aborted)).tolist():
                reasons[i] = self._find_reason(i, states[i], info.get("applied_action", actions)[i])
                self._aborted[i] = bool(reasons[i])
            info["abort"] = reasons
            self.env.rest(self._aborted)
        self._t += 1
        return states, rewards, terminated | self._aborted, truncated, info

    def _find_reason(self, i: int, state: Floats, action: Floats) -> str:
        """Evaluate the abort condition on simulation `i`: the reason to end its episode, or ""."""
        try:
            reason: Any = self._abort(state.copy(), action.copy(), self._t)  # type: ignore[misc]
        except Exception as error:
            raise SimulationFault(i, f"environment.abort raised {describe_exception(error)}") from error
        if isinstance(reason, str) or reason is None:
            return " ".join((reason or "").split())
        if np.shape(reason) != ():
            raise SimulationFault(i, f"environment.abort returned {reason!r}, expected a bool or a sentence")
        return "the abort condition holds" if reason else ""


def ask_operator(question: str) -> bool:
    """Ask on the terminal; Enter means yes.

    Raises:
        ConfigError: if there is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            "environment.confirm_reset: there is no terminal to ask on; run it in one, give gps.run a `confirm` of "
            "your own, or set it to false"
        )
    print(f"{question} [Enter: yes, n: no] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    return bool(answer) and not answer.strip().lower().startswith("n")  # without a line, the terminal was closed


def _compose_question(options: Mapping[str, Any]) -> str:
    """The question before a reset, with the condition."""
    condition: Mapping[str, Any] = next(iter(options.get("conditions", [{}])), {})
    return f"Reset the environment to {condition or 'its start'}?"
