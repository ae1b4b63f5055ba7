"""A humanoid of 17 joints that walks."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import options, squares
from gps.environments.gymnasium_mujoco.runner import Runner, between, planar

OBSERVED = {  # option -> field of mjData, and its first row in the observation
    "include_cinert_in_observation": ("cinert", 1),
    "include_cvel_in_observation": ("cvel", 1),
    "include_qfrc_actuator_in_observation": ("qfrc_actuator", 6),
    "include_cfrc_ext_in_observation": ("contact_forces", 1),
}


class HumanoidBody(Runner):
    """The observation of both tasks of the humanoid."""

    fields = ("cinert", "cvel", "qfrc_actuator", "xipos", "ten_length", "ten_velocity")
    skipped = 2

    def reads_contact_forces(self):
        return True

    def observation(self):
        rows = (
            getattr(self, field)[:, first:].reshape(self.num_envs, -1)
            for option, (field, first) in OBSERVED.items()
            if getattr(self.options, option) is True
        )
        return self.positions(), self.qvel, *rows

    def tendons(self):
        """The infos about the tendons."""
        return {"tendon_length": self.ten_length.copy(), "tendon_velocity": self.ten_velocity.copy()}


class Humanoid(HumanoidBody):
    """Reward: speed of the centre of mass and health minus control and contact cost. A fall ends the episode."""

    id = "Humanoid-v5"
    defaults = options(
        xml_file="humanoid.xml",
        frame_skip=5,
        forward_reward_weight=1.25,
        ctrl_cost_weight=0.1,
        contact_cost_weight=5e-7,
        contact_cost_range=(-np.inf, 10.0),
        healthy_reward=5.0,
        terminate_when_unhealthy=True,
        healthy_z_range=(1.0, 2.0),
        reset_noise_scale=1e-2,
        exclude_current_positions_from_observation=True,
        **dict.fromkeys(OBSERVED, True),
    )

    def place(self):
        """The centre of mass in the plane, (n, 2)."""
        masses = self.batch.expanded("body_mass")  # of each simulation; None if no condition has changed one
        if masses is None:
            masses = np.broadcast_to(self.model.body_mass, (self.num_envs, self.model.nbody))
        return (np.einsum("nb,nbj->nj", masses, self.xipos) / masses.sum(axis=1)[:, None])[:, :2]

    def control_cost(self, actions):
        return super().control_cost(np.asarray(actions, dtype=np.float64))

    def contact_cost(self):
        return np.clip(
            self.options.contact_cost_weight * squares(self.contact_forces), *self.options.contact_cost_range
        )

    def healthy(self):
        return between(self.qpos[:, 2], self.options.healthy_z_range)

    def whereabouts(self):
        return {**planar(self.qpos[:, :2]), **self.tendons()}
