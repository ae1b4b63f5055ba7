"""The environment and the cost of this experiment. Replace both with your own."""

import gymnasium
import jax.numpy as jnp
import numpy as np

GOAL = np.array([0.5, 0.5])  # m
DT = 0.05  # s


class Puck(gymnasium.Env):
    """A puck of 1 kg on a table with friction, pushed by a force of at most 2 N in x and y.

    The observation is the controller's input: position (m) and velocity (m/s).
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,))
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (2,))

    def reset(self, *, seed=None, options=None):
        """Return to the start of a condition. The same condition must always give the same start."""
        super().reset(seed=seed)
        self.position = np.array((options or {}).get("start", [0.0, 0.0]))
        self.velocity = np.zeros(2)
        return self._observe(), {}

    def step(self, action):
        """Apply the action for one time step."""
        self.velocity = self.velocity + DT * (action - 0.5 * self.velocity)
        self.position = self.position + DT * self.velocity
        distance = np.linalg.norm(self.position - GOAL)
        return self._observe(), -distance, False, False, {"success": distance < 0.05}

    def _observe(self):
        return np.concatenate([self.position, self.velocity])


def cost(x, u, t):
    """The cost of one time step: a JAX function of the state x, the action u and the step t."""
    position, velocity = x[:2], x[2:]
    return jnp.sum((position - GOAL) ** 2) + 0.1 * jnp.sum(velocity**2)
