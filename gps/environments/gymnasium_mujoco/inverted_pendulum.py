"""A pole on a cart."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import GymnasiumMujocoEnv, options


class InvertedPendulum(GymnasiumMujocoEnv):
    """Reward: 1 for each step with the pole within 0.2 rad of upright. A fall ends the episode."""

    id = "InvertedPendulum-v5"
    defaults = options(xml_file="inverted_pendulum.xml", frame_skip=2, reset_noise_scale=0.01)

    def observation(self):
        return self.qpos, self.qvel

    def outcome(self, actions):
        angle = np.abs(np.concatenate(self.observation(), axis=1)[:, 1])
        standing = (angle <= 0.2) & np.isfinite(self.qpos).all(axis=1) & np.isfinite(self.qvel).all(axis=1)
        reward = standing.astype(float)
        return reward, ~standing, {"reward_survive": reward}


class InvertedPendulumV4(InvertedPendulum):
    """Version 4: the last step also has a reward of 1."""

    id = "InvertedPendulum-v4"

    def outcome(self, actions):
        _, fallen, _ = super().outcome(actions)
        return np.ones(self.num_envs), fallen, {}
