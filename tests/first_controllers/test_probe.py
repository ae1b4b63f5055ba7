"""The probe grows until the state moves as wanted, whatever the unit of the action and the force of the drive."""

import numpy as np
import pytest
from helpers.problems import LinearEnv

from gps.first_controllers.probe import LARGEST, MOST_EPISODES, run_probe

A = np.array([[1.0, 0.1], [0.0, 1.0]])
STARTS = np.array([[0.3, 0.0], [-0.2, 0.0], [0.5, 0.0]])
CONDITIONS = [{"start": list(start)} for start in STARTS]
TARGET = np.array([0.1, np.nan])
LENGTH, WANTED = 12, 40


class CountingEnv(LinearEnv):
    """It counts the steps and the episodes of all simulations."""

    steps = episodes = 0

    def reset(self, **options):
        self.episodes += 1
        return super().reset(**options)

    def step(self, actions):
        self.steps += 1
        return super().step(actions)


def probe(force=10.0, limit=1.0, seed=0, ends=None, A=A):
    environment = CountingEnv(1, A, np.array([[0.0], [0.1 * force / limit]]), limit, ends)
    holds = np.zeros((len(STARTS), 1))
    found = run_probe(environment, CONDITIONS, STARTS, holds, np.array([limit]), TARGET, WANTED, LENGTH, seed)
    return found, environment


def find_reach(found):
    """The largest deviation of the position in the last episode."""
    return np.abs(found.after[found.episode == found.episode.max(), 0]).max()


@pytest.mark.parametrize("limit", [1e-3, 1.0, 1e4])
def test_the_unit_of_the_action_does_not_matter(limit):
    found, _ = probe(limit=limit)
    reference, _ = probe(limit=1.0)
    np.testing.assert_allclose(found.states, reference.states, atol=1e-12)
    np.testing.assert_allclose(found.actions / limit, reference.actions, atol=1e-12)


@pytest.mark.parametrize("force", [1.0, 30.0, 1e3, 1e4])
def test_a_weak_and_a_strong_drive_spread_the_states_alike(force):
    found, _ = probe(force)
    assert 0.35 * TARGET[0] / 3 < find_reach(found) < 2.1 * TARGET[0] * 3
    assert len(found.states) >= WANTED


def test_a_drive_without_effect_is_tried_with_the_largest_noise_and_given_up():
    found, _ = probe(1e-6)
    assert found.episodes <= MOST_EPISODES
    assert 0.5 * LARGEST < found.actions[found.episode == found.episode.max()].std() < 1.5 * LARGEST


@pytest.mark.parametrize("ends", [None, [5]])
def test_every_step_is_counted(ends):
    found, environment = probe(ends=ends)
    assert (found.steps, found.episodes) == (environment.steps, environment.episodes)


def test_the_first_episode_holds_the_start_and_says_how_it_drifts():
    falls = np.array([[1.0, 0.1], [0.2, 1.0]])
    environment = CountingEnv(1, falls, np.array([[0.0], [1.0]]), 1.0)
    holds = np.zeros((3, 1))
    found = run_probe(environment, CONDITIONS, STARTS, holds, np.ones(1), TARGET, WANTED, LENGTH, 0)
    assert not found.actions[found.episode == 0].any()
    x, drift = STARTS[0], 0.0
    for _ in range(LENGTH - 1):
        x = falls @ x
        drift = np.maximum(drift, np.abs(x - STARTS[0]))
    np.testing.assert_allclose(found.drift, drift)


def test_the_transitions_are_those_of_the_system_from_the_first_and_the_last_condition():
    found, environment = probe()
    for number, start in enumerate(STARTS[[0, 2]]):
        at = found.condition == number
        assert at.any()
        x, after = found.states[at] + start, found.after[at] + start
        np.testing.assert_allclose(after, x @ A.T + found.actions[at] @ environment.B.T, atol=1e-12)


def test_a_seed_gives_the_same_bits():
    one, two, other = (probe(seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.after, two.after)
    assert one.after.shape != other.after.shape or (one.after != other.after).any()
