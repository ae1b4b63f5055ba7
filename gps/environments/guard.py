"""What stands between a policy and a robot: limits of the actions, an abort condition, a question before each reset."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from gps.environments.plain.recipe import described
from gps.errors import ConfigError, EnvironmentFault, SimulationFault

Floats = NDArray[np.float64]
Abort = Callable[[Floats, Floats, int], object]
"""`abort(state, action, t)`, after each step: the new state (dx,), the action (du,) that led there, the step from 0.
True, or a sentence that says why, ends the episode; False, None or an empty string does not."""
Confirm = Callable[[str], bool]
"""`confirm(question)`: whether to go on. It may take as long as it likes."""


class Guarded(VectorWrapper):
    """A batch environment that is not let do everything. Its other attributes are those of the batch.

    Args:
        env: with actions as numbers; its episodes do not start anew by themselves.
        limits: lowest and highest action, (du,) each; within the action space where that is tighter.
        abort: ends an episode, see `Abort`; what was sampled until then is kept.
        confirm: asked before each reset; if it says no, the run ends with what it has on disk.

    Raises:
        ConfigError: if no action is left within both limits.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
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
            self.single_action_space = Box(low, high, dtype=np.float64)
            self.action_space = batch_space(self.single_action_space, env.num_envs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As of the batch, once `confirm` agrees.

        Raises:
            EnvironmentFault: if it does not.
        """
        if self._confirm is not None and not self._confirm(_question(options or {})):
            raise EnvironmentFault("the reset was declined")
        self._t = 0
        self._aborted[:] = False
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Floats) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """As of the batch, with limited actions; `info["abort"]` has the reason of each abort."""
        if self._limits is not None:
            actions = np.clip(actions, *self._limits)
        states, rewards, terminated, truncated, info = self.env.step(actions)
        if self._abort is not None:
            reasons = list(info.get("abort", [""] * self.num_envs))
            for i in np.flatnonzero(~(terminated | truncated | self._aborted)):
                reasons[i] = self._why(i, states[i], info.get("action", actions)[i])
                self._aborted[i] = bool(reasons[i])
            info["abort"] = reasons
            if hasattr(self.env, "rest"):
                self.env.rest(self._aborted)
        self._t += 1
        return states, rewards, terminated | self._aborted, truncated, info

    def _why(self, i: int, state: Floats, action: Floats) -> str:
        try:
            reason = self._abort(state.copy(), action.copy(), self._t)  # type: ignore[misc]
        except Exception as error:
            raise SimulationFault(i, f"environment.abort raised {described(error)}") from error
        if isinstance(reason, str) or reason is None:
            return " ".join((reason or "").split())
        if np.shape(reason) != ():
            raise SimulationFault(i, f"environment.abort returned {reason!r}, expected a bool or a sentence")
        return "the abort condition holds" if reason else ""


def ask(question: str) -> bool:
    """Ask on the terminal; Enter goes on.

    Raises:
        ConfigError: if nobody is there to be asked.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            "environment.confirm_reset: there is no terminal to ask on; run it in one, give gps.run a `confirm` of "
            "your own, or set it to false"
        )
    print(f"{question} [Enter: yes, n: no] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    return bool(answer) and not answer.strip().lower().startswith("n")  # without a line, the terminal was closed


def _question(options: Mapping[str, Any]) -> str:
    condition = next(iter(options.get("conditions", [{}])), {})
    return f"Reset the environment to {condition or 'its start'}?"
