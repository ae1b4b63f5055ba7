"""Seeded problems as the library's types, the stored oracles, and a linear environment whose optimum is known."""

from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import scipy.linalg
from gymnasium.vector import VectorEnv

from gps.backend import jax, jnp
from gps.environments.contract import BatchEnvironment
from gps.linear_gaussian.riccati import expected_cost, forward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics

DATA = Path(__file__).parents[1] / "data"


class LQR(NamedTuple):
    """A linear-Gaussian problem with a quadratic cost, and the controller to stay close to."""

    dynamics: LinearDynamics
    cost: CostExpansion
    previous: Controller


def lqr(dx: int, du: int, T: int = 100, seed: int = 0, init_std: float = 1.0, indefinite: float = 0.0) -> LQR:
    """A well-conditioned problem of one condition (seed 0: bit for bit that of the stored oracles).

    `indefinite` > 0 subtracts that much curvature from half of the state dimensions (Quu is then not positive
    definite for small eta).
    """
    rng = np.random.default_rng(seed)
    dz = dx + du
    skew = rng.standard_normal((dx, dx)) / np.sqrt(dx)
    A = 0.98 * np.eye(dx) + 0.05 * (skew - skew.T)  # damped rotation
    B = 0.3 * rng.standard_normal((dx, du)) / np.sqrt(du)
    F, c, W = np.zeros((T - 1, dx, dz)), np.zeros((T - 1, dx)), np.zeros((T - 1, dx, dx))
    for t in range(T - 1):
        F[t] = np.hstack([A, B]) + 0.01 * rng.standard_normal((dx, dz)) / np.sqrt(dz)
        c[t] = 0.01 * rng.standard_normal(dx)
        G = rng.standard_normal((dx, dx)) / np.sqrt(dx)
        W[t] = 1e-3 * (np.eye(dx) + 0.1 * G @ G.T)
    initial_mean = rng.standard_normal(dx)
    initial_cov = 1e-3 * np.eye(dx)
    goal = np.concatenate([rng.standard_normal(dx), np.zeros(du)])
    C, g, const = np.zeros((T, dz, dz)), np.zeros((T, dz)), np.zeros(T)
    for t in range(T):
        G = rng.standard_normal((dz, dz)) / np.sqrt(dz)
        C[t] = np.diag(np.concatenate([np.ones(dx), 0.1 * np.ones(du)])) + 0.05 * G @ G.T
        if indefinite:
            C[t][np.arange(dx // 2), np.arange(dx // 2)] -= indefinite
        g[t] = -C[t] @ goal
        const[t] = 0.5 * goal @ C[t] @ goal
    K = np.tile(-0.1 * B.T, (T, 1, 1))
    k = 0.01 * rng.standard_normal((T, du))
    Sigma = init_std**2 * np.tile(np.eye(du), (T, 1, 1))
    return LQR(LinearDynamics(F, c, W, initial_mean, initial_cov), CostExpansion(C, g, const), Controller(K, k, Sigma))


def make_rollouts(N=5, T=100, dx=14, du=7, seed=1, offset=0.0):
    """N noisy rollouts of a mildly nonlinear, damped second-order chain: X (N, T, dx), U (N, T, du)."""
    rng = np.random.default_rng(seed)
    system_rng = np.random.default_rng(12345)  # one fixed system, whatever the rollout seed
    skew = system_rng.standard_normal((dx, dx)) / np.sqrt(dx)
    A = 0.97 * np.eye(dx) + 0.08 * (skew - skew.T)
    B = 0.3 * system_rng.standard_normal((dx, du)) / np.sqrt(du)
    M = 0.1 * system_rng.standard_normal((dx, dx)) / np.sqrt(dx)
    X, U = np.zeros((N, T, dx)), np.zeros((N, T, du))
    x_init = system_rng.standard_normal(dx) + offset
    for n in range(N):
        x = x_init + 0.05 * rng.standard_normal(dx)
        for t in range(T):
            u = -0.1 * B.T @ x + 0.5 * rng.standard_normal(du)
            X[n, t], U[n, t] = x, u
            x = A @ x + B @ u + M @ np.tanh(x) + 0.01 * rng.standard_normal(dx)
    return X, U


def make_points(n=2000, dim=35, seed=2, n_true=20, spread=3.0):
    """Points (n, dim) from a mixture of n_true correlated Gaussians (for the mixture's benchmark)."""
    rng = np.random.default_rng(seed)
    centres = spread * rng.standard_normal((n_true, dim)) / np.sqrt(dim) * 3.0
    factors = rng.standard_normal((n_true, dim, dim)) / np.sqrt(dim)
    z = rng.integers(0, n_true, n)
    noise = np.einsum("nij,nj->ni", factors[z], rng.standard_normal((n, dim)))
    return centres[z] + noise + 0.1 * rng.standard_normal((n, dim))


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
        return self.state.copy(), np.zeros(self.num_envs), ended, never, {"applied_action": u}


def negative_log_density(controller):
    """The quadratic form (T, dz, dz) and the linear part (T, dz) of −log p̄(u | x) in z = [x; u], with p̄ the
    previous controller.

    The library works in deviations from p̄ and never forms these; they are the other way to the same controller.
    """
    K, k, precision = controller.feedback, controller.feedforward, jnp.linalg.inv(controller.covariance)
    Kt = jnp.swapaxes(K, 1, 2)
    hessian = jnp.block([[Kt @ precision @ K, -Kt @ precision], [-precision @ K, precision]])
    Pk = jnp.einsum("tij,tj->ti", precision, k)
    return hessian, jnp.concatenate([jnp.einsum("tij,tj->ti", Kt, Pk), -Pk], axis=1)
