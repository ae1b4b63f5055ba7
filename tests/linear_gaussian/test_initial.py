"""Controllers to begin with: for any number of states and actions, and for underactuated systems."""

import numpy as np
import pytest

from gps.environments.tasks.cart_pole import CartPoleSwingUp
from gps.environments.tasks.peg_insertion import PegInsertion
from gps.linear_gaussian.initial import lqr, pd, zero

T = 12


@pytest.fixture(scope="module", params=[CartPoleSwingUp, PegInsertion])
def system(request):
    """Where positions and velocities are, and the starts of two conditions."""
    environment = request.param(2, threads=1)
    starts, _ = environment.reset(seed=0)
    mechanics = environment.mechanics
    environment.close()
    starts = starts.copy()
    starts[1, mechanics.position] += 0.1
    return mechanics, starts


@pytest.mark.parametrize(("dx", "du"), [(1, 1), (1, 3), (5, 1), (26, 7)])
def test_zero_works_for_any_sizes(dx, du):
    controller = zero(2, T, dx, du, 0.3)
    assert controller.feedback.shape == (2, T, du, dx)
    assert not controller.feedback.any()
    assert not controller.feedforward.any()
    np.testing.assert_allclose(controller.covariance, np.broadcast_to(0.09 * np.eye(du), (2, T, du, du)), rtol=1e-12)


def make(kind, system):
    mechanics, starts = system
    if kind == "pd":
        return pd(starts, T, mechanics, stiffness=2.0, damping=0.5, noise=0.3)
    return lqr(starts, T, mechanics, 2.0, 0.5, np.full(mechanics.actuation.shape[1], 3.0), noise=0.3)


@pytest.mark.parametrize("kind", ["pd", "lqr"])
def test_every_system_can_start(system, kind):
    """Also the cart-pole, which has two degrees of freedom and one action."""
    mechanics, starts = system
    controller, du = make(kind, system), mechanics.actuation.shape[1]
    assert controller.feedback.shape == (2, T, du, starts.shape[1])
    for array in (controller.feedback, controller.feedforward, controller.covariance):
        assert np.isfinite(array).all()
    assert (np.linalg.eigvalsh(controller.covariance) > 0).all()
    largest = np.sqrt(np.linalg.eigvalsh(controller.covariance[:, 0])[:, -1])
    np.testing.assert_allclose(largest, 0.3, rtol=1e-9)
    # What nothing drives draws no action; what an action drives is held by it.
    driven = mechanics.actuation.any(axis=1)
    gains = np.abs(controller.feedback[:, 0, :, mechanics.position])
    assert (gains.max(axis=1)[:, driven] > 0).all()
    assert (gains[:, :, ~driven] == 0).all()


@pytest.mark.parametrize("kind", ["pd", "lqr"])
def test_at_rest_at_its_start_it_does_nothing_and_a_displacement_is_opposed(system, kind):
    mechanics, starts = system
    controller = make(kind, system)
    start = starts.copy()
    start[:, mechanics.velocity] = 0.0
    np.testing.assert_allclose(controller.act(start[:, None], 0), 0.0, atol=1e-9)
    for part in (mechanics.position, mechanics.velocity):
        moved = start.copy()
        push = mechanics.actuation[:, 0]
        moved[:, part] += 0.1 * push
        assert (controller.act(moved[:, None], 0)[:, 0, 0] < 0).all()
