"""Agents of Stable-Baselines3: which there are, with which settings, and how one acts as a policy of gps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from gps.baselines.episodes import AgentEpisodes, scale_actions
from gps.errors import ConfigError, install_command, nearest
from gps.players import Player
from gps.problem import Problem
from gps.sampling.policy import Observes

NAMES = ("sac", "ppo", "td3")

_LONGEST = 2048  # steps between two updates of PPO, its default
_BATCH = 64  # of PPO's updates, its default


def import_agents() -> Any:
    """Return the package.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import stable_baselines3
    except ImportError:
        raise ConfigError(f"baselines need one more package: {install_command('baselines')}") from None
    return stable_baselines3


def make_agent(
    name: str, episodes: AgentEpisodes, seed: int, budget: int, round_steps: int, options: Mapping[str, Any]
) -> Any:
    """Make an agent with the package's defaults and the given options.

    Args:
        budget: environment steps of the training. PPO updates after a divisor of it, so that it takes no more.
        round_steps: environment steps of an iteration of the experiment, the most between two updates of PPO.
        options: arguments of the agent's class.

    Raises:
        ConfigError: if an option is unknown or invalid.
    """
    package = import_agents()
    import torch

    torch.set_num_threads(1)
    kind = getattr(package, name.upper())
    known = set(inspect.signature(kind).parameters) - {"policy", "env", "seed", "device", "verbose", "self"}
    for option in options:
        if option not in known:
            raise ConfigError(f"--option {option}: {name.upper()} has none of this name{nearest(option, known)}")
    usual: dict[str, Any] = {}
    if name == "ppo":
        usual["n_steps"] = _find_divisor(budget, min(round_steps, _LONGEST))
        usual["batch_size"] = _find_divisor(int(options.get("n_steps", usual["n_steps"])), _BATCH)
    try:
        return kind("MlpPolicy", episodes, seed=seed, device="cpu", verbose=0, **{**usual, **options})
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"--option: {name.upper()} refuses its settings: {error}") from None


def _find_divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number that is at most `most`."""
    return next(k for k in range(min(number, most), 0, -1) if number % k == 0)


class AgentPolicy:
    """A trained agent without exploration, as a `gps.sampling.policy.Policy`."""

    player, abstains, carries_over, parameters = Player.POLICY, "", True, None
    observes: Observes = "observation"

    def __init__(self, agent: Any, problem: Problem, conditions: int) -> None:
        self._agent, self._problem, self._conditions = agent, problem, conditions

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        du = self._problem.du
        return np.zeros((self._conditions, self._problem.horizon, du, du))

    def act(self, seen: Any, t: int) -> Float[np.ndarray, "M N du"]:
        observations = np.asarray(seen, dtype=np.float32)
        flat, _ = self._agent.predict(observations.reshape(-1, observations.shape[-1]), deterministic=True)
        return scale_actions(flat, self._problem).reshape(*observations.shape[:-1], self._problem.du)

    def repeat(self, count: int) -> Self:
        return type(self)(self._agent, self._problem, self._conditions * count)
