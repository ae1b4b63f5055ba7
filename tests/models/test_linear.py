"""The global linear model: against scikit-learn, the closed forms of its posterior, and Monte Carlo."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from gps.backend import jax, jnp
from gps.dynamics.prior import Transitions
from gps.models.calibration import calibrate
from gps.models.features import StateTransforms
from gps.models.linear import LinearLearner
from gps.status import ModelStatus

A = np.array([[1.0, 0.1, 0.0], [-0.2, 0.9, 0.05], [0.0, 0.1, 0.95]])
B = np.array([[0.0, 0.1], [0.2, 0.0], [0.1, 0.1]])
SIGMA = np.array([0.01, 0.02, 0.005])
POINT = np.array([0.3, -0.4, 0.2]), np.array([0.5, -0.1])


def episodes(M=2, N=5, T=30, sigma=SIGMA, seed=0):
    rng = np.random.default_rng(seed)
    u, x = rng.normal(size=(M, N, T, 2)), np.zeros((M, N, T, 3))
    x[:, :, 0] = rng.normal(size=(M, N, 3))
    for t in range(T - 1):
        x[:, :, t + 1] = x[:, :, t] @ A.T + u[:, :, t] @ B.T + sigma * rng.normal(size=(M, N, 3))
    return x, u, np.ones((M, N, T), bool)


def learn(*data, **settings):
    x, u, mask = data or episodes()
    return LinearLearner(x.shape[-1], u.shape[-1], **settings).refit(Transitions.of(x, u, mask))


def swing(T=400, seed=1):
    """A pendulum that turns over: the angle is wrapped to ±π."""
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(1, 1, T, 1))
    x = np.zeros((1, 1, T, 2))
    x[0, 0, 0] = [1.0, 4.0]
    for t in range(T - 1):
        angle, speed = x[0, 0, t]
        x[0, 0, t + 1] = angle + 0.05 * speed, speed + 0.05 * (u[0, 0, t, 0] - np.sin(angle))
    x[..., 0] = (x[..., 0] + np.pi) % (2 * np.pi) - np.pi
    return x, u, np.ones((1, 1, T), bool)


def test_it_is_the_ridge_regression_of_scikit_learn():
    learner = learn(ridge=5.0)
    model, data = learner.model, learner.data
    ours = np.stack([model.mean(x, u) for x, u in zip(data.states[:20], data.actions[:20], strict=True)])
    inputs, targets = model.encoding.encode_all(data), model.differences.encode_all(data)
    theirs = Ridge(alpha=5.0).fit(inputs, targets).predict(inputs[:20])
    expected = data.states[:20] + model.differences.mean + model.differences.deviation * theirs
    np.testing.assert_allclose(ours, expected, rtol=1e-10)


def test_a_linear_system_is_found_and_its_noise_too():
    model = learn(*episodes(N=50)).model
    F, c = model.linearise(*POINT)
    np.testing.assert_allclose(F, np.hstack([A, B]), atol=3e-3)
    np.testing.assert_allclose(c, 0, atol=3e-3)
    np.testing.assert_allclose(model.deviation(*POINT), SIGMA, rtol=0.05)


def test_without_noise_it_is_exact():
    model = learn(*episodes(sigma=np.zeros(3))).model
    np.testing.assert_allclose(model.linearise(*POINT)[0], np.hstack([A, B]), atol=1e-8)
    assert (np.asarray(model.deviation(*POINT)) < 1e-7).all()


def test_its_coverage_is_that_of_a_gaussian_also_with_few_points():
    found = [calibrate(learn(*episodes(1, 1, 14, seed=k)).model, *episodes(1, 4, seed=100 + k)) for k in range(20)]
    coverage = np.mean([item.coverage for item in found], axis=0)
    np.testing.assert_allclose(coverage, [0.68, 0.95], atol=0.08)


def test_the_slope_is_that_of_the_mean():
    x, u, mask = swing()
    model = learn(x, u, mask, transforms=StateTransforms(angles=(0,))).model
    at = np.array([2.0, 1.0]), np.array([0.3])
    F, c = model.linearise(*at)
    z = np.concatenate(at)
    np.testing.assert_allclose(F @ z + c, model.mean(*at), rtol=1e-12)
    step = 1e-6 * np.eye(3)
    columns = [(model.mean(*np.split(z + h, [2])) - model.mean(*np.split(z - h, [2]))) / 2e-6 for h in step]
    np.testing.assert_allclose(F, np.stack(columns, axis=1), atol=1e-6)


def test_an_angle_that_turns_over_is_learned_by_its_sine():
    x, u, mask = swing()
    model = learn(x, u, mask, transforms=StateTransforms(angles=(0,))).model
    assert (calibrate(model, x, u, mask, angles=(0,)).one_step_error < 1e-6).all()
    plain = calibrate(learn(x, u, mask).model, x, u, mask).one_step_error
    assert (plain > 1e-2).all()


@pytest.mark.parametrize("angles", [(), (0,), (0, 2)])
def test_draws_samples_and_moments_agree_with_monte_carlo(angles):
    model = learn(*episodes(1, 1, 12), transforms=StateTransforms(angles=angles)).model
    count = 40_000
    keys = jax.random.split(jax.random.key(0), count)
    mean, deviation = model.mean(*POINT), model.deviation(*POINT)
    samples = jax.vmap(lambda key: model.sample(*POINT, key))(keys)
    drawn = model.draw(jax.random.key(1), count)
    noisy = jax.vmap(lambda function, key: function(*POINT, key))(drawn, keys)
    quiet = jax.vmap(lambda function: function(*POINT))(drawn)
    for found in (samples, noisy):
        np.testing.assert_allclose(found.mean(axis=0), mean, atol=5 * deviation.max() / count**0.5)
        np.testing.assert_allclose(found.std(axis=0), deviation, rtol=0.02)
    assert (quiet.std(axis=0) < 1.01 * deviation).all()

    rng = np.random.default_rng(2)
    root = 0.4 * rng.normal(size=(5, 5))
    z = np.concatenate(POINT)
    expected, spread, cross = model.moments(z, root @ root.T)
    points = z + rng.normal(size=(count, 5)) @ root.T
    after = np.asarray(jax.vmap(lambda p, key: model.sample(p[:3], p[3:], key))(points, keys))
    joint = np.cov(np.hstack([points, after]), rowvar=False)
    scale = np.sqrt(np.diag(joint))
    np.testing.assert_allclose(expected, after.mean(axis=0), atol=5 * scale[5:].max() / count**0.5)
    np.testing.assert_allclose(spread, joint[5:, 5:], atol=0.03 * np.outer(scale[5:], scale[5:]).max())
    np.testing.assert_allclose(cross, joint[:5, 5:], atol=0.03 * np.outer(scale[:5], scale[5:]).max())


def test_the_posterior_of_the_weights_is_that_of_the_dense_solution():
    learner = learn(ridge=2.0)
    model = learner.model
    phi = np.hstack([model.encoding.encode_all(learner.data), np.ones((learner.data.size, 1))])
    V = np.linalg.inv(phi.T @ phi + 2.0 * np.eye(phi.shape[1]))
    np.testing.assert_allclose(model.spread @ model.spread.T, V, rtol=1e-9, atol=1e-12)
    weights = V @ phi.T @ model.differences.encode_all(learner.data)
    np.testing.assert_allclose(model.weights, weights, rtol=1e-9, atol=1e-12)


def test_constant_entries_stay_and_do_no_harm():
    x, u, mask = episodes()
    x = np.concatenate([x, np.full((*x.shape[:3], 1), 7.0)], axis=-1)
    model = learn(x, u, mask).model
    at = np.append(POINT[0], 7.0), POINT[1]
    assert model.mean(*at)[3] == 7.0 and model.deviation(*at)[3] == 0.0
    np.testing.assert_allclose(model.mean(*at)[:3], learn().model.mean(*POINT), rtol=1e-8)


def test_more_inputs_than_points_are_held_by_the_ridge():
    model = learn(*episodes(1, 1, 5)).model
    assert np.isfinite(model.mean(*POINT)).all() and np.isfinite(model.deviation(*POINT)).all()


def test_bad_data_have_a_status_and_the_last_good_model_stays():
    empty = Transitions(np.zeros((1, 1, 1, 8)), np.zeros((1, 1, 1), bool))
    learner = LinearLearner(3, 2).refit(empty)
    assert (learner.model, learner.status) == (None, ModelStatus.TOO_FEW_POINTS)
    still = Transitions.of(np.ones((1, 1, 9, 3)), np.ones((1, 1, 9, 2)), np.ones((1, 1, 9), bool))
    assert LinearLearner(3, 2).refit(still).status is ModelStatus.NO_VARIATION
    good = learn()
    points = np.full((1, 1, 1, 8), 1e200)
    after = good.refit(Transitions(points, np.ones((1, 1, 1), bool)))
    assert after.status is ModelStatus.NOT_FINITE and after.model is good.model
    assert after.make_record().status is ModelStatus.NOT_FINITE


def test_what_is_not_finite_or_masked_is_left_out():
    x, u, mask = episodes()
    y = x.copy()
    y[0, 0, 3] = np.nan
    held = mask.copy()
    held[0, 0, 3] = False
    one, other = learn(y, u, mask).model, learn(x, u, held).model
    assert jnp.array_equal(one.weights, other.weights)
