"""A mixture as a global model: its spread against Monte Carlo, its doubt against a regression's, its learner."""

import numpy as np
import pytest

from gps.backend import jax
from gps.dynamics.mixture import Mixture, MixturePrior
from gps.dynamics.prior import Transitions
from gps.models.calibration import calibrate
from gps.models.features import StateTransforms
from gps.models.mixture import MixtureRegression
from gps.models.mixture_learner import MixtureLearner
from gps.status import ModelStatus
from gps.storage.serialization import flatten, unflatten

A = np.array([[1.0, 0.1], [-0.2, 0.9]])
SIGMA = np.array([0.05, 0.1])
POINT = np.array([0.3, -0.4]), np.array([0.5])


def episodes(N=20, T=30, seed=0):
    rng = np.random.default_rng(seed)
    u, x = rng.normal(size=(1, N, T, 1)), np.zeros((1, N, T, 2))
    x[:, :, 0] = rng.normal(size=(1, N, 2))
    for t in range(T - 1):
        x[:, :, t + 1] = np.tanh(x[:, :, t]) @ A.T + [0, 0.3] * u[:, :, t] + SIGMA * rng.normal(size=(1, N, 2))
    return x, u, np.ones((1, N, T), bool)


def learn(clusters=4, **kwargs):
    mixture = MixturePrior(clusters=clusters, memory=1, em_steps=50)
    return MixtureLearner(2, 1, mixture).refit(Transitions.of(*episodes(**kwargs)), 0)


def test_draws_and_samples_have_the_deviation_that_the_model_claims():
    model = learn(N=4).model
    count = 60_000
    keys = jax.random.split(jax.random.key(0), count)
    mean, deviation = model.mean(*POINT), model.deviation(*POINT)
    samples = jax.vmap(lambda key: model.sample(*POINT, key))(keys)
    drawn = model.draw(jax.random.key(1), count)
    noisy = jax.vmap(lambda function, key: function(*POINT, key))(drawn, keys)
    quiet = jax.vmap(lambda function: function(*POINT))(drawn)
    for found in (samples, noisy):
        np.testing.assert_allclose(found.mean(axis=0), mean, atol=5 * deviation.max() / count**0.5)
        np.testing.assert_allclose(found.std(axis=0), deviation, rtol=0.02)
    np.testing.assert_allclose(quiet.mean(axis=0), mean, atol=5 * deviation.max() / count**0.5)
    assert (quiet.std(axis=0) < 0.7 * deviation).all()


def test_the_covariance_of_the_slopes_is_that_of_the_drawn_ones():
    model = learn(N=4).model
    drawn = model.draw(jax.random.key(0), 20_000)
    slopes = jax.vmap(lambda function: function.regression.linearise(*POINT)[0])(drawn)
    stated = model.slope_covariance(*POINT)
    for i in range(2):
        found = np.cov(slopes[:, i], rowvar=False)
        np.testing.assert_allclose(found, stated[i], atol=0.05 * np.abs(stated[i]).max())


def test_the_doubt_of_one_cluster_is_that_of_least_squares():
    x, u, mask = episodes(N=2)
    points = Transitions.of(x, u, mask).points.reshape(-1, 5)
    n = len(points)
    mixture = Mixture(np.ones(1), points.mean(axis=0)[None], np.cov(points, rowvar=False, bias=True)[None])
    model = MixtureRegression.of(mixture, 2, points=n)
    z = np.hstack([points[:, :3], np.ones((n, 1))])
    weights = np.linalg.lstsq(z, points[:, 3:], rcond=None)[0]
    at = np.append(np.concatenate(POINT), 1.0)
    np.testing.assert_allclose(model.mean(*POINT), at @ weights, rtol=1e-8)
    noise = np.mean((points[:, 3:] - z @ weights) ** 2, axis=0)
    expected = np.sqrt(noise * (1.0 + at @ np.linalg.inv(z.T @ z) @ at))
    np.testing.assert_allclose(model.deviation(*POINT), expected, rtol=1e-8)


def test_it_knows_its_error_on_episodes_that_it_has_not_seen():
    result = calibrate(learn().model, *episodes(seed=5))
    np.testing.assert_allclose(result.coverage, [0.68, 0.95], atol=0.1)
    assert (result.one_step_error < 1.4 * SIGMA).all()


def test_it_learns_on_and_says_how():
    learner = learn()
    record = learner.make_record()
    assert (record.status, record.points, len(record.mixture.weights)) == (ModelStatus.OK, 580, 4)
    more = learner.refit(Transitions.of(*episodes(seed=2)), 1)
    assert more.data.size == 1160 and more.data.episodes.max() == 39
    again = learner.refit(Transitions.of(*episodes(seed=2)), 1)
    assert np.array_equal(more.model.matrices, again.model.matrices)


def test_too_little_and_still_data_have_a_status():
    few = MixtureLearner(2, 1).refit(Transitions.of(*episodes(N=1, T=20)), 0)
    assert (few.model, few.status) == (None, ModelStatus.TOO_FEW_POINTS) and "40 transitions" in few.message
    still = Transitions.of(np.ones((1, 1, 99, 2)), np.ones((1, 1, 99, 1)), np.ones((1, 1, 99), bool))
    assert MixtureLearner(2, 1).refit(still, 0).status is ModelStatus.NO_VARIATION


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_duplicates_and_exploded_rollouts_leave_the_last_good_model():
    learner = learn()
    x, u, mask = episodes()
    after = learner.refit(Transitions.of(np.full_like(x, 1e200), u, mask), 0)
    assert after.status is ModelStatus.NOT_FINITE and after.model is learner.model
    twice = MixtureLearner(2, 1).refit(Transitions.of(*(np.repeat(part[:, :2], 9, axis=1) for part in (x, u, mask))), 0)
    assert np.isfinite(twice.model.mean(*POINT)).all()


def turning(wrapped, N=24, T=40):
    """Episodes of a wheel that turns around, with friction; its angle counts its turns or is wrapped."""
    rng = np.random.default_rng(3)
    u, x = rng.normal(size=(1, N, T, 1)), np.zeros((1, N, T, 2))
    x[:, :, 0] = rng.uniform([-np.pi, -6], [np.pi, 6], (1, N, 2))
    for t in range(T - 1):
        w = x[:, :, t, 1] + 0.1 * (3.0 * np.sin(x[:, :, t, 0]) + 4.0 * u[:, :, t, 0])
        x[:, :, t + 1] = np.stack([x[:, :, t, 0] + 0.1 * w, w], axis=-1) + 1e-3 * rng.normal(size=(1, N, 2))
    if wrapped:
        x[..., 0] = (x[..., 0] + np.pi) % (2 * np.pi) - np.pi
    return x, u, np.ones((1, N, T), bool)


def test_an_angle_may_turn_around():
    """The jump from π to −π is none, and a turn more is the same place."""
    mixture = MixturePrior(clusters=8, memory=1, em_steps=50)
    transforms = StateTransforms(angles=(0,))
    learner = MixtureLearner(2, 1, mixture, transforms).refit(Transitions.of(*turning(wrapped=True)), 0)
    blind = MixtureLearner(2, 1, mixture).refit(Transitions.of(*turning(wrapped=True)), 0)
    fresh = tuple(part[:, 12:] for part in turning(wrapped=False))
    own, others = (calibrate(m.model, *fresh, horizon=1, angles=(0,)).one_step_error for m in (learner, blind))
    assert own[0] < 0.05 and own[0] < 0.1 * others[0]
    x, u = np.array([1.0, 2.0]), np.array([0.3])
    turn = np.array([2 * np.pi, 0.0])
    np.testing.assert_allclose(learner.model.mean(x + turn, u), learner.model.mean(x, u) + turn, atol=1e-9)
    F, c = learner.model.linearise(x, u)
    np.testing.assert_allclose(F @ np.concatenate([x, u]) + c, learner.model.mean(x, u), atol=1e-9)
    drawn = jax.vmap(lambda f: f(x, u))(learner.model.draw(jax.random.key(0), 500))
    assert (np.abs(drawn.mean(axis=0) - learner.model.mean(x, u)) < 0.3 * learner.model.deviation(x, u)).all()
    stored = unflatten(MixtureLearner, flatten(learner))
    np.testing.assert_array_equal(stored.model.mean(x, u), learner.model.mean(x, u))
    assert learner.refit(Transitions.of(*turning(wrapped=False)), 1).status is ModelStatus.OK
