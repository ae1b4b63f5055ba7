"""A linear-quadratic problem with a known optimum, as a global model and as costs."""

import numpy as np

from gps.backend import jax, jnp
from gps.linear_gaussian.riccati import backward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, pytree
from gps.planning.sequences import ActionRange

T, DX, DU = 10, 3, 2
A, B = np.array([[1.0, 0.1, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.9]]), np.array([[0.0, 0.1], [0.1, 0.0], [0.3, 0.2]])
STARTS = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]])
WEIGHTS, TARGET = np.array([2.0, 1.0, 0.5, 0.1, 0.1]), np.array([0.5, 0.0, 0.0, 0.0, 0.0])
WIDE = ActionRange.of(-np.inf, np.inf, np.full(DU, 2.0))
NARROW = ActionRange.of(np.full(DU, -0.4), np.array([0.3, 0.2]), np.ones(DU))


def quadratic(x, u, t):
    return 0.5 * jnp.where(t == T - 1, 5.0, 1.0) * jnp.sum(WEIGHTS * (jnp.concatenate([x, u]) - TARGET) ** 2)


@pytree
class LinearFunction:
    """x' = F z, with noise of a given deviation."""

    F: np.ndarray
    noise: np.ndarray

    def __call__(self, x, u, key=None):
        after = self.F @ jnp.concatenate([x, u])
        return after if key is None else after + self.noise * jax.random.normal(key, after.shape)


@pytree
class LinearModel:
    """x' = F z as a `GlobalModel`; drawn functions differ by `doubt`, relative to F."""

    F: np.ndarray
    noise: np.ndarray
    doubt: np.ndarray

    @classmethod
    def of(cls, F=None, noise=0.0, doubt=0.0):
        return cls(np.hstack([A, B]) if F is None else F, np.float64(noise), np.float64(doubt))

    @property
    def deviations(self):
        return jnp.ones(DX + DU)

    def mean(self, x, u):
        return self.F @ jnp.concatenate([x, u])

    def linearise(self, x, u):
        return self.F, jnp.zeros(len(self.F))

    def draw(self, key, count):
        factors = 1.0 + self.doubt * jax.random.normal(key, (count, *self.F.shape))
        return LinearFunction(self.F * factors, jnp.full(count, self.noise))


def find_optimum() -> Controller:
    """The best controller, by the Riccati recursion."""
    final, C = np.where(np.arange(T) == T - 1, 5.0, 1.0), np.diag(WEIGHTS)
    cost = CostExpansion(final[:, None, None] * C, final[:, None] * (-C @ TARGET), np.zeros(T))
    F, nothing = np.tile(np.hstack([A, B]), (T - 1, 1, 1)), np.zeros((DX, DX))
    dynamics = LinearDynamics(F, np.zeros((T - 1, DX)), np.zeros((T - 1, DX, DX)), np.zeros(DX), nothing)
    return jax.jit(backward)(dynamics, cost, np.ones(T)).controller.numpy()


def cost_of(x, actions):
    """The cost of a plan on the true system."""
    total = 0.0
    for t, u in enumerate(actions):
        factor = 5.0 if t == T - 1 else 1.0
        total += 0.5 * factor * np.sum(WEIGHTS * (np.concatenate([x, u]) - TARGET) ** 2)
        x = A @ x + B @ u
    return total


def best_cost(x):
    """The cost of the best controller from x."""
    best, actions, state = find_optimum(), [], x
    for t in range(T):
        actions.append(best.feedback[t] @ state + best.feedforward[t])
        state = A @ state + B @ actions[-1]
    return cost_of(x, actions)
