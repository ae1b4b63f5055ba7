"""PILCO's cart with a double pendulum: swing both links up and balance them."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv


class CartDoublePendulum(SeededTask):
    """Swing a double pendulum on a cart up and balance it over the middle.

    Registered as `gps/CartDoublePendulum-v0`. The system of Deisenroth 2010 ("Efficient reinforcement learning using
    Gaussian processes", appendix C): cart 0.5 kg, two uniform links of 0.5 kg and 0.6 m each, friction 0.1 N/(m/s)
    between cart and ground alone, gravity 9.82 m/s², steps of 50 ms, 100 of them. State: cart position (m), the angle
    of the inner link (rad; 0 upright, the start hanging at π) and that of the outer one relative to it, their
    velocities. (Deisenroth's outer angle is that to the vertical, the sum of ours.) Action: the force on the cart in
    units of 20 N. Success: the tip has been within 0.12 m of its place upright over the middle for the last second.
    Reward: PILCO's, exp(-d²/2w²) - 1 with the tip's distance d and w = 0.5 m.

    Condition key: `seed`; position and velocities are then drawn with a standard deviation of 0.1 each, and both links'
    angles to the vertical with one of 0.01, as in PILCO.
    """

    hold = 1.0

    model_name = "cart_double_pendulum"
    default_state = ("qpos", "qvel")
    default_frame_skip = 10
    default_max_episode_steps = 100

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        position, inner, outer = [0.0, np.pi, np.pi] + rng.normal(0.0, [0.1, 0.01, 0.01])
        speed, inner_rate, outer_rate = rng.normal(0.0, 0.1, 3)
        return np.array([position, inner, outer - inner]), np.array([speed, inner_rate, outer_rate - inner_rate])

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return np.expm1(-0.5 * (self.distance("tip", "target") / 0.5) ** 2)

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("tip", "target") < 0.12


single = partial(SingleEnv.of, CartDoublePendulum)
