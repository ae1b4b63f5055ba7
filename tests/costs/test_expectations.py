"""Expected costs of Gaussians: closed forms against Monte Carlo and quadrature; other terms by their expansion."""

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.costs import Distance, Quadratic, Ramp, Rate, Saturating, Sum, TaskCost
from gps.costs.expectations import expect, list_expanded

T, DX, DU, SAMPLES = 5, 4, 2, 1_000_000
RAMP = Ramp(T, "quadratic", jnp.asarray(3.0))
MEAN = np.array([0.3, 2.9, -0.5, 0.8, 0.2, -0.6])
ROOT = np.random.default_rng(0).normal(size=(6, 6))
COVARIANCE = 0.1 * (ROOT @ ROOT.T / 6 + 0.1 * np.eye(6))

TIP = Saturating(
    (0, 1, 1), ("plain", "sin", "cos"), jnp.array([0.0, 0.0, 1.0]), jnp.array([[1.0, 0.6, 0.0], [0.0, 0.0, 0.6]]) / 0.5,
    jnp.asarray(2.0), RAMP,
)  # fmt: skip
PLAIN = Saturating(
    (0, 2), ("plain",) * 2, jnp.array([0.1, 0.2]), jnp.diag(jnp.array([2.0, 0.7])), jnp.asarray(1.5), RAMP
)
EXACT = {
    "state": Quadratic((0, 2), jnp.array([0.5, -1.0]), jnp.array([2.0, 0.3]), RAMP),
    "action": Quadratic(None, jnp.zeros(2), jnp.array([1.0, 4.0]), RAMP),
    "rate": Rate((1, 3), jnp.array([1.0, 4.0]), RAMP),
    "saturating": PLAIN,
}
EXACT["sum"] = Sum(tuple(EXACT.values()))


@pytest.mark.parametrize("t", [0, T - 1])
@pytest.mark.parametrize("name", EXACT)
def test_closed_forms_are_those_of_many_samples(name, t):
    cost = EXACT[name]
    z = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, SAMPLES)
    values = np.asarray(jax.jit(jax.vmap(lambda z: cost(z[:DX], z[DX:], t)))(z))
    found = float(expect(cost, MEAN, COVARIANCE, t, DX))
    assert abs(found - values.mean()) < 4.5 * values.std() / np.sqrt(SAMPLES)
    assert list_expanded(cost) == []


def test_the_saturating_cost_of_one_entry_is_its_quadrature():
    cost = Saturating((0,), ("plain",), jnp.array([0.2]), jnp.array([[1 / 0.25]]), jnp.asarray(1.0), Ramp(T))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    for mean, deviation in ((0.2, 0.1), (1.0, 0.3), (-0.4, 1e-4)):
        exact = weights @ -np.expm1(-0.5 * ((mean + deviation * nodes - 0.2) / 0.25) ** 2) / weights.sum()
        found = expect(cost, jnp.array([mean, 0.0]), jnp.diag(jnp.array([deviation**2, 0.0])), 0, 1)
        np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-9)


def test_the_tip_of_a_pole_is_near_that_of_many_samples_and_exact_without_doubt():
    z = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, SAMPLES)
    values = np.asarray(jax.jit(jax.vmap(lambda z: TIP(z[:DX], z[DX:], 3)))(z))
    np.testing.assert_allclose(expect(TIP, MEAN, COVARIANCE, 3, DX), values.mean(), rtol=0.02)
    certain = expect(TIP, MEAN, np.zeros((6, 6)), 3, DX)
    np.testing.assert_allclose(certain, TIP(MEAN[:DX], MEAN[DX:], 3), atol=1e-12)
    up = jnp.zeros(DX)
    assert float(TIP(up, jnp.zeros(2), 0)) == 0.0


def test_other_terms_are_expanded_and_named():
    def bowl(x, u, t):
        return x[0] ** 2 + 3.0 * x[1] * u[0] + t

    task = TaskCost(bowl, jnp.asarray(2.0), Ramp(T))
    distance = Distance((0, 2), *map(jnp.asarray, (1.0, 1.0, 1.0, 0.0, 0.1)), Ramp(T))
    z = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, SAMPLES)
    expected = 2.0 * (MEAN[0] ** 2 + COVARIANCE[0, 0] + 3.0 * (MEAN[1] * MEAN[4] + COVARIANCE[1, 4]) + 2)
    np.testing.assert_allclose(expect(task, MEAN, COVARIANCE, 2, DX), expected, rtol=1e-12)  # exact: it is quadratic
    values = np.asarray(jax.vmap(lambda z: distance(z[:DX], z[DX:], 2))(z))
    np.testing.assert_allclose(expect(distance, MEAN, COVARIANCE, 2, DX), values.mean(), rtol=0.05)
    assert list_expanded(Sum((task, EXACT["sum"], distance))) == ["TaskCost", "Distance"]


@pytest.mark.parametrize("cost", [TIP, EXACT["sum"]])
def test_the_derivative_is_that_of_finite_differences(cost):
    for scale in (1.0, 0.0):  # a state that is known has a derivative too
        S = scale * COVARIANCE
        value = jax.jit(lambda m, S=S: expect(cost, m, S, 3, DX))
        gradient = jax.grad(value)(jnp.asarray(MEAN))
        expected = [(value(MEAN + 1e-5 * e) - value(MEAN - 1e-5 * e)) / 2e-5 for e in np.eye(6)]
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
        by_covariance = jax.grad(lambda S: expect(cost, MEAN, S, 3, DX))(jnp.asarray(S))
        assert np.isfinite(by_covariance).all()
