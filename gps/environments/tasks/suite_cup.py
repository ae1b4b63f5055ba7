"""Ball in cup of the DeepMind Control Suite."""

from __future__ import annotations

from functools import partial

import mujoco
import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv

_ROOM = 0.05 - 0.025
"""Half the width of the cup's inside less the ball's radius, m."""


class SuiteCup(SeededTask):
    """Catch a ball on a string with the cup that it hangs from.

    Registered as `gps/SuiteCup-v0`. The task `ball_in_cup catch` of Tassa et al. 2018 ("DeepMind Control Suite"), in
    the vertical plane: cup on springs, string 0.3 m, steps of 20 ms, 1,000 of them. State: the offsets of cup and ball
    (m, x and z each) and their velocities. Actions: the forces on the cup along x and z in units of 5 N. Start: the
    ball hangs at rest. Reward: 1 while the ball's middle is within 0.025 m of the middle of the cup's inside, along x
    and along z, else 0. Success: the same in the end.

    Condition key: `seed`; the place of the ball is then drawn around the cup where it touches nothing, as in the suite.
    """

    model_name = "suite_cup"
    default_state = ("qpos", "qvel")
    default_frame_skip = 10
    default_max_episode_steps = 1000

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        data = mujoco.MjData(self.model)
        while True:
            data.qpos[2:] = rng.uniform([-0.2, 0.2], [0.2, 0.5])
            mujoco.mj_forward(self.model, data)
            if not data.ncon:
                return np.array(data.qpos), np.zeros(4)

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return self.at_goal(states).astype(np.float64)

    def at_goal(self, states: Floats) -> Bools:
        offset = np.abs(self.site("inside") - self.site("ball"))
        return (offset[:, 0] < _ROOM) & (offset[:, 2] < _ROOM)


single = partial(SingleEnv.of, SuiteCup)
