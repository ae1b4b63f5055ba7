"""The regression of a global model's residuals: against today's Bayesian fit, at its limits, in other units."""

import numpy as np
import pytest
from scipy.stats import multivariate_t

from gps.dynamics.belief import NormalInverseWishart, Transitions
from gps.dynamics.regression import fit_dynamics
from gps.dynamics.residual import LEAST, MOST, ModelBelief, Residuals, Trust

M, N, S, DX, DU = 2, 5, 6, 3, 2
DZ = DX + DU


def spd(rng, *batch, n):
    roots = rng.normal(size=(*batch, n, 2 * n))
    return roots @ roots.swapaxes(-1, -2) / n


def make_samples(rng, N=N):
    states, actions = rng.normal(size=(M, N, S + 1, DX)), rng.normal(size=(M, N, S + 1, DU))
    return states, actions, np.ones((M, N, S + 1), bool)


def affine_belief(rng, transitions, common=True, value=1.0):
    """A model that is affine at each step, and the same belief, relative to the noise, for all outputs."""
    z = transitions.points[..., :DZ]
    mask = transitions.mask[..., None]
    J, c = rng.normal(size=(M, S, DX, DZ)), rng.normal(size=(M, S, DX))
    points = (mask * z).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    values = np.einsum("msij,mnsj->mnsi", J, z) + c[:, None]
    noise = rng.uniform(0.1, 2.0, size=(M, S, DX))
    V = spd(rng, M, S, 1 if common else DX, n=DZ)
    return ModelBelief(
        values, points, J, noise, value * noise, V * noise[..., None, None], np.einsum("msij,msj->msi", J, points) + c
    )


def conjugate(belief, weights):
    """The normal-inverse-Wishart prior that corresponds, where the outputs share their belief."""
    m, n0 = weights
    V = belief.slope_covariances[:, :, 0] / belief.noise[:, :, 0, None, None]
    v = belief.doubt[:, :, 0] / belief.noise[:, :, 0]
    P, J = m * np.linalg.inv(V), belief.slopes
    W0 = n0 * belief.noise[..., None] * np.eye(DX)
    PJ = P @ J.swapaxes(-1, -2)
    scatter = np.block([[P, PJ], [PJ.swapaxes(-1, -2), J @ PJ + W0]])
    mean = np.concatenate([belief.points, belief.at_points], axis=-1)
    return NormalInverseWishart(mean, scatter, m / v, np.full((M, S), n0))


@pytest.mark.parametrize("count", [1, 2, 5, 12])
@pytest.mark.parametrize("center", ["posterior", "sample"])
def test_an_affine_model_whose_outputs_share_their_belief_gives_todays_bayesian_fit(count, center):
    rng = np.random.default_rng(count)
    states, actions, mask = make_samples(rng, count)
    transitions = Transitions.of(states, actions, mask)
    belief, weights = affine_belief(rng, transitions, value=0.7), Trust(2.3, 4.1)
    F, c, W = Residuals.of(transitions, belief).fit(weights, center)
    other = fit_dynamics(states, actions, mask, conjugate(belief, weights), ridge=0.0, center=center)
    np.testing.assert_allclose(F, other.matrix, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(c, other.offset, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(W, other.covariance, rtol=1e-8, atol=1e-8)


def test_each_output_has_its_own_regression_where_their_beliefs_differ():
    """Against the dense posterior of each output, which is a regression with known prior covariance."""
    rng = np.random.default_rng(0)
    states, actions, mask = make_samples(rng)
    transitions = Transitions.of(states, actions, mask)
    belief, m = affine_belief(rng, transitions, common=False), 1.7
    F, _, W = Residuals.of(transitions, belief).fit(Trust(m, 2.0))
    for s in range(S):
        D = transitions.points[0, :, s, :DZ] - belief.points[0, s]
        X = np.column_stack([np.ones(N), D])
        for i in range(DX):
            w = belief.noise[0, s, i]
            prior = np.zeros((1 + DZ, 1 + DZ))
            prior[0, 0], prior[1:, 1:] = belief.doubt[0, s, i] / w, belief.slope_covariances[0, s, i] / w
            r = transitions.points[0, :, s, DZ + i] - belief.values[0, :, s, i]
            precision = m * np.linalg.inv(prior) + X.T @ X
            beta = np.linalg.solve(precision, X.T @ r)
            np.testing.assert_allclose(F[0, s, i], belief.slopes[0, s, i] + beta[1:], rtol=1e-8, atol=1e-8)
            left = r - X @ beta
            scatter = left @ left + m * beta @ np.linalg.solve(prior, beta)
            np.testing.assert_allclose(W[0, s, i, i], (2.0 * w + scatter) / (2.0 + N), rtol=1e-8)
    assert np.linalg.eigvalsh(W).min() > 0


def test_without_samples_the_dynamics_are_the_models_own():
    rng = np.random.default_rng(1)
    states, actions, mask = make_samples(rng)
    mask[:] = False
    transitions = Transitions.of(states, actions, mask)
    belief = affine_belief(rng, transitions, common=False)
    residuals = Residuals.of(transitions, belief)
    F, c, W = residuals.fit(residuals.choose_weights())
    np.testing.assert_array_equal(F, belief.slopes)
    np.testing.assert_allclose(c, belief.at_points - np.einsum("msiz,msz->msi", F, belief.points), atol=1e-12)
    np.testing.assert_allclose(W, belief.noise[..., None] * np.eye(DX), rtol=1e-12)


def test_a_step_without_samples_is_the_models_own_and_the_others_are_not():
    rng = np.random.default_rng(1)
    states, actions, mask = make_samples(rng)
    mask[0, :, 4:] = False
    transitions = Transitions.of(states, actions, mask)
    belief = affine_belief(rng, transitions)
    F, _, _ = Residuals.of(transitions, belief).fit(Trust(1.0, 1.0))
    same = (belief.slopes == F).all(axis=(-1, -2))
    np.testing.assert_array_equal(same, ~transitions.mask.any(axis=1))


def test_as_strength_and_degrees_vanish_the_fit_tends_to_least_squares():
    rng = np.random.default_rng(2)
    states, actions, mask = make_samples(rng, 30)
    transitions = Transitions.of(states, actions, mask)
    least = fit_dynamics(states, actions, mask, ridge=0.0)
    belief = affine_belief(rng, transitions, common=False)
    gaps = []
    for strength in (1e-2, 1e-4, 1e-6):
        F, c, W = Residuals.of(transitions, belief).fit(Trust(strength, strength))
        gaps.append(np.abs(F - least.matrix).max())
    assert gaps[0] > 50 * gaps[1] > 50 * 50 * gaps[2]
    np.testing.assert_allclose(F, least.matrix, atol=1e-5)
    np.testing.assert_allclose(c, least.offset, atol=1e-5)
    np.testing.assert_allclose(W, least.covariance, atol=1e-5)


def test_as_the_strength_grows_the_fit_tends_to_the_model():
    rng = np.random.default_rng(3)
    transitions = Transitions.of(*make_samples(rng))
    belief = affine_belief(rng, transitions, common=False)
    F, c, _ = Residuals.of(transitions, belief).fit(Trust(1e9, 1.0))
    np.testing.assert_allclose(F, belief.slopes, atol=1e-6)
    np.testing.assert_allclose(c + np.einsum("msiz,msz->msi", F, belief.points), belief.at_points, atol=1e-6)


def test_the_marginal_likelihood_is_that_of_a_multivariate_t():
    rng = np.random.default_rng(4)
    states, actions, mask = make_samples(rng)
    mask[1, 3:] = False
    transitions = Transitions.of(states, actions, mask)
    belief, (m, n0) = affine_belief(rng, transitions, common=False), Trust(0.6, 3.0)
    total = 0.0
    for a in range(M):
        there = transitions.mask[a, :, 0]
        for s in range(S):
            D = (transitions.points[a, :, s, :DZ] - belief.points[a, s])[there]
            for i in range(DX):
                r = (transitions.points[a, :, s, DZ + i] - belief.values[a, :, s, i])[there]
                prior = belief.doubt[a, s, i] + D @ belief.slope_covariances[a, s, i] @ D.T
                shape = n0 / (n0 + 2) * (belief.noise[a, s, i] * np.eye(len(r)) + prior / m)
                total += multivariate_t(np.zeros(len(r)), shape, df=n0 + 2).logpdf(r)
    assert np.isclose(Residuals.of(transitions, belief).log_likelihood(Trust(m, n0)), total, rtol=1e-10)


def test_the_likelihood_is_the_largest_at_the_chosen_weights():
    rng = np.random.default_rng(5)
    transitions = Transitions.of(*make_samples(rng))
    residuals = Residuals.of(transitions, affine_belief(rng, transitions, common=False))
    best = residuals.choose_weights()
    reached = residuals.log_likelihood(best)
    for m in np.geomspace(LEAST, MOST, 15):
        for n0 in np.geomspace(LEAST, MOST, 15):
            assert residuals.log_likelihood(Trust(m, n0)) <= reached + 0.5


@pytest.mark.parametrize("strength", [0.2, 3.0, 50.0])
def test_the_count_of_samples_is_the_strength_of_todays_prior(strength):
    """A belief about the value alone, whose doubt is the noise: then N / (N + m) of the residual is learned."""
    rng = np.random.default_rng(6)
    transitions = Transitions.of(*make_samples(rng))
    belief = affine_belief(rng, transitions)
    belief = belief._replace(slope_covariances=0.0 * belief.slope_covariances)
    assert np.isclose(Residuals.of(transitions, belief).count_samples(strength), strength)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_the_fit_in_other_units_and_from_another_origin_is_the_same(scale, shift):
    rng = np.random.default_rng(7)
    states, actions, mask = make_samples(rng)
    transitions = Transitions.of(states, actions, mask)
    belief = affine_belief(rng, transitions, common=False)
    units = np.array([1.0, scale, 1.0 / scale])
    z_units = np.concatenate([units, [scale, 1.0]])
    origin, z_origin = shift * units, shift * z_units
    moved = Transitions(transitions.points * np.r_[z_units, units] + np.r_[z_origin, origin], transitions.mask)
    other = ModelBelief(
        belief.values * units + origin,
        belief.points * z_units + z_origin,
        belief.slopes * units[:, None] / z_units,
        belief.noise * units**2,
        belief.doubt * units**2,
        belief.slope_covariances * (units**2)[:, None, None] / np.outer(z_units, z_units),
        belief.at_points * units + origin,
    )
    one, two = Residuals.of(transitions, belief), Residuals.of(moved, other)
    np.testing.assert_allclose(two.choose_weights(), one.choose_weights(), rtol=1e-4)
    weights = Trust(0.8, 1.2)
    F, c, W = one.fit(weights)
    F2, c2, W2 = two.fit(weights)
    np.testing.assert_allclose(F2 * z_units / units[:, None], F, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose((c2 - origin + F2 @ z_origin) / units, c, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(W2 / np.outer(units, units), W, rtol=1e-6, atol=1e-6)


def test_the_fit_does_not_depend_on_the_order_of_the_samples():
    rng = np.random.default_rng(8)
    states, actions, mask = make_samples(rng)
    transitions = Transitions.of(states, actions, mask)
    belief = affine_belief(rng, transitions, common=False)
    order = rng.permutation(N)
    shuffled = Transitions(transitions.points[:, order], transitions.mask[:, order])
    fits = [
        Residuals.of(transitions, belief).fit(Trust(1.0, 1.0)),
        Residuals.of(shuffled, belief._replace(values=belief.values[:, order])).fit(Trust(1.0, 1.0)),
    ]
    for one, two in zip(*fits, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-10)
