"""The KL between controllers against samples, the KL of whole trajectories, and automatic differentiation."""

import numpy as np
import pytest
from helpers.problems import dense_joint, negative_log_density, spd
from scipy.stats import multivariate_normal as normal

from gps.backend import jax, jnp
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.linalg import gaussian_kl
from gps.linear_gaussian.riccati import forward
from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals

T, DX, DU = 5, 3, 2
FORWARD = jax.jit(forward)


def random_controller(rng):
    return Controller(rng.standard_normal((T, DU, DX)) / 2, rng.standard_normal((T, DU)), spd(rng, T, DU))


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(3)
    dynamics = LinearDynamics(
        rng.standard_normal((T - 1, DX, DX + DU)) / 2, rng.standard_normal((T - 1, DX)), spd(rng, T - 1, DX),
        rng.standard_normal(DX), spd(rng, DX),
    )  # fmt: skip
    return dynamics, random_controller(rng), random_controller(rng)


def kl(controller, reference, marginals):
    logdet = np.linalg.slogdet(controller.covariance)[1]
    return np.asarray(controller_kl(controller, logdet, Reference.of(reference), marginals))


def test_kl_summed_over_time_is_the_kl_of_the_whole_trajectories(pair):
    """The dynamics are shared and cancel: the dense joint Gaussians of all states and actions know nothing of that."""
    dynamics, p, q = pair
    dense = gaussian_kl(*dense_joint(dynamics, p), *dense_joint(dynamics, q))
    assert kl(p, q, FORWARD(dynamics, p)).sum() == pytest.approx(float(dense), rel=1e-9)


def test_kl_in_a_known_state_is_that_of_two_gaussians(pair):
    _, p, q = pair
    x = np.random.default_rng(4).standard_normal((T, DX))
    means = [np.einsum("tij,tj->ti", c.feedback, x) + c.feedforward for c in (p, q)]
    expected = gaussian_kl(means[0], p.covariance, means[1], q.covariance)
    np.testing.assert_allclose(kl(p, q, Marginals(x, np.zeros((T, DX, DX)))), expected, rtol=1e-11)


def test_kl_is_the_mean_log_ratio_of_samples(pair):
    dynamics, p, q = pair
    marginals = FORWARD(dynamics, p)
    closed = kl(p, q, marginals)
    rng, n = np.random.default_rng(5), 100_000
    for t in range(T):
        x = rng.multivariate_normal(marginals.mean[t], marginals.covariance[t], n)
        noise = rng.multivariate_normal(np.zeros(DU), p.covariance[t], n)
        u = x @ p.feedback[t].T + p.feedforward[t] + noise
        other = u - x @ q.feedback[t].T - q.feedforward[t]
        ratio = normal(cov=p.covariance[t]).logpdf(noise) - normal(cov=q.covariance[t]).logpdf(other)
        assert abs(closed[t] - ratio.mean()) < 5 * ratio.std() / np.sqrt(n)


def test_kl_of_a_controller_from_itself_is_zero_and_from_others_positive(pair):
    dynamics, p, q = pair
    marginals = FORWARD(dynamics, p)
    assert np.abs(kl(p, p, marginals)).max() < 1e-12
    assert (kl(p, q, marginals) > 0).all()


def test_negative_log_density_has_the_derivatives_of_the_density(pair):
    _, _, q = pair
    hessian, gradient = negative_log_density(q)

    def density(z, K, k, covariance):
        return -jax.scipy.stats.multivariate_normal.logpdf(z[DX:], K @ z[:DX] + k, covariance)

    @jax.jit
    @jax.vmap
    def derivatives(K, k, covariance):
        zero = jnp.zeros(DX + DU)
        return jax.grad(density)(zero, K, k, covariance), jax.hessian(density)(zero, K, k, covariance)

    expected_gradient, expected_hessian = derivatives(q.feedback, q.feedforward, q.covariance)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(hessian, expected_hessian, rtol=1e-10, atol=1e-12)
