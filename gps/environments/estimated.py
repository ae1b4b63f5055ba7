"""Velocities that nobody measures: they are estimated from noisy positions while an episode runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from gps.dynamics.velocity_filter import VelocityFilter
from gps.environments.contract import BatchEnvironment, Floats
from gps.environments.wrapper import Wrapper


class Estimated(Wrapper):
    """A batch environment whose states are the estimates of a filter, from the measured positions and nothing later.

    `info["state"]` are the true states, as the inner environment, which is noisy, says them. An episode begins at rest,
    as far as the filter knows.

    Args:
        env: the inner environment, whose noise the positions have; its velocities are not used.
        filter: of its states.
    """

    def __init__(self, env: BatchEnvironment, filter: VelocityFilter) -> None:
        super().__init__(env)
        self.filter = self._filter = filter
        self.sensor_noise = filter.deviation
        self._estimates = np.zeros((env.num_envs, len(filter.noise)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start episodes, and their estimates with them."""
        states, info = self.env.reset(seed=seed, options=options)
        started = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        self._estimates = np.where(started[:, None], self._filter.begin(states), self._estimates)
        return self._estimates.copy(), info

    def step(self, actions: Floats) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the inner environment, and the estimates with it."""
        states, *rest = self.env.step(actions)
        self._estimates = self._filter.update(self._estimates, states)
        return self._estimates.copy(), *rest
