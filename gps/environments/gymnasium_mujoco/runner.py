"""Robots that run along x: a reward for speed and health, and a cost of actions and contacts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps.environments.contract import Bools, Floats
from gps.environments.gymnasium_mujoco.base import GymnasiumMujocoEnv, Outcome, norm, squares


class Runner(GymnasiumMujocoEnv):
    """A runner: its reward is speed and health minus control and contact cost; a fall may end the episode."""

    speed_names: tuple[str, ...] = ("reward_forward",)
    """The names of the speed reward in the infos."""

    skipped = 1
    """The number of leading positions that the observation omits by default."""

    def place(self) -> Floats:
        return self.qpos[:, : self.skipped]

    def positions(self) -> Floats:
        """The positions in the observation."""
        return self.qpos[:, self.skipped * self.options.exclude_current_positions_from_observation :]

    def control_cost(self, actions: NDArray[Any]) -> NDArray[Any]:
        """The cost of the actions, (n,), in the precision of the actions."""
        return self.options.ctrl_cost_weight * squares(actions)

    def contact_cost(self) -> Floats | None:
        """The cost of the contacts, (n,); None without one."""
        return None

    def healthy(self) -> Bools | None:
        """True for each healthy simulation, (n,); None if health does not matter."""
        return None

    def survival(self, healthy: Bools) -> Floats:
        """The reward of health, (n,)."""
        return healthy * self.options.healthy_reward

    def outcome(self, actions: NDArray[Any]) -> Outcome:
        info = {**self.whereabouts(), **dict(zip(("x_velocity", "y_velocity"), self.velocity.T, strict=False))}
        gains = self.options.forward_reward_weight * self.velocity[:, 0]
        info |= dict.fromkeys(self.speed_names, gains)
        terminated = np.zeros(self.num_envs, dtype=bool)
        if (healthy := self.healthy()) is not None:
            info["reward_survive"] = survival = self.survival(healthy)
            gains = gains + survival
            if self.options.terminate_when_unhealthy:
                terminated = ~healthy
        costs = self.control_cost(actions)
        info["reward_ctrl"] = -costs
        if (contact := self.contact_cost()) is not None:
            info["reward_contact"] = -contact
            costs = costs + contact
        return gains - costs, terminated, info


class SurvivalV4(Runner):
    """A runner of version 4: it gets the reward of health in every step, that of the fall included."""

    def survival(self, healthy: Bools) -> Floats:
        return (healthy | self.options.terminate_when_unhealthy) * self.options.healthy_reward


def height(runner: Runner) -> dict[str, Floats]:
    """The infos about x and the height above the start."""
    return {"x_position": runner.qpos[:, 0].copy(), "z_distance_from_origin": runner.qpos[:, 1] - runner.model.qpos0[1]}


def planar(positions: Floats) -> dict[str, Floats]:
    """The infos about positions in the plane, (n, 2), and their distances from the origin."""
    x, y = positions.T.copy()
    return {"x_position": x, "y_position": y, "distance_from_origin": norm(positions)}


def between(values: Floats, bounds: tuple[float, float]) -> Bools:
    """True for values strictly between the bounds."""
    low, high = bounds
    return (low < values) & (values < high)
