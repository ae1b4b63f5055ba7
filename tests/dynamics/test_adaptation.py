"""The recursive regression of a model's residuals within an episode."""

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.dynamics import adaptation
from gps.dynamics.adaptation import Evidence
from gps.dynamics.belief import Transitions
from gps.dynamics.residual import ModelBelief, Residuals, Trust

DX, DU = 3, 2
DZ = DX + DU
add, correct = jax.jit(Evidence.add), jax.jit(adaptation.correct)


def make_belief(rng):
    roots = rng.normal(size=(DX, DZ, 2 * DZ))
    noise, doubt = rng.uniform(0.05, 0.2, DX), rng.uniform(0.05, 0.2, DX)
    return noise, doubt, roots @ roots.swapaxes(1, 2) / DZ


def feed(z, residuals, forgetting, scale=1.0):
    evidence = Evidence.none(jnp.asarray(z[0]), scale * jnp.ones(DZ), DX)
    for at, r in zip(z, residuals, strict=True):
        evidence = add(evidence, at, r, forgetting)
    return evidence


@pytest.mark.parametrize("scale", [0.1, 20.0])
def test_without_forgetting_the_recursion_is_the_regression_of_all_samples_at_once(scale):
    rng = np.random.default_rng(0)
    z, r = rng.normal(size=(40, DZ)) + 3.0, rng.normal(size=(40, DX))
    noise, doubt, covariances = make_belief(rng)
    center = z.mean(axis=0)
    weights = Trust(1.3, 2.1)
    found = correct(feed(z, r, 1.0, scale), center, noise, doubt, covariances, *weights)

    points = np.concatenate([z, r], axis=1)[None, :, None]
    nothing = np.zeros((1, 1, DX))
    belief = ModelBelief(
        np.zeros((1, 40, 1, DX)), center[None, None], np.zeros((1, 1, DX, DZ)),
        noise[None, None], doubt[None, None], covariances[None, None], nothing,
    )  # fmt: skip
    F, c, W = Residuals.of(Transitions(points, np.ones((1, 40, 1), bool)), belief).fit(weights)
    np.testing.assert_allclose(found.slope, F[0, 0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.shift - found.slope @ center, c[0, 0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.variance, np.diagonal(W[0, 0]), rtol=1e-6)


def test_forgetting_weighs_a_sample_by_its_age():
    """Against weighted least squares with a quadratic penalty, dense."""
    rng = np.random.default_rng(1)
    z, r, forgetting, m = rng.normal(size=(30, DZ)), rng.normal(size=(30, DX)), 0.9, 0.7
    noise, doubt, covariances = make_belief(rng)
    center = z[-1]
    found = correct(feed(z, r, forgetting), center, noise, doubt, covariances, m, 1.0)
    weight = forgetting ** np.arange(29, -1, -1)
    X = np.column_stack([np.ones(30), z - center])
    for i in range(DX):
        U = np.zeros((1 + DZ, 1 + DZ))
        U[0, 0], U[1:, 1:] = doubt[i] / noise[i], covariances[i] / noise[i]
        beta = np.linalg.solve(X.T @ (weight[:, None] * X) + m * np.linalg.inv(U), X.T @ (weight * r[:, i]))
        np.testing.assert_allclose(np.r_[found.shift[i], found.slope[i]], beta, rtol=1e-6, atol=1e-8)


def test_without_evidence_there_is_no_correction():
    noise, doubt, covariances = make_belief(np.random.default_rng(2))
    found = correct(Evidence.none(jnp.zeros(DZ), jnp.ones(DZ), DX), jnp.ones(DZ), noise, doubt, covariances, 1.0, 1.0)
    assert not np.any(found.shift) and not np.any(found.slope)
    np.testing.assert_allclose(found.variance, noise)


def test_evidence_of_the_past_is_forgotten_and_the_prior_is_not():
    rng = np.random.default_rng(3)
    noise, doubt, covariances = make_belief(rng)
    z = rng.normal(size=(200, DZ))
    evidence = feed(z[:20], np.ones((20, DX)), 0.8)
    for at in z[20:]:
        evidence = add(evidence, at, jnp.zeros(DX), 0.8)
    found = correct(evidence, z[-1], noise, doubt, covariances, 1.0, 1.0)
    assert np.abs(found.shift).max() < 1e-12
    assert evidence.count < 1 / (1 - 0.8) + 1e-9


def test_a_slope_and_a_value_that_are_known_stay_as_they_are():
    rng = np.random.default_rng(4)
    noise, _, covariances = make_belief(rng)
    covariances[1] = 0.0
    doubt = np.array([0.1, 0.0, 0.1])
    evidence = feed(rng.normal(size=(20, DZ)), rng.normal(size=(20, DX)), 1.0)
    found = correct(evidence, jnp.zeros(DZ), noise, doubt, covariances, 1.0, 1.0)
    assert np.abs(found.slope[1]).max() < 1e-6 and abs(found.shift[1]) < 1e-6
    assert np.abs(found.slope[0]).max() > 1e-2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_residual_that_is_not_finite_changes_nothing(bad):
    rng = np.random.default_rng(5)
    evidence = feed(rng.normal(size=(5, DZ)), rng.normal(size=(5, DX)), 0.9)
    after = evidence.add(jnp.zeros(DZ), jnp.array([0.0, bad, 0.0]), 0.9)
    for one, two in zip(evidence, after, strict=True):
        np.testing.assert_array_equal(one, two)


def test_episodes_are_independent_of_each_other():
    rng = np.random.default_rng(6)
    z, r = rng.normal(size=(7, 4, DZ)), rng.normal(size=(7, 4, DX))
    batch = jax.vmap(lambda origin: Evidence.none(origin, jnp.ones(DZ), DX))(jnp.asarray(z[0]))
    add_all = jax.jit(jax.vmap(Evidence.add, (0, 0, 0, None)))
    for at, missed in zip(z, r, strict=True):
        batch = add_all(batch, at, missed, 0.95)
    for b in range(4):
        for one, two in zip(jax.tree.leaves(feed(z[:, b], r[:, b], 0.95)), jax.tree.leaves(batch), strict=True):
            np.testing.assert_allclose(one, two[b], rtol=1e-12, atol=1e-12)
