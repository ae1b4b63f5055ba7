"""Gymnasium's MountainCarContinuous-v0 with longer steps, and a cost for planners."""

import jax.numpy as jnp
import numpy as np
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv

FLAG = 0.45


class FlagCar(Continuous_MountainCarEnv):
    """MountainCarContinuous-v0, each action applied `repeat` times; the rewards of those steps are summed.

    The option `position` of a reset is where the car starts at rest; without it the seed decides, as in the original.
    Success: the car is at the flag, which ends the episode.
    """

    max_episode_steps = 40

    def __init__(self, repeat=5):
        super().__init__()
        self.repeat = repeat

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if options and "position" in options:
            self.state = np.array([options["position"], 0.0])
        return np.array(self.state, dtype=np.float32), {"success": False}

    def step(self, action):
        total = 0.0
        for _ in range(self.repeat):
            observation, reward, terminated, truncated, info = super().step(action)
            total += reward
            if terminated:
                break
        return observation, total, terminated, truncated, {**info, "success": bool(terminated)}


def cost(x, u, t):
    """How far the car is from the flag, saturating: 1 - exp(-d²/0.5) + 0.01 u², with d to the left of it."""
    distance = jnp.minimum(x[0] - FLAG, 0.0)
    return 1.0 - jnp.exp(-(distance**2) / 0.5) + 0.01 * jnp.sum(u**2)
