"""The fit of local dynamics against NumPy's least squares, the formulas of the posterior, and the oracle.

The ridge must not fill the block of z, and mean and covariance must be those of one posterior.
"""

import numpy as np
import pytest
from helpers.problems import make_rollouts, one_step_errors, oracle, spd

from gps.backend import jax
from gps.dynamics.mixture import Mixture, MixturePrior
from gps.dynamics.prior import NormalInverseWishart, Transitions
from gps.dynamics.regression import condition, fit_dynamics, joint_gaussian

M, N, T, DX, DU = 2, 40, 4, 3, 2
DZ, D = DX + DU, 2 * DX + DU


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    return rng.standard_normal((M, N, T, DX)) + 3.0, rng.standard_normal((M, N, T, DU)), np.ones((M, N, T), bool)


@pytest.fixture(scope="module")
def prior():
    rng = np.random.default_rng(1)
    m, n0 = rng.uniform(0.5, 3.0, (2, M, T - 1))
    return NormalInverseWishart(rng.standard_normal((M, T - 1, D)), spd(rng, M, T - 1, D), m, n0)


def test_without_a_prior_it_is_least_squares(samples):
    states, actions, mask = samples
    fit = fit_dynamics(states, actions, mask, ridge=0.0)
    for m in range(M):
        for t in range(T - 1):
            design = np.column_stack([states[m, :, t], actions[m, :, t], np.ones(N)])
            solution, *_ = np.linalg.lstsq(design, states[m, :, t + 1], rcond=None)
            residual = states[m, :, t + 1] - design @ solution
            np.testing.assert_allclose(fit.matrix[m, t], solution[:-1].T, rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(fit.offset[m, t], solution[-1], rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(fit.covariance[m, t], residual.T @ residual / N, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(fit.initial_mean[m], states[m, :, 0].mean(axis=0), rtol=1e-12)
        spread = np.cov(states[m, :, 0].T, bias=True)
        np.testing.assert_allclose(fit.initial_covariance[m], spread, rtol=1e-10, atol=1e-7)


@pytest.mark.parametrize("center", ["posterior", "sample"])
def test_the_posterior_is_that_of_its_formula(samples, prior, center):
    states, actions, mask = samples
    points = Transitions.of(states, actions, mask).points
    fit = fit_dynamics(states, actions, mask, prior, ridge=0.0, center=center)
    for m in range(M):
        for t in range(T - 1):
            mu0, Phi, strength, degrees = (part[m, t] for part in prior)
            x = points[m, :, t]
            gap = x.mean(axis=0) - mu0
            S = np.cov(x.T, bias=True)
            S = (Phi + N * S + N * strength / (N + strength) * np.outer(gap, gap)) / (N + degrees)
            mean = (N * x.mean(axis=0) + strength * mu0) / (N + strength) if center == "posterior" else x.mean(axis=0)
            F = np.linalg.solve(S[:DZ, :DZ], S[:DZ, DZ:]).T
            np.testing.assert_allclose(fit.matrix[m, t], F, rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(fit.offset[m, t], mean[DZ:] - F @ mean[:DZ], rtol=1e-9, atol=1e-11)
            W = S[DZ:, DZ:] - F @ S[:DZ, DZ:]
            np.testing.assert_allclose(fit.covariance[m, t], W, rtol=1e-9, atol=1e-11)


def test_two_updates_one_after_the_other_are_the_update_by_all(samples, prior):
    """Only if mean and covariance belong to one posterior is it the prior of the next update."""
    points, mask = Transitions.of(*samples)
    joint = joint_gaussian(points, mask, prior)
    first, second = points[:, :7], points[:, 7:]
    mean, covariance = joint_gaussian(first, mask[:, :7], prior)
    degrees = prior.degrees + 7
    between = NormalInverseWishart(mean, covariance * degrees[..., None, None], prior.strength + 7, degrees)
    for one, other in zip(joint_gaussian(second, mask[:, 7:], between), joint, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_the_strength_of_a_prior_scales_both_pseudo_counts(samples):
    """A strong prior gives its own mean and covariance, a weak one the samples'."""
    rng = np.random.default_rng(2)
    transitions = Transitions.of(*samples)
    mixture = Mixture(np.array([0.4, 0.6]), rng.standard_normal((2, D)), spd(rng, 2, D))
    weak, strong = (MixturePrior(strength=s, mixture=mixture).at(transitions) for s in (2.0, 14.0))
    np.testing.assert_allclose(strong.strength, 7 * weak.strength, rtol=1e-12)
    np.testing.assert_allclose(strong.degrees, 7 * weak.degrees, rtol=1e-12)
    np.testing.assert_allclose(strong.scatter, 7 * weak.scatter, rtol=1e-12)
    np.testing.assert_array_equal(strong.mean, weak.mean)
    for strength, limit in ((1e12, strong), (1e-12, None)):
        belief = MixturePrior(strength=strength, mixture=mixture).at(transitions)
        mean, covariance = joint_gaussian(*transitions, belief)
        if limit is None:
            expected = transitions.points.mean(axis=1)
            gap = transitions.points - expected[:, None]
            expected_covariance = np.einsum("mnti,mntj->mtij", gap, gap) / N
        else:
            expected, expected_covariance = limit.mean, limit.scatter / limit.degrees[..., None, None]
        np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pooled", [1, 2, 3, 12])
def test_degrees_are_never_negative_however_few_points_are_pooled(pooled):
    """Degrees that are corrected for the number of pooled points may fall below zero when there are few."""
    rng = np.random.default_rng(3)
    states, actions = rng.standard_normal((1, pooled, 3, DX)), rng.standard_normal((1, pooled, 3, DU))
    transitions = Transitions.of(states, actions, np.ones((1, pooled, 3), bool))
    prior = MixturePrior(points_per_cluster=1).refit(transitions, 0)
    belief = prior.at(transitions)
    assert (belief.degrees > 0).all()
    assert (belief.strength > 0).all()
    covariance = joint_gaussian(*transitions, belief)[1]
    assert (np.linalg.eigvalsh(covariance) > -1e-10).all()


def test_the_ridge_is_a_diagonal_relative_to_each_dimensions_spread(samples):
    """A range of indices in one bracket would add the same number to the whole block."""
    states, actions, mask = samples
    points = Transitions.of(states, actions, mask).points
    mean = points.mean(axis=1)
    gap = points - mean[:, None]
    covariance = np.einsum("mnti,mntj->mtij", gap, gap) / N
    covariance[..., :DZ, :DZ] += 0.1 * np.diag((gap**2).mean(axis=(0, 1, 2))[:DZ])
    expected = condition(mean, covariance, DZ)
    fit = fit_dynamics(states, actions, mask, ridge=0.1)
    for one, other in zip((fit.matrix, fit.offset, fit.covariance), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_conditioning_with_a_ridge_is_ridge_regression():
    rng = np.random.default_rng(4)
    S, mean, r = spd(rng, D), rng.standard_normal(D), 0.2
    ridged = S.copy()
    ridged[np.arange(DZ), np.arange(DZ)] += r
    F, c, W = condition(mean, ridged, DZ)
    expected = S[DZ:, :DZ] @ np.linalg.inv(S[:DZ, :DZ] + r * np.eye(DZ))
    np.testing.assert_allclose(F, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(c, mean[DZ:] - expected @ mean[:DZ], rtol=1e-11)
    np.testing.assert_allclose(W, S[DZ:, DZ:] - expected @ S[:DZ, DZ:], rtol=1e-10)


def test_held_out_errors_are_small():
    states, actions = make_rollouts(N=60, T=40, dx=14, du=7, seed=1)
    held_out = make_rollouts(N=20, T=40, dx=14, du=7, seed=2)
    fit = fit_dynamics(states[None], actions[None], np.ones((1, 60, 40), bool))
    errors = one_step_errors(fit.matrix[0], fit.offset[0], *held_out)
    assert np.sqrt((errors**2).mean()) < 0.02  # the system's noise is 0.01


def test_fewer_samples_than_dimensions_need_a_ridge_on_the_diagonal():
    """Five samples see 4 of the 21 dimensions of z = [x; u]; a ridge must add the others.

    One number in all entries of the block adds a single dimension. The gain along the others then stays undetermined:
    a large one fits the samples as well, and has far larger errors on other rollouts.
    """
    states, actions = (array[None] for array in make_rollouts(N=5, T=40, dx=14, du=7, seed=1))
    mask = np.ones((1, 5, 40), bool)
    mean, covariance = joint_gaussian(*Transitions.of(states, actions, mask), nothing(1, 39, 35))
    mean, block = np.array(mean)[0], np.array(covariance)[0, :, :21, :21]
    filled, diagonal = block + 1e-6, block + 1e-6 * np.eye(21)
    assert (np.linalg.matrix_rank(filled, hermitian=True) == 5).all()
    assert (np.linalg.matrix_rank(diagonal, hermitian=True) == 21).all()

    seen = np.linalg.eigh(filled)[1][:, :, -5:]
    unseen = np.eye(21)[-1] - np.einsum("tij,tj->ti", seen, seen[:, -1])  # of the last action, what no sample shows
    np.testing.assert_allclose(np.einsum("tij,tj->ti", filled, unseen), 0.0, atol=1e-10)
    fit = fit_dynamics(states, actions, mask)
    wild = fit.matrix[0] + 100.0 * unseen[:, None]
    offset = mean[:, 21:] - np.einsum("tij,tj->ti", wild, mean[:, :21])
    held_out = make_rollouts(N=20, T=40, dx=14, du=7, seed=2)
    errors, wild_errors = (
        one_step_errors(F, c, *held_out) for F, c in ((fit.matrix[0], fit.offset[0]), (wild, offset))
    )
    spread = held_out[0][:, 1:] - states[0].mean(axis=0)[1:]  # the errors of the samples' mean as a prediction
    assert (errors**2).mean() < (spread**2).mean()
    assert (errors**2).mean() < 0.01 * (wild_errors**2).mean()


def nothing(M, steps, d):
    zero = np.zeros((M, steps))
    return NormalInverseWishart(np.zeros((M, steps, d)), np.zeros((M, steps, d, d)), zero, zero)


def test_the_oracles_fit_under_its_mixture():
    """14 states, 7 actions, 5 samples. The reference adds 1e-6 to all entries of the block of z; so does this test."""
    o = oracle("ref_dynamics_14_7")
    points = o["points"][None]
    mixture = Mixture(np.exp(o["gmm_logmass"]), o["gmm_mu"], o["gmm_sigma"])
    transitions = Transitions(points, np.ones(points.shape[:-1], bool))
    belief = MixturePrior(strength=1.0, mixture=mixture).at(transitions)
    belief = belief._replace(degrees=(990 - 2 - 35) / 990 * belief.degrees)  # of n0 alone, not of the scatter
    mean, covariance = joint_gaussian(*transitions, belief, center="sample")
    rank_one = np.zeros((35, 35))
    rank_one[:21, :21] = 1e-6
    for ridge, tolerance in ((rank_one, 1e-9), (0.0, 5e-3)):
        F, c, W = (np.asarray(part)[0] for part in condition(mean, covariance + ridge, 21))
        np.testing.assert_allclose(F, o["F"], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(c, o["c"], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(W, o["W"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("with_prior", [False, True])
def test_masked_samples_have_no_influence(samples, prior, with_prior):
    states, actions, mask = (array.copy() for array in samples)
    mask[0, 30:] = False  # these samples are not there at all
    mask[1, 5:, 2:] = False  # and these ended early
    belief = prior if with_prior else None
    fit = fit_dynamics(np.where(mask[..., None], states, 0.0), np.where(mask[..., None], actions, 0.0), mask, belief)
    other = fit_dynamics(np.where(mask[..., None], states, 1e6), np.where(mask[..., None], actions, -1e6), mask, belief)
    for a, b in zip(jax.tree.leaves(fit), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    without = fit_dynamics(*(array[:, :30] for array in (states, actions, mask)), belief, ridge=0.0)
    ridgeless = fit_dynamics(states, actions, mask, belief, ridge=0.0)
    np.testing.assert_allclose(ridgeless.matrix[0], without.matrix[0], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(ridgeless.initial_mean[0], without.initial_mean[0], rtol=1e-12)


@pytest.mark.parametrize(("N", "T", "dx", "du"), [(1, 2, 1, 1), (2, 2, 1, 1), (1, 5, 3, 2), (2, 5, 3, 2)])
def test_a_fit_to_few_samples_is_finite(N, T, dx, du):
    rng = np.random.default_rng(5)
    states, actions = rng.standard_normal((1, N, T, dx)), rng.standard_normal((1, N, T, du))
    fit = fit_dynamics(states, actions, np.ones((1, N, T), bool))
    assert fit.matrix.shape == (1, T - 1, dx, dx + du)
    for leaf in jax.tree.leaves(fit):
        assert np.isfinite(leaf).all()
    assert (np.linalg.eigvalsh(fit.covariance) > -1e-10).all()


def test_a_dimension_that_never_varies_and_a_step_without_samples_are_finite(samples):
    states, actions, mask = (array.copy() for array in samples)
    states[..., 1], actions[..., 0] = 7.0, 0.0
    mask[1, :, 2:] = False
    fit = fit_dynamics(states, actions, mask)
    for leaf in jax.tree.leaves(fit):
        assert np.isfinite(leaf).all()
    predicted = np.einsum("tij,ntj->nti", fit.matrix[0], np.concatenate([states, actions], -1)[0, :, :-1])
    np.testing.assert_allclose((predicted + fit.offset[0])[..., 1], 7.0, rtol=1e-6)
