"""Two legs of three joints each in a plane."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import options
from gps.environments.gymnasium_mujoco.runner import Runner, SurvivalV4, between, height


class Walker2d(Runner):
    """Reward: speed and health minus control cost. A fall ends the episode."""

    id = "Walker2d-v5"
    defaults = options(
        xml_file="walker2d_v5.xml",
        frame_skip=4,
        forward_reward_weight=1.0,
        ctrl_cost_weight=1e-3,
        healthy_reward=1.0,
        terminate_when_unhealthy=True,
        healthy_z_range=(0.8, 2.0),
        healthy_angle_range=(-1.0, 1.0),
        reset_noise_scale=5e-3,
        exclude_current_positions_from_observation=True,
    )

    def observation(self):
        return self.positions(), np.clip(self.qvel, -10, 10)

    def healthy(self):
        limits = self.options
        return between(self.qpos[:, 1], limits.healthy_z_range) & between(self.qpos[:, 2], limits.healthy_angle_range)

    def whereabouts(self):
        return height(self)


class Walker2dV4(SurvivalV4, Walker2d):
    """Version 4: the left foot's friction and the last step's reward differ."""

    id = "Walker2d-v4"
    defaults = options(Walker2d.defaults, xml_file="walker2d.xml")
