"""A fit in other units, or from another origin, is the same fit: dynamics, the mixture prior, policies, rewards."""

import dataclasses

import numpy as np
import pytest

from gps.costs import RewardModel
from gps.dynamics.mixture import Mixture, MixturePrior, mix_moments
from gps.dynamics.prior import Transitions
from gps.dynamics.regression import fit_dynamics, mean_square_deviation
from gps.policies.linearised import linearise, policy_points
from gps.records import Rollouts

M, N, T, DX, DU = 2, 8, 20, 5, 2
GOAL, REST = 3, 4  # entries of the state: constant in a condition, and always

CHANGES = {
    "millionths": (np.full(DX, 1e-6), np.zeros(DX)),
    "millions": (np.full(DX, 1e6), np.zeros(DX)),
    "each its own": (10.0 ** np.array([-6, 6, 0, -6, 6]), np.zeros(DX)),
    "a million away": (np.ones(DX), np.full(DX, 1e6)),
    "both": (10.0 ** np.array([3, -3, 0, 3, -3]), np.array([1e6, -1e3, 1e6, 1e6, 5e2])),
}


@pytest.fixture(scope="module")
def seen():
    """States of a damped system with a goal and an entry at rest, and actions."""
    rng = np.random.default_rng(0)
    A = 0.9 * np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    B = rng.normal(size=(3, DU))
    actions = rng.normal(size=(M, N, T, DU))
    states = np.zeros((M, N, T, DX))
    states[..., GOAL], states[..., REST] = np.array([0.3, -0.8])[:, None, None], 1.34
    states[:, :, 0, :3] = rng.normal(size=(M, 1, 3)) + 0.1 * rng.normal(size=(M, N, 3))
    for t in range(T - 1):
        states[:, :, t + 1, :3] = (
            states[:, :, t, :3] @ A.T + 0.1 * actions[:, :, t] @ B.T + 0.01 * rng.normal(size=(M, N, 3))
        )
    return states, actions, np.ones((M, N, T), bool)


def believe(states, actions, mask):
    transitions = Transitions.of(states, actions, mask)
    prior = MixturePrior(clusters=4, points_per_cluster=20)
    for seed in range(2):  # the second is a warm start
        prior = prior.refit(transitions, seed)
    return prior.at(transitions)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("with_prior", [False, True], ids=["least squares", "mixture"])
def test_dynamics(seen, change, with_prior):
    states, actions, mask = seen
    scale, shift = CHANGES[change]
    moved = states * scale + shift
    one, other = (fit_dynamics(x, actions, mask, believe(x, actions, mask) if with_prior else None)
                  for x in (states, moved))  # fmt: skip
    z_scale = np.concatenate([scale, np.ones(DU)])
    F = np.asarray(other.matrix) * z_scale / scale[:, None]
    near = dict(rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(F, one.matrix, **near)
    offset = np.asarray(other.offset) - shift + other.matrix[..., :DX] @ shift
    np.testing.assert_allclose(offset / scale, one.offset, rtol=1e-3, atol=1e-3)
    W = np.asarray(other.covariance) / np.outer(scale, scale)
    moving = np.ix_([0, 1, 2], [0, 1, 2])
    np.testing.assert_allclose(W[..., moving[0], moving[1]], one.covariance[..., moving[0], moving[1]], **near)
    for array in dataclasses.astuple(other):
        assert np.isfinite(array).all()


@pytest.mark.parametrize("change", CHANGES)
def test_a_linearised_policy(seen, change):
    states, _, mask = seen
    scale, shift = CHANGES[change]
    K = np.random.default_rng(1).normal(size=(DU, DX))
    actions = states @ K.T + 0.05 * np.sin(9 * states[..., :DU])
    moved = states * scale + shift
    one, other = (linearise(policy_points(x, actions, mask), DX, 0.01 * np.eye(DU)) for x in (states, moved))
    np.testing.assert_allclose(other.feedback * scale, one.feedback, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("change", CHANGES)
def test_a_learned_reward(seen, change):
    """Its value at the samples, whatever the numbers of the state are."""
    states, actions, mask = seen
    scale, shift = CHANGES[change]
    rewards = -np.linalg.norm(states[..., :3] - states[..., [GOAL]], axis=-1) - 0.1 * (actions**2).sum(axis=-1)
    values = []
    for x in (states, states * scale + shift):
        rollouts = Rollouts(
            states=x, actions=actions, noise=np.zeros_like(actions), rewards=rewards,
            success=np.zeros(mask.shape, bool), mask=mask, saturated=np.zeros(M),
        )  # fmt: skip
        expansion, _ = RewardModel(MixturePrior(clusters=4, points_per_cluster=20)).fit(rollouts, 0)
        # Around the samples' mean: the constant at z = 0, a million away, has lost its digits.
        z = np.concatenate([x, actions], axis=-1)
        mean = z.mean(axis=1)
        slope = expansion.gradient + np.einsum("mtij,mtj->mti", expansion.hessian, mean)
        d = z - mean[:, None]
        curved = 0.5 * np.einsum("mnti,mtij,mntj->mnt", d, expansion.hessian, d)
        values.append(np.einsum("mti,mnti->mnt", slope, d) + curved)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-2, atol=1e-3 * np.abs(values[0]).max())


def test_moments_far_from_the_origin_are_those_near_it():
    rng = np.random.default_rng(0)
    means, roots = rng.normal(size=(4, 3)), rng.normal(size=(4, 3, 3))
    covariances = 1e-4 * roots @ roots.swapaxes(1, 2)
    weights = rng.dirichlet(np.ones(4), size=5)
    near_mean, near = mix_moments(weights, means, covariances)
    far_mean, far = Mixture(np.full(4, 0.25), means + 1e6, covariances).moments(weights)
    np.testing.assert_allclose(far_mean - 1e6, near_mean, atol=1e-8)
    np.testing.assert_allclose(far, near, rtol=1e-7, atol=1e-8)
    assert np.linalg.eigvalsh(far).min() > 0


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_spread_of_an_entry_at_rest_follows_its_unit(seen, unit):
    states, actions, mask = seen
    first = mean_square_deviation(Transitions.of(states, actions, mask))
    other = mean_square_deviation(Transitions.of(unit * states, unit * actions, mask))
    np.testing.assert_allclose(other, unit**2 * first, rtol=1e-9)
    assert (first > 0).all()
