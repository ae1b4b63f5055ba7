"""The half-cheetah of Berkeley's course CS 294-112 (autumn 2017), homework 4: a step of 10 ms, and its costs."""

import jax
import jax.numpy as jnp
import numpy as np

from gps.environments.gymnasium_mujoco.base import options
from gps.environments.gymnasium_mujoco.half_cheetah import HalfCheetah


class HomeworkCheetah(HalfCheetah):
    """Gymnasium's half-cheetah with one physics step for each action, and the homework's state.

    State: the homework's 20 numbers, which are 8 positions without x (m, rad), 9 velocities and the centre of mass (m),
    then the speed of the centre of mass along x over the last step (m/s), which the cost needs. As in the original, the
    centre of mass is one step old: MuJoCo computes it at the beginning of a step. Reward, as there: speed of the root -
    0.1 ‖action‖².
    """

    defaults = options(HalfCheetah.defaults, frame_skip=1)
    fields = ("subtree_com",)

    def observation(self):
        return self.positions(), self.qvel, self.subtree_com[:, 1], self.speed

    def _bind(self):
        self.speed, self.last = np.zeros((self.num_envs, 1)), np.zeros((self.num_envs, 1))
        return super()._bind()

    def _record_start(self, ids):
        self.speed[ids], self.last[ids] = 0.0, self.subtree_com[ids, 1, :1]
        super()._record_start(ids)

    def place(self):
        """The root's place, as in the original; called once a step, after the physics."""
        centre = self.subtree_com[:, 1, :1]
        self.speed[:] = (centre - self.last) / self.dt
        self.last[:] = centre
        return super().place()


LIMITS = jnp.array([0.2, 0.0, 0.0])  # of thigh, shin and foot of the front leg, rad


def cost(x, u, t):
    """10 for each of thigh, shin and foot of the front leg that is too far back, minus the speed.

    The homework's `cheetah_cost_fn`: its limits are 0.2, 0 and 0 rad.
    """
    return 10.0 * jnp.sum(x[5:8] >= LIMITS) - x[20]


def smooth_cost(x, u, t):
    """The same with penalties that grow over about 0.1 rad about each limit.

    A step has no derivative that says where it is; this one has.
    """
    return 10.0 * jnp.sum(jax.nn.sigmoid((x[5:8] - LIMITS) / 0.05)) - x[20]


def running(x, u, t):
    """The homework's penalties, and minus its reward, for the state of the simulator without the centre of mass."""
    return 10.0 * jnp.sum(x[5:8] >= LIMITS) - x[8] + 0.1 * (u @ u)
