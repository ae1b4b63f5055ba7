"""A chain of three links in a viscous fluid."""

from gps.environments.gymnasium_mujoco.base import options
from gps.environments.gymnasium_mujoco.runner import Runner, planar


class Swimmer(Runner):
    """Reward: speed along x minus control cost."""

    id = "Swimmer-v5"
    defaults = options(
        xml_file="swimmer.xml",
        frame_skip=4,
        forward_reward_weight=1.0,
        ctrl_cost_weight=1e-4,
        reset_noise_scale=0.1,
        exclude_current_positions_from_observation=True,
    )
    skipped = 2

    def observation(self):
        return self.positions(), self.qvel

    def whereabouts(self):
        return planar(self.qpos[:, :2])


class SwimmerV4(Swimmer):
    """Version 4: the infos have other names."""

    id = "Swimmer-v4"
    speed_names = ("reward_fwd", "forward_reward")
