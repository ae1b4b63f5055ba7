"""Which controller runs: versions 0.5, 1.0 and 2.0 of Levine's lecture on model-based control."""

import numpy as np
import pytest
from helpers import records

from gps.algorithms.local.execution import make_executable


@pytest.fixture
def plan():
    rng = np.random.default_rng(0)
    return records.controllers(rng), rng.standard_normal((2, 6, 4))


def test_open_loop_plays_the_planned_actions_whatever_the_state(plan):
    controller, planned = plan
    found = make_executable(controller, planned, "open_loop", 0.5)
    for t in range(6):
        expected = controller.act(planned[:, None, t], t)
        for states in (planned[:, None, t], 100.0 + planned[:, None, t]):
            np.testing.assert_allclose(found.act(states, t), expected, rtol=1e-11, atol=1e-12)
    assert not found.covariance.any()


def test_feedback_is_the_mean_alone(plan):
    controller, planned = plan
    found = make_executable(controller, planned, "feedback", 0.5)
    np.testing.assert_array_equal(found.feedback, controller.feedback)
    np.testing.assert_array_equal(found.feedforward, controller.feedforward)
    assert not found.covariance.any()


def test_fixed_noise_has_its_standard_deviation_at_every_step(plan):
    controller, planned = plan
    found = make_executable(controller, planned, "fixed_noise", 0.5)
    np.testing.assert_array_equal(found.feedback, controller.feedback)
    np.testing.assert_array_equal(found.covariance, np.broadcast_to(0.25 * np.eye(2), (2, 6, 2, 2)))


def test_max_entropy_is_the_controller_itself(plan):
    controller, planned = plan
    assert make_executable(controller, planned, "max_entropy", 0.5) is controller
