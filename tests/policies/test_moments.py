"""The moments of a policy's action in a Gaussian state, against Monte Carlo and finite differences."""

import dataclasses

import numpy as np
import pytest
from helpers.policies import bounded_policy

from gps.backend import jax, jnp
from gps.errors import ConfigError
from gps.networks import Affine
from gps.policies.moments import match_action, require_moments
from gps.policies.observed import Observed

SAMPLES = 1_000_000
OBSERVED = (3, 0, 2, 4, 1)  # of a state of six entries
MEAN = np.array([0.3, -0.4, 0.2, 0.6, -0.1, 0.9])


def covariance(scale=0.2):
    root = np.random.default_rng(3).normal(size=(6, 6))
    return scale * (root @ root.T / 6 + 0.2 * np.eye(6))


def check(policy, exact_between, allowance=0.0):
    """Compare with samples, within five standard errors.

    Args:
        exact_between: True where the policy's chain of Gaussians is exact.
        allowance: what else the second moments may be off by.
    """
    S = covariance()
    z, Z = (np.asarray(array) for array in match_action(policy, MEAN, S, Observed(OBSERVED), 0))
    np.testing.assert_array_equal(z[:6], MEAN)
    np.testing.assert_array_equal(Z[:6, :6], S)
    np.testing.assert_allclose(Z, Z.T, atol=1e-14)
    x = np.random.default_rng(1).multivariate_normal(MEAN, S, SAMPLES)
    u = policy.act(x[:, list(OBSERVED)])

    def compare(found, terms, slack):
        assert np.all(np.abs(found - terms.mean(axis=0)) < 5.0 * terms.std(axis=0) / np.sqrt(SAMPLES) + slack)

    off = u - u.mean(axis=0)
    compare(z[6:], u, 0.0 if exact_between else allowance)
    compare(Z[6:, 6:], off[:, :, None] * off[:, None], 0.0 if exact_between else allowance)
    compare(Z[:6, 6:], (x - MEAN)[:, :, None] * off[:, None], 0.0 if exact_between else allowance)


@pytest.mark.parametrize("kind", ["rbf", "affine"])
def test_a_function_of_plain_entries_is_exact(kind):
    check(bounded_policy(kind, "none", ()), exact_between=True)


def test_a_squashed_affine_function_is_exact():
    """The sine of a Gaussian has a closed form."""
    check(bounded_policy("affine", "sine", ()), exact_between=True)


def test_an_affine_function_of_angles_is_exact():
    check(bounded_policy("affine", "none", (1, 3)), exact_between=True)


def test_scales_of_inputs_and_outputs_count():
    policy = bounded_policy("rbf", "none", ())
    scaled = dataclasses.replace(policy, input_mean=np.arange(5.0) / 3, input_scale=np.array([2.0, 1.0, 0.5, 3.0, 1.0]))
    check(dataclasses.replace(scaled, output_scale=np.array([2.0, 0.3])), exact_between=True)


@pytest.mark.parametrize("kind", ["rbf", "affine"])
def test_where_a_gaussian_is_assumed_the_moments_are_near(kind):
    check(bounded_policy(kind, "sine", (1, 3)), exact_between=False, allowance=0.05)


@pytest.mark.parametrize("kind", ["rbf", "affine"])
def test_a_known_state_gives_the_action_itself(kind):
    policy = bounded_policy(kind)
    z, Z = match_action(policy, jnp.asarray(MEAN), jnp.zeros((6, 6)), Observed(OBSERVED), 0)
    np.testing.assert_allclose(z[6:], policy.act(MEAN[list(OBSERVED)]), atol=1e-10)
    np.testing.assert_allclose(Z, 0.0, atol=1e-10)


@pytest.mark.parametrize("kind", ["rbf", "affine"])
def test_the_derivative_is_that_of_finite_differences(kind):
    policy, S = bounded_policy(kind), covariance()

    @jax.jit
    def total(network):
        z, Z = match_action(dataclasses.replace(policy, network=network), MEAN, S, Observed(OBSERVED), 0)
        return jnp.sum(jnp.cos(z)) + jnp.sum(Z * jnp.arange(64.0).reshape(8, 8))

    gradient = jax.grad(total)(policy.network)
    direction = jax.tree.map(lambda array: np.random.default_rng(0).normal(size=np.shape(array)), policy.network)

    def move(step):
        return total(jax.tree.map(lambda array, d: array + step * d, policy.network, direction))

    expected = (move(1e-5) - move(-1e-5)) / 2e-5
    found = sum(np.sum(g * d) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (bounded_policy("bounded_mlp"), 'moment matching takes "rbf" or "affine"'),
        (bounded_policy("affine", "tanh"), "no closed form"),
    ],
)
def test_networks_without_moments_are_refused(policy, message):
    with pytest.raises(ConfigError, match=message):
        require_moments(policy.network)
    require_moments(Affine.create(2, [-1.0], [1.0], jax.random.key(0)))
