"""Seeded problems as the library's types, the stored oracles, and a linear environment whose optimum is known."""

from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import scipy.linalg
from gymnasium.vector import VectorEnv

from benchmarks.problems import make_lqr_problem, make_points, make_rollouts
from gps.backend import jax, jnp
from gps.environments.contract import BatchEnvironment
from gps.linear_gaussian.riccati import expected_cost, forward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics

__all__ = [
    "DATA", "LQR", "LinearEnv", "dense_joint", "lqr", "make_points", "make_rollouts",
    "negative_log_density", "one_step_errors", "oracle",
    "spd", "stack", "step_costs",
]  # fmt: skip

DATA = Path(__file__).with_name("data")


class LQR(NamedTuple):
    """A linear-Gaussian problem with a quadratic cost, and the controller to stay close to."""

    dynamics: LinearDynamics
    cost: CostExpansion
    previous: Controller


def lqr(dx: int, du: int, **options: Any) -> LQR:
    """`benchmarks.problems.make_lqr_problem` of one condition."""
    p = make_lqr_problem(dx, du, **options)
    return LQR(
        LinearDynamics(p.F, p.c, p.W, p.initial_mean, p.initial_cov),
        CostExpansion(p.C, p.g, p.const),
        Controller(p.K, p.k, p.Sigma),
    )


@jax.jit
def step_costs(dynamics: LinearDynamics, cost: CostExpansion, controller: Controller) -> jax.Array:
    """Expected cost of each step (T,) of a controller of one condition, in its own marginals."""
    return expected_cost(forward(dynamics, controller), cost, controller)


def stack(*items: Any) -> Any:
    """A batch of M objects from M of one condition."""
    return jax.tree.map(lambda *arrays: np.stack(arrays), *items)


def oracle(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file of `tests/data`."""
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


def spd(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random well-conditioned covariances; the last number is their size."""
    root = rng.standard_normal((*shape, shape[-1])) / np.sqrt(shape[-1])
    return root @ root.swapaxes(-1, -2) + 0.3 * np.eye(shape[-1])


def dense_joint(dynamics, controller):
    """Mean and covariance of [z_0; ...; z_{T-1}] as one Gaussian, from its independent sources of noise."""
    T, du, dx = controller.feedback.shape
    dz = dx + du
    sources = [dynamics.initial_covariance]
    state, state_map = dynamics.initial_mean, [np.eye(dx)]
    means, maps = [], []
    for t in range(T):
        K, k = controller.feedback[t], controller.feedforward[t]
        z_map = [np.vstack([m, K @ m]) for m in state_map] + [np.vstack([np.zeros((dx, du)), np.eye(du)])]
        sources.append(controller.covariance[t])
        means.append(np.concatenate([state, K @ state + k]))
        maps.append(z_map)
        if t < T - 1:
            state = dynamics.matrix[t] @ means[-1] + dynamics.offset[t]
            state_map = [dynamics.matrix[t] @ m for m in z_map] + [np.eye(dx)]
            sources.append(dynamics.covariance[t])
    G = np.zeros((T * dz, sum(len(s) for s in sources)))
    for t, z_map in enumerate(maps):
        row = np.hstack(z_map)
        G[t * dz : (t + 1) * dz, : row.shape[1]] = row
    return np.concatenate(means), G @ scipy.linalg.block_diag(*sources) @ G.T


def one_step_errors(F, c, states, actions) -> np.ndarray:
    """What F z + c misses of the next states; states (N, T, dx), F (T-1, dx, dz). Returns (N, T-1, dx)."""
    z = np.concatenate([states, actions], axis=-1)[:, :-1]
    return states[:, 1:] - np.einsum("tij,ntj->nti", np.asarray(F), z) - np.asarray(c)


class LinearEnv(VectorEnv, BatchEnvironment):
    """x' = A x + B u without noise, and with actions within ±limit. A condition is `{"start": x0}`.

    An episode of simulation i ends after `ends[i]` steps, where given.
    """

    def __init__(self, num_envs, A, B, limit=np.inf, ends=None):
        self.num_envs, self.A, self.B, self.limit, self.ends = num_envs, A, B, limit, ends
        dx, du = B.shape
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (dx,), np.float64)
        self.single_action_space = gymnasium.spaces.Box(-limit, limit, (du,), np.float64)
        self.state_layout = {"x": slice(0, dx)}

    def reset(self, *, seed=None, options=None):
        self.state = np.array([condition["start"] for condition in options["conditions"]], dtype=float)
        self.applied = []  # the inputs of the physics
        return self.state.copy(), {}

    def step(self, actions):
        u = np.clip(actions, -self.limit, self.limit)
        self.applied.append(u)
        self.state = self.state @ self.A.T + u @ self.B.T
        never = np.zeros(self.num_envs, dtype=bool)
        ended = never if self.ends is None else np.asarray(self.ends) <= len(self.applied)
        return self.state.copy(), np.zeros(self.num_envs), ended, never, {"action": u}


def negative_log_density(controller):
    """The quadratic form (T, dz, dz) and the linear part (T, dz) of −log p̄(u | x) in z = [x; u], as NUMERICS has it.

    The library works in deviations from p̄ and never forms these; they are the other way to the same controller.
    """
    K, k, precision = controller.feedback, controller.feedforward, jnp.linalg.inv(controller.covariance)
    Kt = jnp.swapaxes(K, 1, 2)
    hessian = jnp.block([[Kt @ precision @ K, -Kt @ precision], [-precision @ K, precision]])
    Pk = jnp.einsum("tij,tj->ti", precision, k)
    return hessian, jnp.concatenate([jnp.einsum("tij,tj->ti", Kt, Pk), -Pk], axis=1)
