"""A linear system with a quadratic cost as a planning problem, and its best controller."""

import numpy as np

from gps.backend import jax, jnp
from gps.linear_gaussian.riccati import backward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, pytree
from gps.planning.ilqr import PlanningProblem

T, DX, DU = 10, 3, 2
A, B = np.array([[1.0, 0.1, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.9]]), np.array([[0.0, 0.1], [0.1, 0.0], [0.3, 0.2]])
STARTS = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]])
WEIGHTS, TARGET = np.array([2.0, 1.0, 0.5, 0.1, 0.1]), np.array([0.5, 0.0, 0.0, 0.0, 0.0])
WIDE = np.full(DU, np.inf)


def quadratic(x, u, t):
    return 0.5 * jnp.where(t == T - 1, 5.0, 1.0) * jnp.sum(WEIGHTS * (jnp.concatenate([x, u]) - TARGET) ** 2)


def optimum(damping: float = 0.0) -> Controller:
    """The best controller, by the Riccati recursion; `damping` is added to each curvature of the cost."""
    final, C = np.where(np.arange(T) == T - 1, 5.0, 1.0), np.diag(WEIGHTS)
    hessian = final[:, None, None] * C + damping * np.eye(DX + DU)
    cost = CostExpansion(hessian, final[:, None] * (-C @ TARGET), np.zeros(T))
    F, nothing = np.tile(np.hstack([A, B]), (T - 1, 1, 1)), np.zeros((DX, DX))
    dynamics = LinearDynamics(F, np.zeros((T - 1, DX)), np.zeros((T - 1, DX, DX)), np.zeros(DX), nothing)
    return jax.jit(backward)(dynamics, cost, np.ones(T)).controller.numpy()


@pytree
class Linear:
    """x' = A x + B u."""

    F: np.ndarray

    @property
    def deviations(self):
        return jnp.ones(DX + DU)

    def linearise(self, x, u):
        return self.F, jnp.zeros(len(self.F))


def problem(low=-WIDE, high=WIDE) -> PlanningProblem:
    return PlanningProblem(Linear(np.hstack([A, B])), low, high, np.ones(DX + DU), np.int32(T))


def cost_of(x, actions):
    """The cost of a plan on the true system."""
    total = 0.0
    for t, u in enumerate(actions):
        factor = 5.0 if t == T - 1 else 1.0
        total += 0.5 * factor * np.sum(WEIGHTS * (np.concatenate([x, u]) - TARGET) ** 2)
        x = A @ x + B @ u
    return total
