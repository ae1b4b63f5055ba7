"""A robot with four legs of two joints each."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import options, squares
from gps.environments.gymnasium_mujoco.runner import Runner, SurvivalV4, planar


class Ant(Runner):
    """Reward: speed along x and health minus control and contact cost. The episode ends outside the healthy heights."""

    id = "Ant-v5"
    defaults = options(
        xml_file="ant.xml",
        frame_skip=5,
        forward_reward_weight=1,
        ctrl_cost_weight=0.5,
        contact_cost_weight=5e-4,
        healthy_reward=1.0,
        main_body=1,
        terminate_when_unhealthy=True,
        healthy_z_range=(0.2, 1.0),
        contact_force_range=(-1.0, 1.0),
        reset_noise_scale=0.1,
        exclude_current_positions_from_observation=True,
        include_cfrc_ext_in_observation=True,
    )
    velocity_noise = "normal"
    fields = ("xpos",)
    skipped = 2

    def reads_contact_forces(self):
        return True

    def place(self):
        return self.body(self.options.main_body)[:, :2]

    def observation(self):
        if not self.options.include_cfrc_ext_in_observation:
            return self.positions(), self.qvel
        return self.positions(), self.qvel, self.clipped_forces()[:, 1:].reshape(self.num_envs, -1)

    def clipped_forces(self):
        """The contact forces on each body, (n, nbody, 6), within bounds."""
        return np.clip(self.contact_forces, *self.options.contact_force_range)

    def contact_cost(self):
        return self.options.contact_cost_weight * squares(self.clipped_forces())

    def healthy(self):
        low, high = self.options.healthy_z_range
        healthy = (low <= self.qpos[:, 2]) & (self.qpos[:, 2] <= high)
        return healthy & np.isfinite(self.qpos).all(axis=1) & np.isfinite(self.qvel).all(axis=1)

    def whereabouts(self):
        return planar(self.qpos[:, :2])


class AntV4(SurvivalV4, Ant):
    """Version 4: contact forces are optional, and the last step's reward differs."""

    id = "Ant-v4"
    speed_names = ("reward_forward", "forward_reward")
    defaults = options(
        {name: value for name, value in Ant.defaults.items() if name != "include_cfrc_ext_in_observation"},
        main_body="torso",
        use_contact_forces=False,
    )

    def reads_contact_forces(self):
        return self.options.use_contact_forces

    def observation(self):
        if not self.options.use_contact_forces:
            return self.positions(), self.qvel
        return self.positions(), self.qvel, self.clipped_forces().reshape(self.num_envs, -1)

    def contact_cost(self):
        return super().contact_cost() if self.options.use_contact_forces else None

    def outcome(self, actions):
        rewards, terminated, info = super().outcome(actions)
        if "reward_contact" in info:
            info["reward_ctrl"] = info.pop("reward_contact")  # the original's name for it
        return rewards, terminated, info

    def whereabouts(self):
        return planar(self.place())
