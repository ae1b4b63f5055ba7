"""The weights of PI²: the temperature of the REPS dual, and the Gaussians fitted to weighted samples."""

import numpy as np
import pytest
from helpers.problems import spd
from scipy.optimize import minimize_scalar

from gps.algorithms.local.path_integral import (
    LOWEST,
    apply_floor,
    cost_to_go,
    fit_shifted_gaussian,
    fit_weighted_gaussian,
    weigh,
)

M, N, T = 2, 9, 4


@pytest.fixture
def costs():
    rng = np.random.default_rng(0)
    return rng.standard_normal((M, N, T)) * [1.0, 100.0, 1e-3, 1.0] + [0.0, 5.0, 1e3, -2.0]


ALL = np.ones((M, N, T), dtype=bool)


def kl_from_uniform(weights):
    n = (weights > 0).sum(axis=1)
    return np.where(weights > 0, weights * np.log(np.maximum(weights, 1e-300) * n[:, None]), 0.0).sum(axis=1)


@pytest.mark.parametrize("bound", [1e-8, 1e-3, 0.3, 1.0, 1.9])
def test_the_kl_of_the_weights_is_the_bound(costs, bound):
    found = weigh(costs, ALL, np.full(M, bound))
    assert found.active.all()
    np.testing.assert_allclose(found.kl, bound, rtol=1e-5)
    assert (found.kl <= bound).all()
    np.testing.assert_allclose(kl_from_uniform(found.weights), found.kl, rtol=1e-6, atol=1e-13)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, rtol=1e-12)
    assert (found.evaluations <= 12).all()


def test_the_temperature_minimises_the_dual(costs):
    bound = 0.5
    found = weigh(costs, ALL, np.full(M, bound))
    for m in range(M):
        for t in range(T):
            S = costs[m, :, t] - costs[m, :, t].min()

            def dual(log_eta, S=S):
                eta = np.exp(log_eta)
                return eta * bound + eta * np.log(np.mean(np.exp(-S / eta)))

            best = minimize_scalar(dual, bracket=(np.log(S.std()) - 1, np.log(S.std()) + 1), tol=1e-12)
            assert np.log(found.eta[m, t]) == pytest.approx(best.x, abs=1e-4)
            expected = np.exp(-S / found.eta[m, t])
            np.testing.assert_allclose(found.weights[m, :, t], expected / expected.sum(), rtol=1e-9)


def test_a_bound_beyond_the_best_sample_alone_is_not_active(costs):
    found = weigh(costs, ALL, np.full(M, np.log(N) + 0.1))
    assert not found.active.any()
    np.testing.assert_allclose(found.eta, LOWEST * np.ptp(costs, axis=1))
    assert (found.weights.argmax(axis=1) == costs.argmin(axis=1)).all()


def test_a_fixed_temperature_is_relative_to_the_range(costs):
    found = weigh(costs, ALL, np.full(M, 1e-6), temperature=0.1)
    expected = np.exp(-10 * (costs - costs.min(axis=1, keepdims=True)) / np.ptp(costs, axis=1, keepdims=True))
    np.testing.assert_allclose(found.weights, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)
    assert np.isnan(found.trace_kl).all()


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 1e3), (1.0, -7.0), (1e-6, 0.0), (1e8, 3.0)])
def test_neither_the_origin_nor_the_unit_of_the_cost_matters(costs, scale, offset):
    one, other = (weigh(c, ALL, np.full(M, 0.7)) for c in (costs, scale * costs + offset))
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-5)
    np.testing.assert_allclose(other.eta, scale * one.eta, rtol=1e-5)


def test_a_lowest_temperature_holds(costs):
    free = weigh(costs, ALL, np.full(M, 0.7))
    held = weigh(costs, ALL, np.full(M, 0.7), lowest=3.0 * free.eta)
    np.testing.assert_allclose(held.eta, 3.0 * free.eta)
    assert not held.active.any()
    idle = weigh(costs, ALL, np.full(M, 0.7), lowest=0.3 * free.eta)
    np.testing.assert_allclose(idle.eta, free.eta, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.3, -1e9])
def test_equal_costs_give_equal_weights(value):
    found = weigh(np.full((M, N, T), value), ALL, np.full(M, 1.0))
    assert not found.distinct.any()
    np.testing.assert_allclose(found.weights, 1.0 / N)
    assert not found.kl.any()
    assert np.isfinite(found.eta).all()


def test_rounding_is_no_preference():
    costs = 1e6 + 1e-9 * np.random.default_rng(0).standard_normal((M, N, T))
    assert not weigh(costs, ALL, np.full(M, 1.0)).distinct.any()


def test_samples_that_ended_have_no_weight(costs):
    mask = ALL.copy()
    mask[0, 3:, 2:] = False
    mask[1, :, 1:] = False
    found = weigh(costs, mask, np.full(M, 0.5))
    assert not found.weights[~mask].any()
    np.testing.assert_allclose(found.weights.sum(axis=1), mask.any(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(found.distinct, mask.any(axis=1))
    fewer = weigh(costs[:, :3], ALL[:, :3], np.full(M, 0.5))
    np.testing.assert_allclose(found.weights[0, :3, 2:], fewer.weights[0, :, 2:], rtol=1e-9)


def test_cost_to_go_by_hand():
    costs = np.array([[[1.0, 2.0, 4.0], [3.0, 5.0, 0.0]]])
    mask = np.array([[[True, True, True], [True, True, False]]])
    np.testing.assert_allclose(cost_to_go(costs, mask), [[[7.0, 6.0, 4.0], [12.0, 9.0, 4.0]]])
    whole = np.random.default_rng(0).random((M, N, T))
    expected = [whole[..., t:].sum(axis=-1) for t in range(T)]
    np.testing.assert_allclose(cost_to_go(whole, ALL), np.stack(expected, axis=-1))


def test_an_episode_that_ends_is_neither_better_nor_worse_for_it():
    """If all other samples cost the same, it has the cost-to-go that it would have had."""
    mask = ALL.copy()
    mask[:, 2, 1:] = False
    S = cost_to_go(np.where(mask, 1.5, 0.0), mask)
    np.testing.assert_allclose(S, np.broadcast_to(1.5 * np.arange(T, 0, -1), S.shape))


def test_many_samples_of_an_exponentiated_quadratic_make_its_gaussian():
    """N(0, I) exp(−½ (u − a)ᵀ A (u − a) / η) is Gaussian: precision I + A/η, mean (I + A/η)⁻¹ A a / η."""
    rng = np.random.default_rng(1)
    A, a, n = spd(rng, 2), np.array([1.0, -0.5]), 200_000
    noise = rng.standard_normal((1, n, 1, 2))
    costs = 0.5 * np.einsum("mnti,ij,mntj->mnt", noise - a, A, noise - a)
    mask = np.ones(costs.shape, dtype=bool)
    found = weigh(costs, mask, np.array([0.4]))
    covariance = np.linalg.inv(np.eye(2) + A / found.eta[0, 0])
    mean = covariance @ A @ a / found.eta[0, 0]
    for made in (fit_weighted_gaussian(noise, found.weights), fit_shifted_gaussian(noise, found.weights, mask)):
        np.testing.assert_allclose(made[0][0, 0], mean, atol=0.02)
        np.testing.assert_allclose(made[1][0, 0], covariance, atol=0.02)
    # and its KL from N(0, I), in closed form, is what the weights have from uniform ones
    kl = 0.5 * (np.trace(covariance) + mean @ mean - 2 - np.log(np.linalg.det(covariance)))
    assert kl == pytest.approx(0.4, rel=0.03)


def test_uniform_weights_shift_nothing():
    noise = np.random.default_rng(0).standard_normal((M, N, T, 3))
    mask = ALL.copy()
    mask[0, 4:, 1] = False
    uniform = mask / mask.sum(axis=1, keepdims=True)
    mean, covariance = fit_shifted_gaussian(np.where(mask[..., None], noise, 0.0), uniform, mask)
    np.testing.assert_allclose(mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(covariance, np.broadcast_to(np.eye(3), covariance.shape), atol=1e-12)


def test_the_floor_holds_and_touches_nothing_above_it():
    rng = np.random.default_rng(2)
    floor = spd(rng, 5, 3)
    above = floor + spd(rng, 5, 3)
    np.testing.assert_allclose(apply_floor(above, floor), above, rtol=1e-9)
    indefinite = above - 1.5 * spd(rng, 5, 3)
    result = apply_floor(indefinite, floor)
    assert (np.linalg.eigvalsh(result - floor) > -1e-9).all()
    np.testing.assert_allclose(apply_floor(result, floor), result, rtol=1e-9)
    np.testing.assert_allclose(apply_floor(0.0 * floor, floor), floor, rtol=1e-9)


def test_a_covariance_with_a_floor_is_symmetric_to_the_last_bit():
    rng = np.random.default_rng(3)
    result = apply_floor(np.eye(7) + 0.1 * spd(rng, 50, 7), 0.01 * np.eye(7))
    np.testing.assert_array_equal(result, result.swapaxes(-1, -2))
