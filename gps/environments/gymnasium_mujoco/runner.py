"""Things that run along x: paid for speed and, some of them, for being healthy; action and contact cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps.environments.contract import Bools, Floats
from gps.environments.gymnasium_mujoco.base import GymnasiumMujocoEnv, Outcome, norm, squares


class Runner(GymnasiumMujocoEnv):
    """The rewards of runners: speed and health minus control and contact; falling may end the episode."""

    speed_names = ("reward_forward",)
    """What the infos call the reward of speed."""

    skipped = 1
    """How many of the first positions the observation leaves out, as long as nobody wants them."""

    def place(self) -> Floats:
        return self.qpos[:, : self.skipped]

    def positions(self) -> Floats:
        """The positions that are observed."""
        return self.qpos[:, self.skipped * self.options.exclude_current_positions_from_observation :]

    def control_cost(self, actions: NDArray[Any]) -> NDArray[Any]:
        """What the actions cost, (n,), in the precision of the actions."""
        return self.options.ctrl_cost_weight * squares(actions)

    def contact_cost(self) -> Floats | None:
        """What the contacts cost, (n,), if they do."""
        return None

    def healthy(self) -> Bools | None:
        """Whether each is healthy, (n,), if that matters."""
        return None

    def survival(self, healthy: Bools) -> Floats:
        """The reward of being healthy, (n,)."""
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
    """Version 4 pays for health until the episode ends, the fall included."""

    def survival(self, healthy: Bools) -> Floats:
        return (healthy | self.options.terminate_when_unhealthy) * self.options.healthy_reward


def height(runner: Runner) -> dict[str, Floats]:
    """How far along x, and how high above its start, each runner is."""
    return {"x_position": runner.qpos[:, 0].copy(), "z_distance_from_origin": runner.qpos[:, 1] - runner.model.qpos0[1]}


def planar(positions: Floats) -> dict[str, Floats]:
    """Where in the plane, (n, 2), each is, and how far from the origin."""
    x, y = positions.T.copy()
    return {"x_position": x, "y_position": y, "distance_from_origin": norm(positions)}


def between(values: Floats, bounds: tuple[float, float]) -> Bools:
    """Whether the values lie strictly between the bounds."""
    low, high = bounds
    return (low < values) & (values < high)
