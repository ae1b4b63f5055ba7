"""An arm of seven joints that pushes a cylinder to a goal."""

import numpy as np

from gps.environments.gymnasium_mujoco.base import GymnasiumMujocoEnv, norm, options, squares


class Pusher(GymnasiumMujocoEnv):
    """Reward: minus the distances from object to goal and from fingertip to object, minus control cost."""

    id = "Pusher-v5"
    defaults = options(
        xml_file="pusher_v5.xml",
        frame_skip=5,
        reward_near_weight=0.5,
        reward_dist_weight=1,
        reward_control_weight=0.1,
    )
    fields = ("xpos",)

    def draw(self, rng):
        qpos = self.model.qpos0.copy()
        while True:
            cylinder = np.array([rng.uniform(low=-0.3, high=0, size=1)[0], rng.uniform(low=-0.2, high=0.2, size=1)[0]])
            if np.linalg.norm(cylinder) > 0.17:
                break
        qpos[-4:-2], qpos[-2:] = cylinder, 0.0
        qvel = rng.uniform(low=-0.005, high=0.005, size=self.model.nv)
        qvel[-4:] = 0
        return qpos, qvel

    def observation(self):
        return self.qpos[:, :7], self.qvel[:, :7], *map(self.body, ("tips_arm", "object", "goal"))

    def outcome(self, actions):
        weights = self.options
        near = -norm(self.body("object") - self.body("tips_arm")) * weights.reward_near_weight
        far = -norm(self.body("object") - self.body("goal")) * weights.reward_dist_weight
        control = -squares(actions) * weights.reward_control_weight
        info = {"reward_dist": far, "reward_ctrl": control, "reward_near": near}
        return far + control + near, np.zeros(self.num_envs, dtype=bool), info
