"""Seeded synthetic problems (bit for bit those of the oracle files), and the record of an update."""

from dataclasses import dataclass

import numpy as np

SIZES = ((6, 2), (14, 7), (26, 7), (40, 10))


@dataclass(frozen=True)
class LQRProblem:
    """A time-varying linear-Gaussian problem with a quadratic cost, and the previous controller.

    x' = F [x; u] + c + N(0, W), l = 1/2 z'Cz + g'z + const with z = [x; u] in absolute coordinates,
    u = K x + k + N(0, Sigma). The last step has no successor, so the dynamics have T - 1 rows.
    """

    T: int
    dx: int
    du: int
    F: np.ndarray  # (T-1, dx, dx+du)
    c: np.ndarray  # (T-1, dx)
    W: np.ndarray  # (T-1, dx, dx)
    initial_mean: np.ndarray  # (dx,)
    initial_cov: np.ndarray  # (dx, dx)
    C: np.ndarray  # (T, dx+du, dx+du)
    g: np.ndarray  # (T, dx+du)
    const: np.ndarray  # (T,)
    K: np.ndarray  # (T, du, dx)
    k: np.ndarray  # (T, du)
    Sigma: np.ndarray  # (T, du, du)


STATUS = ("converged", "inactive", "exhausted", "infeasible")


@dataclass(frozen=True)
class Update:
    """A controller u = K x + k + N(0, Sigma), and the outcome of the search over eta.

    `status` is "converged" (KL meets the bound), "inactive" (KL is below it at the smallest eta), "exhausted"
    (the best feasible controller after the last evaluation) or "infeasible" (none was found; the arrays are
    meaningless).
    """

    K: np.ndarray  # (T, du, dx)
    k: np.ndarray  # (T, du)
    Sigma: np.ndarray  # (T, du, du)
    eta: float
    kl: float  # nats, summed over the T steps
    evaluations: int
    status: str


def check_search(bound, alpha, eta0, tolerance):
    """Raise ValueError if an argument of an update's search is out of its range."""
    if not (bound > 0 and alpha >= 0 and eta0 > 0 and tolerance > 0):
        given = f"{bound=}, {eta0=}, {tolerance=}, {alpha=}"
        raise ValueError(f"need bound, eta0, tolerance > 0 and alpha >= 0, got {given}")


def make_lqr_problem(dx, du, T=100, seed=0, init_std=1.0, indefinite=0.0):
    """Return the problem of the tests, `tests.helpers.problems.lqr`, as NumPy arrays."""
    from tests.helpers.problems import lqr

    dynamics, cost, previous = lqr(dx, du, T, seed, init_std, indefinite)
    arrays = (
        *(dynamics.matrix, dynamics.offset, dynamics.covariance, dynamics.initial_mean, dynamics.initial_covariance),
        *(cost.hessian, cost.gradient, cost.constant),
        *(previous.feedback, previous.feedforward, previous.covariance),
    )
    return LQRProblem(T, dx, du, *map(np.asarray, arrays))


def make_rollouts(N=5, T=100, dx=14, du=7, seed=1, offset=0.0):
    """Return N noisy rollouts of a mildly nonlinear, damped second-order chain: X (N, T, dx), U (N, T, du)."""
    rng = np.random.default_rng(seed)
    system_rng = np.random.default_rng(12345)  # one fixed system for all rollout seeds
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
