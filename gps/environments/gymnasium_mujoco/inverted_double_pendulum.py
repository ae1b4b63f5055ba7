"""Two poles, one on top of the other, on a cart."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import GymnasiumMujocoEnv, options


class InvertedDoublePendulum(GymnasiumMujocoEnv):
    """Reward: 10 for a step with the tip above 1 m, minus penalties for distance and speed. A fall ends the episode."""

    id = "InvertedDoublePendulum-v5"
    defaults = options(
        xml_file="inverted_double_pendulum.xml",
        frame_skip=5,
        healthy_reward=10.0,
        reset_noise_scale=0.1,
    )
    velocity_noise = "normal"
    fields = ("site_xpos", "qfrc_constraint")
    observed_forces: int | None = 1

    def observation(self):
        cart, angles = self.qpos[:, :1], self.qpos[:, 1:]
        forces = np.clip(self.qfrc_constraint, -10, 10)[:, : self.observed_forces]
        return cart, np.sin(angles), np.cos(angles), np.clip(self.qvel, -10, 10), forces

    def outcome(self, actions):
        x, _, y = self.site_xpos[:, 0].T
        v1, v2 = self.qvel[:, 1:3].T
        fallen = ~(y > 1)
        # The original squares scalars with the C library's pow, whose last bit may differ from that of a product.
        distance = 0.01 * np.float_power(x, 2) + np.float_power(y - 2, 2)
        speed = 1e-3 * np.float_power(v1, 2) + 5e-3 * np.float_power(v2, 2)
        alive = self.options.healthy_reward * (~fallen).astype(int)
        info = {"reward_survive": alive, "distance_penalty": -distance, "velocity_penalty": -speed}
        return alive - distance - speed, fallen, info


class InvertedDoublePendulumV4(InvertedDoublePendulum):
    """Version 4: the observation has all constraint forces, and the last step gets the full reward."""

    id = "InvertedDoublePendulum-v4"
    observed_forces = None

    def outcome(self, actions):
        _, fallen, info = super().outcome(actions)
        return self.options.healthy_reward + info["distance_penalty"] + info["velocity_penalty"], fallen, {}
