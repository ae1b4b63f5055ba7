"""A cost learned from rewards."""

import dataclasses

import numpy as np

from gps.backend import jax
from gps.models.members import EnsembleOptions
from gps.models.reward import RewardLearner
from gps.status import ModelStatus
from gps.storage.serialization import flatten, unflatten

OPTIONS = EnsembleOptions(hidden=(32, 32), members=2, probabilistic=False, steps=1500, batch=64, learning_rate=3e-3)


def episodes(seed, n=20, T=50, noise=0.0):
    rng = np.random.default_rng(seed)
    x, u = rng.uniform(-1, 1, (n, T, 2)), rng.uniform(-1, 1, (n, T, 1))
    return x, u, 5.0 - 3.0 * x[..., 0] ** 2 - np.abs(x[..., 1]) - u[..., 0] ** 2 + noise * rng.normal(size=(n, T))


def test_a_reward_is_learned_and_its_error_is_known():
    learner = RewardLearner(OPTIONS).refit(*episodes(0), seed=0)
    assert learner.status.ok
    x, u, r = episodes(1, n=4)
    costs = jax.vmap(jax.vmap(learner.cost, (0, 0, None)), (0, 0, None))(x, u, 0)
    error = np.sqrt(np.mean((costs + r) ** 2))
    assert error < 0.12 * r.std()
    assert 0.5 * error < learner.error < 3.0 * error
    slope = jax.grad(learner.cost)(np.array([0.5, 0.5]), np.zeros(1), 0)
    np.testing.assert_allclose(slope, [3.0, 1.0], atol=0.5)


def test_the_error_of_noisy_rewards_is_their_noise_and_a_learner_can_be_stored():
    learner = RewardLearner(OPTIONS).refit(*episodes(0, noise=0.3), seed=0)
    assert 0.25 < learner.error < 0.4
    back = unflatten(RewardLearner, flatten(learner))
    x, u = np.array([0.1, 0.2]), np.array([0.3])
    np.testing.assert_array_equal(back.cost(x, u, 3), learner.cost(x, u, 3))
    assert back.status is learner.status


def test_bad_rewards_have_a_status_and_keep_the_last_cost():
    x, u, r = episodes(0, n=4)
    learner = RewardLearner(OPTIONS).refit(x[:1, :5], u[:1, :5], r[:1, :5], seed=0)
    assert learner.status is ModelStatus.TOO_FEW_POINTS and learner.cost is None
    assert RewardLearner(OPTIONS).refit(x, u, np.ones_like(r), seed=0).status is ModelStatus.NO_VARIATION
    good = RewardLearner(OPTIONS).refit(x, u, np.where(r > 4.0, r, np.nan), seed=0)
    assert good.status.ok and good.data.size == (r > 4.0).sum()
    wild = dataclasses.replace(good, options=dataclasses.replace(OPTIONS, learning_rate=1e9)).refit(x, u, r, seed=0)
    assert wild.status is ModelStatus.DIVERGED and wild.cost is good.cost
    huge = good.refit(x, u, np.where(r > 4.0, 1e300, r), seed=0)
    assert huge.status is ModelStatus.NOT_FINITE and huge.cost is good.cost
