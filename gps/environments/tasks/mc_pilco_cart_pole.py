"""MC-PILCO's cart-pole: swing the pole up within two of three seconds."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv


class McPilcoCartPole(SeededTask):
    """Swing the pole of a cart up and balance it over the middle, as in MC-PILCO.

    Registered as `gps/McPilcoCartPole-v0`. The system of Amadio et al. 2022 ("Model-based policy search using Monte
    Carlo gradient estimation with real systems application"), from the numbers of their program: cart 0.5 kg, uniform
    pole of 0.5 kg and 0.5 m, friction 0.1 N/(m/s), gravity 9.81 m/s², steps of 50 ms, 60 of them. State: cart position
    (m) and pole angle (rad; 0 hanging, where it starts), their velocities. Action: the force on the cart in units of 10
    N. Reward: minus their cost, exp(-((|angle| - π)/3)² - position²) - 1. Success: the angle's size within 10° of π and
    the cart within 0.1 m of the middle for the last second. Their sensors' noise has a standard deviation of 0.01 on
    each number: `noise.state = 0.01` under `[environment]`.

    Condition key: `seed`; positions and velocities are then drawn with a standard deviation of 0.01 each.
    """

    hold = 1.0

    model_name = "mc_pilco_cart_pole"
    default_state = ("qpos", "qvel")
    default_frame_skip = 5
    default_max_episode_steps = 60

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        return rng.normal(0.0, 0.01, 2), rng.normal(0.0, 0.01, 2)

    def reward(self, states: Floats, actions: Floats) -> Floats:
        return np.expm1(-((self._find_error() / 3.0) ** 2) - self._qpos[:, 0] ** 2)

    def at_goal(self, states: Floats) -> Bools:
        return (np.abs(self._find_error()) < np.deg2rad(10.0)) & (np.abs(self._qpos[:, 0]) < 0.1)

    def _find_error(self) -> Floats:
        """The size of the angle minus π, rad: a pole that has turned further than once is not upright."""
        return np.abs(self._qpos[:, 1]) - np.pi


single = partial(SingleEnv.of, McPilcoCartPole)
