"""Backward and forward recursion against dense solutions, the DARE, Monte Carlo and the optimality conditions."""

import numpy as np
import pytest
import scipy.linalg
from helpers.problems import dense_joint, lqr, spd, step_costs

from gps.backend import jax, jnp
from gps.linear_gaussian.riccati import backward, forward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics

T, DX, DU = 5, 3, 2
BACKWARD, FORWARD = jax.jit(backward), jax.jit(forward)


@pytest.fixture(scope="module")
def problem():
    """Every array is dense and differs from step to step."""
    rng = np.random.default_rng(0)
    dynamics = LinearDynamics(
        rng.standard_normal((T - 1, DX, DX + DU)) / 2, rng.standard_normal((T - 1, DX)), spd(rng, T - 1, DX),
        rng.standard_normal(DX), spd(rng, DX),
    )  # fmt: skip
    cost = CostExpansion(spd(rng, T, DX + DU), rng.standard_normal((T, DX + DU)), rng.standard_normal(T))
    controller = Controller(rng.standard_normal((T, DU, DX)) / 2, rng.standard_normal((T, DU)), spd(rng, T, DU))
    return dynamics, cost, controller


def dense_kkt(dynamics, cost, t):
    """The tail from t as one quadratic programme in z_t, ..., z_{T-1}: the inverse of its KKT matrix, the linear part.

    The constraints are x_t = given and the dynamics; their right-hand side starts at row n.
    """
    dz, steps = DX + DU, T - t
    n = steps * dz
    H = scipy.linalg.block_diag(*cost.hessian[t:])
    A, b = np.zeros((steps * DX, n)), np.zeros(steps * DX)
    A[:DX, :DX] = np.eye(DX)
    for i in range(1, steps):
        rows = slice(i * DX, (i + 1) * DX)
        A[rows, i * dz : i * dz + DX] = np.eye(DX)
        A[rows, (i - 1) * dz : i * dz] = -dynamics.matrix[t + i - 1]
        b[rows] = dynamics.offset[t + i - 1]
    inverse = np.linalg.inv(np.block([[H, A.T], [A, np.zeros((len(A), len(A)))]]))
    return inverse, np.concatenate([-cost.gradient[t:].ravel(), b]), n


def test_controller_solves_the_dense_kkt_system_of_every_tail(problem):
    dynamics, cost, _ = problem
    temperature = np.array([0.3, 2.0, 1.0, 0.1, 5.0])
    controller = BACKWARD(dynamics, cost, temperature).controller
    for t in range(T):
        inverse, rhs, n = dense_kkt(dynamics, cost, t)
        u = slice(DX, DX + DU)
        np.testing.assert_allclose(controller.feedback[t], inverse[u, n : n + DX], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(controller.feedforward[t], inverse[u] @ rhs, rtol=1e-9, atol=1e-12)
        # The block of the inverse is Quu^-1: the curvature in u once all later actions follow optimally.
        np.testing.assert_allclose(controller.covariance[t], temperature[t] * inverse[u, u], rtol=1e-9, atol=1e-12)


def test_temperature_scales_the_covariance_of_its_step_alone(problem):
    dynamics, cost, _ = problem
    temperature = np.array([0.3, 2.0, 1.0, 0.1, 5.0])
    one, other = BACKWARD(dynamics, cost, np.ones(T)), BACKWARD(dynamics, cost, temperature)
    assert (np.asarray(one.controller.feedback) == other.controller.feedback).all()
    assert (np.asarray(one.controller.feedforward) == other.controller.feedforward).all()
    np.testing.assert_allclose(one.controller.covariance, np.linalg.inv(one.quu), rtol=1e-11, atol=1e-13)
    scaled = temperature[:, None, None] * one.controller.covariance
    np.testing.assert_allclose(other.controller.covariance, scaled, rtol=1e-12)
    np.testing.assert_allclose(other.logdet, np.linalg.slogdet(other.controller.covariance)[1], rtol=1e-11)


def test_no_controller_has_less_cost_minus_entropy(problem):
    """The gradient over (K, k, L) with Sigma = L L' vanishes, for a different temperature at each step."""
    dynamics, cost, _ = problem
    temperature = jnp.array([0.3, 2.0, 1.0, 0.1, 5.0])

    @jax.jit
    @jax.value_and_grad
    def objective(parameters):
        K, k, L = parameters
        controller = Controller(K, k, L @ L.swapaxes(1, 2))
        entropy = jnp.linalg.slogdet(L)[1]  # up to a constant
        return step_costs(*jax.tree.map(jnp.asarray, (dynamics, cost)), controller).sum() - temperature @ entropy

    found = BACKWARD(dynamics, cost, temperature).controller
    best = found.feedback, found.feedforward, jnp.linalg.cholesky(found.covariance)
    value, gradient = objective(best)
    assert max(np.abs(g).max() for g in gradient) < 1e-10 * abs(value)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-1):
        moved = [p + size * rng.standard_normal(p.shape) for p in best]
        assert objective(moved)[0] > value


def test_long_horizon_reaches_the_algebraic_riccati_equation():
    rng = np.random.default_rng(2)
    T, dx, du = 500, 4, 2
    A, B = np.eye(dx) + 0.1 * rng.standard_normal((dx, dx)), rng.standard_normal((dx, du))
    C = spd(rng, dx + du)
    P = scipy.linalg.solve_discrete_are(A, B, C[:dx, :dx], C[dx:, dx:], s=C[:dx, dx:])
    Quu, Qux = C[dx:, dx:] + B.T @ P @ B, C[dx:, :dx] + B.T @ P @ A
    dynamics = LinearDynamics(
        np.tile(np.hstack([A, B]), (T - 1, 1, 1)), np.zeros((T - 1, dx)), np.zeros((T - 1, dx, dx)),
        np.zeros(dx), np.zeros((dx, dx)),
    )  # fmt: skip
    cost = CostExpansion(np.tile(C, (T, 1, 1)), np.zeros((T, dx + du)), np.zeros(T))
    result = BACKWARD(dynamics, cost, np.ones(T))
    np.testing.assert_allclose(result.controller.feedback[0], -np.linalg.solve(Quu, Qux), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(result.quu[0], Quu, rtol=1e-9)


def test_an_indefinite_quu_is_told_and_stops_the_recursion_there(problem):
    dynamics, cost, _ = problem
    hessian = cost.hessian.copy()
    hessian[2, DX, DX] = -100.0
    result = BACKWARD(dynamics, CostExpansion(hessian, cost.gradient, cost.constant), np.ones(T))
    assert not result.feasible
    finite = np.isfinite(result.controller.feedback).all(axis=(1, 2))
    assert finite.tolist() == [False, False, False, True, True]
    assert np.linalg.eigvalsh(result.quu[2])[0] < 0
    assert BACKWARD(dynamics, cost, np.ones(T)).feasible


def test_marginals_are_those_of_the_dense_joint_gaussian(problem):
    dynamics, _, controller = problem
    mean, covariance = FORWARD(dynamics, controller).joint(controller)
    dense_mean, dense_covariance = dense_joint(dynamics, controller)
    np.testing.assert_allclose(np.ravel(mean), dense_mean, rtol=1e-11, atol=1e-12)
    for t in range(T):
        block = slice(t * (DX + DU), (t + 1) * (DX + DU))
        np.testing.assert_allclose(covariance[t], dense_covariance[block, block], rtol=1e-11, atol=1e-12)


def rollouts(dynamics, controller, n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal(dynamics.initial_mean, dynamics.initial_covariance, n)
    z = []
    for t in range(T):
        noise = rng.standard_normal((n, DU)) @ np.linalg.cholesky(controller.covariance[t]).T
        z.append(np.hstack([x, x @ controller.feedback[t].T + controller.feedforward[t] + noise]))
        if t < T - 1:
            noise = rng.standard_normal((n, DX)) @ np.linalg.cholesky(dynamics.covariance[t]).T
            x = z[-1] @ dynamics.matrix[t].T + dynamics.offset[t] + noise
    return np.stack(z, axis=1)


def test_marginals_and_expected_cost_are_those_of_samples(problem):
    dynamics, cost, controller = problem
    n = 100_000
    z = rollouts(dynamics, controller, n)
    mean, covariance = FORWARD(dynamics, controller).joint(controller)
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    assert np.abs((z.mean(axis=0) - mean) / deviation).max() < 5 / np.sqrt(n)
    scale = deviation[:, :, None] * deviation[:, None, :]
    sample_covariance = np.einsum("nti,ntj->tij", z - mean, z - mean) / n
    assert np.abs((sample_covariance - covariance) / scale).max() < 5 * np.sqrt(2 / n)
    costs = 0.5 * np.einsum("nti,tij,ntj->nt", z, cost.hessian, z) + np.einsum("nti,ti->nt", z, cost.gradient)
    expected = step_costs(*problem)
    error = (costs + cost.constant).mean(axis=0) - expected
    assert (np.abs(error) < 5 * costs.std(axis=0) / np.sqrt(n)).all()


def test_without_any_noise_the_expected_cost_is_that_of_the_one_trajectory():
    dynamics, cost, controller = lqr(3, 2, T=5, seed=4)
    F, c, W, x0, P0 = jax.tree.leaves(dynamics)
    still = LinearDynamics(F, c, 0 * W, x0, 0 * P0)
    quiet = Controller(controller.feedback, controller.feedforward, 0 * controller.covariance)
    x, total = dynamics.initial_mean, 0.0
    for t in range(5):
        z = np.concatenate([x, controller.feedback[t] @ x + controller.feedforward[t]])
        total += 0.5 * z @ cost.hessian[t] @ z + cost.gradient[t] @ z + cost.constant[t]
        if t < 4:
            x = dynamics.matrix[t] @ z + dynamics.offset[t]
    assert step_costs(still, cost, quiet).sum() == pytest.approx(total, rel=1e-12)
