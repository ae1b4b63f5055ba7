"""What local controllers teach a policy: what the environment would let them do, and no more."""

from pathlib import Path

import numpy as np
import pytest
from helpers.linear_system import DU, DX, FIRST, M, N, T

from gps.algorithms.guided.base import UNLIMITED, Limits, asked, differences, divergence, lessons, mean_difference
from gps.backend import jax
from gps.config import load
from gps.experiment import Experiment
from gps.linear_gaussian.types import Controller
from gps.policies import MLP, NeuralPolicy
from gps.policies.supervised import Options, Training, train
from gps.records import Rollouts

NINE = Path(__file__).parents[2] / "experiments" / "peg_insertion_nine"
LIMITS = Limits(np.full(DU, -1.0), np.full(DU, 1.0))


def around(states) -> Rollouts:
    """Samples of which only the states matter."""
    nothing = np.zeros((M, N, T, DU))
    return Rollouts(states, nothing, nothing, nothing[..., 0], None, np.ones((M, N, T), dtype=bool), np.zeros(M))


@pytest.fixture
def strayed():
    """Gentle teachers, but for one step of the first with a gain as no robot has; one sample has strayed by then."""
    rng = np.random.default_rng(0)
    states = 0.5 * rng.normal(size=(M, N, T, DX))
    states[0, 0, 4] = 3.0
    gains = np.tile(np.array([[0.3, -0.2, 0.1], [0.1, 0.2, -0.3]]), (M, T, 1, 1))
    teachers = Controller(gains.copy(), np.zeros((M, T, DU)), np.tile(0.01 * np.eye(DU), (M, T, 1, 1)))
    teachers.feedback[0, 4] *= 1000.0
    return teachers, around(states), np.einsum("ij,mntj->mnti", gains[0, 0], states)


def policy_of(samples) -> NeuralPolicy:
    key = jax.random.key(0)
    training = Training.begin(NeuralPolicy.untrained(MLP.create((DX, 32, DU), key, "tanh")), key)
    training, _ = train(training, samples, Options(steps=1500, learning_rate=3e-3, held_out=0.0))
    return training.policy


def test_one_runaway_sample_does_not_cost_the_policy_the_others(strayed):
    teachers, rollouts, gentle = strayed
    weights = np.ones((M, 1))
    others = np.ones((M, N, T), dtype=bool)
    others[0, :, 4] = False

    def error(limits):
        policy = policy_of(lessons(teachers, rollouts, weights, limits=limits))
        return np.sqrt(((policy.act(rollouts.observed) - gentle)[others] ** 2).mean())

    assert error(LIMITS) < 0.3
    assert error(UNLIMITED) > 10 * error(LIMITS)


def test_a_lesson_is_what_the_environment_would_apply(strayed):
    teachers, rollouts, gentle = strayed
    samples = lessons(teachers, rollouts, np.ones((M, 1)), limits=LIMITS)
    actions = np.asarray(samples.actions).reshape(M, N, T, DU)
    assert np.abs(actions).max() == 1.0
    kept = np.abs(gentle) < 1.0
    kept[0, :, 4] = False
    np.testing.assert_array_equal(actions[kept], asked(teachers, rollouts, UNLIMITED)[kept])
    unlimited = lessons(teachers, rollouts, np.ones((M, 1)))
    np.testing.assert_allclose(np.asarray(unlimited.actions).reshape(M, N, T, DU)[1], gentle[1], atol=1e-12)


def test_what_the_policy_lacks_is_told_of_the_same(strayed):
    """A policy that does as it is taught has no difference, and of the divergence only the covariances' part."""
    teachers, rollouts, _ = strayed

    class Taught:
        covariance = FIRST.covariance[0, 0]

        def act(self, observed):
            return asked(teachers, rollouts, LIMITS)

    assert not differences(Taught(), teachers, rollouts, LIMITS).any()
    assert not mean_difference(Taught(), teachers, rollouts, LIMITS).any()
    assert np.abs(mean_difference(Taught(), teachers, rollouts)).max() > 10
    kl = divergence(Taught(), teachers, rollouts, LIMITS)
    ratio = FIRST.covariance[0, 0, 0, 0] / 0.01
    np.testing.assert_allclose(kl, 0.5 * DU * (ratio - 1 - np.log(ratio)))


@pytest.mark.parametrize("name", ["mdgps", "badmm", "pigps", "pilqrgps"])
def test_the_limits_are_those_of_the_environment(name):
    overrides = [f"algorithm.name={name}", "environment.action_limits=[-0.5, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 2.0]]"]
    config = load(NINE, overrides)
    experiment = Experiment(config, NINE)
    try:
        np.testing.assert_allclose(experiment.algorithm.limits.low, np.full(7, -0.5))
        np.testing.assert_allclose(experiment.algorithm.limits.high, [0.5] * 6 + [1.0])
    finally:
        experiment.close()
