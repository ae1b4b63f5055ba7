"""The filter of velocities: a differentiation in closed form, the Kalman filter's gains, the same bits in JAX."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from gps.backend import jax, jnp
from gps.dynamics.velocity_filter import VelocityFilter, differentiate, filter_by_kalman
from gps.linear_gaussian.mechanics import Mechanics

DT, NOISE = 0.05, np.array([0.7, 0.003, 0.01, 0.3, 0.3])
MECHANICS = Mechanics(slice(1, 3), slice(3, 5), np.eye(2), DT)  # the first entry is another sensor's


def make(alpha=0.6, beta=0.3):
    return VelocityFilter.of(MECHANICS, NOISE, np.full(2, alpha), np.full(2, beta))


def run(filter, measured):
    estimates = [filter.begin(measured[0])]
    for y in measured[1:]:
        estimates.append(filter.update(estimates[-1], y))
    return np.array(estimates)


def measure(steps=60, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=(steps, 5)), axis=0)


def test_with_alpha_of_one_it_is_a_low_pass_of_differences():
    measured = measure()
    estimates = run(VelocityFilter.of(MECHANICS, NOISE, *differentiate(0.4, 2)), measured)
    velocity = np.zeros(2)
    for t in range(1, len(measured)):
        velocity = 0.4 * velocity + 0.6 * (measured[t] - measured[t - 1])[1:3] / DT
        np.testing.assert_allclose(estimates[t, 3:], velocity, rtol=1e-9)
    np.testing.assert_array_equal(estimates[:, :3], measured[:, :3])


def test_the_measured_positions_can_be_told_from_the_estimates():
    measured, filter = measure(), make()
    recovered = filter.recover(run(filter, measured))
    np.testing.assert_allclose(recovered[:, :3], measured[:, :3], atol=1e-10)


def test_the_gains_are_those_of_the_stationary_kalman_filter():
    noise, acceleration = 0.003, 20.0
    A, H = np.array([[1.0, DT], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    G = np.array([[DT**2 / 2], [DT]])
    P = solve_discrete_are(A.T, H.T, acceleration**2 * G @ G.T, np.array([[noise**2]]))
    gain = (P @ H.T / (H @ P @ H.T + noise**2))[:, 0]
    alpha, beta = filter_by_kalman(np.array([noise]), np.array([acceleration]), DT)
    np.testing.assert_allclose([alpha[0], beta[0] / DT], gain, rtol=1e-9)


@pytest.mark.parametrize("gains", [differentiate(0.5, 2), filter_by_kalman(NOISE[1:3], np.full(2, 10.0), DT)])
def test_its_deviation_is_that_of_a_system_at_rest(gains):
    filter = VelocityFilter.of(MECHANICS, NOISE, *gains)
    still = NOISE * np.random.default_rng(0).normal(size=(20_000, 5))
    np.testing.assert_allclose(run(filter, still)[100:].std(axis=0), filter.deviation, rtol=0.05)
    assert filter.noise[3:].tolist() == [0.0, 0.0]


def test_numpy_and_jax_have_the_same_bits():
    measured, filter = measure(), make()
    estimates = run(filter, measured)
    begun = jax.jit(filter.begin)(jnp.asarray(measured[0]))
    np.testing.assert_array_equal(begun, estimates[0])
    after = jax.jit(lambda e, y: filter.update(e, y))(jnp.asarray(estimates[:-1]), jnp.asarray(measured[1:]))
    np.testing.assert_allclose(after, estimates[1:], rtol=1e-12, atol=1e-12)
