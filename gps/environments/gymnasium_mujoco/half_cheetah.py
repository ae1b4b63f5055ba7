"""A planar cheetah of 6 joints that runs."""

from gps.environments.gymnasium_mujoco.base import options
from gps.environments.gymnasium_mujoco.runner import Runner


class HalfCheetah(Runner):
    """Reward: speed minus control cost. No fall ends the episode."""

    id = "HalfCheetah-v5"
    defaults = options(
        xml_file="half_cheetah.xml",
        frame_skip=5,
        forward_reward_weight=1.0,
        ctrl_cost_weight=0.1,
        reset_noise_scale=0.1,
        exclude_current_positions_from_observation=True,
    )
    velocity_noise = "normal"

    def observation(self):
        return self.positions(), self.qvel

    def whereabouts(self):
        return {"x_position": self.qpos[:, 0].copy()}


class HalfCheetahV4(HalfCheetah):
    """Version 4: the infos have one other name."""

    id = "HalfCheetah-v4"
    speed_names = ("reward_run",)
