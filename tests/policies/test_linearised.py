"""A policy around samples: exact where it is linear, its Jacobian where it is smooth."""

import dataclasses

import numpy as np
import pytest

from gps.backend import jax
from gps.dynamics.mixture import MixturePrior
from gps.errors import PolicyError
from gps.policies import MLP, NeuralPolicy
from gps.policies.linearised import linearise, policy_points

M, N, T, DX, DU = 2, 12, 5, 4, 2
COVARIANCE = np.array([[2.0, 0.3], [0.3, 0.5]])


def linear_policy() -> tuple[np.ndarray, np.ndarray, NeuralPolicy]:
    rng = np.random.default_rng(0)
    K, k = rng.normal(size=(DU, DX)), rng.normal(size=DU)
    policy = NeuralPolicy.untrained(MLP((K.T,), (k,), "relu"))
    return K, k, dataclasses.replace(policy, covariance=COVARIANCE)


def states(spread=1.0, samples=N, seed=1):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(M, 1, T, DX))
    return centre + spread * rng.normal(size=(M, samples, T, DX))


@pytest.mark.parametrize("with_prior", [False, True])
def test_a_linear_policy_is_recovered(with_prior):
    K, k, policy = linear_policy()
    x, mask = states(), np.ones((M, N, T), dtype=bool)
    mask[1, :3, 2:] = False
    points = policy_points(x, np.where(mask[..., None], policy.act(x), np.nan), mask)
    prior = MixturePrior(clusters=3, points_per_cluster=20).refit(points, seed=0) if with_prior else None
    assert prior is None or prior.mixture is not None
    controllers = linearise(points, DX, policy.covariance, prior and prior.at(points), ridge=1e-9)
    assert controllers.feedback.shape == (M, T, DU, DX)
    # A mixture adds 1e-6 of the actions' variance to each cluster's.
    tolerance = 1e-4 if with_prior else 1e-6
    np.testing.assert_allclose(controllers.feedback, np.broadcast_to(K, (M, T, DU, DX)), atol=tolerance)
    np.testing.assert_allclose(controllers.feedforward, np.broadcast_to(k, (M, T, DU)), atol=tolerance)
    np.testing.assert_allclose(controllers.covariance, np.broadcast_to(COVARIANCE, (M, T, DU, DU)), atol=1e-4)
    for t in range(T):
        np.testing.assert_allclose(controllers.act(x[:, :, t], t), policy.act(x[:, :, t]), atol=10 * tolerance)


def test_a_smooth_policy_has_its_jacobian():
    policy = NeuralPolicy.untrained(MLP.create((DX, 32, DU), jax.random.key(0), "tanh", gain=1.0))
    x = states(spread=1e-3, samples=300)
    controllers = linearise(policy_points(x, policy.act(x), np.ones(x.shape[:3], dtype=bool)), DX, policy.covariance)
    jacobian = jax.vmap(jax.vmap(jax.jacobian(policy.mean)))(x.mean(axis=1))
    np.testing.assert_allclose(controllers.feedback, jacobian, atol=2e-3)


def test_what_is_not_linear_widens_the_covariance():
    _, _, policy = linear_policy()
    x = states(samples=200)
    means = policy.act(x) + 0.5 * np.random.default_rng(0).normal(size=(M, 200, T, DU))
    controllers = linearise(policy_points(x, means, np.ones(x.shape[:3], dtype=bool)), DX, COVARIANCE)
    np.testing.assert_allclose(controllers.covariance.mean(axis=(0, 1)), COVARIANCE + 0.25 * np.eye(2), atol=0.03)


def test_a_prior_fills_in_for_missing_samples():
    """Three samples in four dimensions do not determine a controller; the mixture over all steps does."""
    K, _, policy = linear_policy()
    x = states(samples=3)
    points = policy_points(x, policy.act(x), np.ones(x.shape[:3], dtype=bool))
    prior = MixturePrior(clusters=1, points_per_cluster=10).refit(points, seed=0)
    alone, helped = (linearise(points, DX, COVARIANCE, belief) for belief in (None, prior.at(points)))
    assert np.abs(helped.feedback - K).max() < 0.05 < np.abs(alone.feedback - K).max()


def test_covariances_of_samples_are_averaged():
    _, _, policy = linear_policy()
    x, mask = states(), np.ones((M, N, T), dtype=bool)
    mask[0, 6:, :] = False
    each = np.random.default_rng(0).uniform(0.5, 2, (M, N, T))[..., None, None] * COVARIANCE
    controllers = linearise(policy_points(x, policy.act(x), mask), DX, each)
    np.testing.assert_allclose(controllers.covariance[0], each[0, :6].mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(controllers.covariance[1], each[1].mean(axis=0), atol=1e-4)


@pytest.mark.wrong_shapes
def test_what_does_not_fit_is_refused():
    x, mask = states(), np.ones((M, N, T), dtype=bool)
    with pytest.raises(PolicyError, match=r"expected \(M, N, T\) of each"):
        policy_points(x, np.zeros((M, N, T - 1, DU)), mask)
    means = np.zeros((M, N, T, DU))
    means[1, 2, 3] = np.nan
    with pytest.raises(PolicyError, match="not finite at condition 1, sample 2, step 3"):
        policy_points(x, means, mask)
