"""The moments of a Gaussian process at a Gaussian input, against Monte Carlo and the textbook's formulas."""

import dataclasses

import numpy as np
import pytest
from helpers.textbook import match_by_the_textbook

from gps.backend import jax, jnp
from gps.errors import ConfigError
from gps.models.conditioning import condition_process
from gps.models.data import Dataset
from gps.models.features import Differences, Encoding, StateTransforms, encode_input
from gps.models.marginal_likelihood import Hyperparameters
from gps.models.moment_matching import encode_moments, match_moments, sum_pairs, sum_symmetric

H = Hyperparameters(np.array([[0.7, 1.5, 2.5], [2.0, 0.9, 1.2]]), np.array([1.3, 0.8]), np.array([0.1, 0.2]))
MEAN = jnp.array([0.2, -0.3, 0.4])
COVARIANCE = jnp.array([[0.3, 0.1, 0.05], [0.1, 0.2, -0.05], [0.05, -0.05, 0.4]])
SAMPLES = 200_000


def make_process(slopes=None, n=25):
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(n, 2)), 2.0 * rng.normal(size=(n, 1))
    after = x + np.stack([np.sin(2.0 * x[:, 0]) + u[:, 0], x[:, 1] * u[:, 0]], axis=1)
    data = Dataset(x, u, after, np.zeros(n, int))
    slopes = np.zeros((2, 3)) if slopes is None else slopes
    return condition_process(data, Encoding.of(data), Differences.of(data), H, slopes, 1000)[0]


@pytest.fixture(scope="module")
def process():
    return make_process(np.array([[0.3, 0.0, -0.2], [0.0, 0.5, 0.1]]))


@jax.jit
def predict_all(process, z):
    def predict(z):
        x, u = z[:2], z[2:]
        return process.mean(x, u), process.deviation(x, u) ** 2

    return jax.lax.map(predict, z, batch_size=4096)


def test_they_are_those_of_many_samples(process):
    z = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, SAMPLES)
    means, variances = (np.asarray(array) for array in predict_all(process, z))
    mean, covariance, cross = process.moments(MEAN, COVARIANCE)

    def check(found, terms):
        """Compare with the mean of terms (samples, ...), within four and a half standard errors."""
        assert np.all(np.abs(found - terms.mean(axis=0)) < 4.5 * terms.std(axis=0) / np.sqrt(SAMPLES))

    check(mean, means)
    off = means - mean
    check(covariance, off[:, :, None] * off[:, None] + variances[:, :, None] * np.eye(2))
    check(cross, (z - MEAN)[:, :, None] * off[:, None])


def test_they_and_their_derivatives_are_those_of_the_textbook():
    process = make_process()

    def summarise(match, mu, S):
        mean, covariance, slope = match(process, mu, S)
        return jnp.sum(jnp.cos(mean)) + jnp.sum(covariance * jnp.array([[1.0, 0.3], [0.3, -2.0]])) + jnp.sum(slope**2)

    for match in (match_moments, match_by_the_textbook):
        values = jax.jit(lambda mu, S, match=match: match(process, mu, S))(MEAN, COVARIANCE)
        slopes = jax.jit(jax.grad(lambda mu, S, match=match: summarise(match, mu, S), (0, 1)))(MEAN, COVARIANCE)
        slopes = slopes[0], slopes[1] + slopes[1].T  # the derivative by a symmetric matrix
        if match is match_moments:
            ours = *values, *slopes
    for found, expected in zip(ours, (*values, *slopes), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_the_derivative_is_that_of_finite_differences(process):
    def summarise(mu):
        return sum(jnp.sum(jnp.sin(part)) for part in process.moments(mu, COVARIANCE))

    gradient = jax.grad(summarise)(MEAN)
    value, step = jax.jit(summarise), 1e-5
    expected = [(value(MEAN + step * e) - value(MEAN - step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


def test_a_certain_input_gives_the_prediction(process):
    mean, covariance, cross = process.moments(MEAN, jnp.zeros((3, 3)))
    x, u = MEAN[:2], MEAN[2:]
    np.testing.assert_allclose(mean, process.mean(x, u), atol=1e-10)
    np.testing.assert_allclose(covariance, np.diag(process.deviation(x, u) ** 2), atol=1e-9)
    np.testing.assert_allclose(cross, 0.0, atol=1e-12)


def test_a_nearly_certain_input_spreads_by_the_slope(process):
    small = 1e-6 * COVARIANCE
    _, _, cross = process.moments(MEAN, small)
    F, _ = process.linearise(MEAN[:2], MEAN[2:])
    np.testing.assert_allclose(cross, small @ F.T, rtol=1e-4, atol=1e-12)


def test_a_constant_entry_keeps_its_change(process):
    differences = dataclasses.replace(process.differences, deviation=np.array([0.0, 1.0]))
    still = dataclasses.replace(process, differences=differences)
    mean, covariance, cross = still.moments(MEAN, COVARIANCE)
    np.testing.assert_allclose(mean[0], MEAN[0] + differences.mean[0], atol=1e-12)
    np.testing.assert_allclose(covariance[0, 0], COVARIANCE[0, 0], atol=1e-12)
    np.testing.assert_allclose(cross[:, 0], COVARIANCE[:, 0], atol=1e-12)


def check_derivatives(function, plain, arguments):
    """Compare value and every derivative, backward and forward, with autodiff of the formula."""
    every = tuple(range(len(arguments)))
    np.testing.assert_allclose(function(*arguments), plain(*arguments), rtol=1e-12)
    for found, expected in zip(jax.grad(function, every)(*arguments), jax.grad(plain, every)(*arguments), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    forward, expected = (jax.jvp(f, arguments, arguments)[1] for f in (function, plain))
    np.testing.assert_allclose(forward, expected, rtol=1e-12)


def test_the_sum_over_pairs_of_two_outputs_has_the_derivatives_of_its_formula():
    rng = np.random.default_rng(0)
    U, V, T = rng.normal(size=(6, 2)), rng.normal(size=(5, 2)), jnp.array([[0.4, 0.1], [0.1, 0.2]])
    a, b, A, B = rng.normal(size=6), rng.normal(size=5), rng.normal(size=6), rng.normal(size=5)

    def plain(a, b, A, B, U, T, V):
        return a @ jnp.exp(A[:, None] + B + U @ T @ V.T) @ b

    check_derivatives(sum_pairs, plain, (a, b, A, B, U, T, V))


def test_the_sum_over_pairs_of_one_output_has_the_derivatives_of_its_formula_also_by_the_weights():
    rng = np.random.default_rng(0)
    W, A, U, T = (
        rng.normal(size=(6, 6)),
        rng.normal(size=6),
        rng.normal(size=(6, 2)),
        np.array([[0.4, 0.1], [0.1, 0.2]]),
    )

    def plain(W, A, U, T):
        return jnp.sum(W * jnp.exp(A[:, None] + A + U @ T @ U.T))

    check_derivatives(sum_symmetric, plain, (W + W.T, A, U, T))


def test_the_moments_of_sines_and_cosines_are_those_of_many_samples():
    transforms = StateTransforms(angles=(2, 0))
    covariance = jnp.zeros((4, 4)).at[:3, :3].set(COVARIANCE).at[3, 3].set(0.5).at[3, 0].set(0.2).at[0, 3].set(0.2)
    mean = jnp.array([2.0, -0.3, 0.4, 1.0])
    encoded, spread, cross = encode_moments(mean, covariance, 3, transforms)
    z = np.random.default_rng(2).multivariate_normal(mean, covariance, SAMPLES)
    y = np.asarray(jax.jit(jax.vmap(lambda z: encode_input(z[:3], z[3:], transforms)))(z))
    joint = np.cov(z.T, y.T)
    np.testing.assert_allclose(encoded, y.mean(axis=0), atol=1e-2)
    np.testing.assert_allclose(spread, joint[4:, 4:], atol=1e-2)
    np.testing.assert_allclose(cross, joint[:4, 4:], atol=1e-2)


def test_a_process_with_an_angle_has_moments():
    rng = np.random.default_rng(0)
    x, u = rng.uniform(-3, 3, size=(25, 2)), rng.normal(size=(25, 1))
    transforms = StateTransforms(angles=(0,))
    data = Dataset(x, u, x + np.stack([x[:, 1], np.sin(x[:, 0])], axis=1) * 0.1, np.zeros(25, int))
    h = Hyperparameters(np.full((2, 4), 2.0), np.ones(2), np.full(2, 0.1))
    process = condition_process(
        data, Encoding.of(data, transforms), Differences.of(data, transforms), h, np.zeros((2, 4)), 99
    )[0]
    small = 1e-4 * COVARIANCE
    mean, covariance, cross = process.moments(MEAN, small)
    F, _ = process.linearise(MEAN[:2], MEAN[2:])
    np.testing.assert_allclose(mean, process.mean(MEAN[:2], MEAN[2:]), atol=1e-4)
    np.testing.assert_allclose(cross, small @ F.T, rtol=1e-2, atol=1e-8)
    noise = np.diag(process.deviation(MEAN[:2], MEAN[2:]) ** 2)
    np.testing.assert_allclose(covariance, F @ small @ F.T + noise, rtol=1e-2, atol=1e-6)
    turned = process.moments(MEAN.at[0].add(2 * np.pi), small)
    np.testing.assert_allclose(turned[1], covariance, atol=1e-10)


def test_quaternions_are_refused():
    with pytest.raises(ConfigError, match="quaternions"):
        encode_moments(jnp.zeros(5), jnp.eye(5), 4, StateTransforms(quaternions=(0,)))
