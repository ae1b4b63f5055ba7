"""The errors and the coverage of a model on episodes that it has not seen."""

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.calibration import calibrate

A, SIGMA = np.array([[1.0, 0.1], [-0.1, 0.95]]), np.array([0.01, 0.03])


@pytree
class Linear:
    """x' = A x + [0, u] + bias, whose claimed noise is σ."""

    matrix: np.ndarray
    bias: np.ndarray
    sigma: np.ndarray

    def mean(self, x, u):
        return self.matrix @ x + jnp.array([0.0, 1.0]) * u[0] + self.bias

    def deviation(self, x, u):
        return self.sigma + 0.0 * x


def episodes(M=3, N=4, T=40, sigma=SIGMA, seed=0):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(M, N, T, 1))
    x = np.zeros((M, N, T, 2))
    x[:, :, 0] = rng.normal(size=(M, N, 2))
    for t in range(T - 1):
        x[:, :, t + 1] = (
            x[:, :, t] @ A.T + np.concatenate([0 * u[:, :, t], u[:, :, t]], -1) + sigma * rng.normal(size=(M, N, 2))
        )
    return x, u, np.ones((M, N, T), bool)


def test_a_model_that_knows_its_noise_covers_as_a_gaussian_does():
    result = calibrate(Linear(A, np.zeros(2), SIGMA), *episodes())
    np.testing.assert_allclose(result.one_step_error, SIGMA, rtol=0.1)
    np.testing.assert_allclose(result.coverage, [0.6827, 0.9545], atol=0.03)


def test_the_error_ahead_is_that_of_the_rolled_out_mean():
    bias, quiet = np.array([0.015, -0.01]), np.zeros(2)
    result = calibrate(Linear(A, bias, SIGMA), *episodes(sigma=quiet), horizon=5)
    expected, error = [], np.zeros(2)
    for _ in range(5):
        error = A @ error + bias
        expected.append(np.abs(error))
    np.testing.assert_allclose(result.horizon_error, expected, rtol=1e-9)
    np.testing.assert_allclose(result.one_step_error, np.abs(bias), rtol=1e-9)
    assert (result.coverage == [0.5, 1.0]).all()  # one entry is wrong by 1.5σ, the other by a third of σ


def test_what_comes_after_the_end_of_an_episode_does_not_count():
    x, u, mask = episodes(sigma=np.zeros(2))
    mask[:, :, 6:] = False
    x[:, :, 6:] = 0.0
    result = calibrate(Linear(A, np.zeros(2), SIGMA), x, u, mask, horizon=10)
    assert np.isnan(result.horizon_error[5:]).all()
    np.testing.assert_allclose(result.horizon_error[:5], 0.0, atol=1e-12)


def test_no_data_give_no_numbers():
    x, u, mask = episodes()
    result = calibrate(Linear(A, np.zeros(2), SIGMA), x, u, np.zeros_like(mask), horizon=3)
    assert np.isnan(result.one_step_error).all() and np.isnan(result.coverage).all()
    assert result.horizon_error.shape == (3, 2)


def test_an_angle_errs_by_the_shortest_way():
    x, u, mask = episodes(sigma=np.zeros(2))
    x[:, :, 1::2, 0] += 2 * np.pi
    model = Linear(A, np.zeros(2), SIGMA)
    wrapped = calibrate(model, x[:, :, :2], u[:, :, :2], mask[:, :, :2], horizon=1, angles=(0,))
    np.testing.assert_allclose(wrapped.one_step_error, 0.0, atol=1e-12)
    assert calibrate(model, x[:, :, :2], u[:, :, :2], mask[:, :, :2], horizon=1).one_step_error[0] > 6


@pytest.mark.parametrize("horizon", [1, 100])
def test_the_horizon_is_cut_to_the_episodes(horizon):
    result = calibrate(Linear(A, np.zeros(2), SIGMA), *episodes(T=8), horizon=horizon)
    assert len(result.horizon_error) == min(horizon, 7)
    assert jax.tree.all(jax.tree.map(lambda array: np.isfinite(array).all(), result))
