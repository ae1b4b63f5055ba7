"""PILCO's cart-pole: swing the pole up and keep it there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from gps.environments import models
from gps.environments.mujoco import Bools, Floats, MujocoEnv
from gps.environments.single import SingleEnv


class CartPoleSwingUp(MujocoEnv):
    """Swing the pole of a cart up and balance it over the middle.

    Registered as `gps/CartPoleSwingUp-v0`. The system of Deisenroth & Rasmussen 2011: cart 0.5 kg, uniform
    pole of 0.5 kg and 0.6 m, friction 0.1 N/(m/s). State: cart position (m) and pole angle (rad; 0 upright,
    the start hanging at pi), their velocities, and the position of the pole's tip relative to the upright tip
    over the middle (m). Action: the force on the cart in units of 10 N. Success: the tip has been within 0.1
    m of that target for the last second. Reward: PILCO's saturating one, exp(-d²/2w²) - 1 with the tip's
    distance d and w = 0.25 m.
    """

    hold = 1.0

    def __init__(
        self,
        num_envs: int = 1,
        *,
        state: Sequence[str] = ("qpos", "qvel", "site_position:tip-target"),
        threads: int | None = None,
        max_episode_steps: int | None = 40,
    ) -> None:
        super().__init__(
            num_envs,
            mjcf=models.read("cart_pole"),
            state=state,
            frame_skip=5,
            threads=threads,
            max_episode_steps=max_episode_steps,
        )

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return np.expm1(-0.5 * (self.distance("tip", "target") / 0.25) ** 2)

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("tip", "target") < 0.1


single = partial(SingleEnv.of, CartPoleSwingUp)
