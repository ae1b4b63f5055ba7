"""The predicted spread of the states against samples drawn with the noise that a run draws."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gps.first_controllers.excitation import find_reach, find_spread
from gps.first_controllers.pooled import PooledModel
from gps.linear_gaussian.initial import zero
from gps.policies.played import LocalControllers
from gps.sampling import draw_noise

A = np.array([[1.0, 0.1, 0.0], [-0.3, 0.95, 0.0], [0.0, 0.05, 0.9]])
B = np.array([[0.0, 0.02], [0.1, 0.0], [0.0, 0.3]])
MODEL = PooledModel(A, B, np.zeros((1, 3)), np.zeros((3, 5, 5)), 1.0)
GAIN = np.array([[-0.5, -0.8, 0.0], [0.0, 0.1, -0.2]])


@pytest.mark.parametrize("smoothing", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("gain", [np.zeros((2, 3)), GAIN], ids=["open", "closed"])
def test_the_spread_is_that_of_samples(gain, smoothing):
    T, N = 30, 4000
    noise = draw_noise(LocalControllers(zero(1, T, 3, 2, 1.0)), N, smoothing, np.random.default_rng(0))[0]
    for action in range(2):
        x, spread = np.zeros((N, 3)), np.zeros(3)
        for t in range(T - 1):
            x = x @ (A + B @ gain).T + np.outer(noise[:, t, action], B[:, action])
            spread = np.maximum(spread, x.std(axis=0))
        assert_allclose(find_spread(MODEL, gain, T, smoothing)[action], spread, rtol=0.06, atol=1e-12)


def test_an_episode_of_one_step_spreads_nothing():
    assert not find_spread(MODEL, GAIN, 1, 0.0).any()


def test_the_reach_is_the_geometric_mean_of_what_moves():
    spread = np.array([[3.0, 0.0, 1e-9], [4.0, 0.2, 0.0]])
    assert find_reach(spread) == pytest.approx(np.sqrt(5.0 * 0.2))  # the third entry is not moved at all
    assert find_reach(7 * spread) == pytest.approx(7 * find_reach(spread))
    assert find_reach(np.zeros((2, 3))) == 0.0
