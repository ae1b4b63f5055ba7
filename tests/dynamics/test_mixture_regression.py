"""The mixture as a model of the dynamics: exact where one cluster is, and near a nonlinear system with several."""

import numpy as np
import pytest
from helpers.problems import spd

from gps.backend import jax
from gps.dynamics.mixture import Mixture, MixturePrior
from gps.dynamics.prior import Transitions
from gps.models.mixture import MixtureRegression


def fitted(points, clusters, **options) -> MixturePrior:
    prior = MixturePrior(clusters=clusters, em_steps=30, memory=1, max_points=len(points), **options)
    return prior.refit(Transitions(points[None, None], np.ones((1, 1, len(points)), dtype=bool)), 0)


def predicted(model, x, u):
    F, c = jax.jit(jax.vmap(model.linearise))(x, u)
    return np.einsum("nij,nj->ni", F, np.concatenate([x, u], axis=1)) + c


def test_one_cluster_is_linear_regression():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 5))
    F, c = rng.normal(size=(3, 5)), rng.normal(size=3)
    mixture = fitted(np.hstack([z, z @ F.T + c]), 1).mixture
    slope, offset = MixtureRegression.of(mixture, 3).linearise(z[0, :3], z[0, 3:])
    np.testing.assert_allclose(slope, F, atol=1e-4)
    np.testing.assert_allclose(offset, c, atol=1e-4)


def test_several_clusters_follow_a_bend():
    rng = np.random.default_rng(1)
    x, u = rng.uniform(-3, 3, (3000, 1)), rng.uniform(-1, 1, (3000, 1))
    after = np.sin(x) + 0.5 * u
    one, many = (MixtureRegression.of(fitted(np.hstack([x, u, after]), clusters).mixture, 1) for clusters in (1, 10))
    error_of = [np.sqrt(np.mean((predicted(model, x, u) - after) ** 2)) for model in (one, many)]
    assert error_of[1] < 0.15 * error_of[0]
    slope, _ = many.linearise(np.zeros(1), np.zeros(1))
    np.testing.assert_allclose(slope, [[1.0, 0.5]], atol=0.15)


def test_what_is_not_told_is_believed_to_stay():
    """Two entries of the state that always move together: what one does alone is not known."""
    rng = np.random.default_rng(2)
    x, u = rng.normal(size=(500, 1)), rng.normal(size=(500, 1))
    both = np.hstack([x, x])
    model = MixtureRegression.of(fitted(np.hstack([both, u, both + 0.1 * u]), 1).mixture, 2)
    slope, _ = model.linearise(np.zeros(2), np.zeros(1))
    np.testing.assert_allclose(slope, [[1.0, 0.0, 0.1], [0.0, 1.0, 0.1]], atol=1e-3)


def test_padding_changes_nothing():
    rng = np.random.default_rng(3)
    mixture = Mixture(np.array([0.3, 0.7]), rng.normal(size=(2, 5)), np.tile(np.eye(5), (2, 1, 1)) + 0.1)
    small, padded = MixtureRegression.of(mixture, 2), MixtureRegression.of(mixture, 2, clusters=6)
    assert padded.means.shape == (6, 3)
    x, u = rng.normal(size=(7, 2)), rng.normal(size=(7, 1))
    np.testing.assert_allclose(predicted(padded, x, u), predicted(small, x, u), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("distance", [30.0, 1e4])
def test_far_away_it_is_its_widest_cluster(distance):
    rng = np.random.default_rng(4)
    covariances = np.stack([0.1 * spd(rng, 5), spd(rng, 5)])
    model = MixtureRegression.of(Mixture(np.array([0.5, 0.5]), rng.normal(size=(2, 5)), covariances), 2)
    slope, offset = model.linearise(np.full(2, distance), np.zeros(1))
    wide = covariances[1]
    np.testing.assert_allclose(slope, wide[3:, :3] @ np.linalg.inv(wide[:3, :3]), rtol=1e-9)
    np.testing.assert_allclose(offset, model.offsets[1], rtol=1e-9)


def test_the_mean_is_the_linearisation_at_its_point():
    rng = np.random.default_rng(5)
    mixture = Mixture(np.array([0.3, 0.7]), rng.normal(size=(2, 5)), np.tile(np.eye(5), (2, 1, 1)) + 0.1)
    model = MixtureRegression.of(mixture, 2)
    x, u = rng.normal(size=(7, 2)), rng.normal(size=(7, 1))
    np.testing.assert_allclose(jax.vmap(model.mean)(x, u), predicted(model, x, u), rtol=1e-12)
