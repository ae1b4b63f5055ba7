"""The cost learned from rewards: against rewards whose quadratic form is known."""

import dataclasses

import numpy as np
import pytest

from gps.costs import RewardModel
from gps.dynamics.mixture import MixturePrior
from gps.records import Rollouts

M, N, T, DX, DU = 2, 30, 4, 3, 2
EXACT = {"ridge": 1e-10, "curvature_ridge": 1e-10}


def rollouts(reward, *, scale=1.0, samples=N, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(M, samples, T, DX + DU)) + rng.normal(size=(M, 1, T, DX + DU))
    return Rollouts(
        states=z[..., :DX] * scale,
        actions=z[..., DX:],
        noise=np.zeros((M, samples, T, DU)),
        rewards=reward(z),
        success=np.zeros((M, samples, T), bool),
        mask=np.ones((M, samples, T), bool),
        saturated=np.zeros(M),
    )


def quadratic(rng, convex=True):
    root = rng.normal(size=(DX + DU, DX + DU))
    hessian = root @ root.T if convex else -root @ root.T
    gradient = rng.normal(size=DX + DU)

    def reward(z):
        return -(0.5 * np.einsum("...i,ij,...j->...", z, hessian, z) + z @ gradient + 3.0)

    return hessian, gradient, reward


def model(**settings) -> RewardModel:
    return RewardModel(MixturePrior(clusters=2, memory=2), **settings)


def values(expansion, rollouts):
    z = np.concatenate([rollouts.states, rollouts.actions], axis=-1)
    H, g, c = expansion.hessian[:, None], expansion.gradient[:, None], expansion.constant[:, None]
    return 0.5 * np.einsum("...i,...ij,...j->...", z, H, z) + np.einsum("...i,...i->...", g, z) + c


def test_an_exactly_quadratic_reward_is_found():
    hessian, gradient, reward = quadratic(np.random.default_rng(1))
    expansion, _ = model(**EXACT).fit(rollouts(reward), 0)
    np.testing.assert_allclose(expansion.hessian, np.broadcast_to(hessian, expansion.hessian.shape), atol=1e-5)
    np.testing.assert_allclose(expansion.gradient, np.broadcast_to(gradient, expansion.gradient.shape), atol=1e-5)
    np.testing.assert_allclose(expansion.constant, 3.0, atol=1e-5)


def test_a_linear_reward_has_a_slope_and_no_curvature():
    slope = np.arange(1.0, 6.0)
    expansion, _ = model().fit(rollouts(lambda z: -z @ slope), 0)
    np.testing.assert_allclose(expansion.gradient, np.broadcast_to(slope, (M, T, 5)), rtol=2e-2)
    assert np.abs(expansion.hessian).max() < 0.05


def test_a_concave_cost_keeps_its_value_and_slope_at_the_mean_and_loses_its_curvature():
    hessian, gradient, reward = quadratic(np.random.default_rng(2), convex=False)
    seen = rollouts(reward)
    expansion, _ = model(**EXACT).fit(seen, 0)
    z = np.concatenate([seen.states, seen.actions], axis=-1).mean(axis=1)
    np.testing.assert_allclose(expansion.hessian, 0.0, atol=1e-4)
    np.testing.assert_allclose(expansion.gradient, z @ hessian + gradient, atol=1e-3)


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_with_few_samples_the_hessian_is_positive_semi_definite_and_the_samples_are_explained(samples):
    seen = rollouts(lambda z: -np.linalg.norm(z, axis=-1) - 0.3 * np.sin(3 * z[..., 0]), samples=samples)
    expansion, _ = model().fit(seen, 0)
    eigenvalues = np.linalg.eigvalsh(expansion.hessian)
    assert eigenvalues.min() > -1e-9 * max(eigenvalues.max(), 1.0)
    unexplained = (values(expansion, seen) + seen.rewards).std()
    assert unexplained < (0.9 if samples > 1 else 1.01) * seen.rewards.std()


def test_units_do_not_matter():
    _, _, reward = quadratic(np.random.default_rng(3))
    one, _ = model().fit(rollouts(reward), 0)
    milli, _ = model().fit(rollouts(reward, scale=1000.0), 0)
    factor = np.array([1000.0] * DX + [1.0] * DU)
    np.testing.assert_allclose(milli.gradient * factor, one.gradient, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(milli.hessian * np.outer(factor, factor), one.hessian, rtol=1e-6, atol=1e-6)


def test_what_was_seen_before_fills_in_what_the_new_samples_do_not_show():
    hessian, _, reward = quadratic(np.random.default_rng(4))
    narrow = rollouts(reward, samples=1, seed=1)  # fewer points in all than features
    alone, _ = model(**EXACT).fit(narrow, 0)
    _, experienced = model(**EXACT).fit(rollouts(reward), 0)
    together, _ = experienced.fit(narrow, 0)
    assert np.abs(together.hessian - hessian).max() < 1e-3 < np.abs(alone.hessian - hessian).max()


def test_masked_steps_neither_count_nor_cost():
    _, _, reward = quadratic(np.random.default_rng(5))
    seen = rollouts(reward)
    mask = seen.mask.copy()
    mask[0, :, 2:] = False
    mask[1, 0, 1:] = False
    kept = {name: np.where(mask[..., None], getattr(seen, name), 0.0) for name in ("states", "actions")}
    cut = dataclasses.replace(seen, mask=mask, rewards=np.where(mask, seen.rewards, 0.0), **kept)
    poisoned = dataclasses.replace(cut, rewards=np.where(mask, seen.rewards, 1e6))
    expansion, _ = model().fit(cut, 0)
    other, _ = model().fit(poisoned, 0)
    for field in dataclasses.fields(expansion):
        array = getattr(expansion, field.name)
        assert not array[0, 2:].any()
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, getattr(other, field.name))


def test_chunks_of_time_change_nothing(monkeypatch):
    _, _, reward = quadratic(np.random.default_rng(6))
    whole, _ = model().fit(rollouts(reward), 0)
    monkeypatch.setattr("gps.costs.reward._CHUNK_BYTES", 1)
    pieces, _ = model().fit(rollouts(reward), 0)
    np.testing.assert_allclose(pieces.hessian, whole.hessian, rtol=1e-9, atol=1e-9)


def test_the_weight_scales_the_cost():
    _, _, reward = quadratic(np.random.default_rng(7))
    seen = rollouts(reward)
    np.testing.assert_allclose(model(weight=2.0).costs(seen), -2.0 * seen.rewards)
    one, _ = model().fit(seen, 0)
    two, _ = model(weight=2.0).fit(seen, 0)
    np.testing.assert_allclose(two.gradient, 2.0 * one.gradient, rtol=1e-6, atol=1e-6)


def narrow(reward, noise, *, spread=0.3, steps=30, samples=8):
    """Samples around a path through the state space, as a policy's noise makes them; rewards with noise."""
    rng = np.random.default_rng(0)
    path = np.cumsum(0.2 * rng.normal(size=(M, 1, steps, DX + DU)), axis=2)
    z = path + spread * rng.normal(size=(M, samples, steps, DX + DU))
    shape = z.shape[:-1]
    return Rollouts(
        states=z[..., :DX],
        actions=z[..., DX:],
        noise=np.zeros((*shape, DU)),
        rewards=reward(z) + noise * rng.normal(size=shape),
        success=np.zeros(shape, bool),
        mask=np.ones(shape, bool),
        saturated=np.zeros(M),
    )


def curvature(expansion):
    return np.linalg.norm(expansion.hessian, axis=(-1, -2)).mean()


@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_noise_is_not_read_as_curvature(spread):
    """A linear reward: without a noisy ridge, the curvature read into noise grows in proportion to it."""
    slope = np.arange(1.0, 6.0)
    found = {}
    for noise in (0.0, 0.3, 1.0, 3.0, 10.0):
        expansion, _ = model().fit(narrow(lambda z: -z @ slope, noise, spread=spread), 0)
        found[noise] = curvature(expansion)
    assert found[0.0] < 0.6
    assert max(found.values()) < 4.0  # 12 to 120 otherwise, in units of a slope of 7.4
    assert found[10.0] < 3.0 * found[0.3]


def test_curvature_is_found_under_noise():
    hessian, _, reward = quadratic(np.random.default_rng(1))
    for noise, error in ((0.0, 0.35), (0.3, 0.5)):
        expansion, _ = model().fit(narrow(reward, noise), 0)
        missed = np.linalg.norm(expansion.hessian - hessian, axis=(-1, -2)).mean()
        assert missed < error * np.linalg.norm(hessian)


def test_entries_that_are_constant_in_a_condition_do_no_harm():
    """A goal that differs between the conditions, and entries that never move: features without variance."""
    rng = np.random.default_rng(0)
    goal = np.broadcast_to(rng.normal(size=(2, 1, 1, 3)), (2, 8, 50, 3))
    moving = np.cumsum(0.05 * rng.normal(size=(2, 8, 50, 3)), axis=2)
    states = np.concatenate([moving, goal, np.zeros((2, 8, 50, 2)), np.full((2, 8, 50, 1), 1.34)], axis=-1)
    shape = states.shape[:-1]
    seen = Rollouts(
        states=states,
        actions=rng.normal(size=(*shape, 2)),
        noise=np.zeros((*shape, 2)),
        rewards=-np.linalg.norm(moving - goal, axis=-1),
        success=np.zeros(shape, bool),
        mask=np.ones(shape, bool),
        saturated=np.zeros(2),
    )
    fitted = RewardModel(MixturePrior(clusters=20, memory=3))
    for seed in range(3):
        expansion, fitted = fitted.fit(seen, seed)
        for field in dataclasses.fields(expansion):
            assert np.isfinite(getattr(expansion, field.name)).all()
        missed = values(expansion, seen) + seen.rewards
        assert missed.std() < 0.3 * seen.rewards.std()
