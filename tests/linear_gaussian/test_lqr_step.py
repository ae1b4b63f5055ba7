"""The backward step that LQR and iterative LQR share, against NumPy's own minimiser of the same quadratic."""

import numpy as np
import pytest

from gps.backend import jax
from gps.linear_gaussian.riccati import ActiveSet, Value, lqr_step
from gps.linear_gaussian.types import Controller

DX, DU = 3, 2
STEP = jax.jit(lqr_step)


def spd(rng, n):
    root = rng.standard_normal((n, n))
    return root @ root.T + 0.3 * np.eye(n)


@pytest.fixture
def problem():
    """The value after the step, F, C, g and c."""
    rng = np.random.default_rng(0)
    after = Value(spd(rng, DX), rng.standard_normal(DX))
    F, C = rng.standard_normal((DX, DX + DU)), spd(rng, DX + DU)
    return after, F, C, rng.standard_normal(DX + DU), rng.standard_normal(DX)


def expand(after, F, C, g, c):
    """Q and q of the cost of the step and of what comes after it."""
    return C + F.T @ after.hessian @ F, g + F.T @ (after.gradient + after.hessian @ c)


def check_value(value, Q, q, K, k):
    """The value is the quadratic at u = K x + k."""
    along, at = np.vstack([np.eye(DX), K]), np.concatenate([np.zeros(DX), k])
    np.testing.assert_allclose(value.hessian, along.T @ Q @ along, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(value.gradient, along.T @ (Q @ at + q), rtol=1e-10, atol=1e-12)


def test_the_result_is_the_minimiser_and_its_value(problem):
    value, result = STEP(*problem)
    Q, q = expand(*problem)
    Quu = Q[DX:, DX:]
    np.testing.assert_allclose(result.feedback, -np.linalg.solve(Quu, Q[DX:, :DX]), rtol=1e-10)
    np.testing.assert_allclose(result.feedforward, -np.linalg.solve(Quu, q[DX:]), rtol=1e-10)
    np.testing.assert_allclose(result.quu, Quu, rtol=1e-12)
    np.testing.assert_allclose(result.whitener.T @ result.whitener, np.linalg.inv(Quu), rtol=1e-10)
    check_value(value, Q, q, result.feedback, result.feedforward)
    np.testing.assert_array_equal(value.hessian, value.hessian.T)


def test_no_offset_is_an_offset_of_zero(problem):
    with_zero, without = STEP(*problem[:4], np.zeros(DX)), STEP(*problem[:4])
    for one, other in zip(jax.tree.leaves(with_zero), jax.tree.leaves(without), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("held", [0, 1])
def test_an_action_that_would_leave_its_limit_is_held(problem, held):
    Q, q = expand(*problem)
    free, pushed_up = 1 - held, q[DX + held] < 0
    at = np.arange(DU) == held
    value, result = STEP(*problem, ActiveSet(at & ~pushed_up, at & pushed_up))
    K, k = np.zeros((DU, DX)), np.zeros(DU)
    K[free], k[free] = -Q[DX + free, :DX] / Q[DX + free, DX + free], -q[DX + free] / Q[DX + free, DX + free]
    np.testing.assert_allclose(result.feedback, K, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(result.feedforward, k, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(result.quu, Q[DX:, DX:], rtol=1e-12)
    check_value(value, Q, q, K, k)


def test_an_action_at_a_limit_that_is_pushed_inside_is_free(problem):
    _, q = expand(*problem)
    up = q[DX:] < 0
    inside, without = STEP(*problem, ActiveSet(up, ~up)), STEP(*problem)
    for one, other in zip(jax.tree.leaves(inside), jax.tree.leaves(without), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_an_indefinite_quu_gives_nan(problem):
    after, F, C, g, c = problem
    value, result = STEP(after, F, C - 1e3 * np.eye(DX + DU), g, c)
    assert np.isnan(result.feedback).any()
    assert np.isnan(value.hessian).any()


def test_the_mean_actions_along_trajectories_are_those_of_each_step():
    rng = np.random.default_rng(1)
    M, N, T = 2, 4, 5
    controller = Controller(rng.normal(size=(M, T, DU, DX)), rng.normal(size=(M, T, DU)), np.ones((M, T, DU, DU)))
    states = rng.normal(size=(M, N, T, DX))
    means = controller.means(states)
    for t in range(T):
        np.testing.assert_allclose(means[:, :, t], controller.act(states[:, :, t], t), rtol=1e-12)
