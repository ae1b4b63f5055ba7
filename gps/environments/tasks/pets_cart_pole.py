"""The cart-pole of PETS: swing the pole up with a strong force and one reward for the tip's place."""

from __future__ import annotations

from functools import partial

import numpy as np

from gps.environments.contract import Bools, Floats
from gps.environments.tasks.seeded import SeededTask
from gps.environments.tasks.single import SingleEnv


class PetsCartPole(SeededTask):
    """Swing the pole of a cart up and balance it over the middle, as in PETS.

    Registered as `gps/PetsCartPole-v0`. The system of Chua et al. 2018 ("Deep reinforcement learning in a handful of
    trials"), from the numbers of their program: cart 10.5 kg, pole 5.0 kg and 0.6 m, damping 1 at both joints, ±2.5 m,
    steps of 40 ms, 200 of them. State: cart position (m), pole angle (rad; 0 hanging, where it starts), their
    velocities. Action: the force in units of 300 N; theirs, u, is in units of 100 N, ±3. Reward: exp(-d²/0.36) - 0.01
    u², with the distance d (m) of the tip from its place upright over the middle; the best possible return is about
    180. Success: the tip has been within 0.1 m of that place for the last second.

    Condition key: `seed`; positions and velocities are then drawn with a standard deviation of 0.1 each.
    """

    hold = 1.0

    model_name = "pets_cart_pole"
    default_state = ("qpos", "qvel")
    default_frame_skip = 2
    default_max_episode_steps = 200

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        return rng.normal(0.0, 0.1, 2), rng.normal(0.0, 0.1, 2)

    def reward(self, states: Floats, actions: Floats) -> Floats:
        control = 3.0 * actions[:, 0]
        return np.exp(-((self.distance("tip", "target") / 0.6) ** 2)) - 0.01 * control**2

    def at_goal(self, states: Floats) -> Bools:
        return self.distance("tip", "target") < 0.1


single = partial(SingleEnv.of, PetsCartPole)
