"""Cart-pole swing-up of the DeepMind Control Suite."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.tolerance import tolerate, tolerate_until


class SuiteCartPole(SeededTask):
    """Swing the pole of a cart up and balance it, with the suite's smooth reward.

    Registered as `gps/SuiteCartPole-v0`. The task `cartpole swingup` of Tassa et al. 2018 ("DeepMind Control Suite"):
    cart 1 kg, pole 0.1 kg and 1 m, ±1.8 m, steps of 10 ms, 1,000 of them. State: cart position (m), pole angle (rad; 0
    upright, the start hanging at π), their velocities. Action: the force in units of 10 N. Reward, between 0 and 1: the
    product of four factors, (1 + cos angle)/2, (1 + b(x, 2 m))/2, (1 + b(angular velocity, 5 rad/s))/2 and (4 + max(0,
    1 - a²))/5, with the cart's position x, the action a and the bell curve b that is 0.1 at its second argument.
    Success: cosine at least 0.995 and within 0.25 m of the middle for the last second.

    Condition key: `seed`; positions and velocities are then drawn with a standard deviation of 0.01 each, as in the
    suite.
    """

    hold = 1.0

    model_name = "suite_cart_pole"
    default_state = ("qpos", "qvel")
    default_frame_skip = 1
    default_max_episode_steps = 1000

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        return [0.0, np.pi] + rng.normal(0.0, 0.01, 2), rng.normal(0.0, 0.01, 2)

    def reward(self, states: Floats, actions: Floats) -> Floats:
        upright = (1.0 + np.cos(self._qpos[:, 1])) / 2.0
        centred = (1.0 + tolerate(self._qpos[:, 0], 2.0)) / 2.0
        slow = (1.0 + tolerate(self._qvel[:, 1], 5.0)) / 2.0
        return upright * centred * slow * (4.0 + tolerate_until(actions[:, 0], 1.0)) / 5.0

    def at_goal(self, states: Floats) -> Bools:
        return (np.cos(self._qpos[:, 1]) >= 0.995) & (np.abs(self._qpos[:, 0]) <= 0.25)


single = partial(SingleEnv.of, SuiteCartPole)
