"""The cautious feedback against the Riccati equation where the model is certain, and Monte Carlo where it is not."""

import numpy as np
import pytest
import scipy.linalg
from numpy.testing import assert_allclose

from gps.first_controllers.feedback import hold_cautiously
from gps.first_controllers.pooled import PooledModel

A = np.array([[1.0, 0.1, 0.0], [0.3, 1.05, 0.1], [0.0, 0.0, 0.8]])
B = np.array([[0.0, 0.1], [0.5, 0.0], [0.2, 0.4]])
Q, R = np.diag([4.0, 1.0, 0.5]), np.diag([0.3, 2.0])
DX, DU = B.shape


def make_model(covariance=None):
    return PooledModel(A, B, np.zeros((1, DX)), np.zeros((DX, 5, 5)) if covariance is None else covariance, 1.0)


def make_uncertain(scale, seed=0):
    root = scale * np.random.default_rng(seed).standard_normal((DX, 5, 5))
    return make_model(root @ root.swapaxes(1, 2))


def test_a_certain_model_is_held_by_the_linear_quadratic_regulator():
    P = scipy.linalg.solve_discrete_are(A, B, Q, R)
    regulator = -np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
    assert_allclose(hold_cautiously(make_model(), Q, R, 300), regulator, rtol=1e-8)


def test_the_gain_of_a_step_minimises_the_expected_cost_over_the_posterior():
    """The mean over models drawn from the posterior, each row from its own Gaussian."""
    model = make_uncertain(0.15)
    rng = np.random.default_rng(1)
    rows = [rng.multivariate_normal(np.concatenate([A, B], axis=1)[i], model.covariance[i], 200_000) for i in range(DX)]
    F = np.stack(rows, axis=1)  # (draws, dx, dz)
    H = np.einsum("sij,ik,skl->jl", F, Q, F) / len(F)
    gain = -np.linalg.solve(H[DX:, DX:] + R, H[DX:, :DX])
    assert_allclose(hold_cautiously(model, Q, R, 1), gain, atol=0.01)
    certain = hold_cautiously(make_model(), Q, R, 1)
    assert np.abs(certain - gain).max() > 0.05


def test_two_steps_cost_in_expectation_what_monte_carlo_says():
    """The first of two gains, for the mean cost over models that are drawn anew in each step."""
    model = make_uncertain(0.1)
    rng = np.random.default_rng(2)
    F = np.hstack([A, B])

    def draw():
        rows = [rng.multivariate_normal(F[i], model.covariance[i], 100_000) for i in range(DX)]
        return np.stack(rows, axis=1)

    last = hold_cautiously(model, Q, R, 1)
    models = draw()
    closed = models[:, :, :DX] + models[:, :, DX:] @ last
    V = Q + last.T @ R @ last + np.einsum("sij,ik,skl->jl", closed, Q, closed) / len(models)
    models = draw()
    H = np.einsum("sij,ik,skl->jl", models, V, models) / len(models)
    gain = -np.linalg.solve(H[DX:, DX:] + R, H[DX:, :DX])
    assert_allclose(hold_cautiously(model, Q, R, 2), gain, atol=0.02)


def test_less_is_known_of_the_actions_less_is_fed_back():
    sizes = []
    for doubt in (0.0, 0.1, 1.0, 10.0):
        covariance = np.zeros((DX, 5, 5))
        covariance[:, DX:, DX:] = doubt * np.eye(DU)
        sizes.append(np.linalg.norm(hold_cautiously(make_model(covariance), Q, R, 1)))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.1 * sizes[0]


@pytest.mark.parametrize("steps", [1, 50, 5000])
def test_what_no_action_reaches_is_finite(steps):
    lost = PooledModel(2.0 * np.eye(DX), np.zeros((DX, DU)), np.zeros((1, DX)), np.zeros((DX, 5, 5)), 1.0)
    assert not hold_cautiously(lost, Q, R, steps).any()
    explodes = make_uncertain(3.0)
    assert np.isfinite(hold_cautiously(explodes, Q, R, steps)).all()
