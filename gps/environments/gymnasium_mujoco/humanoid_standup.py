"""The humanoid stands up from its back."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import options, squares
from gps.environments.gymnasium_mujoco.humanoid import OBSERVED, HumanoidBody


class HumanoidStandup(HumanoidBody):
    """Reward: height minus control and impact cost."""

    id = "HumanoidStandup-v5"
    defaults = options(
        xml_file="humanoidstandup.xml",
        frame_skip=5,
        uph_cost_weight=1,
        ctrl_cost_weight=0.1,
        impact_cost_weight=0.5e-6,
        impact_cost_range=(-np.inf, 10.0),
        reset_noise_scale=1e-2,
        exclude_current_positions_from_observation=True,
        **dict.fromkeys(OBSERVED, True),
    )

    def outcome(self, actions):
        height = self.qpos[:, 2] / self.model.opt.timestep  # the original has a weight for it and does not use it
        control = self.options.ctrl_cost_weight * squares(np.asarray(actions, dtype=np.float64))
        impact = self.options.impact_cost_weight * squares(self.contact_forces)
        impact = np.clip(impact, *self.options.impact_cost_range)
        info = {"reward_linup": height, "reward_quadctrl": -control, "reward_impact": -impact}
        return height - control - impact + 1, np.zeros(self.num_envs, dtype=bool), {**self.whereabouts(), **info}

    def whereabouts(self):
        x, y, z = self.qpos[:, :3].T.copy()
        return {"x_position": x, "y_position": y, "z_distance_from_origin": z - self.model.qpos0[2], **self.tendons()}
