"""Local controllers teach a policy the actions that the environment would apply, and no more."""

from pathlib import Path

import numpy as np
import pytest
from helpers.linear_system import DU, DX, FIRST, M, N, T

from gps.algorithms.guided.lessons import make_samples, mean_difference, target_actions, teacher_kl
from gps.backend import jax
from gps.config import load
from gps.experiment import Experiment
from gps.linear_gaussian.types import Controller
from gps.policies import MLP, NeuralPolicy
from gps.policies.supervised import Options, Training, train
from gps.problem import UNLIMITED, Limits
from gps.records import Rollouts

NINE = Path(__file__).parents[2] / "experiments" / "peg_insertion_nine"
LIMITS = Limits(np.full(DU, -1.0), np.full(DU, 1.0))


def around(states) -> Rollouts:
    """Samples in which only the states matter."""
    nothing = np.zeros((M, N, T, DU))
    return Rollouts(states, nothing, nothing, nothing[..., 0], None, np.ones((M, N, T), dtype=bool), np.zeros(M))


@pytest.fixture
def strayed():
    """Gentle teachers, except one step of the first with an absurd gain, where one sample is far away."""
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
        policy = policy_of(make_samples(teachers, rollouts, weights, limits=limits))
        return np.sqrt(((policy.act(rollouts.observed) - gentle)[others] ** 2).mean())

    assert error(LIMITS) < 0.3
    assert error(UNLIMITED) > 10 * error(LIMITS)


def test_a_lesson_is_the_action_that_the_environment_would_apply(strayed):
    teachers, rollouts, gentle = strayed
    samples = make_samples(teachers, rollouts, np.ones((M, 1)), limits=LIMITS)
    actions = np.asarray(samples.actions).reshape(M, N, T, DU)
    assert np.abs(actions).max() == 1.0
    kept = np.abs(gentle) < 1.0
    kept[0, :, 4] = False
    np.testing.assert_array_equal(actions[kept], target_actions(teachers, rollouts, UNLIMITED)[kept])
    unlimited = make_samples(teachers, rollouts, np.ones((M, 1)))
    np.testing.assert_allclose(np.asarray(unlimited.actions).reshape(M, N, T, DU)[1], gentle[1], atol=1e-12)


def test_difference_and_divergence_compare_with_the_limited_actions(strayed):
    """A policy that does as it is taught has no difference, and only the covariances' part of the divergence."""
    teachers, rollouts, _ = strayed

    class Taught:
        covariance = FIRST.covariance[0, 0]

        def act(self, observed):
            return target_actions(teachers, rollouts, LIMITS)

    assert not mean_difference(Taught(), teachers, rollouts, LIMITS).any()
    assert np.abs(mean_difference(Taught(), teachers, rollouts)).max() > 10
    kl = teacher_kl(Taught(), teachers, rollouts, LIMITS)
    ratio = FIRST.covariance[0, 0, 0, 0] / 0.01
    np.testing.assert_allclose(kl, 0.5 * DU * (ratio - 1 - np.log(ratio)))


@pytest.mark.parametrize("name", ["mdgps", "badmm", "pigps", "pilqrgps"])
def test_the_limits_are_those_of_the_environment(name):
    overrides = [f"algorithm.name={name}", "environment.action_limits=[-0.5, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 2.0]]"]
    config = load(NINE, overrides)
    experiment = Experiment(config, NINE)
    try:
        np.testing.assert_allclose(experiment.algorithm.problem.limits.low, np.full(7, -0.5))
        np.testing.assert_allclose(experiment.algorithm.problem.limits.high, [0.5] * 6 + [1.0])
    finally:
        experiment.close()
