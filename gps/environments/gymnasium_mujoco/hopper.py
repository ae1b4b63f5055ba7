"""A leg of three joints that hops."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import options
from gps.environments.gymnasium_mujoco.runner import Runner, SurvivalV4, between, height


class Hopper(Runner):
    """Reward: speed and health minus control cost. The episode ends when it falls or leaves the healthy range."""

    id = "Hopper-v5"
    defaults = options(
        xml_file="hopper.xml",
        frame_skip=4,
        forward_reward_weight=1.0,
        ctrl_cost_weight=1e-3,
        healthy_reward=1.0,
        terminate_when_unhealthy=True,
        healthy_state_range=(-100.0, 100.0),
        healthy_z_range=(0.7, float("inf")),
        healthy_angle_range=(-0.2, 0.2),
        reset_noise_scale=5e-3,
        exclude_current_positions_from_observation=True,
    )

    def observation(self):
        return self.positions(), np.clip(self.qvel, -10, 10)

    def healthy(self):
        limits = self.options
        healthy = between(self.qpos[:, 1], limits.healthy_z_range)
        healthy &= between(self.qpos[:, 2], limits.healthy_angle_range)
        healthy &= between(self.qpos[:, 2:], limits.healthy_state_range).all(axis=1)
        healthy &= between(self.qvel, limits.healthy_state_range).all(axis=1)
        return healthy

    def whereabouts(self):
        return height(self)


class HopperV4(SurvivalV4, Hopper):
    """Version 4: the last step's reward differs."""

    id = "Hopper-v4"
