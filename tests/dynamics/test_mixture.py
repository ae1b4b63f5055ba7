"""The mixture prior: EM, the warm start (trap 5), units, seeds, responsibilities and moments."""

import dataclasses

import numpy as np
import pytest
from helpers.problems import make_points, spd
from scipy.special import logsumexp
from scipy.stats import multivariate_normal as normal
from sklearn.mixture import GaussianMixture

from gps.dynamics.mixture import Mixture, MixturePrior
from gps.dynamics.prior import Transitions

D = 6
HALVES = slice(0, 800), slice(800, 1600)


def transitions(n=400, seed=2, **options):
    """n pooled points as one condition's samples of a single step."""
    points = make_points(n, D, seed, n_true=4, **options)
    return Transitions(points[None, :, None], np.ones((1, n, 1), bool))


def log_likelihood(mixture, points):
    terms = [
        np.log(weight) + normal(mean, covariance).logpdf(points)
        for weight, mean, covariance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ]
    return logsumexp(terms, axis=0).mean()


def points_of(transitions):
    return transitions.points[transitions.mask]


def test_the_likelihood_never_falls_from_refit_to_refit():
    data = transitions()
    prior, likelihoods = MixturePrior(clusters=4, memory=1, em_steps=1), []
    for _ in range(25):
        prior = prior.refit(data, seed=0)
        likelihoods.append(log_likelihood(prior.mixture, points_of(data)))
    # Each step adds a floor of 1e-6 of a variance to the covariances: no more than that may be lost.
    assert (np.diff(likelihoods) > -1e-8).all()
    assert likelihoods[-1] > likelihoods[0]


def test_a_warm_start_goes_on_where_the_last_refit_stopped():
    """On new data of the same kind, one step from the last parameters beats three from k-means."""
    old, data = (Transitions(*(part[:, half] for part in transitions(n=1600, spread=1.0))) for half in HALVES)
    warm = MixturePrior(clusters=4, memory=1, em_steps=60).refit(old, seed=0)
    one_step = dataclasses.replace(warm, em_steps=1).refit(data, seed=0).mixture
    reached = log_likelihood(one_step, points_of(data))
    for steps in (1, 3):
        cold = MixturePrior(clusters=4, memory=1, em_steps=steps).refit(data, seed=0).mixture
        assert reached > log_likelihood(cold, points_of(data))


def test_refits_of_one_step_reach_what_one_fit_of_many_does():
    """Nothing is lost between refits of the same data."""
    data = transitions(spread=1.0)
    parts, whole = (MixturePrior(clusters=4, memory=1, em_steps=steps) for steps in (1, 8))
    for _ in range(8):
        parts = parts.refit(data, seed=0)
    reached = log_likelihood(whole.refit(data, seed=0).mixture, points_of(data))
    assert log_likelihood(parts.mixture, points_of(data)) > reached - 1e-8


def test_units_do_not_matter():
    data, scale = transitions(), 10.0 ** np.arange(-3, 3)
    scaled = data._replace(points=data.points * scale)
    a, b = (MixturePrior(clusters=4).refit(each, seed=0).refit(each, seed=1).mixture for each in (data, scaled))
    np.testing.assert_allclose(b.weights, a.weights, rtol=1e-9)
    np.testing.assert_allclose(b.means / scale, a.means, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(b.covariances / np.outer(scale, scale), a.covariances, rtol=1e-8, atol=1e-10)


def test_a_seed_gives_the_same_bits_whatever_the_global_generator_did():
    data, results = transitions(), []
    for seed in (1, 2):
        np.random.seed(seed)
        before = np.random.get_state()[1].copy()
        results.append(MixturePrior(clusters=4).refit(data, seed=3).mixture)
        assert (np.random.get_state()[1] == before).all()
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))


@pytest.mark.parametrize(("n", "clusters"), [(39, None), (40, 1), (100, 2), (400, 5)])
def test_fewer_points_make_fewer_clusters(n, clusters):
    data = transitions(n)
    prior = MixturePrior(clusters=5).refit(data, seed=0)
    if clusters is None:
        assert prior.mixture is None
        assert prior.at(data) is None
    else:
        assert len(prior.mixture.weights) == clusters


@pytest.mark.parametrize("memory", [1, 2, 3])
def test_the_mixture_is_fitted_to_the_last_refits_without_masked_points(memory):
    rng = np.random.default_rng(8)
    mask = np.ones((1, 100, 1), bool)
    mask[0, 60:] = False
    parts = rng.standard_normal((4, 60, D)) + rng.standard_normal((4, 1, D))
    prior = MixturePrior(memory=memory)
    for part in parts:
        points = np.full((1, 100, 1, D), 1e9)
        points[0, :60, 0] = part
        prior = prior.refit(Transitions(points, mask), seed=0)
    # An M-step keeps the mean of all its points.
    mean = prior.mixture.weights @ prior.mixture.means
    np.testing.assert_allclose(mean, parts[-memory:].mean(axis=(0, 1)), rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def mixture():
    rng = np.random.default_rng(4)
    return Mixture(np.array([0.2, 0.5, 0.3]), rng.standard_normal((3, D)), spd(rng, 3, D))


def test_responsibilities_are_bayes_rule(mixture):
    points = np.random.default_rng(5).standard_normal((50, D)) * 2
    joint = np.stack([
        w * normal(m, S).pdf(points)
        for w, m, S in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ], axis=1)  # fmt: skip
    found = mixture.responsibilities(points)
    np.testing.assert_allclose(found, joint / joint.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-300)
    far = mixture.responsibilities(1e4 * points)
    np.testing.assert_allclose(far.sum(axis=1), 1.0)  # where every density is zero


def test_moments_are_those_of_samples(mixture):
    weights = np.array([0.7, 0.1, 0.2])
    mean, covariance = mixture.moments(weights)
    rng, n = np.random.default_rng(6), 200_000
    z = rng.choice(3, n, p=weights)
    factors = np.linalg.cholesky(mixture.covariances)
    points = mixture.means[z] + np.einsum("nij,nj->ni", factors[z], rng.standard_normal((n, D)))
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(points.mean(axis=0) - mean) < 5 * deviation / np.sqrt(n)).all()
    error = (np.cov(points.T) - covariance) / np.outer(deviation, deviation)
    assert np.abs(error).max() < 5 * np.sqrt(2 / n)


def test_the_belief_at_a_step_averages_the_samples_responsibilities(mixture):
    rng = np.random.default_rng(7)
    points, mask = rng.standard_normal((2, 3, 4, D)), np.ones((2, 3, 4), bool)
    mask[0, 1:, 2], mask[1, :, 3] = False, False
    belief = MixturePrior(strength=2.0, mixture=mixture).at(Transitions(points, mask))
    for place, rows in (((0, 0), slice(None)), ((0, 2), slice(1))):
        weights = mixture.responsibilities(points[place[0], rows, place[1]]).mean(axis=0)
        mean, covariance = mixture.moments(weights)
        np.testing.assert_allclose(belief.mean[place], mean, rtol=1e-12)
        np.testing.assert_allclose(belief.scatter[place], 2.0 * covariance, rtol=1e-12)
    np.testing.assert_allclose(belief.mean[1, 3], mixture.weights @ mixture.means, rtol=1e-12)  # no samples: the whole


def test_dimensions_that_stand_still_far_from_zero_do_no_harm():
    """A target's place is part of many observations, and the same in every one of them."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(1, 10, 40, 3)), np.full((1, 10, 40, 2), 123.456)], axis=-1)
    prior = MixturePrior(clusters=5, points_per_cluster=20)
    for k in range(4):
        moved = points + np.concatenate([0.1 * k * np.ones(3), np.zeros(2)])
        prior = prior.refit(Transitions(moved, np.ones((1, 10, 40), bool)), k)
        assert np.isfinite(prior.mixture.covariances).all()
    belief = prior.at(Transitions(moved, np.ones((1, 10, 40), bool)))
    np.testing.assert_allclose(belief.mean[..., 3:], 123.456)


def test_a_covariance_that_loses_its_rank_starts_anew(monkeypatch):
    rng = np.random.default_rng(0)
    seen = Transitions(rng.normal(size=(1, 10, 40, 3)), np.ones((1, 10, 40), bool))
    warm = MixturePrior(clusters=3).refit(seen, 0)
    fit, floors = GaussianMixture.fit, []

    def fail_at_first(self, points):
        floors.append(self.reg_covar)
        if len(floors) == 1:
            raise ValueError("ill-defined empirical covariance")
        return fit(self, points)

    monkeypatch.setattr(GaussianMixture, "fit", fail_at_first)
    assert np.isfinite(warm.refit(seen, 1).mixture.covariances).all()
    assert floors == [1e-6, 1e-3]
