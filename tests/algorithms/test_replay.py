"""The samples played again in the fitted dynamics, against a loop by hand."""

import dataclasses

import numpy as np
import pytest
from helpers.linear_system import DU, DX, FIRST, M, N, T, cut, play_again, roll_out

from gps.algorithms.local.replay import Replay
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics
from gps.policies.played import LocalControllers
from gps.problem import UNLIMITED, Limits


@pytest.fixture(scope="module")
def rollouts():
    return roll_out(LocalControllers(FIRST))


@pytest.fixture
def model():
    """Dynamics, a cost and a controller without any relation to the samples."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return 0.3 * rng.standard_normal((M, *shape))

    nothing = np.zeros((M, T - 1, DX, DX))
    dynamics = LinearDynamics(draw(T - 1, DX, DX + DU), draw(T - 1, DX), nothing, draw(DX), nothing[:, 0])
    root = draw(T, DU, DU)
    controllers = Controller(draw(T, DU, DX), draw(T, DU), root @ root.swapaxes(-1, -2) + 0.1 * np.eye(DU))
    return dynamics, CostExpansion(draw(T, DX + DU, DX + DU), draw(T, DX + DU), draw(T)), controllers


@pytest.mark.parametrize("low, high", [(-np.inf, np.inf), (-0.2, 0.3), (np.array([-0.1, -np.inf]), np.full(DU, 0.5))])
def test_it_is_the_loop_of_the_docstring(model, rollouts, low, high):
    replay = Replay.of(rollouts, FIRST.covariance, Limits(low, high))
    expected = play_again(*model, rollouts, FIRST.covariance, low, high)
    np.testing.assert_allclose(replay.costs(*model), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(replay.expected_cost(*model), expected.sum(axis=2).mean(axis=1), rtol=1e-10)


def test_without_noise_there_is_none_to_play_again(model, rollouts):
    """Controllers that act without noise can be sampled, and compared."""
    dynamics, cost, controllers = model
    still = dataclasses.replace(rollouts, noise=np.zeros_like(rollouts.noise))
    replay = Replay.of(still, np.zeros((M, T, DU, DU)), UNLIMITED)
    expected = play_again(dynamics, cost, controllers, still, FIRST.covariance)
    np.testing.assert_allclose(replay.costs(dynamics, cost, controllers), expected, rtol=1e-10, atol=1e-12)
    silent = dataclasses.replace(controllers, covariance=np.zeros((M, T, DU, DU)))
    noisy = Replay.of(rollouts, FIRST.covariance, UNLIMITED)
    np.testing.assert_allclose(noisy.costs(dynamics, cost, silent), expected, rtol=1e-10, atol=1e-12)


def test_a_finished_episode_costs_nothing_after_its_end_and_an_absent_one_does_not_count(model, rollouts):
    short = cut(rollouts, 4, T)
    finished = np.zeros((M, N), dtype=bool)
    finished[0, : N // 2] = True
    mask = short.mask.copy()
    mask[1, 0] = False
    short = dataclasses.replace(short, mask=mask, finished=finished)
    costs = play_again(*model, rollouts, FIRST.covariance)
    costs[0, : N // 2, 4:] = 0.0
    expected = costs[0].sum(axis=1).mean(), costs[1, 1:].sum(axis=1).mean()
    replay = Replay.of(dataclasses.replace(short, states=rollouts.states), FIRST.covariance, UNLIMITED)
    np.testing.assert_allclose(replay.expected_cost(*model), expected, rtol=1e-10)
