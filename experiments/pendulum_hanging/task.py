"""Gymnasium's Pendulum-v1 from hanging, and two costs: its own, and a smooth one."""

import jax.numpy as jnp
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv


class HangingPendulum(PendulumEnv):
    """Pendulum-v1, but for the start: hanging at rest.

    Options of a reset: `angle` (rad, 0 upright) and `velocity` (rad/s), to start elsewhere. Success: within 0.2 rad of
    upright now.
    """

    max_episode_steps = 100

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        given = options or {}
        self.state = np.array([given.get("angle", np.pi), given.get("velocity", 0.0)])
        return self._get_obs(), {"success": self.is_up()}

    def step(self, action):
        *stepped, info = super().step(action)
        return *stepped, {**info, "success": self.is_up()}

    def is_up(self):
        return bool(np.cos(self.state[0]) > np.cos(0.2))


def minus_reward(x, u, t):
    """Minus the reward of Pendulum-v1: angle² + 0.1 velocity² + 0.001 torque²; x is (cos, sin, velocity).

    The angle jumps by a turn where the pendulum hangs, so at the start this has no slope that a method could use.
    """
    return jnp.arctan2(x[1], x[0]) ** 2 + 0.1 * x[2] ** 2 + 0.001 * jnp.sum(u**2)


def cost(x, u, t):
    """The same, with π² (1 - cos angle)/2 in place of angle²: equal upright and hanging, and smooth."""
    return 0.5 * jnp.pi**2 * (1.0 - x[0]) + 0.1 * x[2] ** 2 + 0.001 * jnp.sum(u**2)
