"""PILCO's cart-pole: swing the pole up and balance it."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv


class CartPoleSwingUp(SeededTask):
    """Swing the pole of a cart up and balance it over the middle.

    Registered as `gps/CartPoleSwingUp-v0`. The system of Deisenroth & Rasmussen 2011: cart 0.5 kg, uniform
    pole of 0.5 kg and 0.6 m, friction 0.1 N/(m/s). State: cart position (m) and pole angle (rad; 0 upright,
    the start hanging at pi), their velocities, and the position of the pole's tip relative to the upright tip
    over the middle (m). Action: the force on the cart in units of 10 N. Success: the tip has been within 0.1
    m of that target for the last second. Reward: PILCO's saturating reward, exp(-d²/2w²) - 1 with the tip's
    distance d and w = 0.25 m.

    Condition key: `seed`; positions and velocities are then drawn with a standard deviation of 0.1 each, as in PILCO.
    """

    hold = 1.0

    model_name = "cart_pole"
    default_state = ("qpos", "qvel", "site_position:tip-target")
    default_frame_skip = 5
    default_max_episode_steps = 40

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        return [0.0, np.pi] + rng.normal(0.0, 0.1, 2), rng.normal(0.0, 0.1, 2)

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return np.expm1(-0.5 * (self.distance("tip", "target") / 0.25) ** 2)

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("tip", "target") < 0.1


single = partial(SingleEnv.of, CartPoleSwingUp)
