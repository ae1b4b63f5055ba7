"""A planar arm of two links that reaches for a random point."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import GymnasiumMujocoEnv, norm, options, squares


class Reacher(GymnasiumMujocoEnv):
    """Reward: minus the distance of the fingertip from the target, minus control cost."""

    id = "Reacher-v5"
    defaults = options(xml_file="reacher.xml", frame_skip=2, reward_dist_weight=1, reward_control_weight=1)
    fields = ("xpos",)

    def draw(self, rng):
        qpos = rng.uniform(low=-0.1, high=0.1, size=self.model.nq) + self.model.qpos0
        while True:
            goal = rng.uniform(low=-0.2, high=0.2, size=2)
            if np.linalg.norm(goal) < 0.2:
                break
        qpos[-2:] = goal
        qvel = rng.uniform(low=-0.005, high=0.005, size=self.model.nv)
        qvel[-2:] = 0
        return qpos, qvel

    def to_target(self):
        """The fingertip's position relative to the target, (n, 3)."""
        return self.body("fingertip") - self.body("target")

    def observation(self):
        angles = self.qpos[:, :2]
        return np.cos(angles), np.sin(angles), self.qpos[:, 2:], self.qvel[:, :2], self.to_target()[:, :2]

    def outcome(self, actions):
        near = -norm(self.to_target()) * self.options.reward_dist_weight
        control = -squares(actions) * self.options.reward_control_weight
        info = {"reward_dist": near, "reward_ctrl": control}
        return near + control, np.zeros(self.num_envs, dtype=bool), info
