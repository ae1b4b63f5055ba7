"""Two costs of the cart with a double pendulum, PILCO's and one for local models; and the system in PILCO's state."""

import jax.numpy as jnp
import numpy as np

from gps.environments.tasks.cart_double_pendulum import CartDoublePendulum

ARRIVAL = 60  # the step at which the links must be up; success is judged over the last second, steps 80 to 99
WEIGHTS = jnp.array([10.0, 1.0, 1.0, 0.1, 0.1, 0.1])  # cart (m), both links' angles to the vertical (rad), their rates


def find_angles(x):
    """Position (m), both links' angles to the vertical (rad), and their rates; the state's outer one is relative."""
    return jnp.stack([x[0], x[1], x[1] + x[2], x[3], x[4], x[4] + x[5]])


def find_offset(x):
    """The tip's place relative to upright over the middle, along and above the rail, m."""
    position, inner, outer = find_angles(x)[:3]
    return jnp.stack(
        [position - 0.6 * (jnp.sin(inner) + jnp.sin(outer)), 0.6 * (jnp.cos(inner) + jnp.cos(outer)) - 1.2]
    )


def minus_reward(x, u, t):
    """PILCO's cost, 1 - exp(-d²/2w²): the tip's distance d from its place upright over the middle, w = 0.5 m."""
    offset = find_offset(x)
    return -jnp.expm1(-0.5 * (offset @ offset) / 0.25)


def swing_up(x, u, t):
    """½ Σ weight y² of `find_angles`, once at the arrival with a weight of 30, then a little; and 0.15 u².

    Earlier steps cost no more than their force: the links must leave the way that leads down.
    """
    weight = jnp.where(t == ARRIVAL, 30.0, jnp.where(t > ARRIVAL, 0.1, 0.0))
    return 0.5 * weight * jnp.sum(WEIGHTS * find_angles(x) ** 2) + 0.15 * u @ u


class VerticalAngles(CartDoublePendulum):
    """The cart with a double pendulum, whose state has the outer link's angle to the vertical and its rate, as PILCO's.

    The tip's place is then linear in the cart's and in sines and cosines of entries of the state, so that PILCO's cost
    has an exact expectation. State: `qpos:cart` (m), `qpos:inner` and `outer` (rad), and their velocities `qvel:cart`,
    `qvel:inner` and `outer_rate`.
    """

    default_state = ("qpos:cart", "qpos:inner", "outer", "qvel:cart", "qvel:inner", "outer_rate")

    def _bind(self):
        self._outer, self._outer_rate = np.zeros((self.num_envs, 1)), np.zeros((self.num_envs, 1))
        return {**super()._bind(), "outer": self._outer, "outer_rate": self._outer_rate}

    def _record_start(self, ids):
        self._add_angles()
        super()._record_start(ids)

    def _advance(self, actions, failed):
        super()._advance(actions, failed)
        self._add_angles()

    def _add_angles(self):
        """The outer joint's angle is that between the links."""
        self._outer[:, 0] = self._qpos[:, 1] + self._qpos[:, 2]
        self._outer_rate[:, 0] = self._qvel[:, 1] + self._qvel[:, 2]
